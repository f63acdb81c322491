//! What the driver did or saw.

use serde::{Deserialize, Serialize};

use crate::{
    attachment::{Attachment, Key, Leftover, ProbeState},
    claim::{Allocated, ClaimRef, PodRef, PreparedClaim},
    cni::AddResult,
    counters::Counters,
    drops::Drops,
    failure::{Failure, Timing},
    name::ClaimUid,
};

/// Something that has happened on this node.
///
/// A fact has five readers: the journal that keeps it, the one log line it prints, the claim
/// status it dirties, the timeline `dra-top` shows, and the recording a test replays. Nothing else
/// changes the [`Ledger`](crate::ledger::Ledger).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// There was no ledger: the node is new to us, or it was lost.
    Lost,
    /// What the API server and the node know is in the ledger.
    Rebuilt,
    /// The node has booted: what was in pods is gone, and its leases are not.
    Rebooted,
    /// The kubelet asked for a claim, and it is well-formed and allowed.
    Prepared(PreparedClaim),
    /// A claim was refused: by Prepare, or, prepared already, by its pod's sandbox.
    Refused(Refused),
    /// A prepared claim has these pods waiting for it, besides the one that it serves.
    Waiting {
        /// Which claim.
        claim: ClaimUid,
        /// The pods, in the order in which they come to it.
        pods: Vec<PodRef>,
    },
    /// We are about to touch the kernel for this attachment.
    Attaching(Attachment),
    /// The interface is in the pod.
    Attached {
        /// Which.
        key: Key,
        /// What the CNI chain reported.
        result: AddResult,
        /// Whether it is counted, where that was tried already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probe: Option<ProbeState>,
        /// A container had already run.
        late: bool,
        /// What took how long.
        timings: Vec<Timing>,
    },
    /// An interface that a pod has was not in the ledger that was lost; it stays as it is.
    TakenOver {
        /// Which.
        attachment: Attachment,
        /// What its ADD had reported.
        result: AddResult,
    },
    /// The interface could not be had; what was done for it is undone next.
    AttachFailed {
        /// Which.
        key: Key,
        /// Why.
        failure: Failure,
        /// What took how long.
        timings: Vec<Timing>,
    },
    /// Counting began, ended or was found ended.
    ProbeChanged {
        /// Which.
        key: Key,
        /// How it is counted from here on.
        probe: ProbeState,
    },
    /// We are about to take the interface out.
    Detaching {
        /// Which.
        key: Key,
    },
    /// The interface and its probe are gone.
    Detached {
        /// Which.
        key: Key,
        /// Its final counters, if it was counted.
        last: Option<Counters>,
        /// What it dropped in all, if that was counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drops: Option<Drops>,
        /// What took how long.
        timings: Vec<Timing>,
    },
    /// Taking it out failed; it is tried again until it works.
    LeftBehind(Leftover),
    /// A leftover is gone at last.
    Cleared {
        /// Which.
        key: Key,
    },
    /// The kubelet gave the claim back.
    Unprepared {
        /// Which claim.
        claim: ClaimUid,
    },
}

/// A claim whose devices are not even tried to be had, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The claim.
    pub claim: ClaimRef,
    /// The pod that waits for it, where it is known.
    pub pod: Option<PodRef>,
    /// The devices of ours that were allocated to it.
    pub devices: Vec<Allocated>,
    /// Why.
    pub failure: Failure,
}

impl Refused {
    /// A prepared claim that cannot be served after all.
    pub fn prepared(claim: &PreparedClaim, failure: Failure) -> Self {
        Self::to(&claim.pod, claim, failure)
    }

    /// A prepared claim that cannot serve this pod.
    pub fn to(pod: &PodRef, claim: &PreparedClaim, failure: Failure) -> Self {
        let devices = claim.devices.iter();
        Self {
            claim: claim.claim.clone(),
            pod: Some(pod.clone()),
            devices: devices.map(|device| device.allocated.clone()).collect(),
            failure,
        }
    }
}

impl Fact {
    /// Why something is not as it should be from here on, if this fact says so.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Refused(refused) => Some(&refused.failure),
            Self::AttachFailed { failure, .. } => Some(failure),
            Self::LeftBehind(leftover) => Some(&leftover.failure),
            Self::Attached {
                probe: Some(probe), ..
            }
            | Self::ProbeChanged { probe, .. } => match probe {
                ProbeState::Missing { failure, .. } => Some(failure),
                ProbeState::Counting { .. } => None,
            },
            Self::Lost
            | Self::Rebuilt
            | Self::Rebooted
            | Self::Prepared(_)
            | Self::Waiting { .. }
            | Self::Attaching(_)
            | Self::Attached { probe: None, .. }
            | Self::TakenOver { .. }
            | Self::Detaching { .. }
            | Self::Detached { .. }
            | Self::Cleared { .. }
            | Self::Unprepared { .. } => None,
        }
    }

    /// What took how long on the way to this fact.
    pub fn timings(&self) -> &[Timing] {
        match self {
            Self::Attached { timings, .. }
            | Self::AttachFailed { timings, .. }
            | Self::Detached { timings, .. } => timings,
            Self::Lost
            | Self::Rebuilt
            | Self::Rebooted
            | Self::Prepared(_)
            | Self::Refused(_)
            | Self::Waiting { .. }
            | Self::Attaching(_)
            | Self::TakenOver { .. }
            | Self::ProbeChanged { .. }
            | Self::Detaching { .. }
            | Self::LeftBehind(_)
            | Self::Cleared { .. }
            | Self::Unprepared { .. } => &[],
        }
    }

    /// Whether a pod may only be answered, or the kernel be touched, once this fact is on disk.
    ///
    /// A kill loses none of them, they are in the file. The others may be lost when the whole
    /// machine goes: its interfaces go with it, and the next boot undoes every attachment however
    /// far it had come, so that one was attached or is gone by now is worth a repetition.
    pub fn must_be_durable(&self) -> bool {
        match self {
            Self::Lost
            | Self::Rebuilt
            | Self::Rebooted
            | Self::Prepared(_)
            | Self::Waiting { .. }
            | Self::Attaching(_)
            | Self::TakenOver { .. }
            | Self::LeftBehind(_)
            | Self::Unprepared { .. } => true,
            Self::Refused(_)
            | Self::Attached { .. }
            | Self::AttachFailed { .. }
            | Self::ProbeChanged { .. }
            | Self::Detaching { .. }
            | Self::Detached { .. }
            | Self::Cleared { .. } => false,
        }
    }
}
