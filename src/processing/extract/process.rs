//! The parent's side of a child that runs one of our own extractors: started, asked one object at a
//! time, and always ended as a whole, group and all, however the asking ends.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, IoSlice, PipeReader},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
    process::{Pid, Signal},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest},
    net::{UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    time::Instant,
};

use super::{
    Builtin, Class, Extracted, Failure, Given, Job,
    child::{self, MAX_FILES},
    confine::Confinement,
    gather::{Gathering, OBJECT_BYTES},
    protocol::{FileInput, FilePlace, Input, Request},
    spawner,
};

/// Address space of a child of ours.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// Processor seconds that a child may use over its life; how long one object may take is watched by
/// the clock.
const CPU_SECS: u64 = 24 * 3600;
/// What is kept of a child's standard error.
const LOG_BYTES: usize = 256 * 1024;
/// The longest line that a child may write.
const LINE_BYTES: u64 = OBJECT_BYTES;

/// A folder that goes when it is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder in `parent`.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let path = parent.join(ulid::Ulid::generate().to_string());
        fs::DirBuilder::new().create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot go now goes with the staging folder that it is in.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    lines: BufReader<OwnedReadHalf>,
    requests: OwnedWriteHalf,
    log: Log,
    /// How many objects it has had.
    pub(super) served: u32,
    scratch: Scratch,
    // The last to go: what it is killed with.
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
        let scratch = Scratch::new(folder)?;
        let confinement = Confinement {
            cpu_secs: CPU_SECS,
            address_space: Some(MEMORY),
            file_bytes: OBJECT_BYTES,
            scratch: scratch.path().to_owned(),
            ..Confinement::default()
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (log, log_in) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .arg(child::COMMAND)
            .arg(extractor.name)
            .arg(serde_json::to_string(&confinement)?)
            .env_clear()
            .env(child::PARENT, std::process::id().to_string())
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(log_in);
        let group = Group::of(spawner::spawn(command).await?);
        ours.set_nonblocking(true)?;
        let (lines, requests) = UnixStream::from_std(ours)?.into_split();
        Ok(Self {
            lines: BufReader::new(lines),
            requests,
            log: Log::of(log),
            served: 0,
            scratch,
            group,
        })
    }

    /// Whether it is still there to be asked.
    pub(super) fn is_alive(&mut self) -> bool {
        self.group.status().is_none()
    }

    /// Has one object extracted. After an error other than one that the extractor itself told of, the
    /// child has to go: `Asked::spent` says so.
    pub(super) async fn ask(&mut self, job: Job, timeout: Duration) -> Asked {
        self.served += 1;
        let scratch = match Scratch::new(self.scratch.path()) {
            Ok(scratch) => scratch,
            Err(error) => return Asked::spent(unavailable(error)),
        };
        let deadline = Instant::now() + timeout;
        let told = tokio::time::timeout_at(deadline, self.exchange(job, &scratch)).await;
        match told {
            Err(_) => Asked::spent(Failure::new(
                Class::Resource,
                format!("it took longer than {} s", timeout.as_secs()),
            )),
            Ok(Err(Broken::Line(failure))) => Asked { outcome: Err(failure), is_spent: true },
            Ok(Err(Broken::Told(failure))) => {
                Asked { outcome: Err(Failure { log: self.log.take(), ..failure }), is_spent: false }
            }
            Ok(Err(Broken::Off(error))) => Asked::spent(self.end_of_life(error).await),
            Ok(Ok(extracted)) => Asked {
                outcome: Ok(Extracted {
                    log: self.log.take(),
                    scratch: Some(Arc::new(scratch)),
                    ..extracted
                }),
                is_spent: false,
            },
        }
    }

    async fn exchange(&mut self, job: Job, scratch: &Scratch) -> Result<Extracted, Broken> {
        let (request, files) = request_of(job, scratch.path());
        let mut line = serde_json::to_vec(&request).map_err(io::Error::from)?;
        line.push(b'\n');
        self.send(&line, &files).await?;
        drop(files);
        let mut gathering = Gathering::new(scratch.path());
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut self.lines).take(LINE_BYTES).read_until(b'\n', &mut line).await?;
            if read == 0 || line.last() != Some(&b'\n') {
                return Err(Broken::Off(io::ErrorKind::UnexpectedEof.into()));
            }
            let is_last = gathering.take(&line).map_err(|failure| {
                // A failure that the extractor tells of is the end of its answer; else more follows.
                match line.starts_with(b"{\"failed\"") {
                    true => Broken::Told(failure),
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
        let log = self.log.take();
        let Some(status) = self.group.status() else {
            return Failure {
                log,
                ..Failure::new(Class::Permanent, format!("it broke off: {error}"))
            };
        };
        Failure { log, ..ended(status) }
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
    /// It told that it failed.
    Told(Failure),
    /// It told something that it may not.
    Line(Failure),
    /// It told no more.
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

/// What a process that ended too early says by how it did.
fn ended(status: ExitStatus) -> Failure {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Failure::new(
            Class::Resource,
            format!("it was ended by signal {signal}, which too much memory or time does"),
        ),
        (_, Some(0)) => Failure::new(Class::Permanent, "it ended without saying that it is done"),
        (_, Some(code)) => Failure::new(Class::Permanent, format!("it ended with code {code}")),
        (None, None) => Failure::new(Class::Permanent, "it ended"),
    }
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

/// A process with all that it starts. Dropping it kills them and waits for the first.
#[derive(Debug)]
pub(super) struct Group {
    child: Option<Child>,
    pid: Option<Pid>,
    ended: Option<ExitStatus>,
}

impl Group {
    pub(super) fn of(child: Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Self { child: Some(child), pid, ended: None }
    }

    /// How it ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Some(child) = &mut self.child
        {
            self.ended = child.try_wait().ok().flatten();
        }
        self.ended
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // Gone already, with all of its group: as good.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let Some(mut child) = self.child.take() else { return };
        if self.ended.is_none() && !matches!(child.try_wait(), Ok(Some(_))) {
            // A killed process goes at once but for those that hang in the kernel: nobody waits here.
            std::thread::spawn(move || child.wait());
        }
    }
}

/// The end of what a child writes to its standard error.
#[derive(Clone, Debug)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Reads along until the child closes it.
    fn of(pipe: PipeReader) -> Self {
        let kept = Self(Arc::default());
        let log = kept.clone();
        let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe.into()) else {
            return kept;
        };
        tokio::spawn(async move {
            let mut chunk = vec![0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                log.push(&chunk[..read]);
            }
        });
        kept
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let too_many = kept.len().saturating_sub(LOG_BYTES);
        kept.drain(..too_many);
    }

    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
