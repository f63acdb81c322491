use serde_json::{Map, Value, json};

use super::*;
use crate::{
    attachment::Key,
    claim::PodRef,
    name::{IfName, Namespace, PodName, PodUid, SandboxId},
};

/// A chain as users write it, in `version`.
pub(super) fn conflist(version: &str) -> ConfList {
    ConfList::parse(&json!({
        "cniVersion": version,
        "name": "storage",
        "plugins": [
            {"type": "macvlan", "master": "eth1", "ipam": {"type": "host-local"}},
            {"type": "tuning", "capabilities": {"mac": true, "mtu": false}},
        ],
    }))
    .unwrap()
}

pub(super) fn key() -> Key {
    Key {
        sandbox: SandboxId::parse("5b7f").unwrap(),
        if_name: IfName::parse("net1").unwrap(),
    }
}

pub(super) fn pod() -> PodRef {
    PodRef {
        namespace: Namespace::parse("shop").unwrap(),
        name: PodName::parse("cart-0").unwrap(),
        uid: PodUid::parse("u-1").unwrap(),
    }
}

#[test]
fn names_are_libcnis() {
    for name in ["a", "0", "macvlan-eth1", "A.b_c-d"] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", ".", "..", "-a", "_a", "a/b", "a b", "ä", "a\n", "../x"] {
        assert!(!is_name(name), "{name:?}");
    }
}

#[test]
fn what_a_plugin_printed_is_cut_and_escaped() {
    assert_eq!(head(b"plain"), "plain");
    assert_eq!(head(b"a\nb\x1b[31m\"\xff"), "a\\nb\\u{1b}[31m\\\"\u{fffd}");
    assert_eq!(head(&[b'x'; 161]), format!("{}…", "x".repeat(160)));
    assert_eq!(head(&[b'x'; 160]), "x".repeat(160));
}

#[test]
fn the_highest_version_of_ours_is_taken() {
    #[track_caller]
    fn check(declared: &[&str], expected: Option<&str>) {
        let found = SpecVersion::negotiate(declared.iter().copied());
        assert_eq!(found.map(SpecVersion::as_str), expected, "{declared:?}");
    }
    check(&["1.0.0"], Some("1.0.0"));
    check(&["0.3.1", "1.1.0", "0.4.0"], Some("1.1.0"));
    check(&["1.2.0", "1.0.0", "2.0.0"], Some("1.0.0"));
    check(&["0.2.0", "0.3.0"], None);
    check(&["1.0"], None);
    check(&[], None);
}

#[test]
fn a_version_knows_its_commands() {
    let since = |command| {
        SpecVersion::ALL
            .into_iter()
            .find(|version| version.has(command))
    };
    assert_eq!(since(Command::Add), Some(SpecVersion::V0_3_1));
    assert_eq!(since(Command::Del), Some(SpecVersion::V0_3_1));
    assert_eq!(since(Command::Check), Some(SpecVersion::V0_4_0));
    assert_eq!(since(Command::Status), Some(SpecVersion::V1_1_0));
    assert_eq!(since(Command::Gc), Some(SpecVersion::V1_1_0));
}

#[test]
fn each_command_has_its_environment() {
    const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0;\
                        K8S_POD_INFRA_CONTAINER_ID=5b7f;K8S_POD_UID=u-1";
    let (key, pod, network, none) = (key(), pod(), conflist("1.0.0"), Map::new());
    let at = |netns| Invocation {
        key: &key,
        netns,
        network: &network,
        runtime_config: &none,
        pod: &pod,
    };
    let check = |command, at: Option<&Invocation<'_>>, expected: [Option<&str>; 6]| {
        let expected = expected.map(|value| value.map(str::to_owned));
        let found = environment(command, at, "/opt/cni/bin:/x");
        assert_eq!(found.clone().map(|(_, value)| value), expected, "{command}");
        assert_eq!(found.map(|(name, _)| name), VARIABLES);
    };
    let path = Some("/opt/cni/bin:/x");
    let inside = at(Some("/run/netns/a"));
    for (command, word) in [
        (Command::Add, "ADD"),
        (Command::Check, "CHECK"),
        (Command::Del, "DEL"),
    ] {
        let all = [
            Some(word),
            Some("5b7f"),
            Some("/run/netns/a"),
            Some("net1"),
            Some(ARGS),
            path,
        ];
        check(command, Some(&inside), all);
    }
    let gone = [
        Some("DEL"),
        Some("5b7f"),
        Some(""),
        Some("net1"),
        Some(ARGS),
        path,
    ];
    check(Command::Del, Some(&at(None)), gone);
    check(
        Command::Status,
        None,
        [Some("STATUS"), None, None, None, None, path],
    );
    check(
        Command::Gc,
        None,
        [Some("GC"), None, None, None, None, path],
    );
    check(
        Command::Version,
        None,
        [Some("VERSION"), None, None, None, None, None],
    );
}

