//! What stays beside a program of the owner's for as long as anything of it runs, so that nothing
//! of it outlives this process, not even when this process is killed.
//!
//! A guard is this program again: it starts the owner's, becomes the parent of whatever that leaves
//! behind, and ends by itself once nothing is left. Its standard input is a socket whose other end,
//! a [`Hold`], only the process that started the guard has. The guard writes there how the program
//! ended. Once nobody has the hold any more, it kills all that comes from the program.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    process::{Command, ExitStatus, Stdio},
    thread,
};

use rustix::{
    process::{Pid, WaitOptions},
    stdio,
};
use tokio::signal::unix::{SignalKind, signal};

use super::strays;

/// The length of what a guard writes: a status as the system returns it, an `i32` of this computer.
const STATUS_BYTES: usize = size_of::<i32>();

/// The other end of a guard. Dropping it ends all that comes from the program.
#[derive(Debug)]
pub(super) struct Hold {
    socket: UnixStream,
    written: Vec<u8>,
}

impl Hold {
    /// On the guard that a command is to start, whose standard input it takes.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn on(command: &mut Command) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        Ok(Self { socket: ours, written: Vec::new() })
    }

    /// How the program has ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        let mut rest = [0; STATUS_BYTES];
        let missing = STATUS_BYTES - self.written.len();
        if let Ok(read) = self.socket.read(&mut rest[..missing]) {
            self.written.extend_from_slice(&rest[..read]);
        }
        let status = self.written.as_slice().try_into().ok()?;
        Some(ExitStatus::from_raw(i32::from_ne_bytes(status)))
    }
}

/// Starts a program and guards it until nothing of it is left, which ends this process. `is_asked`:
/// its standard input is the socket that its standard output is.
///
/// # Errors
/// When it cannot be started.
pub(super) fn stay(command: &mut Command, is_asked: bool) -> io::Result<Infallible> {
    let mut hold = UnixStream::from(stdio::stdin().try_clone_to_owned()?);
    // Both are in one group, which is asked to end by a signal: the guard stays until the end.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let _asked_to_end = signal(SignalKind::terminate())?;
    strays::adopt_orphans()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    let held = hold.try_clone()?;
    thread::Builder::new().name("hold".to_owned()).spawn(move || end_with(held))?;
    command.stdin(match is_asked {
        true => Stdio::from(stdio::stdout().try_clone_to_owned()?),
        false => Stdio::null(),
    });
    // It is waited for with all others.
    let program = i32::try_from(command.spawn()?.id()).ok().and_then(Pid::from_raw);
    // Whoever reads what the program writes is to see when it has closed it.
    stdio::dup2_stdout(&nothing)?;
    stdio::dup2_stderr(&nothing)?;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if Some(ended) == program => {
                // Where nobody has the hold any more, nobody wants to know.
                let _ = hold.write_all(&status.as_raw().to_ne_bytes());
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::process::exit(0),
        }
    }
}

/// Waits until nobody has the hold any more, and ends everything.
fn end_with(mut held: UnixStream) {
    // Nothing is ever written to it: what is read is its end.
    while held.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
    strays::end_started();
    std::process::exit(0);
}
