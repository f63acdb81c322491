//! `bench`: what netclaim costs, for people and for `cargo xtask`.

use std::process::ExitCode;

use clap::Parser;
use netclaim_tests::bench;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: bench::Options,
}

fn main() -> ExitCode {
    bench::run(&Cli::parse().options).unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}
