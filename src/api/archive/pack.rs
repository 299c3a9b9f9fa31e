//! Packing: objects in, a zip archive out, in pieces as they are asked for.
//!
//! Nothing is compressed: most of what is large is so already. What is held is one piece of one blob
//! and, for the table at the archive's end, a name for each file. A client that does not read holds
//! no thread up.

use std::{
    io::{self, Write},
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use rawzip::{ZipArchiveWriter, time::UtcDateTime};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{kept::Archive, names::Names};
use crate::{
    api::{App, content},
    model::{CONTENT, EntryPath},
    store::{
        StoreError,
        objects::record::{self, BlobRecord, Record},
    },
};

/// Bytes that are sent at once, about.
const PIECE: usize = 256 * 1024;
/// How long a client may take over a piece.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// What tells which objects are not in the archive, if there are such.
const NOTE: &str = "NOT INCLUDED.txt";

/// The archive, packed while it is read. `place` is given back at its end.
pub(super) fn stream(
    app: App,
    archive: Arc<Archive>,
    place: impl Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let Err(end) = pack(&app, &archive, &sender).await else { return };
        if let End::Failed(error) = &end {
            tracing::error!(archive = %archive.id, %error, "an archive broke off");
        }
        // Whoever still listens learns that this is not all of it.
        let _ = sender.send(Err(io::Error::other(end.to_string()))).await;
    });
    ReceiverStream::new(pieces)
}

/// Why an archive ends before it is whole.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("nobody reads it any more")]
    Left,
    #[error("the server ends")]
    Stopping,
    #[error("it could not be packed: {0}")]
    Failed(String),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<rawzip::Error> for End {
    fn from(error: rawzip::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

async fn pack(
    app: &App,
    archive: &Archive,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), End> {
    let out = Out { buffer: Buffer::default(), sender, app };
    let mut packer = Packer {
        app,
        zip: ZipArchiveWriter::new(out.buffer.clone()),
        out,
        names: Names::default(),
        left_out: Vec::new(),
    };
    for chosen in &archive.objects {
        let (bucket_key, id) = (archive.bucket_key, chosen.id.clone());
        let found =
            app.engine.store.read(move |db| record::by_id(db, bucket_key, id.as_str())).await?;
        match found {
            Some(object) => packer.object(&object).await?,
            None => packer.leave_out(&chosen.path, "it was removed"),
        }
    }
    packer.finish(app.now()).await
}

struct Packer<'a> {
    app: &'a App,
    zip: ZipArchiveWriter<Buffer>,
    out: Out<'a>,
    names: Names,
    /// Lines of the note.
    left_out: Vec<String>,
}

impl Packer<'_> {
    async fn object(&mut self, object: &Record) -> Result<(), End> {
        // Consoles of object storage make folders out of nothing but a name.
        if object.path.as_bytes().ends_with(b"/") && object.size == 0 {
            return self.folder(object).await;
        }
        let is_alone = object.blobs.len() == 1;
        for blob in &object.blobs {
            let path = match is_alone || blob.property == CONTENT {
                true => object.path.clone(),
                false => beside(&object.path, blob),
            };
            self.blob(&path, object.modified.unwrap_or(object.updated_at), blob).await?;
        }
        Ok(())
    }

    async fn folder(&mut self, object: &Record) -> Result<(), End> {
        if let Some(name) = self.names.folder(&object.path) {
            let modified = object.modified.unwrap_or(object.updated_at);
            self.zip
                .new_dir(name.as_str())
                .last_modified(time(modified))
                .unix_permissions(0o755)
                .create()?;
        }
        self.out.send_if_much().await
    }

    async fn blob(
        &mut self,
        path: &EntryPath,
        modified: Timestamp,
        blob: &BlobRecord,
    ) -> Result<(), End> {
        let Ok(reader) = content::open(self.app, blob.hash, None).await else {
            self.leave_out(path, "its bytes are not there; `catchment verify` tells more");
            return Ok(());
        };
        let name = self.names.file(path);
        let (mut entry, config) = self
            .zip
            .new_file(name.as_str())
            .last_modified(time(modified))
            .unix_permissions(0o644)
            .start()?;
        let mut file = config.wrap(&mut entry);
        let mut pieces = pin!(content::stream_of(reader));
        let mut size = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            size += piece.len() as u64;
            file.write_all(&piece)?;
            self.out.send_if_much().await?;
        }
        if size != blob.size {
            return Err(End::Failed(format!("{path} has {size} bytes, not {}", blob.size)));
        }
        let (_, sums) = file.finish()?;
        entry.finish(sums)?;
        Ok(())
    }

    fn leave_out(&mut self, path: &EntryPath, why: &str) {
        self.left_out.push(format!("{path}: {why}\n"));
    }

    /// The note, if there is something to tell, and the table of what is in the archive.
    async fn finish(mut self, now: Timestamp) -> Result<(), End> {
        if !self.left_out.is_empty() {
            let name = self.names.file(&EntryPath::new(NOTE));
            let start = self.zip.new_file(name.as_str()).last_modified(time(now));
            let (mut entry, config) = start.unix_permissions(0o644).start()?;
            let mut file = config.wrap(&mut entry);
            for line in &self.left_out {
                file.write_all(line.as_bytes())?;
            }
            let (_, sums) = file.finish()?;
            entry.finish(sums)?;
        }
        self.zip.finish()?;
        self.out.send().await
    }
}

/// The path of a further blob of an object: the object's, the property and the file's ending.
fn beside(path: &EntryPath, blob: &BlobRecord) -> EntryPath {
    let property = blob.property.replace('/', "%2F");
    let ending = match blob.filename.rsplit_once('.') {
        Some((_, ending)) if !ending.contains('/') => format!(".{ending}"),
        _ => String::new(),
    };
    EntryPath::new([path.as_bytes(), format!(".{property}{ending}").as_bytes()].concat())
}

/// Archives know whole seconds since 1970 in 32 bits; other times are told as the nearest.
fn time(at: Timestamp) -> UtcDateTime {
    UtcDateTime::from_unix(at.as_second().clamp(0, u32::MAX.into()))
}

/// Where the archive goes.
struct Out<'a> {
    app: &'a App,
    buffer: Buffer,
    sender: &'a mpsc::Sender<io::Result<Bytes>>,
}

impl Out<'_> {
    async fn send_if_much(&self) -> Result<(), End> {
        if self.buffer.len() < PIECE { Ok(()) } else { self.send().await }
    }

    async fn send(&self) -> Result<(), End> {
        let piece = Bytes::from(self.buffer.take());
        tokio::select! {
            sent = timeout(PATIENCE, self.sender.send(Ok(piece))) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(End::Left),
            },
            () = self.app.stopping.cancelled() => Err(End::Stopping),
        }
    }
}

/// What is packed and not sent yet. Clones share it: the packer writes, [`Out`] takes.
#[derive(Clone, Debug, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self) -> Vec<u8> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
