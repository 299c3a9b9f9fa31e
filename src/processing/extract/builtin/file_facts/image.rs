//! What a camera wrote into a picture.

use std::{fs::File, io::BufReader};

use bytes::Bytes;
use nom_exif::{EntryValue, Exif, ExifIter, ExifTag, GPSInfo, IfdIndex, MediaParser, MediaSource};
use serde_json::{Map, Value, json};

use super::{Facts, HEAD, moment, number, rewind, set, words};

/// Bytes at the beginning that have a picture's measures.
const MEASURED: usize = 256 * 1024;
/// Values of an EXIF entry that are worth keeping; longer ones are the maker's own data.
const LONGEST: usize = 64;
/// The tag of who took the picture.
const ARTIST: u16 = 0x013b;

pub(super) fn read(file: &mut File, head: &Bytes, facts: &mut Facts) {
    measure(&head[..head.len().min(MEASURED)], facts);
    let Some(found) = exif_of(file, head) else { return };
    let exif: Exif = found.into();
    let text = |tag| exif.get(tag).and_then(EntryValue::as_str).and_then(words);
    set(facts, "camera_make", text(ExifTag::Make));
    set(facts, "camera_model", text(ExifTag::Model));
    set(
        facts,
        "author",
        exif.get_by_code(IfdIndex::MAIN, ARTIST).and_then(EntryValue::as_str).and_then(words),
    );
    set(facts, "title", text(ExifTag::ImageDescription));
    set(facts, "orientation", exif.get(ExifTag::Orientation).and_then(whole));
    let taken = [ExifTag::DateTimeOriginal, ExifTag::CreateDate, ExifTag::ModifyDate];
    set(facts, "created_at", taken.iter().find_map(|tag| exif.get(*tag).and_then(time)));
    set(facts, "gps", exif.gps_info().and_then(place));
    let all = all(&exif);
    set(facts, "exif", (!all.is_empty()).then_some(all));
}

/// The fields of a camera: from memory where the head is all of the file.
fn exif_of(file: &mut File, head: &Bytes) -> Option<ExifIter> {
    let mut parser = MediaParser::new();
    if (head.len() as u64) < HEAD {
        return parser.parse_exif(MediaSource::from_memory(head.clone()).ok()?).ok();
    }
    if !rewind(file) {
        return None;
    }
    parser.parse_exif(MediaSource::seekable(BufReader::new(&*file)).ok()?).ok()
}

fn measure(head: &[u8], facts: &mut Facts) {
    if let Ok(size) = imagesize::blob_size(head) {
        set(facts, "width", Some(size.width as u64));
        set(facts, "height", Some(size.height as u64));
    }
}

/// Everything that has a name and a value that says something.
fn all(exif: &Exif) -> Map<String, Value> {
    let mut all = Map::new();
    for entry in exif.entries() {
        let Some(tag) = entry.tag().tag() else { continue };
        if let Some(value) = to_json(entry.value()) {
            all.entry(tag.to_string()).or_insert(value);
        }
    }
    all
}

fn to_json(value: &EntryValue) -> Option<Value> {
    Some(match value {
        EntryValue::Text(text) => words(text)?.into(),
        EntryValue::U8(number) => (*number).into(),
        EntryValue::U16(number) => (*number).into(),
        EntryValue::U32(number) => (*number).into(),
        EntryValue::U64(number) => (*number).into(),
        EntryValue::I8(number) => (*number).into(),
        EntryValue::I16(number) => (*number).into(),
        EntryValue::I32(number) => (*number).into(),
        EntryValue::I64(number) => (*number).into(),
        EntryValue::F32(real) => number(f64::from(*real))?,
        EntryValue::F64(real) => number(*real)?,
        EntryValue::URational(ratio) => number(ratio.to_f64()?)?,
        EntryValue::IRational(ratio) => number(ratio.to_f64()?)?,
        EntryValue::URationalArray(ratios) if ratios.len() <= LONGEST => {
            ratios.iter().map(|ratio| ratio.to_f64().and_then(number)).collect::<Option<_>>()?
        }
        EntryValue::IRationalArray(ratios) if ratios.len() <= LONGEST => {
            ratios.iter().map(|ratio| ratio.to_f64().and_then(number)).collect::<Option<_>>()?
        }
        EntryValue::U16Array(numbers) if numbers.len() <= LONGEST => numbers.clone().into(),
        EntryValue::U32Array(numbers) if numbers.len() <= LONGEST => numbers.clone().into(),
        EntryValue::DateTime(_) | EntryValue::NaiveDateTime(_) => time(value)?.into(),
        // Bytes that only their maker can read.
        _ => return None,
    })
}

fn whole(value: &EntryValue) -> Option<u64> {
    match value {
        EntryValue::U8(number) => Some((*number).into()),
        EntryValue::U16(number) => Some((*number).into()),
        EntryValue::U32(number) => Some((*number).into()),
        _ => None,
    }
}

/// A time in RFC 3339; one without a zone counts as UTC.
pub(super) fn time(value: &EntryValue) -> Option<String> {
    match value {
        EntryValue::DateTime(at) => moment::utc(&at.to_rfc3339()),
        EntryValue::NaiveDateTime(at) => moment::utc(&at.to_string()),
        EntryValue::Text(text) => moment::utc(text),
        _ => None,
    }
}

pub(super) fn place(gps: &GPSInfo) -> Option<Value> {
    let (latitude, longitude) = (gps.latitude_decimal()?, gps.longitude_decimal()?);
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return None;
    }
    let mut place = json!({"latitude": number(latitude)?, "longitude": number(longitude)?});
    if let Some(altitude) = gps.altitude_meters().and_then(number) {
        place["altitude_m"] = altitude;
    }
    Some(place)
}
