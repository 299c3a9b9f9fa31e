//! The built program, run as a person would run it: in a home of its own, with a clean environment,
//! watched for its exit code and what it says.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::{Endpoint, accounts};

/// No command of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(150);

/// Asks `answer` again and again until it has one; panics after `deadline`.
pub fn poll_until<T>(what: &str, deadline: Duration, mut answer: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An installation of Catchment: a home, a data directory, an environment.
#[derive(Clone)]
pub struct Catchment {
    home: Arc<TempDir>,
    data_dir: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    endpoint: Option<String>,
    is_bound_by_permissions: bool,
    clock: Option<String>,
}

impl Catchment {
    /// A fresh installation that can reach local folders.
    pub fn new() -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let data_dir = home.path().join("data");
        let mut environment = BTreeMap::new();
        let mut set = |name: &str, value: &OsStr| {
            environment.insert(name.into(), value.to_owned());
        };
        set("HOME", home.path().as_os_str());
        set("PATH", &std::env::var_os("PATH").unwrap_or_default());
        set("AWS_EC2_METADATA_DISABLED", OsStr::new("true"));
        // Files that a test has just written count as finished, and any disk has room enough,
        // unless a test is about these.
        set("CATCHMENT_QUIET_PERIOD_MS", OsStr::new("0"));
        set("CATCHMENT_MIN_FREE", OsStr::new("0"));
        // Never the keyring of whoever runs the tests.
        set("CATCHMENT_KEYRING", OsStr::new("off"));
        set("CATCHMENT_DATA_DIR", data_dir.as_os_str());
        Self {
            home,
            data_dir,
            environment,
            endpoint: None,
            is_bound_by_permissions: false,
            clock: None,
        }
    }

    /// A fresh installation that can reach this S3 server.
    pub fn reaching(endpoint: &Endpoint) -> Self {
        Self::new()
            .env("AWS_ACCESS_KEY_ID", &endpoint.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &endpoint.secret_key)
            .with_endpoint(&endpoint.url)
    }

    /// Gives `sync` this `--endpoint-url` for sources that are not folders.
    pub fn with_endpoint(mut self, url: &str) -> Self {
        self.endpoint = Some(url.to_owned());
        self
    }

    /// With an environment variable set.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// With an environment variable taken away.
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(OsStr::new(name)).expect("the variable was set");
        self
    }

    /// With its data elsewhere.
    pub fn with_data_dir(mut self, data_dir: &Path) -> Self {
        data_dir.clone_into(&mut self.data_dir);
        self.env("CATCHMENT_DATA_DIR", data_dir)
    }

    /// Bound by the permissions of files even where the tests run as root, whom they do not bind.
    pub fn bound_by_permissions(mut self) -> Self {
        self.is_bound_by_permissions = true;
        self
    }

    /// The same installation under a clock that is off by so much, as `faketime` takes it.
    pub fn at_time(&self, clock: &str) -> Self {
        Self { clock: Some(clock.to_owned()), ..self.clone() }
    }

    /// The same for a program that is to be signalled: the clock without its keeper as a parent.
    pub fn under_clock(&self, clock: &str) -> Self {
        let given = Command::new("faketime").args(["-f", clock, "env"]).output().expect("faketime");
        let mut home = self.clone();
        for line in String::from_utf8_lossy(&given.stdout).lines() {
            match line.split_once('=') {
                // What the keeper shares with its child goes with it.
                Some(("FAKETIME_SHARED", _)) | None => {}
                Some((name, value)) if name == "LD_PRELOAD" || name.starts_with("FAKETIME") => {
                    home = home.env(name, value);
                }
                Some(_) => {}
            }
        }
        home
    }

    /// The same under a clock that the test sets forward while programs run by it. What waits for
    /// so many seconds goes by the real one.
    pub fn under_steered_clock(&self) -> (Self, SteeredClock) {
        let clock = SteeredClock { file: self.home().join("clock"), offset: 0.into() };
        clock.forward(0);
        let home = self
            .under_clock("+0")
            .without_env("FAKETIME")
            .env("FAKETIME_TIMESTAMP_FILE", &clock.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        (home, clock)
    }

    /// The home directory, which is also the place for files of the test.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The data directory; the first command makes it.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Writes a file below the home directory.
    pub fn write_home(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A command, yet to be started.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        // What is to be signalled must run without a clock of its own: faketime is its parent.
        let mut words: Vec<&str> = Vec::new();
        if let Some(clock) = &self.clock {
            words.extend(["faketime", "-f", clock]);
        }
        if self.is_bound_by_permissions && rustix::process::getuid().is_root() {
            let bounds = "--bounding-set=-dac_override,-dac_read_search";
            words.extend(["setpriv", bounds, "--inh-caps=-all"]);
        }
        words.push(env!("CARGO_BIN_EXE_catchment"));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.home())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a command.
    pub fn start<A: AsRef<OsStr>>(&self, args: &[A]) -> Running {
        Running::start(self.command(args))
    }

    /// Runs a command to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Run {
        self.start(args).ends()
    }

    fn sync_args<A: AsRef<OsStr>>(&self, source: impl AsRef<OsStr>, args: &[A]) -> Vec<OsString> {
        let mut all = vec!["sync".into(), source.as_ref().to_owned(), "--json".into()];
        let is_remote = source.as_ref().as_bytes().windows(3).any(|part| part == b"://");
        if let Some(endpoint) = self.endpoint.as_ref().filter(|_| is_remote) {
            all.extend(["--endpoint-url".into(), endpoint.into()]);
        }
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        all
    }

    /// Starts `sync SOURCE --json` with more arguments.
    pub fn start_sync<A: AsRef<OsStr>>(&self, source: impl AsRef<OsStr>, args: &[A]) -> Running {
        self.start(&self.sync_args(source, args))
    }

    /// Runs `sync SOURCE --json` with more arguments, and holds its summary to its arithmetic.
    pub fn sync_with<A: AsRef<OsStr>>(&self, source: impl AsRef<OsStr>, args: &[A]) -> Run {
        self.start_sync(source, args).ends()
    }

    /// Runs `sync SOURCE --json`.
    pub fn sync(&self, source: impl AsRef<OsStr>) -> Run {
        self.sync_with::<&str>(source, &[])
    }

    /// The objects of a bucket, by their exact paths.
    pub fn objects(&self, bucket: &str) -> BTreeMap<Vec<u8>, Listed> {
        let run = self.run(&["ls", bucket, "--json"]).exits(0);
        let mut objects = BTreeMap::new();
        for line in run.stdout().lines() {
            let listed: Listed = serde_json::from_str(line).expect("a line of ls --json");
            let path = listed.exact_path();
            assert!(objects.insert(path, listed).is_none(), "one path twice: {line}");
        }
        objects
    }

    /// Paths and hashes of a bucket: what to compare a source's contents with.
    pub fn contents(&self, bucket: &str) -> BTreeMap<Vec<u8>, String> {
        self.objects(bucket).into_iter().map(|(path, listed)| (path, listed.hash)).collect()
    }

    /// The bytes of an object.
    pub fn get(&self, bucket: &str, path: &[u8]) -> Vec<u8> {
        self.run(&[OsStr::new("get"), &place(bucket, path)]).exits(0).stdout
    }

    /// Asserts that the bucket holds exactly these paths with these contents, that each byte of
    /// them can be read and is what was stored, and that nothing else lies in it.
    pub fn holds_exactly(&self, bucket: &str, contents: &BTreeMap<Vec<u8>, String>) {
        assert_same(&self.contents(bucket), contents);
        self.run(&["verify", bucket]).exits(0);
    }
}

