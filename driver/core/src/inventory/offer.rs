//! Which links may become devices, and why the others do not.

use super::{
    Attribute, Attributes, Device, LinkState, Mode, describe,
    link::{Link, Seen},
};
use crate::name::DeviceName;

/// Kinds of virtual links that can back an attachment; hardware has no kind.
///
/// Named one by one: bridges, tunnels and the children of other links cannot be parents, and a kind
/// that nobody has heard of yet is not offered by accident.
const KINDS: [&str; 8] = [
    "bond",
    "dsa",
    "dummy",
    "macsec",
    "netdevsim",
    "team",
    "veth",
    "vlan",
];

/// A choice over a device's attributes: a CEL expression, evaluated at the edge.
pub type Choice<'a> = &'a (dyn Fn(&Attributes) -> bool + Send + Sync);

/// What the administrator decided.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// `--exclude`: names that are never offered; `*` and `?` stand for any characters and one.
    pub exclude: &'a [String],
    /// `--device-filter`: which devices are offered.
    pub filter: Choice<'a>,
    /// `--exclusive-devices`: which of them serve one pod at a time.
    pub exclusive: Choice<'a>,
    /// Most attachments at once on a shared device.
    pub max_virtual_devices: u32,
}

/// Why a link is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// The loopback.
    #[error("it is the loopback")]
    Loopback,
    /// It cannot be a parent.
    #[error("its frames are not Ethernet's")]
    NotEthernet,
    /// It belongs to a bridge, a bond or a VRF.
    #[error("it belongs to the link with index {master}")]
    HasMaster {
        /// Whose it is.
        master: u32,
    },
    /// It cannot back an attachment.
    #[error("a link of kind {kind} cannot back an attachment")]
    Kind {
        /// `IFLA_INFO_KIND`.
        kind: String,
    },
    /// `--exclude` names it.
    #[error("--exclude `{pattern}` names it")]
    Excluded {
        /// Which pattern.
        pattern: String,
    },
    /// The other end is a pod's.
    #[error("its peer is in a pod's namespace")]
    PeerInPod,
    /// It may be gone, renamed or moved at once.
    #[error("it is younger than 2 s")]
    Young,
    /// `--device-filter` says no.
    #[error("--device-filter does not choose it")]
    Filtered,
    /// No device can have its name.
    #[error("its name is empty or too long")]
    Nameless,
}

/// Says why a link is not offered; its age and the filter are asked elsewhere.
pub fn left_out(link: &Link, seen: &Seen, exclude: &[String]) -> Option<LeftOut> {
    if link.loopback {
        return Some(LeftOut::Loopback);
    }
    if !link.ethernet {
        return Some(LeftOut::NotEthernet);
    }
    if let Some(master) = link.master {
        return Some(LeftOut::HasMaster { master });
    }
    if let Some(kind) = &link.kind
        && !KINDS.contains(&kind.as_str())
    {
        return Some(LeftOut::Kind { kind: kind.clone() });
    }
    if let Some(pattern) = exclude.iter().find(|pattern| matches(pattern, &link.name)) {
        let pattern = pattern.clone();
        return Some(LeftOut::Excluded { pattern });
    }
    let veth = link.kind.as_deref() == Some("veth");
    let peer = link.peer_namespace.filter(|_| veth)?;
    seen.pod_namespaces
        .contains(&peer)
        .then_some(LeftOut::PeerInPod)
}

/// Makes the device of a link, as the rules want it to be used.
pub fn device(name: DeviceName, link: &Link, rules: &Rules<'_>) -> Device {
    let exclusive = (rules.exclusive)(&describe::attributes(link));
    let mode = if exclusive {
        Mode::Exclusive
    } else {
        Mode::Shared
    };
    device_of(name, link, mode, rules)
}

/// Makes the device of a link, for a use that was decided before.
pub fn device_of(name: DeviceName, link: &Link, mode: Mode, rules: &Rules<'_>) -> Device {
    let word = match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    };
    let mut attributes = describe::attributes(link);
    let word = Attribute::String(word.to_owned());
    attributes.insert(describe::MODE.to_owned(), word);
    Device {
        name,
        link: link.name.clone(),
        mode,
        state: if link.up {
            LinkState::Up
        } else {
            LinkState::Down
        },
        max_virtual_devices: match mode {
            Mode::Shared => rules.max_virtual_devices,
            Mode::Exclusive => 1,
        },
        held_by_node: link.default_route || !link.addresses.is_empty(),
        attributes,
    }
}

/// Whether a name fits a pattern of `*`, `?` and plain characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.any(|at| matches(rest.as_str(), &name[at..]))
        }
        Some(wanted) => {
            let mut found = name.chars();
            let first = found.next();
            first.is_some_and(|found| wanted == '?' || wanted == found)
                && matches(rest.as_str(), found.as_str())
        }
    }
}

#[cfg(test)]
mod tests;
