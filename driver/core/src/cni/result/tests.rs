use proptest::{collection::vec, option, prelude::*};
use serde_json::json;

use super::*;

const NETNS: &str = "/run/netns/a";

fn read(value: &Value) -> AddResult {
    AddResult::read(value).unwrap()
}

#[test]
fn a_result_of_each_version_is_read() {
    let interfaces = json!([{"name": "net1", "mac": "02:00:00:00:00:01", "sandbox": NETNS}]);
    let old = |version: &str| {
        json!({
            "cniVersion": version,
            "interfaces": interfaces,
            "ips": [{"version": "4", "address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0},
                    {"version": "6", "address": "fd00::2/64", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
            "dns": {},
        })
    };
    let new = |version: &str| {
        json!({
            "cniVersion": version,
            "interfaces": interfaces,
            "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0},
                    {"address": "fd00::2/64", "interface": 0}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        })
    };
    let expected = AddResult {
        interfaces: vec![Interface {
            name: "net1".into(),
            mac: Some("02:00:00:00:00:01".into()),
            sandbox: Some(NETNS.into()),
            ..Interface::default()
        }],
        ips: vec![
            IpConfig {
                address: "10.1.0.2/24".parse().unwrap(),
                gateway: Some("10.1.0.1".parse().unwrap()),
                interface: Some(0),
            },
            IpConfig {
                address: "fd00::2/64".parse().unwrap(),
                gateway: None,
                interface: Some(0),
            },
        ],
        routes: vec![Route {
            dst: "0.0.0.0/0".parse().unwrap(),
            gw: Some("10.1.0.1".parse().unwrap()),
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
        }],
        dns: Dns::default(),
    };
    for value in [old("0.3.1"), old("0.4.0"), new("1.0.0"), new("1.1.0")] {
        assert_eq!(read(&value), expected, "{value}");
    }
    assert_eq!(serde_json::to_value(&expected).unwrap(), new("1.1.0"));
    let mut written = expected.at(SpecVersion::V0_3_1);
    written["dns"] = json!({});
    assert_eq!(written, old("0.3.1"));
}

#[test]
fn what_plugins_leave_out_is_empty() {
    for value in [
        json!({}),
        json!({"cniVersion": ""}),
        json!({"cniVersion": null, "interfaces": null, "ips": null, "routes": null, "dns": null}),
        json!({"cniVersion": "1.0.0", "dns": {}, "vendor": 1}),
    ] {
        assert_eq!(read(&value), AddResult::default(), "{value}");
    }
}

#[test]
fn what_is_no_result_says_why() {
    #[track_caller]
    fn check(value: &Value, expected: &str) {
        let error = AddResult::read(value).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    check(
        &json!({"cniVersion": "0.2.0"}),
        "a result of version 0.2.0, expected one of 0.3.1",
    );
    check(
        &json!({"cniVersion": 1}),
        "a result of version 1, expected one of 0.3.1",
    );
    check(
        &json!({"ips": [{"address": "10.1.0.2"}]}),
        "invalid IP address syntax",
    );
    check(&json!({"ips": [{}]}), "missing field `address`");
    check(
        &json!({"ips": [{"address": "10.1.0.2/24", "interface": 1}], "interfaces": [{"name": "a"}]}),
        "an address on interface 1 of 1",
    );
    check(&json!({"interfaces": [{}]}), "missing field `name`");
}

#[test]
fn the_pods_interface_is_found() {
    #[track_caller]
    fn check(value: &Value, expected: Option<(Option<&str>, Option<u32>, &[&str])>) {
        let result = read(value);
        let found = result.pod_interface(NETNS, "net1");
        let expected = expected.map(|(mac, mtu, ips)| PodInterface {
            mac,
            mtu,
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        });
        assert_eq!(found, expected, "{value}");
    }
    let ip = |address: &str, interface: Option<usize>| json!({"address": address, "interface": interface});
    let inside = json!({"name": "net1", "mac": "02::1", "mtu": 1500, "sandbox": NETNS});
    check(
        &json!({"interfaces": [inside], "ips": [ip("10.0.0.2/24", None), ip("fd00::2/64", Some(0))]}),
        Some((Some("02::1"), Some(1500), &["10.0.0.2/24", "fd00::2/64"])),
    );
    // A bridge chain lists the bridge and the veth's other end first.
    check(
        &json!({"interfaces": [{"name": "cni0"}, {"name": "net1"}, inside],
                  "ips": [ip("10.0.0.1/24", Some(0)), ip("10.0.0.2/24", Some(2))]}),
        Some((Some("02::1"), Some(1500), &["10.0.0.2/24"])),
    );
    check(
        &json!({"interfaces": [inside, {"name": "net2", "sandbox": NETNS}], "ips": [ip("10.0.0.2/24", None)]}),
        Some((Some("02::1"), Some(1500), &[])),
    );
    check(
        &json!({"interfaces": [{"name": "net1", "sandbox": "/run/netns/b"}, {"name": "net1"}]}),
        None,
    );
    check(
        &json!({"interfaces": [{"name": "net1", "sandbox": NETNS}]}),
        Some((None, None, &[])),
    );
    check(&json!({}), None);
}

proptest! {
    #[test]
    fn a_result_survives_every_version(result in result(), version in prop::sample::select(&SpecVersion::ALL)) {
        let mut expected = result.clone();
        if version < SpecVersion::V1_0_0 {
            expected.interfaces.iter_mut().for_each(|i| *i = i.legacy());
            expected.routes.iter_mut().for_each(|r| *r = r.legacy());
        }
        let written = result.at(version);
        prop_assert_eq!(written["cniVersion"].as_str(), Some(version.as_str()));
        prop_assert_eq!(AddResult::read(&written).unwrap(), expected);
    }

    #[test]
    fn a_result_survives_the_journal(result in result()) {
        let line = serde_json::to_string(&result).unwrap();
        prop_assert_eq!(serde_json::from_str::<AddResult>(&line).unwrap(), result);
    }

    #[test]
    fn any_output_is_read_or_refused(text in r#"\{("(cniVersion|ips|dns|interfaces)":([0-9]{1,3}|"[a-z0-9./:]{0,9}"|\[\]|\{\}|null),?){0,3}\}?"#) {
        let _ = crate::cni::read_result(text.as_bytes());
    }
}

fn result() -> impl Strategy<Value = AddResult> {
    (
        vec(interface(), 1..4),
        vec(ip(), 0..4),
        vec(route(), 0..4),
        dns(),
    )
        .prop_map(|(interfaces, mut ips, routes, dns)| {
            for ip in &mut ips {
                ip.interface = ip.interface.map(|index| index % interfaces.len());
            }
            AddResult {
                interfaces,
                ips,
                routes,
                dns,
            }
        })
}

fn word() -> impl Strategy<Value = String> {
    ".{0,8}"
}

fn interface() -> impl Strategy<Value = Interface> {
    let optional = || option::of(word());
    (
        word(),
        optional(),
        option::of(any::<u32>()),
        optional(),
        optional(),
        optional(),
    )
        .prop_map(|(name, mac, mtu, sandbox, socket_path, pci_id)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
        })
}

fn net() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<std::net::Ipv4Addr>(), 0..=32_u8)
            .prop_map(|(ip, len)| IpNet::new(ip.into(), len).unwrap()),
        (any::<std::net::Ipv6Addr>(), 0..=128_u8)
            .prop_map(|(ip, len)| IpNet::new(ip.into(), len).unwrap()),
    ]
}

fn ip() -> impl Strategy<Value = IpConfig> {
    (net(), option::of(any::<IpAddr>()), option::of(0..9_usize)).prop_map(
        |(address, gateway, interface)| IpConfig {
            address,
            gateway,
            interface,
        },
    )
}

fn route() -> impl Strategy<Value = Route> {
    let number = || option::of(any::<u32>());
    (
        net(),
        option::of(any::<IpAddr>()),
        [number(), number(), number(), number()],
        option::of(any::<u8>()),
    )
        .prop_map(|(dst, gw, [mtu, advmss, priority, table], scope)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        })
}

fn dns() -> impl Strategy<Value = Dns> {
    let words = || vec(word(), 0..3);
    (words(), option::of(word()), words(), words()).prop_map(
        |(nameservers, domain, search, options)| Dns {
            nameservers,
            domain,
            search,
            options,
        },
    )
}
