//! A service of the owner's, reached by HTTP: it is sent what an extractor is given, and what it
//! responds becomes documents and vectors.
//!
//! `catchment` is the protocol itself: the line is the body of the request, and the response is
//! lines. The others are shapes that many servers of models speak:
//! <https://platform.openai.com/docs/api-reference>. A service runs where it runs: it is not
//! confined, and what it returns is read with limits. Redirects are not followed.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{Read as _, Seek as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Class, Extracted, Failure, Given, Job,
    gather::{Gathering, OBJECT_BYTES},
    protocol::{FileFacts, FileInput, FilePlace, Input, Output, Request, VectorOutput},
};
use crate::sources::http::post::{Post, PostError, Posted, Poster};

/// The largest input that is sent whole.
const SENT_BYTES: u64 = OBJECT_BYTES;
/// Inputs up to this size are part of a line, larger ones a link.
const INLINE_BYTES: u64 = 64 * 1024;
/// The largest text that is sent as one.
const TEXT_BYTES: u64 = 1024 * 1024;
/// The longest that a service may ask to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Lines of the protocol.
    Catchment,
    /// `POST /v1/embeddings`
    OpenaiEmbeddings,
    /// `POST /v1/chat/completions`
    OpenaiChat,
    /// `POST /v1/audio/transcriptions`
    OpenaiTranscription,
}

/// A service, as its definition says.
#[derive(Clone)]
pub(super) struct Service {
    /// The whole address.
    pub(super) url: Url,
    /// How it is spoken to.
    pub(super) format: Format,
    /// Headers of each request; their values are secret.
    pub(super) headers: HeaderMap,
    /// Fields that are merged into each request.
    pub(super) request: Map<String, Value>,
    /// The name of the vector that it makes.
    pub(super) vector: String,
    /// Where it reaches this server; `None`: where this server listens.
    pub(super) server: Option<Url>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Makes links to bytes that this server serves without a token.
pub trait Links: fmt::Debug + Send + Sync {
    /// The path and query of a link to a blob, for so long. `hash` is `blake3:` and its digits.
    fn link(&self, hash: &str, lasts: Duration) -> Option<String>;

    /// Where this server listens.
    fn base(&self) -> Url;
}

/// What a service is asked with.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) poster: &'a Poster,
    /// `None` where no server runs.
    pub(super) links: Option<&'a Arc<dyn Links>>,
    pub(super) timeout: Duration,
}

impl Service {
    /// Has one object extracted.
    ///
    /// # Errors
    /// What went wrong, by what to do about it.
    pub(super) async fn extract(&self, asking: Asking<'_>, job: Job) -> Result<Extracted, Failure> {
        match self.format {
            Format::Catchment => {
                let body = self.line(&asking, job)?;
                let posted = self.post(&asking, "application/json", body).await?;
                lines(&posted)
            }
            Format::OpenaiEmbeddings => {
                let text = text_of(&job)?.ok_or_else(no_text)?;
                let body = self.body(&job, json!({"input": text}));
                self.embedding(&self.post_json(&asking, body).await?)
            }
            Format::OpenaiChat => {
                let body = self.chat(&job)?;
                chat_document(&self.post_json(&asking, body).await?)
            }
            Format::OpenaiTranscription => {
                let (kind, body) = self.form(&job)?;
                let posted = self.post(&asking, &kind, body).await?;
                transcription(&posted)
            }
        }
    }

    /// `request` of the definition, then the parameters of the collection, then what the shape
    /// wants.
    fn body(&self, job: &Job, own: Value) -> Value {
        let mut body = self.request.clone();
        body.extend(job.parameters.clone());
        body.remove("extractor_type");
        if let Value::Object(own) = own {
            body.extend(own);
        }
        Value::Object(body)
    }

    async fn post_json(&self, asking: &Asking<'_>, body: Value) -> Result<Value, Failure> {
        let posted = self.post(asking, "application/json", body.to_string().into()).await?;
        serde_json::from_slice(&posted)
            .map_err(|error| permanent(format!("the service responded with no JSON: {error}")))
    }

