//! `open`: a new link that lets a browser into the server that runs.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Exit, Outcome, Settings, error::CliError};
use crate::{
    api::access::login,
    clock::{Clock as _, SystemClock},
    store::Store,
};

/// Arguments of `open`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs it.
pub(super) async fn run(_: Args, settings: &Settings) -> Outcome {
    let data_dir = settings.config()?.data_dir;
    let Some(address) = Whereabouts::of(&data_dir).reachable() else {
        return Err(CliError::usage(format!(
            "no server runs on {data_dir:?}: start one with `catchment serve`"
        )));
    };
    let store = Store::open(&data_dir)?;
    writeln!(io::stdout(), "{}", link(&store, address).await?)?;
    Ok(Exit::Done)
}

/// A link that lets one browser in.
pub(super) async fn link(store: &Store, address: SocketAddr) -> Result<String, CliError> {
    let code = login::new_code(store, SystemClock.now()).await?;
    Ok(format!("http://{}/login?code={code}", called(address)))
}

/// How a browser on this computer calls a server that listens there.
pub(super) fn called(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The file that says where the server of a data directory listens.
#[derive(Debug)]
pub(super) struct Whereabouts(PathBuf);

impl Whereabouts {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("server.address"))
    }

    /// Says it until the server ends.
    pub(super) fn say(&self, address: SocketAddr) -> io::Result<Said<'_>> {
        fs::write(&self.0, address.to_string())?;
        Ok(Said { file: self, address })
    }

    fn read(&self) -> Option<SocketAddr> {
        fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }

    /// The address, if somebody listens there: a server that was killed leaves its file behind.
    fn reachable(&self) -> Option<SocketAddr> {
        let address = called(self.read()?);
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok().map(|_| address)
    }
}

/// Takes the word back when the server ends, unless another server has said its own since.
#[derive(Debug)]
pub(super) struct Said<'a> {
    file: &'a Whereabouts,
    address: SocketAddr,
}

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if self.file.read() == Some(self.address) {
            let _ = fs::remove_file(&self.file.0);
        }
    }
}
