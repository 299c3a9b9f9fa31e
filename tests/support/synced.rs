//! A sync of a provider that knows files by ids, made and looked at through the API.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::catchment::{Catchment, poll_until},
};

/// No run of these tests takes longer, on a slow and busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Where the syncs of the bucket are.
pub const SYNCS: &str = "/v1/buckets/drive/syncs";

/// An object, as far as these tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: String,
    /// Its path.
    pub path: String,
    /// Its bytes, as text.
    pub content: String,
}

/// A sync of a place, made through the API of a server.
pub struct Fixture {
    /// The server that runs it.
    pub server: Server,
    /// Where it is.
    pub sync: String,
}

impl Fixture {
    /// A sync that has not run yet, on a server of its own.
    pub fn made(home: &Catchment, provider: &str, credentials: &Value, place: &str) -> Self {
        Self::ordered(home, provider, credentials, &json!({ "source_path": place }))
    }

    /// A sync with further settings that has not run yet, on a server of its own. The bucket's
    /// objects may have a `campaign`.
    pub fn ordered(
        home: &Catchment,
        provider: &str,
        credentials: &Value,
        settings: &Value,
    ) -> Self {
        let server = Server::on(home);
        let connection = json!({
            "name": "Work", "provider_type": provider,
            "provider_config": { "credentials": credentials },
        });
        let made = server.post("/v1/organizations/connections", &connection).is(200);
        let schema = json!({ "properties": {
            "content": { "type": "text" }, "campaign": { "type": "string" },
        } });
        let bucket = json!({ "bucket_name": "drive", "bucket_schema": schema });
        server.post("/v1/buckets", &bucket).is(200);
        let mut order = json!({ "connection_id": made["connection_id"], "status": "SUSPENDED" });
        order.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let made = server.post(SYNCS, &order).is(200);
        let sync = format!("{SYNCS}/{}", made["sync_config_id"].as_str().unwrap());
        Self { server, sync }
    }

    /// Its objects as the API returns them, by path.
    pub fn models(&self) -> BTreeMap<String, Value> {
        let all = "/v1/buckets/drive/objects/list?limit=1000";
        let list = self.server.post(all, &json!({})).is(200);
        let objects = list["results"].as_array().unwrap().iter();
        objects
            .map(|object| (object["key_prefix"].as_str().unwrap().to_owned(), object.clone()))
            .collect()
    }

    /// What the API says of it.
    pub fn status(&self) -> Value {
        self.server.get(&self.sync).is(200)
    }

    /// Begins a run.
    pub fn begin(&self) {
        let order = if self.status()["status"] == "SUSPENDED" { "resume" } else { "trigger" };
        self.server.post(&format!("{}/{order}", self.sync), &json!({})).is(200);
    }

    /// Makes a run and returns its job.
    pub fn run(&self) -> Value {
        let before = self.jobs().len();
        self.begin();
        self.job_after(before)
    }

    /// The newest job, once there are more than `before` and all have ended.
    pub fn job_after(&self, before: usize) -> Value {
        poll_until("the job", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(20));
            let jobs = self.jobs();
            let over = jobs.iter().all(|job| job["status"] != "running");
            (jobs.len() > before && over).then(|| jobs[0].clone())
        })
    }

    /// Its jobs, newest first.
    pub fn jobs(&self) -> Vec<Value> {
        let list = self.server.post(&format!("{}/jobs", self.sync), &json!({})).is(200);
        list["results"].as_array().unwrap().clone()
    }

    /// The objects by the ids of their files.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        let all = "/v1/buckets/drive/objects/list?limit=1000";
        let list = self.server.post(all, &json!({})).is(200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let objects = list["results"].as_array().unwrap().iter();
        objects
            .map(|object| {
                let url = text(&object["blobs"][0]["properties"]["url"]);
                let at = url.split_once("/v1/").map(|(_, path)| format!("/v1/{path}")).unwrap();
                let answer = self.server.get(&at);
                assert_eq!(answer.status, 200);
                let found = Object {
                    id: text(&object["object_id"]),
                    path: text(&object["key_prefix"]),
                    content: answer.text(),
                };
                (text(&object["source"]["source_object_id"]), found)
            })
            .collect()
    }

    /// The bytes of the object at that path.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let url = self.models()[path]["blobs"][0]["properties"]["url"].clone();
        let at = url.as_str().unwrap().split_once("/v1/").unwrap().1.to_owned();
        let answer = self.server.get(&format!("/v1/{at}"));
        assert_eq!(answer.status, 200);
        answer.body
    }

    /// The paths of its objects, in order.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.objects().into_values().map(|of| of.path).collect();
        paths.sort();
        paths
    }

    /// The open dead letters: path and kind of error.
    pub fn letters(&self) -> Vec<(String, String)> {
        let list = self.server.post(&format!("{}/dlq", self.sync), &json!({})).is(200);
        let letters = list["results"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        letters.map(|one| (text(&one["source_path"]), text(&one["error_type"]))).collect()
    }
}