    async fn post(&self, asking: &Asking<'_>, kind: &str, body: Bytes) -> Result<Bytes, Failure> {
        let mut headers = self.headers.clone();
        let kind = HeaderValue::from_str(kind).map_err(|error| permanent(error.to_string()))?;
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let post = Post {
            url: self.url.clone(),
            headers,
            body,
            timeout: asking.timeout,
            limit: usize::try_from(OBJECT_BYTES).unwrap_or(usize::MAX),
        };
        match asking.poster.send(post).await {
            Ok(posted) if posted.status.is_success() => Ok(posted.body),
            Ok(posted) => Err(refused(&posted)),
            Err(error) => Err(Failure::new(class_of(&error), error.to_string())),
        }
    }

    /// The line of the protocol, with links to what is large.
    fn line(&self, asking: &Asking<'_>, job: Job) -> Result<Bytes, Failure> {
        let mut inputs = BTreeMap::new();
        for (name, given) in job.inputs {
            let input = match given {
                Given::Value(value) => Input::Value(value),
                Given::File { file, facts } => {
                    let place = self.place(asking, file, &facts)?;
                    Input::File(FileInput { place, facts })
                }
            };
            inputs.insert(name, input);
        }
        let request = Request {
            run: job.run,
            object: job.object,
            inputs,
            parameters: job.parameters,
            scratch: PathBuf::new(),
        };
        let mut line =
            serde_json::to_vec(&request).map_err(|error| permanent(error.to_string()))?;
        line.push(b'\n');
        Ok(line.into())
    }

    fn place(
        &self,
        asking: &Asking<'_>,
        mut file: File,
        facts: &FileFacts,
    ) -> Result<FilePlace, Failure> {
        if facts.size_bytes <= INLINE_BYTES {
            let bytes = read(&mut file, INLINE_BYTES)?;
            return Ok(FilePlace::ContentBase64(BASE64_STANDARD.encode(bytes)));
        }
        let links = asking.links.ok_or_else(|| {
            Failure::new(
                Class::Unavailable,
                "the service fetches large files by links, which only a server gives: run \
                 `catchment serve`",
            )
        })?;
        let link = links
            .link(&facts.hash, asking.timeout)
            .ok_or_else(|| permanent("there is no link to its bytes"))?;
        let base = self.server.clone().unwrap_or_else(|| links.base());
        let url = base.join(&link).map_err(|error| permanent(error.to_string()))?;
        Ok(FilePlace::Url(url.to_string()))
    }

    fn embedding(&self, response: &Value) -> Result<Extracted, Failure> {
        let values = response["data"][0]["embedding"].clone();
        let values: Vec<f32> = serde_json::from_value(values)
            .map_err(|_| permanent("the service responded without data[0].embedding"))?;
        let mut gathering = Gathering::new(None);
        let mut document = Map::new();
        if let Some(model) = response["model"].as_str() {
            document.insert("model".to_owned(), model.into());
        }
        gathering.take_output(Output::Document(document))?;
        gathering
            .take_output(Output::Vector(VectorOutput { name: self.vector.clone(), values }))?;
        Ok(gathering.finish())
    }

    /// A message of a user: the definition's prompt, and the text, picture or sound of the object.
    fn chat(&self, job: &Job) -> Result<Value, Failure> {
        let mut own = self.body(job, Value::Null);
        let prompt = own.as_object_mut().and_then(|body| body.remove("prompt"));
        let prompt = prompt.as_ref().and_then(Value::as_str).unwrap_or_default();
        let mut messages = match own["messages"].take() {
            Value::Array(messages) => messages,
            _ => Vec::new(),
        };
        let content = match text_of(job)? {
            Some(text) if prompt.is_empty() => json!(text),
            Some(text) => json!(format!("{prompt}\n\n{text}")),
            None => {
                let (bytes, facts) = bytes_of(job)?.ok_or_else(no_text)?;
                let mime = facts.mime_type.as_deref().unwrap_or_default();
                let encoded = BASE64_STANDARD.encode(bytes);
                let part = match mime.split('/').next() {
                    Some("image") => json!({"type": "image_url", "image_url": {
                        "url": format!("data:{mime};base64,{encoded}")}}),
                    Some("audio") => json!({"type": "input_audio", "input_audio": {
                        "data": encoded, "format": sound_of(mime)}}),
                    _ => {
                        return Err(permanent(format!(
                            "files of type {mime:?} cannot be part of a chat: map its text"
                        )));
                    }
                };
                json!([{"type": "text", "text": prompt}, part])
            }
        };
        messages.push(json!({"role": "user", "content": content}));
        own["messages"] = messages.into();
        Ok(own)
    }

