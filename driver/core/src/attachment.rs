//! One interface in one sandbox for one claim, and how far it got.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    claim::{ClaimRef, PodRef, PreparedDevice},
    cni::AddResult,
    counters::Counters,
    drops::Drops,
    failure::{Failure, Timing},
    name::{IfName, SandboxId},
    time::Timestamp,
};

/// A pod sandbox as the container runtime announced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSandbox {
    /// Id of this sandbox; the pod may get another one.
    pub id: SandboxId,
    /// Its pod.
    pub pod: PodRef,
    /// Path of its network namespace; none when it uses the host's, or when it is gone.
    pub netns: Option<String>,
    /// Runtime class handler, empty for the default one.
    pub runtime_handler: String,
}

/// Which interface of which sandbox.
///
/// The sandbox and not the pod: a pod whose sandbox is made anew needs its interfaces anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The interface.
    pub if_name: IfName,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.sandbox.as_str();
        write!(f, "{}/{}", short.get(..12).unwrap_or(short), self.if_name)
    }
}

/// Rows of the counters map that belong to one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

/// A device that is, is about to be, or has to be taken out of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which interface of which sandbox.
    pub key: Key,
    /// The claim that asked for it.
    pub claim: ClaimRef,
    /// The pod that has it.
    pub pod: PodRef,
    /// Network namespace of the sandbox.
    pub netns: String,
    /// The device and its configuration.
    pub device: PreparedDevice,
    /// Where its traffic is counted; none when every slot is in use.
    pub slot: Option<Slot>,
}

impl Attachment {
    /// A failure in words that say whose it is: a pod may have several claims.
    pub fn named(&self, failure: Failure) -> Failure {
        let asked = self.device.allocated.asked(&self.claim);
        let message = format!(
            "{asked}, interface {}: {}",
            self.key.if_name, failure.message
        );
        Failure { message, ..failure }
    }
}

/// Whether an interface's traffic is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProbeState {
    /// Every packet is counted.
    Counting {
        /// How the programs hang on the interface.
        mode: ProbeMode,
        /// What had passed before the programs were there: kernel minus ours.
        base: Counters,
        /// Most packets by which `base` may be wrong; zero almost always.
        uncertain_packets: u64,
    },
    /// Nothing is counted, for this reason.
    Missing {
        /// Why.
        failure: Failure,
        /// What had passed before it was counted again, if it already is: that is not said before
        /// it has held for a while, but its sums go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<Box<Counters>>,
    },
}

impl ProbeState {
    /// What had passed before the programs that are there; none where nothing counts.
    pub fn base(&self) -> Option<Counters> {
        match self {
            Self::Counting { base, .. } => Some(*base),
            Self::Missing { base, .. } => base.as_deref().copied(),
        }
    }
}

/// How the programs hang on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeMode {
    /// TCX links, Linux 6.6 and later (and backports).
    Tcx,
    /// Filters of a clsact qdisc.
    Tc,
}

/// How far an attachment got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Promised: the kernel may have been changed.
    Attaching,
    /// The interface is in the pod.
    Attached {
        /// What the CNI chain reported.
        result: AddResult,
        /// Whether it is counted; none until the first try, which the pod does not wait for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probe: Option<ProbeState>,
        /// Since when.
        at: Timestamp,
        /// A container had already run when the interface came.
        late: bool,
    },
    /// It is being taken out.
    Detaching {
        /// What had passed before it was counted: its final counters need it after a crash as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<Counters>,
    },
}

/// A moment of an attachment's timeline. There are thousands of them, hence the box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When it ended.
    pub at: Timestamp,
    /// What happened, in a few words.
    pub what: Cow<'static, str>,
    /// How long it took, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<Failure>>,
}

/// All that happened to an attachment, oldest first. Shared: every snapshot shows it.
pub type Timeline = Arc<Vec<Moment>>;

impl Moment {
    /// It was promised.
    pub const ATTACHING: &str = "attaching";
    /// The interface came into the pod.
    pub const ATTACHED: &str = "attached";
    /// Counting began.
    pub const COUNTING: &str = "counting";
    /// Counting ended, or never began.
    pub const NOT_COUNTED: &str = "not counted";
    /// It could not be had.
    pub const FAILED: &str = "failed";
    /// The node booted, and the interface went with what was before.
    pub const REBOOTED: &str = "node booted";
    /// It is being taken out.
    pub const DETACHING: &str = "detaching";
    /// It is gone.
    pub const DETACHED: &str = "detached";
    /// It could not be taken out.
    pub const LEFT_BEHIND: &str = "left behind";
}

/// What we put into a pod and could not take out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// What is left.
    pub attachment: Attachment,
    /// What the last try said.
    pub failure: Failure,
    /// Its final counters, if it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Counters>,
    /// What it dropped in all, if that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<Drops>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when.
    pub since: Timestamp,
}

/// An attachment that is over: kept for the final values and the reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was.
    pub attachment: Attachment,
    /// When it was promised.
    pub since: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// Its final counters, if it was counted.
    pub last: Option<Counters>,
    /// What it dropped in all, if that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<Drops>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// All that happened to it.
    pub timeline: Timeline,
}
