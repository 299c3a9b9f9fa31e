//! Processing: from objects to documents, through the library and the server.

mod extract;
