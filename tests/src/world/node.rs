//! A node: its namespaces, links, folders and processes.
//!
//! Owns what a machine is to the driver, at the usual paths: eth0 and eth1, /run, /sys/fs/bpf,
//! /var/lib. It must never reach a network outside: the switch is where its cables end.

use std::fs;
use std::future;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tonic::transport::{Channel, Endpoint};

use super::place::Place;

/// Bridges that join the nodes: `br0` their eth0, with the address of the default gateway, and
/// `br1` their eth1.
#[derive(Debug)]
pub struct Switch {
    /// Where it is.
    pub place: Place,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name, as the API server has it.
    pub name: String,
    /// The address of its eth0.
    pub address: String,
    index: u8,
    /// Where it is.
    pub place: Place,
}

/// Folders that a machine has before a kubelet and a runtime start.
const FOLDERS: [&str; 6] = [
    "/run/netns",
    "/run/nri",
    "/run/world",
    "/var/lib/kubelet/plugins",
    "/var/lib/kubelet/plugins_registry",
    "/var/lib/cni",
];

impl Switch {
    /// A switch without cables.
    pub fn new() -> Result<Self> {
        let place = Place::new("switch", CloneFlags::CLONE_NEWNET)?;
        place.ip(&[
            "link set lo up",
            "link add br0 type bridge",
            "link add br1 type bridge",
            "addr add 172.18.0.1/16 dev br0",
            "link set br0 up",
            "link set br1 up",
        ])?;
        Ok(Self { place })
    }

    /// Plugs `link` of the place `end` into `bridge`, as port `port`.
    fn plug(&self, end: &Place, link: &str, port: &str, bridge: &str) -> Result<()> {
        let pair = format!(
            "link add {port} type veth peer name {link} netns {}",
            end.tid
        );
        let join = format!("link set {port} master {bridge} up");
        self.place.ip(&[&pair, &join])
    }

    /// Takes the carrier of `node`'s link away, or gives it back.
    pub fn set_carrier(&self, node: &Node, link: &str, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.place
            .ip(&[&format!("link set {} {state}", node.port(link))])
    }
}

impl Node {
    /// A node of `name` with `links` (eth0, or eth0 and eth1), the `index`-th on `switch`.
    pub fn up(switch: &Switch, name: &str, index: u8, links: &[&str]) -> Result<Self> {
        let namespaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        let node = Self {
            name: name.to_owned(),
            index,
            address: format!("172.18.0.{}", index + 2),
            place: Place::new(name, namespaces)?,
        };
        node.place
            .run(furnish)?
            .with_context(|| format!("cannot furnish the node {name}"))?;
        node.place.ip(&["link set lo up"])?;
        for (bridge, link) in links.iter().enumerate() {
            let bridge = format!("br{bridge}");
            switch.plug(&node.place, link, &node.port(link), &bridge)?;
            node.place.ip(&[&format!("link set {link} up")])?;
        }
        node.place.ip(&[
            &format!("addr add {}/16 dev eth0", node.address),
            "route add default via 172.18.0.1",
        ])?;
        Ok(node)
    }

    /// Starts `command` on this node; it is killed when its [`Child`] is dropped.
    pub fn spawn(&self, mut command: Command) -> Result<Child> {
        let runtime = Handle::current();
        let program = command.as_std().get_program().to_owned();
        self.place
            .run(move || {
                let _entered = runtime.enter();
                command.kill_on_drop(true).spawn()
            })?
            .with_context(|| format!("cannot start {}", program.display()))
    }

    /// Connects to the unix socket `path` of this node.
    pub fn connect(&self, path: impl Into<PathBuf>) -> Result<UnixStream> {
        let path = path.into();
        let shown = path.display().to_string();
        let stream = self
            .place
            .run(move || -> io::Result<_> {
                let stream = StdUnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            })?
            .with_context(|| format!("cannot connect to {shown}"))?;
        Ok(UnixStream::from_std(stream)?)
    }

    /// A gRPC channel to the unix socket `path` of this node, connected when it is used.
    pub fn channel(self: &Arc<Self>, path: impl Into<PathBuf>) -> Channel {
        let (node, path) = (Arc::clone(self), path.into());
        let connect = move |_| {
            let stream = node.connect(&path).map(TokioIo::new);
            future::ready(stream.map_err(io::Error::other))
        };
        // The address is only the request's authority.
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector_lazy(tower::service_fn(connect))
    }

    /// Writes a file on this node.
    pub fn write(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Result<()> {
        let (path, content) = (path.into(), content.into());
        Ok(self.place.run(move || fs::write(path, content))??)
    }

    /// Reads a file of this node.
    pub fn read(&self, path: impl Into<PathBuf>) -> Result<String> {
        let path = path.into();
        Ok(self.place.run(move || fs::read_to_string(path))??)
    }

    /// Names in a folder of this node, sorted.
    pub fn list(&self, folder: impl Into<PathBuf>) -> Result<Vec<String>> {
        let folder = folder.into();
        Ok(self.place.run(move || names(&folder))??)
    }

    /// The gateway of this node's pods.
    pub fn pod_gateway(&self) -> String {
        self.pod_address(1)
    }

    /// The `host`-th address of this node's pods.
    pub fn pod_address(&self, host: u8) -> String {
        format!("10.244.{}.{host}", self.index)
    }

    /// The switch's end of `link`: at most 15 characters, distinct for each node.
    fn port(&self, link: &str) -> String {
        format!("port{}-{link}", self.index)
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Mounts what the node must not share with the machine, and makes the usual folders.
///
/// sysfs shows the links of the network namespace of the thread that mounts it.
fn furnish() -> Result<()> {
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )?;
    for (kind, path) in [
        ("sysfs", "/sys"),
        ("bpf", "/sys/fs/bpf"),
        ("tmpfs", "/run"),
        ("tmpfs", "/var/lib"),
    ] {
        mount(Some(kind), path, Some(kind), MsFlags::empty(), nothing)
            .with_context(|| format!("cannot mount {kind} at {path}"))?;
    }
    FOLDERS
        .iter()
        .try_for_each(fs::create_dir_all)
        .context("cannot make the node's folders")?;
    // A node routes between its pods.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot make the node a router")
}
