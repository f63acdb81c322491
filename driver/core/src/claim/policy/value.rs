//! What single values, and the values of one object together, must be.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::catalogue::Check;
use crate::{
    claim::{
        config::Template,
        offence::{Offence, Path, Rule, shown},
    },
    cni,
    name::IfName,
};

/// Whether a value is what a check of a single value asks for.
pub(super) fn holds(check: Check, value: &Value) -> bool {
    match check {
        Check::Flag => value.is_boolean(),
        Check::Whole(min, max) => value.as_u64().is_some_and(|n| (min..=max).contains(&n)),
        Check::Table => value
            .as_u64()
            .is_some_and(|n| (1..=i32::MAX as u64).contains(&n) && !(253..=255).contains(&n)),
        _ => value.as_str().is_some_and(|text| holds_text(check, text)),
    }
}

fn holds_text(check: Check, text: &str) -> bool {
    match check {
        Check::OneOf(words) => words.contains(&text),
        Check::Mac => is_unicast_mac(text),
        Check::Address => text.parse::<IpAddr>().is_ok(),
        Check::Cidr => text.parse::<IpNet>().is_ok(),
        Check::AddressOrCidr => text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok(),
        Check::Text => is_short_text(text),
        Check::Network => is_network_name(text),
        Check::Interface => IfName::parse(text).is_ok(),
        Check::Template => Template::parse(text).is_some(),
        Check::Device => is_link_name(text),
        _ => false,
    }
}

/// Printable ASCII, and not so long that a file of the kernel would be written twice.
pub(super) fn is_short_text(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// A name as CNI has it; the length leaves room for what is added where it becomes a file name.
pub(super) fn is_network_name(text: &str) -> bool {
    text.len() <= 128 && cni::is_name(text)
}

/// What the kernel takes (`dev_valid_name`, net/core/dev.c).
fn is_link_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
}

fn is_unicast_mac(text: &str) -> bool {
    let octets: Option<Vec<u8>> = text
        .split(':')
        .map(|octet| {
            let hex = octet.len() == 2 && octet.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u8::from_str_radix(octet, 16).ok()).flatten()
        })
        .collect();
    octets.is_some_and(|octets| {
        octets.len() == 6 && octets[0] & 1 == 0 && octets.iter().any(|octet| *octet != 0)
    })
}

/// Whether `key` is a setting of the interface itself and of nothing else.
///
/// The tuning plugin turns every dot into a slash, and then `IFNAME` into the interface's name, so
/// a key is one path: each of its five parts is checked, and none may hold a slash or be empty.
pub(super) fn is_own_sysctl(key: &str, if_name: &str) -> bool {
    let parts: Vec<&str> = key.split('.').collect();
    let [net, family, tree, interface, name] = parts[..] else {
        return false;
    };
    net == "net"
        && ["ipv4", "ipv6", "mpls"].contains(&family)
        && ["conf", "neigh"].contains(&tree)
        && (interface == "IFNAME" || interface == if_name)
        && !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Nothing more to say.
#[expect(clippy::unnecessary_wraps, reason = "a row of a table of checks")]
pub(super) fn anything(_: &Map<String, Value>, _: &Path) -> Result<(), Offence> {
    Ok(())
}

/// host-local gives addresses out of a subnet, of ranges, or of both.
pub(super) fn subnet_or_ranges(map: &Map<String, Value>, path: &Path) -> Result<(), Offence> {
    let short_form = ["subnet", "rangeStart", "rangeEnd", "gateway"];
    if short_form.iter().any(|name| map.contains_key(*name)) {
        return range(map, path);
    }
    if map
        .get("ranges")
        .and_then(Value::as_array)
        .is_some_and(|sets| !sets.is_empty())
    {
        return Ok(());
    }
    Err(Offence {
        rule: Rule::MissingField,
        path: path.field("ranges"),
        found: "nothing".to_owned(),
        accepted: "ranges such as [[{\"subnet\": \"10.10.1.0/24\"}]]".to_owned(),
    })
}

/// A range lies in its subnet, in order, and the subnet has addresses to give.
pub(super) fn range(map: &Map<String, Value>, path: &Path) -> Result<(), Offence> {
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    let Some(subnet) = text("subnet").and_then(|text| text.parse::<IpNet>().ok()) else {
        return Err(Offence {
            rule: Rule::MissingField,
            path: path.field("subnet"),
            found: "nothing".to_owned(),
            accepted: Check::Cidr.to_string(),
        });
    };
    let value = |name: &str, accepted: String| Offence {
        rule: Rule::Value,
        path: path.field(name),
        found: map.get(name).map_or_else(String::new, shown),
        accepted,
    };
    if subnet != subnet.trunc() || subnet.prefix_len() + 2 > subnet.max_prefix_len() {
        let longest = subnet.max_prefix_len() - 2;
        return Err(value(
            "subnet",
            format!(
                "the network's own address, {}, and a prefix of {longest} bits at most",
                subnet.trunc()
            ),
        ));
    }
    let inside = |name| {
        let address = text(name).and_then(|text| text.parse::<IpAddr>().ok());
        match address {
            Some(address) if !subnet.contains(&address) => {
                Err(value(name, format!("an address in {subnet}")))
            }
            other => Ok(other),
        }
    };
    let (first, last) = (inside("rangeStart")?, inside("rangeEnd")?);
    inside("gateway")?;
    match (first, last) {
        (Some(first), Some(last)) if first > last => {
            Err(value("rangeEnd", format!("an address from {first} on")))
        }
        _ => Ok(()),
    }
}
