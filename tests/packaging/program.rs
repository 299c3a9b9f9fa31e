//! What the program says of itself, to people and to the packages that are made of it.

use std::{process::Command, time::Duration};

use crate::{
    server::Server,
    support::catchment::{Catchment, poll_until},
};

#[test]
fn the_version_names_commit_date_and_target() {
    let run = Catchment::new().run(&["--version"]).exits(0);
    let said = run.stdout();
    let said =
        said.trim().strip_prefix(concat!("catchment ", env!("CARGO_PKG_VERSION"), " (")).unwrap();
    let parts: Vec<&str> = said.strip_suffix(')').unwrap().split(' ').collect();
    let [commit, date, target] = parts[..] else { panic!("three parts: {said}") };
    assert!(commit.len() >= 7, "{commit}");
    assert!(date.len() == 10 || date == "undated", "{date}");
    assert!(target.contains(std::env::consts::ARCH), "{target}");
}

#[test]
fn every_command_has_a_manual_page_with_examples_that_man_renders_without_a_warning() {
    let home = Catchment::new();
    home.run(&["man", "pages"]).exits(0);
    let mut pages: Vec<_> = std::fs::read_dir(home.home().join("pages"))
        .unwrap()
        .map(|page| page.unwrap().path())
        .collect();
    pages.sort();
    let help = home.run(&["--help"]).exits(0).stdout();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let names = commands.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        let page = home.home().join(format!("pages/catchment-{name}.1"));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
        assert!(text.contains(".SH EXAMPLES"), "{name} has no examples");
    }
    for page in pages {
        let output = Command::new("groff")
            .args(["-man", "-Kutf8", "-Tutf8", "-ww", "-z"])
            .arg(&page)
            .output()
            .expect("groff");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{page:?}: {said}");
    }
}

#[test]
fn the_help_of_serve_says_which_service_to_enable() {
    let services = [
        "systemctl --user enable --now catchment.service",
        "sudo systemctl enable --now catchment.service",
    ];
    Catchment::new().run(&["serve", "--help"]).exits(0).says(&services);
}

#[test]
fn open_starts_a_server_when_none_runs_and_hands_its_link_to_the_browser() {
    let home = Catchment::new().env("CATCHMENT_LISTEN", "127.0.0.1:0");
    let seen = home.home().join("seen");
    let browser =
        home.write_home("bin/xdg-open", format!("#!/bin/sh\necho \"$1\" >{}\n", seen.display()));
    Command::new("chmod").arg("+x").arg(&browser).status().unwrap();
    let path =
        format!("{}:{}", browser.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let home = home.env("PATH", path);

    home.run(&["open", "--start", "--browser"]).exits(0);

    let link = std::fs::read_to_string(&seen).unwrap();
    assert!(link.starts_with("http://127.0.0.1:") && link.contains("/login?code="), "{link}");
    // The second one finds the first one's server.
    let second = home.run(&["open", "--start"]).exits(0).stdout();
    let host = |link: &str| link.split('/').nth(2).unwrap().to_owned();
    assert_eq!(host(&second), host(&link));
    end_the_server_of(&home);
}

/// Ends a server that is no child of this test.
fn end_the_server_of(home: &Catchment) {
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        let ours = format!("CATCHMENT_DATA_DIR={}", home.data_dir().display());
        if environment.split(|byte| *byte == 0).any(|line| line == ours.as_bytes()) {
            let pid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        }
    }
    poll_until("the server's end", Duration::from_secs(30), || {
        (!home.data_dir().join("server.address").exists()).then_some(())
    });
}

/// The messages that a server sends to its service manager until `until` is among them.
fn notices(socket: &std::os::unix::net::UnixDatagram, until: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect(until);
        seen.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if seen.last().unwrap().contains(until) {
            return seen;
        }
    }
}

#[test]
fn a_server_notifies_its_service_manager_that_it_is_ready_and_then_that_it_is_alive() {
    let home = Catchment::new();
    let path = home.home().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let home = home.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let server = Server::on(&home);

    notices(&socket, "READY=1");
    notices(&socket, "WATCHDOG=1");
    notices(&socket, "WATCHDOG=1");
    assert!(server.stop().success());
    notices(&socket, "STOPPING=1");
}

#[test]
fn a_service_writes_no_link_into_the_journal() {
    let server = Server::on(&Catchment::new().env("JOURNAL_STREAM", "8:12345"));
    assert!(server.stdout().contains(&server.address.to_string()), "{}", server.stdout());
    assert!(!server.stdout().contains("code="), "{}", server.stdout());
}
