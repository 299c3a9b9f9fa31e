//! Watched folders: what makes a run and what does not, and folders of which the system does not
//! notify, because its limits are reached.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        trees::Tree,
    },
};

const DEADLINE: Duration = Duration::from_secs(60);

/// The same command where the system gives nobody a notifier: in a namespace of users of its own,
/// which has a limit of its own.
fn without_notifiers(command: &Command) -> Command {
    let limited = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--user", "--map-root-user", "sh", "-c", limited]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().expect("a folder to work in"));
    wrapped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    wrapped
}

#[test]
fn where_the_system_has_no_notifier_left_a_sync_says_so_and_that_its_folder_is_looked_at() {
    let home = Catchment::new();
    let command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::by(&home, without_notifiers(&command));
    let tree = Tree::of_files("tree", 3);
    crate::buckets::bucket(&server, "tree");
    let order = json!({"connection_id": "conn_local", "source_path": tree.root()});
    let made = server.post("/v1/buckets/tree/syncs", &order).is(200);
    let path = format!("/v1/buckets/tree/syncs/{}", made["sync_config_id"].as_str().unwrap());

    let notice = poll_until("the notice", DEADLINE, || {
        let sync = server.get(&path).is(200);
        let notices = sync["notices"].as_array().unwrap();
        notices.iter().find(|notice| notice["code"] == "watch_limited").cloned()
    });

    let message = notice["message"].as_str().unwrap();
    assert!(message.contains("every 60 s") && message.contains("max_user_instances"), "{message}");
    let events = server.get("/v1/events/log?limit=100").is(200).to_string();
    assert!(events.contains("it is looked at every 60 s instead"), "{events}");
}

/// Opens a file to write and closes it again without a change.
fn touch(file: &Path) {
    drop(File::options().append(true).open(file).unwrap());
    std::thread::sleep(Duration::from_millis(20));
}

/// The same all the time, until it is dropped.
struct Toucher(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Toucher {
    fn of(file: PathBuf) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let work = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                touch(&file);
            }
        });
        Self(is_over, Some(work))
    }
}

impl Drop for Toucher {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// Last changed an hour ago.
fn age(file: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(60 * 60);
    File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
}

/// A sync of a watched folder with a file of an hour ago.
struct Watched {
    server: Server,
    tree: Tree,
    file: PathBuf,
    sync: String,
}

impl Watched {
    fn start() -> Self {
        let home = Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "2000");
        let (server, tree) = (Server::on(&home), Tree::new("tree"));
        tree.write("lock", "before");
        let file = tree.root().join("lock");
        age(&file);
        crate::buckets::bucket(&server, "tree");
        let order = json!({"connection_id": "conn_local", "source_path": tree.root()});
        let made = server.post("/v1/buckets/tree/syncs", &order).is(200);
        let sync = format!("/v1/buckets/tree/syncs/{}", made["sync_config_id"].as_str().unwrap());
        let watched = Self { server, tree, file, sync };
        watched.jobs(1);
        poll_until("a run for a change", DEADLINE, || {
            watched.tree.write("other", fastrand::u64(..).to_string());
            std::thread::sleep(Duration::from_millis(500));
            (watched.jobs(1) > 1).then_some(())
        });
        watched
    }

    /// Waits until at least so many jobs have ended and none is under way; returns how many.
    fn jobs(&self, least: usize) -> usize {
        poll_until("the jobs", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(20));
            let list = self.server.post(&format!("{}/jobs", self.sync), &json!({})).is(200);
            let all = list["results"].as_array().unwrap();
            let is_idle = all.iter().all(|job| job["status"] != "running");
            (is_idle && all.len() >= least).then_some(all.len())
        })
    }
}

#[test]
fn a_file_that_is_opened_to_write_and_closed_without_a_change_makes_no_run() {
    let watched = Watched::start();
    // What the other file's writes may still bring about.
    std::thread::sleep(Duration::from_secs(4));
    let before = watched.jobs(1);
    (0..100).for_each(|_| touch(&watched.file));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(watched.jobs(1), before);
    watched.tree.write("lock", "after");
    assert!(watched.jobs(before + 1) > before, "a change is noticed");
}

#[test]
fn a_file_that_is_opened_and_closed_all_the_time_is_taken_once_it_is_left_unchanged() {
    let watched = Watched::start();
    let _toucher = Toucher::of(watched.file.clone());
    watched.tree.write("lock", "after");
    std::thread::sleep(Duration::from_secs(1));
    age(&watched.file);
    let before = watched.jobs(1);
    watched.server.post(&format!("{}/trigger", watched.sync), &json!({})).is(200);
    watched.jobs(before + 1);
    let letters = watched.server.post(&format!("{}/dlq", watched.sync), &json!({})).is(200);
    assert_eq!(letters["total"], 0, "{letters}");
    let got = watched.server.home.run(&["get", "tree/lock"]).exits(0).stdout();
    assert_eq!(got, "after");
}
