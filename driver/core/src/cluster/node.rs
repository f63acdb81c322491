//! What one node said, and what follows from its last two snapshots.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    claim::ClaimRef,
    counters::Counters,
    name::{ClaimUid, IfName},
    rate::Rates,
    snapshot::{ClaimState, Interface, InterfaceState, Snapshot},
    time::Timestamp,
};

/// A node that has not spoken for so long is stale.
///
/// It speaks once a second; five missed ones are no hiccup of the network.
pub const STALE_AFTER: Duration = Duration::from_secs(5);

/// Rates that are kept per interface: a minute at one per second.
pub const HISTORY: usize = 60;

/// One node as it last spoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its last snapshot.
    pub snapshot: Arc<Snapshot>,
    /// When that one came, by our clock: the node's may be another.
    pub heard: Timestamp,
    by_claim: BTreeMap<ClaimUid, ByClaim>,
    flows: BTreeMap<(ClaimUid, IfName), Flow>,
}

/// Where a claim is in the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ByClaim {
    state: Option<usize>,
    interfaces: Vec<usize>,
}

/// The traffic of one interface over the last minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Rates between the last two snapshots; none while one of them is missing.
    pub rates: Option<Rates>,
    /// Rates of the last minute, oldest first.
    pub history: VecDeque<Rates>,
}

impl Node {
    pub(super) fn new(snapshot: Arc<Snapshot>, heard: Timestamp) -> Self {
        Self {
            by_claim: index(&snapshot),
            flows: BTreeMap::new(),
            snapshot,
            heard,
        }
    }

    /// Takes the next snapshot: rates are what passed since the one before.
    pub(super) fn hear(&mut self, snapshot: Arc<Snapshot>, heard: Timestamp) {
        let mut flows = std::mem::take(&mut self.flows);
        // Bars are a second each: those from before a gap belong somewhere else.
        if self.silence(heard).is_some() {
            flows.clear();
        }
        self.flows = live(&snapshot)
            .map(|(key, counters)| {
                let rates = self.counters(&key).zip(counters).and_then(|(old, new)| {
                    Rates::between((self.snapshot.taken, old), (snapshot.taken, new))
                });
                let flow = flows.remove(&key).unwrap_or_default().then(rates);
                (key, flow)
            })
            .collect();
        self.by_claim = index(&snapshot);
        self.snapshot = snapshot;
        self.heard = heard;
    }

    /// How long it has been silent, once that is too long.
    pub fn silence(&self, now: Timestamp) -> Option<Duration> {
        Some(now.since(self.heard)).filter(|silence| *silence > STALE_AFTER)
    }

    /// A claim's state on this node.
    pub fn claim(&self, uid: &ClaimUid) -> Option<&ClaimState> {
        self.snapshot.claims.get(self.by_claim.get(uid)?.state?)
    }

    /// A claim's interfaces on this node, ended ones too.
    pub fn interfaces(&self, uid: &ClaimUid) -> impl Iterator<Item = &Interface> {
        let found = self.by_claim.get(uid).into_iter();
        found
            .flat_map(|found| &found.interfaces)
            .filter_map(|&index| self.snapshot.interfaces.get(index))
    }

    /// A claim that this node knows in any way, by all its names.
    pub fn claim_ref(&self, uid: &ClaimUid) -> Option<&ClaimRef> {
        let state = self.claim(uid).map(|state| &state.claim);
        state.or_else(|| self.interfaces(uid).next().map(|found| &found.claim))
    }

    /// The traffic of an interface that has not ended.
    pub fn flow(&self, interface: &Interface) -> Option<&Flow> {
        if interface.state == InterfaceState::Ended {
            return None;
        }
        let key = (interface.claim.uid.clone(), interface.if_name.clone());
        self.flows.get(&key)
    }

    fn counters(&self, (claim, if_name): &(ClaimUid, IfName)) -> Option<&Counters> {
        self.interfaces(claim)
            .find(|found| found.if_name == *if_name && found.state != InterfaceState::Ended)
            .and_then(|found| found.counters.as_ref())
    }
}

impl Flow {
    fn then(mut self, rates: Option<Rates>) -> Self {
        self.rates = rates;
        self.history.extend(rates);
        while self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self
    }
}

fn live(snapshot: &Snapshot) -> impl Iterator<Item = ((ClaimUid, IfName), Option<&Counters>)> {
    let interfaces = snapshot.interfaces.iter();
    interfaces
        .filter(|interface| interface.state != InterfaceState::Ended)
        .map(|interface| {
            let key = (interface.claim.uid.clone(), interface.if_name.clone());
            (key, interface.counters.as_ref())
        })
}

fn index(snapshot: &Snapshot) -> BTreeMap<ClaimUid, ByClaim> {
    let mut found = BTreeMap::<_, ByClaim>::new();
    for (index, claim) in snapshot.claims.iter().enumerate() {
        found.entry(claim.claim.uid.clone()).or_default().state = Some(index);
    }
    for (index, interface) in snapshot.interfaces.iter().enumerate() {
        let claim = found.entry(interface.claim.uid.clone()).or_default();
        claim.interfaces.push(index);
    }
    found
}
