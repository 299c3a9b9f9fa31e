//! Programs that try to get more than they are given: files that this process may read and they may
//! not, a network, power over files that they may only read, and a life after their end.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    ledger::Fixture,
    programs::{collect, define, failures, shell},
    server::Server,
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

/// The processes with these words on their command line.
fn with_words(words: &[&str]) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let has = |word: &str| line.split(|byte| *byte == 0).any(|found| found == word.as_bytes());
        words.iter().all(|word| has(word)).then(|| process.file_name().to_str()?.parse().ok())?
    });
    processes.collect()
}

/// Whether a process with this word on its command line is there.
fn is_there(word: &str) -> bool {
    !with_words(&[word]).is_empty()
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
fn what_a_program_starts_under_no_name_counts_for_its_limits_and_ends_with_it() {
    let home = Catchment::new();
    let word = format!("hoards-{}", std::process::id());
    let script = format!(
        "hoard = 'import time; kept = b\"x\" * (300 << 20); time.sleep(600)'\n\
         if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        \
         os.execve('/usr/bin/python3', ['python3', '-c', hoard, '{word}'], {{}})\n    \
         os._exit(0)\nos.wait()\ntime.sleep(600)\n"
    );
    python(&home, &script, "");
    let definition = home.data_dir().join("extractors/pry.toml");
    let text = fs::read_to_string(&definition).unwrap();
    let limits = "timeout = \"50s\", memory = \"150MiB\"";
    fs::write(&definition, text.replace("timeout = \"50s\"", limits)).unwrap();
    let file = home.write_home("a.txt", "a");
    let said = home.run(&["extractors", "check", "pry", file.to_str().unwrap()]);
    said.exits(1).says(&["bytes of memory", "(resource)"]);
    assert!(!is_there(&word));
}

/// A served pipeline whose program runs for long, and has hidden a process from everybody. Returns
/// the words by which both are known.
fn hiding() -> (Fixture, [String; 2]) {
    let here = Fixture::new();
    let [hidden, own] = ["84", "85"].map(|of| format!("{of}{}.25", std::process::id()));
    let script =
        format!("{}forget()\nos.execv('/bin/sleep', ['sleep', '{own}'])\n", forks(&hidden));
    python(&here.home, &script, "");
    collect(&here, "pry", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    let words = [hidden, own];
    poll_until("both", DEADLINE, || words.iter().all(|word| is_there(word)).then_some(()));
    (here, words)
}

#[test]
fn nothing_that_a_program_has_started_and_hidden_outlives_a_server_that_is_killed() {
    let (here, words) = hiding();
    let Fixture { home: _home, server, tree: _tree } = here;
    server.kill();
    poll_until("the end of all", DEADLINE, || {
        (!words.iter().any(|word| is_there(word))).then_some(())
    });
}

#[test]
fn what_a_program_has_hidden_is_ended_though_its_guard_is_killed() {
    let (here, words) = hiding();
    let all = |words: &[String]| -> Vec<i32> {
        words.iter().flat_map(|word| with_words(&[word])).collect()
    };
    let before = all(&words);
    let of_ours = |guard: &i32| {
        let line = fs::read(format!("/proc/{guard}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(here.home.data_dir().to_str().unwrap())
    };
    let guards: Vec<i32> =
        with_words(&["__extract", "guard"]).into_iter().filter(of_ours).collect();
    assert_eq!(guards.len(), 1);
    let guard = rustix::process::Pid::from_raw(guards[0]).unwrap();
    rustix::process::kill_process(guard, rustix::process::Signal::KILL).unwrap();
    // The object is tried once more, so that there are others of these words.
    poll_until("the end of the first", DEADLINE, || {
        let now = all(&words);
        (!before.iter().any(|process| now.contains(process))).then_some(())
    });
    assert!(here.server.stop().success());
    assert!(all(&words).is_empty());
}

#[test]
fn copies_that_take_over_rights_and_times_fail_with_the_reason_and_plain_copies_do_not() {
    let home = Catchment::new();
    let file = home.write_home("a.txt", "words");
    let script = "import shutil, subprocess\n\
        source, said = sys.argv[1], {}\n\
        def run(*words):\n    done = subprocess.run(words, capture_output=True, text=True)\n    \
        return [done.returncode, done.stderr.strip().rsplit(': ', 1)[-1]]\n\
        def copied(copy, target):\n    try:\n        copy(source, target)\n        \
        return open(target).read()\n    except OSError as error:\n        return str(error.errno)\n\
        said['cp'] = run('cp', source, 'one')\n\
        said['cp -p'] = run('cp', '-p', source, 'two')\n\
        said['copyfile'] = copied(shutil.copyfile, 'three')\n\
        said['copy'] = copied(shutil.copy, 'four')\n\
        said['copy2'] = copied(shutil.copy2, 'five')\n\
        said['chmod +x'] = run('chmod', '+x', 'one')\n\
        said['left'] = [name for name in ('one', 'three') if open(name).read() == 'words']\n\
        print(json.dumps(said))\n";
    python(&home, script, "");
    let refused = "Operation not permitted";
    let expected = json!({
        "cp": [0, ""], "cp -p": [1, refused], "copyfile": "words", "copy": "1", "copy2": "1",
        "chmod +x": [1, refused], "left": ["one", "three"],
    });
    assert_eq!(checked(&home, &file), expected);
}

/// Becomes a program that finds an older kernel: one without what the first word says.
const OLDER_KERNEL: &str = r#"
import ctypes, errno, os, platform, struct, sys
without, program = sys.argv[1], sys.argv[2:]
seccomp, prctl = (317, 157) if platform.machine() == "x86_64" else (277, 167)
LOAD, EQUAL, RETURN, ALLOW, ERROR = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050000
refuse = lambda number: [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERROR | errno.ENOSYS)]
rules = [(LOAD, 0, 0, 0)]
if without == "landlock":
    for number in (444, 445, 446):
        rules += refuse(number)
else:
    rules += refuse(seccomp)
    # PR_SET_SECCOMP, by the first argument.
    rules += [(EQUAL, 0, 3, prctl), (LOAD, 0, 0, 16), (EQUAL, 0, 1, 22), (RETURN, 0, 0, ERROR | errno.EINVAL)]
rules.append((RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
for words in ((38, 1, 0, 0, 0), (22, 2, ctypes.addressof(filter), 0, 0)):
    if libc.prctl(words[0], *(ctypes.c_ulong(word) for word in words[1:])) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(program[0], program)
"#;

/// A command of an installation on a kernel without that.
fn on_a_kernel_without(what: &str, home: &Catchment, args: &[&str]) -> Command {
    let given = home.command(args);
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", OLDER_KERNEL, what]).arg(given.get_program()).args(given.get_args());
    command.env_clear();
    command.envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What such a command prints.
fn said_without(what: &str, home: &Catchment, args: &[&str]) -> String {
    let run = on_a_kernel_without(what, home, args).output().unwrap();
    assert!(run.status.success(), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn a_kernel_that_cannot_confine_is_named_everywhere_and_programs_keep_the_rest_of_their_limits() {
    let script = "secret, source = os.path.dirname(__file__) + '/../secret', sys.argv[1]\n\
        tried({\n\
        'secret': lambda: open(secret),\n\
        'chmod': lambda: os.chmod(secret, 0o600),\n\
        'socket': lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),\n\
        'change of the input': lambda: open(source, 'w').write('changed'),\n\
        })\n";
    let not_confined = |listed: String| -> Value {
        let first: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
        first["not_confined"].clone()
    };
    let list = ["extractors", "--json"];
    let here = not_confined(Catchment::new().run(&list).exits(0).stdout());
    for (without, lost, tried) in [
        (
            "landlock",
            ["files", "processes"],
            json!({"secret": 0, "chmod": 1, "socket": 13, "change of the input": 0}),
        ),
        (
            "seccomp",
            ["network", "attributes"],
            json!({"secret": 13, "chmod": 0, "socket": 0, "change of the input": 0}),
        ),
    ] {
        // This kernel may lack something already.
        let is_missing = |what: &&str| {
            lost.contains(what) || here.as_array().unwrap().iter().any(|it| it == what)
        };
        let all = ["files", "network", "attributes", "processes"];
        let missing: Vec<&str> = all.into_iter().filter(is_missing).collect();
        let home = Catchment::new();
        python(&home, script, "");
        home.write_home("secret", "secret");
        let file = home.write_home("a.txt", "as it was");
        let check = ["extractors", "check", "pry", file.to_str().unwrap()];
        let said: Value = serde_json::from_str(&said_without(without, &home, &check)).unwrap();
        assert_eq!(said, tried, "without {without}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "as it was", "without {without}");

        let words = format!("does not keep extractors from: {}", missing.join(", "));
        assert!(said_without(without, &home, &["extractors"]).contains(&words));
        assert_eq!(not_confined(said_without(without, &home, &list)), json!(missing));
        let doctor = said_without(without, &home, &["doctor", "--json"]);
        let doctor: Value = serde_json::from_str(&doctor).unwrap();
        let findings = doctor["findings"].as_array().unwrap();
        let found = findings.iter().find(|it| it["check"] == "confinement").unwrap();
        assert_eq!(found["status"], "warning", "{found}");
        assert!(found["message"].as_str().unwrap().contains(&words), "{found}");

        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let server = Server::by(&home, on_a_kernel_without(without, &home, &serve));
        let listed = server.get("/v1/collections/features/extractors").is(200);
        let all = listed["results"].as_array().unwrap();
        assert!(all.iter().all(|one| one["not_confined"] == json!(missing)), "{listed}");
    }
}