#[test]
fn a_file_names_its_interpreter() {
    #[track_caller]
    fn check(head: &[u8], expected: Option<&str>) {
        assert_eq!(interpreter(head).as_deref(), expected);
    }
    check(b"#!/bin/sh\necho", Some("/bin/sh"));
    check(b"#! /usr/bin/env bash\n", Some("/usr/bin/env"));
    check(b"#!\n", None);
    check(b"plain text", None);
    check(b"", None);
    check(
        &elf(3, b"/lib/ld-musl-x86_64.so.1\0rest"),
        Some("/lib/ld-musl-x86_64.so.1"),
    );
    check(&elf(1, b"/lib/ld-musl-x86_64.so.1\0"), None);
    for cut in 0..176 {
        check(&elf(3, b"/lib/ld.so")[..cut], None);
    }
}

/// An ELF header, two program headers of which the second is of `kind`, and its content.
fn elf(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 176];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[32] = 64;
    file[54] = 56;
    file[56] = 2;
    file[120] = kind;
    file[128] = 176;
    file.extend_from_slice(content);
    file
}

#[test]
fn the_record_of_an_add_is_libcnis_and_comes_back() {
    let (key, pod, network) = (key(), pod(), conflist("0.4.0"));
    let runtime_config: Map<String, Value> = [("mac".to_owned(), json!("02:00:00:00:00:01"))]
        .into_iter()
        .collect();
    let at = Invocation {
        key: &key,
        netns: Some("/run/netns/a"),
        network: &network,
        runtime_config: &runtime_config,
        pod: &pod,
    };
    let result = AddResult {
        ips: vec![IpConfig {
            address: "10.1.0.2/24".parse().unwrap(),
            gateway: None,
            interface: None,
        }],
        ..AddResult::default()
    };
    let record = CachedAttachment::new(&at, &result);
    let written = record.write().unwrap();
    let json: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(json["kind"], "cniCacheV1");
    assert_eq!(json["containerId"], "5b7f");
    assert_eq!(json["ifName"], "net1");
    assert_eq!(json["networkName"], "storage");
    assert_eq!(json["netns"], "/run/netns/a");
    assert_eq!(json["cniArgs"][4], json!(["K8S_POD_UID", "u-1"]));
    assert_eq!(json["capabilityArgs"], json!({"mac": "02:00:00:00:00:01"}));
    assert_eq!(
        json["result"]["ips"],
        json!([{"version": "4", "address": "10.1.0.2/24"}])
    );
    assert!(json["config"].is_string());
    assert_eq!(CachedAttachment::read(&written).unwrap(), record);
    assert_eq!(
        CachedAttachment::file_name(&network, &key),
        "storage-5b7f-net1"
    );
}

#[test]
fn a_file_that_is_no_record_says_why() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: &str) {
        let (key, pod, network, none) = (key(), pod(), conflist("1.0.0"), Map::new());
        let at = Invocation {
            key: &key,
            netns: None,
            network: &network,
            runtime_config: &none,
            pod: &pod,
        };
        let written = CachedAttachment::new(&at, &AddResult::default())
            .write()
            .unwrap();
        let mut json = serde_json::from_slice(&written).unwrap();
        change(&mut json);
        let error = CachedAttachment::read(json.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    check(
        |json| json["kind"] = json!("v2"),
        "a record of kind \"v2\", expected \"cniCacheV1\"",
    );
    check(
        |json| json["config"] = json!("%"),
        "its config is not base64: ",
    );
    check(
        |json| json["config"] = json!("e30="),
        "its config: name: found nothing",
    );
    check(
        |json| json["result"] = json!({"ips": 1}),
        "its result: invalid type",
    );
    check(
        |json| json["containerId"] = json!("../x"),
        "sandbox id `../x` is not valid",
    );
    check(|json| *json = json!([]), "not a cniCacheV1 record: ");
}
