use super::*;

fn link(name: &str, mac: &str, addresses: &[&str]) -> Link {
    Link {
        name: name.to_owned(),
        mac: Some(mac.to_owned()),
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        ..Link::default()
    }
}

fn node() -> NodeAddresses {
    let seen = Seen {
        links: vec![
            link("eth0", "02:00:00:00:00:AA", &["172.18.0.2/16"]),
            link("eth1", "02:00:00:00:00:bb", &[]),
            link("veth7", "02:00:00:00:00:cc", &[]),
            Link {
                passing: vec!["2001:db8::77".parse().unwrap()],
                ..link("cni0", "02:00:00:00:00:dd", &["10.244.0.1/24"])
            },
        ],
        gateways: ["172.18.0.1".parse().unwrap()].into(),
        ..Seen::default()
    };
    NodeAddresses::of(&seen, |link| link.name == "eth1")
}

#[track_caller]
fn check(address: &str, expected: Option<&str>) {
    let owner = node().owner(address.parse().unwrap());
    assert_eq!(owner.as_deref(), expected, "{address}");
}

#[test]
fn every_address_of_every_link_and_the_gateways_have_an_owner() {
    check("172.18.0.2", Some("an address of the node's eth0"));
    check("::ffff:172.18.0.2", Some("an address of the node's eth0"));
    check("10.244.0.1", Some("an address of the node's cni0"));
    check("2001:db8::77", Some("an address of the node's cni0"));
    check("172.18.0.1", Some("the node's default gateway"));
    check("172.18.0.3", None);
}

#[test]
fn hardware_addresses_of_pods_links_are_not_kept() {
    let owner = |mac: &str| node().hardware_owner(mac);
    let of = |link: &str| Some(format!("the hardware address of the node's {link}"));
    assert_eq!(owner("02:00:00:00:00:aa"), of("eth0"));
    assert_eq!(owner("02:00:00:00:00:BB"), of("eth1"));
    assert_eq!(owner("02:00:00:00:00:cc"), None);
    assert_eq!(owner("02:00:00:00:00:dd"), of("cni0"));
}
