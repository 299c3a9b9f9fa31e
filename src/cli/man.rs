//! `catchment man`: the manual pages of all commands, for packages to install. Hidden: a person
//! reads them with `man catchment`.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};

use super::{Cli, Exit, Outcome, error::CliError};

/// Arguments of `catchment man`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write them to; made if need be
    dir: PathBuf,
}

/// Files that a manual page describes.
const FILES: &[(&str, &str)] = &[
    ("~/.local/share/catchment", "The data directory of a person, on Linux."),
    ("~/Library/Application Support/catchment", "The same on macOS."),
    ("/var/lib/catchment", "The data directory of the system service."),
    ("config.toml", "In the data directory: settings; a flag or an environment variable wins."),
];

pub(super) fn run(args: &Args) -> Outcome {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    fs::create_dir_all(&args.dir).map_err(failed(&args.dir))?;
    let commands: Vec<Command> =
        cli.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    write_page(&args.dir, "catchment", cli, &commands)?;
    for command in &commands {
        let name = format!("catchment-{}", command.get_name());
        write_page(&args.dir, &name, command.clone(), &[])?;
    }
    Ok(Exit::Done)
}

/// Writes `NAME.1`; `others` are the pages that the main one refers to.
fn write_page(
    dir: &Path,
    name: &str,
    command: Command,
    others: &[Command],
) -> Result<(), CliError> {
    let path = dir.join(format!("{name}.1"));
    let mut page = Vec::new();
    render(&mut page, name, command, others).map_err(failed(&path))?;
    fs::write(&path, page).map_err(failed(&path))
}

fn render(
    page: &mut impl Write,
    name: &str,
    command: Command,
    others: &[Command],
) -> io::Result<()> {
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let name = name.to_owned();
    let man = Man::new(command.name(name.clone()).display_name(name))
        .date(env!("CATCHMENT_BUILD").split(' ').nth(1).unwrap_or_default())
        .source(concat!("Catchment ", env!("CARGO_PKG_VERSION")))
        .manual("Catchment");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if !others.is_empty() {
        man.render_subcommands_section(page)?;
    }
    notes_sections(&notes).to_writer(page)?;
    if !others.is_empty() {
        files_section().to_writer(page)?;
        see_also(others).to_writer(page)?;
    }
    Ok(())
}

/// The examples as they are typed, and what else stands below the options in the help.
fn notes_sections(notes: &str) -> Roff {
    let mut roff = Roff::default();
    for paragraph in notes.split("\n\n").filter(|text| !text.trim().is_empty()) {
        match paragraph.split_once('\n') {
            Some((first, examples)) if first.starts_with("Example") => {
                roff.control("SH", ["EXAMPLES"]).control("nf", []);
                for line in examples.lines() {
                    roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
                }
                roff.control("fi", []);
            }
            _ => {
                roff.control("SH", ["NOTES"]).text([roman(paragraph)]);
            }
        }
    }
    roff
}

fn files_section() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["FILES"]);
    for (file, what) in FILES {
        roff.control("TP", []);
        roff.text([bold(*file)]);
        roff.text([roman(*what)]);
    }
    roff
}

fn see_also(others: &[Command]) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["SEE ALSO"]);
    let mut line: Vec<Inline> = Vec::new();
    for (at, command) in others.iter().enumerate() {
        let end = if at + 1 == others.len() { "(1)" } else { "(1), " };
        line.extend([bold(format!("catchment-{}", command.get_name())), roman(end)]);
    }
    roff.text(line);
    roff
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |error| CliError::File { path, error }
}
