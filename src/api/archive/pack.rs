//! Packing: objects in, a zip archive out, in pieces as they are asked for.
//!
//! Nothing is compressed: most of what is large is so already. What is held is one piece of one
//! blob and, for the table at the archive's end, a name for each file. A client that does not read
//! holds no thread up. Every blob is checked against its hash on the way; one that is damaged does
//! not keep the others back, but gets a sum that no reader lets pass.

use std::{
    io::{self, Write},
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use rawzip::{DataDescriptorOutput, ZipArchiveWriter, time::UtcDateTime};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{kept::Archive, names::Names};
use crate::{
    api::{App, content},
    blobs::Damage,
    engine::verify,
    model::{BlobHash, CONTENT, EntryPath},
    store::{
        StoreError,
        blobs::BlobLocation,
        objects::{
            chosen::{self, ChosenObject},
            record::{BlobRecord, Record},
        },
    },
};

/// Bytes that are sent at once, about.
const PIECE: usize = 256 * 1024;
/// Objects that are looked for at once.
const AT_ONCE: usize = 100;
/// How long a client may take to read one chunk.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// What they are, and who may do what with them, as Unix writes it down.
const FILE: u32 = 0o100_644;
const FOLDER: u32 = 0o040_755;
/// The file that lists the objects missing from the archive, if any.
const NOTE: &str = "NOT INCLUDED.txt";
const REMOVED: &str = "it was removed";
const MISSING: &str = "its bytes are not there; `catchment verify --repair` looks for them";
const NOT_WHOLE: &str = "its bytes are damaged; `catchment verify --repair` fetches them again";
const DAMAGED: &str = "its bytes are damaged: what is in here is of no use. \
                       `catchment verify --repair` fetches them again";

/// The archive, packed while it is read. `place` is given back at its end.
pub(super) fn stream(
    app: App,
    archive: Arc<Archive>,
    place: impl Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let end = pack(&app, &archive, &sender).await;
        // Not only once a client that does not read has taken the last word.
        drop(place);
        let Err(end) = end else { return };
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
    #[error("the client has stopped reading")]
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
        notes: Vec::new(),
    };
    let mut rest = archive.objects.as_slice();
    while !rest.is_empty() {
        let ids = rest.iter().take(AT_ONCE).map(|chosen| chosen.id.clone()).collect();
        let bucket_key = archive.bucket_key;
        let look = move |db: &_| chosen::with_bytes(db, bucket_key, ids, PIECE);
        let found = app.engine.store.read(look).await?;
        let (these, others) = rest.split_at(found.len());
        for (wanted, found) in these.iter().zip(found) {
            match found {
                Some(ChosenObject { object, places }) => packer.object(&object, places).await?,
                None => packer.note(&wanted.path, REMOVED),
            }
        }
        rest = others;
    }
    packer.finish(app.now()).await
}

struct Packer<'a> {
    app: &'a App,
    zip: ZipArchiveWriter<Buffer>,
    out: Out<'a>,
    names: Names,
    /// Lines of [`NOTE`].
    notes: Vec<String>,
}

impl Packer<'_> {
    async fn object(
        &mut self,
        object: &Record,
        places: Vec<Option<BlobLocation>>,
    ) -> Result<(), End> {
        // Consoles of object storage make folders out of nothing but a name.
        if object.path.as_bytes().ends_with(b"/") && object.size == 0 {
            return self.folder(object).await;
        }
        if object.blobs.is_empty() {
            self.note(&object.path, "it has no file");
        }
        let is_alone = object.blobs.len() == 1;
        for (blob, place) in object.blobs.iter().zip(places) {
            let path = match is_alone || blob.property == CONTENT {
                true => object.path.clone(),
                false => beside(&object.path, blob),
            };
            let modified = object.modified.unwrap_or(object.updated_at);
            match place {
                Some(BlobLocation::Inline(bytes)) => {
                    let bytes = stream::iter([Ok(Bytes::from(bytes))]);
                    self.blob(&path, modified, blob.hash, bytes).await?;
                }
                Some(BlobLocation::File { .. }) => self.file(&path, modified, blob.hash).await?,
                None => self.note(&path, REMOVED),
            }
        }
        Ok(())
    }

    async fn folder(&mut self, object: &Record) -> Result<(), End> {
        if let Some(name) = self.names.folder(&object.path) {
            let modified = object.modified.unwrap_or(object.updated_at);
            self.zip
                .new_dir(name.as_str())
                .last_modified(time(modified))
                .unix_permissions(FOLDER)
                .create()?;
        }
        self.out.send_if_much().await
    }

    async fn file(
        &mut self,
        path: &EntryPath,
        modified: Timestamp,
        hash: BlobHash,
    ) -> Result<(), End> {
        match content::open(self.app, hash, None).await {
            Ok(Ok(reader)) => self.blob(path, modified, hash, content::stream_of(reader)).await,
            Ok(Err(damage)) => {
                tracing::error!(%path, %damage, "bytes of an archive are damaged");
                self.note(path, NOT_WHOLE);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.note(path, REMOVED);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%path, ?error, "bytes of an archive cannot be read");
                self.note(path, MISSING);
                Ok(())
            }
        }
    }

    async fn blob(
        &mut self,
        path: &EntryPath,
        modified: Timestamp,
        hash: BlobHash,
        bytes: impl Stream<Item = io::Result<Bytes>>,
    ) -> Result<(), End> {
        let name = self.names.file(path);
        let (mut entry, config) = self
            .zip
            .new_file(name.as_str())
            .last_modified(time(modified))
            .unix_permissions(FILE)
            .start()?;
        let mut file = config.wrap(&mut entry);
        let mut hasher = blake3::Hasher::new();
        let mut pieces = pin!(bytes);
        // Bytes that cannot be read are missing from the hash.
        while let Some(Ok(piece)) = pieces.next().await {
            hasher.update(&piece);
            file.write_all(&piece)?;
            self.out.send_if_much().await?;
        }
        let (_, sums) = file.finish()?;
        if BlobHash::from(hasher.finalize()) == hash {
            entry.finish(sums)?;
        } else {
            entry.finish(DataDescriptorOutput::new(!sums.crc(), sums.uncompressed_size()))?;
            tracing::error!(%path, "bytes of an archive are damaged");
            let damage = Damage { hash, problem: "they do not hash to it".to_owned() };
            verify::report_damage(&self.app.engine.store, &damage).await;
            self.note(path, DAMAGED);
        }
        self.out.send_if_much().await
    }

    fn note(&mut self, path: &EntryPath, why: &str) {
        self.notes.push(format!("{path}: {why}\n"));
    }

    /// The note, if there is anything to note, and the archive's directory.
    async fn finish(mut self, now: Timestamp) -> Result<(), End> {
        if !self.notes.is_empty() {
            let name = self.names.file(&EntryPath::new(NOTE));
            let start = self.zip.new_file(name.as_str()).last_modified(time(now));
            let (mut entry, config) = start.unix_permissions(FILE).start()?;
            let mut file = config.wrap(&mut entry);
            for line in &self.notes {
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

/// Archives know whole seconds since 1970 in 32 bits; other times become the nearest.
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
