//! Programs that try to get more than they are given: files that this process may read and they may
//! not, a network, power over files that they may only read, and a life after their end.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    ledger::Fixture,
    programs::{collect, define, failures, shell},
    support::catchment::{Catchment, poll_until},
};

/// Nothing in these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a script makes of one object, when run in a served pipeline: the documents, and why it
/// failed.
fn made_by(script: &str) -> (Vec<Value>, Vec<(String, String)>) {
    let here = Fixture::new();
    here.home.write_home("outside/secret", "a secret");
    let script = script.replace("{HOME}", here.home.home().to_str().unwrap());
    define(&here.home, "pry", &shell(&script, "output = \"lines\""));
    collect(&here, "pry", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    let failed = failures(&here);
    (here.documents("made"), failed)
}

#[test]
fn files_that_a_program_sends_are_those_in_its_folder_and_nothing_that_a_link_leads_to() {
    let sent = |path: &str| {
        format!(
            "echo '{{\"document\":{{}}}}'; \
             echo '{{\"blob\":{{\"path\":\"{path}\",\"field\":\"file\"}}}}'"
        )
    };
    let done = "echo '{\"done\":true}'";
    let plain = format!("mkdir d; echo fine > d/good; {}; {done}", sent("d/good"));
    let (made, failed) = made_by(&plain);
    assert_eq!((made.len(), failed.len()), (1, 0), "{failed:?}");
    for (what, script) in [
        ("a linked folder", format!("ln -s {{HOME}}/outside d; {}; {done}", sent("d/secret"))),
        ("a link", format!("ln -s {{HOME}}/outside/secret s; {}; {done}", sent("s"))),
        (
            "a folder that becomes a link once a file of it was sent",
            format!(
                "mkdir d; echo fine good > d/secret; {}; sleep 2; \
                 mv d e; ln -s {{HOME}}/outside d; {done}",
                sent("d/secret")
            ),
        ),
        (
            "a file that becomes a link once it was sent",
            format!("echo x > s; {}; sleep 2; ln -sf {{HOME}}/outside/secret s; {done}", sent("s")),
        ),
        ("a file that grows", format!("echo x > s; {}; sleep 2; echo y >> s; {done}", sent("s"))),
    ] {
        let (made, failed) = made_by(&script);
        assert_eq!((made.len(), failed.len()), (0, 1), "{what}: {failed:?}");
        assert_eq!(failed[0].1, "permanent", "{what}: {failed:?}");
    }
}

/// Defines an extractor that runs a script of Python, which prints one document as JSON. What the
/// file names as `attempts` is tried, and printed is how each ended: 0 or the system's error.
fn python(home: &Catchment, script: &str, more: &str) {
    const TRIES: &str = "import ctypes, json, os, socket, sys, time\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(*words):\n    if libc.syscall(*words) < 0:\n        \
        raise OSError(ctypes.get_errno(), '')\n\
        def tried(attempts):\n    said = {}\n    for name, attempt in attempts.items():\n        \
        try:\n            attempt()\n            said[name] = 0\n        \
        except OSError as error:\n            said[name] = error.errno\n    \
        print(json.dumps(said))\n";
    let script = home.write_home("programs/pry.py", format!("{TRIES}{script}"));
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/python3\", \"{}\", \"{{input}}\"]\noutput = \
         \"json\"\nallow = {{ read = [\"{}\"]{more} }}\nlimits = {{ timeout = \"50s\" }}\n",
        script.display(),
        script.parent().unwrap().display(),
    );
    define(home, "pry", &text);
}

/// What that extractor makes of a file.
fn checked(home: &Catchment, file: &Path) -> Value {
    let said = home.run(&["extractors", "check", "pry", file.to_str().unwrap()]).exits(0);
    serde_json::from_str(said.stdout().trim()).unwrap()
}

#[test]
fn a_program_without_a_network_makes_no_socket_of_any_family_but_pairs_of_its_own() {
    let home = Catchment::new();
    let file = home.write_home("a.txt", "a");
    let script = "s = socket.socket\n\
        tried({\n\
        'tcp': lambda: s(socket.AF_INET, socket.SOCK_STREAM),\n\
        'udp': lambda: s(socket.AF_INET, socket.SOCK_DGRAM),\n\
        'udp6': lambda: s(socket.AF_INET6, socket.SOCK_DGRAM),\n\
        'mptcp': lambda: s(socket.AF_INET, socket.SOCK_STREAM, 262),\n\
        'icmp': lambda: s(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),\n\
        'unix': lambda: s(socket.AF_UNIX, socket.SOCK_STREAM),\n\
        'netlink': lambda: s(socket.AF_NETLINK, socket.SOCK_RAW),\n\
        'vsock': lambda: s(40, socket.SOCK_STREAM),\n\
        'pair of datagrams': lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),\n\
        'ring': lambda: call(425, 1, ctypes.create_string_buffer(120)),\n\
        'pair': socket.socketpair,\n\
        })\n";
    python(&home, script, "");
    let mut expected = json!({"ring": 1, "pair": 0});
    for name in
        ["tcp", "udp", "udp6", "mptcp", "icmp", "unix", "netlink", "vsock", "pair of datagrams"]
    {
        expected[name] = 13.into();
    }
    assert_eq!(checked(&home, &file), expected);
    let script = "tried({'udp': lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)})\n";
    python(&home, script, ", network = true");
    assert_eq!(checked(&home, &file), json!({"udp": 0}), "it is allowed");
}

