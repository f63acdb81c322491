//! One pod's sandbox: a network namespace with its processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};
use nri_client::api::{self, ContainerState, LinuxNamespace, LinuxPodSandbox};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::world::id;
use crate::world::node::Node;

/// The pod that a sandbox is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it lives in the node's network.
    pub host_network: bool,
    /// Its runtime class' handler.
    pub runtime_handler: String,
    /// The address of its eth0; none without one.
    pub ip: Option<String>,
}

#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pod: Pod,
    /// What a plugin is told; the namespace itself may be gone.
    pub(super) netns: Option<PathBuf>,
    /// How long plugins took over its start, once they answered.
    pub(super) answered_in: Option<Duration>,
    netns_exists: bool,
    has_eth0: bool,
    pause: Child,
    containers: BTreeMap<String, Container>,
}

#[derive(Debug)]
struct Container {
    name: String,
    /// None once it has exited.
    child: Option<Child>,
}

impl Sandbox {
    pub(super) fn create(node: &Node, pod: &Pod, cluster_network: bool) -> Result<Self> {
        let id = format!("{}{}", id::uuid(), id::uuid()).replace('-', "");
        let name = format!("cni-{}", id::uuid());
        let netns = (!pod.host_network).then(|| PathBuf::from("/var/run/netns").join(&name));
        if let Some(path) = &netns {
            node.place.add_netns(path.clone())?;
        }
        if let (Some(path), Some(ip), true) = (&netns, &pod.ip, cluster_network) {
            add_cluster_network(node, &name, path, &id, ip)?;
        }
        Ok(Self {
            pause: spawn(node, netns.clone())?,
            netns_exists: netns.is_some(),
            has_eth0: cluster_network && netns.is_some() && pod.ip.is_some(),
            pod: pod.clone(),
            containers: BTreeMap::new(),
            answered_in: None,
            id,
            netns,
        })
    }

    /// As NRI tells it.
    pub(super) fn to_message(&self) -> api::PodSandbox {
        let namespaces = self.netns.iter().map(|path| LinuxNamespace {
            r#type: "network".to_owned(),
            path: path.to_string_lossy().into_owned(),
        });
        api::PodSandbox {
            id: self.id.clone(),
            name: self.pod.name.clone(),
            uid: self.pod.uid.clone(),
            namespace: self.pod.namespace.clone(),
            runtime_handler: self.pod.runtime_handler.clone(),
            linux: Some(LinuxPodSandbox {
                namespaces: namespaces.collect(),
                ..LinuxPodSandbox::default()
            }),
            pid: self.pause.id().unwrap_or_default(),
            ips: self.pod.ip.iter().cloned().collect(),
            ..api::PodSandbox::default()
        }
    }

    pub(super) fn new_container(&self, name: &str) -> api::Container {
        self.container(
            &id::uuid().replace('-', ""),
            name,
            ContainerState::ContainerCreated,
        )
    }

    pub(super) fn containers(&self) -> Vec<api::Container> {
        let containers = self.containers.iter();
        let running = containers.filter(|(_, container)| container.child.is_some());
        running
            .map(|(id, container)| {
                self.container(id, &container.name, ContainerState::ContainerRunning)
            })
            .collect()
    }

    fn container(&self, id: &str, name: &str, state: ContainerState) -> api::Container {
        api::Container {
            id: id.to_owned(),
            pod_sandbox_id: self.id.clone(),
            name: name.to_owned(),
            state: state.into(),
            args: vec!["sleep".to_owned(), "infinity".to_owned()],
            ..api::Container::default()
        }
    }

    pub(super) fn start_container(&mut self, node: &Node, id: String, name: &str) -> Result<()> {
        let container = Container {
            name: name.to_owned(),
            child: Some(spawn(node, self.netns.clone())?),
        };
        self.containers.insert(id, container);
        Ok(())
    }

    pub(super) fn is_running(&mut self) -> bool {
        let runs = |container: &mut Container| {
            let child = container.child.as_mut();
            child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        };
        !self.containers.is_empty() && self.containers.values_mut().all(runs)
    }

    pub(super) fn holds_container(&self) -> bool {
        !self.containers.is_empty()
    }

    /// Ends its processes.
    pub(super) fn kill(&mut self) {
        let containers = self.containers.values_mut();
        containers.for_each(|container| container.child = None);
        // It may have ended already.
        let _ended = self.pause.start_kill();
    }

    /// Takes eth0 away, then unmounts the namespace; with it goes every link inside.
    pub(super) fn remove_netns(&mut self, node: &Node) -> Result<()> {
        let Some(path) = self.netns.clone().filter(|_| self.netns_exists) else {
            return Ok(());
        };
        self.netns_exists = false;
        if self.has_eth0 {
            node.place.ip(&[&format!("link del {}", veth(&self.id))])?;
        }
        node.place
            .run(move || -> Result<()> {
                umount2(&path, MntFlags::MNT_DETACH)?;
                Ok(std::fs::remove_file(&path)?)
            })?
            .context("cannot remove the network namespace")
    }
}

/// A process that lives in the sandbox's network, or the node's.
fn spawn(node: &Node, netns: Option<PathBuf>) -> Result<Child> {
    let mut command = Command::new("sleep");
    command.arg("infinity").stdin(Stdio::null());
    let Some(netns) = netns else {
        return node.spawn(command);
    };
    let runtime = Handle::current();
    node.place.within(netns, move || {
        let _entered = runtime.enter();
        Ok(command.kill_on_drop(true).spawn()?)
    })
}

/// The node's end of a sandbox's eth0.
fn veth(id: &str) -> String {
    format!("veth{}", &id[..8])
}

/// eth0, by a point-to-point veth as kindnet makes it.
fn add_cluster_network(
    node: &Node,
    netns: &str,
    path: &std::path::Path,
    id: &str,
    ip: &str,
) -> Result<()> {
    let veth = veth(id);
    let gateway = node.pod_gateway();
    node.place.ip(&[
        &format!("link add {veth} type veth peer name eth0 netns {netns}"),
        &format!("addr add {gateway}/32 dev {veth}"),
        &format!("link set {veth} up"),
        &format!("route add {ip}/32 dev {veth}"),
    ])?;
    let inside = [
        format!("addr add {ip}/24 dev eth0 noprefixroute"),
        "link set eth0 up".to_owned(),
        format!("route add {gateway} dev eth0"),
        format!("route add default via {gateway}"),
    ];
    node.place.within(path.to_owned(), move || {
        inside.iter().try_for_each(|line| {
            let output = std::process::Command::new("ip")
                .args(line.split_whitespace())
                .output()?;
            crate::world::place::stdout_of(line, &output).map(drop)
        })
    })
}
