//! Services of the owner's, over HTTP: the shapes that servers of models speak, and the protocol
//! with links. The fake is written from the public specification of those shapes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    ledger::Fixture,
    support::{
        catchment::{Catchment, poll_until},
        wire::{Answer, Reply, Request, Wire},
    },
};

/// Nothing in these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A server of models. It refuses whoever does not know its key.
struct Models {
    wire: Wire,
    seen: Arc<Mutex<Vec<Request>>>,
    /// Whether it refuses everything for now.
    is_busy: Arc<AtomicBool>,
}

impl Models {
    fn start() -> Self {
        let (seen, is_busy) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, busy) = (Arc::clone(&seen), Arc::clone(&is_busy));
        let wire = Wire::serve(move |request| {
            kept.lock().unwrap().push(request.clone());
            if busy.load(Ordering::Relaxed) {
                return Answer::new(503, "later").header("Retry-After", "1").into();
            }
            if request.header("authorization") != Some("Bearer the key of the models") {
                let error =
                    json!({"error": {"message": "Incorrect API key provided", "code": null}});
                return Answer::new(401, error.to_string()).into();
            }
            respond(request)
        });
        Self { wire, seen, is_busy }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The definition of a service there.
    fn definition(&self, path: &str, format: &str, more: &str) -> String {
        format!(
            "version = \"1\"\nhttp = \"{}{path}\"\nformat = \"{format}\"\n\
             headers = {{ Authorization = \"Bearer the key of the models\" }}\n{more}\n",
            self.wire.url()
        )
    }
}

fn respond(request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let answer = match request.target.as_str() {
        "/v1/embeddings" => {
            let Some(text) = body["input"].as_str() else {
                return Answer::new(400, "input must be a string").into();
            };
            let vector = [text.len() as f32, 0.25, -1.5];
            json!({"object": "list", "model": body["model"], "data": [
                {"object": "embedding", "index": 0, "embedding": vector}]})
        }
        "/v1/chat/completions" => {
            let last = body["messages"].as_array().unwrap().last().unwrap().clone();
            let content = match &last["content"] {
                Value::String(text) => format!("you said: {text}"),
                parts => json!({"prompt": parts[0]["text"],
                    "picture": parts[1]["image_url"]["url"]})
                .to_string(),
            };
            json!({"object": "chat.completion", "model": body["model"], "choices": [
                {"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": content}}]})
        }
        "/v1/audio/transcriptions" => {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            json!({"text": " as I said ", "language": "english", "duration": 1.5,
                   "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " as I said "}],
                   "form": form.contains("filename=\"input.mp3\"") && form.contains("whisper-1")})
        }
        _ => return Answer::new(404, "no such path").into(),
    };
    Answer::new(200, answer.to_string()).header("Content-Type", "application/json").into()
}

