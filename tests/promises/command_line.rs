//! The command line does what its help says.

use std::{ffi::OsStr, process::Command};

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
    trees::{Tree, contents_of},
};

#[test]
fn help_teaches_by_example() {
    let catchment = Catchment::new();
    catchment.run(&["--help"]).exits(0).says(&["catchment sync ~/Photos", "exit codes"]);
    for command in ["sync", "ls", "get", "export", "verify", "completions"] {
        let run = catchment.run(&[command, "--help"]).exits(0);
        run.says(&["example", &format!("catchment {command}")]);
    }
    catchment.run(&["--version"]).exits(0).says(&[env!("CARGO_PKG_VERSION")]);
    catchment.run(&[] as &[&str]).exits(2).says(&["usage"]);
}

#[test]
fn completions_are_scripts_that_their_shells_can_read() {
    let catchment = Catchment::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = catchment.run(&["completions", shell]).exits(0).stdout();
        assert!(script.contains("dry-run"), "{shell}");
    }
    let script = catchment.run(&["completions", "bash"]).exits(0).stdout();
    let file = catchment.write_home("completions.bash", script);
    assert!(Command::new("bash").arg("-n").arg(file).status().unwrap().success());
}

#[test]
fn the_data_directory_may_be_named_before_or_after_the_command() {
    let tree = Tree::of_files("tree", 2);
    let catchment = Catchment::new();
    let data = catchment.home().join("elsewhere");
    let (data, source) = (data.to_str().unwrap(), tree.root().to_str().unwrap());

    catchment.run(&["--data-dir", data, "sync", source]).exits(0);
    catchment.run(&["ls", "--data-dir", data]).exits(0).says(&["tree"]);

    assert!(!catchment.data_dir().exists(), "the flag wins over the environment");
}

#[test]
fn the_data_directory_lies_below_home_by_default() {
    let tree = Tree::of_files("tree", 2);
    let catchment = Catchment::new().without_env("CATCHMENT_DATA_DIR");

    catchment.run(&[std::ffi::OsStr::new("sync"), tree.source()]).exits(0);

    catchment.run(&["ls"]).exits(0).says(&["tree"]);
    let files = contents_of(catchment.home());
    assert!(files.keys().all(|path| path.starts_with(b".local/share/catchment/")), "{files:?}");
}

