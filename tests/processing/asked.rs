//! Extractors asked without a server: each in a child process, as always.

use std::{collections::BTreeMap, fs::File, io::Write as _, path::PathBuf, time::Duration};

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
        let extractors = Extractors::new(program, folder.path().join("scratch"));
        Self { folder, extractors }
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
