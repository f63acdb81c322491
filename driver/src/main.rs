//! The `netclaim` binary: parses, runs, and ends with an exit code.

use std::process::ExitCode;

use netclaim::{
    chain::Chain,
    command,
    options::{Cli, Command},
};

fn main() -> ExitCode {
    let done = match Cli::from_command_line().command {
        Command::Run(options) => command::run(*options),
        Command::Health(options) => command::health(&options),
        Command::Validate(options) => command::validate(&options),
        Command::Relay(options) => command::relay(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("netclaim: {}", Chain(error.as_ref()));
        ExitCode::FAILURE
    })
}
