//! SharePoint and OneDrive.

pub mod provider;
