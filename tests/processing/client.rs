//! The public Python client walks processing from end to end, with every field that it can send.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    server::Server,
    support::{catchment::Catchment, peers},
};

#[test]
fn the_public_client_walks_every_operation_of_processing_with_every_field_of_its_requests() {
    let home = Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "0");
    let server = Server::on(&home);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "first").unwrap();
    fs::write(folder.path().join("b.txt"), "second").unwrap();
    let rows = "{\"colour\":\"red\",\"v\":[1,2]}\n{\"colour\":\"blue\",\"v\":[3,4]}\n";
    fs::write(folder.path().join("rows.jsonl"), rows).unwrap();

    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let script = tests.join("client/processing.py");
    let mut walk = Command::new(peers::venv("python"))
        .arg(script)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let given = json!({
        "server": format!("http://{}", server.address), "token": server.token,
        "folder": folder.path(), "requests": tests.join("fixtures/client_requests.json"),
    });
    writeln!(walk.stdin.take().unwrap(), "{given}").unwrap();
    let walked = walk.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&walked.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&walked.stderr).into_owned();
    assert!(
        walked.status.success() && said.trim() == "done",
        "{}, last word {said:?}\n{wrong}\n{}",
        walked.status,
        server.log()
    );
}
