//! Processing: from objects to documents, through the library and the server.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod extract;
