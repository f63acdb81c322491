//! What netclaim costs: builds as it is released, and has the figures measured.

use std::{fs, os::unix::process::CommandExt as _, path::PathBuf};

use anyhow::ensure;

use crate::{
    cache, cluster, demo, image, plugins,
    step::{self, command, timed},
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where: on this machine's kernel alone, or on a real Kubernetes.
    #[arg(value_enum, default_value_t)]
    place: Place,
    /// Only the rows whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Also write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Where netclaim is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// In the world of the tests.
    #[default]
    World,
    /// On a lab of its own.
    Cluster,
}

/// Builds the driver and the bench, and becomes the bench.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.place == Place::Cluster {
        return on_cluster(options);
    }
    demo::check_machine()?;
    let plugins = plugins::ensure()?;
    // Apart, so that the driver gets the features of its own and no others.
    let program = timed(
        "Building the driver as the image has it (several minutes at first)",
        image::build_program,
    )?;
    timed("Building the bench", || {
        build(&["--package", "netclaim-tests", "--bin", "bench"])
    })?;
    // It measures the program beside it.
    let bench = program.with_file_name("bench");
    fs::copy(cache::root().join("target/release/bench"), &bench)?;
    let mut args = vec![bench.to_string_lossy().into_owned()];
    if let Some(only) = &options.only {
        args.extend(["--only".to_owned(), only.clone()]);
    }
    if let Some(json) = &options.json {
        args.extend(["--json".to_owned(), json.to_string_lossy().into_owned()]);
    }
    let why = "The bench makes network namespaces and loads eBPF: sudo raises it, and nothing else";
    demo::become_root(why, &plugins, args)
}

/// All of its rows are measured on one cluster, one after another.
fn on_cluster(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.only.is_none(),
        "--only chooses among the rows of `cargo xtask bench`; on a cluster all are measured"
    );
    let mut args = vec!["bench".to_owned()];
    if let Some(json) = &options.json {
        args.push(format!("--json={}", json.display()));
    }
    Err(cluster::lab(&args)?.exec().into())
}

fn build(what: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["build", "--quiet", "--release"].iter().chain(what);
    step::run(command(&cargo, args).current_dir(cache::root()))
}