pub fn define(here: &Fixture, name: &str, text: &str) {
    let folder = here.home.data_dir().join("extractors");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn collect(here: &Fixture, extractor: &str, more: Value) {
    let mut config = json!({"feature_extractor_name": extractor, "version": "1"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let collection = json!({
        "collection_name": "made",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": config,
    });
    here.server.post("/v1/collections", &collection).is(200);
}

fn made(here: &Fixture) -> Vec<Value> {
    let asked = json!({"limit": 100, "return_vectors": true});
    let target = "/v1/collections/made/documents/list";
    here.server.post(target, &asked).is(200)["results"].as_array().unwrap().clone()
}

fn failed(here: &Fixture) -> Value {
    let batches = here.settled();
    let id = batches.last().unwrap()["batch_id"].as_str().unwrap().to_owned();
    here.server.get(&format!("/v1/buckets/films/batches/{id}/failed-documents")).is(200)
}

#[test]
fn vectors_of_a_server_of_models_are_kept_and_returned() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "vector = \"meaning\"\n[request]\nmodel = \"minilm\"";
    define(&here, "embed", &models.definition("/v1/embeddings", "openai_embeddings", more));
    collect(&here, "embed", json!({}));
    here.tree.write("a.txt", "twelve chars");
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{}", failed(&here));
    let made = made(&here);
    assert_eq!(made[0]["_internal"]["vectors"]["meaning"], json!([12.0, 0.25, -1.5]));
    assert_eq!(made[0]["model"], "minilm");
    let shown = here.server.get("/v1/collections/made").is(200);
    assert_eq!(shown["vector_indexes"][0]["name"], "meaning");
    assert_eq!(shown["vector_indexes"][0]["index"]["dimensions"], 3);
}

#[test]
fn what_is_mapped_to_text_is_sent_and_else_the_text_of_the_object() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "[request]\nmodel = \"m\"\nprompt = \"Repeat this.\"";
    define(&here, "chat", &models.definition("/v1/chat/completions", "openai_chat", more));
    collect(&here, "chat", json!({"input_mappings": {"text": "key_prefix"}}));
    here.tree.write("a.txt", "content");
    here.sync(json!({}));
    here.settled();
    let made = made(&here);
    assert_eq!(made[0]["text"], "you said: Repeat this.\n\na.txt", "{}", failed(&here));
}

#[test]
fn a_picture_is_part_of_a_chat_and_an_object_that_comes_back_is_the_document() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "[request]\nmodel = \"llava\"\nprompt = \"What is this?\"";
    define(&here, "chat", &models.definition("/v1/chat/completions", "openai_chat", more));
    collect(&here, "chat", json!({}));
    here.tree.write("a.png", "pretends to be a picture");
    here.sync(json!({}));
    here.settled();
    let made = made(&here);
    assert_eq!(made.len(), 1, "{}", failed(&here));
    assert_eq!(made[0]["prompt"], "What is this?");
    let encoded = BASE64_STANDARD.encode("pretends to be a picture");
    assert_eq!(made[0]["picture"], format!("data:image/png;base64,{encoded}"));
}

#[test]
fn a_sound_is_transcribed_by_a_form_with_its_bytes() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "[request]\nmodel = \"whisper-1\"\nresponse_format = \"verbose_json\"";
    let path = "/v1/audio/transcriptions";
    define(&here, "whisper", &models.definition(path, "openai_transcription", more));
    collect(&here, "whisper", json!({}));
    here.tree.write("talk.mp3", "bytes of a sound");
    here.sync(json!({}));
    here.settled();
    let made = made(&here);
    assert_eq!(made.len(), 1, "{}", failed(&here));
    assert_eq!(made[0]["text"], "as I said");
    assert_eq!(made[0]["duration_seconds"], 1.5);
    assert_eq!(made[0]["segments"][0]["end"], 1.5);
    let request = models.seen().remove(0);
    let kind = request.header("content-type").unwrap().to_owned();
    assert!(kind.starts_with("multipart/form-data; boundary="), "{kind}");
    let form = String::from_utf8_lossy(&request.body).into_owned();
    for part in
        ["name=\"model\"\r\n\r\nwhisper-1\r\n", "filename=\"input.mp3\"", "bytes of a sound"]
    {
        assert!(form.contains(part), "{part:?} is not in {form}");
    }
}

