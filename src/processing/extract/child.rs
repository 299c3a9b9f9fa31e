//! The child's side of an extractor: `catchment __extract NAME CONFINEMENT`.
//!
//! One of the owner's programs is `catchment __extract guard CONFINEMENT -- WORDS`, which stays
//! (`guard`) and starts `catchment __extract program CONFINEMENT -- WORDS`: that process confines
//! itself and becomes the program. What follows is about our own.
//!
//! It confines itself, then reads requests from the socket that is its standard input, open files
//! coming with them, and writes outputs to its standard output. It opens nothing by name but what
//! it makes in its scratch folder. It ends when the socket does.

use std::{
    any::Any,
    collections::VecDeque,
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, IoSliceMut, Write},
    mem::MaybeUninit,
    os::unix::process::CommandExt as _,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags},
    stdio,
};

use super::{
    builtin,
    confine::{self, Confinement},
    guard,
    protocol::{Failed, Output, Request},
};

/// The hidden subcommand that runs it.
pub const COMMAND: &str = "__extract";
/// Stands for the name of an extractor where a program of the owner's is to be run.
pub const GUARD: &str = "guard";
/// The same for the process that becomes the program.
const PROGRAM: &str = "program";
/// The code with which this program ends where it cannot become another (`EX_OSERR` of
/// `sysexits.h`).
pub const NOT_STARTED: i32 = 71;
/// How it says so.
pub const CANNOT_START: &str = "cannot start";
/// Files that come with one request at most.
pub(super) const MAX_FILES: usize = 8;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Serves requests for the built-in extractor of that name until there are no more.
#[must_use]
pub fn serve(name: &str, confinement: &str, words: &[OsString]) -> ExitCode {
    if name == GUARD || name == PROGRAM {
        let error = match name {
            GUARD => guard_program(confinement, words),
            _ => become_program(confinement, words),
        };
        let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
        // Nobody may be reading any more.
        let _ = writeln!(io::stderr(), "{CANNOT_START} {program}: {error}");
        return u8::try_from(NOT_STARTED).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    match run(name, confinement) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// This program, even where its file has been replaced meanwhile.
#[must_use]
pub fn own_program() -> PathBuf {
    let own = Path::new("/proc/self/exe");
    match own.exists() {
        true => own.to_owned(),
        false => std::env::current_exe().unwrap_or_else(|_| own.to_owned()),
    }
}

/// Starts the program and guards it. Returns only why it could not.
fn guard_program(confinement: &str, words: &[OsString]) -> io::Error {
    let is_asked = match serde_json::from_str(confinement) {
        Ok(Confinement { is_asked, .. }) => is_asked,
        Err(error) => return error.into(),
    };
    let mut command = Command::new(own_program());
    command.args([COMMAND, PROGRAM, confinement, "--"]).args(words);
    command.env(confine::PARENT, std::process::id().to_string());
    match guard::stay(&mut command, is_asked) {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Confines this process and makes it the program. Returns only why it could not.
fn become_program(confinement: &str, words: &[OsString]) -> io::Error {
    let confined = serde_json::from_str(confinement)
        .map_err(io::Error::from)
        .and_then(|confinement: Confinement| confine::enter(&confinement));
    match (confined, words.split_first()) {
        (Err(error), _) => error,
        (Ok(()), None) => io::Error::other("no program is named"),
        (Ok(()), Some((program, words))) => {
            Command::new(program).args(words).env_remove(confine::PARENT).exec()
        }
    }
}

fn run(name: &str, confinement: &str) -> io::Result<()> {
    let extractor = builtin::find(name)
        .ok_or_else(|| io::Error::other(format!("there is no built-in extractor {name:?}")))?;
    let confinement: Confinement = serde_json::from_str(confinement)?;
    confine::enter(&confinement)?;
    let mut requests = Requests::default();
    let mut out = Lines(BufWriter::new(io::stdout()));
    while let Some((request, mut files)) = requests.next()? {
        let mut emit = |output| out.write(&output);
        // A library that gives up over a file gives up over that file alone.
        let run = || (extractor.run)(&request, &mut files, &mut emit);
        let end = match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => Output::Done(true),
            Ok(Err(builtin::Stop::Failed(failed))) => Output::Failed(failed),
            Ok(Err(builtin::Stop::Out(error))) => return Err(error),
            Err(cause) => Output::Failed(gave_up(&*cause)),
        };
        out.write(&end)?;
        out.0.flush()?;
    }
    Ok(())
}

fn gave_up(cause: &(dyn Any + Send)) -> Failed {
    let words = cause.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("for no reason");
    Failed { message: format!("the extractor gave up: {words}"), retry: false, class: None }
}

struct Lines<W: Write>(W);

impl<W: Write> Lines<W> {
    fn write(&mut self, output: &Output) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, output)?;
        self.0.write_all(b"\n")
    }
}

/// What has been read of the socket and not been taken yet.
#[derive(Default)]
struct Requests {
    bytes: Vec<u8>,
    files: VecDeque<File>,
}

impl Requests {
    /// The next request with its files; `None` at the end.
    fn next(&mut self) -> io::Result<Option<(Request, Vec<File>)>> {
        let mut searched = 0;
        let end = loop {
            match self.bytes[searched..].iter().position(|byte| *byte == b'\n') {
                Some(at) => break searched + at,
                None => searched = self.bytes.len(),
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        let request = serde_json::from_slice(&line)?;
        Ok(Some((request, self.files.drain(..).collect())))
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; CHUNK];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(
            stdio::stdin(),
            &mut [IoSliceMut::new(&mut chunk)],
            &mut control,
            RecvFlags::empty(),
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files.map(File::from));
            }
        }
        self.bytes.extend_from_slice(&chunk[..got.bytes]);
        Ok(got.bytes)
    }
}

impl From<Failed> for builtin::Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}
