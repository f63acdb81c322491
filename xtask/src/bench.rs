//! What netclaim costs: builds as it is released, and has the figures measured.

use std::{fs, path::PathBuf};

use crate::{
    cache, demo, image, plugins,
    step::{self, command, timed},
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the rows whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Also write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds the driver and the bench, and becomes the bench.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
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

fn build(what: &[&str]) -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["build", "--quiet", "--release"].iter().chain(what);
    step::run(command(&cargo, args).current_dir(cache::root()))
}