/// A clock that is set forward while programs run by it.
pub struct SteeredClock {
    file: PathBuf,
    offset: std::sync::atomic::AtomicU64,
}

impl SteeredClock {
    /// Sets it forward by so many seconds.
    pub fn forward(&self, seconds: u64) {
        let before = self.offset.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
        // Nobody reads half of it.
        let next = self.file.with_extension("new");
        std::fs::write(&next, format!("+{}\n", before + seconds)).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }
}

/// Asserts that two sets of paths and hashes are equal; says where they differ.
#[track_caller]
pub fn assert_same(have: &BTreeMap<Vec<u8>, String>, want: &BTreeMap<Vec<u8>, String>) {
    let readable = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let missing: Vec<_> =
        want.keys().filter(|path| !have.contains_key(*path)).map(readable).collect();
    let extra: Vec<_> =
        have.keys().filter(|path| !want.contains_key(*path)).map(readable).collect();
    let differ: Vec<_> = want
        .iter()
        .filter(|(path, hash)| have.get(*path).is_some_and(|other| other != *hash))
        .map(|(path, _)| readable(path))
        .collect();
    assert!(
        missing.is_empty() && extra.is_empty() && differ.is_empty(),
        "missing {missing:?}, too many {extra:?}, other bytes {differ:?}"
    );
}

