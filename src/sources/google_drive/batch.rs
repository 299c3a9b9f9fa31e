//! Many requests in one
//! (<https://developers.google.com/workspace/drive/api/guides/performance#batch-requests>).

use http::header;

use super::{
    api::{Api, units},
    refusal::Subject,
};
use crate::sources::{SourceError, http::headers::text_of};

/// Most requests of a batch.
pub(super) const MOST: usize = 100;

const BOUNDARY: &str = "catchment-batch";

/// What one request of a batch has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Api {
    /// Asks for paths below the host, at most [`MOST`], which are about these files; returns what
    /// each has come to, in order. The headers of the whole hold for each request in it.
    pub(super) async fn batch(
        &self,
        paths: &[String],
        ids: &[&str],
    ) -> Result<Vec<Part>, SourceError> {
        let mut body = String::new();
        for (number, path) in paths.iter().enumerate() {
            body.push_str(&format!(
                "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <item-{number}>\r\n\
                 \r\nGET {path} HTTP/1.1\r\n\r\n"
            ));
        }
        body.push_str(&format!("--{BOUNDARY}--\r\n"));
        let units = units::GET.saturating_mul(u32::try_from(paths.len()).unwrap_or(u32::MAX));
        let call = self
            .call(Subject::Root, units, "/batch/drive/v3", &[])
            .header(header::CONTENT_TYPE, &format!("multipart/mixed; boundary={BOUNDARY}"))
            .post(body);
        let call = self.with_keys(call, ids.iter().copied());
        let (headers, body) = self.whole(call).await?;
        let kind = text_of(&headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let parts = parts(kind, &String::from_utf8_lossy(&body), paths.len());
        parts.ok_or_else(|| SourceError::Garbled {
            message: "Google's response to a batch lacks the response to some request".to_owned(),
        })
    }
}

/// The parts of a response to `count` requests, in the order of the requests; `None` if one is
/// missing.
fn parts(content_type: &str, body: &str, count: usize) -> Option<Vec<Part>> {
    let boundary =
        content_type.split("boundary=").nth(1)?.split(';').next()?.trim().trim_matches('"');
    let mut found: Vec<Option<Part>> = vec![None; count];
    for part in body.split(&format!("--{boundary}")).skip(1) {
        let part = part.replace("\r\n", "\n");
        let Some((headers, inner)) = part.split_once("\n\n") else { continue };
        let number = headers
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-id:"))
            .and_then(|line| line.rsplit('-').next()?.trim_end_matches('>').parse::<usize>().ok());
        let (head, body) = inner.split_once("\n\n").unwrap_or((inner, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        if let (Some(number), Some(status)) = (number, status)
            && let Some(place) = found.get_mut(number)
        {
            *place = Some(Part { status, body: body.trim().to_owned() });
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(parts: &[(usize, u16, &str)]) -> String {
        let parts = parts.iter().map(|(number, status, body)| {
            format!(
                "--b_1\r\nContent-Type: application/http\r\nContent-ID: <response-item-{number}>\r\n\
                 \r\nHTTP/1.1 {status} Some Words\r\nContent-Type: application/json\r\n\r\n{body}\r\n"
            )
        });
        parts.collect::<String>() + "--b_1--"
    }

    #[test]
    fn responses_are_matched_to_requests_by_their_ids_in_any_order() {
        let body = response(&[(1, 404, "{}"), (0, 200, "{\"id\":\"x\"}")]);
        let found = parts("multipart/mixed; boundary=b_1", &body, 2).unwrap_or_default();
        assert_eq!(found.iter().map(|part| part.status).collect::<Vec<_>>(), [200, 404]);
        assert_eq!(found[0].body, "{\"id\":\"x\"}");
    }

    #[test]
    fn a_request_without_a_response_makes_the_batch_garbled() {
        let body = response(&[(0, 200, "{}")]);
        assert_eq!(parts("multipart/mixed; boundary=b_1", &body, 2), None);
        assert_eq!(parts("text/html", "<html>", 1), None);
    }
}
