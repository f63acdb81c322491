//! The cluster as every scenario finds it, and as it has to leave it: nodes and drivers Ready, each
//! link offered and healthy, and nothing of any pod left on a node.
//!
//! Owns what "nothing left" means. It must never ask the driver for that: a driver that forgot
//! something would not name it.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    lab::{Lab, install::NAMESPACE, network, topology::Node, wait},
    world::{left, place},
};

/// The driver gives up what vanished within some seconds, and a kubelet's back-off ends.
const LIMIT: Duration = Duration::from_mins(1);

/// Waits until the cluster is as it has to be.
pub(in crate::lab) async fn is_level(lab: &Lab) -> Result<()> {
    let topology = lab.topology()?;
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s"];
    lab.ask(&[&wait[..], &["nodes", "--all"]].concat()).await?;
    wait::until("every driver to be Ready", LIMIT, async || {
        let drivers = ["daemonset", "netclaim-driver", "--namespace", NAMESPACE];
        let drivers = lab.list(&drivers).await?;
        let status = &drivers.first().context("no DaemonSet")?["status"];
        let all = topology.nodes.len();
        for field in [
            "updatedNumberScheduled",
            "numberReady",
            "currentNumberScheduled",
        ] {
            ensure!(status[field] == all, "its status is {status}");
        }
        Ok(())
    })
    .await?;
    wait::until("every link to be offered", LIMIT, async || {
        let slices = lab.list(&["resourceslices"]).await?;
        topology
            .nodes
            .iter()
            .try_for_each(|node| is_offered(node, &slices))
    })
    .await?;
    wait::until("nothing of pods to be left", LIMIT, async || {
        let claims = lab.list(&["resourceclaims", "--all-namespaces"]).await?;
        let claims = claims.iter().map(|claim| {
            let at = &claim["metadata"];
            format!(
                "claim {}/{} with {}",
                at["namespace"], at["name"], claim["status"]
            )
        });
        let mut found: Vec<_> = claims.collect();
        for node in &topology.nodes {
            let left = left_on(lab, node).with_context(|| node.name.clone())?;
            found.extend(left.iter().map(|left| format!("{left} on {}", node.name)));
        }
        ensure!(found.is_empty(), "{}", found.join(", "));
        Ok(())
    })
    .await
}

fn is_offered(node: &Node, slices: &[Value]) -> Result<()> {
    let of_node = slices
        .iter()
        .filter(|slice| slice["spec"]["nodeName"] == node.name.as_str());
    let devices: Vec<_> = of_node
        .filter_map(|slice| slice["spec"]["devices"].as_array())
        .flatten()
        .collect();
    let mut names: Vec<_> = devices
        .iter()
        .filter_map(|device| device["name"].as_str())
        .collect();
    names.sort_unstable();
    let links: Vec<_> = node.links.iter().map(|link| link.name.as_str()).collect();
    ensure!(
        names == links,
        "{} offers {names:?} instead of {links:?}",
        node.name
    );
    for device in devices {
        ensure!(device["taints"].is_null(), "{} offers {device}", node.name);
    }
    Ok(())
}

fn left_on(lab: &Lab, node: &Node) -> Result<Vec<String>> {
    let root = lab.path_on(&node.name, "")?;
    let mut left = left::in_files(&root)?;
    left.extend(left::promises_in(&root)?);
    for place in network_namespaces(lab, node)? {
        // A pod of the cluster's own may end while it is looked at.
        let Ok(links) = place::visit(place, left::attached_here) else {
            continue;
        };
        left.extend(links.into_iter().map(|link| format!("interface {link}")));
    }
    Ok(left)
}

/// The node's own and those of its pods.
fn network_namespaces(lab: &Lab, node: &Node) -> Result<Vec<PathBuf>> {
    let pods = lab.path_on(&node.name, "/run/netns")?;
    let pods = fs::read_dir(&pods).with_context(|| pods.display().to_string())?;
    let pods = pods.flatten().map(|entry| entry.path());
    Ok([network::path(&lab.name, &node.name)]
        .into_iter()
        .chain(pods)
        .collect())
}