#[test]
fn a_program_changes_no_rights_owners_times_and_attributes_not_even_of_files_that_it_may_read() {
    let home = Catchment::new();
    let file = home.write_home("a.txt", "a");
    home.write_home("data of others", "secret");
    let script = "import fcntl, struct\n\
        at, root = sys.argv[1], os.path.dirname(os.path.realpath(sys.argv[1]))\n\
        fd = os.open(at, os.O_RDONLY)\n\
        tried({\n\
        'chmod': lambda: os.chmod(at, 0),\n\
        'fchmod': lambda: os.fchmod(fd, 0),\n\
        'fchmodat2': lambda: call(452, -100, at.encode(), 0, 0),\n\
        'chown': lambda: os.chown(at, os.getuid(), os.getgid()),\n\
        'fchown': lambda: os.fchown(fd, os.getuid(), os.getgid()),\n\
        'utime': lambda: os.utime(at, (1, 1)),\n\
        'utime of it': lambda: os.utime(fd, (1, 1)),\n\
        'setxattr': lambda: os.setxattr(at, 'user.x', b'y'),\n\
        'removexattr': lambda: os.removexattr(fd, 'user.x'),\n\
        'flags': lambda: fcntl.ioctl(fd, 0x40086602, struct.pack('l', 0)),\n\
        'chmod of another': lambda: os.chmod(root + '/data of others', 0o666),\n\
        'limits': lambda: call(302, os.getppid(), 7, ctypes.create_string_buffer(16), None),\n\
        })\n";
    python(&home, script, "");
    let told = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.mode(), found.mtime_nsec(), found.ctime_nsec())
    };
    let other: PathBuf = home.home().join("data of others");
    let before = (told(&file), told(&other));
    let said = checked(&home, &file);
    let said = said.as_object().unwrap();
    assert_eq!(said.len(), 12);
    // The number of `prlimit64` is another on other architectures.
    let is_refused = |(name, error): (&String, &Value)| {
        *error == 1 || (name == "limits" && cfg!(not(target_arch = "x86_64")))
    };
    assert!(said.iter().all(is_refused), "{said:?}");
    assert_eq!(before, (told(&file), told(&other)));
}

/// Whether a process with this word on its command line is there.
fn is_there(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|found| found == word.as_bytes()))
}

/// How many children of a process have ended and were not waited for.
fn zombies_of(parent: u32) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
    let tail = format!(") Z {parent} ");
    stats.filter(|stat| stat.contains(&tail)).count()
}

/// Starts a process that leaves everything that it could be known by, and sleeps.
fn forks(seconds: &str) -> String {
    format!(
        "def forget():\n    if os.fork() == 0:\n        os.setsid()\n        \
         if os.fork() == 0:\n            \
         os.execve('/bin/sleep', ['sleep', '{seconds}'], {{}})\n        os._exit(0)\n    \
         os.wait()\n"
    )
}

#[test]
fn what_a_program_starts_under_no_name_ends_with_it_and_leaves_no_zombie() {
    let seconds = format!("86{}.25", std::process::id());
    let script = format!("{}sys.stdin.close()\nforget()\nprint('{{}}')\n", forks(&seconds));
    let home = Catchment::new();
    python(&home, &script, "");
    checked(&home, &home.write_home("a.txt", "a"));
    assert!(!is_there(&seconds), "the check left it");

    let here = Fixture::new();
    let silent = "os.close(1)\nos.close(2)\n";
    let script = script.replace("os.execve", &format!("{}os.execve", silent.replace('\n', "; ")));
    python(&here.home, &script, "");
    collect(&here, "pry", Value::Null);
    for number in 0..3 {
        here.tree.write(format!("{number}.txt"), number.to_string());
    }
    here.sync(json!({}));
    assert_eq!(failures(&here), []);
    assert_eq!(here.documents("made").len(), 3);
    let server = here.server.pid();
    poll_until("the end of all", DEADLINE, || {
        (!is_there(&seconds) && zombies_of(server) == 0).then_some(())
    });
    assert!(here.server.stop().success());
    assert!(!is_there(&seconds));
}

#[test]
fn what_a_program_starts_under_no_name_is_ended_while_it_runs_for_nobody_counts_its_memory() {
    let home = Catchment::new();
    let seconds = format!("87{}.25", std::process::id());
    // The pipe ends with the last process that has it.
    let script = format!(
        "{}r, w = os.pipe()\nos.set_inheritable(w, True)\nforget()\nos.close(w)\nos.read(r, 1)\n\
         print('{{\"is_ended\": true}}')\n",
        forks(&seconds)
    );
    python(&home, &script, "");
    assert_eq!(checked(&home, &home.write_home("a.txt", "a")), json!({"is_ended": true}));
}
