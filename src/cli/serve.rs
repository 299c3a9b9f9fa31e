//! `serve`: the API, the interface and the scheduler, until somebody says stop.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use tokio::net::TcpListener;

use super::{Exit, Outcome, Settings, error::CliError, signals::stop_on_signals};
use crate::{
    api::{
        self, App,
        access::{Access, token},
        content::links::Links,
        server,
    },
    engine::Silent,
    scheduler::{Bounds, Observers, Scheduler},
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen; port 0 picks a free one [default: 127.0.0.1:7400]
    #[arg(long, env = "CATCHMENT_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// Another name by which the server may be called; may be repeated
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,

    /// Let other computers in: needed for any address but this computer's own
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
    let token = std::env::var(token::VARIABLE).ok().filter(|token| !token.is_empty());
    if token.is_none() {
        token::TokenFile::of(&config.data_dir).ensure().map_err(CliError::failed)?;
    }
    let stopping = stop_on_signals("when running jobs are at a checkpoint")?;
    let access = Arc::new(Access::new(&config, token.as_deref()));
    let observers: Observers = Arc::new(|_| Arc::new(Silent));
    let scheduler = Scheduler::start(engine.clone(), Bounds::default(), observers);
    let links = Arc::new(Links::open(&config.data_dir).map_err(CliError::failed)?);
    let app = App {
        engine,
        config: Arc::new(config),
        access,
        scheduler: scheduler.nudge(),
        links,
        stopping: stopping.clone(),
    };
    tokio::spawn(api::go_on(app.clone()));
    let router = api::router(app).map_err(CliError::failed)?;

    announce(address)?;
    let served = server::serve(listener, router, stopping).await;
    scheduler.stop().await;
    served.map_err(CliError::failed)?;
    Ok(Exit::Done)
}

async fn listen(address: SocketAddr, allow_remote: bool) -> Result<TcpListener, CliError> {
    if !address.ip().is_loopback() && !allow_remote {
        return Err(CliError::usage(format!(
            "{address} lets other computers in: say --allow-remote if that is meant"
        )));
    }
    TcpListener::bind(address)
        .await
        .map_err(|error| CliError::failed(format!("cannot listen on {address}: {error}")))
}

fn announce(address: SocketAddr) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "Catchment listens on http://{address}")?;
    Ok(out.flush()?)
}
