//! Who talks with a pod over one interface, and how much of it passed.
//!
//! A view and not an account: it begins with the driver, what was idle longest is forgotten where
//! there is no room, and nothing of it is kept. What is not recorded has no flows, which is not the
//! same as none.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use crate::{attachment::Slot, failure::Failure, time::Timestamp};

mod watch;

pub use self::watch::{Flows, InterfaceFlows, Line, Recorded, Speed, Unwatched, Wanted, Watch};

/// Ethertypes whose addresses are known (IEEE 802 numbers).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A flow as a program in the kernel tells it: what is not there is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// What the link carries.
    pub ethertype: u16,
    /// Number of the protocol above IP.
    pub protocol: u8,
    /// The pod's address; an IPv4 address has the first four bytes.
    pub local: [u8; 16],
    /// The other end's.
    pub remote: [u8; 16],
    /// The pod's port.
    pub local_port: u16,
    /// The other end's.
    pub remote_port: u16,
}

/// Which flow: both ends of it as the pod sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowId {
    /// Two ends that talk by IP.
    Ip {
        /// Number of the protocol above IP.
        protocol: u8,
        /// The pod's address.
        local: IpAddr,
        /// The other end's.
        remote: IpAddr,
        /// Where the protocol has ports, but for fragments that do not say them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ports: Option<Ports>,
    },
    /// All that the link carries of one ethertype: other protocols than IP, and packets of IP whose
    /// header cannot be read.
    Link {
        /// Which.
        ethertype: u16,
    },
}

/// The ports of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ports {
    /// The pod's.
    pub local: u16,
    /// The other end's.
    pub remote: u16,
}

/// What passed of a flow, in the meaning of [`Traffic`](crate::counters::Traffic).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Socket buffers.
    pub packets: u64,
    /// Their length with the link header.
    pub bytes: u64,
}

/// How much of a flow passed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// What the pod received.
    pub rx: Passed,
    /// What it sent.
    pub tx: Passed,
    /// When it was first seen since the driver looks.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
}

/// The place that all flows of a node share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Flows that it holds at most.
    pub room: u32,
    /// Those that it holds, of all interfaces.
    pub used: u32,
    /// Those that it forgot to make room since the driver started. What passed of them is in no
    /// flow any more.
    pub forgotten: u64,
    /// Packets for whose flow no place could be had.
    pub lost: u64,
}

/// The flows of one interface.
pub type Seen = BTreeMap<FlowId, Flow>;

/// The flows of one interface, or why they are not recorded.
pub type Recording = Result<Seen, Failure>;

/// What was read at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Of each slot whose flows are recorded, or were to be.
    pub by_slot: BTreeMap<Slot, Recording>,
    /// The place for them, once there is one.
    pub table: Option<Table>,
}

impl FlowId {
    /// What the link carries.
    pub fn ethertype(&self) -> u16 {
        match self {
            Self::Ip {
                local: IpAddr::V4(_),
                ..
            } => IPV4,
            Self::Ip {
                local: IpAddr::V6(_),
                ..
            } => IPV6,
            Self::Link { ethertype } => *ethertype,
        }
    }

    /// The protocol's usual name, or its number: `tcp`, `icmpv6`, `proto 89`, `arp`, `0x88cc`.
    pub fn protocol(&self) -> String {
        match self {
            Self::Ip { protocol, .. } => match protocol {
                1 => "icmp".to_owned(),
                2 => "igmp".to_owned(),
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                33 => "dccp".to_owned(),
                47 => "gre".to_owned(),
                50 => "esp".to_owned(),
                58 => "icmpv6".to_owned(),
                132 => "sctp".to_owned(),
                136 => "udplite".to_owned(),
                number => format!("proto {number}"),
            },
            Self::Link { ethertype } => match ethertype {
                0x0806 => "arp".to_owned(),
                &IPV4 => "ipv4?".to_owned(),
                &IPV6 => "ipv6?".to_owned(),
                number => format!("0x{number:04x}"),
            },
        }
    }

    /// The other end, with its port where it has one; nothing where nothing is known of it.
    pub fn peer(&self) -> Option<String> {
        let Self::Ip { remote, ports, .. } = self else {
            return None;
        };
        Some(match (remote, ports) {
            (IpAddr::V4(remote), Some(ports)) => format!("{remote}:{}", ports.remote),
            (IpAddr::V6(remote), Some(ports)) => format!("[{remote}]:{}", ports.remote),
            (remote, None) => remote.to_string(),
        })
    }
}

impl From<Raw> for FlowId {
    fn from(raw: Raw) -> Self {
        let Raw {
            ethertype,
            protocol,
            local,
            remote,
            local_port,
            remote_port,
        } = raw;
        let address = match ethertype {
            IPV4 => |[a, b, c, d, ..]: [u8; 16]| IpAddr::from(Ipv4Addr::new(a, b, c, d)),
            IPV6 => |bytes: [u8; 16]| IpAddr::from(Ipv6Addr::from(bytes)),
            _ => return Self::Link { ethertype },
        };
        // No packet goes from nowhere to nowhere: its header could not be read.
        if protocol == 0 && local == remote && local == [0; 16] {
            return Self::Link { ethertype };
        }
        // No port has the number 0.
        let ports = (local_port, remote_port) != (0, 0);
        Self::Ip {
            protocol,
            local: address(local),
            remote: address(remote),
            ports: ports.then_some(Ports {
                local: local_port,
                remote: remote_port,
            }),
        }
    }
}

impl Flow {
    /// Bytes of both directions.
    pub fn bytes(&self) -> u64 {
        self.rx.bytes.saturating_add(self.tx.bytes)
    }
}

#[cfg(test)]
mod tests;
