use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cni::SpecVersion;

fn list(change: impl FnOnce(&mut Value)) -> Value {
    let mut value = json!({
        "cniVersion": "1.0.0",
        "name": "storage",
        "plugins": [{"type": "macvlan", "master": "eth1"}],
    });
    change(&mut value);
    value
}

#[test]
fn a_list_is_written_as_it_was_read() {
    let value = json!({
        "cniVersion": "0.4.0",
        "cniVersions": ["0.3.1", "1.1.0", "9.0.0"],
        "name": "storage",
        "disableCheck": true,
        "disableGC": true,
        "loadOnlyInlinedPlugins": true,
        "vendor": {"deep": [1, 2.5, null]},
        "plugins": [
            {"type": "macvlan", "master": "eth1", "mtu": 18_446_744_073_709_551_615_u64,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}]]}},
            {"type": "tuning", "capabilities": {"mac": true, "mtu": false}, "sysctl": {}},
        ],
    });
    let list = ConfList::parse(&value).unwrap();
    assert_eq!(Value::from(list.clone()), value);
    assert_eq!(serde_json::from_value::<ConfList>(value).unwrap(), list);
    assert_eq!(list.name(), "storage");
    assert_eq!(list.version(), SpecVersion::V1_1_0);
    let [macvlan, tuning] = list.plugins() else {
        panic!("{list:?}")
    };
    assert_eq!(macvlan.plugin_type(), "macvlan");
    assert_eq!(macvlan.ipam_type(), Some("host-local"));
    assert_eq!(tuning.capabilities().collect::<Vec<_>>(), ["mac"]);
    assert_eq!(tuning.ipam_type(), None);
}

#[test]
fn switches_are_read_as_libcni_reads_them() {
    for (written, expected) in [
        (json!(true), true),
        (json!("TRUE"), true),
        (json!("false"), false),
        (Value::Null, false),
    ] {
        let value = list(|list| list["disableGC"] = written.clone());
        assert_eq!(
            ConfList::parse(&value).unwrap().disable_gc,
            expected,
            "{written}"
        );
    }
}

#[test]
fn a_refusal_says_where_and_what() {
    #[track_caller]
    fn check(value: &Value, expected: &str) {
        assert_eq!(ConfList::parse(value).unwrap_err().to_string(), expected);
    }
    const NAME_WANTED: &str =
        "expected letters, digits, `_`, `.` and `-`, beginning with a letter or digit";
    let wants_name = |path: &str, found: &str| format!("{path}: found {found}, {NAME_WANTED}");
    check(&json!([1]), "config: found a list, expected an object");
    check(
        &list(|l| l["cniVersion"] = json!(1)),
        "cniVersion: found 1, expected a string",
    );
    check(
        &list(|l| l["cniVersion"] = json!("0.2.0")),
        "cniVersion: found 0.2.0, expected one of 0.3.1, 0.4.0, 1.0.0, 1.1.0",
    );
    check(
        &list(|l| l["cniVersion"] = Value::Null),
        "cniVersion: found nothing, expected one of 0.3.1, 0.4.0, 1.0.0, 1.1.0",
    );
    check(
        &list(|l| l["cniVersions"] = json!(["1.0.0", true])),
        "cniVersions[1]: found true, expected a string",
    );
    check(
        &list(|l| l["name"] = json!("../x")),
        &wants_name("name", "\"../x\""),
    );
    check(
        &list(|l| l["name"] = Value::Null),
        &wants_name("name", "nothing"),
    );
    check(
        &list(|l| l["disableCheck"] = json!("yes")),
        "disableCheck: found \"yes\", expected true or false",
    );
    check(
        &list(|l| l["plugins"] = json!([])),
        "plugins: found an empty list, expected a list of at least one plugin",
    );
    check(
        &list(|l| l["plugins"] = Value::Null),
        "plugins: found nothing, expected a list of at least one plugin",
    );
    check(
        &list(|l| l["plugins"] = json!({})),
        "plugins: found an object, expected a list",
    );
    check(
        &list(|l| l["plugins"][0] = json!("macvlan")),
        "plugins[0]: found \"macvlan\", expected an object",
    );
    check(
        &list(|l| l["plugins"][0]["type"] = json!("/bin/sh")),
        &wants_name("plugins[0].type", "\"/bin/sh\""),
    );
    check(
        &list(|l| l["plugins"][0]["type"] = Value::Null),
        &wants_name("plugins[0].type", "nothing"),
    );
    check(
        &list(|l| l["plugins"][0]["capabilities"] = json!({"mac": 1})),
        "plugins[0].capabilities.mac: found 1, expected true or false",
    );
    check(
        &json!({"cniVersion": "1.0.0", "name": "a", "type": "macvlan"}),
        "found a single plugin's configuration (type \"macvlan\"), expected a list: put it into {\"cniVersion\": \"1.0.0\", \"name\": \"…\", \"plugins\": [ … ]}",
    );
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(text in r#"[\[\]{}":,a-z0-9. ]{0,60}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = ConfList::parse(&value);
        }
    }

    #[test]
    fn any_value_of_any_field_is_kept_or_refused(field in field(), value in json_value()) {
        let value = list(|list| list[field] = value);
        if let Ok(read) = ConfList::parse(&value) {
            let written = Value::from(read.clone());
            prop_assert_eq!(ConfList::parse(&written).unwrap(), read);
        }
    }
}

fn field() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "cniVersion",
        "cniVersions",
        "name",
        "disableCheck",
        "disableGC",
        "plugins",
        "type",
        "other",
    ])
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./]{0,6}".prop_map(Value::from),
        Just(json!("1.1.0")),
        Just(json!({"type": "x", "capabilities": {"mac": true}})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}|type", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
