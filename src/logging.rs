//! What is written to the log: set once at the start, changed while the program runs.
//!
//! What does not live here: any line of the log.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

static LOG: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// How much of what this program does is logged; of its dependencies, warnings are.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is unusual.
    Warn,
    /// And what happens.
    Info,
    /// And every step.
    Debug,
    /// And everything.
    Trace,
}

/// Starts the log on the standard error stream: as JSON, or as lines for people.
pub fn start(filter: EnvFilter, as_json: bool) {
    let (filter, handle) = reload::Layer::new(filter);
    // Colours are for people who look at a terminal (https://no-color.org).
    let has_colours = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(has_colours);
    let lines = match as_json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Only a second start could find it set, and that has panicked above.
    let _ = LOG.set(handle);
}

/// How much is logged of what this program does; `None` before [`start`].
#[must_use]
pub fn level() -> Option<LogLevel> {
    let filter = LOG.get()?.with_current(ToString::to_string).ok()?;
    let mut directives: Vec<&str> = filter.split(',').collect();
    directives.sort_by_key(|directive| !directive.starts_with("catchment="));
    let named = directives.iter().find_map(|directive| {
        directive.strip_prefix("catchment=").or((!directive.contains('=')).then_some(*directive))
    })?;
    serde_json::from_value(named.to_ascii_lowercase().into()).ok()
}

/// Logs so much from now on, until the program ends.
pub fn set_level(level: LogLevel) {
    let word = serde_json::to_value(level).unwrap_or_default();
    let others = if level == LogLevel::Error { "error" } else { "warn" };
    let filter = EnvFilter::new(format!(
        "catchment={},{others},aws_config=error",
        word.as_str().unwrap_or("info")
    ));
    if let Some(Err(error)) = LOG.get().map(|log| log.reload(filter)) {
        tracing::warn!(%error, "the log's level could not be changed");
    }
}
