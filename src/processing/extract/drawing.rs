//! Programs of the system that draw what ours does not: a page of a PDF, a frame of a film, HEIC,
//! AVIF and SVG. Nobody has to have them; where one is missing, that is said.
//!
//! Such a program is confined as the owner's are: it sees the one file, system folders and its
//! scratch folder, has no network, and is ended with all that it has started. What it has drawn is
//! a picture that somebody else has made: only a confined process of ours opens it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Map;

use super::{
    Class, Failure, Given, Job,
    gather::OBJECT_BYTES,
    program::{OutputKind, Program, Word, is_program, permanent},
    protocol::{Drawable, FileFacts, ObjectFacts},
    scratch::Scratch,
};

/// How long a program may take to draw: generous, for it gives way to everything else on the
/// computer. What has no end is ended by the time that it may use of the processor.
const TIMEOUT: Duration = Duration::from_secs(60);
const CPU_SECS: u64 = 10;
/// The most memory that it may use, in bytes.
const MEMORY: u64 = 1024 * 1024 * 1024;
/// What it writes to its scratch folder, and what some call the first of several pictures.
const NAMES: [&str; 2] = ["picture.png", "picture-1.png"];

/// A program that draws.
#[derive(Debug)]
struct Drawer {
    name: &'static str,
    /// Debian's package that it is in.
    package: &'static str,
    /// The words behind its name.
    words: &'static [&'static str],
}

const PAGE: &[Drawer] = &[Drawer {
    name: "pdftoppm",
    package: "poppler-utils",
    words: &[
        "-f",
        "1",
        "-l",
        "1",
        "-singlefile",
        "-png",
        "-scale-to",
        "1024",
        "{input}",
        "picture",
    ],
}];

/// The frame that is most like those around it, of the first thirty: seldom a black one.
const FRAME: &[Drawer] = &[Drawer {
    name: "ffmpeg",
    package: "ffmpeg",
    words: &[
        "-nostdin",
        "-v",
        "error",
        "-threads",
        "1",
        "-protocol_whitelist",
        "file",
        "-i",
        "{input}",
        "-map",
        "0:v:0",
        "-frames:v",
        "1",
        "-vf",
        "scale=w='min(1024,iw)':h='min(1024,ih)':force_original_aspect_ratio=decrease,thumbnail=30",
        "picture.png",
    ],
}];

const PHOTO: &[Drawer] = &[
    Drawer {
        name: "heif-convert",
        package: "libheif-examples",
        words: &["{input}", "picture.png"],
    },
    // What later versions call it.
    Drawer { name: "heif-dec", package: "libheif-examples", words: &["{input}", "picture.png"] },
];

const VECTOR: &[Drawer] = &[Drawer {
    name: "rsvg-convert",
    package: "librsvg2-bin",
    words: &[
        "--width",
        "1024",
        "--height",
        "1024",
        "--keep-aspect-ratio",
        "--format",
        "png",
        "--output",
        "picture.png",
        "{input}",
    ],
}];

/// A picture that was drawn. Its folder is gone; the open file is all that is left of it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) file: File,
    pub(super) facts: FileFacts,
}

impl Drawable {
    const ALL: [Self; 4] = [Self::Page, Self::Frame, Self::Photo, Self::Vector];

    /// The programs that draw it, of which one is enough.
    const fn drawers(self) -> &'static [Drawer] {
        match self {
            Self::Page => PAGE,
            Self::Frame => FRAME,
            Self::Photo => PHOTO,
            Self::Vector => VECTOR,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Page => "pages of PDF files",
            Self::Frame => "frames of films",
            Self::Photo => "HEIC and AVIF pictures",
            Self::Vector => "SVG pictures",
        }
    }

    /// The first of its programs that is there, and where that is.
    fn found(self) -> Option<(&'static Drawer, PathBuf)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        self.drawers().iter().find_map(|drawer| {
            let places = folders.iter().filter(|folder| folder.is_absolute());
            let mut places = places.map(|folder| folder.join(drawer.name));
            Some((drawer, places.find(|place| is_program(place))?))
        })
    }
}

