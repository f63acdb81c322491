//! A claim's `status.devices` as a function of the ledger.
//!
//! Says what is, on failure too, in the words that the failure has everywhere else. Times come out
//! of the ledger, so the same ledger gives the same status and a repetition writes nothing.

use serde::{Deserialize, Serialize};

use crate::{
    admission,
    attachment::{Moment, Phase, ProbeMode, ProbeState},
    claim::{Allocated, PreparedDevice},
    failure::{Cause as _, Failure},
    ledger::{Held, Ledger},
    name::{ClaimUid, DeviceName, DriverName, IfName, PoolName, ShareId},
    time::Timestamp,
};

mod network;

/// One entry of `status.devices`: `resource.k8s.io/v1 AllocatedDeviceStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Ours.
    pub driver: DriverName,
    /// Pool of the device.
    pub pool: PoolName,
    /// The device.
    pub device: DeviceName,
    /// Which share of it.
    #[serde(rename = "shareID", default, skip_serializing_if = "Option::is_none")]
    pub share_id: Option<ShareId>,
    /// `Ready` and `ProbeAttached`, and `PodRefused` while pods wait for the claim of another.
    pub conditions: Vec<Condition>,
    /// The CNI result, cut to what the API takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// What others read without knowing CNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_data: Option<NetworkData>,
}

/// `metav1.Condition`, times not yet written out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `ProbeAttached` or `PodRefused`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `CamelCase`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// When the status changed.
    pub last_transition_time: Timestamp,
}

/// `resource.k8s.io/v1 NetworkDeviceData`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkData {
    /// Name in the pod.
    pub interface_name: String,
    /// Addresses with their prefix lengths.
    pub ips: Vec<String>,
    /// Hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<String>,
}

/// Longest message of a condition in bytes (`metav1.Condition`).
const MAX_MESSAGE: usize = 32 * 1024;

/// Reasons of what ends by itself, and soon, where all goes well.
const PASSING: [&str; 3] = [WAITING_FOR_SANDBOX, ATTACHING, DETACHING];
const WAITING_FOR_SANDBOX: &str = "WaitingForSandbox";
const ATTACHING: &str = "Attaching";
const DETACHING: &str = "Detaching";

/// Of counting, where there is no interface: `Ready` says why.
const NOT_ATTACHED: &str = "NotAttached";

/// Whether a claim's devices tell of something on its way and of nothing that went wrong: that is
/// only worth a word when it lasts.
pub fn is_passing(devices: &[DeviceStatus]) -> bool {
    let conditions = || devices.iter().flat_map(|device| &device.conditions);
    let is_passing = |condition: &Condition| PASSING.contains(&&*condition.reason);
    let is_well = |condition: &Condition| match &*condition.kind {
        "PodRefused" => false,
        _ => condition.status == "True" || condition.reason == NOT_ATTACHED,
    };
    conditions().any(is_passing) && conditions().all(|told| is_passing(told) || is_well(told))
}

/// Every device of the claim that is ours, at once: none is forgotten when one changes.
pub fn devices(ledger: &Ledger, claim: &ClaimUid, driver: &DriverName) -> Vec<DeviceStatus> {
    let prepared = ledger.claim(claim).map_or(&[][..], |claim| &claim.devices);
    let refusal = ledger.refusal(claim);
    let refused = refusal.map_or(&[][..], |refusal| &refusal.refused.devices);
    let asked: Vec<&Allocated> = match refused {
        [] => prepared.iter().map(|device| &device.allocated).collect(),
        refused => refused.iter().collect(),
    };
    asked
        .into_iter()
        .map(|allocated| {
            let device = prepared
                .iter()
                .find(|device| device.allocated == *allocated);
            let view = View {
                ledger,
                claim,
                device,
            };
            view.status(allocated, driver)
        })
        .collect()
}

/// One device of a claim, as the ledger has it.
struct View<'a> {
    ledger: &'a Ledger,
    claim: &'a ClaimUid,
    /// None when the claim was refused as it is allocated.
    device: Option<&'a PreparedDevice>,
}

