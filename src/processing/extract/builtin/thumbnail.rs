//! `thumbnail@v1`: a small WebP of a picture, or of the cover that a piece of music or a film
//! carries, with a hash of what it looks like. What it cannot draw itself it asks a picture of: a
//! page of a PDF, a frame of a film, HEIC, AVIF and SVG.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Read as _, Seek, SeekFrom},
};

use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits,
    imageops::{self, FilterType},
    metadata::Orientation,
};
use lofty::{file::TaggedFileExt as _, picture::PictureType, probe::Probe, tag::Tag};
use serde_json::{Map, Value, json};

use super::{Builtin, Field, Sink, Stop, file_of, parameters, permanent, raw::Previews, too_much};
use crate::processing::extract::protocol::{BlobOutput, Drawable, Output, Request};

/// The longest edge by default, in pixels.
pub const DEFAULT_SIZE: u32 = 256;
/// The longest edges that can be asked for, in pixels.
pub const SIZES: std::ops::RangeInclusive<u32> = 64..=1024;

/// Bytes that a decoder may take at once. The child has more address space than that, for the file
/// and the small picture.
const DECODER_BYTES: u64 = 640 * 1024 * 1024;
/// Bytes at the beginning of a file that show its type.
const HEAD: u64 = 8192;
/// What libwebp calls quality, from 0 to 100; its own default.
const QUALITY: f32 = 75.0;
const PDF: &str = "application/pdf";
const SVG: &str = "image/svg+xml";
/// Pictures whose decoders are no part of this program.
const PHOTOS: [&str; 5] =
    ["image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence", "image/avif"];
/// What the file is called in the scratch folder, and the document's field that it is.
const NAME: &str = "thumbnail";

pub(in crate::processing) static THUMBNAIL: Builtin = Builtin {
    name: "thumbnail",
    version: "v1",
    description: "A small WebP of a picture, a cover, a frame or a page, and a hash of its looks",
    needs_input: true,
    carries_fields: false,
    draws: true,
    accepts: &["image/*", "audio/*", "video/*", PDF],
    fields: &[
        Field { name: "width", kind: "integer", description: "Pixels of the thumbnail" },
        Field { name: "height", kind: "integer", description: "Pixels of the thumbnail" },
        Field {
            name: "perceptual_hash",
            kind: "string",
            description: "16 hexadecimal digits; few bits differ between pictures that look alike",
        },
    ],
    parameters: || {
        parameters(
            "thumbnail",
            json!({
                "size": {
                    "type": "integer",
                    "minimum": SIZES.start(),
                    "maximum": SIZES.end(),
                    "default": DEFAULT_SIZE,
                    "description": "The longest edge in pixels; a smaller picture stays as it is",
                },
            }),
        )
    },
    run,
};

fn run(
    request: &Request,
    files: &mut Vec<File>,
    tell: &mut dyn FnMut(Output) -> io::Result<()>,
) -> Result<(), Stop> {
    let Some((mut file, known)) = file_of(request, files) else {
        return Err(permanent("there is no file to draw"));
    };
    let size = request.parameters.get("size").and_then(Value::as_u64);
    let size = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(DEFAULT_SIZE);
    let mut sink = Sink(tell);
    let picture = match picture_of(&mut file, known.mime_type.as_deref())? {
        Face::Picture(picture) => picture,
        Face::Drawn(drawable) => return sink.draw(drawable),
        Face::None => return sink.left_out("it carries no picture".to_owned()),
    };
    let small = shrink(picture, size);
    let path = request.scratch.join(NAME);
    fs::write(&path, webp(&small)?)
        .map_err(|error| permanent(format!("the thumbnail cannot be written: {error}")))?;
    let mut body = Map::new();
    body.insert("width".to_owned(), small.width().into());
    body.insert("height".to_owned(), small.height().into());
    body.insert("perceptual_hash".to_owned(), format!("{:016x}", perceptual_hash(&small)).into());
    sink.document(body)?;
    sink.blob(BlobOutput {
        path: NAME.into(),
        field: NAME.to_owned(),
        role: Some(NAME.to_owned()),
        mime_type: Some("image/webp".to_owned()),
    })
}

