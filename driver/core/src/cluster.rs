//! Objects of the API server and snapshots of nodes, joined.
//!
//! Owns the join by claim UID, by pool and device, and by pod UID; nothing else may join them.
//! It keeps what it was told and never guesses: what is not known is `None`, not zero.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    claim::PodRef,
    name::{ClaimName, ClaimUid, DeviceName, DriverName, Namespace, NodeName, PodUid, PoolName},
    snapshot::Snapshot,
    time::Timestamp,
};

mod change;
mod claims;
mod devices;
mod interfaces;
mod node;
mod rows;

pub use change::{
    AgentState, Change, FlowsTold, Kind, Object, ObjectId, Recorded, WatchState, Watched,
};
pub use claims::{ClaimLine, ClaimPhase, Waiters};
pub use devices::{DeviceId, DeviceLine};
pub use interfaces::{InterfaceId, InterfaceLine, Seen};
pub use node::{Flow, HISTORY, Node, STALE_AFTER};
pub use rows::{
    AllocatedRow, ClaimRow, ClassRow, ConditionRow, DeviceRow, PodRow, RelayRow, RequestRow,
    SliceRow, StatusRow,
};

/// Something that has a state, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since<T> {
    /// The state.
    pub state: T,
    /// When it began.
    pub at: Timestamp,
}

/// Everything that is known of a cluster, or of the part of it that can be seen.
///
/// Changes of different objects may come in any order: the same changes make the same cluster.
/// Changes of one object come in the order in which its source saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    slices: BTreeMap<Box<str>, SliceRow>,
    claims: BTreeMap<ClaimUid, ClaimRow>,
    pods: BTreeMap<PodUid, PodRow>,
    classes: BTreeMap<Box<str>, ClassRow>,
    relays: BTreeMap<PodUid, RelayRow>,
    nodes: BTreeMap<NodeName, Node>,
    agents: BTreeMap<String, Since<AgentState>>,
    watches: BTreeMap<Kind, Since<WatchState>>,
    /// Of the interface that was looked at last: nobody looks at two.
    flows: Option<(Watched, Since<FlowsTold>)>,
    /// Follows from `claims`: how often each device is allocated.
    used: BTreeMap<DeviceId, u32>,
    /// Follows from `agents`: nodes that have been hung up on.
    resting: BTreeSet<NodeName>,
    /// Follows from `pods`: which pods use a claim by name.
    users: BTreeMap<(Namespace, ClaimName), BTreeSet<PodUid>>,
}

