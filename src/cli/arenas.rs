//! How many arenas glibc's allocator uses: a matter of what a server holds on to, not of what it
//! needs.
//!
//! glibc gives threads that allocate at the same time arenas of their own, up to eight for each
//! processor, and what is freed in one is used again by its threads only. A run passes each entry
//! from thread to thread, so every arena grows to what the busiest moment needed. With two, a
//! first run over 200,000 files holds half as much and takes no longer. Allocators that give
//! memory back were measured, too: with jemalloc and mimalloc, as they are and with any setting
//! that helped, a run held a quarter to a half more than with these two arenas.
//!
//! The number can only be set by an unsafe call, which this crate does without, or in the
//! environment before the program starts.

/// Executes this program again with two arenas; process id, arguments and open files stay. Does
/// nothing where the number is set already, by somebody or by this function, and where the program
/// cannot be executed again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn limit() {
    use std::{env, os::unix::process::CommandExt as _, process::Command};
    const VARIABLE: &str = "MALLOC_ARENA_MAX";
    let tunables = env::var("GLIBC_TUNABLES").unwrap_or_default();
    if env::var_os(VARIABLE).is_some() || tunables.contains("malloc.arena_max") {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut words = env::args_os();
    let mut command = Command::new(program);
    command.arg0(words.next().unwrap_or_default()).args(words).env(VARIABLE, "2");
    // Only returns if it has failed.
    let _error = command.exec();
}

/// Other allocators have no such number.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) const fn limit() {}
