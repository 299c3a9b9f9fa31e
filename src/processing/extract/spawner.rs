//! The thread that starts all children. A child is killed when the *thread* that started it ends,
//! so that thread has to last as long as the process; the threads of a runtime do not.

use std::{
    io,
    process::Command,
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
};

use tokio::sync::oneshot;

use super::strays::{self, Started};

type Order = (Command, oneshot::Sender<io::Result<Started>>);

static ORDERS: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, waiting) = mpsc::channel::<Order>();
    // Without a thread nobody takes orders: `spawn` says so.
    let _ = thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        // Those of programs whose guard was killed, so that they can be found.
        if let Err(error) = strays::adopt_orphans() {
            tracing::warn!(%error, "stray processes of extractors cannot be found");
        }
        for (mut command, answer) in waiting {
            let _ = answer.send(strays::start(&mut command));
        }
    });
    Mutex::new(orders)
});

/// Starts a child.
///
/// # Errors
/// The system's.
pub(super) async fn spawn(command: Command) -> io::Result<Started> {
    let gone = || io::Error::other("the thread that starts processes has ended");
    let (answer, answered) = oneshot::channel();
    let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    orders.send((command, answer)).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}
