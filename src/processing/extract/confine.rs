//! What a child process takes from itself before it reads a byte that came from outside: rights,
//! room and time. Only safe calls, made by the child in its only thread.
//!
//! Where the kernel has no Landlock or no filters of system calls the rest still holds; [`missing`]
//! says what does not.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

/// What a child may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Processor time over its life, in seconds.
    pub cpu_secs: u64,
    /// Address space in bytes; `None`: not limited this way, because what runs maps far more than
    /// it uses.
    pub address_space: Option<u64>,
    /// The longest file that it may write, in bytes.
    pub file_bytes: u64,
    /// Folders and files that it may read, and run programs from.
    pub read: Vec<PathBuf>,
    /// Its scratch folder, which it may write to.
    pub scratch: PathBuf,
    /// Whether it may use the network.
    pub network: bool,
    /// Whether it may use devices such as a graphics card.
    pub devices: bool,
    /// The process group that nothing of it may join: that of the process that started it, which
    /// knows what an extractor has started by its group.
    pub apart_from: Option<i32>,
    /// Whether a program gets requests: its standard input is the socket that its output is.
    pub is_asked: bool,
}

/// The variable that tells a child which process started it.
pub const PARENT: &str = "CATCHMENT_PARENT";

/// Open files that a child may have.
const OPEN_FILES: u64 = 256;
/// How far behind others a child stands in line for the processor.
const NICE: i32 = 10;

/// Confines this process, for good. To be called before there are other threads.
///
/// # Errors
/// When a limit cannot be set. A kernel without Landlock or filters is no error.
pub fn enter(confinement: &Confinement) -> io::Result<()> {
    die_with_parent()?;
    let limits = [
        (Resource::Cpu, Some(confinement.cpu_secs)),
        (Resource::Fsize, Some(confinement.file_bytes)),
        (Resource::Nofile, Some(OPEN_FILES)),
        (Resource::Core, Some(0)),
        (Resource::As, confinement.address_space),
    ];
    for (resource, limit) in limits {
        if limit.is_some() {
            rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
        }
    }
    rustix::process::nice(NICE)?;
    std::env::set_current_dir(&confinement.scratch)?;
    lock_up(confinement).map_err(io::Error::other)?;
    forbid(confinement)
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before that could be said.
    let expected = std::env::var(PARENT).ok();
    let parent = getppid().map(|parent| parent.as_raw_nonzero().to_string());
    if expected.is_none() || expected == parent {
        return Ok(());
    }
    Err(io::Error::other("the process that started this one has ended"))
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// System folders that any program needs to start and to know its time zone. `/opt` and home
/// folders are not among them: what a program needs from there, its definition allows.
#[cfg(target_os = "linux")]
const SYSTEM: [&str; 8] =
    ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts"];

/// Folders and files that every program may read.
#[cfg(target_os = "linux")]
pub(super) fn system() -> impl Iterator<Item = &'static Path> {
    SYSTEM.into_iter().map(Path::new)
}

/// Elsewhere nothing is kept from them.
#[cfg(not(target_os = "linux"))]
pub(super) fn system() -> impl Iterator<Item = &'static Path> {
    std::iter::once(Path::new("/"))
}

#[cfg(target_os = "linux")]
fn lock_up(
    confinement: &Confinement,
) -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
        Scope, path_beneath_rules,
    };
    let abi = ABI::V6;
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(abi))?;
    if !confinement.network {
        rules = rules.handle_access(AccessNet::from_all(abi))?.scope(Scope::from_all(abi))?;
    }
    // A program with a network may reach other processes; signals to them stay forbidden.
    rules = rules.scope(Scope::Signal)?;
    let read = AccessFs::from_read(abi);
    let devices: &[&str] =
        if confinement.devices { &["/dev", "/sys/devices", "/sys/bus", "/sys/class"] } else { &[] };
    // No device nodes: they lead to what is outside of the folder.
    let scratch = AccessFs::from_all(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let everyday = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"];
    rules
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(&confinement.read, read))?
        .add_rules(path_beneath_rules(everyday, AccessFs::from_file(abi)))?
        .add_rules(path_beneath_rules(devices, AccessFs::from_all(abi)))?
        .add_rules(path_beneath_rules([&confinement.scratch], scratch))?
        .restrict_self()
}

#[cfg(not(target_os = "linux"))]
fn lock_up(_: &Confinement) -> Result<(), std::convert::Infallible> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn forbid(confinement: &Confinement) -> io::Result<()> {
    use super::syscalls;
    syscalls::forbid(confinement.network, confinement.apart_from)
        .or_else(|error| if syscalls::is_unavailable(&error) { Ok(()) } else { Err(error) })
}

#[cfg(not(target_os = "linux"))]
fn forbid(_: &Confinement) -> io::Result<()> {
    Ok(())
}

/// What this system cannot keep a child from, for the page of an extractor: `files`, `network`,
/// `attributes` of files that it may read, and other `processes`, which it could end.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    static MISSING: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(probe);
    MISSING.clone()
}

/// A thread confines itself to see how far that goes: the confinement ends with the thread.
#[cfg(target_os = "linux")]
fn probe() -> Vec<&'static str> {
    use landlock::{ABI, LandlockStatus};
    let nothing = Confinement::default();
    let confined = std::thread::spawn(move || {
        let status = lock_up(&nothing).ok().map(|status| status.landlock);
        (status, super::syscalls::forbid(nothing.network, None).is_ok())
    });
    let (status, has_filters) = confined.join().unwrap_or_default();
    let has_rules = |of: ABI| match status {
        Some(LandlockStatus::Available { effective_abi, .. }) => effective_abi >= of,
        _ => false,
    };
    let all = [
        // Before the third version a file could be cut short by whoever may read it.
        ("files", has_rules(ABI::V3)),
        ("network", has_filters),
        ("attributes", has_filters),
        ("processes", has_rules(ABI::V6)),
    ];
    all.into_iter().filter(|(_, is_kept)| !is_kept).map(|(name, _)| name).collect()
}

#[cfg(not(target_os = "linux"))]
fn probe() -> Vec<&'static str> {
    vec!["files", "network", "attributes", "processes"]
}

/// Whether a child can be let read a file without being able to change anything of it.
#[must_use]
pub fn can_only_read() -> bool {
    !missing().iter().any(|what| ["files", "attributes"].contains(what))
}
