//! Names, each parsed once at the edge.
//!
//! A name that exists keeps the limits of the API it comes from, so later code never checks again.
//! Its text is shared: ledgers and snapshots copy names by the thousand.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A name that its API would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{found}` is not valid: expected {expected}")]
pub struct NameError {
    /// Which kind of name.
    pub what: &'static str,
    /// What was given.
    pub found: String,
    /// The rule in words.
    pub expected: &'static str,
}

struct Rule {
    expected: &'static str,
    holds: fn(&str) -> bool,
}

const UID: Rule = Rule {
    expected: "1 to 128 characters of A-Z a-z 0-9 . _ -",
    holds: |s| word(s, 128, "._-"),
};
const LABEL: Rule = Rule {
    expected: "a DNS label (1 to 63 characters of a-z 0-9 -)",
    holds: |s| lower_word(s, 63, "-"),
};
const LABEL_PAIR: Rule = Rule {
    expected: "a request name, or request/subrequest",
    holds: |s| s.split('/').count() <= 2 && s.split('/').all(|part| lower_word(part, 63, "-")),
};
const SUBDOMAIN: Rule = Rule {
    expected: "a DNS subdomain (1 to 253 characters of a-z 0-9 . -)",
    holds: |s| lower_word(s, 253, ".-"),
};
const POOL: Rule = Rule {
    expected: "DNS subdomains separated by /, 253 characters at most",
    holds: |s| s.len() <= 253 && s.split('/').all(|part| lower_word(part, 253, ".-")),
};
const IF_NAME: Rule = Rule {
    expected: "1 to 15 characters of a-z 0-9 . _ -, a letter first, and not lo, eth0, all or default",
    holds: |s| {
        lower_word(s, 15, "._-")
            && s.starts_with(|c: char| c.is_ascii_lowercase())
            && !["lo", "eth0", "all", "default"].contains(&s)
    },
};

/// At most `max` alphanumeric characters or `extra` ones, alphanumeric at the start.
fn word(s: &str, max: usize, extra: &str) -> bool {
    s.len() <= max
        && s.starts_with(|c: char| c.is_ascii_alphanumeric())
        && s.chars()
            .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

fn lower_word(s: &str, max: usize, extra: &str) -> bool {
    word(s, max, extra) && !s.contains(|c: char| c.is_ascii_uppercase())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $rule:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts what the API accepts.
            pub fn parse(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if ($rule.holds)(&name) {
                    Ok(Self(name.into()))
                } else {
                    Err(NameError { what: $what, found: name, expected: $rule.expected })
                }
            }

            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }
    )*};
}

names! {
    /// `metadata.uid` of a `ResourceClaim`.
    ClaimUid: "claim UID", UID;
    /// `metadata.name` of a `ResourceClaim`.
    ClaimName: "claim name", SUBDOMAIN;
    /// A Kubernetes namespace.
    Namespace: "namespace", LABEL;
    /// `metadata.uid` of a `Pod`.
    PodUid: "pod UID", UID;
    /// `metadata.name` of a `Pod`.
    PodName: "pod name", SUBDOMAIN;
    /// Id that the container runtime gave a pod sandbox; a retried pod gets a new one.
    ///
    /// It is the `CNI_CONTAINERID` of our invocations, so it keeps CNI's pattern.
    SandboxId: "sandbox id", UID;
    /// Name of an interface inside a pod.
    IfName: "interface name", IF_NAME;
    /// Name of a device in our `ResourceSlice`.
    DeviceName: "device name", LABEL;
    /// Name of a pool of devices; ours is the node's name.
    PoolName: "pool name", POOL;
    /// Name of a DRA driver.
    DriverName: "driver name", SUBDOMAIN;
    /// A request of a claim, or `request/subrequest`.
    RequestName: "request name", LABEL_PAIR;
    /// `shareID` of an allocation of a shared device.
    ShareId: "share id", UID;
    /// Name of a node.
    NodeName: "node name", SUBDOMAIN;
}

impl RequestName {
    /// The request without its subrequest: what the kubelet knows it by.
    pub fn base(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests;
