//! What filters need and SQLite has not: text without case beyond ASCII, regular expressions, words
//! by their stems. Every connection has them.

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};
use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::ValueRef,
};
use rust_stemmers::{Algorithm, Stemmer};

use crate::model::{BlobId, CONTENT, FieldType, ObjectId};

/// The largest compiled regular expression, in bytes: filters come from outside.
const REGEX_BYTES: usize = 1 << 20;

/// Adds the functions to a connection.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("folded", 1, flags, |context| {
        Ok(text(context, 0).map(|text| fold(&text)))
    })?;
    connection.create_scalar_function("searchable", 1, flags, |context| {
        Ok(text(context, 0).map(|text| searchable(&text)))
    })?;
    connection.create_scalar_function("finds", 2, flags, |context| {
        let regex = context.get_or_create_aux(0, |pattern| {
            regex(pattern.as_str()?).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        })?;
        Ok(text(context, 1).is_some_and(|text| regex.is_match(&text)))
    })?;
    connection.create_scalar_function("has_words", 2, flags, |context| {
        let wanted = context.get_or_create_aux(0, |wanted| {
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(stems(wanted.as_str()?))
        })?;
        Ok(text(context, 1).is_some_and(|text| wanted.is_subset(&stems(&text))))
    })?;
    connection.create_scalar_function("mark_of_bucket", 1, flags, |context| {
        Ok(mark_of_bucket(context.get(0)?))
    })?;
    // What a blob is where its row says nothing of it.
    connection.create_scalar_function("type_of_mime", 1, flags, |context| {
        Ok(FieldType::of_mime(text(context, 0).as_deref()).as_str())
    })?;
    connection.create_scalar_function("file_name_of", 1, flags, |context| {
        let path = text(context, 0).unwrap_or_default();
        Ok(path.rsplit('/').next().unwrap_or_default().to_owned())
    })?;
    connection.create_scalar_function("blob_id_of", 2, flags, |context| {
        let object = ObjectId::from_stored(text(context, 0).unwrap_or_default());
        let property = text(context, 1).unwrap_or_default();
        Ok(BlobId::derived(&object, &property, CONTENT).to_string())
    })
}

/// Text as it is compared where case does not count.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// Text as it is indexed: without case, and without NUL, at which FTS5 would stop.
pub(super) fn searchable(text: &str) -> String {
    fold(text).replace('\0', " ")
}

/// Three letters that stand for a bucket in a text: of those that Unicode gives no meaning,
/// <https://www.unicode.org/faq/private_use.html>.
pub(super) fn mark_of_bucket(key: i64) -> String {
    const FIRST: u32 = 0xE000;
    const LETTERS: i64 = 6400;
    let letter = |digit: i64| {
        let digit = u32::try_from(digit.rem_euclid(LETTERS)).unwrap_or_default();
        char::from_u32(FIRST + digit).unwrap_or_default()
    };
    [key / (LETTERS * LETTERS), key / LETTERS, key].map(letter).iter().collect()
}

/// A regular expression from outside.
///
/// # Errors
/// When it is none, or too large.
pub(super) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build()
}

/// The stems of the words in a text.
fn stems(text: &str) -> HashSet<String> {
    let stemmer = Stemmer::create(Algorithm::English);
    words(text).map(|word| stemmer.stem(&fold(word)).into_owned()).collect()
}

/// The words of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// An argument as text; bytes that are none are replaced. NULL has no text.
fn text(context: &Context<'_>, index: usize) -> Option<String> {
    match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}
