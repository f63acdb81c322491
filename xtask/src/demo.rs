//! The talk's demo on this machine: builds as the user, raises only the world itself.

use std::{
    env,
    io::{self, IsTerminal as _},
    os::unix::process::CommandExt as _,
    path::Path,
};

use anyhow::{bail, ensure};

use crate::{
    cache, plugins,
    step::{self, command, say, timed},
};

mod machine;

/// How to run the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Without a terminal: print what was done and a table, check it, and end.
    #[arg(long)]
    check: bool,
    /// Have the claims ask for flows, which the talk's do not: dra-top then shows with whom a pod
    /// talks (Enter on an interface).
    #[arg(long)]
    flows: bool,
}

/// Checks what the machine has, builds, and becomes the world.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.check || io::stdout().is_terminal(),
        "the demo opens dra-top, which needs a terminal; without one: cargo xtask demo --check"
    );
    check_machine()?;
    let plugins = plugins::ensure()?;
    timed(
        "Building netclaim, dra-top and the world (minutes at first, seconds afterwards)",
        || run_cargo_build(cache::root()),
    )?;
    let world = cache::root().join("target/debug/world");
    let mut args = vec![world.to_string_lossy().into_owned(), "demo".to_owned()];
    args.extend(options.check.then(|| "--check".to_owned()));
    args.extend(options.flows.then(|| "--flows".to_owned()));
    let why = "The demo makes network namespaces and loads eBPF: sudo raises it, and nothing else";
    become_root(why, &plugins, args)
}

/// Becomes the program `args`, as root; its signals and exit code are ours.
pub(crate) fn become_root(why: &str, plugins: &Path, args: Vec<String>) -> anyhow::Result<()> {
    let mut words = vec!["env".to_owned(), format!("CNI_PATH={}", plugins.display())];
    // sudo drops it.
    let colour = env::var("NO_COLOR").ok();
    words.extend(colour.map(|value| format!("NO_COLOR={value}")));
    words.extend(args);
    if !nix::unistd::geteuid().is_root() {
        say(why);
        words.insert(0, "sudo".to_owned());
    }
    let mut program = command(&words[0], &words[1..]);
    Err(program.exec().into())
}

/// Cargo shows how far it is, line by line or as a bar.
fn run_cargo_build(root: &Path) -> anyhow::Result<()> {
    let packages = ["-p", "netclaim", "-p", "dra-top", "-p", "netclaim-tests"];
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["build", "--bins"].into_iter().chain(packages);
    step::run(command(&cargo, args).current_dir(root))
}

/// Says what is missing before anything is changed.
pub(crate) fn check_machine() -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("this needs Linux 6.6 or newer: it makes network namespaces and loads eBPF");
    }
    match machine::Machine::read()?.lacks() {
        Some(lacking) => bail!(lacking),
        None => Ok(()),
    }
}
