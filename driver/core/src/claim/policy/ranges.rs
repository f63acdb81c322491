//! The ranges of host-local: what they would hand out, without what is the node's.
//!
//! host-local knows no list of exceptions, but a set may hold several ranges of one subnet: a range
//! that covers an address of the node is cut in two around it. It never adds an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::value;
use crate::{
    claim::offence::{Offence, Path, Rule},
    inventory::node::NodeAddresses,
};

/// A range as host-local completes it (`Range.Canonicalize`, backend/allocator/range.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    subnet: IpNet,
    first: u128,
    last: u128,
    gateway: u128,
}

/// Ranges of which an interface gets one address.
struct Set {
    path: Path,
    ranges: Vec<Range>,
}

/// Refuses what host-local refuses whatever the command: where it cannot read a configuration, DEL
/// fails as ADD does, and what an ADD before it left would stay for ever.
pub(super) fn check(map: &Map<String, Value>, path: &Path) -> Result<(), Offence> {
    let sets = sets(map, path);
    for (at, set) in sets.iter().enumerate() {
        let Some(first) = set.ranges.first() else {
            return Err(unlike(set, "no range", "at least one range"));
        };
        if set
            .ranges
            .iter()
            .any(|range| range.is_v4() != first.is_v4())
        {
            return Err(unlike(set, "IPv4 and IPv6 in one set", "a set for each"));
        }
        let before = sets.iter().take(at).flat_map(|set| &set.ranges);
        let mut before: Vec<Range> = before.copied().collect();
        for range in &set.ranges {
            if before.iter().any(|other| range.overlaps(other)) {
                let found = format!("{}, which meets a range before it", range.subnet);
                return Err(unlike(set, &found, "ranges that do not overlap"));
            }
            before.push(*range);
        }
    }
    Ok(())
}

/// The first and the last address of a range, as host-local completes it.
pub(super) fn ends(map: &Map<String, Value>) -> Option<(IpAddr, IpAddr)> {
    let range = Range::read(map)?;
    Some((range.address(range.first), range.address(range.last)))
}

/// Refuses a set of which nothing is left that is not the node's.
pub(super) fn leave_something(
    map: &Map<String, Value>,
    path: &Path,
    node: &NodeAddresses,
) -> Result<(), Offence> {
    for set in sets(map, path) {
        let left = set.ranges.iter().flat_map(|range| range.without(node));
        if !left.into_iter().any(|range| range.gives()) {
            return Err(Offence {
                rule: Rule::NodeAddress,
                path: set.path,
                found: "a range of the node's own addresses and gateways only".to_owned(),
                accepted: "a range with an address that is neither".to_owned(),
            });
        }
    }
    Ok(())
}

/// Takes the node's addresses out of the ranges; what does not cover any stays as it is written.
pub(super) fn spare(ipam: &mut Map<String, Value>, node: &NodeAddresses) {
    let sets = sets(ipam, &Path::root());
    let spared: Vec<Vec<Range>> = sets
        .iter()
        .map(|set| {
            let left = set.ranges.iter().flat_map(|range| range.without(node));
            let left: Vec<Range> = left.filter(Range::gives).collect();
            // The administrator's word, whatever it means.
            if left.is_empty() {
                set.ranges.clone()
            } else {
                left
            }
        })
        .collect();
    if sets
        .iter()
        .zip(&spared)
        .all(|(set, left)| set.ranges == *left)
    {
        return;
    }
    for name in SHORT_FORM {
        ipam.remove(name);
    }
    let written = |set: &Vec<Range>| set.iter().map(Range::write).collect::<Value>();
    ipam.insert("ranges".to_owned(), spared.iter().map(written).collect());
}

/// Fields that write one range without a list around it.
pub(super) const SHORT_FORM: [&str; 4] = ["subnet", "rangeStart", "rangeEnd", "gateway"];

/// Every set, in host-local's order: the short form comes first.
fn sets(map: &Map<String, Value>, path: &Path) -> Vec<Set> {
    let short = Range::read(map).map(|range| Set {
        path: path.clone(),
        ranges: vec![range],
    });
    let listed = map.get("ranges").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().enumerate().map(|(at, set)| {
        let ranges = set.as_array().into_iter().flatten();
        Set {
            path: path.field("ranges").item(at),
            ranges: ranges
                .filter_map(Value::as_object)
                .filter_map(Range::read)
                .collect(),
        }
    });
    short.into_iter().chain(listed).collect()
}

impl Range {
    fn read(map: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| map.get(name).and_then(Value::as_str);
        let address = |name: &str| text(name).and_then(value::address).map(number);
        let subnet = text("subnet").and_then(value::network)?;
        let after = number(subnet.network()).saturating_add(1);
        // The broadcast address is IPv4's.
        let end = number(subnet.broadcast()) - u128::from(matches!(subnet, IpNet::V4(_)));
        Some(Self {
            subnet,
            first: address("rangeStart").unwrap_or(after),
            last: address("rangeEnd").unwrap_or(end),
            gateway: address("gateway").unwrap_or(after),
        })
    }

    fn write(&self) -> Value {
        let text = |number| self.address(number).to_string();
        json!({
            "subnet": self.subnet.to_string(),
            "rangeStart": text(self.first),
            "rangeEnd": text(self.last),
            "gateway": text(self.gateway),
        })
    }

    /// What is left of the range between the addresses of the node; its gateway is handed out to
    /// nobody anyway.
    fn without(&self, node: &NodeAddresses) -> Vec<Self> {
        let inside = |address: &IpAddr| self.subnet.contains(address);
        let mut taken: Vec<u128> = node.all().filter(inside).map(number).collect();
        let given = |address: &u128| (self.first..=self.last).contains(address);
        taken.retain(|address| given(address) && *address != self.gateway);
        taken.sort_unstable();
        let mut left = Vec::new();
        let mut first = self.first;
        for address in taken {
            if first < address {
                let last = address - 1;
                left.push(Self {
                    first,
                    last,
                    ..*self
                });
            }
            first = address.saturating_add(1).max(first);
        }
        if first <= self.last {
            left.push(Self { first, ..*self });
        }
        left
    }

    /// Whether there is an address to hand out: the gateway is not.
    fn gives(&self) -> bool {
        self.first != self.last || self.first != self.gateway
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.is_v4() == other.is_v4() && self.first <= other.last && other.first <= self.last
    }

    fn is_v4(&self) -> bool {
        matches!(self.subnet, IpNet::V4(_))
    }

    fn address(&self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(number) if self.is_v4() => Ipv4Addr::from_bits(number).into(),
            _ => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn unlike(set: &Set, found: &str, accepted: &str) -> Offence {
    Offence {
        rule: Rule::Value,
        path: set.path.clone(),
        found: found.to_owned(),
        accepted: accepted.to_owned(),
    }
}

#[cfg(test)]
mod tests;