#[test]
fn the_data_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new();

    catchment.sync(tree.source()).exits(0);

    let mode = std::fs::metadata(catchment.data_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_bucket_is_named_after_the_folder_and_the_second_of_that_name_differs() {
    let (one, other) = (Tree::of_files("photos", 1), Tree::of_files("photos", 2));
    let catchment = Catchment::new();

    let first = catchment.sync(one.source()).exits(0).summary().bucket.unwrap();
    let second = catchment.sync(other.source()).exits(0).summary().bucket.unwrap();

    assert_eq!(first, "photos");
    assert_ne!(first, second, "two folders were mixed into one bucket unasked");
    catchment.holds_exactly(&first, &one.contents());
    catchment.holds_exactly(&second, &other.contents());
    assert_eq!(catchment.sync(other.source()).exits(0).summary().bucket.unwrap(), second);
}

#[test]
fn the_same_source_goes_into_two_buckets_with_its_bytes_stored_once() {
    let tree = Tree::new("tree");
    tree.write("large", content::pattern(1, 2 << 20));
    let catchment = Catchment::new();

    catchment.sync_with(tree.source(), &["--bucket", "one"]).exits(0);
    catchment.sync_with(tree.source(), &["--bucket", "two"]).exits(0);

    catchment.holds_exactly("one", &tree.contents());
    catchment.holds_exactly("two", &tree.contents());
    let blobs = contents_of(&catchment.data_dir().join("blobs"));
    assert_eq!(blobs.len(), 1, "one file for the bytes of both: {:?}", blobs.keys());
}

#[test]
fn duplicates_are_skipped_when_asked_and_counted() {
    let tree = Tree::new("tree");
    for name in ["a", "b", "c"] {
        tree.write(name, "the same");
    }
    tree.write("d", "another");
    let catchment = Catchment::new();

    let run = catchment.sync_with(tree.source(), &["--skip-duplicates"]).exits(0);

    assert_eq!((run.summary().synced, run.summary().duplicates), (2, 2));
    assert_eq!(catchment.objects("tree").len(), 2);
}

#[test]
fn filters_choose_by_name_path_size_and_time() {
    let tree = Tree::new("tree");
    for path in ["a.jpg", "sub/b.jpg", "sub/deep/c.jpg", ".hidden.jpg", "d.txt", "sub/E.JPG"] {
        tree.write(path, path);
    }
    tree.write("big.jpg", vec![0; 5000]);
    tree.write("old.jpg", "old");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::open(tree.at("old.jpg")).unwrap().set_modified(old).unwrap();
    let taken = |arguments: &[&str]| {
        let catchment = Catchment::new();
        let summary = catchment.sync_with(tree.source(), arguments).exits(0).summary();
        assert_eq!(summary.synced + summary.filtered, 8);
        let paths = catchment.contents("tree").into_keys();
        paths.map(|path| String::from_utf8(path).unwrap()).collect::<Vec<_>>().join(" ")
    };

    assert_eq!(
        taken(&["--include", "*.jpg"]),
        ".hidden.jpg a.jpg big.jpg old.jpg sub/b.jpg sub/deep/c.jpg"
    );
    assert_eq!(taken(&["--include", "sub/*.jpg"]), "sub/b.jpg");
    assert_eq!(taken(&["--include", "sub/**/*.jpg"]), "sub/b.jpg sub/deep/c.jpg");
    assert_eq!(
        taken(&["--include", "*.jpg", "--exclude", "sub/**"]),
        ".hidden.jpg a.jpg big.jpg old.jpg"
    );
    assert_eq!(taken(&["--include", "*.txt", "--include", "E*"]), "d.txt sub/E.JPG");
    assert_eq!(taken(&["--min-size", "5000"]), "big.jpg");
    assert_eq!(taken(&["--min-size", "5001"]), "");
    assert_eq!(taken(&["--max-size", "3"]), "old.jpg");
    assert_eq!(taken(&["--modified-before", "2002-01-01"]), "old.jpg");
    assert_eq!(taken(&["--modified-after", "2002-01-01", "--include", "d.*"]), "d.txt");
}

#[test]
fn a_dry_run_says_what_would_happen_and_why_and_changes_nothing() {
    let tree = Tree::of_files("tree", 5);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    tree.write("new", "new");
    tree.write("d00/f0001", "changed, and longer than it was");
    tree.remove("d00/f0002");
    tree.write("skip.tmp", "x");
    let before = catchment.contents("tree");

    let arguments = ["sync", tree.root().to_str().unwrap(), "--dry-run", "--exclude", "*.tmp"];
    let run = catchment.run(&arguments).exits(0);

    let line = |path: &str| {
        let text = run.stdout();
        text.lines().find(|line| line.contains(path)).map(str::to_owned).unwrap_or_default()
    };
    assert!(line("new").starts_with('+'), "{run}");
    assert!(line("d00/f0001").starts_with('~'), "{run}");
    assert!(line("d00/f0002").starts_with('-') && line("d00/f0002").contains("gone"), "{run}");
    assert!(line("skip.tmp").contains("*.tmp"), "the rule that excludes it: {run}");
    assert_eq!(catchment.contents("tree"), before);
    let summary = catchment.sync_with(tree.source(), &["--exclude", "*.tmp"]).exits(0).summary();
    assert_eq!((summary.synced, summary.updated, summary.removed), (1, 1, 1));
}

#[test]
fn a_dry_run_counts_what_the_run_then_does() {
    let tree = Tree::of_files("tree", 20);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    tree.write("new", "new");
    tree.remove("d00/f0002");

    let dry = catchment.sync_with(tree.source(), &["--dry-run"]).exits(0).summary();
    let real = catchment.sync(tree.source()).exits(0).summary();

    let counts = |summary: &crate::support::catchment::Summary| {
        (summary.discovered, summary.synced, summary.updated, summary.unchanged, summary.removed)
    };
    assert_eq!(counts(&dry), counts(&real));
    assert_eq!(dry.status, "dry_run");
}

#[test]
fn a_dry_run_of_s3_lists_and_reads_no_object() {
    let s3 = FakeS3::start();
    for number in 0..10 {
        s3.put(format!("key {number}"), "x");
    }
    let catchment = Catchment::reaching(&s3.endpoint());

    let run = catchment.sync_with(format!("s3://{BUCKET}"), &["--dry-run"]).exits(0);

    assert_eq!(run.summary().synced, 10);
    assert_eq!((s3.count(Kind::List), s3.count(Kind::Get), s3.count(Kind::Head)), (1, 0, 0));
    assert!(!catchment.data_dir().exists(), "a dry run made a data directory");
}

#[test]
fn a_dry_run_says_when_removals_would_be_held() {
    let tree = Tree::of_files("tree", 30);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    for number in 0..20 {
        tree.remove(&format!("d00/f{number:04}"));
    }

    catchment.sync_with(tree.source(), &["--dry-run"]).exits(4);

    assert_eq!(catchment.objects("tree").len(), 30);
}

#[test]
fn a_full_run_reads_everything_again_and_changes_nothing() {
    let s3 = FakeS3::start();
    for number in 0..10 {
        s3.put(format!("key {number}"), number.to_string());
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    catchment.sync(&source).exits(0);
    s3.forget_requests();

    catchment.sync_with(&source, &["--full"]).exits(0);

    assert_eq!(s3.count(Kind::Get), 10);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn quiet_is_quiet() {
    let tree = Tree::of_files("tree", 3);
    let catchment = Catchment::new();

    let run = catchment.run(&["sync", tree.root().to_str().unwrap(), "--quiet"]).exits(0);

    assert_eq!((run.stdout().as_str(), run.stderr.as_str()), ("", ""));
}

#[test]
fn a_run_says_in_a_sentence_what_it_did() {
    let tree = Tree::of_files("tree", 3);
    let catchment = Catchment::new();

    let run = catchment.run(&["sync", tree.root().to_str().unwrap()]).exits(0);

    run.says(&["tree", "3 new"]);
}

#[test]
fn the_concurrency_is_a_limit() {
    let s3 = FakeS3::start();
    for number in 0..40 {
        s3.put(format!("key {number}"), vec![0; 1000]);
    }
    let pace = crate::support::wire::Delivery::Paced(500, std::time::Duration::from_millis(10));
    s3.inject(crate::support::fake_s3::Fault::delivery(crate::support::fake_s3::On::AnyGet, pace));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync_with(format!("s3://{BUCKET}"), &["--concurrency", "1"]).exits(0);

    // One at a time: each read begins no earlier than the one before it has had its two pauses.
    let times: Vec<_> =
        s3.requests().iter().filter(|seen| seen.kind == Kind::Get).map(|seen| seen.at).collect();
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0]).as_millis() >= 10), "{times:?}");
}

