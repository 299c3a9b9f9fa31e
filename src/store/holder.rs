//! Who holds a lease.

use std::fmt;

use jiff::Timestamp;

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Names the lock file that its process keeps locked for as long as it lives.
    pub worker: String,
    /// Its host.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless renewed.
    pub until: Timestamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "another run of this sync is under way on host {}, pid {}, since {} (lease until {} \
             unless renewed)",
            self.host,
            self.pid,
            self.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            self.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
    }
}