/// What there is to show of a file.
enum Face {
    /// The picture that it is or carries, the right way up.
    Picture(DynamicImage),
    /// What another program has to draw.
    Drawn(Drawable),
    /// Music without a cover.
    None,
}

fn picture_of(file: &mut File, named: Option<&str>) -> Result<Face, Stop> {
    let unreadable = |error| permanent(format!("the file cannot be read: {error}"));
    let mut head = Vec::new();
    (&mut *file).take(HEAD).read_to_end(&mut head).map_err(unreadable)?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    match image::guess_format(&head) {
        Ok(ImageFormat::Tiff) => return developed(file).map(Face::Picture),
        Ok(ImageFormat::Avif) => return Ok(Face::Drawn(Drawable::Photo)),
        Ok(format) => return decode(BufReader::new(file), format, None).map(Face::Picture),
        Err(_) => {}
    }
    let mime = infer::get(&head).map(|found| found.mime_type()).or(named).unwrap_or("unknown");
    let cover_or = |file: &mut File, otherwise| Ok(cover(file)?.map_or(otherwise, Face::Picture));
    match mime.split('/').next() {
        _ if mime == PDF => Ok(Face::Drawn(Drawable::Page)),
        _ if named == Some(SVG) || is_svg(&head) => Ok(Face::Drawn(Drawable::Vector)),
        _ if PHOTOS.contains(&mime) => Ok(Face::Drawn(Drawable::Photo)),
        Some("audio") => cover_or(file, Face::None),
        Some("video") => cover_or(file, Face::Drawn(Drawable::Frame)),
        Some("image") => Err(permanent(format!("pictures of type {mime} are not drawn here"))),
        _ => Err(permanent(format!("files of type {mime} have no picture to draw"))),
    }
}

/// Whether a file begins as an SVG picture does: with its element, behind what XML may begin with.
fn is_svg(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |with: &str| text.starts_with(with);
    begins("<svg")
        || (["<?xml", "<!--", "<!DOCTYPE svg"].into_iter().any(begins) && text.contains("<svg"))
}

/// The picture of a TIFF, which may be the raw file of a camera: then it is the largest that the
/// camera put into it for people to look at.
fn developed(file: &mut File) -> Result<DynamicImage, Stop> {
    let previews = Previews::find(file);
    file.seek(SeekFrom::Start(0)).map_err(|error| permanent(error.to_string()))?;
    let own = decode(BufReader::new(&mut *file), ImageFormat::Tiff, None);
    let edge = |picture: &DynamicImage| picture.width().max(picture.height());
    let known = own.as_ref().map_or(0, edge);
    let up = previews.orientation.and_then(Orientation::from_exif);
    let shown = previews
        .read(file)
        .find_map(|bytes| decode(Cursor::new(bytes), ImageFormat::Jpeg, up).ok());
    match shown {
        Some(shown) if edge(&shown) > known => Ok(shown),
        _ => own,
    }
}

