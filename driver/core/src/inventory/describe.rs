//! What a slice says of a link: its name and its attributes.

use std::fmt::Display;

use ipnet::IpNet;

use super::{Attribute, Attributes, link::Link};
use crate::name::{DeviceName, NameError};

/// Longest string value of an attribute, in characters (`resource.k8s.io/v1`).
pub const MAX_STRING: usize = 64;

/// Attribute that holds the mode; the others are named in [`attributes`].
pub const MODE: &str = "mode";

/// Attributes that may change while a device is allocated; the rest is its identity.
pub const VOLATILE: [&str; 4] = ["mtu", "speed", "ipv4", "ipv6"];

/// The alphabet of RFC 4648, section 6, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Names the device of a link: like the link where that is a DNS label, else `net-<base32>`.
///
/// A link that is itself called `net-…` is encoded too, so that no two links share a name.
pub fn device_name(link: &str) -> Result<DeviceName, NameError> {
    let label = DeviceName::parse(link);
    if label.is_ok() && !link.ends_with('-') && !link.starts_with("net-") {
        return label;
    }
    DeviceName::parse(format!("net-{}", base32(link.as_bytes())))
}

/// Describes a link, all but its mode.
///
/// `name` and `ifName` are both the link's name: the first is what selectors in the field read,
/// the second is what other network drivers call it. No attribute holds carrier state.
pub fn attributes(link: &Link) -> Attributes {
    let hardware = &link.hardware;
    let (ipv4, ipv6): (Vec<&IpNet>, Vec<&IpNet>) = link
        .addresses
        .iter()
        .partition(|address| address.addr().is_ipv4());
    let kind = link.kind.as_deref().unwrap_or("physical");
    let all = [
        ("name", string(&link.name)),
        ("ifName", string(&link.name)),
        ("kind", string(kind)),
        ("mac", link.mac.as_deref().and_then(string)),
        ("mtu", Some(Attribute::Int(link.mtu.into()))),
        ("ipv4", list(&ipv4)),
        ("ipv6", list(&ipv6)),
        ("driver", hardware.driver.as_deref().and_then(string)),
        (
            "speed",
            hardware.speed.map(|mbit| Attribute::Int(mbit.into())),
        ),
        (
            "pciAddress",
            hardware.pci_address.as_deref().and_then(string),
        ),
        (
            "resource.kubernetes.io/pciBusID",
            hardware.pci_address.as_deref().and_then(string),
        ),
        (
            "resource.kubernetes.io/pcieRoot",
            hardware.pcie_root.as_deref().and_then(string),
        ),
        (
            "resource.kubernetes.io/numaNode",
            hardware.numa_node.map(|node| Attribute::Int(node.into())),
        ),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// A value that the API takes; none rather than half a word.
fn string(value: &str) -> Option<Attribute> {
    let fits = !value.is_empty() && value.chars().count() <= MAX_STRING;
    fits.then(|| Attribute::String(value.to_owned()))
}

/// As many whole items as fit, separated by commas; none when there are none.
fn list<T: Display>(items: &[T]) -> Option<Attribute> {
    let mut joined = String::new();
    for item in items.iter().map(ToString::to_string) {
        let comma = usize::from(!joined.is_empty());
        if joined.len() + comma + item.len() > MAX_STRING {
            break;
        }
        if comma == 1 {
            joined.push(',');
        }
        joined.push_str(&item);
    }
    string(&joined)
}

fn base32(bytes: &[u8]) -> String {
    let digit = |at: usize| {
        let bit = |i: usize| bytes.get(i / 8).map_or(0, |byte| byte >> (7 - i % 8) & 1);
        let value = (at * 5..at * 5 + 5).fold(0, |value, i| value << 1 | bit(i));
        char::from(BASE32[usize::from(value)])
    };
    (0..(bytes.len() * 8).div_ceil(5)).map(digit).collect()
}

#[cfg(test)]
mod tests;
