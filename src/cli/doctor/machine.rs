//! What the machine gives: room and speed of the disk, the clock, watches, the port.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use jiff::Timestamp;

use super::Finding;
use crate::{blobs, cli::open::AddressFile, config::Config, processing::extract::confine};

/// What is written to see how fast the disk is.
const SAMPLE: usize = 4 << 20;
/// How often a small file is made durable for that.
const COMMITS: u32 = 5;
/// Slower than this, and a first sync waits for the disk.
const SLOW_BYTES_PER_SECOND: u64 = 20 << 20;
/// Slower than this, and every commit is felt.
const SLOW_COMMIT: Duration = Duration::from_millis(100);

/// Kinds of file systems that SQLite's locks cannot be relied on
/// (<https://www.sqlite.org/faq.html#q5>), by the number in `statfs(2)`.
const SHARES: &[(i64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
];

/// Room, kind and speed of the disk, as far as there is a data directory.
pub(super) fn disk(config: &Config) -> Vec<Finding> {
    let dir = existing(&config.data_dir);
    let mut findings = vec![space(&dir, config.min_free)];
    findings.extend(kind(&dir));
    if dir == config.data_dir {
        findings.push(match measure(&dir) {
            Ok(speed) => judge(&speed),
            Err(error) => Finding::error(
                "disk_speed",
                format!("nothing could be written to {}: {error}", dir.display()),
                "Make room on the disk, or see the other findings",
            ),
        });
    }
    findings
}

/// What the kernel can keep extractors from.
pub(super) fn confinement() -> Finding {
    match confine::missing().join(", ") {
        missing if missing.is_empty() => Finding::ok(
            "confinement",
            "extractors are kept from files, networks and processes that are not theirs",
        ),
        missing => Finding::warning(
            "confinement",
            format!("the kernel of this computer does not keep extractors from: {missing}"),
            "Use Linux 6.12 or later with Landlock and seccomp switched on, or only programs that \
             you trust with your files",
        ),
    }
}

/// The folder itself, or the nearest one above it that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn space(dir: &Path, floor: Option<ByteSize>) -> Finding {
    let disk = match blobs::disk(dir, floor) {
        Ok(disk) => disk,
        Err(error) => {
            let fix = "See that the disk is there and mounted";
            return Finding::error("disk_space", error.to_string(), fix);
        }
    };
    let message = format!(
        "{} free of {} where {} is; {} are to stay free",
        ByteSize(disk.free),
        ByteSize(disk.total),
        dir.display(),
        ByteSize(disk.floor)
    );
    let fix = "Make room, move the data directory to a larger disk, or lower CATCHMENT_MIN_FREE; \
               `catchment gc` gives back what nothing refers to";
    if disk.free < disk.floor {
        Finding::error("disk_space", format!("{message}: nothing large can be stored"), fix)
    } else if disk.free - disk.floor < disk.floor {
        Finding::warning("disk_space", message, fix)
    } else {
        Finding::ok("disk_space", message)
    }
}

#[cfg(target_os = "linux")]
fn kind(dir: &Path) -> Option<Finding> {
    let found = rustix::fs::statfs(dir).ok()?.f_type;
    let (_, name) = SHARES.iter().find(|(kind, _)| *kind == found)?;
    Some(Finding::warning(
        "file_system",
        format!("{} is on {name}, whose locks SQLite cannot rely on", dir.display()),
        "Move the data directory to a disk of this computer: stop the server, move the folder, and \
         set CATCHMENT_DATA_DIR",
    ))
}

#[cfg(not(target_os = "linux"))]
fn kind(_: &Path) -> Option<Finding> {
    None
}

/// How fast a disk is.
struct Speed {
    bytes_per_second: u64,
    commit: Duration,
}

/// Writes a little, durably, and removes it.
fn measure(dir: &Path) -> io::Result<Speed> {
    let path = dir.join(format!("doctor.{}", std::process::id()));
    let measure = || -> io::Result<Speed> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        let since = Instant::now();
        file.write_all(&vec![0x5a; SAMPLE])?;
        file.sync_all()?;
        let bytes_per_second = SAMPLE as f64 / since.elapsed().as_secs_f64().max(1e-6);
        let since = Instant::now();
        for _ in 0..COMMITS {
            file.write_all(b"a small commit")?;
            file.sync_data()?;
        }
        Ok(Speed { bytes_per_second: bytes_per_second as u64, commit: since.elapsed() / COMMITS })
    };
    let measured = measure();
    let removed = fs::remove_file(&path);
    let speed = measured?;
    removed.map(|()| speed)
}

fn judge(speed: &Speed) -> Finding {
    let message = format!(
        "{}/s written, {:.1} ms for a small commit",
        ByteSize(speed.bytes_per_second),
        speed.commit.as_secs_f64() * 1000.0
    );
    if speed.bytes_per_second < SLOW_BYTES_PER_SECOND || speed.commit > SLOW_COMMIT {
        return Finding::warning(
            "disk_speed",
            format!("{message}: this disk is slow, or busy"),
            "Move the data directory to a faster disk (an SSD), or see what else keeps it busy",
        );
    }
    Finding::ok("disk_speed", message)
}

