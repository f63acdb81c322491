//! A real Kubernetes on this machine: real API server, scheduler, kubelet and containerd, on nodes
//! made of namespaces.
//!
//! Needs root, and Kubernetes' programs on the search path. Makes nothing outside its namespaces,
//! its control groups and its folder, and removes all of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use self::{
    pki::Pki,
    topology::{LabName, Topology},
};

pub mod bench;
pub mod cgroup;
pub mod check;
pub mod dashboard;
pub mod demo;
pub mod forward;
pub mod image;
pub mod install;
pub mod lifecycle;
pub mod network;
pub mod node;
pub mod pki;
pub mod program;
pub mod programs;
pub mod prometheus;
pub mod room;
pub mod runtime;
pub mod scenarios;
pub mod service;
pub mod supervisor;
pub mod topology;
pub mod wait;

/// Where labs keep their nodes' files. On a disk, because overlayfs needs one that is no overlay.
const FOLDER: &str = "/var/lib/netclaim-lab";

/// A lab, whether it is up or not.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The prefix of all that it makes.
    pub name: LabName,
    folder: PathBuf,
}

impl Lab {
    /// The lab of this name.
    pub fn new(name: LabName) -> Self {
        let folder = Path::new(FOLDER).join(name.to_string());
        Self { name, folder }
    }

    /// Another lab of somebody who has this one.
    pub fn beside(&self, purpose: &str) -> anyhow::Result<Self> {
        let name = format!("{}-{purpose}", self.name).parse();
        Ok(Self::new(name.map_err(anyhow::Error::msg)?))
    }

    /// Its credentials.
    pub fn pki(&self) -> Pki {
        Pki::at(self.folder.join("pki"))
    }

    /// What it consists of; fails when it is not up.
    pub fn topology(&self) -> anyhow::Result<Topology> {
        let file = self.folder.join("topology.json");
        let text = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::bail!("lab {} is not up", self.name)
            }
            text => text.with_context(|| file.display().to_string())?,
        };
        serde_json::from_slice(&text).with_context(|| file.display().to_string())
    }

    /// A command on a node, in all its namespaces.
    pub fn on_node<S: AsRef<str>>(&self, node: &str, args: &[S]) -> anyhow::Result<Command> {
        let topology = self.topology()?;
        let node = topology.node(node).map_err(anyhow::Error::msg)?;
        let first = self.first_process(&node.name)?;
        let mut command = Command::new("nsenter");
        command
            .env("PATH", node.runtime.search_path()?)
            .arg(format!("--target={first}"))
            .args(["--mount", "--net", "--pid", "--uts", "--cgroup", "--"])
            .args(args.iter().map(AsRef::as_ref));
        Ok(command)
    }

    /// `kubectl` as administrator, on the nodes' network and in the caller's folder.
    pub fn kubectl<S: AsRef<str>>(&self, args: &[S]) -> anyhow::Result<Command> {
        self.as_user("admin", "kubectl", args)
    }

    /// `helm` as administrator, on the nodes' network and in the caller's folder.
    pub fn helm<S: AsRef<str>>(&self, args: &[S]) -> anyhow::Result<Command> {
        self.as_user("admin", "helm", args)
    }

    /// A program that takes a kubeconfig, on the nodes' network and in the caller's folder.
    fn as_user<S: AsRef<str>>(
        &self,
        user: &str,
        program: &str,
        args: &[S],
    ) -> anyhow::Result<Command> {
        let mut command = self.administer(program)?;
        command
            .args(["--kubeconfig", &self.pki().kubeconfig(user)])
            .args(args.iter().map(AsRef::as_ref));
        Ok(command)
    }

    /// A program on the nodes' network and in the caller's folder.
    fn administer(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.administration()?.display()))
            .arg(program);
        Ok(command)
    }

    /// The network namespace from which the lab is administered: its control plane's.
    fn administration(&self) -> anyhow::Result<PathBuf> {
        let topology = self.topology()?;
        let control_plane = topology.control_plane().context("a lab without nodes")?;
        Ok(network::path(&self.name, &control_plane.name))
    }

    /// A path of a node, as the machine reaches it. No part of it may be a symbolic link that
    /// begins with a slash.
    fn path_on(&self, node: &str, path: &str) -> anyhow::Result<PathBuf> {
        let first = self.first_process(node)?;
        Ok(PathBuf::from(format!("/proc/{first}/root{path}")))
    }

    /// Where a program of a node says what it does.
    pub fn log(&self, node: &str, program: &str) -> PathBuf {
        self.logs(node).join(format!("{program}.log"))
    }

    /// The logs of a node's programs.
    pub fn logs(&self, node: &str) -> PathBuf {
        self.node_folder(node).join("log")
    }

    /// Exists as soon as the API server can be used.
    fn api_ready(&self) -> PathBuf {
        self.folder.join("api-ready")
    }

    /// The images that every node has.
    fn images(&self) -> PathBuf {
        self.folder.join("images.tar")
    }

    fn node_folder(&self, node: &str) -> PathBuf {
        self.folder.join("nodes").join(node)
    }

    /// Holds the process id of a node's first process, as the machine sees it.
    fn pid_file(&self, node: &str) -> PathBuf {
        self.node_folder(node).join("pid")
    }

    /// The node's first process; fails when the node is down.
    fn first_process(&self, node: &str) -> anyhow::Result<u32> {
        let pid = fs::read_to_string(self.pid_file(node)).unwrap_or_default();
        let members = cgroup::processes(&self.name, Some(node))?;
        // A process id alone could be somebody else's by now.
        let pid = pid.trim().parse().ok().filter(|pid| members.contains(pid));
        pid.with_context(|| format!("node {node} is down: see {}", self.logs(node).display()))
    }
}
