//! Extractors: what makes documents of an object.
//!
//! The boundary is [`protocol`]: a [`protocol::Request`] goes in, [`protocol::Output`]s come out, a
//! JSON line each. [`builtin`] has the extractors that come with Catchment; they run in child
//! processes of this same program ([`child`]), which confine themselves ([`confine`]) before they
//! read a byte. [`process`] is the side that starts, asks, limits and ends such a child; [`gather`]
//! puts its lines together and refuses too many; [`spawner`] is the thread that all children are
//! started from; [`pool`] keeps children for the next object.
//!
//! Callers use [`Extractors`]. What does not live here: which objects are extracted when, what
//! becomes of a failure, and the database.

pub mod builtin;
pub mod child;
pub mod confine;
pub mod gather;
pub mod pool;
pub mod process;
pub mod protocol;
pub mod spawner;

pub use builtin::{Builtin, Field};
pub use gather::{Document, Extracted, Piece};
pub use pool::Extractors;
pub use protocol::Class;

use std::{collections::BTreeMap, fs::File};

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
}

impl Failure {
    /// A failure of that class.
    #[must_use]
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), log: String::new() }
    }
}
