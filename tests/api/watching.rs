//! Folders of which the system does not notify, because its limits are reached.

use std::{
    process::{Command, Stdio},
    time::Duration,
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
