//! Length, measures and codecs of films.

use std::{fs::File, io::BufReader};

use nom_exif::{EntryValue, MediaParser, MediaSource, TrackInfoTag};
use serde_json::{Map, Value};

use super::{
    Facts, audio, image, matroska, pixels, quicktime, rewind, seconds, set, tracks, words,
};

pub(super) fn read(file: &mut File, mime: &str, facts: &mut Facts) {
    let mut video = Map::new();
    if rewind(file)
        && let Ok(source) = MediaSource::seekable(BufReader::new(&*file))
        && let Ok(track) = MediaParser::new().parse_track(source)
    {
        let text = |tag| track.get(tag).and_then(EntryValue::as_str).and_then(words);
        let whole = |tag| match track.get(tag) {
            Some(EntryValue::U32(number)) => Some(u64::from(*number)),
            Some(EntryValue::U64(number)) => Some(*number),
            _ => None,
        };
        set(facts, "camera_make", text(TrackInfoTag::Make));
        set(facts, "camera_model", text(TrackInfoTag::Model));
        set(facts, "author", text(TrackInfoTag::Author));
        set(facts, "created_at", track.get(TrackInfoTag::CreateDate).and_then(image::time));
        set(facts, "gps", track.gps_info().and_then(image::place));
        #[expect(clippy::cast_precision_loss, reason = "no film is that long")]
        let length = whole(TrackInfoTag::DurationMs).map(|length| length as f64 / 1000.0);
        set(facts, "duration_seconds", length.and_then(seconds));
        for (name, tag) in [("width", TrackInfoTag::Width), ("height", TrackInfoTag::Height)] {
            let edge = whole(tag).and_then(pixels);
            set(facts, name, edge);
            set(&mut video, name, edge);
        }
    }
    set(facts, "video", (!video.is_empty()).then_some(Value::Object(video)));
    let found = match mime {
        "video/x-matroska" | "video/webm" => matroska::tracks(file),
        _ => quicktime::tracks(file),
    };
    tracks::write_facts(found, facts);
    audio::read(file, facts);
}
