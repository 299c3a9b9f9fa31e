//! What is delivered of an event: none, one or several messages, named as the public API names its
//! events.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::store::events::Event;

/// Ids that one message names at most.
const NAMED: usize = 10;

/// A message of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    /// The same however often it is delivered.
    pub(super) event_id: String,
    /// Its type, see [`crate::model::EVENT_TYPES`].
    pub(super) event_type: &'static str,
    /// When it happened.
    pub(super) created_at: Timestamp,
    /// Where.
    pub(super) namespace_id: Option<String>,
    /// `{bucket_id, sync_config_id, job_id, collection_id, batch_id, count, ids, …}`, as far as
    /// each applies.
    pub(super) data: Map<String, Value>,
    /// Whether events before it are no longer kept.
    pub(super) events_lost: bool,
}

impl Message {
    /// The JSON that is sent.
    pub(super) fn body(&self) -> String {
        let mut body = json!({
            "event_id": self.event_id,
            "event_type": self.event_type,
            "created_at": self.created_at,
            "namespace_id": self.namespace_id,
            "data": self.data,
        });
        if self.events_lost {
            body["events_lost"] = true.into();
        }
        body.to_string()
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let named = |name: &str| self.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut line = self.event_type.to_owned();
        if let Some(count) = self.data.get("count") {
            line.push_str(&format!(": {count}"));
        }
        for name in ["status", "collection_id", "bucket_id", "sync_config_id"] {
            if !named(name).is_empty() {
                line.push_str(&format!(", {name} {}", named(name)));
            }
        }
        line
    }
}

/// The messages of an event for a channel that is for these types.
pub(super) fn of(
    event: &Event,
    event_types: &[String],
    resource_types: Option<&[String]>,
) -> Vec<Message> {
    let is_wanted = |name: &str| {
        let resource = name.split('.').next().unwrap_or_default();
        let kinds = [resource, resource.trim_end_matches('s')];
        event_types.iter().any(|wanted| wanted == name)
            && resource_types.is_none_or(|types| {
                types.is_empty() || types.iter().any(|kind| kinds.contains(&kind.as_str()))
            })
    };
    let Some(event_type) = type_of(event).filter(|name| is_wanted(name)) else { return Vec::new() };
    let message = |data: Map<String, Value>, part: Option<usize>| Message {
        event_id: match part {
            None => format!("evt_{:016}", event.key),
            Some(part) => format!("evt_{:016}_{part}", event.key),
        },
        event_type,
        created_at: event.at,
        namespace_id: event.namespace_id.clone(),
        data,
        events_lost: false,
    };
    match event.detail.get("collection_ids").and_then(Value::as_array) {
        // One for each collection.
        Some(collections) => (0..)
            .zip(collections)
            .map(|(part, collection)| {
                let mut data = data_of(event);
                data.insert("collection_id".to_owned(), collection.clone());
                message(data, Some(part))
            })
            .collect(),
        None => vec![message(data_of(event), None)],
    }
}

/// How the public API calls what happened, if it knows it.
fn type_of(event: &Event) -> Option<&'static str> {
    let word = |name: &str| event.detail.get(name).and_then(Value::as_str);
    let is_one = event.detail.get("count").and_then(Value::as_u64) == Some(1);
    Some(match event.kind.as_str() {
        "objects.added" if is_one && event.job_id.is_none() => "object.created",
        "objects.added" => "objects.created.batch",
        "objects.updated" => "object.updated",
        "objects.removed" => "object.deleted",
        "documents.written" => match (word("by_hand"), is_one) {
            (None, _) => "collection.documents.written",
            (Some("created"), _) => "document.created",
            (Some("deleted"), true) => "document.deleted",
            (Some("deleted"), false) => "documents.deleted.batch",
            (Some(_), true) => "document.updated",
            (Some(_), false) => "documents.updated.batch",
        },
        "collection.changed" => match word("change")? {
            "created" => "collection.created",
            "deleted" => "collection.deleted",
            _ => "collection.updated",
        },
        "batch.finished" => "collection.documents.batch_completed",
        _ => return None,
    })
}

fn data_of(event: &Event) -> Map<String, Value> {
    let detail = |name: &str| event.detail.get(name).cloned();
    let ids = detail("document_ids").or_else(|| detail("object_ids")).map(|ids| match ids {
        Value::Array(ids) => ids.into_iter().take(NAMED).collect(),
        other => other,
    });
    let all = [
        ("bucket_id", event.bucket_id.clone().map(Value::from)),
        ("sync_config_id", event.sync_id.clone().map(Value::from)),
        ("job_id", event.job_id.clone().map(Value::from)),
        ("collection_id", detail("collection_id")),
        ("collection_name", detail("name")),
        ("batch_id", detail("batch_id")),
        ("status", detail("status")),
        ("count", detail("count").or_else(|| detail("objects"))),
        ("ids", ids),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn event(kind: &str, job_id: Option<&str>, detail: Value) -> Event {
        Event {
            key: 7,
            at: Timestamp::UNIX_EPOCH,
            kind: kind.to_owned(),
            bucket_id: Some("bkt_1".to_owned()),
            sync_id: None,
            job_id: job_id.map(str::to_owned),
            namespace_id: Some("ns_1".to_owned()),
            detail,
        }
    }

    fn types(event: &Event) -> Vec<&'static str> {
        let all: Vec<String> =
            crate::model::EVENT_TYPES.iter().map(|name| (*name).to_owned()).collect();
        of(event, &all, None).iter().map(|message| message.event_type).collect()
    }

    #[test]
    fn what_a_person_does_to_one_object_and_what_a_sync_brings_have_types_of_their_own() {
        let one = json!({"count": 1, "object_ids": ["obj_1"]});
        assert_eq!(types(&event("objects.added", None, one.clone())), ["object.created"]);
        assert_eq!(types(&event("objects.added", Some("job_1"), one)), ["objects.created.batch"]);
        let many = json!({"count": 3, "by_hand": "deleted"});
        assert_eq!(types(&event("documents.written", None, many)), ["documents.deleted.batch"]);
        assert!(types(&event("job.started", Some("job_1"), json!({}))).is_empty());
    }

    #[test]
    fn the_end_of_a_batch_is_reported_for_each_collection_under_an_id_of_its_own() {
        let detail = json!({"batch_id": "btch_1", "collection_ids": ["col_1", "col_2"]});
        let told = of(
            &event("batch.finished", None, detail),
            &["collection.documents.batch_completed".to_owned()],
            Some(&["collection".to_owned()]),
        );
        assert_eq!(told.len(), 2);
        assert_eq!(told[1].data["collection_id"], "col_2");
        assert_ne!(told[0].event_id, told[1].event_id);
    }

    #[test]
    fn a_message_names_ten_ids_at_most() {
        let ids: Vec<String> = (0..100).map(|number| format!("obj_{number}")).collect();
        let event = event("objects.updated", None, json!({"count": 100, "object_ids": ids}));
        assert_eq!(data_of(&event)["ids"].as_array().unwrap().len(), 10);
    }
}
