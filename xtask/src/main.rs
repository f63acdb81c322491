//! `cargo xtask`: builds and starts programs, and does their set-up.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use clap::Parser;

mod bench;
mod cache;
mod cluster;
mod demo;
mod ebpf;
mod go;
mod plugins;
mod step;
mod test;

/// Builds and starts netclaim's programs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Measure what netclaim costs: a table of figures, each with its bar.
    Bench(bench::Options),
    /// Run the talk's demo on this machine and watch it in dra-top.
    Demo(demo::Options),
    /// Run a real Kubernetes on this machine: up, down, status, kubectl, node, logs, load, reboot.
    Cluster(cluster::Options),
    /// Build the kernel programs, or check the committed object against its source.
    Ebpf(ebpf::Options),
    /// Pass all tests; does their set-up.
    Test(test::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Bench(options) => bench::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Cluster(options) => cluster::run(&options),
        Command::Ebpf(options) => ebpf::build(&options),
        Command::Test(options) => test::run_all(&options),
    }
}
