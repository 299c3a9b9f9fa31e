//! Documents without bytes of their own: what they are exported to, and how the large ones are had.

use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    api::{Api, units},
    refusal::Subject,
};
use crate::{
    model::Version,
    sources::{SourceError, provider::ProviderFilterError},
};

/// What Google's own kinds of files begin with.
pub(super) const GOOGLE_APPS: &str = "application/vnd.google-apps.";

/// A folder.
pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";

/// A link to a file or folder elsewhere.
pub(super) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

/// How often a prepared download is looked at, and for how long.
const POLL: Duration = Duration::from_secs(2);
const PREPARED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// A format that documents are exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) extension: &'static str,
    pub(super) mime: &'static str,
}

/// <https://developers.google.com/workspace/drive/api/guides/ref-export-formats>
const FORMATS: &[Format] = &[
    format("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    format("odt", "application/vnd.oasis.opendocument.text"),
    format("rtf", "application/rtf"),
    format("pdf", "application/pdf"),
    format("txt", "text/plain"),
    format("zip", "application/zip"),
    format("epub", "application/epub+zip"),
    format("md", "text/markdown"),
    format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    format("ods", "application/x-vnd.oasis.opendocument.spreadsheet"),
    format("csv", "text/csv"),
    format("tsv", "text/tab-separated-values"),
    format("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    format("odp", "application/vnd.oasis.opendocument.presentation"),
    format("jpg", "image/jpeg"),
    format("png", "image/png"),
    format("svg", "image/svg+xml"),
    format("json", "application/vnd.google-apps.script+json"),
    format("mp4", "video/mp4"),
];

/// The kinds of documents that can be exported: what to, unless somebody chooses, and what else.
const KINDS: &[(&str, &[&str])] = &[
    ("document", &["docx", "odt", "rtf", "pdf", "txt", "zip", "epub", "md"]),
    ("spreadsheet", &["xlsx", "ods", "pdf", "zip", "csv", "tsv"]),
    ("presentation", &["pptx", "odp", "pdf", "txt", "jpg", "png", "svg"]),
    ("drawing", &["svg", "pdf", "jpg", "png"]),
    ("script", &["json"]),
    ("vid", &["mp4"]),
];

/// What `export_formats` takes.
const ACCEPTED: &str = "an object of MIME types and extensions, as in {\"application/vnd.google-apps.document\": \"pdf\"}";

impl Format {
    /// The format in the version of an exported document.
    pub(super) fn of_version(version: &Version) -> Option<Self> {
        let text = str::from_utf8(&version.0).ok()?;
        let extension = text.strip_prefix("export ")?.split(' ').next()?;
        FORMATS.iter().find(|format| format.extension == extension).copied()
    }
}

const fn format(extension: &'static str, mime: &'static str) -> Format {
    Format { extension, mime }
}

/// The formats that documents are exported to, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats(Vec<(&'static str, &'static str)>);

impl Formats {
    /// Reads `export_formats`.
    ///
    /// # Errors
    /// Every value that is wrong.
    pub(super) fn read(chosen: Option<&Value>) -> Result<Self, Vec<ProviderFilterError>> {
        let wrong = |field: &str, value: &Value, problem: &str| {
            ProviderFilterError::wrong_value(field, value, problem, ACCEPTED)
        };
        let empty = Map::new();
        let chosen = match chosen {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(chosen)) => chosen,
            Some(other) => return Err(vec![wrong("export_formats", other, "is not an object")]),
        };
        let (mut formats, mut problems) = (Vec::new(), Vec::new());
        for (mime, extension) in chosen {
            let field = format!("export_formats.{mime}");
            let kind = mime.strip_prefix(GOOGLE_APPS).unwrap_or_default();
            let Some((kind, known)) = KINDS.iter().find(|(name, _)| *name == kind) else {
                problems.push(wrong(&field, extension, "is of a kind that cannot be exported"));
                continue;
            };
            match known.iter().find(|known| *extension == **known) {
                Some(extension) => formats.push((*kind, *extension)),
                None => {
                    let problem = format!("is none of {}", known.join(", "));
                    problems.push(wrong(&field, extension, &problem));
                }
            }
        }
        if problems.is_empty() { Ok(Self(formats)) } else { Err(problems) }
    }

    /// The format of a document of that MIME type; `None` where it cannot be exported.
    pub(super) fn of(&self, mime: &str) -> Option<Format> {
        let kind = mime.strip_prefix(GOOGLE_APPS)?;
        let (_, known) = KINDS.iter().find(|(name, _)| *name == kind)?;
        let chosen = self.0.iter().find(|(name, _)| *name == kind).map(|(_, extension)| *extension);
        let extension = chosen.or_else(|| known.first().copied())?;
        FORMATS.iter().find(|format| format.extension == extension).copied()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Links {
    export_links: Map<String, Value>,
}

/// A long-running operation
/// (<https://developers.google.com/workspace/drive/api/reference/rest/v3/operations>).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Operation {
    name: String,
    done: bool,
    error: Option<Value>,
    response: Prepared,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Prepared {
    download_uri: String,
}

impl Api {
    /// Opens a document in a format. Beyond 10 MB Google refuses to export; then the document's own
    /// link is tried, and after that a prepared download.
    pub(super) async fn export(
        &self,
        id: &str,
        format: Format,
    ) -> Result<Response<Incoming>, SourceError> {
        let path = format!("/drive/v3/files/{id}/export");
        let call = self.call(Subject::File, units::DOWNLOAD, &path, &[("mimeType", format.mime)]);
        let too_large = match self.open(self.with_keys(call, [id])).await {
            Err(error @ SourceError::TooLarge { .. }) => error,
            outcome => return outcome,
        };
        match self.export_by_link(id, format).await {
            Ok(Some(response)) => return Ok(response),
            Err(error) if error.class().ends_run() => return Err(error),
            Ok(None) | Err(_) => {}
        }
        match self.prepare_download(id, format).await {
            Ok(Some(response)) => Ok(response),
            Err(error) if error.class().ends_run() => Err(error),
            Ok(None) | Err(_) => Err(too_large),
        }
    }

    async fn export_by_link(
        &self,
        id: &str,
        format: Format,
    ) -> Result<Option<Response<Incoming>>, SourceError> {
        let query = [("fields", "exportLinks"), ("supportsAllDrives", "true")];
        let path = format!("/drive/v3/files/{id}");
        let call = self.call(Subject::File, units::GET, &path, &query);
        let links: Links = self.json(self.with_keys(call, [id])).await?;
        match links.export_links.get(format.mime).and_then(Value::as_str) {
            Some(link) => self.open(self.link(link)?).await.map(Some),
            None => Ok(None),
        }
    }

    /// See <https://developers.google.com/workspace/drive/api/guides/long-running-operations>.
    async fn prepare_download(
        &self,
        id: &str,
        format: Format,
    ) -> Result<Option<Response<Incoming>>, SourceError> {
        let path = format!("/drive/v3/files/{id}/download");
        let call = self.call(Subject::File, units::GET, &path, &[("mimeType", format.mime)]);
        let call = self.with_keys(call, [id]);
        let mut operation: Operation = self.json(call.post(Vec::new())).await?;
        let began = tokio::time::Instant::now();
        while !operation.done {
            if began.elapsed() > PREPARED_WITHIN {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
            let path = format!("/drive/v3/operations/{}", operation.name);
            operation = self.json(self.call(Subject::File, units::GET, &path, &[])).await?;
        }
        match (operation.error, operation.response.download_uri.as_str()) {
            (None, uri) if !uri.is_empty() => self.open(self.link(uri)?).await.map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn documents_have_a_format_each_unless_somebody_chooses_another() {
        let usual = Formats::read(None).unwrap();
        let extension = |formats: &Formats, kind: &str| {
            formats.of(&format!("{GOOGLE_APPS}{kind}")).map(|format| format.extension)
        };
        for (kind, expected) in [
            ("document", "docx"),
            ("spreadsheet", "xlsx"),
            ("presentation", "pptx"),
            ("drawing", "svg"),
            ("script", "json"),
        ] {
            assert_eq!(extension(&usual, kind), Some(expected));
        }
        for kind in ["form", "site", "map", "folder"] {
            assert_eq!(extension(&usual, kind), None, "{kind}");
        }
        let chosen = json!({ "application/vnd.google-apps.document": "pdf" });
        assert_eq!(extension(&Formats::read(Some(&chosen)).unwrap(), "document"), Some("pdf"));
    }

    #[test]
    fn every_format_that_a_kind_has_is_known() {
        for extension in KINDS.iter().flat_map(|(_, known)| *known) {
            assert!(FORMATS.iter().any(|format| format.extension == *extension), "{extension}");
        }
    }

    #[test]
    fn a_format_that_a_kind_cannot_have_is_refused_with_those_that_it_can() {
        for wrong in [
            json!("pdf"),
            json!({ "application/vnd.google-apps.form": "pdf" }),
            json!({ "application/vnd.google-apps.script": "pdf" }),
            json!({ "text/plain": "pdf" }),
        ] {
            let problems = Formats::read(Some(&wrong)).unwrap_err();
            assert!(problems[0].to_string().starts_with("provider_filters.export_formats"));
        }
    }
}