#[test]
fn a_service_gets_small_files_whole_and_large_ones_by_a_link_for_one_blob() {
    let here = Fixture::new();
    let (fetched, address) = (Arc::new(Mutex::new(Vec::new())), here.server.address);
    let kept = Arc::clone(&fetched);
    let wire = Wire::serve(move |request| {
        let line: Value = serde_json::from_slice(&request.body).unwrap();
        let file = &line["inputs"]["file"];
        let bytes = match file["url"].as_str() {
            None => BASE64_STANDARD.decode(file["content_base64"].as_str().unwrap()).unwrap(),
            Some(url) => {
                let target = url.strip_prefix(&format!("http://{address}")).unwrap();
                let (ours, other) = fetch(address, target);
                kept.lock().unwrap().push((target.to_owned(), other));
                ours
            }
        };
        let document = json!({"document": {"bytes": bytes.len(), "first": bytes.first()}});
        let vector = json!({"vector": {"name": "v", "values": [1.0]}});
        let done = json!({"done": true});
        Answer::new(200, format!("{document}\n{vector}\n{done}\n")).into()
    });
    let text = format!("version = \"1\"\nhttp = \"{}/\"\nformat = \"catchment\"\n", wire.url());
    define(&here, "remote", &text);
    collect(&here, "remote", json!({}));
    here.tree.write("small.bin", "small");
    here.tree.write("large.bin", vec![b'L'; 2 * 1024 * 1024]);
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{}", failed(&here));
    let mut sizes: Vec<u64> =
        made(&here).iter().map(|document| document["bytes"].as_u64().unwrap()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 2 * 1024 * 1024]);
    let fetched = fetched.lock().unwrap().clone();
    assert_eq!(fetched.len(), 1, "only the large one is fetched");
    let (target, other) = &fetched[0];
    assert_eq!(*other, 401, "the same signature leads to no other blob");
    let unsigned = target.split_once('?').unwrap().0;
    let request = here.server.request("GET", unsigned).without_token().send();
    assert_eq!(request.status, 401);
    assert_eq!(here.server.get(unsigned).status, 403, "nothing but a link leads there");
    let request = here.server.request("DELETE", target).without_token().send();
    assert_eq!(request.status, 401);
}

/// The body of a link, and the status of the same link for another blob.
fn fetch(address: std::net::SocketAddr, target: &str) -> (Vec<u8>, u16) {
    let ask = |target: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let status = String::from_utf8_lossy(&bytes[9..12]).parse().unwrap();
        (bytes[end..].to_vec(), status)
    };
    let (body, status): (Vec<u8>, u16) = ask(target);
    assert_eq!(status, 200);
    let first = target.find("/v1/blobs/").unwrap() + "/v1/blobs/".len();
    let mut other = target.to_owned();
    let digit = if other.as_bytes()[first] == b'0' { "1" } else { "0" };
    other.replace_range(first..=first, digit);
    (body, ask(&other).1)
}

#[test]
fn a_link_for_a_service_ends_with_its_time_and_says_so_when_it_is_used_later() {
    let (home, clock) = Catchment::new().under_steered_clock();
    let here = Fixture::on(home);
    let links = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&links);
    let wire = Wire::serve(move |request| {
        let line: Value = serde_json::from_slice(&request.body).unwrap();
        kept.lock().unwrap().push(line["inputs"]["file"]["url"].as_str().unwrap().to_owned());
        Answer::new(200, "{\"document\":{}}\n{\"done\":true}\n").into()
    });
    let text = format!(
        "version = \"1\"\nhttp = \"{}/\"\nformat = \"catchment\"\nlimits = {{ timeout = \"10m\" }}\n",
        wire.url()
    );
    define(&here, "remote", &text);
    collect(&here, "remote", json!({}));
    here.tree.write("large.bin", vec![b'L'; 100_000]);
    here.sync(json!({}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{}", failed(&here));
    let link = links.lock().unwrap()[0].clone();
    let target = link.strip_prefix(&format!("http://{}", here.server.address)).unwrap();
    let open = || here.server.request("GET", target).without_token().send();
    clock.forward(500);
    assert_eq!(open().body.len(), 100_000);
    clock.forward(110);
    let ended = open().fails_with(401);
    assert_eq!(ended["code"], "link_expired", "{ended}");
    assert!(ended["message"].as_str().unwrap().contains("this link ended at"), "{ended}");
    let with_token = here.server.get(target).fails_with(401);
    assert_eq!(with_token["code"], "link_expired", "{with_token}");
}

#[test]
fn a_service_that_is_off_or_refuses_the_key_fails_no_object() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "[request]\nmodel = \"m\"";
    let good = models.definition("/v1/embeddings", "openai_embeddings", more);
    let off = good.replace(&models.wire.url(), "http://127.0.0.1:9");
    define(&here, "embed", &off);
    collect(&here, "embed", json!({}));
    for number in 0..5 {
        here.tree.write(format!("{number}.txt"), format!("text {number}"));
    }
    here.sync(json!({}));
    let reason = |word: &str| {
        poll_until("a pause", DEADLINE, || {
            let shown = here.server.get("/v1/collections/made").is(200);
            assert_eq!(shown["failed"], 0, "{shown}");
            let reason = shown["paused_reason"].as_str().unwrap_or_default().to_owned();
            reason.contains(word).then_some(reason)
        })
    };
    reason("cannot reach");
    define(&here, "embed", &good.replace("the key of the models", "a wrong key, a secret"));
    let told = reason("401");
    assert!(told.contains("Incorrect API key") && !told.contains("a wrong key"), "{told}");
    define(&here, "embed", &good);
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{}", failed(&here));
    assert_eq!(made(&here).len(), 5);
}

