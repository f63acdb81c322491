use super::*;

const EXCLUDE: [&str; 7] = [
    "cni*",
    "cali*",
    "lxc*",
    "cilium_*",
    "docker*",
    "kube-*",
    "nodelocaldns",
];

fn link(name: &str, kind: Option<&str>) -> Link {
    Link {
        index: 7,
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        ethernet: true,
        ..Link::default()
    }
}

fn veth(name: &str, peer_namespace: Option<i32>) -> Link {
    Link {
        peer_namespace,
        ..link(name, Some("veth"))
    }
}

/// Namespaces 3 and 4 are pods'.
fn check(link: &Link, expected: Option<&str>) {
    let seen = Seen {
        links: vec![link.clone()],
        pod_namespaces: [3, 4].into(),
        ..Seen::default()
    };
    let exclude = EXCLUDE.map(str::to_owned);
    let found = left_out(link, &seen, &exclude).map(|why| why.to_string());
    assert_eq!(found.as_deref(), expected, "{link:?}");
}

#[test]
fn what_can_be_a_parent_is_offered() {
    check(&link("eth0", None), None);
    for kind in ["bond", "dummy", "vlan", "team"] {
        check(&link("eth0", Some(kind)), None);
    }
    check(&veth("eth0", None), None);
    check(&veth("eth0", Some(0)), None);
}

#[test]
fn what_cannot_be_a_parent_is_not() {
    let kinds = [
        "bridge",
        "macvlan",
        "macvtap",
        "ipvlan",
        "tun",
        "vxlan",
        "geneve",
        "wireguard",
        "ipip",
        "sit",
        "gre",
        "ifb",
        "vrf",
        "netkit",
    ];
    for kind in kinds {
        let why = format!("a link of kind {kind} cannot back an attachment");
        check(&link("x0", Some(kind)), Some(&why));
    }
    let loopback = Link {
        loopback: true,
        ..link("lo", None)
    };
    check(&loopback, Some("it is the loopback"));
    let port = Link {
        master: Some(2),
        ..link("eth0", None)
    };
    check(&port, Some("it belongs to the link with index 2"));
    let ib = Link {
        ethernet: false,
        ..link("ib0", None)
    };
    check(&ib, Some("its frames are not Ethernet's"));
}

#[test]
fn pods_ends_are_not_offered_whatever_their_name() {
    check(
        &veth("eth9", Some(3)),
        Some("its peer is in a pod's namespace"),
    );
    check(
        &veth("eth9", Some(4)),
        Some("its peer is in a pod's namespace"),
    );
    check(&veth("eth9", Some(5)), None);
    // Only a veth's other end is its peer: a vlan's parent may well be elsewhere.
    let vlan = Link {
        peer_namespace: Some(3),
        ..link("eth9", Some("vlan"))
    };
    check(&vlan, None);
}

#[test]
fn cluster_networks_links_are_left_out_by_name() {
    for (name, pattern) in [
        ("cni-podman1", "cni*"),
        ("cali1234", "cali*"),
        ("lxc_health", "lxc*"),
        ("cilium_host", "cilium_*"),
        ("docker0", "docker*"),
        ("kube-ipvs0", "kube-*"),
        ("nodelocaldns", "nodelocaldns"),
    ] {
        let why = format!("--exclude `{pattern}` names it");
        check(&link(name, Some("dummy")), Some(&why));
    }
    check(&link("kubeeth0", None), None);
    check(&link("ciliumX", None), None);
}

#[test]
fn patterns_are_globs() {
    let check = |pattern: &str, name: &str, expected: bool| {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    };
    check("", "", true);
    check("", "a", false);
    check("*", "", true);
    check("*", "anything", true);
    check("eth?", "eth1", true);
    check("eth?", "eth", false);
    check("eth?", "eth10", false);
    check("e*0", "eth0", true);
    check("e*0", "eth01", false);
    check("*s0*", "enp3s0f1", true);
    check("ä*", "äö", true);
    check("?", "ä", true);
}