impl View<'_> {
    fn status(&self, allocated: &Allocated, driver: &DriverName) -> DeviceStatus {
        let held = self.held();
        let mut conditions = match held.map(|held| (held, &held.phase)) {
            Some((
                held,
                Phase::Attached {
                    probe, at, late, ..
                },
            )) => vec![
                attached(*at, *late),
                counted(probe.as_ref(), counted_since(&held.timeline, *at)),
            ],
            _ => self.absent(held),
        };
        conditions.extend(self.awaited());
        let network = held.and_then(network::Network::of);
        DeviceStatus {
            driver: driver.clone(),
            pool: allocated.pool.clone(),
            device: allocated.device.clone(),
            share_id: allocated.share_id.clone(),
            conditions,
            data: network.as_ref().and_then(network::Network::data),
            network_data: network.map(|network| network.network_data()),
        }
    }

    /// The newest attachment of the device: an old sandbox's may still be going.
    fn held(&self) -> Option<&Held> {
        let if_name = &self.device?.if_name;
        self.ledger
            .attachments_of(self.claim)
            .filter(|held| held.attachment.key.if_name == *if_name)
            .max_by_key(|held| held.order)
    }

    fn absent(&self, held: Option<&Held>) -> Vec<Condition> {
        let (reason, message) = self.cause(held);
        let since = self.absent_since();
        vec![
            condition("Ready", false, reason, message, since),
            condition(
                "ProbeAttached",
                false,
                NOT_ATTACHED,
                "the interface is not in the pod",
                since,
            ),
        ]
    }

    /// What the pods hear that wait for the claim while it serves another.
    fn awaited(&self) -> Option<Condition> {
        let waiting = self.ledger.waiting(self.claim)?;
        let refusal = admission::in_use(self.ledger.claim(self.claim)?);
        Some(condition(
            "PodRefused",
            true,
            refusal.reason(),
            &refusal.to_string(),
            waiting.since,
        ))
    }

    /// Why the interface is not there: the refusal, the last failure, or how far it is.
    fn cause(&self, held: Option<&Held>) -> (&str, &str) {
        let refusal = self.ledger.refusal(self.claim);
        if let Some(refusal) = refusal {
            return words(&refusal.refused.failure);
        }
        let phase = held.map(|held| &held.phase);
        if let Some(Phase::Attaching) = phase {
            return (ATTACHING, "the interface is being put into the pod");
        }
        let failed = self
            .device
            .and_then(|device| self.ledger.failure(self.claim, &device.if_name));
        let left = self.ledger.leftovers().find(|left| {
            let of_device =
                |name: &IfName| self.device.is_some_and(|device| device.if_name == *name);
            left.attachment.claim.uid == *self.claim && of_device(&left.attachment.key.if_name)
        });
        match (failed, phase, left) {
            (Some(failed), ..) => words(&failed.failure),
            (None, Some(Phase::Detaching { .. }), _) => {
                (DETACHING, "the interface is being taken out of the pod")
            }
            (None, _, Some(left)) => words(&left.failure),
            (None, ..) => (
                WAITING_FOR_SANDBOX,
                "the claim is prepared; the interface comes with the pod's sandbox",
            ),
        }
    }

    /// Since when there is no interface: since the last one went, or since it was asked for.
    fn absent_since(&self) -> Timestamp {
        let mine = |claim: &ClaimUid, name: &IfName| {
            claim == self.claim && self.device.is_some_and(|device| device.if_name == *name)
        };
        let held = self.ledger.attachments_of(self.claim);
        let held = held.filter(|held| mine(self.claim, &held.attachment.key.if_name));
        let ended = self.ledger.ended();
        let ended =
            ended.filter(|end| mine(&end.attachment.claim.uid, &end.attachment.key.if_name));
        let timelines = held
            .map(|held| &held.timeline)
            .chain(ended.map(|ended| &ended.timeline));
        let lost = timelines.filter_map(|timeline| lost_at(timeline)).max();
        let refused = self.ledger.refusal(self.claim);
        let asked = self
            .ledger
            .prepared_at(self.claim)
            .or(refused.map(|refusal| refusal.since));
        lost.max(asked).unwrap_or_default()
    }
}

fn words(failure: &Failure) -> (&str, &str) {
    (&failure.reason, &failure.message)
}

fn attached(at: Timestamp, late: bool) -> Condition {
    if late {
        let message = "the interface is in the pod; it came after a container had started, which \
                       may have to be restarted to use it";
        return condition("Ready", true, "AttachedLate", message, at);
    }
    let message = "the interface is in the pod";
    condition("Ready", true, "Attached", message, at)
}

fn counted(probe: Option<&ProbeState>, since: Timestamp) -> Condition {
    match probe {
        Some(ProbeState::Counting {
            mode,
            uncertain_packets,
            ..
        }) => {
            let by = match mode {
                ProbeMode::Tcx => "TCX",
                ProbeMode::Tc => "clsact filters",
            };
            let doubt = match uncertain_packets {
                0 => String::new(),
                packets => format!("; of what passed before, {packets} packets are uncertain"),
            };
            let message = format!("every packet is counted by {by}{doubt}");
            condition("ProbeAttached", true, "Counting", &message, since)
        }
        Some(ProbeState::Missing { failure, .. }) => {
            let (reason, message) = words(failure);
            condition("ProbeAttached", false, reason, message, since)
        }
        None => {
            let message = "counting begins in a moment, with what has passed until then";
            condition("ProbeAttached", false, ATTACHING, message, since)
        }
    }
}

fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    last_transition_time: Timestamp,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned(),
        last_transition_time,
    }
}

/// When an interface that had come left again.
fn lost_at(timeline: &[Moment]) -> Option<Timestamp> {
    let came = timeline
        .iter()
        .position(|moment| moment.what == Moment::ATTACHED)?;
    let counts = |moment: &Moment| is_about_counting(moment).is_some();
    let after = &timeline[came + 1..];
    after
        .iter()
        .find(|moment| moment.timing.is_none() && !counts(moment))
        .map(|moment| moment.at)
}

/// Since when an interface, attached at `at`, is counted or not counted as it is at the end.
fn counted_since(timeline: &[Moment], at: Timestamp) -> Timestamp {
    let mut since = (false, at);
    for moment in timeline {
        match is_about_counting(moment) {
            Some(counts) if counts != since.0 => since = (counts, moment.at),
            _ => {}
        }
    }
    since.1
}

/// Whether the moment says that counting began, or that it ended; none when it says neither.
fn is_about_counting(moment: &Moment) -> Option<bool> {
    match moment.what.as_ref() {
        Moment::COUNTING => Some(true),
        Moment::NOT_COUNTED => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