/// `BUCKET/PATH` with the path's exact bytes.
pub fn place(bucket: &str, path: &[u8]) -> OsString {
    OsString::from_vec([bucket.as_bytes(), b"/", path].concat())
}

/// A line of `ls --json`.
#[derive(Debug, Deserialize)]
pub struct Listed {
    path: String,
    path_bytes: Option<String>,
    /// Bytes of its content.
    pub size: u64,
    /// `blake3:<64 hex>`
    pub hash: String,
    /// RFC 3339
    pub modified_at: Option<String>,
    /// By the source, else by the extension.
    pub mime_type: Option<String>,
    /// `obj_…`
    pub object_id: String,
    /// What a mapping has made of the entry.
    #[serde(default)]
    pub fields: Value,
}

impl Listed {
    fn exact_path(&self) -> Vec<u8> {
        match &self.path_bytes {
            Some(encoded) => BASE64_STANDARD.decode(encoded).expect("base64 in path_bytes"),
            None => self.path.clone().into_bytes(),
        }
    }
}

/// The last line of `sync --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// How the job ended.
    pub status: String,
    /// The job, where the run got as far as to have one.
    pub job_id: Option<String>,
    /// The bucket's name.
    pub bucket: Option<String>,
    /// All entries that the source listed.
    pub discovered: u64,
    /// New objects.
    pub synced: u64,
    /// Changed objects.
    pub updated: u64,
    /// Entries that equal what is there.
    pub unchanged: u64,
    /// Entries whose bytes another object holds.
    pub duplicates: u64,
    /// Entries left out.
    pub filtered: u64,
    /// Objects removed.
    pub removed: u64,
    /// Entries that could not be taken.
    pub failed: u64,
    /// Bytes read from the source.
    pub bytes: u64,
    /// Duration.
    pub seconds: f64,
}

