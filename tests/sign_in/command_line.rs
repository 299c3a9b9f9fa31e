//! `catchment connect` and `catchment connections`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::support::{
    catchment::Catchment,
    fake_authority::{CLIENT, FakeAuthority, PUBLIC_CLIENT, SECRET},
};

fn home(authority: &FakeAuthority) -> Catchment {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), authority.hosts()).unwrap();
    home
}

/// A command that waits for somebody to sign in.
struct Waiting {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Waiting {
    fn start(home: &Catchment, args: &[&str], stdin: &str) -> Self {
        let mut command = home.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(stdin.as_bytes()).unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// The next line that has this in it.
    fn line_with(&mut self, what: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "no {what:?} in {said}");
            if line.contains(what) {
                return line.trim().to_owned();
            }
            said.push_str(&line);
        }
    }

    fn paste(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// What it printed, once it has ended well.
    fn ends(mut self) -> String {
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let mut errors = String::new();
        self.stderr.read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {said}{errors}");
        said
    }
}

/// Comes back as a browser on this computer.
fn open(address: &str) -> String {
    let (host, target) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
    write!(stream, "GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn listed(home: &Catchment) -> Vec<Value> {
    let run = home.run(&["connections", "--json"]).exits(0);
    run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn connect_signs_in_through_a_browser_on_this_computer() {
    let authority = FakeAuthority::start();
    let home = home(&authority);
    let secret = home.write_home("secret", format!("{SECRET}\n"));
    let secret = secret.to_str().unwrap();
    let args = [
        "connect",
        "google_drive",
        "--client-id",
        CLIENT,
        "--client-secret-file",
        secret,
        "--json",
    ];
    let mut connecting = Waiting::start(&home, &args, "");
    let address = authority.agree(&connecting.line_with("http://"));
    let page = open(&address);
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("go back to the terminal"), "{page}");
    let said = connecting.ends();
    let made: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(made["provider"], "google_drive");
    assert!(!said.contains("canary"));
    assert_eq!(listed(&home)[0]["connection_id"], made["connection_id"]);
}

#[test]
fn connect_takes_the_address_at_which_a_browser_elsewhere_ended() {
    let authority = FakeAuthority::start();
    let home = home(&authority);
    let args =
        ["connect", "sharepoint", "--client-id", PUBLIC_CLIENT, "--name", "Work", "--no-test"];
    let mut connecting = Waiting::start(&home, &args, "");
    let address = authority.agree(&connecting.line_with("http://"));
    connecting.paste("http://127.0.0.1:1/oauth/callback?state=foreign&code=x");
    connecting.line_with("paste all of it");
    connecting.paste(&address);
    assert!(connecting.ends().contains("\"Work\" is ready"));
}

#[test]
fn connect_signs_in_on_another_device() {
    let authority = FakeAuthority::start();
    let home = home(&authority);
    let args = ["connect", "sharepoint", "--client-id", PUBLIC_CLIENT, "--device", "--no-test"];
    let mut connecting = Waiting::start(&home, &args, "");
    assert!(connecting.line_with("code").contains("ABCD-1234"));
    authority.agree_on_devices();
    assert!(connecting.ends().contains("\"Microsoft\" is ready"));
}

#[test]
fn connect_says_that_the_connection_of_a_sign_in_does_not_work() {
    let authority = FakeAuthority::start();
    authority.switch_the_api_off();
    let home = home(&authority);
    let client = serde_json::json!({"installed": {"client_id": CLIENT, "client_secret": SECRET}});
    let client = home.write_home("client.json", client.to_string());
    let client = client.to_str().unwrap();
    let given = home.run(&["connect", "google_drive", "--credentials", client]).exits(2);
    let given =
        given.says(&["no credentials", &format!("--client-id {CLIENT}"), "--client-secret-file"]);
    assert!(!given.stdout().contains("canary"));
    let args = ["connect", "google_drive", "--client-id", CLIENT, "--client-secret-file", client];
    let mut connecting = Waiting::start(&home, &args, "");
    let page = open(&authority.agree(&connecting.line_with("http://")));
    assert!(page.contains("switch the Drive API on"), "{page}");
    connecting.line_with("does not work: ");
    assert_eq!(connecting.child.wait().unwrap().code(), Some(1));
    let problem = listed(&home)[0]["last_error"].as_str().unwrap().to_owned();
    assert!(problem.contains("switch the Drive API on"), "{problem}");
}

#[test]
fn a_provider_that_is_only_stored_is_said_to_be_and_another_word_for_one_finds_its_name() {
    let home = Catchment::new();
    let feed = ["connect", "rss", "--set", "user_agent=reader"];
    let made = home.run(&feed).exits(0).stdout();
    assert!(made.contains("stored; this build does not sync from it yet"), "{made}");
    assert!(!made.contains("ready"), "{made}");
    let all = home.run(&["connections"]).exits(0).stdout();
    assert!(all.contains("this build does not sync from it yet"), "{all}");
    let refused = home.run(&["connect", "gdrive"]).exits(2);
    refused.says(&["did you mean google_drive?", "does not sync from them yet"]);
    let credentials = home.write_home("oauth.json", "{\"type\": \"oauth\"}");
    let args = ["connect", "google_drive", "--credentials", credentials.to_str().unwrap()];
    home.run(&args).exits(2).says(&["credentials.client_id: is required"]);
}

#[test]
fn a_person_who_refuses_ends_the_command_with_the_reason() {
    let authority = FakeAuthority::start();
    let home = home(&authority);
    let args = ["connect", "sharepoint", "--client-id", PUBLIC_CLIENT];
    let mut connecting = Waiting::start(&home, &args, "");
    let address = authority.refuse(&connecting.line_with("http://"));
    open(&address);
    connecting.line_with("access_denied");
    assert_eq!(connecting.child.wait().unwrap().code(), Some(1));
    assert!(listed(&home).is_empty());
}

#[test]
fn connect_renews_a_connection_with_the_client_that_it_has() {
    let authority = FakeAuthority::start();
    let home = home(&authority);
    let args =
        ["connect", "sharepoint", "--client-id", PUBLIC_CLIENT, "--name", "Work", "--no-test"];
    let mut connecting = Waiting::start(&home, &args, "");
    open(&authority.agree(&connecting.line_with("http://")));
    connecting.ends();
    let mut again =
        Waiting::start(&home, &["connect", "sharepoint", "--renew", "Work", "--no-test"], "");
    open(&authority.agree(&again.line_with("http://")));
    again.ends();
    assert_eq!(listed(&home).len(), 1);
}

#[test]
fn credentials_come_from_a_file_or_standard_input_and_never_from_the_command_line() {
    let home = Catchment::new();
    let keys = "{\"access_key_id\": \"AKIA1\", \"secret_access_key\": \"canary-secret\"}";
    let file = home.write_home("keys.json", keys);
    let file = file.to_str().unwrap();
    home.run(&["connect", "s3", "--name", "a", "--credentials", file, "--no-test"]).exits(0);
    let args = [
        "connect",
        "s3",
        "--name",
        "b",
        "--set",
        "region=eu-central-1",
        "--no-test",
        "--credentials",
        "-",
    ];
    let connecting = Waiting::start(&home, &args, keys);
    let said = {
        let mut connecting = connecting;
        drop(connecting.child.stdin.take());
        connecting.ends()
    };
    assert!(said.contains("\"b\" is ready") && !said.contains("canary"), "{said}");
    assert_eq!(listed(&home).len(), 2);
    let refused = ["connect", "s3", "--set", "credentials.secret_access_key=canary", "--no-test"];
    home.run(&refused).exits(2).says(&["no such setting", "--credentials"]);
    let broken = home.write_home("broken.json", "{\"secret_access_key\": \"canary-secret\"");
    let run = home
        .run(&["connect", "s3", "--credentials", broken.to_str().unwrap()])
        .exits(2)
        .says(&["no JSON object"]);
    assert!(!run.stdout().contains("canary"));
}

#[test]
fn a_connection_that_does_not_work_is_not_kept() {
    let home = Catchment::new();
    let keys =
        home.write_home("keys.json", "{\"access_key_id\": \"A\", \"secret_access_key\": \"b\"}");
    let args = ["connect", "s3", "--set", "endpoint_url=http://127.0.0.1:1", "--credentials"];
    let args: Vec<&str> = args.into_iter().chain([keys.to_str().unwrap()]).collect();
    home.run(&args).exits(1).says(&["127.0.0.1"]);
    assert!(listed(&home).is_empty());
}

#[test]
fn connections_are_listed_and_removed_and_their_names_are_checked() {
    let home = Catchment::new();
    home.run(&["connections"]).exits(0).says(&["no connections yet"]);
    let keys =
        home.write_home("keys.json", "{\"access_key_id\": \"A\", \"secret_access_key\": \"b\"}");
    let args = ["connect", "tigris", "--no-test", "--name", "t", "--credentials"];
    let args: Vec<&str> = args.into_iter().chain([keys.to_str().unwrap()]).collect();
    home.run(&args).exits(0);
    home.run(&args).exits(2).says(&["a connection named \"t\" already"]);
    home.run(&["connections"]).exits(0).says(&["t  tigris  active"]);
    home.run(&["connections", "remove", "nobody"]).exits(2).says(&["no connection \"nobody\""]);
    home.run(&["connections", "remove", "t"]).exits(0).says(&["credentials are erased"]);
    assert!(listed(&home).is_empty());
    home.run(&["connect", "nowhere"]).exits(2).says(&["no provider \"nowhere\"", "google_drive"]);
}
