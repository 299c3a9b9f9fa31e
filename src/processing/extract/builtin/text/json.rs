//! JSON: a line for each value, with the path to it. What is no JSON after all is text.

use serde_json::Value;

use super::{super::Stop, sections::Text};

pub(super) fn read(words: &str, text: &mut Text) -> Result<(), Stop> {
    let all: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_str(words).into_iter::<Value>().collect();
    let Ok(values) = all else { return text.add(words) };
    for value in &values {
        leaves(value, &mut String::new(), text)?;
        text.add("\n")?;
    }
    Ok(())
}

/// `a.b.0: value`, a line each.
fn leaves(value: &Value, path: &mut String, text: &mut Text) -> Result<(), Stop> {
    let before = path.len();
    let mut step = |name: &str, inner: &Value, text: &mut Text| {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        let done = leaves(inner, path, text);
        path.truncate(before);
        done
    };
    match value {
        Value::Object(map) => map.iter().try_for_each(|(name, inner)| step(name, inner, text)),
        Value::Array(items) => {
            let mut numbered = items.iter().enumerate();
            numbered.try_for_each(|(number, inner)| step(&number.to_string(), inner, text))
        }
        Value::Null => Ok(()),
        leaf => {
            let shown = leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned);
            match path.is_empty() {
                true => text.add(&format!("{shown}\n")),
                false => text.add(&format!("{path}: {shown}\n")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::split::SplitBy, *};

    fn read_all(words: &str) -> String {
        let mut text = Text::default();
        read(words, &mut text).unwrap();
        text.groups(SplitBy::None).remove(0).text
    }

    #[test]
    fn every_value_is_a_line_with_its_path() {
        assert_eq!(read_all(r#"{"a":{"b":["x",2]},"c":null}"#), "a.b.0: x\na.b.1: 2\n\n");
        assert_eq!(read_all("{\"a\":1}\n{\"a\":2}\n"), "a: 1\n\na: 2\n\n");
        assert_eq!(read_all("{broken"), "{broken");
    }
}
