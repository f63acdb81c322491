//! The lab's wires: a namespace per node, and one that is the switch between them.
//!
//! Nothing is made outside these namespaces.

use std::{fmt::Write as _, fs, io, path::Path};

use anyhow::Context as _;

use super::{
    program,
    topology::{API_SERVICE, GATEWAY, LabName, Node, Topology},
};

const NAMESPACES: &str = "/run/netns";

/// Makes all namespaces and wires them.
pub async fn build(lab: &LabName, topology: &Topology) -> anyhow::Result<()> {
    let switch = lab.namespace("switch");
    let namespaces = topology.nodes.iter().map(|node| lab.namespace(&node.name));
    for namespace in namespaces.chain([switch.clone()]) {
        program::run("ip", ["netns", "add", &namespace]).await?;
    }
    ip(&switch, &switch_batch(lab, topology)).await?;
    for node in &topology.nodes {
        ip(&lab.namespace(&node.name), &node_batch(topology, node)).await?;
    }
    Ok(())
}

/// Deletes what pods and drivers made in a node's namespace; its network cards stay.
pub async fn wipe(lab: &LabName, node: &Node) -> anyhow::Result<()> {
    let namespace = lab.namespace(&node.name);
    let shown = program::output("ip", ["-n", &namespace, "-json", "link", "show"]).await?;
    let links: Vec<serde_json::Value> = serde_json::from_str(&shown)?;
    let kept = |name: &str| name == "lo" || node.links.iter().any(|link| link.name == name);
    let names = links.iter().filter_map(|link| link["ifname"].as_str());
    let batch = names
        .filter(|name| !kept(name))
        .fold(String::new(), |batch, name| {
            batch + "link del dev " + name + "\n"
        });
    // A veth's peer goes with it, and its own line then finds nothing.
    program::feed("ip", ["-n", &namespace, "-force", "-batch", "-"], &batch)
        .await
        .ok();
    Ok(())
}

/// Deletes all namespaces of the lab, and with them their links.
pub async fn remove(lab: &LabName) -> anyhow::Result<()> {
    for namespace in namespaces(lab)? {
        program::run("ip", ["netns", "del", &namespace]).await?;
    }
    Ok(())
}

/// The lab's namespaces that exist.
pub fn namespaces(lab: &LabName) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(NAMESPACES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(NAMESPACES),
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    Ok(names.filter(|name| lab.owns_namespace(name)).collect())
}

/// Where a namespace can be entered.
pub fn path(lab: &LabName, node: &str) -> std::path::PathBuf {
    Path::new(NAMESPACES).join(lab.namespace(node))
}

async fn ip(namespace: &str, batch: &str) -> anyhow::Result<()> {
    program::feed("ip", ["-n", namespace, "-batch", "-"], batch).await
}

fn switch_batch(lab: &LabName, topology: &Topology) -> String {
    let mut batch = "link set lo up\n".to_owned();
    for lan in topology.lans() {
        _ = writeln!(batch, "link add {lan} type bridge\nlink set {lan} up");
    }
    _ = writeln!(batch, "addr add {GATEWAY}/24 dev br0");
    for node in &topology.nodes {
        let namespace = lab.namespace(&node.name);
        for link in &node.links {
            let (name, lan, port) = (&link.name, &link.lan, port(node, &link.name));
            _ = writeln!(
                batch,
                "link add {port} type veth peer name {name} netns {namespace}\n\
                 link set {port} master {lan} up"
            );
        }
    }
    batch
}

/// The switch's end of a node's link.
fn port(node: &Node, link: &str) -> String {
    format!("p{}-{link}", node.number)
}

fn node_batch(topology: &Topology, node: &Node) -> String {
    let mut batch = "link set lo up\n".to_owned();
    for link in &node.links {
        _ = writeln!(batch, "link set {} up", link.name);
    }
    _ = writeln!(batch, "addr add {}/24 dev eth0", node.address());
    _ = writeln!(batch, "route add default via {GATEWAY}");
    for other in topology
        .nodes
        .iter()
        .filter(|other| other.name != node.name)
    {
        let (network, address) = (other.pod_network(), other.address());
        _ = writeln!(batch, "route add {network} via {address}");
    }
    // Without kube-proxy, the API's service address is on the control plane itself.
    match topology.control_plane() {
        Some(control_plane) if !node.is_control_plane() => {
            let address = control_plane.address();
            _ = writeln!(batch, "route add {API_SERVICE} via {address}");
        }
        _ => _ = writeln!(batch, "addr add {API_SERVICE}/32 dev lo"),
    }
    batch
}

#[cfg(test)]
mod tests;