    /// The form of a transcription: its content type and its bytes.
    fn form(&self, job: &Job) -> Result<(String, Bytes), Failure> {
        let (bytes, facts) =
            bytes_of(job)?.ok_or_else(|| permanent("there is no file to transcribe"))?;
        let boundary = format!("catchment-{}", ulid::Ulid::generate());
        let mut form = Vec::with_capacity(bytes.len() + 1024);
        let Value::Object(mut fields) = self.body(job, Value::Null) else {
            return Err(permanent("the request is no object"));
        };
        fields.entry("response_format").or_insert_with(|| "json".into());
        for (name, value) in fields {
            let value = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            let name = plain(&name);
            form.extend(
                format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n\
                     {value}\r\n"
                )
                .into_bytes(),
            );
        }
        // Servers know the kind of sound by the ending of the name.
        let ending = facts.filename.rsplit_once('.').map_or("bin", |(_, ending)| ending);
        let mime = facts.mime_type.as_deref().unwrap_or("application/octet-stream");
        form.extend(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"input.{}\"\r\nContent-Type: {}\r\n\r\n",
                plain(ending),
                plain(mime)
            )
            .into_bytes(),
        );
        form.extend(bytes);
        form.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
        Ok((format!("multipart/form-data; boundary={boundary}"), form.into()))
    }
}

/// What may stand in a header of a form without quoting.
fn plain(text: &str) -> String {
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || "-_./+[]".contains(*it);
    text.chars().filter(is_plain).take(100).collect()
}

fn sound_of(mime: &str) -> &'static str {
    if mime.contains("wav") { "wav" } else { "mp3" }
}

fn lines(body: &[u8]) -> Result<Extracted, Failure> {
    let mut gathering = Gathering::new(None);
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if gathering.take(line)? {
            return Ok(gathering.finish());
        }
    }
    Err(permanent("the service responded without saying that it is done"))
}

fn chat_document(response: &Value) -> Result<Extracted, Failure> {
    let content = response["choices"][0]["message"]["content"]
        .as_str()
        .ok_or_else(|| permanent("the service responded without choices[0].message.content"))?;
    // Models that are asked for JSON like to put it between fences.
    let inner = content.trim();
    let inner =
        inner.strip_prefix("```json").or_else(|| inner.strip_prefix("```")).unwrap_or(inner);
    let inner = inner.strip_suffix("```").unwrap_or(inner);
    one_document(match serde_json::from_str(inner) {
        Ok(Value::Object(object)) => object,
        _ => Map::from_iter([("text".to_owned(), content.into())]),
    })
}

fn transcription(body: &[u8]) -> Result<Extracted, Failure> {
    let Ok(Value::Object(response)) = serde_json::from_slice(body) else {
        // `response_format: text`, and subtitles.
        let text = String::from_utf8_lossy(body).trim().to_owned();
        return one_document(Map::from_iter([("text".to_owned(), text.into())]));
    };
    let text = response.get("text").and_then(Value::as_str);
    let text = text.ok_or_else(|| permanent("the service responded without a text"))?;
    let mut document = Map::from_iter([("text".to_owned(), text.trim().into())]);
    let mut take = |from: &str, to: &str| {
        if let Some(value) = response.get(from).filter(|value| !value.is_null()) {
            document.insert(to.to_owned(), value.clone());
        }
    };
    take("language", "language");
    take("duration", "duration_seconds");
    if let Some(segments) = response.get("segments").and_then(Value::as_array) {
        let told = |segment: &Value| json!({"start": segment["start"], "end": segment["end"], "text": segment["text"]});
        document.insert("segments".to_owned(), segments.iter().map(told).collect());
    }
    one_document(document)
}

