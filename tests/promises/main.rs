//! What Catchment promises, kept: each module is a promise, each test a sentence of it, told
//! through the built program. Real peers and scripted faults come from `tests/support`.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support module is written like a library, for its readers.
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
// Each test crate uses its own part of it.
#[allow(dead_code)]
mod support;

mod bad_input;
mod changing_sources;
mod clocks;
mod command_line;
mod crashes;
mod credentials;
mod damage;
mod disk;
mod export_disks;
mod exports;
mod failing_entries;
mod failing_listings;
mod folders;
mod histories;
mod hosts;
mod keys;
mod leases;
mod mapping;
mod metadata_filters;
mod numbers;
mod odd_servers;
mod older_data;
mod read_only;
mod reading;
mod removals;
mod renames;
mod requests;
mod the_fake;
mod tls;
