//! A process with all that it starts: watched, and always ended as a whole and waited for.
//!
//! What breaks a limit is killed at once. A program that is merely no longer wanted, because its
//! batch was cancelled or this process is to end, is first asked to end (SIGTERM), and killed with
//! all that is left of it after [`GRACE`]. A child of ours has nothing to put in order.
//!
//! A program is started by its guard, and it is the guard that is the first process of its group.

use std::{
    process::ExitStatus,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid,
};

use super::{
    Class, Failure,
    guard::Hold,
    memory,
    scratch::Scratch,
    strays::{self, Family, Started},
};

/// How long a program has to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);
/// How long to wait for what is killed: only a process that hangs in the kernel takes so long.
const KILLED: Duration = Duration::from_secs(5);

/// A process with all that it starts. Dropping it ends them; [`all_ended`] waits for that.
#[derive(Debug)]
pub(super) struct Group {
    members: Option<Members>,
    ended: Option<ExitStatus>,
}

impl Group {
    /// A child of ours, which starts no others.
    pub(super) fn of(child: Started) -> Self {
        Self::new(child, None)
    }

    /// A program, which may start others, by its guard and the hold on that. Its scratch folder
    /// stays until all of them have ended. `memory` is the most that they may use together, in
    /// bytes.
    pub(super) fn of_program(
        guard: Started,
        hold: Hold,
        scratch: Arc<Scratch>,
        memory: u64,
    ) -> Self {
        Self::new(guard, Some(Program { hold, scratch, memory }))
    }

    fn new(child: Started, program: Option<Program>) -> Self {
        let pid = Pid::from_raw(child.id());
        Self { members: Some(Members { child, pid, program }), ended: None }
    }

    /// How the process that was started ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Some(members) = &mut self.members
        {
            self.ended = members.status();
        }
        self.ended
    }

    /// Ends once a program takes more than it may, saying so; never for a child of ours, which the
    /// kernel limits. Measures either for whoever wants to know.
    pub(super) fn watched(&self) -> impl Future<Output = Failure> + use<> {
        let watched = self.members.as_ref().map(|members| {
            let (number, program) = (members.number(), members.program.as_ref());
            match program.map(|program| program.memory) {
                Some(memory) => (Family::Guarded(number), Some((number, memory))),
                None => (Family::Child(number), None),
            }
        });
        async move {
            let Some((family, limit)) = watched else { return std::future::pending().await };
            let too_much = async {
                match limit {
                    Some((guard, memory)) => strays::too_much(guard, memory).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = too_much => Failure::new(Class::Resource, message),
                never = memory::watch(family) => match never {},
            }
        }
    }

    /// Kills all of it, and waits until they are gone.
    pub(super) async fn kill(mut self) {
        if let Some(members) = self.members.take() {
            let gone = tokio::task::spawn_blocking(move || members.kill());
            let _ = tokio::time::timeout(KILLED, gone).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut members) = self.members.take() else { return };
        if members.program.is_none() {
            members.signal(Signal::KILL);
            if self.ended.is_some() || matches!(members.child.try_wait(), Ok(Some(_))) {
                return;
            }
        }
        // Nobody waits here for what takes its time.
        let ending = Ending::begins();
        let ends = move || {
            let _ending = ending;
            match members.program {
                Some(_) => members.end(),
                None => members.kill(),
            }
        };
        if let Err(error) = thread::Builder::new().name("group-end".to_owned()).spawn(ends) {
            tracing::error!(%error, "what an extractor left running could not be ended");
        }
    }
}

/// What a program has that a child of ours has not.
#[derive(Debug)]
struct Program {
    hold: Hold,
    scratch: Arc<Scratch>,
    memory: u64,
}

/// The processes of a group.
#[derive(Debug)]
struct Members {
    child: Started,
    pid: Option<Pid>,
    program: Option<Program>,
}

impl Members {
    /// The number of the group, which is that of its first process.
    fn number(&self) -> i32 {
        self.pid.map_or(-1, |pid| pid.as_raw_nonzero().get())
    }

    /// How the process that is asked has ended, if it has.
    fn status(&mut self) -> Option<ExitStatus> {
        let of_program = self.program.as_mut().and_then(|program| program.hold.status());
        of_program.or_else(|| self.child.try_wait().ok().flatten())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // Gone already, with all of its group: as good.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Whether one of the group is still there. Those whose parent ended before them are this
    /// process's to clear away.
    fn are_there(&mut self) -> bool {
        if matches!(self.child.try_wait(), Ok(None)) {
            return true;
        }
        while let Some(pid) = self.pid
            && let Ok(Some(_)) = waitpgid(pid, WaitOptions::NOHANG)
        {}
        self.pid.is_some_and(|pid| test_kill_process_group(pid).is_ok())
    }

    /// Asks them to end, and kills what is left after a while, or takes too much meanwhile.
    fn end(mut self) {
        const LOOKS_PER_COUNT: u32 = 25;
        self.signal(Signal::TERM);
        let until = Instant::now() + GRACE;
        for look in 1.. {
            if !self.are_there() || Instant::now() >= until {
                break;
            }
            if look % LOOKS_PER_COUNT == 0 && self.take_too_much() {
                break;
            }
            thread::sleep(LOOK);
        }
        self.kill();
    }

    fn take_too_much(&self) -> bool {
        self.program
            .as_ref()
            .is_some_and(|program| strays::excess(self.number(), program.memory).is_some())
    }

    /// Kills them and whatever left the group, and waits for all.
    fn kill(mut self) {
        match self.program.take() {
            Some(program) => self.let_go(program),
            None => {
                self.kill_group();
                strays::clear_away();
            }
        }
    }

    /// Leaves it to its guard to end a program; the guard ends when nothing is left. Where that was
    /// killed or hangs, ends the program without it.
    fn let_go(mut self, program: Program) {
        let Program { hold, scratch, .. } = program;
        drop(hold);
        let until = Instant::now() + KILLED;
        let mut pause = Duration::from_millis(1);
        let guard = loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => thread::sleep(pause),
                other => break other.ok().flatten(),
            }
            pause = (pause * 2).min(LOOK);
        };
        if guard.is_some_and(|status| status.code().is_some()) {
            return;
        }
        self.kill_group();
        strays::end(|marked| marked == scratch.path());
        let until = Instant::now() + KILLED;
        while self.are_there() && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }

    fn kill_group(&mut self) {
        // The number of a group that is gone may be another's by now.
        if self.are_there() {
            self.signal(Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Groups that are being ended by now.
static ENDING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Counts one of them for as long as it lasts.
struct Ending;

impl Ending {
    fn begins() -> Self {
        *ENDING.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        *ENDING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDING.1.notify_all();
    }
}

/// Waits until every group that was dropped has ended, but for what hangs in the kernel.
pub(super) async fn all_ended() {
    let wait = || {
        let count = ENDING.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(ENDING.1.wait_timeout_while(count, GRACE + 2 * KILLED, |count| *count > 0));
        strays::clear_away();
    };
    if let Err(error) = tokio::task::spawn_blocking(wait).await {
        tracing::error!(%error, "could not wait for what extractors left running");
    }
}
