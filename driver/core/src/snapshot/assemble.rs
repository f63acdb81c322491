//! How a snapshot comes to be: what was promised and done, what is offered, what was counted.
//!
//! A prepared device always has a row, also while nothing is there: a pod that waits is what
//! people look for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Awaited, ClaimState, DeviceUse, ENDED_SHOWN, Identity, Interface, InterfaceState, NriState,
    Snapshot,
};
use crate::{
    admission,
    attachment::{Attachment, Ended, Key, Phase, Slot, Timeline},
    claim::{ClaimRef, PodRef, PreparedClaim, PreparedDevice},
    cni::AddResult,
    counters::Counters,
    failure::{Failure, Step},
    inventory::{Inventory, LinkState},
    ledger::{Held, Ledger, Refusal},
    name::{ClaimUid, IfName},
    time::Timestamp,
};

impl Snapshot {
    /// A view of the node at `taken`. What `counted` does not have is not counted, not zero.
    pub fn new(
        ledger: &Ledger,
        inventory: &Inventory,
        counted: &BTreeMap<Slot, Counters>,
        nri: NriState,
        identity: Identity,
        taken: Timestamp,
    ) -> Self {
        let mut interfaces = live(ledger, inventory, counted);
        interfaces.extend(ended(ledger, taken, ENDED_SHOWN, &interfaces));
        Self {
            node: identity.node,
            driver: identity.driver,
            version: identity.version,
            started: identity.started,
            taken,
            generation: ledger.generation(),
            role: identity.role,
            nri,
            devices: devices(ledger, inventory),
            claims: claims(ledger),
            interfaces,
            leftovers: ledger.leftovers().cloned().collect(),
            findings: Vec::new(),
            drops: None,
        }
    }
}

impl Interface {
    /// Every interface that ended and is still explained, newest first, without those that are
    /// told among `others`.
    pub fn all_ended(ledger: &Ledger, others: &[Self]) -> Vec<Self> {
        ended(ledger, Timestamp::default(), Duration::MAX, others)
    }
}

/// Attachments, and the prepared devices that have none, by pod and name.
fn live(
    ledger: &Ledger,
    inventory: &Inventory,
    counted: &BTreeMap<Slot, Counters>,
) -> Vec<Interface> {
    let held: BTreeSet<(&ClaimUid, &IfName)> = ledger
        .attachments()
        .map(|held| (&held.attachment.claim.uid, &held.attachment.key.if_name))
        .collect();
    let attached = ledger.attachments().map(|held| attached(held, counted));
    let missing = ledger
        .claims()
        .flat_map(|claim| claim.devices.iter().map(move |device| (claim, device)))
        .filter(|(claim, device)| !held.contains(&(&claim.claim.uid, &device.if_name)))
        .map(|(claim, device)| missing(ledger, claim, device));
    let mut rows: Vec<Interface> = attached.chain(missing).collect();
    for row in &mut rows {
        row.link_state = link_state(inventory, row);
    }
    rows.sort_by(|a, b| (&a.pod, &a.if_name, &a.key).cmp(&(&b.pod, &b.if_name, &b.key)));
    rows
}

/// Of a child the parent's: the inventory sees the node's links, not the pod's.
fn link_state(inventory: &Inventory, row: &Interface) -> Option<LinkState> {
    let device = inventory.device(&row.allocated.device)?;
    Some(device.state)
}

fn row(claim: &ClaimRef, pod: &PodRef, device: &PreparedDevice) -> Interface {
    Interface {
        key: None,
        if_name: device.if_name.clone(),
        claim: claim.clone(),
        pod: pod.clone(),
        allocated: device.allocated.clone(),
        link: device.link.clone(),
        network: device.network.name().to_owned(),
        state: InterfaceState::Waiting,
        since: Timestamp::default(),
        mac: None,
        ips: Vec::new(),
        mtu: None,
        link_state: None,
        probe: None,
        counters: None,
        drops: None,
        late: false,
        failure: None,
        timeline: Timeline::default(),
    }
}

fn attached(held: &Held, counted: &BTreeMap<Slot, Counters>) -> Interface {
    let attachment = &held.attachment;
    let last = held.timeline.last().map_or(held.since, |moment| moment.at);
    let base = Interface {
        key: Some(attachment.key.clone()),
        failure: held.failure.clone(),
        // Also while it is taken out: a slot keeps what it counted until it is another's.
        counters: held.counters(counted),
        timeline: Timeline::clone(&held.timeline),
        ..row(&attachment.claim, &attachment.pod, &attachment.device)
    };
    match &held.phase {
        Phase::Attaching => Interface {
            state: InterfaceState::Attaching,
            since: held.since,
            ..base
        },
        Phase::Attached {
            result,
            probe,
            at,
            late,
        } => Interface {
            state: InterfaceState::Attached,
            since: *at,
            late: *late,
            probe: probe.clone(),
            ..in_pod(base, attachment, result)
        },
        Phase::Detaching { .. } if held.failure.is_some() => Interface {
            state: InterfaceState::Failed,
            since: last,
            ..base
        },
        Phase::Detaching { .. } => Interface {
            state: InterfaceState::Detaching,
            since: last,
            ..base
        },
    }
}

