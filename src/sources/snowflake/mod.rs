//! Snowflake: rows of a table or view as entries, over the SQL API, version 2.
//!
//! - `account`: every spelling of an account, made one
//! - `key_pair`: keys, and the tokens that they sign
//! - `names`: names as people write them and as SQL takes them
//! - `columns`, `value`, `time`, `variant`: types, and what cells mean
//! - `rows`: cells as they arrive
//! - `row`: a row as an entry
//! - `sql`: the statements
//! - `protocol`: what goes over the wire, and what refusals mean
//! - `sign_in`, `session`: statements, run

pub mod provider;

mod account;
mod catalogue;
mod columns;
mod feed;
mod key_pair;
mod names;
mod pass;
mod protocol;
mod row;
mod rows;
mod session;
mod sign_in;
mod source;
mod sql;
mod time;
mod value;
mod variant;
mod wire;

/// What connections to it are called by.
const NAME: &str = "snowflake";
