use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn node(addresses: &[&str]) -> NodeAddresses {
    let mut node = NodeAddresses::default();
    for address in addresses {
        node.own.insert(address.parse().unwrap(), "eth1".to_owned());
    }
    node
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

/// What `ipam` becomes on a node with these addresses.
#[track_caller]
fn check_spared(ipam: &Value, addresses: &[&str], expected: &Value) {
    let mut spared = map(ipam.clone());
    spare(&mut spared, &node(addresses));
    assert_eq!(Value::Object(spared), *expected);
}

#[test]
fn a_range_is_cut_around_what_is_the_nodes() {
    let talk = json!({"type": "host-local", "ranges": [[{"subnet": "10.10.1.0/24"}]]});
    check_spared(&talk, &["172.18.0.2"], &talk);
    // Neither the ends of a subnet nor its gateway are handed out.
    check_spared(&talk, &["10.10.1.0", "10.10.1.1", "10.10.1.255"], &talk);
    check_spared(
        &talk,
        &["10.10.1.5", "10.10.1.254"],
        &json!({"type": "host-local", "ranges": [[
            {"subnet": "10.10.1.0/24", "rangeStart": "10.10.1.1", "rangeEnd": "10.10.1.4",
                "gateway": "10.10.1.1"},
            {"subnet": "10.10.1.0/24", "rangeStart": "10.10.1.6", "rangeEnd": "10.10.1.253",
                "gateway": "10.10.1.1"}
        ]]}),
    );
    check_spared(
        &json!({"subnet": "10.10.1.0/24", "rangeStart": "10.10.1.7", "rangeEnd": "10.10.1.8",
            "gateway": "10.10.1.254", "ranges": [[{"subnet": "fd00::/64"}]]}),
        &["10.10.1.7", "fd00::2"],
        &json!({"ranges": [
            [{"subnet": "10.10.1.0/24", "rangeStart": "10.10.1.8", "rangeEnd": "10.10.1.8",
                "gateway": "10.10.1.254"}],
            // The first of the two would only hold the gateway.
            [{"subnet": "fd00::/64", "rangeStart": "fd00::3",
                "rangeEnd": "fd00::ffff:ffff:ffff:ffff", "gateway": "fd00::1"}]
        ]}),
    );
}

#[test]
fn a_range_of_which_nothing_is_left_stays_the_administrators() {
    let only =
        json!({"subnet": "10.10.1.0/24", "rangeStart": "10.10.1.7", "rangeEnd": "10.10.1.7"});
    check_spared(&only, &["10.10.1.7"], &only);
    let refused = leave_something(
        &map(only),
        &Path::root().field("ipam"),
        &node(&["10.10.1.7"]),
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "ipam: found a range of the node's own addresses and gateways only, accepted: a range \
         with an address that is neither; choose another, or ask the administrator to give it in a \
         DeviceClass"
    );
}

#[test]
fn what_host_local_cannot_read_is_refused() {
    let refused = |value: Value| {
        let path = Path::root().field("ipam");
        check(&map(value), &path).map_err(|offence| offence.to_string())
    };
    let words = |path: &str, found: &str, accepted: &str| {
        Err(format!(
            "{path}: found {found}, accepted: {accepted}; correct the value"
        ))
    };
    let v4 = json!({"subnet": "10.10.1.0/24"});
    let v6 = json!({"subnet": "fd00::/64"});
    assert_eq!(refused(json!({"ranges": [[v4], [v6]]})), Ok(()));
    assert_eq!(
        refused(json!({"ranges": [[v4], []]})),
        words("ipam.ranges[1]", "no range", "at least one range")
    );
    assert_eq!(
        refused(json!({"ranges": [[v4, v6]]})),
        words(
            "ipam.ranges[0]",
            "IPv4 and IPv6 in one set",
            "a set for each"
        )
    );
    let meets = |subnet: &str| {
        words(
            "ipam.ranges[0]",
            &format!("{subnet}, which meets a range before it"),
            "ranges that do not overlap",
        )
    };
    assert_eq!(
        refused(json!({"ranges": [[v4, v4]]})),
        meets("10.10.1.0/24")
    );
    assert_eq!(
        refused(json!({"subnet": "10.10.0.0/16", "ranges": [[v4]]})),
        meets("10.10.1.0/24")
    );
}

proptest! {
    #[test]
    fn what_is_left_is_the_range_without_the_nodes(
        first in 1_u8..=254,
        length in 0_u8..40,
        own in proptest::collection::btree_set(any::<u8>(), 0..6),
    ) {
        let host = |host: u8| Ipv4Addr::new(10, 10, 1, host);
        let last = first.saturating_add(length).min(254);
        let own: Vec<String> = own.iter().map(|own| host(*own).to_string()).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let node = node(&own);
        let range = Range::read(&map(json!({
            "subnet": "10.10.1.0/24", "rangeStart": host(first), "rangeEnd": host(last)
        })))
        .unwrap();
        let left: Vec<IpAddr> = range
            .without(&node)
            .iter()
            .flat_map(|range| (range.first..=range.last).map(|number| range.address(number)))
            .collect();
        let expected: Vec<IpAddr> = (first..=last)
            .map(|number| IpAddr::from(host(number)))
            .filter(|address| !node.own.contains_key(address) || *address == host(1))
            .collect();
        prop_assert_eq!(left.iter().collect::<BTreeSet<_>>().len(), left.len());
        prop_assert_eq!(left, expected);
    }
}
