//! The binary: options in, exit code out.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use dra_top::options::Options;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = dra_top::run(Options::parse()).await else {
        return ExitCode::SUCCESS;
    };
    // The sentence says it all; the terminal may be closed.
    let _closed = writeln!(io::stderr(), "dra-top: {error}");
    ExitCode::FAILURE
}