/// The programs that are there: what cannot be drawn with them may be drawn with others.
#[must_use]
pub fn installed() -> String {
    let found = Drawable::ALL.into_iter().filter_map(Drawable::found);
    found.map(|(drawer, _)| drawer.name).collect::<Vec<_>>().join(" ")
}

/// The same job, its files opened once more.
///
/// # Errors
/// The system's.
pub(super) fn twin(job: &Job) -> io::Result<Job> {
    let mut inputs = BTreeMap::new();
    for (name, given) in &job.inputs {
        let given = match given {
            Given::Value(value) => Given::Value(value.clone()),
            Given::File { file, facts } => {
                Given::File { file: file.try_clone()?, facts: facts.clone() }
            }
        };
        inputs.insert(name.clone(), given);
    }
    let (run, object, parameters) = (job.run.clone(), job.object.clone(), job.parameters.clone());
    Ok(Job { run, object, inputs, parameters })
}

/// Has the first file among the inputs drawn. `own` is this program, `folder` where scratch folders
/// are made.
///
/// # Errors
/// What went wrong, with the name of the program.
pub(super) async fn draw(
    drawable: Drawable,
    own: &Path,
    folder: &Path,
    inputs: BTreeMap<String, Given>,
    timeout: Duration,
) -> Result<Drawn, Failure> {
    let Some((drawer, place)) = drawable.found() else {
        return Err(missing(drawable));
    };
    let mut words = vec![Word::Plain(place.to_string_lossy().into_owned())];
    for word in drawer.words {
        words.push(Word::parse(word).map_err(permanent)?);
    }
    let program = Program {
        words,
        output: OutputKind::File,
        stay: false,
        cpu_secs: CPU_SECS,
        memory: MEMORY,
        file_bytes: OBJECT_BYTES,
        network: false,
        devices: false,
        // The lists of fonts, which are made anew without it.
        read: vec!["/var/cache/fontconfig".into()],
        environment: BTreeMap::new(),
    };
    let first = inputs.into_iter().find(|(_, given)| matches!(given, Given::File { .. }));
    let job = Job {
        run: "drawing".to_owned(),
        object: ObjectFacts::default(),
        inputs: first.into_iter().collect(),
        parameters: Map::new(),
    };
    let made = program.run(own, folder, job, timeout.min(TIMEOUT)).await;
    let made = made.map_err(|failure| Failure {
        message: format!("{} could not draw it: {}", drawer.name, failure.message),
        ..failure
    })?;
    let picture = made.scratch.as_ref().and_then(picture_in);
    picture.ok_or_else(|| {
        let last = made.log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let last: String = last.chars().take(500).collect();
        permanent(format!("{} has drawn nothing: {last}", drawer.name))
    })
}

/// The picture in a folder, which has to be a plain file: no link leads out of it.
fn picture_in(scratch: &Arc<Scratch>) -> Option<Drawn> {
    let found = NAMES.into_iter().find_map(|name| scratch.file(Path::new(name)).ok())?;
    let facts = FileFacts {
        mime_type: Some("image/png".to_owned()),
        size_bytes: found.size(),
        ..FileFacts::default()
    };
    Some(Drawn { file: found.open().ok()?, facts })
}

fn missing(drawable: Drawable) -> Failure {
    let names: Vec<&str> = drawable.drawers().iter().map(|drawer| drawer.name).collect();
    let package = drawable.drawers().first().map_or("", |drawer| drawer.package);
    let (names, what) = (names.join(" or "), drawable.describe());
    Failure::new(
        Class::Permanent,
        format!("{what} are drawn by {names}, which is not installed (Debian\u{2019}s {package})"),
    )
}
