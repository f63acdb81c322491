//! The talk's demo on this machine: builds as the user, raises only the world itself.

use std::{os::unix::process::CommandExt as _, path::Path};

use anyhow::bail;

use crate::{
    cache, plugins,
    step::{self, command, found, say, timed},
};

/// How to run the demo.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Without a terminal: print what was done and a table, check it, and end.
    #[arg(long)]
    check: bool,
}

/// Programs that the world runs.
const PROGRAMS: &[&str] = &["ip"];

/// Checks what the machine has, builds, and becomes the world.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    check_machine()?;
    let plugins = plugins::ensure()?;
    timed("Building netclaim, dra-top and the world", || {
        run_cargo_build(cache::root())
    })?;
    let world = cache::root().join("target/debug/world");
    let mut args = vec![world.to_string_lossy().into_owned(), "demo".to_owned()];
    args.extend(options.check.then(|| "--check".to_owned()));
    let why = "The demo makes network namespaces and loads eBPF: sudo raises it, and nothing else";
    become_root(why, &plugins, args)
}

/// Becomes the program `args`, as root; its signals and exit code are ours.
pub(crate) fn become_root(why: &str, plugins: &Path, args: Vec<String>) -> anyhow::Result<()> {
    let cni_path = format!("CNI_PATH={}", plugins.display());
    let mut program = if nix::unistd::geteuid().is_root() {
        command("env", [cni_path].into_iter().chain(args))
    } else {
        say(why);
        command("sudo", ["env".to_owned(), cni_path].into_iter().chain(args))
    };
    Err(program.exec().into())
}

fn run_cargo_build(root: &Path) -> anyhow::Result<()> {
    let packages = ["-p", "netclaim", "-p", "dra-top", "-p", "netclaim-tests"];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["build", "--quiet", "--bins"].into_iter().chain(packages);
    step::run(command(&cargo, args).current_dir(root))
}

/// Says what is missing before anything is changed.
pub(crate) fn check_machine() -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("this needs Linux 6.6 or newer: it makes network namespaces and loads eBPF");
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| !found(program)) {
        bail!("this needs `{missing}`: install the package iproute2 and try again");
    }
    let release = nix::sys::utsname::uname()?
        .release()
        .to_string_lossy()
        .into_owned();
    if kernel(&release).is_some_and(|version| version < (6, 6)) {
        bail!("this needs Linux 6.6 or newer for TCX; the kernel here is {release}");
    }
    if !nix::unistd::geteuid().is_root() && !found("sudo") {
        bail!("this makes network namespaces: run it as root, or install sudo");
    }
    Ok(())
}

fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
