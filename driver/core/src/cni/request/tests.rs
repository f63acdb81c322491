use serde_json::json;

use super::*;
use crate::cni::{Interface, tests::conflist};

fn args() -> Map<String, Value> {
    let Value::Object(map) =
        json!({"mac": "02:00:00:00:00:01", "mtu": 1400, "ips": ["10.0.0.9/24"]})
    else {
        unreachable!()
    };
    map
}

fn result() -> AddResult {
    AddResult {
        interfaces: vec![Interface {
            name: "net1".into(),
            mtu: Some(1500),
            ..Interface::default()
        }],
        ..AddResult::default()
    }
}

#[test]
fn del_goes_backwards() {
    let list = conflist("1.0.0");
    let types = |command| {
        order(&list, command)
            .iter()
            .map(|plugin| plugin.plugin_type())
            .collect::<Vec<_>>()
    };
    for command in [Command::Add, Command::Check, Command::Status, Command::Gc] {
        assert_eq!(types(command), ["macvlan", "tuning"], "{command}");
    }
    assert_eq!(types(Command::Del), ["tuning", "macvlan"]);
}

#[test]
fn the_first_plugin_gets_its_own_fields() {
    let list = conflist("1.0.0");
    assert_eq!(
        for_interface(&list, &list.plugins()[0], &args(), None),
        json!({
            "cniVersion": "1.0.0",
            "name": "storage",
            "type": "macvlan",
            "master": "eth1",
            "ipam": {"type": "host-local"},
        })
    );
}

#[test]
fn the_next_gets_the_result_and_the_arguments_it_is_capable_of() {
    let check = |version: &str, prev: Value| {
        let list = conflist(version);
        let expected = json!({
            "cniVersion": version,
            "name": "storage",
            "type": "tuning",
            "runtimeConfig": {"mac": "02:00:00:00:00:01"},
            "prevResult": prev,
        });
        assert_eq!(
            for_interface(&list, &list.plugins()[1], &args(), Some(&result())),
            expected
        );
    };
    check(
        "0.4.0",
        json!({"cniVersion": "0.4.0", "interfaces": [{"name": "net1"}]}),
    );
    check(
        "1.1.0",
        json!({"cniVersion": "1.1.0", "interfaces": [{"name": "net1", "mtu": 1500}]}),
    );
}

#[test]
fn the_runtimes_own_fields_cannot_be_forged() {
    let list = ConfList::parse(&json!({
        "cniVersion": "1.1.0",
        "name": "storage",
        "plugins": [{"type": "a", "name": "x", "cniVersion": "0.1.0", "prevResult": {}, "runtimeConfig": {"mac": "x"}}],
    }))
    .unwrap();
    let bare = json!({"cniVersion": "1.1.0", "name": "storage", "type": "a"});
    assert_eq!(
        for_interface(&list, &list.plugins()[0], &args(), None),
        bare
    );
    assert_eq!(for_status(&list, &list.plugins()[0]), bare);
}

#[test]
fn gc_names_what_to_spare() {
    let list = conflist("1.1.0");
    let valid = [ValidAttachment {
        container_id: "5b7f".into(),
        if_name: "net1".into(),
    }];
    let config = for_gc(&list, &list.plugins()[1], &valid);
    let expected = json!([{"containerID": "5b7f", "ifname": "net1"}]);
    assert_eq!(config["cni.dev/valid-attachments"], expected);
    assert_eq!(config["cni.dev/attachments"], expected);
    assert_eq!(config["capabilities"], Value::Null);
    assert_eq!(
        for_gc(&list, &list.plugins()[0], &[])["cni.dev/valid-attachments"],
        json!([])
    );
}
