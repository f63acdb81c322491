//! The commands of CNI, what they are about, and the environment that carries both.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ConfList;
use crate::{
    attachment::{Attachment, Key},
    claim::PodRef,
};

/// An operation of the spec (§2, `CNI_COMMAND`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    /// Add the container to the network.
    Add,
    /// Undo an ADD; must succeed when there is nothing left to undo.
    Del,
    /// Say whether what ADD made is still there.
    Check,
    /// Say whether the plugin could serve an ADD.
    Status,
    /// Free everything that belongs to no valid attachment.
    Gc,
    /// Say which versions the plugin speaks.
    Version,
}

impl Command {
    /// The command as it is written in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Everything that ADD, CHECK and DEL of one interface need.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// Which interface of which sandbox: `CNI_CONTAINERID` and `CNI_IFNAME`, as they were at ADD.
    pub key: &'a Key,
    /// `CNI_NETNS`: the sandbox's network namespace. DEL goes without it when it is gone.
    pub netns: Option<&'a str>,
    /// The chain.
    pub network: &'a ConfList,
    /// Capability arguments; a plugin sees those whose capability it declares.
    pub runtime_config: &'a Map<String, Value>,
    /// The pod, for `CNI_ARGS`.
    pub pod: &'a PodRef,
}

impl<'a> From<&'a Attachment> for Invocation<'a> {
    fn from(attachment: &'a Attachment) -> Self {
        Self {
            key: &attachment.key,
            netns: Some(&attachment.netns)
                .filter(|path| !path.is_empty())
                .map(String::as_str),
            network: &attachment.device.network,
            runtime_config: &attachment.device.runtime_config,
            pod: &attachment.pod,
        }
    }
}

impl Invocation<'_> {
    /// What every Kubernetes runtime says about the pod. `IgnoreUnknown` comes first: without it
    /// the reference plugins refuse keys that they do not know.
    pub fn args(&self) -> [(&'static str, &str); 5] {
        [
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", self.pod.namespace.as_str()),
            ("K8S_POD_NAME", self.pod.name.as_str()),
            ("K8S_POD_INFRA_CONTAINER_ID", self.key.sandbox.as_str()),
            ("K8S_POD_UID", self.pod.uid.as_str()),
        ]
    }
}

/// The spec's variables: all of those that a plugin may find in its environment.
pub const VARIABLES: [&str; 6] = [
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_NETNS",
    "CNI_IFNAME",
    "CNI_ARGS",
    "CNI_PATH",
];

/// The value of each of the [`VARIABLES`], in their order; `None` must not be set at all, not even
/// by inheritance. `path` is where plugins find the plugins that they delegate to (IPAM).
pub fn environment(
    command: Command,
    at: Option<&Invocation<'_>>,
    path: &str,
) -> [(&'static str, Option<String>); 6] {
    let values = [
        Some(command.as_str().to_owned()),
        at.map(|at| at.key.sandbox.to_string()),
        at.map(|at| at.netns.unwrap_or_default().to_owned()),
        at.map(|at| at.key.if_name.to_string()),
        at.map(|at| {
            at.args()
                .map(|(key, value)| format!("{key}={value}"))
                .join(";")
        }),
        (command != Command::Version).then(|| path.to_owned()),
    ];
    let mut values = values.into_iter();
    VARIABLES.map(|name| (name, values.next().flatten()))
}