/// What the CNI chain reported of the interface inside the pod.
fn in_pod(row: Interface, attachment: &Attachment, result: &AddResult) -> Interface {
    let Some(found) = result.pod_interface(&attachment.netns, attachment.key.if_name.as_str())
    else {
        return row;
    };
    Interface {
        mac: found.mac.map(str::to_owned),
        ips: found.ips.iter().map(ToString::to_string).collect(),
        mtu: found.mtu,
        ..row
    }
}

/// A prepared device with nothing in the pod: its sandbox has not come, or the last try failed.
fn missing(ledger: &Ledger, claim: &PreparedClaim, device: &PreparedDevice) -> Interface {
    let uid = &claim.claim.uid;
    let base = row(&claim.claim, &claim.pod, device);
    let Some(failed) = ledger.failure(uid, &device.if_name) else {
        return Interface {
            since: ledger.prepared_at(uid).unwrap_or_default(),
            ..base
        };
    };
    let key = Key {
        sandbox: failed.sandbox.clone(),
        if_name: device.if_name.clone(),
    };
    let timeline = newest_ended(ledger)
        .find(|ended| ended.attachment.key == key)
        .map(|ended| Timeline::clone(&ended.timeline));
    Interface {
        key: Some(key),
        state: InterfaceState::Failed,
        since: failed.at,
        failure: Some(failed.failure.clone()),
        timeline: timeline.unwrap_or_default(),
        ..base
    }
}

fn newest_ended(ledger: &Ledger) -> impl Iterator<Item = &Ended> {
    let mut newest: Vec<&Ended> = ledger.ended().collect();
    newest.reverse();
    newest.into_iter()
}

/// What ended within `shown` of `now`, newest first and each key once; a key that has a row among
/// `others` is told there.
fn ended(ledger: &Ledger, now: Timestamp, shown: Duration, others: &[Interface]) -> Vec<Interface> {
    let mut told: BTreeSet<&Key> = others.iter().filter_map(|row| row.key.as_ref()).collect();
    newest_ended(ledger)
        .filter(|ended| now.since(ended.at) <= shown)
        .filter(|ended| told.insert(&ended.attachment.key))
        .map(|ended| Interface {
            key: Some(ended.attachment.key.clone()),
            state: InterfaceState::Ended,
            since: ended.at,
            counters: ended.last,
            drops: ended.drops.clone(),
            failure: ended.failure.clone(),
            timeline: Timeline::clone(&ended.timeline),
            ..row(
                &ended.attachment.claim,
                &ended.attachment.pod,
                &ended.attachment.device,
            )
        })
        .collect()
}

fn devices(ledger: &Ledger, inventory: &Inventory) -> Vec<DeviceUse> {
    let mut used = BTreeMap::new();
    for device in ledger.claims().flat_map(|claim| &claim.devices) {
        *used.entry(&device.allocated.device).or_default() += 1;
    }
    inventory
        .devices
        .values()
        .map(|device| DeviceUse {
            device: device.clone(),
            used: used.get(&device.name).copied().unwrap_or_default(),
        })
        .collect()
}

/// Prepared claims, then those that were only refused.
fn claims(ledger: &Ledger) -> Vec<ClaimState> {
    let prepared = ledger.claims().map(|claim| ClaimState {
        claim: claim.claim.clone(),
        pod: Some(claim.pod.clone()),
        devices: claim
            .devices
            .iter()
            .map(|device| device.allocated.clone())
            .collect(),
        refused: refusal(ledger.refusal(&claim.claim.uid)),
        awaited: awaited(ledger, claim),
    });
    let refused = ledger
        .refused()
        .filter(|refusal| ledger.claim(&refusal.refused.claim.uid).is_none())
        .map(|refusal| ClaimState {
            claim: refusal.refused.claim.clone(),
            pod: refusal.refused.pod.clone(),
            devices: refusal.refused.devices.clone(),
            refused: Some(refusal.refused.failure.clone()),
            awaited: None,
        });
    prepared.chain(refused).collect()
}

fn awaited(ledger: &Ledger, claim: &PreparedClaim) -> Option<Awaited> {
    let waiting = ledger.waiting(&claim.claim.uid)?;
    Some(Awaited {
        pods: waiting.pods.clone(),
        since: waiting.since,
        failure: Failure::new(Step::Plan, &admission::in_use(claim)),
    })
}

fn refusal(refusal: Option<&Refusal>) -> Option<Failure> {
    Some(refusal?.refused.failure.clone())
}
