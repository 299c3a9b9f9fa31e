//! `fake_snowflake.py`, an imitation of Snowflake's SQL API, as tests use it: started for one test
//! on a free port of the loopback interface, told what to hold and how to fail, and gone with the
//! test.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

/// The account and user that the imitation knows from its start.
pub const ACCOUNT: &str = "org-acc";
pub const USER: &str = "LOADER";
/// The user's programmatic access token.
pub const TOKEN: &str = "pat-of-the-loader";

/// A running imitation.
pub struct FakeSnowflake {
    child: Child,
    port: u16,
}

impl FakeSnowflake {
    /// An imitation without tables, whose user has the key of the fixtures and one access token.
    pub fn start() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let venv = std::env::var_os("CATCHMENT_TEST_VENV")
            .map_or_else(|| root.join("target/test-venv"), PathBuf::from);
        let mut child = Command::new(venv.join("bin/python"))
            .arg(root.join("tests/support/fake_snowflake.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("python from {}: {error}", venv.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
        let fake = Self { child, port };
        let user = format!("{}.{USER}", ACCOUNT.to_uppercase());
        fake.users(&json!({ user: { "key": public_key(), "tokens": [TOKEN] } }));
        fake
    }

    /// Who may sign in: `ACCOUNT.USER` with a public key and access tokens.
    pub fn users(&self, users: &Value) {
        self.control("users", users);
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Statements that change what fakesnow holds.
    pub fn sql(&self, statements: &[&str]) {
        self.control("sql", &json!({ "sql": statements }));
    }

    /// A table that is kept cell by cell: columns as (name, type, scale).
    pub fn table(&self, name: [&str; 3], columns: &Value, key: &[&str], rows: &Value) {
        let table = json!({ "name": name, "columns": columns, "key": key, "rows": rows });
        self.control("table", &table);
    }

    /// Such a table of another kind: `more` has what `/control/table` takes besides.
    pub fn table_of_kind(&self, name: [&str; 3], columns: &Value, rows: &Value, more: &Value) {
        let mut table = json!({ "name": name, "columns": columns, "rows": rows });
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.control("table", &table);
    }

    /// So many empty tables of that kind in a schema, `T00000` and on.
    pub fn many_tables(&self, schema: [&str; 2], count: usize) {
        self.control("many", &json!({ "schema": schema, "count": count }));
    }

    /// Changes the rows of such a table: those with these keys go, these come.
    pub fn change(&self, name: [&str; 3], delete: &Value, insert: &Value) {
        self.control("rows", &json!({ "name": name, "delete": delete, "insert": insert }));
    }

    /// Faults from now on; see `FAULTS` in the script.
    pub fn faults(&self, faults: &Value) {
        self.control("faults", faults);
    }

    /// Lets go of an answer that is held.
    pub fn release(&self) {
        self.control("release", &Value::Null);
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Value> {
        let Value::Array(log) = self.request("GET", "log", "") else { panic!("no log") };
        log
    }

    /// The statements that were executed so far.
    pub fn statements(&self) -> Vec<String> {
        let executed = |entry: &Value| entry["executed"] == true;
        let text = |entry: Value| entry["statement"].as_str().unwrap_or_default().to_owned();
        self.log().into_iter().filter(executed).map(text).collect()
    }

    fn control(&self, what: &str, body: &Value) {
        self.request("POST", what, &body.to_string());
    }

    fn request(&self, method: &str, what: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            stream,
            "{method} /control/{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for FakeSnowflake {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The private key of the fixtures, unencrypted.
pub fn private_key() -> String {
    fixture("plain.p8")
}

/// Its public half, as Snowflake takes it.
pub fn public_key() -> String {
    fixture("public.pem").lines().filter(|line| !line.starts_with("-----")).collect()
}

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snowflake");
    std::fs::read_to_string(path.join(name)).unwrap()
}
