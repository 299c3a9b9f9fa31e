//! What goes in and what it goes through, as 128 bits each: the same digest, the same documents.

use serde_json::Value;

use super::{
    extract::Extractor,
    job::{InputPlan, JobPlan},
};
use crate::{model::ExtractorSettings, store::processing::Digest};

/// The digest of a recipe: the extractor, its version, its parameters, and what the owner wrote.
pub fn recipe(extractor: &Extractor, settings: &ExtractorSettings) -> Digest {
    let mut hasher = Hasher::default();
    hasher.text(&extractor.name).text(&extractor.version);
    let mut parameters = settings.parameters.clone().unwrap_or_default();
    // The client says it to itself: it changes nothing.
    parameters.remove("extractor_type");
    hasher.value(&Value::Object(parameters));
    if let Some(definition) = &extractor.definition {
        hasher.bytes(definition);
    }
    hasher.finish()
}

/// The digest of what goes in.
pub(super) fn input(jobs: &[JobPlan]) -> Digest {
    let mut hasher = Hasher::default();
    for job in jobs {
        hasher.text("job");
        for (name, input) in &job.inputs {
            hasher.text(name);
            match input {
                InputPlan::Blob(blob) => hasher.text("blob").bytes(blob.hash.as_bytes()),
                InputPlan::Value(value) => hasher.text("value").value(value),
            };
        }
        if let Some(upstream) = &job.upstream {
            hasher.text("upstream").value(&upstream.body);
        }
    }
    hasher.finish()
}

#[derive(Default)]
struct Hasher(blake3::Hasher);

impl Hasher {
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Each piece with its length before it, so that none can pass for two.
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        self
    }

    /// The keys of objects in order, whatever order they came in.
    fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                self.text("{");
                for key in keys {
                    self.text(key).value(&map[key]);
                }
                self.text("}")
            }
            Value::Array(items) => {
                self.text("[");
                for item in items {
                    self.value(item);
                }
                self.text("]")
            }
            Value::String(text) => self.text("\"").text(text),
            other => self.text(&other.to_string()),
        }
    }

    fn finish(&self) -> Digest {
        let mut digest = [0; 16];
        digest.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        digest
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> Digest {
        Hasher::default().value(value).finish()
    }

    #[test]
    fn the_order_of_keys_does_not_count_and_everything_else_does() {
        assert_eq!(of(&json!({"a": 1, "b": 2})), of(&json!({"b": 2, "a": 1})));
        assert_ne!(of(&json!({"a": "1"})), of(&json!({"a": 1})));
        assert_ne!(of(&json!(["a", "b"])), of(&json!(["ab"])));
        assert_ne!(of(&json!({"a": {"b": 1}})), of(&json!({"a": {}, "b": 1})));
    }
}
