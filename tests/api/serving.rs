//! Starting, stopping, and what surrounds the API.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{server::Server, support::catchment::Catchment};

/// `serve`, handed this socket as systemd hands it: as descriptor 3, with words that say for which
/// process it is.
fn activated(home: &Catchment, socket: TcpListener) -> Command {
    let serve = home.command(&["serve", "--listen", "127.0.0.1:9"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 </dev/null", "sh"])
        .arg(serve.get_program())
        .args(serve.get_args())
        .env_clear()
        .envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(home.home())
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn an_address_of_others_is_refused_without_the_flag() {
    let home = Catchment::new();
    let refused = home.run(&["serve", "--listen", "0.0.0.0:0"]).exits(2);
    refused.says(&["--allow-remote"]);
    let server = Server::with_args(&home, &["--allow-remote"]);
    server.get("/v1/health").is(200);
}

#[test]
fn a_server_that_is_asked_to_stop_ends_well_and_soon() {
    let server = Server::start();
    // A listener that would stay for ever.
    let listening = server.request("GET", "/v1/events").open();
    let start = std::time::Instant::now();
    assert!(server.stop().success());
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(listening);
}

#[test]
fn systemd_is_notified_when_the_server_is_ready_and_when_it_stops() {
    let home = Catchment::new();
    let socket = home.home().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let said = || {
        let mut bytes = [0; 256];
        let length = systemd.recv(&mut bytes).expect("a word");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let server = Server::on(&home.env("NOTIFY_SOCKET", &socket));
    assert!(said().contains("READY=1"));
    server.stop();
    assert!(said().contains("STOPPING=1"));
}

#[test]
fn a_server_takes_the_socket_that_systemd_hands_it_with_who_waits_there() {
    let home = Catchment::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let knocks = std::thread::spawn(move || {
        // Connected before anybody serves: whoever starts a service by its socket waits for it.
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request =
            format!("GET /v1/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    });
    let server = Server::by(&home, activated(&home, socket));
    assert_eq!(server.address, address, "not where it was told to listen itself");
    assert!(knocks.join().unwrap().starts_with("HTTP/1.1 200"));
    server.get("/v1/settings").is(200);
    assert!(server.stop().success());
}

#[test]
fn a_socket_that_lets_other_computers_in_is_refused_without_the_flag() {
    let home = Catchment::new();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = activated(&home, socket).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--allow-remote"));
}

#[test]
fn the_command_line_works_beside_the_server() {
    let server = Server::start();
    server.home.write_home("photos/a.jpg", "a");
    server.home.sync(server.home.home().join("photos"));
    let body = json!({ "namespace_ids": ["default"] });
    let stats = server.post("/v1/namespaces/stats/batch", &body).is(200);
    assert_eq!(stats["stats"]["default"]["object_count"], 1);
}

#[test]
fn the_document_names_every_operation_once_and_each_is_routed() {
    let server = Server::start();
    let document = server.get("/openapi.json").is(200);
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let target: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "unknown" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(!operation["tags"].as_array().unwrap().is_empty(), "{id}");
            assert!(operation["summary"].is_string(), "{id}");
            assert!(ids.insert(id.clone()), "{id} twice");
            if target == "/v1/events" {
                continue;
            }
            let call = server.request(&method.to_uppercase(), &target);
            let call = if method == "get" { call } else { call.json(&json!({})) };
            let answer = call.send();
            assert_ne!(answer.status, 405, "{id}: {answer}");
            if answer.status == 404 {
                assert_ne!(answer.json()["error"]["details"]["resource"], "route", "{id}");
            }
            assert!(answer.status < 500, "{id}: {answer}");
        }
    }
    for id in ["list_namespaces", "health_deep", "stream_events"] {
        assert!(ids.contains(id), "{ids:?}");
    }
    assert_references_resolve(&document, &document);
}

/// Every `$ref` leads somewhere.
fn assert_references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let found = document.pointer(reference.trim_start_matches('#'));
                assert!(found.is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|part| assert_references_resolve(document, part));
        }
        Value::Array(items) => {
            items.iter().for_each(|part| assert_references_resolve(document, part));
        }
        _ => {}
    }
}

#[test]
fn the_reference_page_asks_nothing_of_others() {
    let server = Server::start();
    let page = server.request("GET", "/docs").without_token().send();
    let text = page.text();
    assert!(text.contains("/v1/namespaces/{namespace_identifier}"), "{text}");
    for reach in ["src=\"http", "href=\"http", "@import", "url("] {
        assert!(!text.contains(reach), "{reach}");
    }
}

#[test]
fn files_of_the_interface_are_sent_again_only_when_they_changed() {
    let server = Server::start();
    let first = server.get("/style.css");
    assert_eq!(
        (first.status, first.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    let etag = first.header("etag").unwrap();
    let again = server.request("GET", "/style.css").header("If-None-Match", etag).send();
    assert_eq!((again.status, again.body.len()), (304, 0));
    server.get("/../Cargo.toml").fails_with(404);
}

#[test]
fn metrics_count_requests_objects_and_jobs() {
    let server = Server::start();
    server.home.write_home("photos/a.jpg", "four");
    server.home.sync(server.home.home().join("photos"));
    server.get("/v1/namespaces/default").is(200);
    let metrics = server.get("/metrics").text();
    for line in [
        "catchment_objects 1",
        "catchment_object_bytes 4",
        "catchment_jobs{status=\"completed\"} 1",
        "catchment_dead_letters_open 0",
        "route=\"/v1/namespaces/{namespace_identifier}\",status=\"200\"} 1",
        "catchment_disk_free_bytes ",
        "catchment_last_sync_age_seconds ",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "no {line:?} in\n{metrics}");
    }
}

#[test]
fn metrics_are_open_to_this_computer_if_the_configuration_says_so() {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), "open_metrics = true").unwrap();
    let server = Server::on(&home);
    assert_eq!(server.request("GET", "/metrics").without_token().send().status, 200);
}

#[test]
fn the_log_names_each_request_by_its_id() {
    let home = Catchment::new().env("CATCHMENT_LOG_FORMAT", "json");
    let server = Server::on(&home);
    let answer = server.get("/v1/namespaces?limit=1");
    let id = answer.header("x-request-id").unwrap();
    let line = crate::support::catchment::poll_until("the log", Duration::from_secs(10), || {
        server.log().lines().find(|line| line.contains(id)).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["path"], "/v1/namespaces");
    assert_eq!(line["status"], 200);
}

/// The numbers of arenas that a server's environment says, all of them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn arenas(server: &Server) -> Vec<String> {
    let environment = std::fs::read(format!("/proc/{}/environ", server.pid())).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let numbers = environment.split('\0').filter_map(|word| word.strip_prefix("MALLOC_ARENA_MAX="));
    numbers.map(str::to_owned).collect()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_server_begins_with_two_arenas_of_memory_unless_somebody_has_set_a_number() {
    let server = Server::start();
    server.get("/v1/health").is(200);
    assert_eq!(arenas(&server), ["2"]);
    let other = Server::on(&Catchment::new().env("MALLOC_ARENA_MAX", "5"));
    assert_eq!(arenas(&other), ["5"]);
    let home = Catchment::new().env("GLIBC_TUNABLES", "glibc.malloc.arena_max=3");
    let tuned = Server::on(&home);
    assert!(arenas(&tuned).is_empty());
}
