//! A program of the owner's: started for one object, or kept for many, confined like our own
//! extractors, and always ended as a whole.
//!
//! What it prints is one document (`json`, `text`), or lines of the protocol (`lines`). It is
//! started without a shell, and every word of its command line is ours or its definition's: an
//! input is a file whose name we choose.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rustix::process::getpgrp;
use serde_json::{Map, Value};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver, time::Instant};

use super::{
    Class, Extracted, Failure, Job, child,
    confine::{self, Confinement},
    gather::{DOCUMENT_BYTES, Gathering, OBJECT_BYTES},
    group::Group,
    guard::Hold,
    process::{self, Log, Process},
    protocol::{FilePlace, Input, Output, Request},
    scratch::Scratch,
    spawner, staging, strays,
};

/// How long what a program has printed may take to come after its end.
const REST: Duration = Duration::from_secs(1);

/// A program, as its definition says.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Its command line.
    pub(super) words: Vec<Word>,
    /// What it prints.
    pub(super) output: OutputKind,
    /// Whether it is kept for the next object.
    pub(super) stay: bool,
    /// Processor seconds that it may use.
    pub(super) cpu_secs: u64,
    /// The most memory that it may use, in bytes.
    pub(super) memory: u64,
    /// The longest file that it may write, in bytes.
    pub(super) file_bytes: u64,
    /// Whether it may use the network.
    pub(super) network: bool,
    /// Whether it may use devices such as a graphics card.
    pub(super) devices: bool,
    /// Folders and files that it may read besides those of the system.
    pub(super) read: Vec<PathBuf>,
    /// Its environment, besides what every program gets.
    pub(super) environment: BTreeMap<String, String>,
}

/// What a program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutputKind {
    /// Lines of the protocol.
    Lines,
    /// One JSON object, or an array of them.
    Json,
    /// Text.
    Text,
    /// Nothing of interest: what it makes is a file of its scratch folder. No definition says this.
    #[serde(skip)]
    File,
}

/// A word of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Itself.
    Plain(String),
    /// `{input}` or `{input.NAME}`: the path of a file.
    Input(Option<String>),
    /// `{scratch}`: the path of a folder that may be written to.
    Scratch,
    /// `{parameters.NAME}`: the collection's.
    Parameter(String),
}

impl Word {
    /// The word that a text of a definition is. Placeholders are whole words.
    ///
    /// # Errors
    /// When there is a placeholder that is not known, or that is part of a word.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match inner {
            Some("input") => return Ok(Self::Input(None)),
            Some("scratch") => return Ok(Self::Scratch),
            Some(inner) => {
                if let Some(name) = inner.strip_prefix("input.") {
                    return Ok(Self::Input(Some(name.to_owned())));
                }
                if let Some(name) = inner.strip_prefix("parameters.") {
                    return Ok(Self::Parameter(name.to_owned()));
                }
            }
            None => {}
        }
        for placeholder in ["{input", "{scratch}", "{parameters."] {
            if text.contains(placeholder) {
                return Err(format!(
                    "{text:?}: a placeholder is a whole argument: {{input}}, {{input.NAME}}, \
                     {{scratch}}, {{parameters.NAME}}"
                ));
            }
        }
        Ok(Self::Plain(text.to_owned()))
    }

    fn expand(
        &self,
        inputs: &BTreeMap<String, Input>,
        scratch: &Path,
        parameters: &Map<String, Value>,
    ) -> Result<Option<OsString>, Failure> {
        Ok(match self {
            Self::Plain(text) => Some(text.into()),
            Self::Scratch => Some(scratch.into()),
            Self::Input(name) => Some(path_of(inputs, name.as_deref())?.into()),
            Self::Parameter(name) => match parameters.get(name) {
                // A value that looks like an option would be one.
                Some(Value::String(text)) if text.starts_with('-') => {
                    return Err(permanent(format!("the parameter {name} begins with a dash")));
                }
                Some(Value::String(text)) => Some(text.into()),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string().into()),
                _ => return Err(permanent(format!("the parameter {name} is not set"))),
            },
        })
    }
}

fn path_of<'a>(
    inputs: &'a BTreeMap<String, Input>,
    name: Option<&str>,
) -> Result<&'a Path, Failure> {
    let path = |input: &'a Input| match input {
        Input::File(file) => match &file.place {
            FilePlace::Path(path) => Some(path.as_path()),
            _ => None,
        },
        Input::Value(_) => None,
    };
    let found = match name {
        Some(name) => inputs.get(name).and_then(path),
        None => inputs.values().find_map(path),
    };
    found.ok_or_else(|| permanent("there is no file among its inputs"))
}

