//! Stopping on request: the first signal stops at a checkpoint, the second at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Exit, error::CliError, output};

/// A token that the first SIGINT or SIGTERM cancels, saying `where_it_stops`; the second one ends
/// the process, which loses nothing that was committed.
pub(super) fn stop_on_signals(where_it_stops: &'static str) -> Result<CancellationToken, CliError> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(Exit::Failed as i32);
            }
            output::warning(&format!(
                "catchment: stopping {where_it_stops}; press again to stop at once"
            ));
            token.cancel();
        }
    });
    Ok(stop)
}
