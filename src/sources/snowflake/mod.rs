//! Snowflake tables.

pub mod provider;