impl Program {
    /// Runs it for one object.
    ///
    /// # Errors
    /// What went wrong, by what to do about it.
    pub(super) async fn run(
        &self,
        own: &Path,
        folder: &Path,
        job: Job,
        timeout: Duration,
    ) -> Result<Extracted, Failure> {
        let until = Instant::now() + timeout;
        let scratch = Arc::new(Scratch::new(folder).map_err(unprepared)?);
        let Job { run, object, inputs, parameters } = job;
        let at = scratch.path().to_owned();
        let may_link = confine::can_only_read();
        let placed =
            tokio::task::spawn_blocking(move || staging::inputs(inputs, &at, &at, may_link))
                .await
                .map_err(|error| unprepared(io::Error::other(error)))?
                .map_err(unprepared)?;
        let (own, words) =
            (own.to_owned(), self.words(&placed.inputs, scratch.path(), &parameters)?);
        if self.output == OutputKind::Lines {
            let mut process = self.start(&own, words, scratch, &placed.linked, &run).await?;
            let request = Request {
                run,
                object,
                inputs: placed.inputs,
                parameters,
                scratch: process.scratch().to_owned(),
            };
            let asked = process.ask_once(request, until).await;
            process.kill().await;
            return asked;
        }
        let mut command = self.command(&own, words, scratch.path(), &placed.linked, &run)?;
        let (out, out_in) = io::pipe().map_err(unprepared)?;
        let (log, log_in) = io::pipe().map_err(unprepared)?;
        let hold = Hold::on(&mut command).map_err(unprepared)?;
        command.stdout(out_in).stderr(log_in);
        let child = spawner::spawn(command).await.map_err(unprepared)?;
        let mut group = Group::of_program(child, hold, scratch.clone(), self.memory);
        let (log, out) = (Log::of(log), Receiver::from_owned_fd(out.into()).map_err(unprepared)?);
        let watched = group.watched();
        let printed = tokio::select! {
            printed = printed(out, &mut group) => printed,
            too_much = watched => Err(too_much),
            () = tokio::time::sleep_until(until) => {
                Err(resource(format!("it took longer than {} s", timeout.as_secs())))
            }
        };
        let status = group.status();
        group.kill().await;
        let log = log.whole().await;
        let with_log = |failure: Failure| Failure { log: log.clone(), ..failure };
        let printed = printed.map_err(with_log)?;
        let status = status.ok_or_else(|| with_log(permanent("it did not end")))?;
        if !status.success() {
            return Err(with_log(process::ended(status, &log)));
        }
        let mut gathering = Gathering::new(Some(scratch.clone()));
        for document in self.documents(&printed).map_err(with_log)? {
            gathering.take_output(Output::Document(document)).map_err(with_log)?;
        }
        Ok(Extracted { log, scratch: Some(scratch), ..gathering.finish() })
    }

    /// Starts it to be kept.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn keep(&self, own: &Path, folder: &Path) -> Result<Process, Failure> {
        let scratch = Arc::new(Scratch::new(folder).map_err(unprepared)?);
        let words = self.words(&BTreeMap::new(), scratch.path(), &Map::new())?;
        self.start(own, words, scratch, &[], "kept").await
    }

    async fn start(
        &self,
        own: &Path,
        words: Vec<OsString>,
        scratch: Arc<Scratch>,
        linked: &[PathBuf],
        run: &str,
    ) -> Result<Process, Failure> {
        let command = self.command(own, words, scratch.path(), linked, run)?;
        Process::start_program(command, scratch, self.memory).await.map_err(unprepared)
    }

    fn words(
        &self,
        inputs: &BTreeMap<String, Input>,
        scratch: &Path,
        parameters: &Map<String, Value>,
    ) -> Result<Vec<OsString>, Failure> {
        let words = self.words.iter().map(|word| word.expand(inputs, scratch, parameters));
        words.filter_map(Result::transpose).collect()
    }

    /// This program, which guards another that confines itself and then becomes the owner's.
    fn command(
        &self,
        own: &Path,
        words: Vec<OsString>,
        scratch: &Path,
        linked: &[PathBuf],
        run: &str,
    ) -> Result<Command, Failure> {
        let program = words.first().map(PathBuf::from).unwrap_or_default();
        let program = found(&program)?;
        let mut read = self.read.clone();
        // What it is a link to, too.
        read.extend([fs::canonicalize(&program).unwrap_or_default(), program]);
        read.extend(linked.iter().cloned());
        read.retain(|path| path.exists());
        let confinement = Confinement {
            cpu_secs: self.cpu_secs,
            address_space: None,
            file_bytes: self.file_bytes,
            read,
            scratch: scratch.to_owned(),
            network: self.network,
            devices: self.devices,
            apart_from: Some(getpgrp().as_raw_nonzero().get()),
            is_asked: self.output == OutputKind::Lines,
        };
        let confinement = serde_json::to_string(&confinement)
            .map_err(|error| unprepared(io::Error::other(error)))?;
        let mut command = Command::new(own);
        command
            .args([child::COMMAND, child::GUARD])
            .arg(confinement)
            .arg("--")
            .args(words)
            .env_clear()
            .envs(&self.environment)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", scratch)
            .env("TMPDIR", scratch)
            .env("LANG", "C.UTF-8")
            .env("CATCHMENT_RUN", run)
            .env(strays::MARK, scratch)
            .process_group(0);
        Ok(command)
    }

    /// What to make of a failure. Where the program could not even load what it is made of, no
    /// object is at fault, and its owner has to let it read that.
    pub(super) fn explained(&self, name: &str, failure: Failure) -> Failure {
        let Some(line) = failure.log.lines().find(|line| is_of_start(line)) else {
            return failure;
        };
        let line: String = line.trim().chars().take(300).collect();
        let what = match self.elsewhere() {
            Some((file, folder)) => format!(
                "it is a link to {}: add {:?} to allow.read",
                file.display(),
                folder.to_string_lossy()
            ),
            None => "add the folders that it needs to allow.read".to_owned(),
        };
        Failure {
            class: Class::Unavailable,
            message: format!(
                "the program may not read what it needs to start ({line}). In \
                 extractors/{name}.toml, {what}"
            ),
            ..failure
        }
    }

    /// Where its file really is, and the folder that it is installed in, if it may not read that.
    fn elsewhere(&self) -> Option<(PathBuf, PathBuf)> {
        let Some(Word::Plain(word)) = self.words.first() else { return None };
        let file = fs::canonicalize(found(Path::new(word)).ok()?).ok()?;
        let folder = file.parent()?;
        // PREFIX/bin/python
        let prefix = folder.parent().filter(|_| folder.ends_with("bin")).unwrap_or(folder);
        let holds = |readable: &Path| {
            fs::canonicalize(readable).is_ok_and(|readable| prefix.starts_with(readable))
        };
        let is_readable = confine::system().any(holds) || self.read.iter().any(|it| holds(it));
        (!is_readable).then(|| (file.clone(), prefix.to_owned()))
    }

    /// The documents that it has printed.
    fn documents(&self, printed: &[u8]) -> Result<Vec<Map<String, Value>>, Failure> {
        if self.output == OutputKind::File {
            return Ok(Vec::new());
        }
        if self.output == OutputKind::Text {
            let text = String::from_utf8_lossy(printed);
            if text.len() > DOCUMENT_BYTES {
                return Err(resource(format!(
                    "it printed more than {DOCUMENT_BYTES} bytes, which a document may have"
                )));
            }
            return Ok(vec![Map::from_iter([("text".to_owned(), text.into())])]);
        }
        let no_object = || permanent("it printed JSON that is no object and no array of objects");
        match serde_json::from_slice(printed) {
            Ok(Value::Object(object)) => Ok(vec![object]),
            Ok(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::Object(object) => Ok(object),
                    _ => Err(no_object()),
                })
                .collect(),
            Ok(_) => Err(no_object()),
            Err(error) => Err(permanent(format!("it printed no JSON: {error}"))),
        }
    }
}

