//! The command line: one subcommand for each thing that is built or started.

use clap::Parser;

use crate::{bench, chart, cluster, demo, ebpf, image, test};

/// Builds and starts netclaim's programs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
pub(crate) enum Command {
    /// Measure what netclaim costs: a table of figures, each with its bar.
    Bench(bench::Options),
    /// Run the talk's demo on this machine and watch it in dra-top.
    Demo(demo::Options),
    /// Run a real Kubernetes on this machine: up, down, status, kubectl, helm, node, logs, load,
    /// reboot, demo, top, prometheus, query, check.
    Cluster(cluster::Options),
    /// Make the plain manifests of the chart, or check the chart and them.
    Chart(chart::Options),
    /// Build the kernel programs, or check the committed object against its source.
    Ebpf(ebpf::Options),
    /// Build the container image: the same bytes each time, without Docker.
    Image(image::Options),
    /// Pass all tests; does their set-up.
    Test(test::Options),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Bench(options) => bench::run(&options),
            Self::Demo(options) => demo::run(&options),
            Self::Cluster(options) => cluster::run(&options),
            Self::Chart(options) => chart::run(&options),
            Self::Ebpf(options) => ebpf::build(&options),
            Self::Image(options) => image::run(&options),
            Self::Test(options) => test::run_all(&options),
        }
    }
}
