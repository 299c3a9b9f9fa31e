//! A small HTTP/1.1 server with its hands on the socket: it sees request targets as they were sent,
//! and it can cut, stall, slow and reset its answers, which HTTP libraries exist to prevent.
//!
//! A thread for each connection; knows nothing of S3.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path and query exactly as sent.
    pub target: String,
    /// The scheme and host before them, which clients send to a proxy.
    pub proxied: Option<String>,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The path exactly as sent, percent-encoding and all.
    pub fn raw_path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query exactly as sent, without the question mark.
    pub fn raw_query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<Vec<u8>> {
        parameter(self.raw_query(), name)
    }

    /// A query parameter that is text.
    pub fn query_text(&self, name: &str) -> Option<String> {
        self.query(name).map(|value| String::from_utf8(value).expect("a text parameter"))
    }

    /// A parameter of a form in the body, decoded.
    pub fn form(&self, name: &str) -> Option<String> {
        let body = String::from_utf8_lossy(&self.body).replace('+', "%20");
        parameter(&body, name).map(|value| String::from_utf8(value).expect("a text field"))
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name.as_bytes()).then(|| decode(value))
    })
}

/// `%XX` back to bytes.
pub fn decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// What the server does with a request.
pub enum Reply {
    /// Answers.
    Answer(Answer),
    /// Tears the connection down without a word.
    Reset,
    /// Says nothing until the client gives up, or the test does.
    Silence,
}

/// An answer, and how much of it is really sent.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Besides `Content-Length`, which is the length of the body.
    pub headers: Vec<(String, String)>,
    /// All bytes of which the body is a part.
    pub body: Arc<Vec<u8>>,
    /// The part of `body` that is the body.
    pub range: Range<usize>,
    /// How the body goes out.
    pub delivery: Delivery,
    /// Counts the bytes of the body that went out.
    pub sent: Arc<AtomicU64>,
}

/// How a body goes out.
#[derive(Clone, Copy, Debug)]
pub enum Delivery {
    /// At once and whole.
    Whole,
    /// So many bytes, then the connection is closed.
    CutAfter(usize),
    /// So many bytes, then a connection reset.
    ResetAfter(usize),
    /// So many bytes, then silence until the client or the test gives up.
    StallAfter(usize),
    /// With the word that it has so many bytes, of which none comes.
    Announced(u64),
    /// In pieces of so many bytes with a pause after each.
    Paced(usize, Duration),
    /// At once and whole, in one chunk of `Transfer-Encoding: chunked`.
    WithoutLength,
}

impl Answer {
    /// An answer with a body of its own.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = Arc::new(body.into());
        Self {
            status,
            headers: Vec::new(),
            range: 0..body.len(),
            body,
            delivery: Delivery::Whole,
            sent: Arc::default(),
        }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// A running server; it stops when dropped.
pub struct Wire {
    address: SocketAddr,
    ending: Arc<Ending>,
}

/// Says when the server ends, and reaches the connections that are open then.
#[derive(Default)]
struct Ending {
    ended: Mutex<bool>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
    /// Connections on which an answer stands still.
    stalled: AtomicUsize,
}

impl Ending {
    fn has_come(&self) -> bool {
        *self.ended.lock().unwrap()
    }

    /// Pauses for `pause`, or until the end if that is sooner; tells whether the end has come.
    fn comes_within(&self, pause: Duration) -> bool {
        let guard = self.ended.lock().unwrap();
        *self.changed.wait_timeout_while(guard, pause, |ended| !*ended).unwrap().0
    }
}

impl Wire {
    /// Serves on a free port of the loopback interface.
    pub fn serve(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        Self::serve_on(listener, handler)
    }

