//! Length, format and tags of music and speech.

use std::{fs::File, io::BufReader};

use lofty::{
    file::{AudioFile as _, FileType, TaggedFileExt as _},
    probe::Probe,
    tag::Accessor as _,
};
use serde_json::Map;

use super::{Facts, moment, part, rewind, seconds, set, words};

pub(super) fn read(file: &mut File, facts: &mut Facts) {
    if !rewind(file) {
        return;
    }
    let Ok(probe) = Probe::new(BufReader::new(&*file)).guess_file_type() else { return };
    let kind = probe.file_type();
    let Ok(found) = probe.read() else { return };
    let properties = found.properties();
    set(facts, "duration_seconds", seconds(properties.duration().as_secs_f64()));
    let mut audio = Map::new();
    set(&mut audio, "codec", kind.and_then(codec));
    set(&mut audio, "channels", properties.channels());
    set(&mut audio, "sample_rate_hz", properties.sample_rate());
    set(&mut audio, "bit_rate", properties.audio_bitrate().map(|kilobits| kilobits * 1000));
    let mut tags = Map::new();
    if let Some(tag) = found.primary_tag().or_else(|| found.first_tag()) {
        let text = |text: Option<std::borrow::Cow<'_, str>>| text.and_then(|text| words(&text));
        set(facts, "title", text(tag.title()));
        set(facts, "author", text(tag.artist()));
        set(&mut tags, "title", text(tag.title()));
        set(&mut tags, "artist", text(tag.artist()));
        set(&mut tags, "album", text(tag.album()));
        set(&mut tags, "genre", text(tag.genre()));
        set(&mut tags, "comment", text(tag.comment()));
        set(&mut tags, "track", tag.track());
        set(&mut tags, "disk", tag.disk());
        set(&mut tags, "date", tag.date().map(|date| date.to_string()));
        set(facts, "created_at", tag.date().and_then(|date| moment::utc(&date.to_string())));
    }
    set(&mut audio, "tags", (!tags.is_empty()).then_some(tags));
    part(facts, "audio", |known| {
        for (name, fact) in audio {
            set(known, &name, Some(fact));
        }
    });
}

const fn codec(kind: FileType) -> Option<&'static str> {
    Some(match kind {
        FileType::Aac => "aac",
        FileType::Aiff | FileType::Wav => "pcm",
        FileType::Ape => "ape",
        FileType::Flac => "flac",
        FileType::Mpeg => "mp3",
        FileType::Mpc => "mpc",
        FileType::Opus => "opus",
        FileType::Vorbis => "vorbis",
        FileType::Speex => "speex",
        FileType::WavPack => "wavpack",
        // A container: what is in it is not known by that.
        _ => return None,
    })
}
