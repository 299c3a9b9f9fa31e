//! A bucket that a sync of a folder fills, which runs when the test says so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        trees::Tree,
    },
};

/// No run of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The bucket `films` with a sync of a folder into it.
pub struct FolderSync {
    /// What serves it.
    pub server: Server,
    /// The folder.
    pub tree: Tree,
    /// Where the sync is found.
    pub path: String,
}

impl FolderSync {
    /// A bucket with these settings besides, and a sync with these; synced once.
    pub fn of(tree: Tree, bucket: Value, more: Value) -> Self {
        Self::on(Server::on(&Catchment::new()), tree, bucket, more)
    }

    /// The same on that server.
    pub fn on(server: Server, tree: Tree, mut bucket: Value, more: Value) -> Self {
        bucket["bucket_name"] = "films".into();
        if bucket["bucket_schema"].is_null() {
            bucket["bucket_schema"] = json!({ "properties": {} });
        }
        server.post("/v1/buckets", &bucket).is(200);
        // Runs are ordered: none begins by itself.
        let mut order = json!({
            "connection_id": "conn_local", "source_path": tree.root(), "sync_mode": "initial_only",
        });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = server.post("/v1/buckets/films/syncs", &order).is(200);
        let path = format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap());
        let sync = Self { server, tree, path };
        sync.completed(1);
        sync
    }

    /// Runs it once more, and waits for the end of that.
    pub fn run(&self) -> Value {
        self.run_with("")
    }

    /// The same with a query.
    pub fn run_with(&self, query: &str) -> Value {
        let before = self.jobs().len();
        self.server.post(&format!("{}/trigger{query}", self.path), &json!({})).is(200);
        self.completed(before + 1)
    }

    /// Waits until so many jobs have ended; the newest of them.
    fn completed(&self, count: usize) -> Value {
        poll_until("the end of the run", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(20));
            let jobs = self.jobs();
            let is_over = jobs.len() >= count && jobs.iter().all(|job| job["status"] != "running");
            is_over.then(|| jobs[0].clone())
        })
    }

    /// Its jobs, the newest first.
    pub fn jobs(&self) -> Vec<Value> {
        let list = self.server.post(&format!("{}/jobs", self.path), &json!({})).is(200);
        list["results"].as_array().unwrap().clone()
    }

    /// The sync as it stands.
    pub fn now(&self) -> Value {
        self.server.get(&self.path).is(200)
    }

    /// The bucket.
    pub fn bucket(&self) -> Value {
        self.server.get("/v1/buckets/films").is(200)
    }

    /// What a list of objects says.
    pub fn listed(&self, what: &str, body: Value) -> Vec<Value> {
        let list = self.server.post(&format!("/v1/buckets/films/objects/{what}"), &body).is(200);
        list["results"].as_array().unwrap().clone()
    }

    /// The object of that path, if the bucket shows one.
    pub fn object(&self, path: &str) -> Option<Value> {
        self.listed("list", json!({ "filters": { "key_prefix": path } })).pop()
    }

    /// The paths of all objects, sorted.
    pub fn paths(&self) -> Vec<String> {
        paths(&self.listed("list", json!({ "sort": { "field": "key_prefix" } })))
    }

    /// The bytes of an object.
    pub fn content(&self, object: &Value) -> String {
        let url = object["blobs"][0]["properties"]["url"].as_str().unwrap();
        let (_, path) = url.split_once("/v1").unwrap();
        self.server.get(&format!("/v1{path}")).text()
    }
}

/// The address of an object.
pub fn address(object: &Value) -> String {
    format!("/v1/buckets/films/objects/{}", object["object_id"].as_str().unwrap())
}

/// The paths of objects, as they come.
pub fn paths(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| object["key_prefix"].as_str().unwrap().to_owned()).collect()
}
