//! What a film's tracks are: codec, measures, frame rate, sound. Numbers that a file states are
//! believed only where they are possible, and nothing is read because a file says that it is long.

use super::{Facts, number, part, pixels, seconds, set};

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

/// The most pictures a second.
const FASTEST: f64 = 100_000.0;

/// Writes down what is known of them.
pub(super) fn write_facts(tracks: Tracks, facts: &mut Facts) {
    set(facts, "duration_seconds", tracks.seconds.and_then(seconds));
    set(facts, "title", tracks.title);
    if let Some(video) = tracks.video {
        let (width, height) = (video.width.and_then(pixels), video.height.and_then(pixels));
        let rate = video.frame_rate.filter(|rate| *rate > 0.0 && *rate <= FASTEST);
        let rate = rate.and_then(|rate| number((rate * 1000.0).round() / 1000.0));
        part(facts, "video", |part| {
            set(part, "codec", video.codec);
            set(part, "width", width);
            set(part, "height", height);
            set(part, "frame_rate", rate);
        });
        set(facts, "width", width);
        set(facts, "height", height);
    }
    if let Some(audio) = tracks.audio {
        part(facts, "audio", |part| {
            set(part, "codec", audio.codec);
            set(part, "channels", audio.channels.filter(|count| (1..=1024).contains(count)));
            let rate = audio.sample_rate.filter(|rate| (1..=10_000_000).contains(rate));
            set(part, "sample_rate_hz", rate);
        });
    }
}