/// Whether a line of a log is what the loader of programs, or Python, says where it cannot load its
/// own files.
fn is_of_start(line: &str) -> bool {
    line.contains("error while loading shared libraries")
        || line.contains("Fatal Python error: init")
}

/// Whether there is a program at that path.
pub(super) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// The program of that path, which must be there: else it is the extractor that is at fault, and no
/// object.
fn found(program: &Path) -> Result<PathBuf, Failure> {
    let found = match program.as_os_str().as_bytes().contains(&b'/') {
        true => Some(program.to_owned()),
        false => ["/usr/local/bin", "/usr/bin", "/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(program))
            .find(|path| is_program(path)),
    };
    found.filter(|path| is_program(path)).ok_or_else(|| {
        Failure::new(Class::Unavailable, format!("there is no program {}", program.display()))
    })
}

/// What a program prints until it has ended, and no more than is allowed.
async fn printed(mut out: Receiver, group: &mut Group) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut ended_at: Option<Instant> = None;
    loop {
        tokio::select! {
            read = out.read(&mut chunk) => match read {
                Ok(0) | Err(_) => break,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            },
            // Something that it started may hold the pipe open for ever.
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        if bytes.len() as u64 > OBJECT_BYTES {
            return Err(resource(format!("it printed more than {OBJECT_BYTES} bytes")));
        }
        if group.status().is_some() {
            let since = *ended_at.get_or_insert_with(Instant::now);
            if since.elapsed() > REST {
                break;
            }
        }
    }
    while group.status().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(bytes)
}

pub(super) fn permanent(message: impl Into<String>) -> Failure {
    Failure::new(Class::Permanent, message)
}

fn resource(message: impl Into<String>) -> Failure {
    Failure::new(Class::Resource, message)
}

fn unprepared(error: io::Error) -> Failure {
    Failure::new(Class::Unavailable, format!("it could not be started: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn placeholders_are_whole_arguments() {
        assert_eq!(Word::parse("{input}"), Ok(Word::Input(None)));
        assert_eq!(Word::parse("{input.audio}"), Ok(Word::Input(Some("audio".to_owned()))));
        assert_eq!(Word::parse("--json"), Ok(Word::Plain("--json".to_owned())));
        assert!(Word::parse("file={input}").is_err());
    }

    #[test]
    fn a_parameter_is_never_an_option() {
        let expand = |value: &str| {
            let parameters = Map::from_iter([("language".to_owned(), value.into())]);
            let word = Word::parse("{parameters.language}").unwrap();
            word.expand(&BTreeMap::new(), Path::new("/"), &parameters)
        };
        assert_eq!(expand("deu").unwrap(), Some("deu".into()));
        assert!(expand("-rf").is_err());
    }
}