#[test]
fn a_collection_deleted_by_force_lets_its_batches_end_that_wait_for_its_service() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let busy = Wire::serve(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Answer::new(503, "later").header("Retry-After", "3600").into()
    });
    let off = Port::taken();
    for (what, url) in [("for an hour", busy.url()), ("until it is there", off.url())] {
        let here = Fixture::new();
        let text = format!("version = \"1\"\nhttp = \"{url}/\"\nformat = \"catchment\"\n");
        define(&here, "remote", &text);
        collect(&here, "remote", json!({}));
        here.tree.write("a.txt", "a");
        let sync = here.sync(json!({}));
        poll_until("a refusal", DEADLINE, || {
            let shown = here.server.get("/v1/collections/made").is(200);
            let is_paused = shown["paused_reason"].is_string();
            (is_paused || asked.load(Ordering::SeqCst) > 0).then_some(())
        });
        assert_eq!(
            here.server.delete("/v1/collections/made").fails_with(409)["code"],
            "batch_runs"
        );

        here.server.delete("/v1/collections/made?force=true").is(200);

        let batch = here.settled().remove(0);
        assert_eq!(batch["status"], "COMPLETED", "what waits {what}: {batch}");
        let audit = &batch["tier_tasks"][0]["audit"];
        let counts = json!({"submitted": 1, "processed": 1, "failed": 0, "skipped": 0});
        for (name, expected) in counts.as_object().unwrap() {
            assert_eq!(&audit[name], expected, "{name} of what waits {what}: {batch}");
        }
        // What comes later is no matter of a collection that is gone.
        here.tree.write("b.txt", "b");
        here.run_again(&sync, 2);
        poll_until("the next document", DEADLINE, || {
            here.settled();
            (here.documents("facts").len() == 2).then_some(())
        });
        asked.store(0, Ordering::SeqCst);
    }
}

/// A port that nobody listens at for now, and that nobody else can have.
struct Port(OwnedFd);

impl Port {
    fn taken() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self(socket)
    }

    fn url(&self) -> String {
        let address = rustix::net::getsockname(&self.0).unwrap();
        format!("http://{}", SocketAddrV4::try_from(address).unwrap())
    }

    /// Listens there from now on.
    fn serve(self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Wire {
        rustix::net::listen(&self.0, 128).unwrap();
        Wire::serve_on(TcpListener::from(self.0), handler)
    }
}

