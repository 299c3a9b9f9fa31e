//! The tracks of Matroska and WebM: elements within elements.
//!
//! RFC 8794 (EBML) and RFC 9559 (Matroska).

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use super::{
    tracks::{Audio, Tracks, Video},
    words,
};

/// Elements that are looked at.
const ELEMENTS: u32 = 20_000;
/// Bytes of `Info` and `Tracks` that are read.
const PART_BYTES: u64 = 4 * 1024 * 1024;

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;

/// The type of a file that begins as Matroska does, by the kind of document that it says it is.
pub(super) fn mime_of(start: &[u8]) -> Option<&'static str> {
    const HEADER: u32 = 0x1a45_dfa3;
    const DOC_TYPE: u32 = 0x4282;
    let (_, size, length) = head(start).filter(|(id, ..)| *id == HEADER)?;
    let rest = &start[length..];
    let header = &rest[..usize::try_from(size?).ok()?.min(rest.len())];
    let (_, kind) = elements(header).into_iter().find(|(id, _)| *id == DOC_TYPE)?;
    match kind.trim_ascii_end() {
        b"webm" => Some("video/webm"),
        b"matroska" => Some("video/x-matroska"),
        _ => None,
    }
}

pub(super) fn tracks(file: &mut File) -> Tracks {
    let mut tracks = Tracks::default();
    let Ok(end) = file.seek(SeekFrom::End(0)) else { return tracks };
    let (mut at, mut inside) = (0, end);
    // What says what there is stands before what is played.
    for _ in 0..ELEMENTS {
        let Some((id, start, stop)) = element_of(file, at, inside) else { break };
        match id {
            SEGMENT => {
                (at, inside) = (start, stop);
                continue;
            }
            INFO => information(&bytes(file, start, stop), &mut tracks),
            TRACKS => listed(&bytes(file, start, stop), &mut tracks),
            CLUSTER => break,
            _ => {}
        }
        at = stop;
    }
    tracks
}

/// The element that begins there: its id, where its contents begin and where they end. It ends no
/// later than what it is in, whatever it says.
fn element_of(file: &mut File, at: u64, end: u64) -> Option<(u32, u64, u64)> {
    let mut header = Vec::new();
    file.seek(SeekFrom::Start(at)).ok()?;
    file.take(end.checked_sub(at)?.min(12)).read_to_end(&mut header).ok()?;
    let (id, size, length) = head(&header)?;
    let start = at + length as u64;
    let stop = size.and_then(|size| start.checked_add(size)).unwrap_or(end).min(end);
    (start <= stop).then_some((id, start, stop))
}

/// Id, size (`None`: to the end), and bytes of both.
fn head(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let id_length = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes.get(..id_length).filter(|id| id.len() <= 4)?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let first = *bytes.get(id_length)?;
    let length = first.leading_zeros() as usize + 1;
    let rest = bytes.get(id_length..id_length + length).filter(|rest| rest.len() <= 8)?;
    let mask = (1_u64 << (7 * length)) - 1;
    let size = rest.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)) & mask;
    Some((id, (size != mask).then_some(size), id_length + length))
}

fn bytes(file: &mut File, start: u64, stop: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(start)).is_ok() {
        // As much as there is.
        let _ = file.take((stop - start).min(PART_BYTES)).read_to_end(&mut bytes);
    }
    bytes
}

/// The elements that are in an element: id and contents.
fn elements(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut all = Vec::new();
    while let Some((id, size, length)) = head(bytes) {
        let rest = &bytes[length..];
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(rest.len());
        let (inside, after) = rest.split_at(size.min(rest.len()));
        all.push((id, inside));
        bytes = after;
        if all.len() == ELEMENTS as usize {
            break;
        }
    }
    all
}

fn information(info: &[u8], tracks: &mut Tracks) {
    let (mut scale, mut length) = (1_000_000, None);
    for (id, value) in elements(info) {
        match id {
            0x2a_d7b1 => scale = whole(value),
            0x4489 => length = real(value),
            0x7ba9 => tracks.title = std::str::from_utf8(value).ok().and_then(words),
            _ => {}
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds, of which there are a million")]
    let scale = scale as f64;
    tracks.seconds = length.map(|length| length * scale / 1e9);
}

fn listed(list: &[u8], tracks: &mut Tracks) {
    for (_, track) in elements(list).into_iter().filter(|(id, _)| *id == 0xae) {
        let (mut kind, mut codec, mut each) = (0, None, 0);
        let (mut video, mut audio) = (Video::default(), Audio::default());
        for (id, value) in elements(track) {
            match id {
                0x83 => kind = whole(value),
                0x86 => codec = std::str::from_utf8(value).ok().and_then(codec_name),
                0x23_e383 => each = whole(value),
                0xe0 => {
                    for (id, value) in elements(value) {
                        match id {
                            0xb0 => video.width = Some(whole(value)),
                            0xba => video.height = Some(whole(value)),
                            _ => {}
                        }
                    }
                }
                0xe1 => {
                    for (id, value) in elements(value) {
                        match id {
                            0x9f => audio.channels = Some(whole(value)),
                            0xb5 => audio.sample_rate = real(value).map(rounded),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        match kind {
            1 if tracks.video.is_none() => {
                #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one picture")]
                let rate = (each > 0).then(|| 1e9 / each as f64);
                tracks.video = Some(Video { codec, frame_rate: rate, ..video });
            }
            2 if tracks.audio.is_none() => tracks.audio = Some(Audio { codec, ..audio }),
            _ => {}
        }
    }
}

fn whole(value: &[u8]) -> u64 {
    value.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn real(value: &[u8]) -> Option<f64> {
    match value.len() {
        4 => Some(f32::from_be_bytes(value.try_into().ok()?).into()),
        8 => Some(f64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped by `as`")]
fn rounded(real: f64) -> u64 {
    real.round() as u64
}

/// `V_MPEG4/ISO/AVC`: the usual name of a codec, else its own in lower case.
fn codec_name(id: &str) -> Option<String> {
    let usual = match id.trim_end_matches('\0') {
        "V_MPEG4/ISO/AVC" => "h264",
        "V_MPEGH/ISO/HEVC" => "hevc",
        "V_AV1" => "av1",
        "V_VP8" => "vp8",
        "V_VP9" => "vp9",
        "V_THEORA" => "theora",
        "V_PRORES" => "prores",
        "A_OPUS" => "opus",
        "A_VORBIS" => "vorbis",
        "A_FLAC" => "flac",
        "A_AC3" => "ac3",
        "A_EAC3" => "eac3",
        "A_MPEG/L3" => "mp3",
        id if id.starts_with("A_AAC") => "aac",
        id if id.starts_with("A_PCM") => "pcm",
        id if id.starts_with("A_DTS") => "dts",
        id => return words(&id.get(2..)?.to_ascii_lowercase()),
    };
    Some(usual.to_owned())
}
