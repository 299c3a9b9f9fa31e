//! Extractors asked without a server: each in a child process, as always.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    time::Duration,
};

use catchment::processing::extract::{
    Extracted, Extractors, Failure, Given, Job,
    protocol::{FileFacts, ObjectFacts},
};
use serde_json::{Map, Value, json};

/// Extractors with a folder of their own.
pub struct Asked {
    folder: tempfile::TempDir,
    extractors: Extractors,
}

impl Asked {
    /// No children yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_catchment"));
        let own = Some(folder.path().join("own"));
        let extractors = Extractors::with(program, folder.path().join("scratch"), own, None);
        Self { folder, extractors }
    }

    /// The same with an extractor of the owner's.
    pub fn with(name: &str, definition: &str) -> Self {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        let asked = Self::new();
        let own = asked.folder.path().join("own");
        fs::DirBuilder::new().mode(0o700).create(&own).unwrap();
        let path = own.join(format!("{name}.toml"));
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.write_all(definition.as_bytes()).unwrap();
        asked
    }

    /// Ends what has had no work for long enough.
    pub fn tidy(&self) {
        self.extractors.tidy();
    }

    /// The processes that run for it, by their command lines.
    pub fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap();
        let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        all.filter(|line| line.contains(folder)).collect()
    }

    /// What an extractor makes of bytes whose type nobody knows.
    pub async fn of(
        &self,
        name: &str,
        bytes: &[u8],
        parameters: Value,
    ) -> Result<Extracted, Failure> {
        self.of_type(name, None, bytes, parameters, Duration::from_secs(60)).await
    }

    /// What an extractor makes of bytes that are said to be of a type.
    pub async fn of_type(
        &self,
        name: &str,
        mime: Option<&str>,
        bytes: &[u8],
        parameters: Value,
        timeout: Duration,
    ) -> Result<Extracted, Failure> {
        let path = self.folder.path().join("input");
        File::create(&path).unwrap().write_all(bytes).unwrap();
        let facts = FileFacts {
            size_bytes: bytes.len() as u64,
            mime_type: mime.map(str::to_owned),
            ..FileFacts::default()
        };
        let file = Given::File { file: File::open(&path).unwrap(), facts };
        let Value::Object(parameters) = parameters else { panic!("no object") };
        let job = Job {
            run: "run".to_owned(),
            object: ObjectFacts::default(),
            inputs: BTreeMap::from([("file".to_owned(), file)]),
            parameters,
        };
        let mut extractor = (*self.extractors.find(name, "v1").unwrap()).clone();
        extractor.timeout = timeout;
        self.extractors.extract(&extractor, job).await
    }

    /// The facts of a file.
    pub async fn facts(&self, bytes: &[u8]) -> Map<String, Value> {
        let mut found = self.of("file_facts", bytes, json!({})).await.unwrap();
        assert_eq!(found.documents.len(), 1);
        found.documents.remove(0).body
    }

    /// The documents that `text` makes of a file.
    pub async fn text(
        &self,
        mime: &str,
        bytes: &[u8],
        parameters: Value,
    ) -> Vec<Map<String, Value>> {
        let timeout = Duration::from_secs(60);
        let found = self.of_type("text", Some(mime), bytes, parameters, timeout).await.unwrap();
        found.documents.into_iter().map(|document| document.body).collect()
    }
}
