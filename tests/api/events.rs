//! `/v1/events`.

use std::{
    io::{BufRead as _, BufReader},
    time::Duration,
};

use serde_json::Value;

use crate::{
    server::Server,
    support::{
        catchment::poll_until,
        fake_s3::{FakeS3, Fault, On},
    },
    syncs::s3_sync,
};

/// An event as it came over the wire.
#[derive(Debug)]
struct Heard {
    kind: String,
    id: Option<String>,
    data: Value,
}

/// A listener at an open stream.
struct Listener(BufReader<std::net::TcpStream>);

impl Listener {
    fn new(server: &Server, last: Option<&str>) -> Self {
        let call = server.request("GET", "/v1/events");
        let call = match last {
            Some(id) => call.header("Last-Event-ID", id),
            None => call,
        };
        let mut listener = Self(BufReader::new(call.open()));
        assert!(listener.line().starts_with("HTTP/1.1 200"));
        // The stream says something at once: from then on nothing is missed.
        while last.is_none() && listener.line() != ": listening" {}
        listener
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("the stream goes on");
        assert!(read > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    /// The next event of a kind that is not progress.
    fn next(&mut self) -> Heard {
        loop {
            let heard = self.any();
            if heard.kind != "job.progress" {
                return heard;
            }
        }
    }

    fn any(&mut self) -> Heard {
        let mut heard = Heard { kind: String::new(), id: None, data: Value::Null };
        loop {
            let line = self.line();
            if let Some(kind) = line.strip_prefix("event: ") {
                heard.kind = kind.to_owned();
            } else if let Some(id) = line.strip_prefix("id: ") {
                heard.id = Some(id.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                heard.data = serde_json::from_str(data).expect("JSON");
            } else if line.is_empty() && !heard.kind.is_empty() {
                return heard;
            }
        }
    }

    /// Kinds up to and with the end of a job.
    fn until_job_ends(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            all.push(self.next());
            if all.last().unwrap().kind == "job.finished" {
                return all;
            }
        }
    }
}

fn sync_something(server: &Server, file: &str) {
    server.home.write_home(&format!("photos/{file}"), file);
    server.home.sync(server.home.home().join("photos"));
}

#[test]
fn a_run_of_another_process_is_heard_from_start_to_end() {
    let server = Server::start();
    let mut listener = Listener::new(&server, None);
    sync_something(&server, "a.jpg");
    let heard = listener.until_job_ends();
    let kinds: Vec<_> = heard.iter().map(|heard| heard.kind.as_str()).collect();
    for kind in ["job.started", "objects.added", "job.finished"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let job = &heard.last().unwrap().data;
    assert!(job["sync_job_id"].as_str().unwrap().starts_with("job_"), "{job}");
    assert!(job["sync_config_id"].as_str().unwrap().starts_with("sync_"), "{job}");
    assert!(job["bucket_id"].as_str().unwrap().starts_with("bkt_"), "{job}");
}

#[test]
fn a_listener_goes_on_behind_the_last_event_that_it_saw() {
    let server = Server::start();
    let mut listener = Listener::new(&server, None);
    sync_something(&server, "a.jpg");
    let first = listener.next();
    let missed = listener.next();
    drop(listener);
    sync_something(&server, "b.jpg");

    let mut resumed = Listener::new(&server, first.id.as_deref());
    assert_eq!(resumed.next().id, missed.id);
}

#[test]
fn a_listener_with_an_unknown_cursor_is_told_to_start_over() {
    let server = Server::start();
    sync_something(&server, "a.jpg");
    for unknown in ["999999", "nonsense", "-5"] {
        let mut listener = Listener::new(&server, Some(unknown));
        assert_eq!(listener.next().kind, "reset");
    }
}

#[test]
fn the_log_is_read_backwards_page_by_page() {
    let server = Server::start();
    sync_something(&server, "a.jpg");
    let all = server.get("/v1/events/log").is(200);
    let ids = |log: &Value| -> Vec<i64> {
        let results = log["results"].as_array().unwrap();
        results.iter().map(|event| event["event_id"].as_i64().unwrap()).collect()
    };
    let newest_first = ids(&all);
    assert!(newest_first.len() >= 3 && newest_first.is_sorted_by(|a, b| a > b), "{all}");

    let page = server.get("/v1/events/log?limit=2").is(200);
    assert_eq!(ids(&page), newest_first[..2]);
    let rest = server.get(&format!("/v1/events/log?before={}", page["next_before"])).is(200);
    assert_eq!(ids(&rest), newest_first[2..]);
}

#[test]
fn only_so_many_may_listen_at_once() {
    let server = Server::start();
    let listeners: Vec<_> = (0..64).map(|_| Listener::new(&server, None)).collect();
    server.get("/v1/events").fails_with(429);
    drop(listeners);
}

#[test]
fn while_a_source_fails_sync_job_and_events_show_how_often_why_and_when_it_is_tried_next() {
    let (server, s3) = (Server::start(), FakeS3::start());
    s3.put("key", "bytes");
    crate::buckets::bucket(&server, "films");
    let sync = s3_sync(&server, &s3, serde_json::json!({}));
    let until = |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        poll_until(what, Duration::from_secs(100), || is_so(&sync.now()).then_some(()));
    };
    until("the first run", &|now| now["last_sync_at"].is_string());
    let mut listener = Listener::new(&server, None);
    s3.inject(Fault::error(On::Listing, 500, "InternalError"));
    server.post(&format!("{}/trigger", sync.path), &serde_json::json!({})).is(200);

    let is_told = |facts: &Value| {
        facts["attempt"].as_u64().is_some_and(|attempt| attempt > 0)
            && facts["next_try_at"].is_string()
            && facts["reason"].as_str().is_some_and(|reason| reason.contains("InternalError"))
    };
    loop {
        let heard = listener.any();
        assert_ne!(heard.kind, "job.finished", "it is still being tried");
        if heard.kind == "job.progress" && is_told(&heard.data) {
            break;
        }
    }
    until("the sync to tell", &|now| is_told(&now["sync_progress"]));
    let jobs = server.post(&format!("{}/jobs", sync.path), &serde_json::json!({})).is(200);
    assert!(is_told(&jobs["results"][0]["progress"]), "{jobs}");

    s3.heal();
    until("the end of the run", &|now| now["status"] == "ACTIVE");
    assert_eq!(sync.now()["sync_progress"]["attempt"], Value::Null);
}
