//! What this node can offer: links become devices.
//!
//! Owns which links are offered and how they are described. It never asks the kernel: what was
//! seen, and when, comes in as an argument.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::node::NodeAddresses;
use crate::name::DeviceName;

pub mod describe;
pub mod link;
pub mod node;
pub mod offer;
pub mod survey;

/// How a device may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Children (macvlan, ipvlan, vlan) of many pods at once.
    Shared,
    /// One pod at a time; the link itself may move.
    Exclusive,
}

/// Whether a device can be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Up with carrier.
    Up,
    /// Present, but down or without carrier.
    Down,
    /// Not in the node's namespace any more.
    Gone,
}

/// A link that can back attachments, as our slice names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Name in the slice: the link's, where that is a DNS label.
    pub name: DeviceName,
    /// Name of the link on the node.
    pub link: String,
    /// Whether pods share it.
    pub mode: Mode,
    /// Whether it can be used now.
    pub state: LinkState,
    /// Most attachments at once.
    pub max_virtual_devices: u32,
    /// Carries a default route or an address of the node: it never moves into a pod.
    #[serde(default)]
    pub held_by_node: bool,
    /// What the slice says of it, by attribute name; ours are written without a domain.
    pub attributes: Attributes,
}

/// Attributes of a device by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// Value of a device attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribute {
    /// 64 characters at most.
    String(String),
    /// A number.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

/// The devices of this node by name, and what of its network is nobody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// By name in the slice.
    pub devices: BTreeMap<DeviceName, Device>,
    /// What no claim may give to a pod.
    #[serde(default)]
    pub node: NodeAddresses,
}

impl Inventory {
    /// A device, present or gone but still allocated.
    pub fn device(&self, name: &DeviceName) -> Option<&Device> {
        self.devices.get(name)
    }
}
