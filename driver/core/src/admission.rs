//! Whether there is room for a claim beside the others of this node.
//!
//! The scheduler decides what it knows of. It does not count adminAccess, does not know which pod
//! a shared claim serves, which names a pod's interfaces have, and what the kernel lets one link
//! carry; this does. It never changes anything: what to undo first is the ledger's plan.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    attachment::PodSandbox,
    claim::{
        ClaimRef, PodRef, PreparedClaim, PreparedDevice,
        policy::catalogue::{self, Role},
        refusal::{Asked, Refusal},
    },
    inventory::{Inventory, Mode},
    ledger::Ledger,
    name::{DeviceName, IfName},
};

/// How a claim that may be prepared relates to what was prepared under its UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There was nothing.
    New,
    /// The kubelet repeats itself: nothing differs.
    Same,
    /// Pod, devices and names are what they were. What differs is what this node makes of them, as
    /// the addresses which ranges spare, or the mode of a device: it is for the next sandbox, and
    /// what is attached stays.
    Renew,
    /// Pod, devices or names differ: what was attached is released first
    /// ([`Ledger::plan_release`]). While a pod has a claim reserved, the API server keeps its
    /// allocation, so that this takes nothing from a pod that runs.
    Replace,
}

/// Admits a claim, or says who or what is in its way.
pub fn admit(
    ledger: &Ledger,
    inventory: &Inventory,
    prepared: &PreparedClaim,
) -> Result<Admission, Box<Refusal>> {
    serves_nobody_else(ledger, prepared)?;
    let of_pod = ledger
        .claims_of(&prepared.pod.uid)
        .filter(|other| other.claim.uid != prepared.claim.uid);
    distinct_names(of_pod.chain([prepared]))?;
    for device in &prepared.devices {
        Room::new(ledger, prepared, device).check(inventory)?;
    }
    Ok(match ledger.claim(&prepared.claim.uid) {
        None => Admission::New,
        Some(before) if before == prepared => Admission::Same,
        Some(before) if before.gives_same_as(prepared) => Admission::Renew,
        Some(_) => Admission::Replace,
    })
}

/// Whether a sandbox may get the interfaces of its pod's claims at all.
///
/// `refused_handlers` are patterns of runtime handlers (`--refuse-runtime-handlers`), where `*`
/// stands for any characters.
pub fn attach_check<'a>(
    sandbox: &PodSandbox,
    claims: impl IntoIterator<Item = &'a PreparedClaim>,
    refused_handlers: &[String],
) -> Result<(), Box<Refusal>> {
    let claims: Vec<&PreparedClaim> = claims.into_iter().collect();
    let Some(first) = claims.first() else {
        return Ok(());
    };
    let (pod, claim) = (sandbox.pod.clone(), first.claim.clone());
    if sandbox.netns.is_none() {
        return Err(Box::new(Refusal::HostNetwork { pod, claim }));
    }
    let handler = &sandbox.runtime_handler;
    if let Some(pattern) = refused_handlers
        .iter()
        .find(|pattern| matches(pattern, handler))
    {
        return Err(Box::new(Refusal::RuntimeHandler {
            pod,
            claim,
            handler: handler.clone(),
            pattern: pattern.clone(),
        }));
    }
    if let Some(other) = claims.iter().find(|claim| claim.pod.uid != sandbox.pod.uid) {
        return Err(Box::new(Refusal::SecondPod {
            claim: other.claim.clone(),
            serves: other.pod.clone(),
        }));
    }
    distinct_names(claims)
}

/// Whether a prepared claim goes on to the next of the `pods` that have reserved it: the one that it
/// serves has not any more, and has nothing of it left.
pub fn is_free(ledger: &Ledger, claim: &PreparedClaim, pods: &[PodRef]) -> bool {
    !pods.is_empty()
        && pods.iter().all(|pod| pod.uid != claim.pod.uid)
        && ledger.attachments_of(&claim.claim.uid).next().is_none()
}

/// What every pod hears that comes for a claim while it serves another.
pub fn in_use(claim: &PreparedClaim) -> Refusal {
    Refusal::SecondPod {
        claim: claim.claim.clone(),
        serves: claim.pod.clone(),
    }
}

/// A claim moves on to another pod once nothing of it is left in the one before.
fn serves_nobody_else(ledger: &Ledger, prepared: &PreparedClaim) -> Result<(), Box<Refusal>> {
    let held = ledger
        .attachments_of(&prepared.claim.uid)
        .map(|held| &held.attachment.pod)
        .find(|pod| pod.uid != prepared.pod.uid);
    held.map_or(Ok(()), |pod| {
        Err(Box::new(Refusal::SecondPod {
            claim: prepared.claim.clone(),
            serves: pod.clone(),
        }))
    })
}

/// No two interfaces of a pod have one name; the later claim is the one that is refused.
fn distinct_names<'a>(
    claims: impl IntoIterator<Item = &'a PreparedClaim>,
) -> Result<(), Box<Refusal>> {
    let mut names: BTreeMap<&IfName, &ClaimRef> = BTreeMap::new();
    for prepared in claims {
        for device in &prepared.devices {
            if let Some(other) = names.insert(&device.if_name, &prepared.claim) {
                return Err(Box::new(Refusal::DuplicateName {
                    asked: device.allocated.asked(&prepared.claim),
                    if_name: device.if_name.clone(),
                    other: other.clone(),
                    pod: prepared.pod.clone(),
                }));
            }
        }
    }
    Ok(())
}

