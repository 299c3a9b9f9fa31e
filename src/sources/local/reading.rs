//! Reading a file: its bytes, and the proof at their end that they are of one version.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::PathBuf,
    sync::Arc,
};

use super::{Tree, source_error, version};
use crate::{
    model::{EntryId, Version},
    sources::{BlockingRead, ByteRange, SourceError},
};

/// A file being read, or about to be.
pub(super) struct Reading {
    tree: Arc<Tree>,
    id: EntryId,
    path: PathBuf,
    version: Version,
    range: ByteRange,
    file: Option<io::Take<File>>,
}

impl BlockingRead for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        if self.file.is_none() {
            self.file = Some(self.open().map_err(|error| source_error(&self.path, &error))?);
        }
        let Some(file) = &mut self.file else { return Ok(0) };
        let read = loop {
            match file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(|error| source_error(&self.path, &error))?,
            }
        };
        if read == 0 {
            self.check_version()?;
            self.check_emptiness()?;
        }
        Ok(read)
    }
}

impl Reading {
    /// The file of that id, should it be of `version`; nothing is opened yet.
    pub(super) fn new(tree: Arc<Tree>, id: EntryId, version: Version, range: ByteRange) -> Self {
        Self { path: tree.path(&id), tree, id, version, range, file: None }
    }

    fn open(&self) -> io::Result<io::Take<File>> {
        let mut file = self.tree.open_file(&self.id)?;
        if self.range.start > 0 {
            file.seek(io::SeekFrom::Start(self.range.start))?;
        }
        Ok(file.take(self.range.len))
    }

    /// What was read is the version that was asked for if the open file is it still: any write in
    /// between has moved its ctime.
    fn check_version(&self) -> Result<(), SourceError> {
        let Some(file) = &self.file else { return Ok(()) };
        let stat = rustix::fs::fstat(file.get_ref())
            .map_err(|errno| source_error(&self.path, &errno.into()))?;
        if version(&stat) == self.version {
            return Ok(());
        }
        Err(SourceError::Changed { message: format!("{:?} is being written", self.path) })
    }

    /// Files of `/proc`, and of some file systems in user space, have no size and bytes all the
    /// same. What is stored as empty has to be empty.
    fn check_emptiness(&mut self) -> Result<(), SourceError> {
        let Some(file) = self.file.as_mut().filter(|_| self.range.len == 0) else {
            return Ok(());
        };
        match file.get_mut().read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(SourceError::Unsupported {
                message: format!("{:?} has bytes, though its size is 0", self.path),
            }),
            Err(error) => Err(source_error(&self.path, &error)),
        }
    }
}
