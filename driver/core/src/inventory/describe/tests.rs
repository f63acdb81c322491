use serde_json::json;

use super::*;
use crate::inventory::link::Hardware;

#[test]
fn devices_are_called_like_their_links_where_the_api_allows_it() {
    let check = |link: &str, expected: &str| {
        assert_eq!(device_name(link).unwrap().as_str(), expected, "{link}");
    };
    check("eth1", "eth1");
    check("enp3s0f0np0", "enp3s0f0np0");
    check("eth0.100", "net-mv2gqmbogeyda");
    check("mlx5_0", "net-nvwhqnk7ga");
    check("ETH1", "net-ivkeqmi");
    check("eth-", "net-mv2gqli");
    check("-", "net-fu");
    check("net-fu", "net-nzsxillgou");
}

#[test]
fn a_link_is_described_by_what_is_known_of_it() {
    let bare = Link {
        name: "eth1".to_owned(),
        kind: Some("veth".to_owned()),
        mtu: 1500,
        ..Link::default()
    };
    let full = Link {
        kind: None,
        mac: Some("02:00:00:00:00:01".to_owned()),
        addresses: vec![
            "10.0.0.2/24".parse().unwrap(),
            "fd00::2/64".parse().unwrap(),
        ],
        hardware: Hardware {
            pci_address: Some("0000:3b:00.1".to_owned()),
            pcie_root: Some("pci0000:3a".to_owned()),
            driver: Some("mlx5_core".to_owned()),
            speed: Some(100_000),
            numa_node: Some(1),
        },
        ..bare.clone()
    };
    let check = |link: &Link, expected: serde_json::Value| {
        assert_eq!(serde_json::to_value(attributes(link)).unwrap(), expected);
    };
    check(
        &bare,
        json!({
            "name": {"string": "eth1"},
            "ifName": {"string": "eth1"},
            "kind": {"string": "veth"},
            "mtu": {"int": 1500},
        }),
    );
    check(
        &full,
        json!({
            "name": {"string": "eth1"},
            "ifName": {"string": "eth1"},
            "kind": {"string": "physical"},
            "mac": {"string": "02:00:00:00:00:01"},
            "mtu": {"int": 1500},
            "ipv4": {"string": "10.0.0.2/24"},
            "ipv6": {"string": "fd00::2/64"},
            "driver": {"string": "mlx5_core"},
            "speed": {"int": 100_000},
            "pciAddress": {"string": "0000:3b:00.1"},
            "resource.kubernetes.io/pciBusID": {"string": "0000:3b:00.1"},
            "resource.kubernetes.io/pcieRoot": {"string": "pci0000:3a"},
            "resource.kubernetes.io/numaNode": {"int": 1},
        }),
    );
}

#[test]
fn address_lists_are_cut_between_addresses() {
    let check = |count: u8, expected: Option<&str>| {
        let addresses: Vec<String> = (0..count).map(|i| format!("192.168.100.{i}/24")).collect();
        let found = list(&addresses);
        assert_eq!(
            found,
            expected.map(|text| Attribute::String(text.to_owned()))
        );
    };
    check(0, None);
    check(1, Some("192.168.100.0/24"));
    check(
        9,
        Some("192.168.100.0/24,192.168.100.1/24,192.168.100.2/24"),
    );
}

#[test]
fn a_value_that_is_too_long_is_left_out() {
    assert_eq!(string(&"x".repeat(65)), None);
    assert!(string(&"x".repeat(64)).is_some());
}
