//! The parent's side of a child that speaks the protocol, be it an extractor of ours or a program
//! of the owner's: started, asked one object at a time, and always ended as a whole, group and all,
//! however the asking ends.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IoSlice, PipeReader},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
    process::{Signal, getpgrp},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest},
    net::{UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Builtin, Class, Extracted, Failure, Given, Job,
    child::{self, MAX_FILES},
    confine::{self, Confinement},
    gather::{Gathering, OBJECT_BYTES},
    group::Group,
    guard::Hold,
    protocol::{FileInput, FilePlace, Input, Request},
    scratch::Scratch,
    spawner, staging,
};

/// Address space of a child of ours.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// Processor seconds that a child may use over its life; how long one object may take is watched by
/// the clock.
pub(super) const CPU_SECS: u64 = 24 * 3600;
/// What is kept of a child's standard error.
const LOG_BYTES: usize = 256 * 1024;

/// How long to wait for the rest of the log of a child that has ended.
const CLOSING: Duration = Duration::from_secs(1);
/// The longest line that a child may write.
const LINE_BYTES: u64 = OBJECT_BYTES;

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    lines: BufReader<OwnedReadHalf>,
    requests: OwnedWriteHalf,
    log: Log,
    /// How many objects it has had.
    pub(super) served: u32,
    scratch: Arc<Scratch>,
    /// Whether it writes files, which go when nobody needs them: it has a folder for each object.
    writes: bool,
    /// Whether it is a program of the owner's.
    is_program: bool,
    // The last to go: what it is ended with.
    group: Group,
}

