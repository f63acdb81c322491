//! `cargo xtask`: builds and starts programs, and does their set-up.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use clap::Parser as _;

mod bench;
mod cache;
mod chart;
mod cluster;
mod command;
mod demo;
mod ebpf;
mod go;
mod image;
mod plugins;
mod reproducible;
mod rules;
mod step;
mod test;

fn main() -> anyhow::Result<()> {
    command::Command::parse().run()
}
