//! `[limits]` of `config.toml`: how fast providers are asked where their connections do not say,
//! and how often everything is listed.

use serde::Deserialize;

/// The most that a limit can be.
const MOST: f64 = 1_000_000_000.0;

/// Bounds of what is asked of providers. Never settable through the API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Hours after which a source with a change feed is listed in full again; 0: in every run.
    pub full_pass_hours: u32,
    /// Google Drive's units of a minute, for each connection.
    pub google_drive_units_per_minute: Option<Rate>,
    /// Microsoft Graph's units of a minute, for each connection.
    pub sharepoint_requests_per_minute: Option<Rate>,
    /// Iconik's requests of a second, for each connection that names no limit of its own.
    pub iconik_requests_per_second: Option<Rate>,
    /// How many seconds before the last watermark rows of a table are read again, because what
    /// is committed late has an earlier one; 0: rows with that very watermark only.
    pub snowflake_overlap_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            full_pass_hours: 24,
            google_drive_units_per_minute: None,
            sharepoint_requests_per_minute: None,
            iconik_requests_per_second: None,
            snowflake_overlap_seconds: 300,
        }
    }
}

/// A number above 0 and at most a thousand million.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(f64);

impl Rate {
    /// How many there are in a minute, if this is how many there are in one; at least one.
    #[must_use]
    pub fn of_a_minute(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
        let whole = self.0.clamp(1.0, f64::from(u32::MAX)) as u32;
        whole
    }

    /// How many there are in a minute, if this is how many there are in a second.
    #[must_use]
    pub fn of_a_second(self) -> u32 {
        Self(self.0 * 60.0).of_a_minute()
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        match number > 0.0 && number <= MOST {
            true => Ok(Self(number)),
            false => Err(format!("{number} is no limit: write a number from 1 to {MOST}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Limits, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn any_positive_number_up_to_a_thousand_million_is_a_limit() {
        let limits =
            read("iconik_requests_per_second = 0.5\nsharepoint_requests_per_minute = 1200");
        let limits = limits.unwrap();
        assert_eq!(limits.iconik_requests_per_second.unwrap().of_a_second(), 30);
        assert_eq!(limits.sharepoint_requests_per_minute.unwrap().of_a_minute(), 1200);
        assert_eq!(limits.full_pass_hours, 24);
        assert!(read("google_drive_units_per_minute = 1000000000").is_ok());
        for wrong in ["0", "-1", "1000000001", "nan", "\"many\""] {
            let text = format!("iconik_requests_per_second = {wrong}");
            assert!(read(&text).is_err(), "{wrong}");
        }
        let error = read("iconik_requests = 5").unwrap_err().to_string();
        assert!(error.contains("iconik_requests_per_second"), "{error}");
    }
}