/// The picture, turned as it says itself or, where it says nothing, as is said of it.
fn decode(
    reader: impl BufRead + Seek,
    format: ImageFormat,
    up: Option<Orientation>,
) -> Result<DynamicImage, Stop> {
    let mut reader = ImageReader::with_format(reader, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(stop)?;
    let (width, height) = decoder.dimensions();
    if decoder.total_bytes() > DECODER_BYTES {
        return Err(too_much(format!(
            "the picture says that it is {width} by {height} pixels, which is more than is drawn"
        )));
    }
    let own = decoder.orientation().map_err(stop)?;
    let orientation = if own == Orientation::NoTransforms { up.unwrap_or(own) } else { own };
    let mut picture = DynamicImage::from_decoder(decoder).map_err(stop)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn stop(error: ImageError) -> Stop {
    match error {
        ImageError::Limits(error) => too_much(format!("the picture is too large: {error}")),
        error => permanent(format!("the picture cannot be read: {error}")),
    }
}

/// The front cover, or else the first picture there is.
fn cover(file: &mut File) -> Result<Option<DynamicImage>, Stop> {
    let Ok(probe) = Probe::new(BufReader::new(&*file)).guess_file_type() else { return Ok(None) };
    let Ok(found) = probe.read() else { return Ok(None) };
    let pictures = || found.tags().iter().flat_map(Tag::pictures);
    let picture = pictures()
        .find(|picture| picture.pic_type() == PictureType::CoverFront)
        .or_else(|| pictures().next());
    let Some(picture) = picture else { return Ok(None) };
    let format = image::guess_format(picture.data()).map_err(stop)?;
    decode(Cursor::new(picture.data()), format, None).map(Some)
}

/// At most `size` pixels at its longest edge; never larger than it was.
fn shrink(picture: DynamicImage, size: u32) -> DynamicImage {
    let longest = picture.width().max(picture.height());
    if longest <= size {
        return picture;
    }
    // Averaging whole blocks is quick, and too coarse for the last step.
    let nearly = match longest > 4 * size {
        true => picture.thumbnail(2 * size, 2 * size),
        false => picture,
    };
    nearly.resize(size, size, FilterType::Triangle)
}

fn webp(picture: &DynamicImage) -> Result<Vec<u8>, Stop> {
    let (width, height) = (picture.width(), picture.height());
    let encoded = match picture.color().has_alpha() {
        true => webp::Encoder::from_rgba(&picture.to_rgba8(), width, height)
            .encode_simple(false, QUALITY),
        false => {
            webp::Encoder::from_rgb(&picture.to_rgb8(), width, height).encode_simple(false, QUALITY)
        }
    };
    let encoded =
        encoded.map_err(|error| permanent(format!("the picture cannot be drawn: {error:?}")))?;
    Ok(encoded.to_vec())
}

/// 64 bits, each of which says whether the picture gets brighter there from left to right (the
/// "difference hash"):
/// <https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html>.
fn perceptual_hash(picture: &DynamicImage) -> u64 {
    let tiny = imageops::resize(&picture.to_luma8(), 9, 8, FilterType::Triangle);
    let mut bits = 0;
    for row in tiny.rows() {
        let row: Vec<u8> = row.map(|pixel| pixel.0[0]).collect();
        for pair in row.windows(2) {
            bits = bits << 1 | u64::from(pair[0] < pair[1]);
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma};

    use super::*;

    fn gradient(width: u32, height: u32, bright: impl Fn(f64, f64) -> f64) -> DynamicImage {
        let pixel = |x: u32, y: u32| {
            let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a shade")]
            Luma([(bright(x, y) * 255.0) as u8])
        };
        DynamicImage::ImageLuma8(ImageBuffer::from_fn(width, height, pixel))
    }

    #[test]
    fn pictures_that_look_alike_have_hashes_that_are_close() {
        let waves = |x: f64, y: f64| (x * 9.0 + y * 5.0).sin() / 2.0 + 0.5;
        let large = perceptual_hash(&gradient(800, 600, waves));
        let small = perceptual_hash(&gradient(80, 60, waves));
        let other = perceptual_hash(&gradient(80, 60, |x, y| (x * y * 20.0).cos() / 2.0 + 0.5));
        assert!((large ^ small).count_ones() <= 4, "{large:x} {small:x}");
        assert!((large ^ other).count_ones() >= 12, "{large:x} {other:x}");
    }

    #[test]
    fn a_picture_is_never_made_larger_and_keeps_its_shape() {
        let shape = |width, height| {
            let small = shrink(gradient(width, height, |x, _| x), 100);
            (small.width(), small.height())
        };
        assert_eq!(shape(50, 20), (50, 20));
        assert_eq!(shape(400, 200), (100, 50));
        assert_eq!(shape(3000, 1), (100, 1));
    }
}
