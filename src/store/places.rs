//! Where the folders of sources that know folders by id are, by the names that lead there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Result, syncs};
use crate::{
    model::{EntryPath, FolderId},
    sources::RootFolder,
};

/// Where a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Below a root, at this path.
    Inside(EntryPath),
    /// Below no root.
    Outside,
    /// Not known, because this folder is not.
    Unknown(FolderId),
}

/// More folders above each other than this are a circle.
pub(super) const MAX_DEPTH: usize = 1000;

/// The places of folders, each looked up once.
pub struct Places<'a> {
    connection: &'a Connection,
    sync_key: i64,
    roots: &'a [RootFolder],
    /// Folders that another pass has listed are not known.
    listed_by: Option<i64>,
    /// Folders that nobody can say anything of.
    unreadable: Arc<HashSet<FolderId>>,
    known: HashMap<FolderId, Placement>,
}

impl<'a> Places<'a> {
    /// The places of a sync's folders.
    #[must_use]
    pub fn new(connection: &'a Connection, sync_key: i64, roots: &'a [RootFolder]) -> Self {
        let (listed_by, unreadable, known) = (None, Arc::default(), HashMap::new());
        Self { connection, sync_key, roots, listed_by, unreadable, known }
    }

    /// The places of folders, of which these are not waited for: the source was asked in vain.
    #[must_use]
    pub fn with_unreadable(self, unreadable: Arc<HashSet<FolderId>>) -> Self {
        Self { unreadable, ..self }
    }

    /// The places of the folders that a pass has listed.
    #[must_use]
    pub fn listed_by(self, pass: Option<i64>) -> Self {
        Self { listed_by: pass, ..self }
    }

    /// Where a folder is.
    ///
    /// # Errors
    /// SQLite's.
    pub fn of(&mut self, folder: &FolderId) -> Result<Placement> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = folder.clone();
        let place = loop {
            if let Some(root) = self.roots.iter().find(|root| root.id == at) {
                break Placement::Inside(root.path.clone());
            }
            if let Some(place) = self.known.get(&at) {
                break place.clone();
            }
            match self.row(&at)? {
                None => break Placement::Unknown(at),
                Some((None, _)) => break Placement::Outside,
                Some(_) if names.len() >= MAX_DEPTH => break Placement::Outside,
                Some((Some(parent), name)) => {
                    names.push(name);
                    at = parent;
                }
            }
        };
        let place = match place {
            Placement::Inside(path) => {
                Placement::Inside(names.iter().rev().fold(path, |path, name| below(&path, name)))
            }
            other => other,
        };
        self.known.insert(folder.clone(), place.clone());
        Ok(place)
    }

    /// The first of these folders that is below a root, by its index, and its place; the first that
    /// is not known where none is. `waits`: one that is not known may yet turn out to be the first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn of_first(&mut self, folders: &[FolderId], waits: bool) -> Result<(usize, Placement)> {
        let mut unknown = None;
        for (index, folder) in folders.iter().enumerate() {
            match self.of(folder)? {
                Placement::Outside => {}
                inside @ Placement::Inside(_) => return Ok((index, inside)),
                Placement::Unknown(folder) => {
                    let may_become_known = !self.unreadable.contains(&folder);
                    let place = Placement::Unknown(folder);
                    if waits && may_become_known {
                        return Ok((index, place));
                    }
                    unknown = unknown.or(Some((index, place)));
                }
            }
        }
        Ok(unknown.unwrap_or((0, Placement::Outside)))
    }

    /// Whether a folder is below a root, and the way there does not lead through another one.
    pub(super) fn is_inside_without(&self, folder: &FolderId, without: &FolderId) -> Result<bool> {
        let mut at = folder.clone();
        for _ in 0..MAX_DEPTH {
            if at == *without {
                return Ok(false);
            }
            if self.roots.iter().any(|root| root.id == at) {
                return Ok(true);
            }
            match self.row(&at)? {
                Some((Some(parent), _)) => at = parent,
                Some((None, _)) | None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The parent and the name of a folder, if it is known.
    pub(super) fn row(&self, folder: &FolderId) -> Result<Option<(Option<FolderId>, Vec<u8>)>> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT parent, name FROM folders
                 WHERE sync_key = ?1 AND folder_id = ?2 AND (?3 IS NULL OR pass = ?3)",
            )?
            .query_row(params![self.sync_key, folder.as_bytes(), self.listed_by], |row| {
                Ok((row.get::<_, Option<Vec<u8>>>(0)?.map(syncs::path), row.get(1)?))
            })
            .optional()?)
    }
}

/// The path of what has this name in a folder.
#[must_use]
pub fn below(folder: &EntryPath, name: &[u8]) -> EntryPath {
    if folder.as_bytes().is_empty() {
        return EntryPath::new(name);
    }
    EntryPath::new([folder.as_bytes(), b"/", name].concat())
}