#[test]
fn a_service_that_is_off_for_an_hour_fails_nothing_is_seldom_asked_and_gets_all_once_it_is_back() {
    const OBJECTS: usize = 5;
    /// The longest time between two probes, in seconds.
    const LONGEST: u64 = 300;
    let (home, clock) = Catchment::new().under_steered_clock();
    let (here, port) = (Fixture::on(home), Port::taken());
    let text = format!(
        "version = \"1\"\nhttp = \"{}/v1/embeddings\"\nformat = \"openai_embeddings\"\n",
        port.url()
    );
    define(&here, "embed", &text);
    collect(&here, "embed", json!({}));
    for number in 0..OBJECTS {
        here.tree.write(format!("{number}.txt"), format!("text {number}"));
    }
    let sync = here.sync(json!({"batch_chunk_size": 2}));
    // A bucket that has nothing to do with it shows that the processor has looked around since.
    let other = json!({"bucket_name": "other", "bucket_schema": {"properties": {}}});
    here.server.post("/v1/buckets", &other).is(200);
    let beside = json!({
        "collection_name": "beside",
        "source": {"type": "bucket", "bucket_ids": ["other"]},
        "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
    });
    here.server.post("/v1/collections", &beside).is(200);
    let looks = |number: usize| {
        let object = json!({"key_prefix": format!("{number}"), "blobs": [], "number": number});
        here.server.post("/v1/buckets/other/objects?auto_process=true", &object).is(200);
        poll_until("what has nothing to do with it", DEADLINE, || {
            (here.documents("beside").len() == number).then_some(())
        });
    };
    let pauses = || here.server.log().matches("the extractor is paused").count();
    poll_until("a pause", DEADLINE, || (pauses() > 0).then_some(()));

    // For most of the hour nobody listens, then something that is not the service yet.
    let is_on = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (mut port, mut wire, mut last) = (Some(port), None, pauses());
    for round in 1..=12 {
        if round == 10 {
            let (on, count) = (is_on.clone(), asked.clone());
            wire = port.take().map(|port| {
                port.serve(move |request| {
                    count.fetch_add(1, Ordering::SeqCst);
                    match on.load(Ordering::SeqCst) {
                        true => respond(request),
                        false => Answer::new(404, "no model is loaded").into(),
                    }
                })
            });
        }
        clock.forward(LONGEST);
        poll_until("a probe", DEADLINE, || (pauses() > last).then_some(()));
        looks(round);
        // In the beginning some seconds are long enough for the next.
        assert!(round < 9 || pauses() == last + 1, "one probe in {LONGEST} s");
        last = pauses();
        let shown = here.server.get("/v1/collections/made").is(200);
        assert_eq!((&shown["failed"], &shown["document_count"]), (&json!(0), &json!(0)), "{shown}");
        let reason = if round < 10 { "cannot reach" } else { "no model is loaded" };
        assert!(shown["paused_reason"].as_str().unwrap().contains(reason), "{shown}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3, "a probe is one request");
    assert!(pauses() <= 30, "{} tries in an hour", pauses());

    let ids = here.server.get(&sync).is(200)["batch_ids"].clone();
    assert_eq!(ids.as_array().unwrap().len(), 3);
    for id in ids.as_array().unwrap() {
        let path = format!("/v1/buckets/films/batches/{}", id.as_str().unwrap());
        let shown = here.server.get(&path).is(200);
        assert_eq!(shown["health"], "stalled", "{shown}");
        assert!(shown["queue_context"]["reason"].as_str().unwrap().contains("embed is paused"));
        assert!(shown["status_message"].as_str().unwrap().contains("no model is loaded"));
        assert_eq!((&shown["failed_object_count"], &shown["error"]), (&json!(0), &Value::Null));
        assert_eq!(here.server.get(&format!("{path}/failed-documents")).is(200)["total"], 0);
        let diagnosis = here.server.get(&format!("{path}/diagnose")).is(200);
        let pause = &diagnosis["extractor_pauses"][0];
        assert_eq!(pause["extractor"], "embed", "{diagnosis}");
        assert!(pause["next_probe_at"].as_str() > pause["since"].as_str(), "{diagnosis}");
    }
    assert_eq!(here.documents("facts").len(), OBJECTS, "facts do not wait for the service");

    is_on.store(true, Ordering::SeqCst);
    asked.store(0, Ordering::SeqCst);
    clock.forward(LONGEST);
    for batch in here.settled() {
        assert_eq!((&batch["status"], &batch["health"]), (&json!("COMPLETED"), &json!("healthy")));
        for tier in batch["tier_tasks"].as_array().unwrap() {
            assert_eq!(tier["audit"]["balanced"], true, "{batch}");
        }
    }
    assert_eq!((made(&here).len(), asked.load(Ordering::SeqCst)), (OBJECTS, OBJECTS));
    let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    let attempts = "SELECT max(attempts) FROM outcomes";
    let most: u64 = db.query_row(attempts, [], |row| row.get(0)).unwrap();
    assert_eq!(most, 1, "no try of that hour counts");
    assert_eq!(here.server.get("/v1/collections/made").is(200)["paused_reason"], Value::Null);
    drop(wire);
}

#[test]
fn three_objects_that_fail_in_passing_pause_the_service_and_fail_none_of_them() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "[request]\nmodel = \"m\"";
    define(&here, "embed", &models.definition("/v1/embeddings", "openai_embeddings", more));
    collect(&here, "embed", json!({}));
    models.is_busy.store(true, Ordering::Relaxed);
    for number in 0..4 {
        here.tree.write(format!("{number}.txt"), format!("text {number}"));
    }
    here.sync(json!({}));
    let shown = poll_until("a pause", DEADLINE, || {
        let shown = here.server.get("/v1/collections/made").is(200);
        assert_eq!(shown["failed"], 0, "{shown}");
        shown["paused_reason"].is_string().then_some(shown)
    });
    assert!(shown["paused_reason"].as_str().unwrap().contains("503"), "{shown}");
    models.is_busy.store(false, Ordering::Relaxed);
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{}", failed(&here));
    assert_eq!(made(&here).len(), 4);
}

#[test]
fn a_service_that_asks_to_wait_is_asked_again_and_one_that_refuses_an_object_is_not() {
    let (here, models) = (Fixture::new(), Models::start());
    let more = "[request]\nmodel = \"m\"";
    define(&here, "embed", &models.definition("/v1/embeddings", "openai_embeddings", more));
    collect(&here, "embed", json!({}));
    models.is_busy.store(true, Ordering::Relaxed);
    here.tree.write("a.txt", "text");
    here.tree.write("b.bin", "no text");
    here.sync(json!({}));
    poll_until("a try", DEADLINE, || (!models.seen().is_empty()).then_some(()));
    models.is_busy.store(false, Ordering::Relaxed);
    assert_eq!(here.settled()[0]["status"], "COMPLETED_WITH_ERRORS");
    assert_eq!(made(&here).len(), 1);
    let failed = failed(&here);
    assert_eq!(failed["total"], 1);
    assert_eq!(failed["results"][0]["error_type"], "permanent");
    assert!(failed["results"][0]["error"].as_str().unwrap().contains("no text"), "{failed}");
}

#[test]
fn a_redirect_of_a_service_is_not_followed() {
    let here = Fixture::new();
    let elsewhere = Arc::new(AtomicBool::new(false));
    let reached = Arc::clone(&elsewhere);
    let other = Wire::serve(move |_| {
        reached.store(true, Ordering::Relaxed);
        Answer::new(200, "{}").into()
    });
    let to = other.url();
    let wire = Wire::serve(move |_| Answer::new(302, "").header("Location", to.clone()).into());
    let text = format!("version = \"1\"\nhttp = \"{}/\"\nformat = \"catchment\"\n", wire.url());
    define(&here, "moved", &text);
    collect(&here, "moved", json!({}));
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    poll_until("a pause", DEADLINE, || {
        let reason = here.server.get("/v1/collections/made").is(200)["paused_reason"].clone();
        reason.as_str().is_some_and(|reason| reason.contains("302")).then_some(())
    });
    assert!(!elsewhere.load(Ordering::Relaxed), "a redirect was followed");
}
