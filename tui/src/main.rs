//! The binary: options in, exit code out.

use clap::Parser as _;
use dra_top::options::Options;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    Ok(dra_top::run(Options::parse()).await?)
}
