//! The processes that an extractor has started, found again in the system's list: to see how much
//! memory they have taken, and to end those that left the group that they were started in.
//!
//! They are known by a variable of their environment, which holds the scratch folder of the child
//! that they come from; a folder is never given twice.

use std::{path::Path, time::Duration};

/// How often it is looked at what processes take.
const LOOK: Duration = Duration::from_millis(250);

/// The variable that holds the scratch folder of the child.
pub const MARK: &str = "CATCHMENT_SCRATCH";

/// Processes that one extractor may have at once.
const MOST: usize = 256;

/// What the processes of a child take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    /// How many they are.
    count: usize,
    /// Memory in use, in bytes.
    memory: u64,
}

/// What the group of a process and whatever it started take.
#[cfg(target_os = "linux")]
fn taken(group: i32, scratch: &Path) -> Taken {
    let all = linux::processes();
    let mut taken = Taken::default();
    let mut family: std::collections::HashSet<i32> = [group].into();
    // A child has a higher number than its parent, but where numbers begin anew: two looks suffice
    // for a family of any sense.
    for _ in 0..2 {
        for process in &all {
            let belongs = process.group == group
                || family.contains(&process.parent)
                || (process.is_adopted() && linux::has_mark(process.id, |it| it == scratch));
            if belongs {
                family.insert(process.id);
            }
        }
    }
    for process in all.iter().filter(|process| family.contains(&process.id)) {
        taken.count += 1;
        taken.memory += process.memory;
    }
    taken
}

#[cfg(not(target_os = "linux"))]
fn taken(_: i32, _: &Path) -> Taken {
    Taken::default()
}

/// Ends once the processes of a program take more than they may, saying so.
pub(super) async fn too_much(group: i32, scratch: &Path, memory: u64) -> String {
    loop {
        tokio::time::sleep(LOOK).await;
        let at = scratch.to_owned();
        let looked = tokio::task::spawn_blocking(move || excess(group, &at, memory)).await;
        if let Ok(Some(message)) = looked {
            return message;
        }
    }
}

/// What the processes of a program take that they may not, if anything, for people.
pub(super) fn excess(group: i32, scratch: &Path, memory: u64) -> Option<String> {
    let taken = taken(group, scratch);
    if taken.memory > memory {
        return Some(format!("it used more than {memory} bytes of memory"));
    }
    (taken.count > MOST).then(|| format!("it started more than {MOST} processes"))
}

/// Ends all processes whose scratch folder is one of these and waits for them, again and again
/// until there are none: they may start others meanwhile.
#[cfg(target_os = "linux")]
pub fn end(is_one: impl Fn(&Path) -> bool) {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
    const LOOKS: usize = 200;
    let mut ended: std::collections::HashSet<Pid> = std::collections::HashSet::new();
    for _ in 0..LOOKS {
        let alive = linux::processes().into_iter().filter(|process| !process.is_zombie);
        let found: Vec<Pid> = alive
            .filter(|process| linux::has_mark(process.id, &is_one))
            .filter_map(|process| Pid::from_raw(process.id))
            .collect();
        for pid in &found {
            let _ = kill_process(*pid, Signal::KILL);
        }
        ended.extend(&found);
        // Those whose parent ended first are this process's to clear away; for others it is an
        // error.
        ended.retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
        if found.is_empty() && ended.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Elsewhere the group is all that can be found.
#[cfg(not(target_os = "linux"))]
pub fn end(_: impl Fn(&Path) -> bool) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path, sync::LazyLock};

    /// Bytes of a page of memory: `AT_PAGESZ` of what the kernel gave this process at its start,
    /// <https://man7.org/linux/man-pages/man3/getauxval.3.html>.
    static PAGE: LazyLock<u64> = LazyLock::new(|| {
        const AT_PAGESZ: usize = 6;
        let vector = fs::read("/proc/self/auxv").unwrap_or_default();
        let words: Vec<usize> = vector
            .as_chunks::<{ size_of::<usize>() }>()
            .0
            .iter()
            .map(|word| usize::from_ne_bytes(*word))
            .collect();
        let found = words.as_chunks::<2>().0.iter().find(|[name, _]| *name == AT_PAGESZ);
        found.map_or(4096, |[_, bytes]| *bytes as u64)
    });

    /// A process, as the system lists it.
    pub(super) struct Process {
        pub(super) id: i32,
        pub(super) parent: i32,
        pub(super) group: i32,
        pub(super) memory: u64,
        pub(super) is_zombie: bool,
    }

    impl Process {
        /// Whether its parent is this process, or nobody.
        pub(super) fn is_adopted(&self) -> bool {
            self.parent <= 1 || u32::try_from(self.parent).is_ok_and(|it| it == std::process::id())
        }
    }

    /// All that this process may see. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
    pub(super) fn processes() -> Vec<Process> {
        let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
        let page = *PAGE;
        folder
            .filter_map(|entry| {
                let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
                let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
                // The name is in brackets and may hold anything.
                let mut rest = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
                let is_zombie = rest.next()? == "Z";
                let parent = rest.next()?.parse().ok()?;
                let group = rest.next()?.parse().ok()?;
                // The 24th field; the state was the 3rd.
                let pages: u64 = rest.nth(18)?.parse().ok()?;
                Some(Process { id, parent, group, memory: pages * page, is_zombie })
            })
            .collect()
    }

    /// Whether a process has a mark that is one of these.
    pub(super) fn has_mark(id: i32, is_one: impl Fn(&Path) -> bool) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{id}/environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|pair| {
            let value =
                pair.strip_prefix(super::MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|value| is_one(Path::new(OsStr::from_bytes(value))))
        })
    }
}
