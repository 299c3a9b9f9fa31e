//! The owner's extractors: files `extractors/NAME.toml` of the data directory, read when they are
//! asked for and read again when they change.
//!
//! A file says which program runs or which address is reached, so that whoever can write one can
//! run commands. That is why there is no other way to say so, and why a file is refused that others
//! on this machine may write.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    builtin,
    extractor::{Extractor, Field, How},
    program::{OutputKind, Program, Word},
    service::{Format, Service},
};
use crate::{model::CONTENT, sources::http::post};

/// How long what was read is good before the files are looked at again.
const FRESH: Duration = Duration::from_millis(500);
/// The largest file that is read.
const LONGEST: u64 = 256 * 1024;
/// Memory and time of a definition that does not say.
const MEMORY: ByteSize = ByteSize::gib(2);
const FILE: ByteSize = ByteSize::gib(1);
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a process that stays is kept without work: it may have loaded a model.
const IDLE: Duration = Duration::from_secs(300);

/// The folder with the owner's extractors.
#[derive(Debug)]
pub(super) struct Own {
    folder: PathBuf,
    read: Mutex<Option<Read>>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The extractor that it would be.
    pub name: String,
    /// Why not, for the owner: it may repeat what the file says.
    pub why: String,
}

#[derive(Clone, Debug)]
struct Read {
    at: Instant,
    stamp: Vec<(PathBuf, [i64; 5])>,
    usable: Vec<Arc<Extractor>>,
    unusable: Vec<Unusable>,
}

impl Own {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, read: Mutex::default() }
    }

    /// Those that can be used, by name.
    pub(super) fn usable(&self) -> Vec<Arc<Extractor>> {
        self.current().usable
    }

    /// Those that cannot.
    pub(super) fn unusable(&self) -> Vec<Unusable> {
        self.current().unusable
    }

    fn current(&self) -> Read {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref().filter(|read| read.at.elapsed() < FRESH) {
            return read.clone();
        }
        let stamp = self.stamp();
        let fresh = match read.take().filter(|read| read.stamp == stamp) {
            Some(same) => Read { at: Instant::now(), ..same },
            None => self.read_all(stamp),
        };
        read.insert(fresh).clone()
    }

    /// The files with what changes when they do.
    fn stamp(&self) -> Vec<(PathBuf, [i64; 5])> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut stamp: Vec<_> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let found = fs::metadata(&path).ok()?;
                let parts = [
                    found.mtime(),
                    found.mtime_nsec(),
                    i64::try_from(found.len()).unwrap_or(i64::MAX),
                    i64::from(found.mode()),
                    i64::from(found.uid()),
                ];
                path.extension().is_some_and(|it| it == "toml").then_some((path, parts))
            })
            .collect();
        stamp.sort();
        stamp
    }

    fn read_all(&self, stamp: Vec<(PathBuf, [i64; 5])>) -> Read {
        let (mut usable, mut unusable) = (Vec::new(), Vec::new());
        for (path, _) in &stamp {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match is_private(&self.folder).and_then(|()| load(path)) {
                Ok(extractor) => usable.push(Arc::new(extractor)),
                Err(why) => {
                    tracing::warn!(extractor = name, why, "an extractor cannot be used");
                    unusable.push(Unusable { name, why });
                }
            }
        }
        Read { at: Instant::now(), stamp, usable, unusable }
    }
}

