//! What a thread does for one object: compare what is there with it, or write it under a name of
//! its own.

use std::{fs::File, io::Write as _, sync::Arc, time::SystemTime};

use cap_std::fs::Dir;
use tokio_util::sync::CancellationToken;

use super::{
    dir::path,
    facts::Facts,
    filesystem::times,
    refusal::{Refusal, Trouble},
    temp::Temp,
};
use crate::{model::BlobHash, store::objects::Object};

/// FileTask on one file, from [`Target::prepare`] by way of a thread to [`Target::place`].
#[derive(Clone, Debug)]
pub(super) struct FileTask {
    /// The folder that the file belongs to.
    pub(super) folder: Arc<Dir>,
    pub(super) name: Vec<u8>,
    pub(super) task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Write it where nothing is.
    Write,
    /// Write it over what is there.
    Replace,
    /// See whether what is there has its content.
    Compare,
}

/// What came of [`FileTask`].
#[derive(Debug)]
pub(super) enum Done {
    Written(Temp),
    Same,
}

/// The bytes of an object.
#[derive(Debug)]
pub(super) enum Bytes {
    Inline(Vec<u8>),
    File(File),
}

impl FileTask {
    /// Whether the object's bytes are needed for it.
    pub(super) fn writes(&self) -> bool {
        self.task != Task::Compare
    }

    /// Reads what is there: it is the object's content, or in its way.
    pub(super) fn compare(&self, hash: BlobHash) -> Result<Done, Trouble> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self.folder.open(path(&self.name))?)?;
        match BlobHash::from(hasher.finalize()) == hash {
            true => Ok(Done::Same),
            false => Err(Refusal::Conflict.into()),
        }
    }

    /// Writes the object's bytes and time under a name of their own.
    pub(super) fn write(
        &self,
        bytes: Bytes,
        object: &Object,
        facts: &Facts,
        stop: &CancellationToken,
    ) -> Result<Done, Trouble> {
        let (temp, found) = match bytes {
            Bytes::Inline(bytes) => {
                let mut temp = Temp::create(&self.folder)?;
                temp.file.write_all(&bytes)?;
                (temp, BlobHash::of(&bytes))
            }
            Bytes::File(from) => match Temp::clone_of(&self.folder, &from, facts) {
                Some(clone) => (clone, hash_of(&from)?),
                None => Temp::copy_of(&self.folder, &from, stop)?,
            },
        };
        let size = temp.file.metadata()?.len();
        if size != object.size {
            let words = format!("{size} bytes instead of {}", object.size);
            return Err(Refusal::Damaged(words).into());
        }
        if found != object.hash {
            return Err(Refusal::Damaged(format!("they hash to {found}")).into());
        }
        if let Some(modified) = object.modified.and_then(|at| SystemTime::try_from(at).ok()) {
            temp.file.set_times(times(modified))?;
        }
        Ok(Done::Written(temp))
    }
}

/// The hash of bytes that do not pass through this process on their way.
fn hash_of(file: &File) -> std::io::Result<BlobHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().into())
}