fn one_document(document: Map<String, Value>) -> Result<Extracted, Failure> {
    let mut gathering = Gathering::new(None);
    gathering.take_output(Output::Document(document))?;
    Ok(gathering.finish())
}

/// The text of an object: what is mapped to `text`, else the bytes of a file that is text.
fn text_of(job: &Job) -> Result<Option<String>, Failure> {
    let mapped = job.inputs.iter().filter(|(name, _)| {
        *name == "text" || name.strip_prefix("text.").is_some_and(|rest| !rest.is_empty())
    });
    let mut texts = Vec::new();
    for (_, given) in mapped {
        match given {
            Given::Value(Value::String(text)) => texts.push(text.clone()),
            Given::Value(Value::Array(items)) => {
                texts.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            Given::Value(Value::Null) => {}
            Given::Value(other) => texts.push(other.to_string()),
            Given::File { .. } => {}
        }
    }
    if texts.iter().any(|text| !text.trim().is_empty()) {
        return Ok(Some(texts.join("\n\n")));
    }
    let is_text = |facts: &FileFacts| {
        facts.mime_type.as_deref().is_some_and(|mime| {
            mime.starts_with("text/") || mime == "application/json" || mime == "application/xml"
        })
    };
    for given in job.inputs.values() {
        if let Given::File { file, facts } = given
            && is_text(facts)
        {
            let bytes = read(&mut file.try_clone().map_err(unreadable)?, TEXT_BYTES)?;
            return String::from_utf8(bytes)
                .map(Some)
                .map_err(|_| permanent("its text is not UTF-8"));
        }
    }
    Ok(None)
}

/// The bytes of the first file among the inputs.
fn bytes_of(job: &Job) -> Result<Option<(Vec<u8>, &FileFacts)>, Failure> {
    for given in job.inputs.values() {
        if let Given::File { file, facts } = given {
            let bytes = read(&mut file.try_clone().map_err(unreadable)?, SENT_BYTES)?;
            return Ok(Some((bytes, facts)));
        }
    }
    Ok(None)
}

fn read(file: &mut File, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    file.rewind().map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > most {
        true => {
            Err(permanent(format!("it has more than {most} bytes, which are not sent at once")))
        }
        false => Ok(bytes),
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::new(Class::Transient, format!("its bytes cannot be read: {error}"))
}

fn no_text() -> Failure {
    permanent("there is no text to send: map a field to \"text\"")
}

/// Whose fault a response is that is no success.
fn refused(posted: &Posted) -> Failure {
    let said: String = String::from_utf8_lossy(&posted.body).chars().take(500).collect();
    let message = format!("the service responded {}: {}", posted.status, said.trim());
    let class = match posted.status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Class::Transient,
        // The address, the token or the model's name is wrong, whatever the object.
        StatusCode::UNAUTHORIZED
        | StatusCode::PAYMENT_REQUIRED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED => Class::Unavailable,
        status if status.is_redirection() => Class::Unavailable,
        _ => Class::Permanent,
    };
    let after = posted.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    Failure {
        retry_after: after.map(|wait| wait.min(LONGEST_WAIT)),
        ..Failure::new(class, message)
    }
}

const fn class_of(error: &PostError) -> Class {
    match error {
        PostError::Unreachable { .. } | PostError::Refused(_) => Class::Unavailable,
        PostError::Timeout(_) | PostError::Broken(_) => Class::Transient,
        PostError::TooLong { .. } => Class::Resource,
    }
}

fn permanent(message: impl Into<String>) -> Failure {
    Failure::new(Class::Permanent, message)
}
