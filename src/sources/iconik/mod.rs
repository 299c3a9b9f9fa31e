//! Iconik.

pub mod provider;
