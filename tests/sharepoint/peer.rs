//! A OneDrive of the npm package microsoft-onedrive-mock, which others wrote from Microsoft's
//! documentation, behind the translating front of `tests/peers/onedrive.cjs`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    support::{
        catchment::Catchment,
        wire::{Answer, Wire},
    },
    synced::{Fixture, Object},
};

/// The drive, and what gives access tokens for it. It ends when dropped.
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
            .arg(peers.join("onedrive.cjs"))
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

    /// An installation whose Microsoft it is.
    fn home(&self) -> Catchment {
        let home = Catchment::new();
        std::fs::create_dir_all(home.data_dir()).unwrap();
        let (port, tokens) = (self.port, self.tokens.url());
        let hosts = format!(
            "[hosts]\nmicrosoft_graph = \"http://127.0.0.1:{port}\"\nmicrosoft_login = \
             \"{tokens}\"\n"
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

    /// Adds an item to a folder; returns its id.
    fn add(&mut self, parent: &str, name: &str, content: Option<&str>) -> String {
        let parent = json!({ "driveId": "b!", "id": parent });
        let item = json!({ "name": name, "parentReference": parent, "content": content });
        let made = self.call("createItem", &[item, json!(content.is_none())]);
        made["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn credentials() -> Value {
    json!({ "type": "delegated", "tenant_id": "consumers", "client_id": "c", "refresh_token": "r" })
}

#[test]
fn a_drive_that_others_have_imitated_is_browsed_synced_followed_and_renamed_without_a_download() {
    let mut mock = Mock::start();
    let top = mock.add("root", "Top", None);
    let folder = mock.add(&top, "2026", None);
    let [a, b, c] =
        ["a", "b", "c"].map(|name| mock.add(&folder, name, Some(&format!("of {name}"))));
    mock.add("root", "elsewhere", Some("not synced"));
    let fixture = Fixture::made(&mock.home(), "sharepoint", &credentials(), "/Top");

    let looked = fixture.server.get("/v1/organizations/connections/Work/folders?path=/").is(200);
    assert!(looked.to_string().contains("Top"), "{looked}");
    let looked = fixture.server.get("/v1/organizations/connections/Work/files?path=/").is(200);
    assert!(looked.to_string().contains("elsewhere"), "{looked}");

    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(fixture.paths(), ["2026/a", "2026/b", "2026/c"]);
    let before = fixture.objects();
    let of = |id: &str| before.keys().find(|key| key.ends_with(&format!("!{id}"))).unwrap().clone();
    let [a, b, c] = [(&a, of(&a)), (&b, of(&b)), (&c, of(&c))];
    assert_eq!(before[&a.1].content, "of a");

    mock.call("updateItem", &[json!(folder), json!({ "name": "2026 final" })]);
    mock.call("updateItem", &[json!(b.0), json!({ "content": "changed" })]);
    mock.call("deleteItem", &[json!(c.0)]);
    mock.add(&top, "new", Some("of new"));
    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    let after = fixture.objects();
    assert_eq!(after[&a.1], Object { path: "2026 final/a".to_owned(), ..before[&a.1].clone() });
    assert_eq!(after[&b.1].content, "changed");
    assert_eq!(after[&b.1].id, before[&b.1].id);
    assert!(!after.contains_key(&c.1) && fixture.paths().contains(&"new".to_owned()));
    assert_eq!(job["metadata"]["counts"]["bytes"], 7 + 6, "of the rest nothing was downloaded");
    let job = fixture.run();
    assert_eq!(job["details"]["requests"], 1, "no change is one request: {job}");
}
