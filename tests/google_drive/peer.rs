//! Drives of the npm package google-drive-mock, which others wrote from Google's documentation.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    fake_drive::FOLDER,
    support::{
        catchment::Catchment,
        wire::{Answer, Wire},
    },
    synced::{Fixture, Object},
    syncs::credentials,
};

/// The mock, and what gives access tokens for it. It ends when dropped.
struct Mock {
    child: Child,
    answers: BufReader<ChildStdout>,
    port: u16,
    tokens: Wire,
}

impl Mock {
    /// Starts one with an empty drive.
    fn start() -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        assert!(peers.join("node_modules").exists(), "run `npm ci` in {}", peers.display());
        let mut child = Command::new("node")
            .arg(peers.join("drive.cjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        answers.read_line(&mut port).unwrap();
        // The only token that it knows.
        let body = json!({ "access_token": "valid-token", "expires_in": 3600 }).to_string();
        let tokens = Wire::serve(move |_| Answer::new(200, body.clone()).into());
        Self { child, answers, port: port.trim().parse().unwrap(), tokens }
    }

    /// An installation whose Google it is.
    fn home(&self) -> Catchment {
        let home = Catchment::new();
        std::fs::create_dir_all(home.data_dir()).unwrap();
        let (port, tokens) = (self.port, self.tokens.url());
        let hosts = format!(
            "[hosts]\ngoogle_api = \"http://127.0.0.1:{port}\"\ngoogle_token = \"{tokens}\"\n"
        );
        std::fs::write(home.data_dir().join("config.toml"), hosts).unwrap();
        home
    }

    /// Calls a method of its store.
    fn call(&mut self, method: &str, args: &[Value]) -> Value {
        let line: Vec<Value> = [&[json!(method)], args].concat();
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", Value::from(line)).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// Adds a file or folder; returns its id.
    fn add(&mut self, file: Value) -> String {
        self.call("createFile", &[file])["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_drive_that_others_have_imitated_is_synced_followed_and_renamed_without_a_download() {
    let mut mock = Mock::start();
    let top = mock.add(json!({ "name": "Top", "mimeType": FOLDER }));
    let folder = mock.add(json!({ "name": "2026", "mimeType": FOLDER, "parents": [top] }));
    let file = |name: &str, content: &str, parent: &str| json!({ "name": name, "mimeType": "text/plain", "content": content, "parents": [parent] });
    let [a, b, c] =
        ["a", "b", "c"].map(|name| mock.add(file(name, &format!("of {name}"), &folder)));
    let fixture = Fixture::made(&mock.home(), "google_drive", &credentials(), &top);
    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(fixture.paths(), ["2026/a", "2026/b", "2026/c"]);
    let before = fixture.objects();

    mock.call("updateFile", &[json!(folder), json!({ "name": "2026 final" })]);
    mock.call("updateFile", &[json!(b), json!({ "content": "changed" })]);
    mock.call("deleteFile", &[json!(c)]);
    let new = mock.add(file("new", "of new", &top));
    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    let after = fixture.objects();
    assert_eq!(after[&a], Object { path: "2026 final/a".to_owned(), ..before[&a].clone() });
    assert_eq!(after[&b].content, "changed");
    assert_eq!(after[&b].id, before[&b].id);
    assert_eq!((after[&new].path.as_str(), after.contains_key(&c)), ("new", false));
    assert_eq!(job["metadata"]["counts"]["bytes"], 7 + 6, "of the rest nothing was downloaded");
}
