//! Text in HTML, and pages that stand alone.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::headers;

/// A page of its own with that body, which is HTML. It moves on to the address `next` by itself.
pub(super) fn page(status: StatusCode, next: Option<&str>, body: &str) -> Response {
    let moves_on = next
        .map(|next| format!("<meta http-equiv=\"refresh\" content=\"1; url={}\">", escape(next)));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Catchment</title>\
         <meta name=\"viewport\" content=\"width=device-width\">{}\
         <link rel=\"stylesheet\" href=\"/style.css\"><main><h1>Catchment</h1>{body}</main></html>",
        moves_on.unwrap_or_default()
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, headers::PAGE),
    ];
    (status, headers, page).into_response()
}

/// `text` as it can appear between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
