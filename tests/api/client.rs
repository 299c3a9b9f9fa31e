//! Programs that are not ours ask the API: the public Python client walks the whole life of a sync,
//! and schemathesis holds every answer against the API's own description. `tests/run` installs
//! both.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    server::Server,
    support::{
        Endpoint,
        catchment::Catchment,
        fake_s3::{self, FakeS3, Fault, On},
        peers::{self, Peer},
        trees::Tree,
        wire::Delivery,
    },
};

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client").join(name)
}

fn reach(endpoint: &Endpoint, bucket: &str) -> serde_json::Value {
    json!({
        "url": endpoint.url, "access_key": endpoint.access_key,
        "secret_key": endpoint.secret_key, "bucket": bucket,
    })
}

#[test]
fn the_public_client_walks_the_whole_life_of_a_sync() {
    let home = Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "0");
    let server = Server::on(&home);
    let folder = Tree::of_files("folder", 5);
    let peer = Peer::seaweedfs();
    let content = |key: &str| format!("the content of {key}").into_bytes();
    peer.put_all(&["a.txt", "b/c.txt", "d.txt", "e.bin"].map(|key| (key, content(key))));
    let faulty = FakeS3::start();
    faulty.put("bad", "bytes that are refused");
    faulty.put("good", "bytes that are not");

    let mut walk = Command::new(peers::venv("python"))
        .arg(script("life.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to_walk = walk.stdin.take().unwrap();
    let given = json!({
        "server": format!("http://{}", server.address), "token": server.token,
        "folder": folder.root(),
        "peer": reach(peer.endpoint(), peers::BUCKET),
        "faulty": reach(&faulty.endpoint(), fake_s3::BUCKET),
    });
    writeln!(to_walk, "{given}").unwrap();
    let mut said = String::new();
    for line in BufReader::new(walk.stdout.take().unwrap()).lines() {
        said = line.unwrap();
        match said.as_str() {
            "break" => faulty.inject(Fault::error(On::GetOf("bad"), 403, "AccessDenied")),
            "stall" => {
                faulty.put("good", "bytes that changed");
                faulty.inject(Fault::delivery(On::AnyGet, Delivery::StallAfter(0)));
            }
            "heal" => faulty.heal(),
            _ => continue,
        }
        writeln!(to_walk).unwrap();
    }
    let status = walk.wait().unwrap();
    assert!(status.success() && said == "done", "{status}, last word {said:?}\n{}", server.log());
}

/// How much schemathesis asks: within the time of a test, or as many requests as
/// `CATCHMENT_TEST_REQUESTS` says, however long they take.
fn effort(server: &Server) -> Vec<String> {
    let Ok(requests) = std::env::var("CATCHMENT_TEST_REQUESTS") else {
        return vec!["--max-time".to_owned(), "100".to_owned()];
    };
    let requests: usize = requests.parse().expect("CATCHMENT_TEST_REQUESTS is a number");
    let document = server.get("/openapi.json").is(200);
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|path| path.as_object().unwrap().len()).sum();
    let examples = requests.div_ceil(operations).to_string();
    // The stream of events goes on until its reader hangs up: half a minute for each request.
    ["--max-examples", &examples, "--exclude-path", "/v1/events"].map(str::to_owned).to_vec()
}

#[test]
fn every_response_is_as_the_api_describes_it_and_no_request_makes_it_fail() {
    let server = Server::start();
    let run = Command::new(peers::venv("schemathesis"))
        .current_dir(server.home.home())
        .args(["--config-file".into(), script("schemathesis.toml")])
        .arg("run")
        .arg(format!("http://{}/openapi.json", server.address))
        .args(["--header", &format!("Authorization: Bearer {}", server.token)])
        // It would take the token away that the rest of the requests go by.
        .args(["--exclude-path", "/v1/settings/token/rotate"])
        .args(["--checks", "all", "--no-color", "--request-timeout", "30"])
        .args(effort(&server))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let made = said.lines().filter(|line| line.contains("generated"));
    made.for_each(|line| println!("{line}"));
    assert!(
        run.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&run.stderr),
        server.log()
    );
}