/// One device that is asked for, and whoever else has it.
struct Room<'a> {
    ledger: &'a Ledger,
    claim: &'a PreparedClaim,
    wanted: &'a PreparedDevice,
    /// Uses by other claims, prepared or still attached, each once.
    others: Vec<(&'a ClaimRef, &'a PreparedDevice)>,
}

impl<'a> Room<'a> {
    fn new(ledger: &'a Ledger, claim: &'a PreparedClaim, wanted: &'a PreparedDevice) -> Self {
        let prepared = ledger.claims().flat_map(|other| {
            other
                .devices
                .iter()
                .map(move |device| (&other.claim, device))
        });
        let attached = ledger
            .attachments()
            .map(|held| (&held.attachment.claim, &held.attachment.device))
            .filter(|(other, _)| ledger.claim(&other.uid).is_none());
        let others = prepared
            .chain(attached)
            .filter(|(other, device)| {
                other.uid != claim.claim.uid && device.allocated.device == wanted.allocated.device
            })
            .collect();
        Self {
            ledger,
            claim,
            wanted,
            others,
        }
    }

    fn check(&self, inventory: &Inventory) -> Result<(), Box<Refusal>> {
        match self.wanted.mode {
            Mode::Exclusive => self.alone()?,
            Mode::Shared => self.fits(inventory)?,
        }
        self.one_kind()
    }

    /// An exclusive device is nobody else's, and clean.
    fn alone(&self) -> Result<(), Box<Refusal>> {
        if let Some((other, _)) = self.others.first() {
            return Err(Box::new(Refusal::DeviceInUse {
                asked: self.asked(),
                device: self.device().clone(),
                other: (*other).clone(),
            }));
        }
        let left = self
            .ledger
            .leftovers()
            .find(|left| left.attachment.device.allocated.device == *self.device());
        left.map_or(Ok(()), |left| {
            Err(Box::new(Refusal::LeftBehind {
                asked: self.asked(),
                device: self.device().clone(),
                other: left.attachment.claim.clone(),
                if_name: left.attachment.key.if_name.clone(),
                attempts: left.attempts,
                why: left.failure.message.clone(),
            }))
        })
    }

    /// A shared device has room; what the scheduler allocated as adminAccess counts as well.
    fn fits(&self, inventory: &Inventory) -> Result<(), Box<Refusal>> {
        let own = self
            .claim
            .devices
            .iter()
            .filter(|device| device.allocated.device == *self.device())
            .count();
        let used = self.others.len();
        let max = inventory
            .device(self.device())
            .map_or(u32::MAX, |device| device.max_virtual_devices);
        if u32::try_from(used + own).is_ok_and(|wanted| wanted <= max) {
            return Ok(());
        }
        Err(Box::new(Refusal::DeviceFull {
            asked: self.asked(),
            device: self.device().clone(),
            used,
            max,
        }))
    }

    /// The kernel lets a link carry macvlans or ipvlans, and all ipvlans of a link in one mode: a
    /// new one in another mode would switch the others over (`ipvlan_set_port_mode`).
    fn one_kind(&self) -> Result<(), Box<Refusal>> {
        let Some(wanted) = child_kind(self.wanted) else {
            return Ok(());
        };
        let own = self
            .claim
            .devices
            .iter()
            .map(|device| (&self.claim.claim, device));
        let neighbours = own
            .filter(|(_, device)| device.allocated.device == *self.device())
            .chain(self.others.iter().copied());
        let mut kinds = neighbours.filter_map(|(other, device)| Some((other, child_kind(device)?)));
        kinds
            .find(|(_, present)| *present != wanted)
            .map_or(Ok(()), |(other, present)| {
                Err(Box::new(Refusal::OtherChildKind {
                    asked: self.asked(),
                    device: self.device().clone(),
                    wanted: wanted.clone(),
                    present,
                    other: other.clone(),
                }))
            })
    }

    fn asked(&self) -> Asked {
        self.wanted.allocated.asked(&self.claim.claim)
    }

    fn device(&self) -> &'a DeviceName {
        &self.wanted.allocated.device
    }
}

/// What the device carries alone, in words: `macvlan`, or `ipvlan in mode l3`.
fn child_kind(device: &PreparedDevice) -> Option<String> {
    let plugin = device.network.plugins().first()?;
    let row = catalogue::plugin(plugin.plugin_type())?;
    match (row.role, row.name) {
        (Role::Child { alone: true }, "ipvlan") => {
            let mode = plugin.fields.get("mode").and_then(Value::as_str);
            let mode = mode.unwrap_or("l2");
            Some(format!("ipvlan in mode {mode}"))
        }
        (Role::Child { alone: true }, name) => Some(name.to_owned()),
        _ => None,
    }
}

/// Whether `text` has the form of `pattern`, where `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.into_iter().any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests;
