//! Taking over the runs of dead workers.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    engine::{Engine, lease},
    store::{StoreError, schedule},
};

/// How long living workers have to renew leases that expired while the machine slept.
const GRACE: Duration = Duration::from_secs(5);

/// Finds abandoned runs.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    not_before: Option<Instant>,
}

impl Takeover {
    /// Waits a while, because the clock has jumped ahead and leases look expired that are not.
    pub(super) fn hold_off(&mut self) {
        self.not_before = Some(Instant::now() + GRACE);
    }

    /// Takes over each run whose worker is gone or whose lease has expired.
    pub(super) async fn take_over_dead(&self, engine: &Engine) -> Result<(), StoreError> {
        if self.not_before.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let now = engine.clock().now();
        for (sync_key, holder) in engine.store.read(schedule::running).await? {
            let alive =
                holder.as_ref().is_some_and(|holder| lease::is_alive(holder, engine.worker(), now));
            if alive {
                continue;
            }
            let gone = holder.clone();
            let taken_over = engine
                .store
                .write(move |tx| schedule::take_over(tx, sync_key, gone.as_ref(), now))
                .await?;
            if taken_over {
                let holder = holder.map(|holder| format!("{}, pid {}", holder.host, holder.pid));
                tracing::warn!(sync_key, holder, "took over from a worker that is gone");
            }
        }
        Ok(())
    }
}