impl Process {
    /// Starts a child for an extractor; its scratch folder is made in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start(
        program: &Path,
        extractor: &Builtin,
        folder: &Path,
    ) -> io::Result<Self> {
        let scratch = Arc::new(Scratch::new(folder)?);
        let confinement = Confinement {
            cpu_secs: CPU_SECS,
            address_space: Some(MEMORY),
            file_bytes: OBJECT_BYTES,
            scratch: scratch.path().to_owned(),
            apart_from: Some(getpgrp().as_raw_nonzero().get()),
            ..Confinement::default()
        };
        let mut command = Command::new(program);
        command
            .arg(child::COMMAND)
            .arg(extractor.name)
            .arg(serde_json::to_string(&confinement)?)
            .env_clear()
            .env(confine::PARENT, std::process::id().to_string())
            .process_group(0);
        Self::spawn(command, scratch, extractor.draws, None).await
    }

    /// Starts a program of the owner's, whose command marks it with its scratch folder. What it
    /// takes is watched.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start_program(
        command: Command,
        scratch: Arc<Scratch>,
        memory: u64,
    ) -> io::Result<Self> {
        Self::spawn(command, scratch, true, Some(memory)).await
    }

    async fn spawn(
        mut command: Command,
        scratch: Arc<Scratch>,
        writes: bool,
        memory: Option<u64>,
    ) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (log, log_in) = io::pipe()?;
        let hold = match memory {
            Some(memory) => Some((Hold::on(&mut command)?, memory)),
            None => {
                command.stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)));
                None
            }
        };
        command.stdout(Stdio::from(OwnedFd::from(theirs))).stderr(log_in);
        let child = spawner::spawn(command).await?;
        let group = match hold {
            Some((hold, memory)) => Group::of_program(child, hold, scratch.clone(), memory),
            None => Group::of(child),
        };
        ours.set_nonblocking(true)?;
        let (lines, requests) = UnixStream::from_std(ours)?.into_split();
        Ok(Self {
            lines: BufReader::new(lines),
            requests,
            log: Log::of(log),
            served: 0,
            scratch,
            writes,
            is_program: memory.is_some(),
            group,
        })
    }

    /// The folder that it may write to.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Kills it with all that it has started, and waits for them.
    pub(super) async fn kill(self) {
        self.group.kill().await;
    }

    /// Whether it is still there to be asked.
    pub(super) fn is_alive(&mut self) -> bool {
        self.group.status().is_none()
    }

    /// Has one object extracted. After an error other than one that the extractor itself reported,
    /// the child has to go: `Asked::spent` says so.
    pub(super) async fn run_job(&mut self, job: Job, timeout: Duration) -> Asked {
        self.served += 1;
        let (request, files, scratch) = match self.prepared(job).await {
            Ok(prepared) => prepared,
            Err(error) => return Asked::spent(unavailable(error)),
        };
        let asked = self.converse(&request, files, &scratch, Instant::now() + timeout).await;
        Asked { outcome: asked.outcome.map(|made| kept(made, scratch)), ..asked }
    }

    /// The request for an object, the files that come with it, and the folder to write to.
    async fn prepared(&self, job: Job) -> io::Result<(Request, Vec<File>, Arc<Scratch>)> {
        let own = self.scratch.path();
        let scratch = match (self.writes, self.is_program) {
            (false, _) => self.scratch.clone(),
            (true, false) => Arc::new(Scratch::new(own)?),
            (true, true) => {
                let (request, scratch) = placed(job, own).await?;
                return Ok((request, Vec::new(), Arc::new(scratch)));
            }
        };
        let (request, files) = request_of(job, scratch.path());
        Ok((request, files, scratch))
    }

    /// Has a program extract the one object that it was started for, whose inputs are in its
    /// scratch folder already. They stay until the process is dropped, and so does what it has
    /// made: its files are moved out of the folder that goes.
    ///
    /// # Errors
    /// What went wrong, by what to do about it.
    pub(super) async fn ask_once(
        &mut self,
        request: Request,
        until: Instant,
    ) -> Result<Extracted, Failure> {
        self.served += 1;
        let scratch = self.scratch.clone();
        let asked = self.converse(&request, Vec::new(), &scratch, until).await;
        Ok(kept(asked.outcome?, scratch))
    }

    async fn converse(
        &mut self,
        request: &Request,
        files: Vec<File>,
        scratch: &Arc<Scratch>,
        until: Instant,
    ) -> Asked {
        // Rounded: some of it has passed already.
        let patience = until.saturating_duration_since(Instant::now()) + Duration::from_millis(500);
        let watched = self.group.watched();
        let exchanged = tokio::select! {
            outcome = self.exchange(request, files, scratch) => outcome,
            too_much = watched => Err(Broken::Line(too_much)),
            () = tokio::time::sleep_until(until) => Err(Broken::Line(Failure::new(
                Class::Resource,
                format!("it took longer than {} s", patience.as_secs()),
            ))),
        };
        match exchanged {
            Err(Broken::Line(failure)) => Asked::spent(Failure { log: self.log.take(), ..failure }),
            Err(Broken::Reported(failure)) => {
                Asked { outcome: Err(Failure { log: self.log.take(), ..failure }), is_spent: false }
            }
            Err(Broken::Off(error)) => Asked::spent(self.end_of_life(error).await),
            Ok(extracted) => Asked {
                outcome: Ok(Extracted { log: self.log.take(), ..extracted }),
                is_spent: false,
            },
        }
    }

    async fn exchange(
        &mut self,
        request: &Request,
        files: Vec<File>,
        scratch: &Arc<Scratch>,
    ) -> Result<Extracted, Broken> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        self.send(&line, &files).await?;
        drop(files);
        let mut gathering = Gathering::new(Some(scratch.clone()));
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut self.lines).take(LINE_BYTES).read_until(b'\n', &mut line).await?;
            if read as u64 == LINE_BYTES && line.last() != Some(&b'\n') {
                return Err(Broken::Line(Failure::new(
                    Class::Resource,
                    format!("it wrote a line of more than {LINE_BYTES} bytes"),
                )));
            }
            if read == 0 || line.last() != Some(&b'\n') {
                return Err(Broken::Off(io::ErrorKind::UnexpectedEof.into()));
            }
            let is_last = gathering.take(&line).map_err(|failure| {
                // A failure that the extractor reports is the end of its answer; else more
                // follows.
                match line.starts_with(b"{\"failed\"") {
                    true => Broken::Reported(failure),
                    false => Broken::Line(failure),
                }
            })?;
            if is_last {
                return Ok(gathering.finish());
            }
        }
    }

    /// Sends a line, with open files at its beginning.
    async fn send(&mut self, line: &[u8], files: &[File]) -> io::Result<()> {
        let mut sent = 0;
        if !files.is_empty() {
            let socket: &UnixStream = self.requests.as_ref();
            sent = socket.async_io(Interest::WRITABLE, || send_files(socket, line, files)).await?;
        }
        self.requests.write_all(&line[sent..]).await
    }

    /// Why it ended in the middle of an answer.
    async fn end_of_life(&mut self, error: io::Error) -> Failure {
        // It has closed its side, and ends at once; if it does not, it is killed.
        for _ in 0..100 {
            if self.group.status().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Some(status) = self.group.status() else {
            return Failure {
                log: self.log.take(),
                ..Failure::new(Class::Permanent, format!("it broke off: {error}"))
            };
        };
        let log = self.log.whole().await;
        let failure = ended(status, &log);
        Failure { log, ..failure }
    }
}

/// What a child's answer was.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) outcome: Result<Extracted, Failure>,
    /// Whether it cannot be asked again.
    pub(super) is_spent: bool,
}

impl Asked {
    fn spent(failure: Failure) -> Self {
        Self { outcome: Err(failure), is_spent: true }
    }
}

