//! Builds the program again when a file of the browser interface changes, which is part of it, and
//! tells it which source it was built from, for `catchment --version`.
//!
//! The commit is the one that `git archive` wrote into `packaging/commit`, else the one that the
//! working tree is at. A release looks again whenever that may have changed. A development build
//! does not, since it would then be built anew for every commit: its commit ends in `+`, "or
//! later".
//! `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>) sets the date.

use std::{env, fs, path::Path, process::Command};

/// The source that a program is built from.
struct Source {
    commit: String,
    /// Seconds since 1970, of the commit.
    time: Option<i64>,
}

fn main() {
    for path in ["web", "build.rs", "packaging/commit"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");

    let source = archived()
        .or_else(working_tree)
        .unwrap_or_else(|| Source { commit: "unknown".to_owned(), time: None });
    let epoch = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let date = epoch.or(source.time).map_or_else(|| "undated".to_owned(), date);
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=CATCHMENT_BUILD={} {date} {target}", source.commit);
}

/// What `git archive` wrote in place of the format in `packaging/commit`, see `.gitattributes`.
fn archived() -> Option<Source> {
    let text = fs::read_to_string("packaging/commit").ok()?;
    let line = text.lines().find(|line| !line.starts_with('#'))?;
    let (commit, time) = line.split_once(' ')?;
    let is_commit = commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
    is_commit.then(|| Source {
        commit: commit[..commit.len().min(12)].to_owned(),
        time: time.parse().ok(),
    })
}

/// The commit that is checked out here, if this is the root of a working tree.
fn working_tree() -> Option<Source> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&root).canonicalize().ok()? != Path::new(".").canonicalize().ok()? {
        return None;
    }
    let shown = git(&["show", "--no-patch", "--format=%H %ct", "HEAD"])?;
    let (commit, time) = shown.split_once(' ')?;
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|s| !s.is_empty());
    let is_development = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    if !is_development {
        look_again_when_the_tree_changes();
    }
    let later = if is_changed || is_development { "+" } else { "" };
    Some(Source { commit: format!("{}{later}", &commit[..12]), time: time.parse().ok() })
}

fn look_again_when_the_tree_changes() {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let file = git(&["rev-parse", "--git-path", name]).filter(|file| Path::new(file).exists());
        if let Some(file) = file {
            println!("cargo::rerun-if-changed={file}");
        }
    }
}

/// What git says, if it is there and succeeds.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The day of a Unix time, in UTC, by <https://howardhinnant.github.io/date_algorithms.html>.
fn date(time: i64) -> String {
    let days = time.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
