//! A real Kubernetes on this machine: builds its programs, and becomes the lab.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use crate::{
    cache,
    go::Module,
    plugins,
    step::{self, command},
};

/// What to do with the cluster; `--help` lists it.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on to the lab.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

const MODULES: &[Module] = &[
    Module {
        name: "runtime",
        about: "containerd and etcd (once, about 2 minutes)",
        tags: &[],
        renamed: &[("go.etcd.io/etcd/server/v3", "etcd")],
        versioned: None,
    },
    Module {
        name: "runc",
        about: "runc (once, about 20 seconds; needs a C compiler, pkg-config and libseccomp-dev)",
        tags: &["seccomp"],
        renamed: &[],
        versioned: None,
    },
    Module {
        name: "kube",
        about: "Kubernetes (once, about 9 minutes)",
        tags: &[],
        renamed: &[],
        versioned: Some("k8s.io/component-base/version"),
    },
];

/// Builds what is missing, and becomes the lab.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the cluster needs Linux: its nodes are made of namespaces");
    }
    // Only `up` needs everything; `down` must work with nothing.
    let up = options.args.iter().any(|arg| arg == "up");
    let place = |module: &Module| {
        if up { module.ensure() } else { module.folder() }
    };
    let programs: Vec<_> = MODULES.iter().map(place).collect::<Result<_, _>>()?;
    let plugins = place(&plugins::MODULE)?;
    build_lab()?;
    Err(lab(programs, &plugins, &options.args)?.exec().into())
}

fn build_lab() -> anyhow::Result<()> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = ["build", "--quiet", "-p", "netclaim-tests", "--bin", "lab"];
    step::run(command(&cargo, build).current_dir(cache::root()))
}

/// The lab, as root, with its programs before the machine's own.
fn lab(mut programs: Vec<PathBuf>, plugins: &Path, args: &[String]) -> anyhow::Result<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    programs.extend(env::split_paths(&path));
    let mut path = OsString::from("PATH=");
    path.push(env::join_paths(programs)?);
    let mut cni_path = OsString::from("CNI_PATH=");
    cni_path.push(plugins);
    let mut lab = if nix::unistd::geteuid().is_root() {
        command("env", [path, cni_path])
    } else {
        command("sudo", [OsString::from("env"), path, cni_path])
    };
    lab.arg(cache::root().join("target/debug/lab")).args(args);
    Ok(lab)
}