#[test]
fn an_output_that_is_full_or_closed_ends_the_output_and_not_the_run() {
    let tree = Tree::of_files("tree", 20);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for (bucket, output) in
        [("full", std::process::Stdio::from(full)), ("closed", std::process::Stdio::from(closed))]
    {
        let catchment = Catchment::new();
        let source = tree.root().to_str().unwrap();
        let mut sync = catchment.command(&["sync", source, "--bucket", bucket]);

        let status = sync.stdout(output).status().unwrap();

        assert!(status.success(), "{bucket}: {status}");
        catchment.holds_exactly(bucket, &tree.contents());
    }
}

/// The same command on a terminal of its own: what it shows there, all in one.
fn on_terminal(command: &Command) -> String {
    let quoted = |word: &OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &words.join(" "), "/dev/null"]);
    terminal.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    terminal.env("TERM", "xterm-256color").stdin(std::process::Stdio::null());
    terminal.current_dir(command.get_current_dir().unwrap());
    String::from_utf8_lossy(&terminal.output().expect("script, of bsdutils").stdout).into_owned()
}

/// Whether a text switches colours or bold type on (ECMA-48, SGR).
fn has_colours(text: &str) -> bool {
    text.split("\x1b[").skip(1).any(|rest| {
        let numbers = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        numbers.starts_with('m')
    })
}

