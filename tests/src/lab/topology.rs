//! Which nodes a lab has and how they are wired. Pure: nothing here touches the machine.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::runtime::Runtime;

/// The service address of the API server, as in any cluster with 10.96.0.0/16.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The switch's own address on the nodes' network.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);

/// Nodes are numbered from here, in addresses and pod networks.
const FIRST: u8 = 10;

/// More would leave the nodes' /24.
const MOST_NODES: usize = 200;

/// The kubelet's own default.
const SYNC_SECONDS: u16 = 60;

/// A lab's name: the prefix of all that it makes, so that two labs can stand side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabName(String);

/// What a lab consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The control plane first.
    pub nodes: Vec<Node>,
    /// Whether nodes may read every claim, which works round the Node authorizer's race: a kubelet
    /// faster than the authorizer's informer is refused its claim and retries after a minute.
    pub claim_grant: bool,
    /// How often kubelets look at a pod again that nothing happened to, and so when they try again
    /// what failed without a back-off of its own, such as preparing a claim.
    pub sync_seconds: u16,
}

/// A node of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// As kind would name it.
    pub name: String,
    /// Unique in the lab; part of addresses.
    pub number: u8,
    /// What runs its pods.
    pub runtime: Runtime,
    /// Besides lo.
    pub links: Vec<Link>,
}

/// A network card of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Name inside the node.
    pub name: String,
    /// The LAN that it is plugged into: a bridge of the switch.
    pub lan: String,
}

/// One more network card, as a user asks for it: `NODE:LINK:LAN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraLink {
    /// Where.
    pub node: String,
    /// What.
    pub link: Link,
}

impl FromStr for LabName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            return Err(format!(
                "{name:?} names no lab: expected 1 to 32 of a-z, 0-9 and -"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LabName {
    /// The namespace of one of its nodes, or of its switch. No lab's name has a dot, so one lab's
    /// namespaces are never another's.
    pub fn namespace(&self, of: &str) -> String {
        format!("{self}.{of}")
    }

    /// Whether a namespace is one of this lab's.
    pub fn owns_namespace(&self, namespace: &str) -> bool {
        namespace
            .strip_prefix(&self.0)
            .is_some_and(|rest| rest.starts_with('.'))
    }
}

impl FromStr for ExtraLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(node), Some(name), Some(lan), None) => Ok(Self {
                node,
                link: Link { name, lan },
            }),
            _ => Err(format!(
                "{text:?} is no link: expected NODE:LINK:LAN, as in kind-worker2:eth1:br1"
            )),
        }
    }
}

impl Topology {
    /// The talk's cluster with this many nodes: every node has eth0, only kind-worker has eth1.
    pub fn of_the_talk(nodes: usize) -> Result<Self, String> {
        if !(1..=MOST_NODES).contains(&nodes) {
            return Err(format!(
                "a lab has 1 to {MOST_NODES} nodes, and {nodes} were asked for"
            ));
        }
        let numbers = (FIRST..).take(nodes);
        let nodes = numbers.enumerate().map(|(index, number)| {
            let name = match index {
                0 => "kind-control-plane".to_owned(),
                1 => "kind-worker".to_owned(),
                _ => format!("kind-worker{index}"),
            };
            let mut links = vec![link("eth0", "br0")];
            links.extend((index == 1).then(|| link("eth1", "br1")));
            Node {
                name,
                number,
                runtime: Runtime::Containerd2,
                links,
            }
        });
        Ok(Self {
            nodes: nodes.collect(),
            claim_grant: true,
            sync_seconds: SYNC_SECONDS,
        })
    }

    /// Plugs in one more network card.
    pub fn plug(&mut self, extra: ExtraLink) -> Result<(), String> {
        let node = self
            .nodes
            .iter_mut()
            .find(|node| node.name == extra.node)
            .ok_or_else(|| format!("there is no node {:?} to plug a link into", extra.node))?;
        if node.links.iter().any(|link| link.name == extra.link.name) {
            return Err(format!("{} has a {} already", node.name, extra.link.name));
        }
        node.links.push(extra.link);
        Ok(())
    }

    /// A node by its name; the error lists those that there are.
    pub fn node(&self, name: &str) -> Result<&Node, String> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
                format!("no node {name:?}; there are {}", names.join(", "))
            })
    }

    /// Where the API server and its friends run.
    pub fn control_plane(&self) -> Option<&Node> {
        self.nodes.first()
    }

    /// The bridges that the switch needs, each once.
    pub fn lans(&self) -> Vec<&str> {
        let links = self.nodes.iter().flat_map(|node| &node.links);
        let mut lans: Vec<_> = links.map(|link| link.lan.as_str()).collect();
        lans.sort_unstable();
        lans.dedup();
        lans
    }
}

impl Node {
    /// Its address on eth0.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 89, 0, self.number)
    }

    /// The network of its pods.
    pub fn pod_network(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// Whether the API server runs here.
    pub fn is_control_plane(&self) -> bool {
        self.number == FIRST
    }
}

fn link(name: &str, lan: &str) -> Link {
    Link {
        name: name.to_owned(),
        lan: lan.to_owned(),
    }
}

#[cfg(test)]
mod tests;
