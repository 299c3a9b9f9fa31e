//! Finds the targets of links that lie outside the roots of a sync, in sources that know entries
//! and folders by id, and has them placed where the link is (`store::links`). The source is asked
//! for a target only where the pass does not know that it is below a root.
//!
//! A full pass first resolves the links in folders that it has listed, which lists the folders that
//! those lead to. What folders are left then may be gone, or elsewhere by now, and the links in
//! them with them: they are asked for before those links count.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use super::{
    RunError,
    context::{PassKind, Run},
    tree,
    walk::WalkedPage,
};
use crate::{
    model::{EntryId, SkipReason},
    sources::Page,
    store::{
        StoreError,
        links::{self, KnownTarget, LinkFilter},
    },
};

/// How many ids the source is asked for at once.
const AT_ONCE: usize = 100;

/// How many links are looked at together.
const LOOKED_AT: usize = 1000;

/// Prepares the links of a pass.
pub(super) async fn begin(run: &Run) -> Result<(), RunError> {
    if !run.profile.is_by_id() {
        return Ok(());
    }
    let sync_key = run.target.fence.sync_key;
    let has_any = run.store.read(move |db| links::has_any(db, sync_key)).await?;
    run.tree.has_links.store(has_any, Ordering::Relaxed);
    if has_any && asks_always(run) {
        let target = run.target;
        run.store.write(move |tx| links::begin_pass(tx, &target, true)).await?;
    }
    Ok(())
}

/// Whether only asking shows what became of targets that are elsewhere.
fn asks_always(run: &Run) -> bool {
    run.kind == PassKind::Changes && run.profile.asks_for_targets
}

/// What the source says of some links or targets.
pub(super) struct Resolved {
    /// As a page of the pass.
    pub(super) page: WalkedPage,
    /// Keys of links whose targets are resolved once the page is committed.
    pub(super) resolved: Vec<i64>,
}

/// What a pass has asked for.
#[derive(Debug, Default)]
pub(super) struct Links {
    asked: HashSet<EntryId>,
    /// The last link that was looked at, of those that a full pass has not listed.
    unlisted: i64,
    /// The last folder that was looked at, of those.
    unlisted_folder: i64,
    /// Whether a full pass knows of every folder whether it is still there.
    knows_folders: bool,
}

impl Links {
    /// Asks for the next links that the listing has skipped, then for the next targets. `None` when
    /// there are none left. `have_found` says whether the pass has found the entry of a row.
    pub(super) async fn next(
        &mut self,
        run: &Arc<Run>,
        have_found: impl Fn(i64) -> bool,
    ) -> Result<Option<Resolved>, RunError> {
        if !tree::has_links(run) {
            return Ok(None);
        }
        if run.kind == PassKind::Full
            && let Some(found) = self.next_unlisted(run).await?
        {
            return Ok(Some(found));
        }
        if run.kind == PassKind::Full && !self.knows_folders {
            let listed_by = Some(run.target.pass);
            if let Some(found) = self.next_targets(run, listed_by, &have_found).await? {
                return Ok(Some(found));
            }
            if let Some(found) = self.next_unlisted_folders(run).await? {
                // Targets may have lost the places that they were found in.
                self.asked.clear();
                return Ok(Some(found));
            }
            self.knows_folders = true;
        }
        self.next_targets(run, None, have_found).await
    }

    /// Links that the listing does not have: it may have skipped them.
    async fn next_unlisted(&mut self, run: &Arc<Run>) -> Result<Option<Resolved>, RunError> {
        let (target, after) = (run.target, self.unlisted);
        let unlisted =
            run.store.read(move |db| links::unlisted(db, &target, after, AT_ONCE)).await?;
        let Some((last, shard, _)) = unlisted.last().cloned() else { return Ok(None) };
        self.unlisted = last;
        let ids: Vec<EntryId> = unlisted.into_iter().map(|(.., id)| id).collect();
        let Page { links, mut removed, entries, access_keys, .. } = run.source.by_ids(&ids).await?;
        // One that is a link no more, or is not to be followed, is none.
        removed.extend(entries.into_iter().map(|entry| entry.id));
        let page = Page { links, removed, access_keys, ..Page::default() };
        Ok(Some(Resolved { page: walked(run, &shard, page), resolved: Vec::new() }))
    }

