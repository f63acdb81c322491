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
    image, plugins,
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

/// Installs the chart as users do.
pub(crate) const HELM: Module = Module {
    name: "helm",
    about: "helm (once, about 2 minutes)",
    tags: &[],
    renamed: &[],
    versioned: None,
};

/// Builds what is missing, and becomes the lab.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the cluster needs Linux: its nodes are made of namespaces");
    }
    // `down` must work with nothing.
    let any_of = |actions: &[&str]| {
        let mut args = options.args.iter();
        args.any(|arg| actions.contains(&arg.as_str()))
    };
    let place = |module: &Module, needed: bool| {
        if needed {
            module.ensure()
        } else {
            module.folder()
        }
    };
    let (up, demo) = (any_of(&["up", "demo"]), any_of(&["demo"]));
    let programs = MODULES.iter().map(|module| place(module, up));
    let helm = place(&HELM, any_of(&["demo", "helm"]));
    let programs: Vec<_> = programs.chain([helm]).collect::<Result<_, _>>()?;
    let plugins = place(&plugins::MODULE, up)?;
    build_lab()?;
    let mut args = options.args.clone();
    if demo {
        args.push(format!("--image={}", image()?.display()));
    }
    Err(lab(programs, &plugins, &args)?.exec().into())
}

fn image() -> anyhow::Result<PathBuf> {
    let file = cache::root().join("target/image/netclaim.tar");
    image::build(&file)?;
    Ok(file)
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
