//! What a film's tracks are: codec, measures, frame rate, sound. Numbers that a file states are
//! believed only where they are possible, and nothing is read because a file says that it is long.

use super::{Facts, number, part, set};

/// What is known of the first track of each kind.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tracks {
    pub(super) seconds: Option<f64>,
    pub(super) title: Option<String>,
    pub(super) video: Option<Video>,
    pub(super) audio: Option<Audio>,
}

/// Pictures.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Video {
    pub(super) codec: Option<String>,
    pub(super) width: Option<u64>,
    pub(super) height: Option<u64>,
    /// Pictures a second.
    pub(super) frame_rate: Option<f64>,
}

/// Sound.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Audio {
    pub(super) codec: Option<String>,
    pub(super) channels: Option<u64>,
    pub(super) sample_rate: Option<u64>,
}

/// The longest film, in seconds: a year.
const LONGEST: f64 = 366.0 * 24.0 * 3600.0;
/// The most pictures a second.
const FASTEST: f64 = 100_000.0;
/// The longest edge, in pixels.
const WIDEST: u64 = 100_000;

/// Tells what is known of them.
pub(super) fn tell(tracks: Tracks, facts: &mut Facts) {
    let within = |value: Option<u64>, most| value.filter(|value| (1..=most).contains(value));
    let real = |value: Option<f64>, most| {
        value.filter(|value| *value > 0.0 && *value <= most).and_then(number)
    };
    set(facts, "duration_seconds", real(tracks.seconds, LONGEST));
    set(facts, "title", tracks.title);
    if let Some(video) = tracks.video {
        let (width, height) = (within(video.width, WIDEST), within(video.height, WIDEST));
        let rate = video.frame_rate.map(|rate| (rate * 1000.0).round() / 1000.0);
        part(facts, "video", |part| {
            set(part, "codec", video.codec);
            set(part, "width", width);
            set(part, "height", height);
            set(part, "frame_rate", real(rate, FASTEST));
        });
        set(facts, "width", width);
        set(facts, "height", height);
    }
    if let Some(audio) = tracks.audio {
        part(facts, "audio", |part| {
            set(part, "codec", audio.codec);
            set(part, "channels", within(audio.channels, 1024));
            set(part, "sample_rate_hz", within(audio.sample_rate, 10_000_000));
        });
    }
}
