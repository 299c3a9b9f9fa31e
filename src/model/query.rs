//! What a list is asked for: filters over fields, an order. Checked as far as that goes without
//! knowing the table; which fields a table has, `store` knows.

use serde::{Deserialize, Serialize};

use super::FieldProblem;

/// The path of a field in a record as the API shows it: `blobs.details.size_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// Reads a dotted path.
    ///
    /// # Errors
    /// When a part of it is empty, or has a quotation mark, a backslash or a control character.
    pub fn parse(text: &str) -> Result<Self, FieldProblem> {
        let is_plain = |part: &str| {
            !part.is_empty() && !part.chars().any(|c| c == '"' || c == '\\' || c.is_control())
        };
        let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        if parts.iter().all(|part| is_plain(part)) {
            return Ok(Self(parts));
        }
        Err(FieldProblem::new("field", text, "is no path of a field")
            .accepts("names joined by dots, such as source.size_bytes"))
    }

    /// Its parts, one at least.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// As people write it.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.0.join(".")
    }
}

/// Which records are wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// Those that all of these want.
    All(Vec<Filter>),
    /// Those that one of these wants.
    Any(Vec<Filter>),
    /// Those that none of these wants.
    No(Vec<Filter>),
    /// Those of which this holds.
    Is(Condition),
}

/// A condition on one field. A field that is a list fulfils it if one of its items does; one that
/// is an object, null or absent has no values, so that only `Ne`, `NotIn` and `IsNull` hold for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The field.
    pub field: FieldPath,
    /// What is asked of it.
    pub test: Test,
    /// Whether text is compared as it is; else upper and lower case are the same.
    pub case_sensitive: bool,
}

/// What is asked of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Test {
    /// It stands in this relation to a value of its own kind; values of other kinds never do.
    Is(Relation, Literal),
    /// It is none of its values.
    Ne(Literal),
    /// One of these.
    In(Vec<Literal>),
    /// None of these.
    NotIn(Vec<Literal>),
    /// Text that has this in it.
    Contains(String),
    /// Text that begins so.
    StartsWith(String),
    /// Text that ends so.
    EndsWith(String),
    /// Text in which this regular expression finds something.
    Regex(String),
    /// Text that has each of these words, in any order, by their English stems.
    Words(String),
    /// Text that has these words in a row.
    Phrase(String),
    /// It has no value (true), or one (false).
    IsNull(bool),
}

/// How two values of one kind stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// The same.
    Eq,
    /// More, or later.
    Gt,
    /// Less, or earlier.
    Lt,
    /// More, later or the same.
    Gte,
    /// Less, earlier or the same.
    Lte,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// True or false; these have no order.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Text; also a time, where the field is one.
    Text(String),
}

/// In which order records are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By this field; equals by their age.
    pub field: FieldPath,
    /// The greatest first.
    pub descending: bool,
}
