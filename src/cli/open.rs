//! `catchment open`: prints a link that signs a browser in to the server, starting one if need be.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Exit, Outcome, Settings, error::CliError};
use crate::{
    api::access::login,
    clock::{Clock as _, SystemClock},
    store::Store,
};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `open`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment open                    a link, to be opened on this computer
  catchment open --start --browser  straight into the browser, as the desktop's menu does")]
pub(super) struct Args {
    /// Start the server in the background if none runs
    #[arg(long)]
    start: bool,

    /// Open the link in the browser instead of printing it
    #[arg(long)]
    browser: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let data_dir = settings.config()?.data_dir;
    let address_file = AddressFile::of(&data_dir);
    let address = match address_file.reachable() {
        Some(address) => address,
        None if args.start => start(settings, &address_file).await?,
        None => {
            return Err(CliError::usage(format!(
                "no server is running on {data_dir:?}: start one with `catchment serve`, or have it \
                 started with `catchment open --start`"
            )));
        }
    };
    let store = Store::open(&data_dir)?;
    let link = link(&store, address).await?;
    match args.browser {
        true => show(&link)?,
        false => writeln!(io::stdout(), "{link}")?,
    }
    Ok(Exit::Done)
}

/// Starts the server and waits until it listens: as the user's service where that is installed and
/// works in this data directory, else as a process of its own that outlives this one.
async fn start(settings: &Settings, address_file: &AddressFile) -> Result<SocketAddr, CliError> {
    let is_usual = settings.data_dir.is_none();
    let mut server = match is_usual && start_service() {
        true => None,
        false => Some(start_process(settings)?),
    };
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if let Some(address) = address_file.reachable() {
            return Ok(address);
        }
        let ended = server.as_mut().map(std::process::Child::try_wait).transpose();
        if ended.map_err(CliError::failed)?.flatten().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(CliError::failed("the server did not start: `catchment serve` says why"))
}

/// Whether systemd has started the user's service.
fn start_service() -> bool {
    let mut command = Command::new("systemctl");
    command.args(["--user", "start", "catchment.service"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn start_process(settings: &Settings) -> Result<std::process::Child, CliError> {
    let program = std::env::current_exe().map_err(CliError::failed)?;
    let mut command = Command::new(program);
    if let Some(data_dir) = &settings.data_dir {
        command.arg("--data-dir").arg(data_dir);
    }
    command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C in this terminal is not meant for it.
    command.process_group(0).spawn().map_err(CliError::failed)
}

/// Opens a link in the browser.
pub(super) fn show(link: &str) -> Result<(), CliError> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let status = Command::new(opener).arg(link).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => {
            Err(CliError::failed(format!("{opener} did not open a browser: open {link} yourself")))
        }
    }
}

/// A link that signs one browser in.
pub(super) async fn link(store: &Store, address: SocketAddr) -> Result<String, CliError> {
    let code = login::new_code(store, SystemClock.now()).await?;
    Ok(format!("http://{}/login?code={code}", called(address)))
}

/// The address at which a browser on this computer reaches a server that listens there.
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

/// The file that says where the servers of a data directory listen, a line each, the last one
/// started last.
#[derive(Debug)]
pub(super) struct AddressFile(PathBuf);

impl AddressFile {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("server.address"))
    }

    /// Writes it until the server ends.
    pub(super) fn say(&self, address: SocketAddr) -> io::Result<Said<'_>> {
        let mut all = self.others(address);
        all.retain(|other| listens(*other));
        all.push(address);
        self.write(&all)?;
        Ok(Said { file: self, address })
    }

    fn read(&self) -> Vec<SocketAddr> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    fn others(&self, address: SocketAddr) -> Vec<SocketAddr> {
        self.read().into_iter().filter(|other| *other != address).collect()
    }

    /// Whole or not at all: somebody may be reading it.
    fn write(&self, all: &[SocketAddr]) -> io::Result<()> {
        let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
        let draft = self.0.with_extension(format!("address.{}", std::process::id()));
        fs::write(&draft, lines.join("\n"))?;
        fs::rename(&draft, &self.0)
    }

    /// The address of the server that was started last and listens: one that was killed leaves its
    /// line behind.
    pub(super) fn reachable(&self) -> Option<SocketAddr> {
        self.read().into_iter().rev().find(|address| listens(*address)).map(called)
    }
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&called(address), Duration::from_secs(2)).is_ok()
}

/// Removes the server's line when it ends, and the file with the last line.
#[derive(Debug)]
pub(super) struct Said<'a> {
    file: &'a AddressFile,
    address: SocketAddr,
}

impl Drop for Said<'_> {
    fn drop(&mut self) {
        let _ = match self.file.others(self.address).as_slice() {
            [] => fs::remove_file(&self.file.0),
            others => self.file.write(others),
        };
    }
}
