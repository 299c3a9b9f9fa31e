//! A page of the listing with all that a preview needs to know of its entries: from the index, and
//! from the source where a run would ask it, too.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    NO_PASS, Question,
    reshaped::{self, Foreseen},
};
use crate::{
    engine::{
        RunError,
        filter::{Dossier, Filter},
        mapping::Mapping,
        plan::{self, Decision},
        rules,
    },
    model::{Entry, EntryId, EntryKind, EntryPath, Identity},
    sources::{Page, Source, retry::RetryPolicy},
    store::{
        self, Connection, Store,
        dead_letters::{self, Open},
        entries::{self, CurrentRules, Known},
        syncs::Sync,
    },
};

/// A page with what is known of its entries.
pub(super) struct Looked {
    pub(super) page: Page,
    pub(super) known: Vec<Known>,
    pub(super) letters: HashMap<EntryId, Open>,
    /// For new entries: the row that each may have had before it was renamed.
    pub(super) rename_sources: Vec<Option<i64>>,
    /// By position: the stored paths of entries that have others now.
    pub(super) moved: HashMap<usize, EntryPath>,
    /// By position: stored entries that would have another result under the settings in question.
    pub(super) foreseen: HashMap<usize, Foreseen>,
}

impl Looked {
    /// Looks a page up in the index.
    pub(super) async fn up(
        known: Option<(&Store, &Sync)>,
        source: &dyn Source,
        question: &Question<'_>,
        page: Page,
        rules: CurrentRules,
    ) -> Result<Self, RunError> {
        let entries = page.entries.len();
        let Some((store, sync)) = known else {
            let (known, rename_sources) = (vec![Known::No; entries], vec![None; entries]);
            let (letters, moved, foreseen) = (HashMap::new(), HashMap::new(), HashMap::new());
            return Ok(Self { page, known, letters, rename_sources, moved, foreseen });
        };
        let follows = rules::follows_renames(question.options, question.run.refetch);
        let identity = |entry: &Entry| match &entry.kind {
            EntryKind::File(facts) if follows => source.identity(facts),
            _ => None,
        };
        let identities: Vec<Option<Identity>> = page.entries.iter().map(identity).collect();
        let sync_key = sync.key;
        let moves = source.profile().is_by_id() && question.options.reconcile.on_update;
        let read = store.read(move |db| {
            let known =
                plan::compare(db, sync_key, &page, rules, |stored, listed| stored == listed.0)?;
            let ids = page.entries.iter().map(|entry| &entry.id);
            let letters = dead_letters::among(db, sync_key, ids)?;
            let rename_source =
                |(known, identity): (&Known, &Option<Identity>)| match (known, identity) {
                    (Known::No, Some(identity)) => {
                        entries::only_one_like(db, sync_key, NO_PASS, *identity)
                    }
                    _ => Ok(None),
                };
            let rename_sources =
                known.iter().zip(&identities).map(rename_source).collect::<Result<_, _>>()?;
            let moved = if moves { moved(db, &page, &known)? } else { HashMap::new() };
            Ok(Self { page, known, letters, rename_sources, moved, foreseen: HashMap::new() })
        });
        Ok(read.await?)
    }

    /// Asks the source about the entries that need more than their listing, as a run would, and
    /// marks those that do not meet a condition as left out.
    pub(super) async fn check_facts(
        &mut self,
        source: &dyn Source,
        question: &Question<'_>,
        filter: &Filter,
    ) -> Result<(), RunError> {
        let needs = filter.needs();
        if needs.is_nothing() {
            return Ok(());
        }
        let looks = self.undecided(question, filter).into_iter().map(|position| {
            let Entry { id, kind, .. } = self.page.entries[position].clone();
            async move {
                let EntryKind::File(fingerprint) = kind else { return Ok(None) };
                let ask = || source.facts(&id, &fingerprint, needs);
                match RetryPolicy::FETCH.run(ask).await {
                    Ok(facts) => Ok(Some((position, facts))),
                    Err(error) if error.class().ends_run() => Err(error),
                    // A run would report the failure.
                    Err(_) => Ok(None),
                }
            }
        });
        let looks: Vec<_> = looks.collect();
        let mut results = stream::iter(looks).buffer_unordered(source.default_concurrency());
        while let Some(result) = results.try_next().await? {
            let Some((position, facts)) = result else { continue };
            let Entry { path, kind: EntryKind::File(fingerprint), .. } =
                &self.page.entries[position]
            else {
                continue;
            };
            let dossier = Dossier { path, fingerprint, facts: Some(&facts) };
            if let Some(unmet) = filter.refuses_facts(&dossier) {
                let entry_key = self.known[position].entry_key();
                self.known[position] =
                    Known::LeftOut { entry_key, left_out_key: 0, unmet: unmet.0 };
            }
        }
        Ok(())
    }

    /// Evaluates the stored entries that a run would evaluate again.
    pub(super) async fn foresee(
        &mut self,
        known: Option<(&Store, &Sync)>,
        source: &dyn Source,
        question: &Question<'_>,
        filter: &Filter,
        mapping: Option<&Mapping>,
    ) -> Result<(), RunError> {
        let Some((store, _)) = known else { return Ok(()) };
        let stored = self.decided(question, filter, |decision| {
            // The object of an entry that has changed but is not to be updated stays as it is.
            matches!(decision, Decision::Reevaluate { is_same: true })
        });
        let stored = stored.into_iter().filter_map(|position| {
            Some((position, self.page.entries[position].clone(), self.known[position].entry_key()?))
        });
        self.foreseen = reshaped::foresee(store, source, mapping, stored.collect()).await?;
        Ok(())
    }

    /// The positions of entries that a run would ask the source about.
    fn undecided(&self, question: &Question<'_>, filter: &Filter) -> Vec<usize> {
        self.decided(question, filter, |decision| {
            matches!(decision, Decision::Add | Decision::Update | Decision::Reevaluate { .. })
        })
    }

    /// The positions of entries with a wanted decision.
    fn decided(
        &self,
        question: &Question<'_>,
        filter: &Filter,
        wanted: impl Fn(Decision<'_>) -> bool,
    ) -> Vec<usize> {
        let (settings, full) = (&question.options.reconcile, question.run.refetch);
        let entries = self.page.entries.iter().zip(&self.known);
        entries
            .enumerate()
            .filter(|(_, (entry, known))| {
                wanted(plan::decide(filter, settings, full, entry, known))
            })
            .map(|(position, _)| position)
            .collect()
    }
}

/// The stored paths of entries whose content is the same and that are elsewhere now, or have other
/// names.
fn moved(
    db: &Connection,
    page: &Page,
    known: &[Known],
) -> store::Result<HashMap<usize, EntryPath>> {
    let mut moved = HashMap::new();
    for (position, (entry, known)) in page.entries.iter().zip(known).enumerate() {
        if let Known::Same { entry_key, .. } = known {
            let path = entries::path_of(db, *entry_key)?;
            if path != entry.path {
                moved.insert(position, path);
            }
        }
    }
    Ok(moved)
}
