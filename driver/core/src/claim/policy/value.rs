//! What single values, and the values of one object together, must be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};

use super::{catalogue::Check, ranges};
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
        Check::Address => address(text).is_some(),
        Check::Cidr | Check::PodCidr | Check::Subnet => network(text).is_some(),
        Check::PodAddress => pod_address(text).is_some(),
        Check::Text => is_short_text(text),
        Check::Network => is_network_name(text),
        Check::Interface => IfName::parse(text).is_ok(),
        Check::Template => Template::parse(text).is_some(),
        Check::Device => is_link_name(text),
        _ => false,
    }
}

/// An IP address in its family's own form. Go takes `::ffff:10.0.0.1` for the IPv4 address, and so
/// would a gap here.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    (address.to_canonical() == address).then_some(address)
}

/// An IP address with its prefix length, in its family's own form, and as Go reads it: what a
/// plugin cannot read it cannot undo either.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let (start, prefix) = text.split_once('/')?;
    let plain = prefix.bytes().all(|b| b.is_ascii_digit());
    let plain = plain && (prefix == "0" || !prefix.starts_with('0'));
    let prefix = prefix.parse().ok().filter(|_| plain)?;
    IpNet::new(address(start)?, prefix).ok()
}

/// An IP address, with or without its prefix length.
pub(super) fn pod_address(text: &str) -> Option<IpAddr> {
    let of_network = || network(text).map(|network| network.addr());
    address(text).or_else(of_network)
}

/// What is wrong about an IP address that is none of [`address`] and [`network`], where there is
/// more to say than that.
pub(super) fn mapped(text: &str) -> Option<IpAddr> {
    let bare = text.split('/').next().unwrap_or_default();
    let address: IpAddr = bare.parse().ok()?;
    let own = address.to_canonical();
    (own != address).then_some(own)
}

/// Networks whose addresses are no single pod's: each host has its own of them, or all have them
/// together (RFC 6890). On a cloud, a link-local one is where nodes fetch their credentials.
const NO_PODS: [(IpNet, &str); 8] = [
    (v4([0, 0, 0, 0], 8), "an unspecified"),
    (v4([127, 0, 0, 0], 8), "a loopback"),
    (v4([169, 254, 0, 0], 16), "a link-local"),
    (v4([224, 0, 0, 0], 4), "a multicast"),
    (v4([240, 0, 0, 0], 4), "a reserved"),
    (v6(0, 127), "an unspecified or loopback"),
    (v6(0xfe80, 10), "a link-local"),
    (v6(0xff00, 8), "a multicast"),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(start: u16, prefix: u8) -> IpNet {
    let start = Ipv6Addr::new(start, 0, 0, 0, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(start, prefix))
}

/// What kind of address it is, in words, if no pod can have it alone.
pub(super) fn no_pods(network: IpNet) -> Option<&'static str> {
    let meets = |other: &IpNet| other.contains(&network) || network.contains(other);
    let found = NO_PODS.iter().find(|(other, _)| meets(other));
    found.map(|(_, words)| *words)
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
    if ranges::SHORT_FORM
        .iter()
        .any(|name| map.contains_key(*name))
    {
        range(map, path)?;
        return ranges::check(map, path);
    }
    if map
        .get("ranges")
        .and_then(Value::as_array)
        .is_some_and(|sets| !sets.is_empty())
    {
        return ranges::check(map, path);
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
    let Some(subnet) = text("subnet").and_then(network) else {
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
    let inside = |name| match text(name).and_then(address) {
        Some(address) if !subnet.contains(&address) => {
            Err(value(name, format!("an address in {subnet}")))
        }
        _ => Ok(()),
    };
    for name in ["rangeStart", "rangeEnd", "gateway"] {
        inside(name)?;
    }
    // host-local completes what is not written, does not compare the ends, and would count on past
    // the subnet to reach an end that lies behind it.
    match ranges::ends(map) {
        Some((first, last)) if first > last && map.contains_key("rangeEnd") => {
            Err(value("rangeEnd", format!("an address from {first} on")))
        }
        Some((first, last)) if first > last => {
            Err(value("rangeStart", format!("an address up to {last}")))
        }
        _ => Ok(()),
    }
}