/// The clock: not before this program was built, nor before what has happened already.
pub(super) fn clock(now: Timestamp, last: Option<Timestamp>) -> Finding {
    let fix = "Set the clock, and keep it right: `sudo timedatectl set-ntp true`";
    if let Some(built) = built().filter(|built| now < *built) {
        let message =
            format!("the clock says {now}, which is before this program was built ({built})");
        return Finding::error("clock", message, fix);
    }
    if let Some(last) = last.filter(|last| now + Duration::from_secs(60) < *last) {
        let message = format!("the clock says {now}, but the last job here was at {last}");
        return Finding::error("clock", format!("{message}: it went back"), fix);
    }
    Finding::ok("clock", format!("{now}"))
}

fn built() -> Option<Timestamp> {
    let date = env!("CATCHMENT_BUILD").split(' ').nth(1)?;
    format!("{date}T00:00:00Z").parse().ok()
}

/// Whether these folders, with all below them, can be watched.
pub(super) fn watches(folders: &[PathBuf]) -> Option<Finding> {
    let (setting, limit) = watch_limit()?;
    let needed: u64 = folders.iter().map(|folder| folders_below(folder, limit)).sum();
    if needed < limit {
        let message = format!("{needed} of {limit} watches are needed");
        return Some(Finding::ok("watch_limits", message));
    }
    let raised = (2 * needed).next_power_of_two().max(524_288);
    Some(Finding::warning(
        "watch_limits",
        format!(
            "the folders that are watched have at least {needed} folders in them, and this system \
             watches {limit}: the rest is looked at in its interval only"
        ),
        format!(
            "echo {setting}={raised} | sudo tee /etc/sysctl.d/60-catchment.conf && sudo sysctl --system"
        ),
    ))
}

/// The tighter one of the limits of this system and of this user's namespace
/// (<https://man7.org/linux/man-pages/man7/inotify.7.html>, namespaces(7)); `None` where the system
/// has none.
fn watch_limit() -> Option<(&'static str, u64)> {
    let limits = [
        ("fs.inotify.max_user_watches", "/proc/sys/fs/inotify/max_user_watches"),
        ("user.max_inotify_watches", "/proc/sys/user/max_inotify_watches"),
    ];
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    limits
        .into_iter()
        .filter_map(|(name, path)| Some((name, read(path)?)))
        .min_by_key(|(_, limit)| *limit)
}

/// Folders in a folder, itself included; counts no further than `enough`.
fn folders_below(root: &Path, enough: u64) -> u64 {
    let (mut count, mut waiting) = (0, vec![root.to_owned()]);
    while let Some(folder) = waiting.pop() {
        count += 1;
        if count >= enough {
            break;
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        waiting.extend(entries.flatten().filter(is_folder).map(|entry| entry.path()));
    }
    count
}

/// Whether the server can listen, does already, or who is in its place.
pub(super) fn port(config: &Config) -> Finding {
    let address = config.serve.listen;
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("port", format!("{address} is free for `catchment serve`")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            match AddressFile::of(&config.data_dir).reachable() {
                Some(server) if server.port() == address.port() => {
                    Finding::ok("port", format!("the server listens on {address}"))
                }
                _ => taken(address),
            }
        }
        Err(error) => Finding::error(
            "port",
            format!("nothing can listen on {address}: {error}"),
            "Choose another address with `catchment serve --listen`, or `listen` in config.toml",
        ),
    }
}

fn taken(address: SocketAddr) -> Finding {
    let who = holder(address.port()).unwrap_or_else(|| "a process of another user".to_owned());
    Finding::error(
        "port",
        format!("{address} is in use by {who}"),
        format!(
            "End that, or choose another port: `catchment serve --listen {}:{}`",
            address.ip(),
            address.port().wrapping_add(1).max(1024)
        ),
    )
}

/// Name and process id of who listens on a port, where the system says.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listening(table, port))
        .collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|to| {
            let to = to.to_string_lossy();
            inodes.iter().any(|inode| to == format!("socket:[{inode}]"))
        });
        if holds {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!(
                "{} (process {})",
                name.trim(),
                entry.file_name().to_string_lossy()
            ));
        }
    }
    None
}

/// Inodes of the sockets that listen on a port, of a table of the kernel's
/// (<https://man7.org/linux/man-pages/man5/proc_pid_net.5.html>).
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let text = fs::read_to_string(table).unwrap_or_default();
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, found) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(found, 16).ok()? == port && *fields.get(3)? == LISTEN;
        is_it.then(|| fields.get(9).map(ToString::to_string))?
    };
    text.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::Status, *};

    fn speed(bytes_per_second: u64, commit_ms: u64) -> Status {
        judge(&Speed { bytes_per_second, commit: Duration::from_millis(commit_ms) }).status
    }

    #[test]
    fn a_disk_that_is_slow_in_either_way_is_a_warning() {
        assert_eq!(speed(500 << 20, 2), Status::Ok);
        assert_eq!(speed(5 << 20, 2), Status::Warning);
        assert_eq!(speed(500 << 20, 400), Status::Warning);
    }

    #[test]
    fn a_clock_before_the_build_is_an_error() {
        assert_eq!(clock(Timestamp::UNIX_EPOCH, None).status, Status::Error);
    }
}
