//! `catchment serve` as a test uses it: started on a free port over a private data directory, asked
//! through a blocking client of few lines that hides nothing of an answer.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::catchment::{Catchment, poll_until};

/// No start, answer or stop of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server. Dropped, it is killed.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What admits to it.
    pub token: String,
    /// What it runs on.
    pub home: Catchment,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    /// A server on a fresh installation.
    pub fn start() -> Self {
        Self::on(&Catchment::new())
    }

    /// A server on that installation.
    pub fn on(home: &Catchment) -> Self {
        Self::with_args(home, &[])
    }

    /// A server on that installation, started with more arguments.
    pub fn with_args(home: &Catchment, args: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(args);
        Self::by(home, home.command(&all))
    }

    /// A server on that installation that this command starts.
    pub fn by(home: &Catchment, mut command: Command) -> Self {
        let mut child = command.spawn().expect("the built program starts");
        let stdout = gather(child.stdout.take().unwrap());
        let stderr = gather(child.stderr.take().unwrap());
        let address = poll_until("the server's address", DEADLINE, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("serve ended with {status}: {}", stderr.lock().unwrap());
            }
            address_in(&stdout.lock().unwrap())
        });
        // There is none where the environment has the token: the test sets it then.
        let token = std::fs::read_to_string(home.data_dir().join("token")).unwrap_or_default();
        let token = token.trim().to_owned();
        Self { child, address, token, home: home.clone(), stdout, stderr }
    }

    /// What it said on its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// A request with the token, to be changed before it is sent.
    pub fn request(&self, method: &str, target: &str) -> Call {
        Call {
            address: self.address,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![
                ("Host".to_owned(), self.address.to_string()),
                ("Authorization".to_owned(), format!("Bearer {}", self.token)),
            ],
            body: Vec::new(),
        }
    }

    /// GET.
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send()
    }

    /// DELETE.
    pub fn delete(&self, target: &str) -> Answer {
        self.request("DELETE", target).send()
    }

    /// POST with a JSON body.
    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.request("POST", target).json(body).send()
    }

    /// PATCH with a JSON body.
    pub fn patch(&self, target: &str, body: &Value) -> Answer {
        self.request("PATCH", target).json(body).send()
    }

    /// PUT with a JSON body.
    pub fn put(&self, target: &str, body: &Value) -> Answer {
        self.request("PUT", target).json(body).send()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server still runs");
    }

    /// Kills it (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        poll_until("the server's end", DEADLINE, || self.child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in `… http://127.0.0.1:1234…`.
fn address_in(said: &str) -> Option<SocketAddr> {
    let (_, rest) = said.split_once("http://")?;
    let end = rest.find(|c: char| c.is_whitespace() || c == '/')?;
    rest[..end].parse().ok()
}

fn gather(pipe: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let into = said.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut said = into.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
    said
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Call {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// With this header, instead of any of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Without the token.
    pub fn without_token(self) -> Self {
        self.without("Authorization")
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With this JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// Sends it and reads the answer to its end.
    pub fn send(self) -> Answer {
        let words = format!("{} {}", self.method, self.target);
        let mut stream = self.open();
        let mut answer = Vec::new();
        // A server that refuses a body may close before it has read all of it.
        let ended = stream.read_to_end(&mut answer);
        assert!(!answer.is_empty(), "{words}: no answer, {ended:?}");
        Answer::parse(&words, &answer)
    }

    /// Sends it and hands over the connection, from which the answer is to be read.
    pub fn open(self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = self.headers.iter().any(|(name, _)| name == "Content-Length");
        if !has_length && (!self.body.is_empty() || !["GET", "HEAD"].contains(&&*self.method)) {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), &self.body].concat();
        // See `send`: the answer may come, and the connection close, before all is sent.
        let _ = stream.write_all(&bytes);
        stream
    }
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    words: String,
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(words: &str, bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            other => panic!("{words}: {other:?} in {:?}", String::from_utf8_lossy(bytes)),
        };
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_ascii_lowercase(), value)
            })
            .collect();
        let status = head.code.unwrap();
        let mut answer =
            Self { words: words.to_owned(), status, headers, body: bytes[length..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts the status, and answers with the body as JSON (null for none).
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts an error answer of that status in the one shape that errors have, and answers with
    /// its `error`.
    #[track_caller]
    pub fn fails_with(&self, status: u16) -> Value {
        let body = self.is(status);
        assert_eq!(body["success"], false, "{self}");
        assert_eq!(body["status"], status, "{self}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{self}");
        assert!(body["error"]["type"].is_string(), "{self}");
        body["error"].clone()
    }

    /// Asserts a 422 that names this field, and answers with what it says of it.
    #[track_caller]
    pub fn blames(&self, field: &str) -> Value {
        let error = self.fails_with(422);
        let errors = error["details"]["errors"].as_array().cloned().unwrap_or_default();
        errors
            .into_iter()
            .find(|error| error["field"] == field)
            .unwrap_or_else(|| panic!("{field:?} is not blamed: {self}"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(8000)]);
        write!(f, "{} answered {}\n{body}", self.words, self.status)
    }
}

/// The body of a chunked answer; of a broken one, what came.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((head, size))) = httparse::parse_chunk_size(bytes) {
        let end = (head + size as usize).min(bytes.len());
        body.extend_from_slice(&bytes[head..end]);
        if size == 0 || end + 2 > bytes.len() {
            break;
        }
        bytes = &bytes[end + 2..];
    }
    body
}
