//! `catchment completions`: scripts that complete our command line in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Exit, Outcome};

/// Arguments of `catchment completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  catchment completions bash > /etc/bash_completion.d/catchment")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Outcome {
    clap_complete::generate(args.shell, &mut Cli::command(), "catchment", &mut std::io::stdout());
    Ok(Exit::Done)
}
