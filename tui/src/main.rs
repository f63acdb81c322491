//! The binary: options in, exit code out.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use dra_top::options::Options;

// Credentials may come from a program that takes its time: the screen has a thread of its own.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Err(error) = dra_top::run(Options::parse()).await else {
        return ExitCode::SUCCESS;
    };
    // The sentence says it all; the terminal may be closed.
    let _closed = writeln!(io::stderr(), "dra-top: {error}");
    ExitCode::FAILURE
}
