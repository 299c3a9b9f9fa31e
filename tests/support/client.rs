//! Scripts of the public client (`tests/client`), run as programs of their own.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::peers::venv;

/// Runs a script of `tests/client` with what it is given, which says `done` at its end. `log` is
/// shown with a failure.
pub fn run_client(name: &str, given: &serde_json::Value, log: impl Fn() -> String) {
    let mut client = Command::new(venv("python"))
        .arg(format!("{}/tests/client/{name}", env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(format!("{given}\n").as_bytes()).unwrap();
    drop(stdin);
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim() == "done", "{said}\n{}", log());
}
