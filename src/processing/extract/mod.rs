//! Extractors: what makes documents of an object.
//!
//! The boundary is [`protocol`]: a [`protocol::Request`] goes in, [`protocol::Output`]s come out, a
//! JSON line each. [`extractor`] is what callers see of each. [`builtin`] has the extractors that
//! come with Catchment; they run in child processes of this same program ([`child`]), which confine
//! themselves ([`confine`], `syscalls`) before they read a byte. [`own`] reads the owner's, each of
//! which is a `program`, confined in the same way, or a [`service`]. [`process`] is the side that
//! starts, asks and limits a child, and `group` ends it with all that it has started; a `guard`
//! stays beside each program, so that nothing of it outlives this process; `memory` measures;
//! `staging` puts inputs where a program can read them; [`strays`] finds what a program has
//! started; [`drawing`] has the programs of the system that draw what ours cannot; `own_paths`
//! keeps paths of the data directory out of messages; [`gather`] puts lines together and refuses
//! too many; [`spawner`] is the thread that all children are started from; [`pool`] keeps children
//! for the next object.
//!
//! Callers use [`Extractors`]. What does not live here: which objects are extracted when, what
//! becomes of a failure, and the database.

pub mod builtin;
pub mod child;
pub mod confine;
pub mod drawing;
pub mod extractor;
pub mod gather;
mod group;
mod guard;
pub(super) mod memory;
pub mod own;
mod own_paths;
pub mod pool;
pub mod process;
mod program;
pub mod protocol;
pub mod scratch;
pub mod service;
pub mod spawner;
mod staging;
pub mod strays;
#[cfg(target_os = "linux")]
mod syscalls;

pub use builtin::Builtin;
pub use extractor::{Extractor, Field};
pub use gather::{Document, Extracted, Piece};
pub use pool::Extractors;
pub use protocol::Class;
pub use service::Links;

use std::{collections::BTreeMap, fs::File, time::Duration};

use serde_json::{Map, Value};

/// What an extractor is given of one object.
#[derive(Debug)]
pub struct Job {
    /// The same for every try of this object in this batch: what a program may use to do something
    /// once.
    pub run: String,
    /// The object.
    pub object: protocol::ObjectFacts,
    /// What the collection maps to the extractor's inputs.
    pub inputs: BTreeMap<String, Given>,
    /// The collection's parameters.
    pub parameters: Map<String, Value>,
}

/// One input.
#[derive(Debug)]
pub enum Given {
    /// A blob, open for reading.
    File {
        /// The bytes.
        file: File,
        /// What is known of them.
        facts: protocol::FileFacts,
    },
    /// A value.
    Value(Value),
}

/// Why nothing came of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// For people.
    pub message: String,
    /// The end of what the extractor wrote to its standard error.
    pub log: String,
    /// How long whoever refused asks to wait before another try.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of that class.
    #[must_use]
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), log: String::new(), retry_after: None }
    }
}
