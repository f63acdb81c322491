//! `world`: a cluster on this machine, for people and for `cargo xtask`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netclaim_tests::demo;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the talk's demo, with traffic, and open dra-top on it.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(options) => demo::enter(&options),
    };
    done.unwrap_or_else(|error| {
        // The terminal may be closed.
        let _closed = writeln!(io::stderr(), "world: {error:#}");
        ExitCode::FAILURE
    })
}
