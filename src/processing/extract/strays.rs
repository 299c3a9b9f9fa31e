//! The processes that an extractor has started, found in the system's list: to see how much they
//! take, and to end them.
//!
//! Whatever a program starts descends from its guard: orphans become the guard's children. Only
//! where a guard was killed do they become this process's. Then they are known by a variable of
//! their environment, which holds the scratch folder of the program that they come from (a folder
//! is never given twice), and, if the program has taken that away, by what it cannot take off: such
//! a process is confined, and nobody here has started it. It belongs to no program any more, and is
//! ended.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often it is looked at what processes take.
const LOOK: Duration = Duration::from_millis(250);

/// The variable that holds the scratch folder of the child.
pub const MARK: &str = "CATCHMENT_SCRATCH";

/// Processes that one extractor may have at once.
const MOST: usize = 256;

/// The processes that were started here and that nobody has waited for yet, with the mark of those
/// that have one.
static STARTED: Mutex<BTreeMap<i32, Option<PathBuf>>> = Mutex::new(BTreeMap::new());

fn started() -> MutexGuard<'static, BTreeMap<i32, Option<PathBuf>>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that was started here. Dropping it kills it, unless it has ended.
#[derive(Debug)]
pub(super) struct Started {
    child: Child,
    id: i32,
}

/// Starts a child.
///
/// # Errors
/// The system's.
pub(super) fn start(command: &mut Command) -> io::Result<Started> {
    let mark = command.get_envs().find(|(name, _)| *name == MARK);
    let mark = mark.and_then(|(_, folder)| folder).map(PathBuf::from);
    // Nobody looks for strays until it is known that this is none.
    let mut all = started();
    let child = command.spawn()?;
    let id = i32::try_from(child.id()).map_err(io::Error::other)?;
    all.insert(id, mark);
    Ok(Started { child, id })
}

impl Started {
    /// Its number.
    pub(super) fn id(&self) -> i32 {
        self.id
    }

    /// How it has ended, if it has.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        started().remove(&self.id);
    }
}

/// Processes that extract together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A child of ours, and what it has started.
    Child(i32),
    /// What a guard has started.
    Guarded(i32),
}

/// What the processes of a child take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    /// How many they are.
    count: usize,
    /// Memory in use, in bytes.
    memory: u64,
}

/// What a family takes.
#[cfg(target_os = "linux")]
fn taken(family: Family) -> Taken {
    let all = linux::processes();
    let family = match family {
        Family::Child(child) => linux::with_descendants(&all, child),
        Family::Guarded(guard) => linux::descendants(&all, guard),
    };
    let mut taken = Taken::default();
    for process in all.iter().filter(|process| family.contains(&process.id)) {
        taken.count += 1;
        taken.memory += process.memory;
    }
    taken
}

#[cfg(not(target_os = "linux"))]
fn taken(_: Family) -> Taken {
    Taken::default()
}

/// The memory that a family uses, in bytes.
pub(super) fn memory(family: Family) -> u64 {
    taken(family).memory
}

/// Ends once all that a guard has started takes more than it may, saying so.
pub(super) async fn too_much(guard: i32, memory: u64) -> String {
    loop {
        tokio::time::sleep(LOOK).await;
        let looked = tokio::task::spawn_blocking(move || excess(guard, memory)).await;
        if let Ok(Some(message)) = looked {
            return message;
        }
    }
}

/// What all that a guard has started takes that it may not, if anything, for people.
pub(super) fn excess(guard: i32, memory: u64) -> Option<String> {
    let taken = taken(Family::Guarded(guard));
    if taken.memory > memory {
        return Some(format!("it used more than {memory} bytes of memory"));
    }
    (taken.count > MOST).then(|| format!("it started more than {MOST} processes"))
}

/// Makes this process the parent of every descendant whose own parent ends.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Elsewhere they are lost.
#[cfg(not(target_os = "linux"))]
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Kills all that descends from this process, again and again until it has no descendants: they may
/// start others meanwhile. Somebody else waits for its children.
#[cfg(target_os = "linux")]
pub(super) fn end_started() {
    const LONGEST: Duration = Duration::from_millis(100);
    let mut pause = Duration::from_millis(1);
    while linux::kill_started() {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST);
    }
}

/// Elsewhere the group is all that can be found.
#[cfg(not(target_os = "linux"))]
pub(super) fn end_started() {
    use rustix::process::{Signal, getpgrp, kill_process_group};
    let _ = kill_process_group(getpgrp(), Signal::KILL);
}

/// Ends all processes whose scratch folder is one of these, and strays that belong to no program
/// any more, and waits for them, again and again until there are none: they may start others
/// meanwhile.
#[cfg(target_os = "linux")]
pub fn end(is_one: impl Fn(&Path) -> bool) {
    end_among(linux::Among::All, is_one);
}

/// Ends strays that belong to no program any more, and waits for them.
#[cfg(target_os = "linux")]
pub(super) fn clear_away() {
    end_among(linux::Among::Adopted, |_| false);
}