#[test]
fn an_error_is_said_once_on_a_terminal_and_off_it() {
    let s3 = FakeS3::start();
    s3.put("a", "a");
    s3.put("locked", "b");
    s3.inject(Fault::error(On::GetOf("locked"), 403, "AccessDenied"));
    let endpoint = s3.endpoint();
    let home = Catchment::reaching(&endpoint).env("AWS_ENDPOINT_URL", &endpoint.url);
    let source = format!("s3://{BUCKET}");
    let cases: [(&[&str], &str); 7] = [
        (&["sync", &source], "locked (permission denied"),
        (&["sync", "s3://no-such-bucket"], "there is no bucket \"no-such-bucket\" here"),
        (&["sync", "/no/such/folder"], "/no/such/folder"),
        (&["sync", "ftp://example.com/"], "ftp"),
        (&["ls", "nowhere"], "there is no bucket \"nowhere\""),
        (&["get", &format!("{BUCKET}/nothing")], "has no object"),
        (&["sync", &source, "--no-such-flag"], "unexpected argument"),
    ];
    for (args, words) in cases {
        let command = home.command(args);
        let run = home.run(args);
        let printed = format!("{}{}", run.stdout(), run.stderr);
        for (said, place) in [(printed, "printed"), (on_terminal(&command), "on a terminal")] {
            // The bar is drawn again and again; an error is a line that stays.
            let lines = said.split(['\n', '\r']).filter(|line| line.contains(words)).count();
            assert_eq!(lines, 1, "{args:?}, {place}: {words:?} in {said}");
        }
    }
}

#[test]
fn colours_are_for_terminals_and_for_nobody_who_wants_none() {
    let tree = Tree::of_files("tree", 2);
    let home = Catchment::new();
    let source = tree.root().to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["-vv", "sync", source],
        &["--help"],
        &["sync", "--no-such-flag"],
        &["sync", "/no/such/folder"],
    ];
    let mut coloured = 0;
    for args in commands {
        let run = home.run(args);
        assert!(!has_colours(&run.stdout()) && !has_colours(&run.stderr), "{args:?}: {run}");
        coloured += usize::from(has_colours(&on_terminal(&home.command(args))));
        let plain = on_terminal(&home.clone().env("NO_COLOR", "1").command(args));
        assert!(!has_colours(&plain), "{args:?} although NO_COLOR is set: {plain:?}");
    }
    assert!(coloured >= 2, "a terminal shows colours");
}

#[test]
fn why_entries_are_left_out_is_said_in_words_that_fit_one_and_many() {
    let tree = Tree::new("tree");
    for path in ["a.txt", "b.txt", "c.jpg"] {
        tree.write(path, "x");
    }
    let home = Catchment::new();
    let args = ["sync", tree.root().to_str().unwrap(), "--dry-run", "--extension", "jpg"];
    let said = home.run(&args).exits(0).stdout();
    let reasons: Vec<_> = said.lines().filter(|line| line.contains("another extension")).collect();
    assert_eq!(reasons.len(), 2, "{said}");
    assert!(reasons.iter().all(|line| !line.contains("has ")), "{said}");
    assert!(said.contains("2 left out"), "{said}");
}