impl Cluster {
    /// Takes a change in, at the time at which it came.
    pub fn apply(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::Upserted { object } => self.upsert(object),
            Change::Removed { id } => self.remove(&id),
            Change::Snapshot { snapshot } => self.hear(snapshot, now),
            Change::Flows { of, told } => {
                let told = Since {
                    state: told,
                    at: now,
                };
                self.flows = Some((of, told));
            }
            Change::Agent { endpoint, state } => self.meet(endpoint, state, now),
            Change::Watch { kind, state } => note(&mut self.watches, kind, state, now),
        }
    }

    /// Rows that a table of it has at most, without counting them out.
    pub fn size(&self) -> usize {
        let offered = self.slices.values().map(|slice| slice.devices.len());
        let seen = self.nodes.values().map(|node| {
            let Snapshot {
                devices,
                claims,
                interfaces,
                ..
            } = &*node.snapshot;
            devices.len().max(claims.len()).max(interfaces.len())
        });
        let allocated = self.used.values().map(|used| *used as usize);
        let told = self.claims.len().max(offered.sum()).max(allocated.sum());
        told + seen.sum::<usize>()
    }

    /// The nodes that have spoken.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, &Node)> {
        self.nodes.iter()
    }

    /// The connections to drivers, by how they are reached.
    pub fn agents(&self) -> impl Iterator<Item = (&str, &Since<AgentState>)> {
        let agents = self.agents.iter();
        agents.map(|(endpoint, state)| (endpoint.as_str(), state))
    }

    /// How the connection to a node's driver stands: by the one that speaks, where there are two.
    pub fn agent(&self, node: &NodeName) -> Option<&Since<AgentState>> {
        let of_node = || {
            let agents = self.agents.values();
            agents.filter(|agent| agent.state.node() == Some(node))
        };
        let lost = |agent: &&Since<AgentState>| matches!(agent.state, AgentState::Lost { .. });
        of_node()
            .find(|agent| !lost(agent))
            .or_else(|| of_node().next())
    }

    /// Whether a node was hung up on after it had spoken.
    pub fn is_resting(&self, node: &NodeName) -> bool {
        self.resting.contains(node)
    }

    /// The relay's pods.
    pub fn relays(&self) -> impl Iterator<Item = &RelayRow> {
        self.relays.values()
    }

    /// What a node said last of an interface's flows, and when; nothing where it was not asked, or
    /// was asked of another since.
    pub fn flows(&self, id: &InterfaceId) -> Option<&Since<FlowsTold>> {
        let (of, told) = self.flows.as_ref()?;
        let same = of.claim == id.claim && of.if_name.as_str() == &*id.if_name;
        (same && id.ended.is_none()).then_some(told)
    }

    /// The watches of the API server.
    pub fn watches(&self) -> impl Iterator<Item = (Kind, &Since<WatchState>)> {
        self.watches.iter().map(|(kind, state)| (*kind, state))
    }

    /// Whether all objects of a kind are known.
    pub fn is_synced(&self, kind: Kind) -> bool {
        let watch = self.watches.get(&kind);
        watch.is_some_and(|watch| watch.state == WatchState::Synced)
    }

    /// A device class.
    pub fn class(&self, name: &str) -> Option<&ClassRow> {
        self.classes.get(name)
    }

    /// A pod that uses claims.
    pub fn pod(&self, uid: &PodUid) -> Option<&PodRow> {
        self.pods.get(uid)
    }

    fn upsert(&mut self, object: Object) {
        self.remove(&object.id());
        match object {
            Object::Slice(slice) => {
                self.slices.insert(slice.name.clone(), slice);
            }
            Object::Claim(claim) => {
                for device in &claim.devices {
                    *self.used.entry(DeviceId::of(device)).or_default() += 1;
                }
                self.claims.insert(claim.claim.uid.clone(), claim);
            }
            Object::Pod(pod) => {
                for user in users(&pod) {
                    self.users
                        .entry(user)
                        .or_default()
                        .insert(pod.pod.uid.clone());
                }
                self.pods.insert(pod.pod.uid.clone(), pod);
            }
            Object::Class(class) => {
                self.classes.insert(class.name.clone(), class);
            }
            Object::Relay(relay) => {
                self.relays.insert(relay.pod.uid.clone(), relay);
            }
        }
    }

    fn remove(&mut self, id: &ObjectId) {
        match id {
            ObjectId::Slice(name) => {
                self.slices.remove(name);
            }
            ObjectId::Claim(uid) => {
                for device in self
                    .claims
                    .remove(uid)
                    .iter()
                    .flat_map(|claim| &claim.devices)
                {
                    self.release(&DeviceId::of(device));
                }
            }
            ObjectId::Pod(uid) => {
                for user in self.pods.remove(uid).iter().flat_map(users) {
                    self.forget_user(&user, uid);
                }
            }
            ObjectId::Class(name) => {
                self.classes.remove(name);
            }
            ObjectId::Relay(uid) => {
                self.relays.remove(uid);
            }
        }
    }

    fn release(&mut self, device: &DeviceId) {
        if let Some(used) = self.used.get_mut(device) {
            *used -= 1;
            if *used == 0 {
                self.used.remove(device);
            }
        }
    }

    fn forget_user(&mut self, claim: &(Namespace, ClaimName), pod: &PodUid) {
        if let Some(pods) = self.users.get_mut(claim) {
            pods.remove(pod);
            if pods.is_empty() {
                self.users.remove(claim);
            }
        }
    }

    fn meet(&mut self, endpoint: String, state: AgentState, now: Timestamp) {
        match &state {
            AgentState::Resting { node } => {
                self.resting.insert(node.clone());
            }
            AgentState::Gone { node } => {
                self.nodes.remove(node);
                self.resting.remove(node);
                self.agents.remove(&endpoint);
                return;
            }
            AgentState::Connecting | AgentState::Connected { .. } | AgentState::Lost { .. } => {
                let before = self.agents.get(&endpoint);
                if let Some(node) = before.and_then(|agent| agent.state.node()) {
                    self.resting.remove(node);
                }
            }
        }
        note(&mut self.agents, endpoint, state, now);
    }

    fn hear(&mut self, snapshot: Arc<Snapshot>, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(&snapshot.node) {
            node.hear(snapshot, now);
        } else {
            let name = snapshot.node.clone();
            self.nodes.insert(name, Node::new(snapshot, now));
        }
    }
}

/// The claims that a pod uses, by the names that claims are found by.
fn users(pod: &PodRow) -> impl Iterator<Item = (Namespace, ClaimName)> {
    let PodRef { namespace, .. } = &pod.pod;
    let claims = pod.claims.iter();
    claims.map(move |claim| (namespace.clone(), claim.clone()))
}

/// Keeps since when a state holds: being told again does not make it younger.
fn note<K: Ord, T: PartialEq>(
    states: &mut BTreeMap<K, Since<T>>,
    key: K,
    state: T,
    now: Timestamp,
) {
    match states.get_mut(&key) {
        Some(known) if known.state == state => {}
        _ => {
            states.insert(key, Since { state, at: now });
        }
    }
}

#[cfg(test)]
mod tests;
