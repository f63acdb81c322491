//! Claims: what was asked for, what was allocated, and what became of it on the node.

use std::{borrow::Cow, fmt};

use super::{ClaimRow, Cluster, Kind, Node, PodRow};
use crate::{
    claim::{Allocated, ClaimRef, PodRef},
    name::{ClaimUid, NodeName},
    snapshot::{ClaimState, Interface, InterfaceState},
};

/// How far a claim is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimPhase {
    /// It was refused, or one of its interfaces failed.
    Failed,
    /// No device was allocated to it.
    Pending,
    /// Devices were allocated to it; no node has spoken of it.
    Allocated,
    /// The node has prepared it and waits for the pod's sandbox.
    Prepared,
    /// An interface is being put into the pod.
    Attaching,
    /// All its interfaces are in the pod.
    Ready,
    /// An interface is being taken out of the pod.
    Detaching,
    /// It is being deleted.
    Deleting,
}

/// A claim, joined.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLine<'a> {
    /// The claim.
    pub claim: &'a ClaimRef,
    /// What the API server says.
    pub row: Option<&'a ClaimRow>,
    /// The node that speaks of it.
    pub on: Option<&'a Node>,
    /// What that node says.
    pub seen: Option<&'a ClaimState>,
    /// Its pod.
    pub pod: Option<&'a PodRef>,
    /// What the API server says of the pod.
    pub pod_row: Option<&'a PodRow>,
}

/// Pods that wait for a claim which serves another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiters<'a> {
    /// They, in the order in which they come to it.
    pub pods: Vec<&'a PodRef>,
    /// What they hear.
    pub message: &'a str,
}

impl fmt::Display for Waiters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pods.as_slice() {
            [] => write!(f, "a pod waits: {}", self.message),
            [pod] => write!(f, "pod {} waits: {}", pod.name, self.message),
            pods => write!(f, "{} pods wait: {}", pods.len(), self.message),
        }
    }
}

impl<'a> ClaimLine<'a> {
    /// Its interfaces that are, or ought to be, in the pod.
    pub fn interfaces(&self) -> impl Iterator<Item = &'a Interface> + use<'a> {
        let (uid, on) = (&self.claim.uid, self.on);
        on.into_iter()
            .flat_map(move |node| node.interfaces(uid))
            .filter(|interface| interface.state != InterfaceState::Ended)
    }

    /// Its devices.
    pub fn devices(&self) -> impl Iterator<Item = &'a Allocated> + use<'a> {
        let rows = self.row.map_or(&[][..], |row| &row.devices);
        let seen = self.seen.map_or(&[][..], |seen| &seen.devices);
        let seen = if rows.is_empty() { seen } else { &[] };
        rows.iter().map(|row| &row.allocated).chain(seen)
    }

