//! `catchment serve`: the API, the interface and the scheduler, until it is stopped.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

use super::{
    Exit, Outcome, Settings,
    error::CliError,
    open::{self, AddressFile},
    signals::stop_on_signals,
};
use crate::{
    api::{
        self, App, Background,
        access::{Access, token},
        content::{for_services::BlobLinks, links::Links},
        server,
    },
    engine::{LiveProgress, leftovers, search_index},
    processing::processor::{Processor, default_concurrency},
    scheduler::{Bounds, Observers, Scheduler},
    store::{Store, probe, settings},
    webhooks::Deliveries,
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment serve                                  on http://127.0.0.1:7400, until Ctrl-C
  catchment serve --listen 127.0.0.1:0             on any free port
  systemctl --user enable --now catchment.service  always, for you, on a workstation
  sudo systemctl enable --now catchment.service    always, for the machine, on an edge box
  brew services start catchment                    always, for you, on macOS

The Debian package brings both services and starts neither. The first one works in your own data
directory; the second one runs as the user catchment, in /var/lib/catchment.")]
pub(super) struct Args {
    /// Where to listen; port 0 picks a free one [default: 127.0.0.1:7400]
    #[arg(long, env = "CATCHMENT_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// Another host name that the server accepts (repeatable)
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,

    /// Accept requests from other computers: needed for any address but this computer's own. They
    /// need the token, and their traffic can be read on the way unless a proxy in front adds TLS
    #[arg(long)]
    allow_remote: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let mut config = settings.config()?;
    config.serve.listen = args.listen.unwrap_or(config.serve.listen);
    config.serve.allowed_hosts.extend(args.allow_host);
    let listener = listen(config.serve.listen, args.allow_remote).await?;
    let address = listener.local_addr().map_err(CliError::failed)?;

    let engine = settings.engine_with(&config)?;
    leftovers::clear(&engine).await;
    let token = std::env::var(token::VARIABLE).ok().filter(|token| !token.is_empty());
    let access = Access::open(&config, address, token.as_deref()).map_err(CliError::failed)?;
    let added = engine.store.read(settings::allowed_hosts).await.map_err(CliError::failed)?;
    access.allow_hosts(&added);
    let address_file = AddressFile::of(&config.data_dir);
    let said = address_file.say(address).map_err(CliError::failed)?;

    let stopping = stop_on_signals("when running jobs reach a checkpoint")?;
    let live_progress = LiveProgress::default();
    let watched = live_progress.clone();
    let observers: Observers = Arc::new(move |job| watched.watch(job));
    let scheduler = Scheduler::start(engine.clone(), Bounds::default(), observers);
    let store = engine.store.clone();
    let links = Links::open(&config.data_dir, access.token().clone()).map_err(CliError::failed)?;
    let links = Arc::new(links);
    let for_services = BlobLinks::new(links.clone(), address, engine.clock().clone());
    let for_services = Arc::new(for_services.map_err(CliError::failed)?);
    let extractors = super::extractors::of(&engine, Some(for_services));
    let at_once = config.processing.map_or_else(default_concurrency, |most| most.get().into());
    let processor = Processor::start(engine.clone(), extractors.clone(), at_once);
    let deliveries = Deliveries::start(engine.clone());
    let background = Background {
        scheduler: &scheduler,
        live_progress,
        extractors,
        processor: processor.nudge(),
    };
    let app = App::new(engine, config, access, links, background, stopping.clone());
    tokio::spawn(api::resume_deletions(app.clone()));
    tokio::spawn(search_index::keep_up_to_date(store.clone(), app.stopping.clone()));
    let router = api::router(app);

    announce(&store, address).await?;
    tell_systemd(&[NotifyState::Ready]);
    tokio::spawn(feed_the_watchdog(store));
    let served = server::serve(listener, router, stopping).await;
    tell_systemd(&[NotifyState::Stopping]);
    drop(said);
    scheduler.stop().await;
    processor.stop().await;
    deliveries.stop().await;
    served.map_err(CliError::failed)?;
    Ok(Exit::Done)
}

/// The socket that systemd hands over, if it does, else one of our own:
/// <https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html>.
async fn listen(address: SocketAddr, allow_remote: bool) -> Result<TcpListener, CliError> {
    if let Some(listener) = ListenFd::from_env().take_tcp_listener(0).map_err(CliError::failed)? {
        require_allow_remote(listener.local_addr().map_err(CliError::failed)?, allow_remote)?;
        listener.set_nonblocking(true).map_err(CliError::failed)?;
        return TcpListener::from_std(listener).map_err(CliError::failed);
    }
    require_allow_remote(address, allow_remote)?;
    TcpListener::bind(address)
        .await
        .map_err(|error| CliError::failed(format!("cannot listen on {address}: {error}")))
}

fn require_allow_remote(address: SocketAddr, allow_remote: bool) -> Result<(), CliError> {
    if address.ip().is_loopback() || allow_remote {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "{address} can be reached from other computers: add --allow-remote if you want that"
    )))
}

/// Says where it listens, with a link that lets a browser in. Not to the journal of a service,
/// which others may read: systemd sets `JOURNAL_STREAM` where output goes there (systemd.exec(5)).
async fn announce(store: &Store, address: SocketAddr) -> Result<(), CliError> {
    let link = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => None,
        None => Some(open::link(store, address).await?),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "Catchment listens on http://{}", open::called(address))?;
    if let Some(link) = link {
        writeln!(out, "Open {link}")?;
        writeln!(out, "(works once, within 10 minutes; `catchment open` prints a new link)")?;
    }
    Ok(out.flush()?)
}

/// Tells systemd twice in its watchdog's interval that the server is well, which is that the
/// database can be read:
/// <https://www.freedesktop.org/software/systemd/man/latest/sd_watchdog_enabled.html>.
async fn feed_the_watchdog(store: Store) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(interval / 2);
    // Also while it stops: running jobs may take longer than the interval to reach a checkpoint.
    loop {
        ticks.tick().await;
        match store.read(probe::read).await {
            Ok(()) => tell_systemd(&[NotifyState::Watchdog]),
            Err(error) => tracing::error!(%error, "the database cannot be read"),
        }
    }
}

/// <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>; does nothing outside
/// systemd.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "could not notify systemd");
    }
}
