//! Anything that reaches `dra-top`: from the API server, from a node, or from a recording.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::rows::{ClaimRow, ClassRow, PodRow, RelayRow, SliceRow};
use crate::{
    flows::Flows,
    name::{ClaimUid, IfName, NodeName, PodUid},
    snapshot::Snapshot,
    time::Timestamp,
};

/// One change of what is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// An object is there, or is different.
    Upserted {
        /// What it is like.
        object: Object,
    },
    /// An object is gone.
    Removed {
        /// Which.
        id: ObjectId,
    },
    /// A node says how it stands.
    Snapshot {
        /// The whole of it.
        snapshot: Arc<Snapshot>,
    },
    /// A node says with whom a pod talks over one interface, since somebody looks at that.
    Flows {
        /// Which interface.
        of: Watched,
        /// What it says.
        told: FlowsTold,
    },
    /// The connection to a node's driver changed.
    Agent {
        /// How it is reached; a node's name is only known once it has spoken.
        endpoint: String,
        /// How it stands.
        state: AgentState,
    },
    /// The watch of one kind of object changed.
    Watch {
        /// Which kind.
        kind: Kind,
        /// How it stands.
        state: WatchState,
    },
}

/// An interface whose flows are watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The claim that asked for it.
    pub claim: ClaimUid,
    /// Its name in the pod.
    pub if_name: IfName,
}

/// What a node says of the flows of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FlowsTold {
    /// These are there.
    Seen {
        /// They.
        flows: Arc<Flows>,
    },
    /// It does not tell them.
    Unseen {
        /// Why, and what to do.
        why: String,
    },
}

/// A change and when it came: one line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When it reached `dra-top`.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

/// An object of the API server, cut down to what is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A `ResourceSlice`.
    Slice(SliceRow),
    /// A `ResourceClaim`.
    Claim(ClaimRow),
    /// A pod that uses claims.
    Pod(PodRow),
    /// A `DeviceClass`.
    Class(ClassRow),
    /// A pod of the relay.
    Relay(RelayRow),
}

/// Which object: what stays the same while it changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectId {
    /// A `ResourceSlice`, by name.
    Slice(Box<str>),
    /// A `ResourceClaim`, by UID: its name may be given again.
    Claim(ClaimUid),
    /// A pod, by UID.
    Pod(PodUid),
    /// A `DeviceClass`, by name.
    Class(Box<str>),
    /// A pod of the relay, by UID.
    Relay(PodUid),
}

/// A kind of object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `resourceslices.resource.k8s.io`.
    ResourceSlices,
    /// `resourceclaims.resource.k8s.io`.
    ResourceClaims,
    /// `pods`.
    Pods,
    /// `deviceclasses.resource.k8s.io`.
    DeviceClasses,
    /// The relay's pods.
    Relays,
}

impl Kind {
    /// All that are watched.
    pub const ALL: [Self; 5] = [
        Self::ResourceSlices,
        Self::ResourceClaims,
        Self::Pods,
        Self::DeviceClasses,
        Self::Relays,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ResourceSlices => "resourceslices",
            Self::ResourceClaims => "resourceclaims",
            Self::Pods => "pods",
            Self::DeviceClasses => "deviceclasses",
            Self::Relays => "relays",
        })
    }
}

/// How the watch of one kind stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WatchState {
    /// All objects are known, and changes arrive.
    Synced,
    /// The API server refuses; what is missing, in words.
    Denied {
        /// The right that is missing: verbs, resource, scope.
        missing: String,
    },
    /// The API server cannot be reached; what is known may be out of date.
    Stale {
        /// What it said.
        why: String,
    },
}

/// How the connection to a node's driver stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AgentState {
    /// Being tried.
    Connecting,
    /// It speaks.
    Connected {
        /// As which node.
        node: NodeName,
    },
    /// It spoke and was hung up on: not all nodes are listened to at once, and others have their
    /// turn.
    Resting {
        /// As which node it spoke.
        node: NodeName,
    },
    /// It does not speak; it is tried again.
    Lost {
        /// As which node it spoke before.
        node: Option<NodeName>,
        /// What went wrong, and what to do.
        why: String,
    },
    /// Its node is no part of the cluster any more, and is forgotten.
    Gone {
        /// Which node.
        node: NodeName,
    },
}

impl AgentState {
    /// The node, where it is known.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Connecting => None,
            Self::Connected { node } | Self::Resting { node } | Self::Gone { node } => Some(node),
            Self::Lost { node, .. } => node.as_ref(),
        }
    }
}

impl Object {
    /// Which object it is.
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Slice(slice) => ObjectId::Slice(slice.name.clone()),
            Self::Claim(claim) => ObjectId::Claim(claim.claim.uid.clone()),
            Self::Pod(pod) => ObjectId::Pod(pod.pod.uid.clone()),
            Self::Class(class) => ObjectId::Class(class.name.clone()),
            Self::Relay(relay) => ObjectId::Relay(relay.pod.uid.clone()),
        }
    }
}
