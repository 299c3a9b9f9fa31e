//! Callers without a token take the server from nobody who has one.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::server::Server;

#[test]
fn connections_that_send_nothing_or_drip_leave_places_for_those_with_a_token() {
    let server = Server::start();
    let crowd: Vec<TcpStream> = (0..1100)
        .map_while(|number| {
            let mut stream = TcpStream::connect(server.address).ok()?;
            let words = match number % 3 {
                0 => String::new(),
                1 => "GET / HTTP/1.1\r\nHost: x".to_owned(),
                _ => format!(
                    "POST /login HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nc",
                    server.address
                ),
            };
            stream.write_all(words.as_bytes()).ok()?;
            Some(stream)
        })
        .collect();
    assert!(crowd.len() > 900, "this test needs more file descriptors: {}", crowd.len());

    let start = Instant::now();
    server.get("/v1/namespaces").is(200);

    assert!(start.elapsed() < Duration::from_secs(10), "after {:?}", start.elapsed());
}

#[test]
fn a_body_for_signing_in_is_short() {
    let server = Server::start();
    let call = server.request("POST", "/login").without_token();
    call.body(vec![b'x'; 5000]).send().fails_with(413);
}

#[test]
fn a_refusal_before_a_long_body_closes_the_connection_and_says_so() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /v1/namespaces HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 10000000\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b' '; 1000]).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 401"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn requests_that_follow_a_refusal_with_a_short_body_are_served() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for number in 0..50 {
        let request = format!(
            "POST /v1/namespaces HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\n\r\n{{}}",
            server.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains("}}") {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "call {number} was not answered");
            answer.extend_from_slice(&piece[..read]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 401"), "call {number}");
    }
}
