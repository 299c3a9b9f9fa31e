//! `/docs`: the API's description as a page to read, made from the same document.

use std::fmt::Write as _;

use serde_json::Value;

use super::html::escape;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page.
pub(super) fn page(document: &Value) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <title>Catchment API</title><meta name=\"viewport\" content=\"width=device-width\">\
         <link rel=\"stylesheet\" href=\"/style.css\"><main class=\"docs\">\
         <h1>Catchment API {}</h1><p>{}</p><p>Send the token (<code>catchment token</code> shows it) \
         as <code>Authorization: Bearer TOKEN</code>. The namespace is the default one unless \
         <code>X-Namespace</code> names another. For programs: \
         <a href=\"/openapi.json\">openapi.json</a>.</p>",
        text(&document["info"]["version"]),
        text(&document["info"]["description"]),
    );
    contents(document, &mut page);
    for tag in tags(document) {
        let name = text(&tag["name"]);
        let _ = write!(page, "<h2 id=\"{name}\">{name}</h2><p>{}</p>", text(&tag["description"]));
        for (path, method, operation) in operations(document, &tag["name"]) {
            describe(path, method, operation, &mut page);
        }
    }
    page.push_str("<h2 id=\"models\">Models</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        model(name, schema, &mut page);
    }
    page.push_str("</main></html>");
    page
}

fn contents(document: &Value, page: &mut String) {
    page.push_str("<nav><ul>");
    for tag in tags(document) {
        let name = text(&tag["name"]);
        let _ = write!(page, "<li><a href=\"#{name}\">{name}</a></li>");
    }
    page.push_str("<li><a href=\"#models\">Models</a></li></ul></nav>");
}

/// The tags that have operations.
fn tags(document: &Value) -> impl Iterator<Item = &Value> {
    let all = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|tag| operations(document, &tag["name"]).next().is_some())
}

fn operations<'a>(
    document: &'a Value,
    tag: &'a Value,
) -> impl Iterator<Item = (&'a String, &'static str, &'a Value)> {
    entries(&document["paths"])
        .flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| Some((path, method, item.get(method)?)))
        })
        .filter(move |(_, _, operation)| {
            operation["tags"].as_array().is_some_and(|tags| tags.contains(tag))
        })
}

fn describe(path: &str, method: &str, operation: &Value, page: &mut String) {
    let id = text(&operation["operationId"]);
    let _ = write!(
        page,
        "<section id=\"{id}\"><h3><code>{} {}</code> {}</h3>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
    );
    if operation["description"].is_string() {
        let _ = write!(page, "<p>{}</p>", text(&operation["description"]));
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>");
        for parameter in parameters {
            let _ = write!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                text(&parameter["name"]),
                text(&parameter["in"]),
                kind(&parameter["schema"]),
                text(&parameter["description"]),
            );
        }
        page.push_str("</table>");
    }
    for (_, content) in entries(&operation["requestBody"]["content"]) {
        let _ = write!(page, "<p>Body: {}</p>", kind(&content["schema"]));
    }
    for (status, response) in entries(&operation["responses"]) {
        for (media, content) in entries(&response["content"]) {
            let _ = write!(
                page,
                "<p>{}: {} <small>{}</small></p>",
                escape(status),
                kind(&content["schema"]),
                escape(media)
            );
        }
    }
    page.push_str("</section>");
}

fn model(name: &str, schema: &Value, page: &mut String) {
    let name = escape(name);
    let _ = write!(page, "<section id=\"model-{name}\"><h3>{name}</h3>");
    if schema["description"].is_string() {
        let _ = write!(page, "<p>{}</p>", text(&schema["description"]));
    }
    if schema["properties"].is_object() {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        page.push_str("<table><tr><th>Field</th><th>Type</th><th></th></tr>");
        for (field, property) in entries(&schema["properties"]) {
            let mark = if required.iter().any(|name| name == field) { " *" } else { "" };
            let _ = write!(
                page,
                "<tr><td><code>{}</code>{mark}</td><td>{}</td><td>{}</td></tr>",
                escape(field),
                kind(property),
                text(&property["description"]),
            );
        }
        page.push_str("</table>");
    } else {
        let _ = write!(page, "<p>{}</p>", kind(schema));
    }
    page.push_str("</section>");
}

/// A schema in a few words, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#model-{name}\">{name}</a>");
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(branches) = schema[choice].as_array() {
            return branches.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(options) = schema["enum"].as_array() {
        return options.iter().map(text).collect::<Vec<_>>().join(", ");
    }
    let mut words = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::Null => "anything".to_owned(),
        one => text(one),
    };
    if schema["items"].is_object() {
        let _ = write!(words, " of {}", kind(&schema["items"]));
    }
    for limit in ["format", "minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern"] {
        if !schema[limit].is_null() {
            let _ = write!(words, ", {limit} {}", text(&schema[limit]));
        }
    }
    words
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    }
}
