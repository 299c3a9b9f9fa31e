//! Real S3 servers as peers, each started for one test on free ports of the loopback interface, and
//! gone with it. `tests/run` installs them.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Endpoint, catchment::poll_until};

const ACCESS_KEY: &str = "catchment";
const SECRET_KEY: &str = "not-a-secret";
const CERTIFICATE: &str = "certificate.pem";

/// A running S3 server, with one bucket.
pub struct Peer {
    endpoint: Endpoint,
    /// Closing its standard input ends it.
    keeper: Child,
    home: TempDir,
}

/// The bucket that every [`Peer`] has.
pub const BUCKET: &str = "catchment-peer";

impl Peer {
    /// SeaweedFS: <https://github.com/seaweedfs/seaweedfs>
    pub fn seaweedfs() -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("s3.json");
        let identity = json!({"identities": [{
            "name": "catchment",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        std::fs::write(&config, identity.to_string()).unwrap();
        let ports = free_ports(8);
        let mut args: Vec<String> = [
            "server",
            "-s3",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-master.heartbeatInterval=100ms",
            "-volume.max=50",
            "-volume.preStopSeconds=0",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        .map(str::to_owned)
        .to_vec();
        args.push(format!("-dir={}", home.path().display()));
        args.push(format!("-s3.config={}", config.display()));
        for (name, port) in ["master", "volume", "filer", "s3"].iter().zip(ports.chunks(2)) {
            args.push(format!("-{name}.port={}", port[0]));
            args.push(format!("-{name}.port.grpc={}", port[1]));
        }
        let port = ports[6];
        Self::start("weed", &args, port, home)
    }

    /// `rclone serve s3`: <https://rclone.org/commands/rclone_serve_s3/>
    pub fn rclone() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_ports(1)[0];
        let mut args = serve_s3(port, home.path());
        args.push(":memory:".to_owned());
        Self::start("rclone", &args, port, home)
    }

    /// `rclone serve s3` over TLS, with the files of a folder in its bucket.
    pub fn rclone_over_tls(files: &[(&str, &[u8])]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let bucket = home.path().join("served").join(BUCKET);
        for (name, content) in files {
            let path = bucket.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let own = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        let (certificate, key) = (home.path().join(CERTIFICATE), home.path().join("key.pem"));
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let port = free_ports(1)[0];
        let mut args = serve_s3(port, home.path());
        args.push(format!("--cert={}", certificate.display()));
        args.push(format!("--key={}", key.display()));
        args.push(home.path().join("served").display().to_string());
        let mut peer = Self::listening("rclone", &args, port, home);
        peer.endpoint.url = format!("https://127.0.0.1:{port}");
        peer
    }

    /// The certificate of a peer over TLS: nobody vouches for it.
    pub fn certificate(&self) -> PathBuf {
        self.home.path().join(CERTIFICATE)
    }

    fn start(program: &str, args: &[String], port: u16, home: TempDir) -> Self {
        let peer = Self::listening(program, args, port, home);
        peer.prepare(&[json!({"do": "create_bucket"})]);
        peer
    }

    fn listening(program: &str, args: &[String], port: u16, home: TempDir) -> Self {
        let log = std::fs::File::create(home.path().join("log")).unwrap();
        let keeper = Command::new(venv("python"))
            .arg(support("keep.py"))
            .arg(venv(program))
            .args(args)
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the peer starts");
        let mut peer = Self {
            endpoint: Endpoint {
                url: format!("http://127.0.0.1:{port}"),
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRET_KEY.to_owned(),
            },
            keeper,
            home,
        };
        poll_until(&format!("{program} to listen"), Duration::from_secs(60), || {
            let ended = peer.keeper.try_wait().unwrap();
            assert!(ended.is_none(), "{program} ended: {}", peer.log());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        peer
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// How to reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Writes objects, key and content; answers which of them the server refused, and why.
    pub fn put_all(&self, objects: &[(&str, Vec<u8>)]) -> Vec<(String, String)> {
        let steps: Vec<_> = objects
            .iter()
            .map(|(key, content)| {
                json!({"do": "put", "key": key, "content": BASE64_STANDARD.encode(content)})
            })
            .collect();
        let answers = self.prepare(&steps);
        let refusal = |((key, _), answer): (&(&str, Vec<u8>), &Value)| {
            Some(((*key).to_owned(), answer["error"].as_str()?.to_owned()))
        };
        objects.iter().zip(&answers).filter_map(refusal).collect()
    }

    /// Does the steps of `prepare.py`, in order.
    pub fn prepare(&self, steps: &[Value]) -> Vec<Value> {
        prepare(&self.endpoint, BUCKET, steps)
    }

    /// The keys that boto3 finds, and the hashes of the bytes that it reads there.
    pub fn contents(&self) -> BTreeMap<Vec<u8>, String> {
        contents(&self.endpoint, BUCKET)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// What `rclone` is told, but for what it is to serve.
fn serve_s3(port: u16, home: &Path) -> Vec<String> {
    vec![
        "serve".to_owned(),
        "s3".to_owned(),
        format!("--addr=127.0.0.1:{port}"),
        format!("--auth-key={ACCESS_KEY},{SECRET_KEY}"),
        format!("--config={}", home.join("rclone.conf").display()),
    ]
}

/// Does the steps of `prepare.py` on any server.
pub fn prepare(endpoint: &Endpoint, bucket: &str, steps: &[Value]) -> Vec<Value> {
    let request = json!({
        "endpoint": endpoint.url,
        "access_key": endpoint.access_key,
        "secret_key": endpoint.secret_key,
        "bucket": bucket,
        "steps": steps,
    });
    let mut python = Command::new(venv("python"))
        .arg(support("prepare.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "prepare.py failed");
    serde_json::from_slice(&output.stdout).expect("the answers of prepare.py")
}

/// What a bucket holds, as boto3 lists and reads it.
pub fn contents(endpoint: &Endpoint, bucket: &str) -> BTreeMap<Vec<u8>, String> {
    let listing = prepare(endpoint, bucket, &[json!({"do": "list"})]).remove(0);
    let found = listing.as_array().expect("a listing").iter();
    let keys: Vec<_> = found.map(|object| object["key"].as_str().expect("a key")).collect();
    let steps: Vec<_> = keys.iter().map(|key| json!({"do": "get", "key": key})).collect();
    let answers = prepare(endpoint, bucket, &steps);
    let content = |(key, answer): (&&str, &Value)| {
        let encoded = answer["content"].as_str().unwrap_or_else(|| panic!("{key:?}: {answer}"));
        let bytes = BASE64_STANDARD.decode(encoded).unwrap();
        (key.as_bytes().to_vec(), super::content::hash(&bytes))
    };
    keys.iter().zip(&answers).map(content).collect()
}

/// A program of the private Python environment.
pub fn venv(program: &str) -> PathBuf {
    in_venv(&Path::new("bin").join(program))
}

/// What is installed in the private Python environment.
pub fn in_venv(path: &Path) -> PathBuf {
    let venv = std::env::var_os("CATCHMENT_TEST_VENV").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"),
        PathBuf::from,
    );
    let path = venv.join(path);
    assert!(path.exists(), "{} is missing: tests/run installs it", path.display());
    path
}

fn support(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(file)
}

/// Ports that nobody listens on. Held together while they are chosen, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
        .collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
