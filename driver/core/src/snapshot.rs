//! One immutable view of a node at an instant.
//!
//! What `/metrics`, gRPC and `dra-top` read. Whole and never a difference: a slow reader skips one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    attachment::{Key, Leftover, ProbeState, Timeline},
    claim::{Allocated, ClaimRef, PodRef},
    counters::Counters,
    drops::{Drops, DropsState},
    failure::Failure,
    inventory::{Device, LinkState},
    name::{DriverName, IfName, NodeName},
    time::Timestamp,
};

mod assemble;
mod drops;

/// How long an ended interface stays in snapshots and metrics: two scrapes at Prometheus' default
/// interval of a minute, so that the final value is seen.
pub const ENDED_SHOWN: Duration = Duration::from_mins(2);

/// Which instance of the driver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Holds the lock: prepares, attaches, counts.
    Active,
    /// Ready to take over.
    Standby,
}

/// Who speaks: what does not change while the driver runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeName,
    /// The driver.
    pub driver: DriverName,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// Which instance speaks.
    pub role: Role,
}

/// The connection to the container runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NriState {
    /// Whether pods are announced to us.
    pub connected: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// Name and version of the runtime, once it told us.
    pub runtime: Option<String>,
}

/// A device and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUse {
    /// The device.
    pub device: Device,
    /// Prepared claims' devices that use it.
    pub used: u32,
}

/// How a claim stands on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimState {
    /// The claim.
    pub claim: ClaimRef,
    /// Its pod, where it is known.
    pub pod: Option<PodRef>,
    /// Its devices of ours.
    pub devices: Vec<Allocated>,
    /// Why it was refused, if it was.
    pub refused: Option<Failure>,
    /// Who waits for it while it serves another, if anybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<Awaited>,
}

/// Pods that wait for a claim which serves another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// They, in the order in which they come to it.
    pub pods: Vec<PodRef>,
    /// Since when there are any.
    pub since: Timestamp,
    /// What they hear.
    pub failure: Failure,
}

/// How far an interface is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceState {
    /// Prepared; its sandbox has not come yet.
    Waiting,
    /// Being put into the pod.
    Attaching,
    /// In the pod.
    Attached,
    /// Being taken out.
    Detaching,
    /// The last try failed.
    Failed,
    /// Over.
    Ended,
}

/// One interface of one pod: the central row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Sandbox and name; none while no sandbox came.
    pub key: Option<Key>,
    /// Name in the pod.
    pub if_name: IfName,
    /// The claim that asked for it.
    pub claim: ClaimRef,
    /// The pod that has it.
    pub pod: PodRef,
    /// The device behind it.
    pub allocated: Allocated,
    /// The link on the node behind it.
    pub link: String,
    /// Name of the CNI network.
    pub network: String,
    /// How far it is.
    pub state: InterfaceState,
    /// Since when.
    pub since: Timestamp,
    /// Hardware address.
    pub mac: Option<String>,
    /// Addresses with their prefix lengths.
    pub ips: Vec<String>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Operational state of the interface, or of its parent where it is unknown.
    pub link_state: Option<LinkState>,
    /// Whether it is counted.
    pub probe: Option<ProbeState>,
    /// Its traffic since it was attached; none when it is not counted.
    pub counters: Option<Counters>,
    /// What the kernel dropped on it; none when that is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<Drops>,
    /// A container had already run when the interface came.
    pub late: bool,
    /// Why the last try failed.
    pub failure: Option<Failure>,
    /// All that happened to it.
    pub timeline: Timeline,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Will hurt.
    Warning,
    /// Hurts.
    Fault,
}

/// A diagnosis: what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which rule found it.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// What it is about, as `kind/namespace/name`.
    pub subject: String,
    /// What was found, what was expected, what to do.
    pub message: String,
}

/// One immutable view of a node at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The node.
    pub node: NodeName,
    /// The driver.
    pub driver: DriverName,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// When this was taken.
    pub taken: Timestamp,
    /// The ledger's generation.
    pub generation: u64,
    /// Which instance speaks.
    pub role: Role,
    /// The connection to the container runtime.
    pub nri: NriState,
    /// What is offered.
    pub devices: Vec<DeviceUse>,
    /// What was asked for.
    pub claims: Vec<ClaimState>,
    /// What is in the pods, and what is over.
    pub interfaces: Vec<Interface>,
    /// What could not be undone.
    pub leftovers: Vec<Leftover>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether drops are counted; none of a driver that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<DropsState>,
}

#[cfg(test)]
mod tests;
