//! Objects of the API server as small rows: only the fields that a view, a join or a reason uses.
//!
//! Ten thousand claims cost tens of megabytes as rows and hundreds as the API's own structs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    claim::{Allocated, ClaimRef, PodRef},
    inventory::Attribute,
    name::{ClaimName, DeviceName, DriverName, NodeName, PoolName},
    time::Timestamp,
};

/// A `ResourceSlice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRow {
    /// Name of the object.
    pub name: Box<str>,
    /// Whose devices they are.
    pub driver: DriverName,
    /// The pool that it is a part of.
    pub pool: PoolName,
    /// Slices of an older generation than the pool's newest do not count.
    pub generation: i64,
    /// The node that has the devices, if it is one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRow>,
}

/// A device of a `ResourceSlice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Name in the slice.
    pub name: DeviceName,
    /// What the slice says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Box<str>, Attribute>,
    /// Most allocations at once; none when the slice sets no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Taints as `key=value:effect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Box<str>>,
}

/// A `ResourceClaim`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// The claim.
    pub claim: ClaimRef,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestRow>,
    /// What it got; empty while it is not allocated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<AllocatedRow>,
    /// The node that the allocation is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The pods that may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved_for: Vec<PodRef>,
    /// Its configuration in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<str>>,
}

/// A request of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Its name.
    pub name: Box<str>,
    /// The device class, or the classes it would take in turn.
    pub classes: Vec<Box<str>>,
}

/// A device that a claim got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocatedRow {
    /// Whose device it is.
    pub driver: DriverName,
    /// Which.
    #[serde(flatten)]
    pub allocated: Allocated,
    /// What its driver says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<StatusRow>>,
}

/// What a driver wrote into `status.devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionRow>,
    /// `networkData.interfaceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Box<str>>,
    /// `networkData.hardwareAddress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Box<str>>,
    /// `networkData.ips`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Box<str>>,
}

/// A condition of `status.devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionRow {
    /// Its type.
    pub kind: Box<str>,
    /// Whether it holds; none when its driver does not know.
    pub holds: Option<bool>,
    /// `CamelCase`.
    pub reason: Box<str>,
    /// For people.
    pub message: Box<str>,
}

/// A pod that uses claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRow {
    /// The pod.
    pub pod: PodRef,
    /// Where it was scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// `status.phase`.
    pub phase: Box<str>,
    /// The claims it uses, by their real names.
    pub claims: Vec<ClaimName>,
    /// What the scheduler said when it found no node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<Box<str>>,
}

/// A `DeviceClass`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRow {
    /// Its name.
    pub name: Box<str>,
    /// Its CEL selectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Box<str>>,
}

/// A pod of the relay, behind which a node's driver can be heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRow {
    /// The pod.
    pub pod: PodRef,
    /// The node that it runs on.
    pub node: NodeName,
    /// The port on its loopback.
    pub port: u16,
    /// Why it does not run, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Box<str>>,
}

impl DeviceRow {
    /// A text attribute, written with or without the driver's domain.
    pub fn text(&self, driver: &DriverName, name: &str) -> Option<&str> {
        let qualified = || self.attributes.get(format!("{driver}/{name}").as_str());
        match self.attributes.get(name).or_else(qualified)? {
            Attribute::String(text) => Some(text),
            Attribute::Int(_) | Attribute::Bool(_) => None,
        }
    }
}

impl StatusRow {
    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&ConditionRow> {
        self.conditions
            .iter()
            .find(|condition| &*condition.kind == kind)
    }
}
