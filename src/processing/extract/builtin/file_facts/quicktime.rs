//! The tracks of MP4, MOV and their kin: boxes within boxes.
//!
//! ISO/IEC 14496-12; <https://developer.apple.com/documentation/quicktime-file-format>.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use super::tracks::{Audio, Tracks, Video};

/// Boxes that are looked at.
const BOXES: u32 = 20_000;
/// Bytes of a box that are read.
const BOX_BYTES: u64 = 1024 * 1024;

/// A box's contents, in the file.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
}

struct Boxes<'f> {
    file: &'f mut File,
    left: u32,
}

pub(super) fn tracks(file: &mut File) -> Tracks {
    let mut tracks = Tracks::default();
    let Ok(end) = file.seek(SeekFrom::End(0)) else { return tracks };
    let mut boxes = Boxes { file, left: BOXES };
    let Some(movie) = boxes.find(Span { start: 0, end }, *b"moov") else { return tracks };
    if let Some(header) = boxes.find(movie, *b"mvhd") {
        tracks.seconds = boxes.length(header);
    }
    for track in boxes.all(movie, *b"trak") {
        let Some(media) = boxes.find(track, *b"mdia") else { continue };
        boxes.track(media, &mut tracks);
    }
    tracks
}

impl Boxes<'_> {
    fn track(&mut self, media: Span, tracks: &mut Tracks) -> Option<()> {
        let handler = self.find(media, *b"hdlr")?;
        let handler = self.bytes(handler);
        let kind: [u8; 4] = handler.get(8..12)?.try_into().ok()?;
        let information = self.find(media, *b"minf")?;
        let table = self.find(information, *b"stbl")?;
        let described = self.find(table, *b"stsd")?;
        let described = self.bytes(described);
        // Behind version and count; length, name, what is reserved, and what is of its kind.
        let entry = described.get(8..)?;
        let codec: [u8; 4] = entry.get(4..8)?.try_into().ok()?;
        match &kind {
            b"vide" if tracks.video.is_none() => {
                tracks.video = Some(Video {
                    codec: codec_name(codec),
                    width: u16_at(entry, 32),
                    height: u16_at(entry, 34),
                    frame_rate: self.frame_rate(media, table),
                });
            }
            b"soun" if tracks.audio.is_none() => {
                tracks.audio = Some(Audio {
                    codec: codec_name(codec),
                    channels: u16_at(entry, 24),
                    sample_rate: u16_at(entry, 32),
                });
            }
            _ => {}
        }
        Some(())
    }

    /// Samples a second: how many, over how long they all take.
    fn frame_rate(&mut self, media: Span, table: Span) -> Option<f64> {
        let header = self.find(media, *b"mdhd")?;
        let header = self.bytes(header);
        let (scale, _) = scale_and_length(&header)?;
        let times = self.find(table, *b"stts")?;
        let times = self.bytes(times);
        let (mut samples, mut ticks) = (0.0, 0.0);
        for pair in times.get(8..)?.as_chunks::<8>().0 {
            let (count, each) = (u32_at(pair, 0)?, u32_at(pair, 4)?);
            samples += f64::from(count);
            ticks += f64::from(count) * f64::from(each);
        }
        (ticks > 0.0).then(|| samples * f64::from(scale) / ticks)
    }

    fn length(&mut self, header: Span) -> Option<f64> {
        let (scale, length) = scale_and_length(&self.bytes(header))?;
        #[expect(clippy::cast_precision_loss, reason = "no film is that long")]
        (scale > 0).then(|| length as f64 / f64::from(scale))
    }

    fn find(&mut self, within: Span, name: [u8; 4]) -> Option<Span> {
        let mut at = within.start;
        while let Some((found, span)) = self.next(at, within.end) {
            if found == name {
                return Some(span);
            }
            at = span.end;
        }
        None
    }

    fn all(&mut self, within: Span, name: [u8; 4]) -> Vec<Span> {
        let (mut at, mut all) = (within.start, Vec::new());
        while let Some((found, span)) = self.next(at, within.end) {
            if found == name {
                all.push(span);
            }
            at = span.end;
        }
        all
    }

    /// The box that begins there. It ends no later than what it is in, whatever it says.
    fn next(&mut self, at: u64, end: u64) -> Option<([u8; 4], Span)> {
        self.left = self.left.checked_sub(1)?;
        if end.checked_sub(at)? < 8 {
            return None;
        }
        let mut header = [0; 16];
        let long = (end - at).min(16);
        self.file.seek(SeekFrom::Start(at)).ok()?;
        self.file.read_exact(header.get_mut(..usize::try_from(long).ok()?)?).ok()?;
        let name = header[4..8].try_into().ok()?;
        let (own, size) = match u32_at(&header, 0)? {
            0 => (8, end - at),
            1 => (16, u64::from_be_bytes(header[8..].try_into().ok()?)),
            size => (8, u64::from(size)),
        };
        let stop = at.checked_add(size).filter(|_| size >= own)?.min(end);
        Some((name, Span { start: (at + own).min(stop), end: stop }))
    }

    fn bytes(&mut self, span: Span) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = (span.end - span.start).min(BOX_BYTES);
        if self.file.seek(SeekFrom::Start(span.start)).is_ok() {
            // As much as there is.
            let _ = (&mut *self.file).take(length).read_to_end(&mut bytes);
        }
        bytes
    }
}

/// Ticks a second, and how many there are, of `mvhd` and `mdhd`.
fn scale_and_length(header: &[u8]) -> Option<(u32, u64)> {
    Some(match header.first()? {
        0 => (u32_at(header, 12)?, u64::from(u32_at(header, 16)?)),
        _ => {
            let length = header.get(24..32)?.try_into().ok()?;
            (u32_at(header, 20)?, u64::from_be_bytes(length))
        }
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(pair).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(four))
}

/// The usual name of a codec, else its own four letters.
fn codec_name(codec: [u8; 4]) -> Option<String> {
    let usual = match &codec {
        b"avc1" | b"avc3" => "h264",
        b"hvc1" | b"hev1" => "hevc",
        b"av01" => "av1",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"mp4v" => "mpeg4",
        b"jpeg" | b"mjpa" | b"mjpb" => "mjpeg",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "prores",
        b"mp4a" => "aac",
        b"ac-3" => "ac3",
        b"ec-3" => "eac3",
        b"Opus" => "opus",
        b"fLaC" => "flac",
        b".mp3" => "mp3",
        b"sowt" | b"twos" | b"lpcm" | b"raw " | b"in24" | b"fl32" => "pcm",
        other => {
            let text = std::str::from_utf8(other).ok()?;
            let is_word = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
            return is_word.then(|| text.trim().to_owned());
        }
    };
    Some(usual.to_owned())
}
