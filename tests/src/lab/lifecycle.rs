//! A lab's life: up, down, a node's reboot, and what of it exists.
//!
//! `down` goes by what is there, not by what was noted, so it also cleans up after a lab that died
//! on its way up.

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::{process::Command, signal::unix, task::JoinSet, time};

use super::{
    Lab, cgroup, image, network, node, program, supervisor,
    topology::{Node, Topology},
    wait,
};

/// All nodes Ready, on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(150);

/// How often nodes are looked at while they come up.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// What a lab runs, and where it comes from when it is missing.
const PROGRAMS: &[&str] = &[
    "ip",
    "nsenter",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kubectl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
];

/// What of a lab exists on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Process ids.
    pub processes: usize,
    /// Control groups over all hierarchies.
    pub control_groups: usize,
    /// Network namespaces.
    pub namespaces: Vec<String>,
    /// Whether there is a folder.
    pub folder: bool,
}

impl Lab {
    /// Says what is missing before anything is changed.
    pub fn check_machine() -> anyhow::Result<()> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a lab makes namespaces and mounts: run it as root");
        }
        let missing: Vec<_> = PROGRAMS
            .iter()
            .filter(|name| program::find(name).is_none())
            .collect();
        if !missing.is_empty() {
            bail!(
                "not on the search path: {missing:?}; `cargo xtask cluster` builds Kubernetes' \
                 programs, ip comes with iproute2, nsenter with util-linux"
            );
        }
        node::plugins()?;
        image::find_busybox().map(drop)
    }

    /// Brings the lab up. What fails or is interrupted is taken down again, unless `keep`.
    pub async fn up(&self, topology: &Topology, keep: bool) -> anyhow::Result<()> {
        Self::check_machine()?;
        self.claim_folder()?;
        let built = tokio::select! {
            built = self.build(topology) => built,
            signal = interruption() => signal.and_then(|()| bail!("interrupted")),
        };
        let Err(error) = built else { return Ok(()) };
        if keep {
            return Err(error.context("the lab is left as it is, for a look at its logs"));
        }
        match self.down().await {
            Ok(()) => Err(error.context("the lab was taken down again")),
            Err(also) => Err(error.context(format!("and it could not be taken down: {also:#}"))),
        }
    }

    async fn build(&self, topology: &Topology) -> anyhow::Result<()> {
        let plan = serde_json::to_vec_pretty(topology)?;
        fs::write(self.folder.join("topology.json"), plan)?;
        tracing::info!("keys, images and wires");
        self.pki().create(topology)?;
        image::write(&self.images())?;
        network::build(&self.name, topology).await?;
        tracing::info!("{} nodes", topology.nodes.len());
        for node in &topology.nodes {
            node::start(self, node).await?;
        }
        tokio::select! {
            ready = self.wait_until_ready(topology) => ready,
            death = self.first_death(topology) => Err(death),
        }
    }

    /// Returns when a node is dead, with what it said last.
    async fn first_death(&self, topology: &Topology) -> anyhow::Error {
        loop {
            for node in &topology.nodes {
                if let Err(death) = self.first_process(&node.name) {
                    let log = fs::read_to_string(self.log(&node.name, "node")).unwrap_or_default();
                    let said = log.lines().last().unwrap_or("it said nothing");
                    return death.context(said.to_owned());
                }
            }
            time::sleep(HEARTBEAT).await;
        }
    }

    /// Only one can make the folder, so a lab comes up once.
    fn claim_folder(&self) -> anyhow::Result<()> {
        let labs = self.folder.parent().context("a lab has a folder")?;
        fs::create_dir_all(labs)?;
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "lab {} is up, or was left half-way: take it `down` first",
                self.name
            ),
            made => made.with_context(|| self.folder.display().to_string()),
        }
    }

    /// Every node Ready, and the account that pods run as there.
    async fn wait_until_ready(&self, topology: &Topology) -> anyhow::Result<()> {
        for node in &topology.nodes {
            tracing::info!("waiting for {}", node.name);
            let fact = format!("{} to be Ready", node.name);
            wait::until(&fact, READY_DEADLINE, async || {
                self.check_ready(&node.name).await
            })
            .await?;
        }
        wait::until("the default service account", READY_DEADLINE, async || {
            let account = ["get", "serviceaccount", "default"];
            self.ask(&account).await.map(drop)
        })
        .await
    }

    async fn check_ready(&self, node: &str) -> anyhow::Result<()> {
        let shown = self.ask(&["get", "node", node, "--output=json"]).await?;
        let shown: Value = serde_json::from_str(&shown)?;
        let conditions = shown["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        match ready {
            Some(ready) if ready["status"] == "True" => Ok(()),
            Some(ready) => bail!("{}", ready["message"]),
            None => bail!("it has not said"),
        }
    }

    /// What kubectl prints.
    pub async fn ask(&self, args: &[&str]) -> anyhow::Result<String> {
        program::finish(Command::from(self.kubectl(args)?), "").await
    }

    /// Takes everything away, whatever is there.
    pub async fn down(&self) -> anyhow::Result<()> {
        cgroup::kill(&self.name, None).await?;
        cgroup::remove(&self.name, None).await?;
        network::remove(&self.name).await?;
        remove_folder(&self.folder)?;
        if let Some(labs) = self.folder.parent() {
            // Other labs may be in it.
            fs::remove_dir(labs).ok();
        }
        Ok(())
    }

    /// As if a node had lost its power: its processes, mounts, sandboxes and links are gone, its
    /// disk stays, and it has another boot id.
    pub async fn reboot(&self, node: &Node) -> anyhow::Result<()> {
        cgroup::kill(&self.name, Some(&node.name)).await?;
        cgroup::remove(&self.name, Some(&node.name)).await?;
        network::wipe(&self.name, node).await?;
        node::start(self, node).await
    }

    /// Gives every node the images of an archive.
    pub async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let archive = fs::canonicalize(archive).with_context(|| archive.display().to_string())?;
        let mut nodes = JoinSet::new();
        for node in self.topology()?.nodes {
            let args = supervisor::import(Path::new("-"));
            let args: Vec<_> = ["ctr".into()].into_iter().chain(args).collect();
            let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
            let mut command = self.on_node(&node.name, &args)?;
            command.stdin(fs::File::open(&archive)?);
            nodes.spawn(program::finish(Command::from(command), ""));
        }
        while let Some(loaded) = nodes.join_next().await {
            loaded??;
        }
        Ok(())
    }

    /// What of it exists on the machine.
    pub fn remains(&self) -> anyhow::Result<Remains> {
        Ok(Remains {
            processes: cgroup::processes(&self.name, None)?.len(),
            control_groups: cgroup::groups(&self.name, None)?.len(),
            namespaces: network::namespaces(&self.name)?,
            folder: self.folder.exists(),
        })
    }

    /// Whether a node's processes are there.
    pub fn is_alive(&self, node: &Node) -> bool {
        self.first_process(&node.name).is_ok()
    }
}

/// Returns when the user or the system wants this process to end.
pub(super) async fn interruption() -> anyhow::Result<()> {
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminate.recv() => Ok(()),
    }
}

/// Mounts of a dead node are gone with it, so nothing but the lab's own files is below.
fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
