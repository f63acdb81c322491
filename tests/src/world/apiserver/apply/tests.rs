use serde_json::{Value, json};

use super::{Manager, Owners, apply, update};

fn manager(name: &str) -> Manager {
    Manager {
        name: name.to_owned(),
        applies: true,
    }
}

fn device(name: &str, state: &str) -> Value {
    json!({"driver": "d", "pool": "p", "device": name,
           "conditions": [{"type": "Ready", "status": state}]})
}

fn status(devices: &[Value]) -> Value {
    json!({"status": {"devices": devices}})
}

#[test]
fn two_managers_keep_apart() {
    let (live, owners) = apply(
        &json!({}),
        &Owners::new(),
        &manager("a"),
        &status(&[device("eth0", "True")]),
        false,
    )
    .unwrap();
    let (live, owners) = apply(
        &live,
        &owners,
        &manager("b"),
        &status(&[device("eth1", "True")]),
        false,
    )
    .unwrap();
    assert_eq!(
        live,
        status(&[device("eth0", "True"), device("eth1", "True")])
    );

    let (live, owners) =
        apply(&live, &owners, &manager("a"), &json!({"status": {}}), true).unwrap();
    assert_eq!(
        live,
        status(&[device("eth1", "True")]),
        "a gives up its own only"
    );

    let taken = apply(
        &live,
        &owners,
        &manager("c"),
        &status(&[device("eth1", "False")]),
        false,
    );
    assert_eq!(
        taken.unwrap_err(),
        "Apply failed with 1 conflict: conflict with \"b\": \
         .status.devices[device=\"eth1\",driver=\"d\",pool=\"p\"].conditions[type=\"Ready\"].status"
    );
    let (live, owners) = apply(
        &live,
        &owners,
        &manager("c"),
        &status(&[device("eth1", "False")]),
        true,
    )
    .unwrap();
    assert_eq!(live, status(&[device("eth1", "False")]));
    let (live, _) = apply(&live, &owners, &manager("b"), &json!({"status": {}}), false).unwrap();
    assert_eq!(
        live,
        status(&[device("eth1", "False")]),
        "it is c's by force"
    );
}

#[test]
fn an_apply_removes_what_it_leaves_out() {
    let first = json!({"status": {"devices": [{"driver": "d", "pool": "p", "device": "eth0",
        "data": {"ips": [1, 2], "dns": {"a": 1}}, "networkData": {"ips": ["10.0.0.1/24"]}}]}});
    let (live, owners) = apply(&json!({}), &Owners::new(), &manager("a"), &first, false).unwrap();
    let second = json!({"status": {"devices": [{"driver": "d", "pool": "p", "device": "eth0",
        "data": {"ips": [1]}}]}});
    let (live, _) = apply(&live, &owners, &manager("a"), &second, false).unwrap();
    assert_eq!(live, second);
}

#[test]
fn an_update_takes_what_it_changes() {
    let config = json!({"status": {"a": 1, "b": 2}});
    let (live, owners) = apply(&json!({}), &Owners::new(), &manager("a"), &config, false).unwrap();
    let new = json!({"status": {"a": 1, "b": 3}});
    let owners = update(&owners, &manager("u"), &live, &new);
    let (live, _) = apply(&new, &owners, &manager("a"), &json!({"status": {}}), false).unwrap();
    assert_eq!(live, json!({"status": {"b": 3}}));
}

#[test]
fn a_list_that_is_a_map_has_each_key_once() {
    let twice = status(&[device("eth0", "True"), device("eth0", "False")]);
    let refused = apply(&json!({}), &Owners::new(), &manager("a"), &twice, true).unwrap_err();
    assert!(
        refused.starts_with(".status.devices: duplicate entries"),
        "{refused}"
    );
}