/// The extractor that a file defines. Its name is the file's.
///
/// # Errors
/// Why it cannot be used, for the owner.
pub fn load(path: &Path) -> Result<Extractor, String> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) || name.starts_with('-') {
        return Err("the name of the file must be 1 to 64 letters, digits, - and _".to_owned());
    }
    if builtin::find(name).is_some() {
        return Err(format!("{name} comes with Catchment: give the file another name"));
    }
    is_private(path)?;
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LONGEST {
        return Err(format!("the file is longer than {LONGEST} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: Definition = toml::from_str(&text).map_err(|error| error.to_string())?;
    file.extractor(name)
}

/// Whether nobody else may change a file or folder.
fn is_private(path: &Path) -> Result<(), String> {
    let found = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let own = rustix::process::geteuid().as_raw();
    if found.mode() & 0o022 != 0 {
        return Err(format!("{0} may be written by others: chmod go-w {0}", path.display()));
    }
    if found.uid() != own && found.uid() != 0 {
        return Err(format!("{} belongs to another user", path.display()));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    version: String,
    description: Option<String>,
    accepts: Option<Vec<String>>,
    program: Option<Vec<String>>,
    output: Option<OutputKind>,
    #[serde(default)]
    stay: bool,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    http: Option<String>,
    format: Option<Format>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    request: Map<String, Value>,
    vector: Option<String>,
    server: Option<String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    allow: Allow,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    timeout: Option<String>,
    idle: Option<String>,
    memory: Option<ByteSize>,
    file: Option<ByteSize>,
    concurrency: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Allow {
    network: bool,
    gpu: bool,
    read: Vec<PathBuf>,
}

impl Definition {
    fn extractor(self, name: &str) -> Result<Extractor, String> {
        if self.version.is_empty() || self.version.len() > 64 {
            return Err("version must have 1 to 64 characters".to_owned());
        }
        let timeout = time("limits.timeout", self.limits.timeout.as_deref())?.unwrap_or(TIMEOUT);
        let idle = time("limits.idle", self.limits.idle.as_deref())?;
        if idle.is_some() && !self.stay {
            return Err("limits.idle belongs to a program that stays".to_owned());
        }
        let parameters = self.schema(name)?;
        let (definition, defaults) = (self.digest(), self.defaults());
        let memory = self.limits.memory.unwrap_or(MEMORY).as_u64();
        let concurrency = match self.limits.concurrency {
            Some(0) => return Err("limits.concurrency must be 1 or more".to_owned()),
            wanted => wanted,
        };
        let (how, most) = match (&self.program, &self.http) {
            (Some(_), None) => (How::Program(self.program(memory)?), room_for(memory)),
            (None, Some(_)) => (How::Service(Box::new(self.service(name)?)), usize::MAX),
            (Some(_), Some(_)) => return Err("program and http stand beside each other".to_owned()),
            (None, None) => return Err("say program or http".to_owned()),
        };
        let secrets = self.headers.values().chain(self.environment.values());
        Ok(Extractor {
            name: name.to_owned(),
            secrets: secrets.filter(|value| value.len() >= 8).cloned().collect(),
            version: self.version,
            description: self.description.unwrap_or_else(|| "An extractor of yours".to_owned()),
            needs_input: true,
            carries_fields: false,
            accepts: self.accepts.unwrap_or_else(|| vec!["*/*".to_owned()]),
            inputs: match self.inputs.is_empty() {
                true => default_inputs(&how),
                false => self.inputs,
            },
            fields: self
                .fields
                .into_iter()
                .map(|(name, kind)| Field { name, kind, description: String::new() })
                .collect(),
            defaults,
            parameters,
            timeout,
            idle: idle.unwrap_or(IDLE),
            concurrency: Some(concurrency.unwrap_or(usize::MAX).min(most).max(1)),
            definition: Some(definition),
            how,
        })
    }

    /// `[parameters.NAME]` are the properties of a JSON Schema.
    fn schema(&self, name: &str) -> Result<Value, String> {
        let mut properties = self.parameters.clone();
        properties.insert(
            "extractor_type".to_owned(),
            json!({"const": name, "description": "The extractor's name"}),
        );
        let schema =
            json!({"type": "object", "properties": properties, "additionalProperties": false});
        match jsonschema::validator_for(&schema) {
            Ok(_) => Ok(schema),
            Err(error) => Err(format!("parameters: no JSON Schema: {error}")),
        }
    }

    /// What decides about the documents, in one number: not limits, names of fields and secrets.
    fn digest(&self) -> [u8; 16] {
        let said = json!([
            self.version,
            self.program,
            self.output,
            self.http,
            self.format,
            self.request,
            self.vector,
            self.defaults(),
        ]);
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(said.to_string().as_bytes()).as_bytes()[..16]);
        digest
    }

    /// What parameters are where a collection does not say.
    fn defaults(&self) -> Map<String, Value> {
        let default = |(name, schema): (&String, &Value)| {
            schema.get("default").map(|value| (name.clone(), value.clone()))
        };
        self.parameters.iter().filter_map(default).collect()
    }

    fn program(&self, memory: u64) -> Result<Program, String> {
        let words: Vec<Word> = self
            .program
            .iter()
            .flatten()
            .map(|word| Word::parse(word))
            .collect::<Result<_, _>>()?;
        if !matches!(words.first(), Some(Word::Plain(name)) if !name.is_empty()) {
            return Err("program: the first word is the program".to_owned());
        }
        let output = self.output.ok_or("say output: lines, json or text")?;
        if self.stay && output != OutputKind::Lines {
            return Err("stay: only a program whose output is lines is kept".to_owned());
        }
        let is_of_object = |word: &Word| matches!(word, Word::Input(_) | Word::Parameter(_));
        if self.stay && words.iter().any(is_of_object) {
            return Err("stay: a program that is kept gets its inputs in lines".to_owned());
        }
        if output != OutputKind::Lines && !words.iter().any(|word| matches!(word, Word::Input(_))) {
            return Err("program: one word must be {input}".to_owned());
        }
        for (field, is_set) in [
            ("headers", !self.headers.is_empty()),
            ("request", !self.request.is_empty()),
            ("format", self.format.is_some()),
            ("vector", self.vector.is_some()),
            ("server", self.server.is_some()),
        ] {
            if is_set {
                return Err(format!("{field} belongs to http, not to a program"));
            }
        }
        if let Some(path) = self.allow.read.iter().find(|path| !path.is_absolute()) {
            return Err(format!("allow.read: {path:?} is no absolute path"));
        }
        Ok(Program {
            words,
            output,
            stay: self.stay,
            memory,
            cpu_secs: super::process::CPU_SECS,
            file_bytes: self.limits.file.unwrap_or(FILE).as_u64(),
            network: self.allow.network,
            devices: self.allow.gpu,
            read: self.allow.read.clone(),
            environment: self.environment.clone(),
        })
    }

    fn service(&self, name: &str) -> Result<Service, String> {
        for (field, is_set) in [
            ("output", self.output.is_some()),
            ("stay", self.stay),
            ("environment", !self.environment.is_empty()),
            ("allow", self.allow.network || self.allow.gpu || !self.allow.read.is_empty()),
        ] {
            if is_set {
                return Err(format!("{field} belongs to a program, not to http"));
            }
        }
        let address = |field: &str, text: &str| {
            post::address(text).map_err(|why| format!("{field}: {text:?} {why}"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let no_header = || format!("headers: {name:?} is no header, or its value is none");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| no_header())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| no_header())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let vector = self.vector.clone().unwrap_or_else(|| name.replace('-', "_"));
        let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_';
        if !vector.chars().all(is_plain) || !vector.starts_with(|it: char| it.is_ascii_alphabetic())
        {
            return Err(format!("vector: {vector:?} must be letters, digits and _"));
        }
        Ok(Service {
            url: address("http", self.http.as_deref().unwrap_or_default())?,
            format: self.format.ok_or(
                "say format: catchment, openai_embeddings, openai_chat or openai_transcription",
            )?,
            headers,
            request: self.request.clone(),
            vector,
            server: self.server.as_deref().map(|text| address("server", text)).transpose()?,
        })
    }
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    let parsed = parsed.and_then(|it| Duration::try_from(it).ok());
    let is_sound = |it: &Duration| !it.is_zero() && *it <= Duration::from_secs(24 * 3600);
    let wrong = || format!("{field}: {text:?} is no time up to a day, such as 90s, 10m or 2h");
    parsed.filter(is_sound).map(Some).ok_or_else(wrong)
}

/// The content, and for models that read text the text that there is.
fn default_inputs(how: &How) -> BTreeMap<String, String> {
    let file = ("file".to_owned(), CONTENT.to_owned());
    let text = ("text".to_owned(), "text".to_owned());
    match how {
        How::Service(service) if service.format == Format::OpenaiTranscription => [file].into(),
        How::Service(service) if service.format != Format::Catchment => [file, text].into(),
        _ => [file].into(),
    }
}

/// How many processes of so much memory may run at once: they share a quarter of what there is.
fn room_for(memory: u64) -> usize {
    quarter_of_memory()
        .map_or(1, |bytes| usize::try_from(bytes / memory.max(1)).unwrap_or(usize::MAX))
}

/// A quarter of the memory of this computer, in bytes, which is what programs may use together.
pub(super) fn quarter_of_memory() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let info = rustix::system::sysinfo();
        Some(info.totalram as u64 * u64::from(info.mem_unit) / 4)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn defined(name: &str, text: &str) -> Result<Extractor, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        load(&path)
    }

    const PROGRAM: &str =
        "version = '1'\nprogram = ['exiftool', '-j', '{input}']\noutput = 'json'\n";

    #[test]
    fn a_definition_that_cannot_be_meant_is_refused_with_what_is_wrong() {
        assert!(defined("good", PROGRAM).is_ok());
        for (name, text, word) in [
            ("file_facts", PROGRAM.to_owned(), "another name"),
            ("a b", PROGRAM.to_owned(), "name of the file"),
            ("x", "version = '1'".to_owned(), "program or http"),
            ("x", format!("{PROGRAM}colour = 'red'"), "colour"),
            ("x", format!("{PROGRAM}stay = true"), "lines"),
            ("x", PROGRAM.replace("'{input}'", "'--file={input}'"), "whole argument"),
            ("x", PROGRAM.replace(", '{input}'", ""), "{input}"),
            ("x", format!("{PROGRAM}limits = {{ timeout = 'soon' }}"), "limits.timeout"),
            ("x", format!("{PROGRAM}limits = {{ idle = '1m' }}"), "stays"),
            ("x", format!("{PROGRAM}allow = {{ read = ['here'] }}"), "absolute"),
            (
                "x",
                "version = '1'\nhttp = 'http://169.254.169.254/'\nformat = 'catchment'".to_owned(),
                "169.254.169.254",
            ),
        ] {
            let why = defined(name, &text).unwrap_err();
            assert!(why.contains(word), "{why} without {word}");
        }
    }

    #[test]
    fn what_decides_about_documents_decides_about_the_digest_and_nothing_else() {
        let digest = |text: &str| defined("x", text).unwrap().definition;
        let first = digest(PROGRAM);
        assert_eq!(first, digest(&format!("# words\n{PROGRAM}limits = {{ timeout = '5m' }}")));
        assert_ne!(first, digest(&PROGRAM.replace("'1'", "'2'")));
        assert_ne!(first, digest(&PROGRAM.replace("'-j'", "'-json'")));
    }
}
