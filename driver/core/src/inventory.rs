//! What this node can offer: links become devices.

use serde::{Deserialize, Serialize};

use crate::name::DeviceName;

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
}
