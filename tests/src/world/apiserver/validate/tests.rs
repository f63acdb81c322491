use serde_json::{Value, json};

use super::super::resource::{CLAIMS, CLASSES, Resource, SLICES};
use super::{is_qualified_name, object};

#[track_caller]
fn check(resource: &Resource, subject: &Value, expected: &[&str]) {
    let broken = match object(resource, None, subject) {
        Ok(()) => String::new(),
        Err(failure) => failure.to_string(),
    };
    for text in expected {
        assert!(broken.contains(text), "{text:?} is not in {broken:?}");
    }
    assert_eq!(broken.is_empty(), expected.is_empty(), "{broken}");
}

fn slice(devices: &Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": {
        "driver": "cni.dra.networking.x-k8s.io", "nodeName": "kind-worker",
        "pool": {"name": "kind-worker", "generation": 1, "resourceSliceCount": 1},
        "devices": devices}})
}

#[test]
fn slices_keep_their_limits() {
    let good = json!([{"name": "eth1", "allowMultipleAllocations": true,
        "attributes": {"name": {"string": "eth1"}},
        "capacity": {"maxVirtualDevices": {"value": "65535",
            "requestPolicy": {"default": "1", "validValues": ["1"]}}}}]);
    check(SLICES, &slice(&good), &[]);
    let many = |count: usize, device: &Value| -> Value {
        let devices = (0..count).map(|index| {
            let mut device = device.clone();
            device["name"] = format!("eth{index}").into();
            device
        });
        devices.collect::<Vec<_>>().into()
    };
    check(SLICES, &slice(&many(128, &json!({}))), &[]);
    check(
        SLICES,
        &slice(&many(129, &json!({}))),
        &["must have at most 128 items"],
    );
    let tainted =
        json!({"taints": [{"key": "netclaim.dev/link", "value": "down", "effect": "NoSchedule"}]});
    check(SLICES, &slice(&many(64, &tainted)), &[]);
    check(
        SLICES,
        &slice(&many(65, &tainted)),
        &["must have at most 64 items"],
    );
    let long = "x".repeat(65);
    check(
        SLICES,
        &slice(
            &json!([{"name": "Eth1", "attributes": {"a-b": {"string": long}, "c": {}},
            "taints": [{"key": "k", "effect": "Never"}],
            "capacity": {"n": {"value": "1", "requestPolicy": {"default": "2", "validValues": ["3", "1"]}}}}]),
        ),
        &[
            "spec.devices[0].name: Invalid value: \"Eth1\"",
            "attributes[a-b]: Invalid value",
            "attributes[a-b].string: Too long: may not be more than 64 bytes",
            "attributes[c]: Invalid value: {}: exactly one value must be specified",
            "taints[0].effect: Unsupported value: \"Never\"",
            "requestPolicy: Forbidden: must be null if `allowMultipleAllocations` is not true",
            "must not exceed the capacity",
            "must be sorted ascending",
            "must be among validValues",
        ],
    );
    check(
        SLICES,
        &slice(&json!([{"name": "a"}, {"name": "a"}])),
        &["Duplicate value: \"a\""],
    );
}

fn claim(device: &Value) -> Value {
    let results = json!([{"driver": "d", "pool": "p", "device": "eth1", "request": "r",
                          "shareID": "6fe1"}]);
    json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [
            {"name": "r", "exactly": {"deviceClassName": "class"}}]}},
        "status": {"allocation": {"devices": {"results": results}}, "devices": [device]}})
}

#[test]
fn the_status_of_devices_keeps_its_limits() {
    let condition = json!({"type": "Ready", "status": "True", "reason": "Attached", "message": "",
                           "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let device = |extra: Value| {
        let mut device = json!({"driver": "d", "pool": "p", "device": "eth1", "shareID": "6fe1",
                                "conditions": [condition]});
        for (name, value) in extra.as_object().unwrap() {
            device[name] = value.clone();
        }
        claim(&device)
    };
    check(
        CLAIMS,
        &device(json!({"networkData": {"ips": ["10.10.1.2/24", "fe80::1/64"]}})),
        &[],
    );
    check(
        CLAIMS,
        &device(json!({"shareID": "other"})),
        &["must be an allocated device in the claim"],
    );
    check(
        CLAIMS,
        &device(json!({"shareID": null})),
        &["must be an allocated device in the claim"],
    );
    check(
        CLAIMS,
        &device(json!({"data": {"x": "y".repeat(10 << 10)}})),
        &["data: Too long: may not be more than 10240 bytes"],
    );
    let ips: Vec<String> = (1..=17).map(|host| format!("10.10.1.{host}/24")).collect();
    check(
        CLAIMS,
        &device(json!({"networkData": {"ips": ips}})),
        &["at most 16 items"],
    );
    check(
        CLAIMS,
        &device(json!({"networkData": {"ips": ["10.10.1.2", "10.10.1.3/24", "10.10.1.3/24"]}})),
        &[
            "must be a valid address in CIDR form",
            "Duplicate value: \"10.10.1.3/24\"",
        ],
    );
    check(
        CLAIMS,
        &device(json!({"conditions": vec![condition.clone(); 9]})),
        &["at most 8 items"],
    );
    check(
        CLAIMS,
        &device(json!({"conditions": [{"type": "Ready", "status": "Yes", "reason": "no reason"}]})),
        &[
            "lastTransitionTime: Required value: must be set",
            "message: Required value",
            "status: Unsupported value: \"Yes\"",
            "reason: Invalid value: \"no reason\"",
        ],
    );
}

#[test]
fn classes_must_compile() {
    let class = |expression: &str| {
        json!({"metadata": {"name": "class"},
               "spec": {"selectors": [{"cel": {"expression": expression}}]}})
    };
    check(CLASSES, &class("device.driver == 'd'"), &[]);
    check(
        CLASSES,
        &class("device.driver =="),
        &["spec.selectors[0].cel.expression: Invalid value"],
    );
}

#[test]
fn names_of_attributes() {
    for (name, good) in [
        ("name", true),
        ("cni.dra.networking.x-k8s.io/name", true),
        ("resource.kubernetes.io/pcieRoot", true),
        ("a-b", false),
        ("1a", false),
        ("/a", false),
        ("", false),
        ("abcdefghijabcdefghijabcdefghijabc", false),
    ] {
        assert_eq!(is_qualified_name(name), good, "{name}");
    }
}