    /// The node that it is on, or is bound to.
    pub fn node(&self) -> Option<&'a NodeName> {
        self.on
            .map(|node| &node.snapshot.node)
            .or_else(|| self.pod_row?.node.as_ref())
            .or_else(|| self.row?.node.as_ref())
    }

    /// How far it is, by the one who knows best: the node where it spoke, else the API server.
    pub fn phase(&self) -> ClaimPhase {
        if self.row.is_some_and(|row| row.deleting) {
            ClaimPhase::Deleting
        } else if self.seen.is_some() {
            self.phase_on_node()
        } else {
            self.phase_in_api()
        }
    }

    fn phase_on_node(&self) -> ClaimPhase {
        let any = |state| self.interfaces().any(|interface| interface.state == state);
        let refused = self.seen.is_some_and(|seen| seen.refused.is_some());
        if refused || any(InterfaceState::Failed) {
            ClaimPhase::Failed
        } else if any(InterfaceState::Attaching) {
            ClaimPhase::Attaching
        } else if any(InterfaceState::Detaching) {
            ClaimPhase::Detaching
        } else if any(InterfaceState::Attached) && !any(InterfaceState::Waiting) {
            ClaimPhase::Ready
        } else {
            ClaimPhase::Prepared
        }
    }

    fn phase_in_api(&self) -> ClaimPhase {
        let devices = self.row.map_or(&[][..], |row| &row.devices);
        let ready = |holds| {
            move |device: &super::AllocatedRow| {
                let status = device.status.as_ref();
                let ready = status.and_then(|status| status.condition("Ready"));
                ready.is_some_and(|condition| condition.holds == Some(holds))
            }
        };
        if devices.is_empty() {
            ClaimPhase::Pending
        } else if devices.iter().any(ready(false)) {
            ClaimPhase::Failed
        } else if devices.iter().all(ready(true)) {
            ClaimPhase::Ready
        } else {
            ClaimPhase::Allocated
        }
    }

    /// Who waits for it while it serves another, and what they hear.
    pub fn awaited(&self) -> Option<Waiters<'a>> {
        if let Some(seen) = self.seen {
            let awaited = seen.awaited.as_ref()?;
            return Some(Waiters {
                pods: awaited.pods.iter().collect(),
                message: &awaited.failure.message,
            });
        }
        let row = self.row?;
        let said = row.devices.iter().find_map(|device| {
            let refused = device.status.as_ref()?.condition("PodRefused")?;
            (refused.holds == Some(true)).then_some(&*refused.message)
        });
        Some(Waiters {
            message: said?,
            pods: row
                .reserved_for
                .iter()
                .filter(|pod| Some(*pod) != self.pod)
                .collect(),
        })
    }

    /// Why it is not ready, in its driver's or the scheduler's own words.
    pub fn reason(&self, cluster: &Cluster) -> Option<Cow<'a, str>> {
        let refused = self.seen.and_then(|seen| seen.refused.as_ref());
        let failed = || self.interfaces().find_map(|found| found.failure.as_ref());
        if let Some(failure) = refused.or_else(failed) {
            return Some(Cow::Borrowed(&failure.message));
        }
        match self.phase() {
            ClaimPhase::Pending => self.why_pending(cluster),
            ClaimPhase::Failed | ClaimPhase::Allocated => self.unready().map(Cow::Borrowed),
            ClaimPhase::Prepared
            | ClaimPhase::Attaching
            | ClaimPhase::Ready
            | ClaimPhase::Detaching
            | ClaimPhase::Deleting => None,
        }
        .or_else(|| {
            let awaited = self.awaited()?;
            Some(Cow::Owned(awaited.to_string()))
        })
    }

    fn unready(&self) -> Option<&'a str> {
        let devices = self.row?.devices.iter();
        devices
            .filter_map(|device| device.status.as_ref()?.condition("Ready"))
            .find(|condition| condition.holds != Some(true))
            .map(|condition| &*condition.message)
    }

    fn why_pending(&self, cluster: &Cluster) -> Option<Cow<'a, str>> {
        if let Some(words) = self.pod_row.and_then(|pod| pod.unschedulable.as_deref()) {
            return Some(Cow::Borrowed(words));
        }
        if let Some(class) = self.missing_class(cluster) {
            return Some(Cow::Owned(format!("DeviceClass {class} does not exist")));
        }
        let unused = self.pod.is_none() && cluster.is_synced(Kind::Pods);
        unused.then_some(Cow::Borrowed("no pod uses it yet"))
    }

    /// A class that it asks for and that is not there, where no other would do.
    fn missing_class(&self, cluster: &Cluster) -> Option<&'a str> {
        if !cluster.is_synced(Kind::DeviceClasses) {
            return None;
        }
        let requests = self.row?.requests.iter();
        requests
            .filter(|request| !request.classes.iter().any(|c| cluster.class(c).is_some()))
            .find_map(|request| request.classes.first().map(|class| &**class))
    }
}

impl Cluster {
    /// Every claim that the API server or a node knows, by UID.
    pub fn claims(&self) -> impl Iterator<Item = ClaimLine<'_>> {
        let rows = self.claims.values().map(|row| self.join(&row.claim));
        let only_seen = self
            .nodes
            .values()
            .flat_map(|node| &node.snapshot.claims)
            .filter(|seen| !self.claims.contains_key(&seen.claim.uid))
            .map(|seen| self.join(&seen.claim));
        rows.chain(only_seen)
    }

    /// One claim.
    pub fn claim(&self, uid: &ClaimUid) -> Option<ClaimLine<'_>> {
        let row = self.claims.get(uid).map(|row| &row.claim);
        let seen = || self.nodes.values().find_map(|node| node.claim_ref(uid));
        row.or_else(seen).map(|claim| self.join(claim))
    }

    fn join<'a>(&'a self, claim: &'a ClaimRef) -> ClaimLine<'a> {
        let row = self.claims.get(&claim.uid);
        let on = self
            .nodes
            .values()
            .find(|node| node.claim_ref(&claim.uid).is_some());
        let seen = on.and_then(|node| node.claim(&claim.uid));
        let pod = seen
            .and_then(|seen| seen.pod.as_ref())
            .or_else(|| Some(&on?.interfaces(&claim.uid).next()?.pod))
            .or_else(|| row?.reserved_for.first())
            .or_else(|| self.user(claim));
        ClaimLine {
            claim,
            row,
            on,
            seen,
            pod,
            pod_row: pod.and_then(|pod| self.pods.get(&pod.uid)),
        }
    }

    /// A pod that names the claim, for a claim that is not reserved for one.
    fn user(&self, claim: &ClaimRef) -> Option<&PodRef> {
        let key = (claim.namespace.clone(), claim.name.clone());
        let uid = self.users.get(&key)?.first()?;
        self.pods.get(uid).map(|pod| &pod.pod)
    }
}