#[cfg(target_os = "linux")]
fn end_among(among: linux::Among, is_one: impl Fn(&Path) -> bool) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let until = std::time::Instant::now() + PATIENCE;
    while linux::end_now(&is_one, among) && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Elsewhere there are none that could be found.
#[cfg(not(target_os = "linux"))]
pub(super) fn clear_away() {}

/// Elsewhere the group is all that can be found.
#[cfg(not(target_os = "linux"))]
pub fn end(_: impl Fn(&Path) -> bool) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        collections::HashSet,
        ffi::OsString,
        fs,
        os::unix::ffi::OsStringExt as _,
        path::{Path, PathBuf},
        sync::LazyLock,
        time::Duration,
    };

    use rustix::process::{Pid, Signal, WaitOptions, getpgrp, kill_process, waitpid};

    /// Whose environment is read.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum Among {
        /// That of every process: what another server has left behind is found, too.
        All,
        /// That of this process's children only.
        Adopted,
    }

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

    /// Adds what the processes of a family have started.
    fn add_descendants(all: &[Process], family: &mut HashSet<i32>) {
        loop {
            let known = family.len();
            let of_family = all.iter().filter(|process| family.contains(&process.parent));
            let more: Vec<i32> = of_family.map(|process| process.id).collect();
            family.extend(more);
            if family.len() == known {
                return;
            }
        }
    }

    /// A process, all that it has started, and what that has.
    pub(super) fn with_descendants(all: &[Process], of: i32) -> HashSet<i32> {
        let mut family = HashSet::from([of]);
        add_descendants(all, &mut family);
        family
    }

    /// The same without itself.
    pub(super) fn descendants(all: &[Process], of: i32) -> HashSet<i32> {
        let mut family = with_descendants(all, of);
        family.remove(&of);
        family
    }

    /// Kills all that descends from this process. Returns whether there was any.
    pub(super) fn kill_started() -> bool {
        let all = processes();
        let family = descendants(&all, own());
        let alive = all.iter().filter(|process| !process.is_zombie && family.contains(&process.id));
        for pid in alive.filter_map(|process| Pid::from_raw(process.id)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        !family.is_empty()
    }

    fn own() -> i32 {
        i32::try_from(std::process::id()).unwrap_or(-1)
    }

    /// The mark of a process, unless it has none or does not show it.
    pub(super) fn mark(id: i32) -> Option<PathBuf> {
        let read = || fs::read(format!("/proc/{id}/environ")).ok();
        let mut environment = read()?;
        if environment.is_empty() {
            // It may be becoming another program just now.
            std::thread::sleep(Duration::from_millis(1));
            environment = read()?;
        }
        environment.split(|byte| *byte == 0).find_map(|pair| {
            let value = pair.strip_prefix(super::MARK.as_bytes())?.strip_prefix(b"=")?;
            Some(PathBuf::from(OsString::from_vec(value.to_vec())))
        })
    }

    /// How far a process is confined: how many filters of system calls it has, or whether any, and
    /// whether it can gain no rights. Neither is ever taken back, and both are handed down.
    fn confinement(id: &str) -> Option<(u32, u32)> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let filters = number("Seccomp_filters:").or_else(|| number("Seccomp:"));
        Some((filters.unwrap_or(0), number("NoNewPrivs:").unwrap_or(0)))
    }

    /// Whether it is confined further than this process: it comes from an extractor.
    fn is_confined(id: i32) -> bool {
        static OWN: LazyLock<(u32, u32)> =
            LazyLock::new(|| confinement("self").unwrap_or_default());
        confinement(&id.to_string())
            .is_some_and(|(filters, rights)| filters > OWN.0 || rights > OWN.1)
    }

    /// Kills the processes whose mark is one of these, and this process's children that come from
    /// an extractor, were not started here and have no mark of a program that still runs, all with
    /// what they have started. Waits for those that have ended. Returns whether any was killed.
    pub(super) fn end_now(is_one: impl Fn(&Path) -> bool, among: Among) -> bool {
        let started = super::started();
        let all = processes();
        let own = own();
        let own_group = getpgrp().as_raw_nonzero().get();
        let is_running = |mark: &PathBuf| started.values().flatten().any(|known| known == mark);
        let (mut doomed, mut ended) = (HashSet::new(), Vec::new());
        for process in all.iter().filter(|process| !started.contains_key(&process.id)) {
            // A child that a library has started is in this process's group.
            let is_adopted =
                process.parent == own && process.group != own_group && is_confined(process.id);
            if process.is_zombie {
                ended.extend(is_adopted.then_some(process.id));
            } else if is_adopted || among == Among::All {
                let is_doomed = match mark(process.id) {
                    Some(mark) if is_one(&mark) => true,
                    Some(mark) if is_running(&mark) => false,
                    _ => is_adopted,
                };
                if is_doomed {
                    doomed.insert(process.id);
                }
            }
        }
        add_descendants(&all, &mut doomed);
        doomed.retain(|id| !started.contains_key(id));
        for pid in doomed.iter().filter_map(|id| Pid::from_raw(*id)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        for pid in ended.into_iter().filter_map(Pid::from_raw) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        !doomed.is_empty()
    }
}
