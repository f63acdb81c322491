//! A real Kubernetes on this machine: builds its programs, and becomes the lab.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Command,
};

use anyhow::{bail, ensure};

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
        renamed: &[("go.etcd.io/etcd/server/v3", "etcd")],
        ..Module::new("runtime", "containerd and etcd (once, about 2 minutes)")
    },
    Module {
        tags: &["seccomp"],
        with_c: true,
        ..Module::new(
            "runc",
            "runc (once, about 20 seconds; needs a C compiler, pkg-config and libseccomp-dev)",
        )
    },
    Module {
        versioned: Some("k8s.io/component-base/version"),
        ..Module::new("kube", "Kubernetes (once, about 9 minutes)")
    },
];

/// Its programs are called as those of the newer one.
const CONTAINERD_1_7: Module = Module::new("runtime17", "containerd 1.7 (once, about a minute)");

/// Installs the chart as users do.
pub(crate) const HELM: Module = Module::new("helm", "helm (once, about 2 minutes)");

/// Scrapes the drivers, and tries the rules. Of what it can find targets with only Kubernetes: the
/// others are most of its build.
pub(crate) const PROMETHEUS: Module = Module {
    tags: &["remove_all_sd", "enable_kubernetes_sd"],
    ..Module::new("prometheus", "prometheus (once, about 3 minutes)")
};

/// Builds what is missing, and becomes the lab.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the cluster needs Linux: its nodes are made of namespaces");
    }
    let args = &options.args;
    let watched = is_any(args, &["top", "demo"]) && !is_any(args, &["--check", "--help", "-o"]);
    ensure!(
        !watched || io::stdout().is_terminal(),
        "this opens dra-top, which needs a terminal; without one: cargo xtask cluster demo --check, \
         or cargo xtask cluster top -o table"
    );
    Err(lab(args)?.exec().into())
}

/// The lab with these arguments, and all that it needs built.
pub(crate) fn lab(args: &[String]) -> anyhow::Result<Command> {
    let programs = Programs::of(args)?;
    build_lab(is_any(args, &["top", "demo", "check", "bench"]))?;
    let mut args = args.to_vec();
    if is_any(&args, &["demo", "check", "bench"]) && !is_any(&args, &["--list"]) {
        args.push(format!("--image={}", image()?.display()));
    }
    programs.lab(&args)
}

/// Why there can be no cluster on this machine, if so: what it is made of is neither built nor can
/// be.
pub(crate) fn missing() -> anyhow::Result<Option<&'static str>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Some("a lab makes namespaces and mounts, which needs root"));
    }
    for module in MODULES.iter().chain([&CONTAINERD_1_7, &HELM, &PROMETHEUS]) {
        if !module.is_available()? {
            return Ok(Some("there is no Go to build Kubernetes with"));
        }
    }
    Ok(None)
}

fn is_any(args: &[String], words: &[&str]) -> bool {
    args.iter().any(|arg| words.contains(&arg.as_str()))
}

/// Where the lab finds what it runs.
struct Programs {
    /// On its search path.
    searched: Vec<PathBuf>,
    /// Containerd 1.7, apart, because its programs are called as the newer one's.
    containerd_1_7: PathBuf,
    cni_plugins: PathBuf,
}

impl Programs {
    /// Builds what the lab's arguments need: `down` must work with nothing.
    fn of(args: &[String]) -> anyhow::Result<Self> {
        let place = |module: &Module, needed: bool| {
            if needed {
                module.ensure()
            } else {
                module.folder()
            }
        };
        let check = is_any(args, &["check"]);
        let up = (check || is_any(args, &["up", "demo", "bench"])) && !is_any(args, &["--list"]);
        let runtime = args.iter().map(|arg| arg.trim_start_matches("--runtime="));
        let old = |runtime| ["containerd-1.7", "mixed"].contains(&runtime);
        let new = |runtime| runtime == "containerd-2";
        // The suite has both, unless it is told.
        let old = runtime.clone().any(old) || check && !runtime.clone().any(new);
        let mut searched = Vec::new();
        for module in MODULES {
            searched.push(place(module, up)?);
        }
        let asked = is_any(args, &["prometheus", "query"]);
        let helm = up && !is_any(args, &["up"]) || asked || is_any(args, &["helm"]);
        searched.push(place(&HELM, helm)?);
        searched.push(place(&PROMETHEUS, up && check || asked)?);
        Ok(Self {
            searched,
            containerd_1_7: place(&CONTAINERD_1_7, up && old)?,
            cni_plugins: place(&plugins::MODULE, up)?,
        })
    }

    /// The lab, as root, with these programs before the machine's own.
    fn lab(&self, args: &[String]) -> anyhow::Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = self.searched.iter().cloned();
        let path = env::join_paths(folders.chain(env::split_paths(&path)))?;
        let variables = [
            ("PATH", path),
            ("CNI_PATH", self.cni_plugins.clone().into()),
            (
                "NETCLAIM_CONTAINERD_1_7",
                self.containerd_1_7.clone().into(),
            ),
        ];
        let set = variables.map(|(name, value)| {
            let mut set = OsString::from(format!("{name}="));
            set.push(value);
            set
        });
        let mut lab = if nix::unistd::geteuid().is_root() {
            command("env", set)
        } else {
            command("sudo", [OsString::from("env")].into_iter().chain(set))
        };
        lab.arg(cache::root().join("target/debug/lab")).args(args);
        Ok(lab)
    }
}

fn image() -> anyhow::Result<PathBuf> {
    let file = cache::root().join("target/image/netclaim.tar");
    image::build(&file)?;
    Ok(file)
}

fn build_lab(with_dra_top: bool) -> anyhow::Result<()> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = vec!["build", "--quiet", "-p", "netclaim-tests", "--bin", "lab"];
    if with_dra_top {
        build.extend(["-p", "dra-top", "--bin", "dra-top"]);
    }
    step::run(command(&cargo, build).current_dir(cache::root()))
}