    /// Serves those who connect to this listener.
    pub fn serve_on(
        listener: TcpListener,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (handler, ending) = (Arc::new(handler), Arc::new(Ending::default()));
        let until = Arc::clone(&ending);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if until.has_come() {
                    return;
                }
                until.open.lock().unwrap().push(stream.try_clone().unwrap());
                let (handler, until) = (Arc::clone(&handler), Arc::clone(&until));
                std::thread::spawn(move || {
                    Conversation { stream, until, unread: Vec::new() }.hold(&*handler)
                });
            }
        });
        Self { address, ending }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many clients wait for the rest of an answer that stands still.
    pub fn stalled(&self) -> usize {
        self.ending.stalled.load(Ordering::Relaxed)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        *self.ending.ended.lock().unwrap() = true;
        self.ending.changed.notify_all();
        for stream in self.ending.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The acceptor notices the end at its next connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection: requests and answers in turn.
struct Conversation {
    stream: TcpStream,
    until: Arc<Ending>,
    unread: Vec<u8>,
}

impl Conversation {
    fn hold(mut self, handler: &dyn Fn(&Request) -> Reply) {
        let _ = self.stream.set_nodelay(true);
        while let Some(request) = self.read_request() {
            let goes_on = match handler(&request) {
                Reply::Answer(answer) => self.send(&request, &answer).unwrap_or(false),
                Reply::Reset => {
                    self.reset();
                    false
                }
                Reply::Silence => {
                    let _ = self.stream.read(&mut [0]);
                    false
                }
            };
            if !goes_on {
                break;
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn read_request(&mut self) -> Option<Request> {
        loop {
            if let Some((request, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return Some(request);
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// Sends as much of the answer as its delivery says; tells whether the connection lives on.
    fn send(&mut self, request: &Request, answer: &Answer) -> std::io::Result<bool> {
        let body = &answer.body[answer.range.clone()];
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match answer.delivery {
            Delivery::Announced(length) => head.push_str(&format!("Content-Length: {length}")),
            Delivery::WithoutLength => head.push_str("Transfer-Encoding: chunked"),
            _ => head.push_str(&format!("Content-Length: {}", body.len())),
        }
        head.push_str("\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            return Ok(true);
        }
        match answer.delivery {
            Delivery::Whole => self.send_body(body, &answer.sent)?,
            Delivery::Announced(_) => return Ok(false),
            Delivery::WithoutLength => {
                if !body.is_empty() {
                    self.stream.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
                    self.send_body(body, &answer.sent)?;
                    self.stream.write_all(b"\r\n")?;
                }
                self.stream.write_all(b"0\r\n\r\n")?;
            }
            Delivery::CutAfter(bytes) => {
                self.send_body(&body[..bytes.min(body.len())], &answer.sent)?;
                return Ok(false);
            }
            Delivery::ResetAfter(bytes) => {
                self.send_body(&body[..bytes.min(body.len())], &answer.sent)?;
                self.reset();
                return Ok(false);
            }
            Delivery::StallAfter(bytes) => {
                self.send_body(&body[..bytes.min(body.len())], &answer.sent)?;
                self.until.stalled.fetch_add(1, Ordering::Relaxed);
                // The client closing its end is what ends the wait, or the end of the test.
                let _ = self.stream.read(&mut [0]);
                self.until.stalled.fetch_sub(1, Ordering::Relaxed);
                return Ok(false);
            }
            Delivery::Paced(piece, pause) => {
                for piece in body.chunks(piece) {
                    self.send_body(piece, &answer.sent)?;
                    if self.until.comes_within(pause) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(request.header("connection") != Some("close"))
    }

    fn send_body(&mut self, body: &[u8], sent: &AtomicU64) -> std::io::Result<()> {
        for piece in body.chunks(256 * 1024) {
            self.stream.write_all(piece)?;
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes the close that follows a reset instead of an orderly end.
    fn reset(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

/// The first request in `bytes`, if it is whole, and its length.
fn parse(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes).expect("the client speaks HTTP/1.1") {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return None,
    };
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|header| {
            (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
        })
        .collect();
    let length: usize = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().expect("a length"));
    let body = bytes.get(head..head + length)?.to_vec();
    let target = parsed.path?;
    // An absolute address (RFC 9112, section 3.2.2) begins with its scheme and host.
    let host =
        target.find("://").and_then(|scheme| Some(scheme + 3 + target[scheme + 3..].find('/')?));
    let (proxied, target) = target.split_at(host.unwrap_or_default());
    let request = Request {
        method: parsed.method?.to_owned(),
        target: target.to_owned(),
        proxied: (!proxied.is_empty()).then(|| proxied.to_owned()),
        headers,
        body,
    };
    Some((request, head + length))
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("Odd")
}