enum Broken {
    /// It reported that it failed.
    Reported(Failure),
    /// It sent something that it may not.
    Line(Failure),
    /// It closed its output.
    Off(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Off(error)
    }
}

fn unavailable(error: io::Error) -> Failure {
    Failure::new(Class::Unavailable, format!("the extractor could not be started: {error}"))
}

/// What a process that ended too early says by how it did, and by the last line that it logged.
/// Codes are those of `sysexits.h`: 65 is bad data, 75 is worth another try.
pub(super) fn ended(status: ExitStatus, log: &str) -> Failure {
    let last = log.lines().rev().find(|line| !line.trim().is_empty());
    let last: String = last.map(|line| line.trim().chars().take(500).collect()).unwrap_or_default();
    let said = |words: String| if last.is_empty() { words } else { format!("{words}: {last}") };
    match (status.signal(), status.code()) {
        (Some(signal), _) if signal == Signal::SYS.as_raw() => Failure::new(
            Class::Permanent,
            "it made a system call of another architecture, which no extractor may",
        ),
        (Some(signal), _) => Failure::new(
            Class::Resource,
            format!("it was ended by signal {signal}, which too much memory or time does"),
        ),
        (_, Some(0)) => Failure::new(Class::Permanent, "it ended without saying that it is done"),
        (_, Some(child::NOT_STARTED)) if last.starts_with(child::CANNOT_START) => {
            Failure::new(Class::Unavailable, last)
        }
        (_, Some(75)) => Failure::new(Class::Transient, said("it asks to be tried later".into())),
        (_, Some(code)) => {
            Failure::new(Class::Permanent, said(format!("it ended with code {code}")))
        }
        (None, None) => Failure::new(Class::Permanent, "it ended"),
    }
}

/// What has been made, with the folder that its files are in.
fn kept(made: Extracted, scratch: Arc<Scratch>) -> Extracted {
    Extracted { scratch: Some(scratch), ..made }
}

/// The request to a program that is kept: what it is started with does not let it read blobs, so it
/// gets copies. They are made beside its folder `own`, where it may not write, and moved into it.
async fn placed(job: Job, own: &Path) -> io::Result<(Request, Scratch)> {
    let Job { run, object, inputs, parameters } = job;
    let own = own.to_owned();
    let place = move || {
        let scratch = Scratch::new(own.parent().unwrap_or(&own))?;
        let path = scratch.path_in(&own);
        let placed = staging::inputs(inputs, scratch.path(), &path, false)?;
        Ok::<_, io::Error>((placed.inputs, scratch.moved_into(&own)?))
    };
    let (inputs, scratch) =
        tokio::task::spawn_blocking(place).await.map_err(io::Error::other)??;
    let at = scratch.path().to_owned();
    Ok((Request { run, object, inputs, parameters, scratch: at }, scratch))
}

fn request_of(job: Job, scratch: &Path) -> (Request, Vec<File>) {
    let (mut files, mut inputs) = (Vec::new(), BTreeMap::new());
    for (name, given) in job.inputs {
        let input = match given {
            Given::Value(value) => Input::Value(value),
            Given::File { .. } if files.len() == MAX_FILES => continue,
            Given::File { file, facts } => {
                files.push(file);
                Input::File(FileInput { place: FilePlace::Handed(files.len() - 1), facts })
            }
        };
        inputs.insert(name, input);
    }
    let request = Request {
        run: job.run,
        object: job.object,
        inputs,
        parameters: job.parameters,
        scratch: scratch.to_owned(),
    };
    (request, files)
}

fn send_files(socket: &UnixStream, line: &[u8], files: &[File]) -> io::Result<usize> {
    let fds: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("too many files"));
    }
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?)
}

/// The end of what a child writes to its standard error.
#[derive(Clone, Debug)]
pub(super) struct Log {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Cancelled once the child, and whatever it started, has closed it.
    is_closed: CancellationToken,
}

impl Log {
    /// Reads along until the child closes it.
    pub(super) fn of(pipe: PipeReader) -> Self {
        let kept = Self { kept: Arc::default(), is_closed: CancellationToken::new() };
        let log = kept.clone();
        let closing = kept.is_closed.clone().drop_guard();
        let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe.into()) else {
            return kept;
        };
        tokio::spawn(async move {
            let _closing = closing;
            let mut chunk = vec![0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                log.push(&chunk[..read]);
            }
        });
        kept
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let too_many = kept.len().saturating_sub(LOG_BYTES);
        kept.drain(..too_many);
    }

    /// All of it, of a child that has ended: its last words may not have been read yet.
    pub(super) async fn whole(&self) -> String {
        // A process that got away may keep it open.
        let _ = timeout(CLOSING, self.is_closed.cancelled()).await;
        self.take()
    }

    /// What has been read so far.
    pub(super) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
