//! Interfaces: what nodes say of them, and what claim status says where no node speaks.

use super::{AllocatedRow, ClaimRow, Cluster, Flow, Node, PodRow, StatusRow};
use crate::{
    attachment::ProbeState,
    claim::{Allocated, ClaimRef, PodRef},
    counters::Counters,
    drops::Drops,
    name::{ClaimUid, NodeName, SandboxId},
    rate::Rates,
    snapshot::{Interface, InterfaceState},
    time::Timestamp,
};

/// Which interface: what stays the same while it comes and goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId {
    /// The claim that asked for it.
    pub claim: ClaimUid,
    /// Its name in the pod.
    pub if_name: Box<str>,
    /// The sandbox that it was in, once it is over.
    pub ended: Option<SandboxId>,
}

/// An interface, joined.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceLine<'a> {
    /// The claim that asked for it.
    pub claim: &'a ClaimRef,
    /// Its name in the pod.
    pub if_name: &'a str,
    /// The pod that has it.
    pub pod: Option<&'a PodRef>,
    /// What the API server says of the pod.
    pub pod_row: Option<&'a PodRow>,
    /// The device behind it.
    pub allocated: &'a Allocated,
    /// What a node says.
    pub seen: Option<Seen<'a>>,
    /// What its claim's status says, where no node speaks.
    pub status: Option<&'a StatusRow>,
}

/// An interface as its node last spoke of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The node.
    pub node: &'a Node,
    /// What it said.
    pub interface: &'a Interface,
    /// Its traffic of the last minute.
    pub flow: Option<&'a Flow>,
    /// The node was hung up on after it had spoken: what it said is old, and not its fault.
    pub resting: bool,
}

impl<'a> InterfaceLine<'a> {
    /// What stays the same while it changes.
    pub fn id(&self) -> InterfaceId {
        let ended = self
            .seen
            .filter(|seen| seen.interface.state == InterfaceState::Ended)
            .and_then(|seen| seen.interface.key.as_ref());
        InterfaceId {
            claim: self.claim.uid.clone(),
            if_name: self.if_name.into(),
            ended: ended.map(|key| key.sandbox.clone()),
        }
    }

    /// The node that it is on.
    pub fn node(&self) -> Option<&'a NodeName> {
        self.seen
            .map(|seen| &seen.node.snapshot.node)
            .or_else(|| self.pod_row?.node.as_ref())
    }

    /// How far it is, where its node spoke.
    pub fn state(&self) -> Option<InterfaceState> {
        self.seen.map(|seen| seen.interface.state)
    }

    /// Its addresses with their prefix lengths.
    pub fn ips(&self) -> Vec<&'a str> {
        match (self.seen, self.status) {
            (Some(seen), _) => seen.interface.ips.iter().map(String::as_str).collect(),
            (None, Some(status)) => status.ips.iter().map(|ip| &**ip).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Its hardware address.
    pub fn mac(&self) -> Option<&'a str> {
        let seen = self.seen.and_then(|seen| seen.interface.mac.as_deref());
        seen.or_else(|| self.status?.mac.as_deref())
    }

    /// Whether it is counted.
    pub fn probe(&self) -> Option<&'a ProbeState> {
        self.seen?.interface.probe.as_ref()
    }

    /// Its traffic since it was attached.
    pub fn counters(&self) -> Option<&'a Counters> {
        self.seen?.interface.counters.as_ref()
    }

    /// What the kernel dropped on it since it was attached.
    pub fn drops(&self) -> Option<&'a Drops> {
        self.seen?.interface.drops.as_ref()
    }

    /// Its traffic per second as its node last said; unknown while the node is silent though
    /// somebody listens, for the last rate is no rate.
    pub fn rates(&self, now: Timestamp) -> Option<Rates> {
        let seen = self.seen.filter(|seen| !seen.is_silent(now))?;
        seen.flow?.rates
    }
}

impl Seen<'_> {
    /// Whether the node says nothing though somebody listens.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        !self.resting && self.node.silence(now).is_some()
    }
}

impl Cluster {
    /// Every interface that a node or a claim's status knows.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceLine<'_>> {
        let seen = self.nodes.values().flat_map(move |node| {
            let interfaces = node.snapshot.interfaces.iter();
            interfaces.map(move |interface| self.seen(node, interface))
        });
        let only_said = self
            .claims
            .values()
            .filter(|claim| !self.is_seen(&claim.claim.uid))
            .flat_map(|claim| claim.devices.iter().map(move |device| (claim, device)))
            .filter_map(|(claim, device)| self.said(claim, device));
        seen.chain(only_said)
    }

    /// One interface.
    pub fn interface(&self, id: &InterfaceId) -> Option<InterfaceLine<'_>> {
        let seen = self.nodes.values().flat_map(|node| {
            let interfaces = node.interfaces(&id.claim);
            interfaces.map(move |interface| self.seen(node, interface))
        });
        let said = self.claims.get(&id.claim).into_iter().flat_map(|claim| {
            let devices = claim.devices.iter();
            devices.filter_map(move |device| self.said(claim, device))
        });
        seen.chain(said).find(|line| line.id() == *id)
    }

    fn is_seen(&self, claim: &ClaimUid) -> bool {
        self.nodes
            .values()
            .any(|node| node.interfaces(claim).next().is_some())
    }

    fn seen<'a>(&'a self, node: &'a Node, interface: &'a Interface) -> InterfaceLine<'a> {
        InterfaceLine {
            claim: &interface.claim,
            if_name: interface.if_name.as_str(),
            pod: Some(&interface.pod),
            pod_row: self.pods.get(&interface.pod.uid),
            allocated: &interface.allocated,
            seen: Some(Seen {
                node,
                interface,
                flow: node.flow(interface),
                resting: self.is_resting(&node.snapshot.node),
            }),
            status: None,
        }
    }

    fn said<'a>(
        &'a self,
        claim: &'a ClaimRow,
        device: &'a AllocatedRow,
    ) -> Option<InterfaceLine<'a>> {
        let status = device.status.as_deref()?;
        let pod = claim.reserved_for.first();
        Some(InterfaceLine {
            claim: &claim.claim,
            if_name: status.interface.as_deref()?,
            pod,
            pod_row: pod.and_then(|pod| self.pods.get(&pod.uid)),
            allocated: &device.allocated,
            seen: None,
            status: Some(status),
        })
    }
}