    /// Folders that the listing does not have: it may have skipped them, or they may be elsewhere.
    async fn next_unlisted_folders(
        &mut self,
        run: &Arc<Run>,
    ) -> Result<Option<Resolved>, RunError> {
        let (target, after) = (run.target, self.unlisted_folder);
        let unlisted =
            run.store.read(move |db| links::unlisted_folders(db, &target, after, AT_ONCE)).await?;
        let Some((last, shard, _)) = unlisted.last().cloned() else { return Ok(None) };
        self.unlisted_folder = last;
        let ids: Vec<EntryId> = unlisted.into_iter().map(|(.., id)| id).collect();
        // Of those that cannot be looked at counts what was known of them.
        let page = run.source.folders(&ids).await?;
        Ok(Some(Resolved { page: walked(run, &shard, page), resolved: Vec::new() }))
    }

    async fn next_targets(
        &mut self,
        run: &Arc<Run>,
        listed_by: Option<i64>,
        have_found: impl Fn(i64) -> bool,
    ) -> Result<Option<Resolved>, RunError> {
        let (mut after, mut resolved) = (0, Vec::new());
        let mut asked: BTreeMap<EntryId, Vec<i64>> = BTreeMap::new();
        let mut of_shard: Option<String> = None;
        loop {
            let (sync_key, roots) = (run.target.fence.sync_key, run.profile.roots.clone());
            let wanted = LinkFilter { listed_by, asks_always: asks_always(run) };
            let (next, last) = run
                .store
                .read(move |db| links::to_resolve(db, sync_key, &roots, wanted, after, LOOKED_AT))
                .await?;
            let Some(last) = last else { break };
            after = last;
            for link in next {
                if is_known(run, link.known, &have_found) {
                    resolved.push(link.link_key);
                } else if let Some(keys) = asked.get_mut(&link.target) {
                    keys.push(link.link_key);
                } else if asked.len() < AT_ONCE
                    && of_shard.as_ref().is_none_or(|shard| *shard == link.shard)
                    && !self.asked.contains(&link.target)
                {
                    of_shard = Some(link.shard);
                    asked.insert(link.target, vec![link.link_key]);
                }
            }
            if asked.len() == AT_ONCE {
                break;
            }
        }
        self::resolved(run, resolved).await?;
        let Some(shard) = of_shard else { return Ok(None) };
        let ids: Vec<EntryId> = asked.keys().cloned().collect();
        self.asked.extend(ids.iter().cloned());
        let mut page = run.source.by_ids(&ids).await?;
        // A link to a link leads nowhere.
        let nowhere: Vec<EntryId> = page.links.drain(..).map(|link| link.id).collect();
        for _ in page.removed.iter().chain(&nowhere) {
            run.observer.skipped(SkipReason::DanglingLink);
        }
        let entries = page.entries.iter().map(|entry| &entry.id);
        let folders = page.folders.iter().map(|folder| &folder.id);
        let listed = entries.chain(folders).chain(&page.removed).chain(&nowhere);
        let resolved = listed.filter_map(|id| asked.get(id)).flatten().copied().collect();
        Ok(Some(Resolved { page: walked(run, &shard, page), resolved }))
    }
}

/// Whether the pass knows that a target is below a root.
fn is_known(run: &Run, known: KnownTarget, have_found: impl Fn(i64) -> bool) -> bool {
    let is_full = run.kind == PassKind::Full;
    match known {
        KnownTarget::Nothing => false,
        KnownTarget::Root => true,
        KnownTarget::Entry { row, pass } => !is_full || pass == run.target.pass || have_found(row),
        KnownTarget::Folder { pass, is_linked } => {
            !is_full || (pass == run.target.pass && !is_linked)
        }
    }
}

fn walked(run: &Run, shard: &str, page: Page) -> WalkedPage {
    let shard = run.starts.iter().position(|start| start.shard.name() == shard);
    WalkedPage { shard: shard.unwrap_or_default(), page, position: None, placed: Vec::new() }
}

/// The targets of these links are where they belong.
pub(super) async fn resolved(run: &Run, keys: Vec<i64>) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let target = run.target;
    run.store.write(move |tx| links::resolved(tx, &target, &keys)).await
}