/// A command under way.
pub struct Running {
    child: Child,
    since: Instant,
    wants_summary: bool,
    /// Asks for the status of its installation.
    status: Command,
    data_dir: PathBuf,
    words: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let words = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let has = |word: &str| command.get_args().any(|arg| arg == word);
        let wants_summary = has("sync") && has("--json");
        let environment: Vec<(OsString, OsString)> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let data_dir = environment
            .iter()
            .find(|(name, _)| name == "CATCHMENT_DATA_DIR")
            .map(|(_, value)| PathBuf::from(value))
            .unwrap_or_default();
        let mut status = Command::new(env!("CARGO_BIN_EXE_catchment"));
        status.env_clear().envs(environment).args(["status", "--json"]).stdin(Stdio::null());
        let since = Instant::now();
        let mut child = command.spawn().expect("the built program starts");
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self {
            child,
            since,
            wants_summary,
            status,
            data_dir,
            words,
            stdout: Some(stdout),
            stderr: Some(stderr),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the command still runs");
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub fn ends(mut self) -> Run {
        let status = poll_until(&format!("the end of {}", self.words), DEADLINE, || {
            self.child.try_wait().unwrap()
        });
        self.finish(status)
    }

    /// Waits for an end of any kind, a signal among them, and expects nothing of what it said.
    pub fn ends_somehow(mut self) -> ExitStatus {
        poll_until(&format!("the end of {}", self.words), DEADLINE, || {
            self.child.try_wait().unwrap()
        })
    }

    /// Kills it (SIGKILL) unless it ends by itself within `delay`; tells whether it was killed.
    pub fn killed_after(mut self, delay: Duration) -> bool {
        while self.since.elapsed() < delay {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.finish(status).exits(0);
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        self.kill();
        true
    }

    /// Kills it (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn finish(&mut self, status: ExitStatus) -> Run {
        let run = Run {
            status,
            took: self.since.elapsed(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: String::from_utf8_lossy(&self.stderr.take().unwrap().join().unwrap()).into(),
            words: std::mem::take(&mut self.words),
        };
        if self.wants_summary && status.signal().is_none() && status.code() != Some(2) {
            run.check_summary();
            if matches!(status.code(), Some(0 | 3)) && run.summary().job_id.is_some() {
                accounts::balance(&self.data_dir);
                let told = self.status.output().expect("the built program starts");
                let told = serde_json::from_slice(&told.stdout).expect("the status as JSON");
                accounts::tells_the_same(&told, run.events().last().unwrap());
            }
        }
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// A command that has ended.
pub struct Run {
    status: ExitStatus,
    /// From start to end.
    pub took: Duration,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: String,
    words: String,
}

impl Run {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Asserts that it speaks of each of these, upper or lower case, on either stream.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let said = format!("{}{}", self.stdout(), self.stderr).to_lowercase();
        for word in words {
            assert!(said.contains(&word.to_lowercase()), "it does not say {word:?}: {self}");
        }
        self
    }

    /// Asserts that it speaks of this path, in the form in which control characters are shown.
    #[track_caller]
    pub fn mentions(&self, path: &str) -> &Self {
        let shown = path.replace('\0', "%00");
        assert!(
            format!("{}{}", self.stdout(), self.stderr).contains(&shown),
            "no {path:?}: {self}"
        );
        self
    }

    /// The exit code, if it was not a signal that ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it wrote to its standard output, as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The events of `--json`.
    pub fn events(&self) -> Vec<Value> {
        let text = self.stdout();
        let parse = |line| serde_json::from_str(line);
        text.lines()
            .map(|line| parse(line).unwrap_or_else(|error| panic!("{error} in {line}: {self}")))
            .collect()
    }

    /// The summary, which is the last event and the only one of its kind.
    pub fn summary(&self) -> Summary {
        let events = self.events();
        let summaries = events.iter().filter(|event| event["event"] == "summary").count();
        assert_eq!(summaries, 1, "one summary: {self}");
        let last = events.last().expect("an event").clone();
        serde_json::from_value(last).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    fn check_summary(&self) {
        let summary = self.summary();
        assert_eq!(
            summary.discovered,
            summary.synced
                + summary.updated
                + summary.unchanged
                + summary.duplicates
                + summary.filtered
                + summary.failed,
            "the sum of the summary: {self}"
        );
        assert!(
            summary.seconds >= 0.0 && summary.seconds <= self.took.as_secs_f64() + 0.1,
            "{self}"
        );
        let has_job = summary.job_id.as_ref().is_some_and(|id| id.starts_with("job_"));
        let needs_job = self.code() != Some(1) && summary.status != "dry_run";
        assert!(has_job || !needs_job, "a run without a job: {self}");
        assert!(self.code() != Some(3) || summary.failed > 0, "exit 3 and nothing failed: {self}");
        assert!(self.code() != Some(0) || summary.failed == 0, "exit 0 with failures: {self}");
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "\n  {} ended with {} after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.words,
            self.status,
            self.took,
            String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(8000)]),
            &self.stderr
        )
    }
}

/// Bytes of a path for people.
pub fn show(path: &[u8]) -> String {
    OsStr::from_bytes(path).to_string_lossy().into_owned()
}
