//! The rules of `ResourceSlice`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Causes, is_qualified_name, items};

/// Devices in a slice, and where one of them has taints.
const DEVICES: usize = 128;
const DEVICES_WITH_TAINTS: usize = 64;
/// Attributes and capacities of a device, together.
const ATTRIBUTES: usize = 32;
/// Bytes of an attribute's string.
const STRING: usize = 64;

pub(super) fn check(old: Option<&Value>, object: &Value, causes: &mut Causes) {
    let spec = &object["spec"];
    causes.dns_subdomain("spec.driver", &spec["driver"], 63);
    causes.pool("spec.pool.name", &spec["pool"]["name"]);
    if spec["pool"]["resourceSliceCount"]
        .as_i64()
        .unwrap_or_default()
        < 1
    {
        let count = &spec["pool"]["resourceSliceCount"];
        causes.invalid(
            "spec.pool.resourceSliceCount",
            count,
            "must be greater than zero",
        );
    }
    let places = [
        "nodeName",
        "nodeSelector",
        "allNodes",
        "perDeviceNodeSelection",
    ];
    if places
        .iter()
        .filter(|place| !spec[**place].is_null())
        .count()
        != 1
    {
        let detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, \
                      `perDeviceNodeSelection` is required";
        causes.required("spec", detail);
    }
    if let Some(old) = old {
        for field in ["nodeName", "driver"] {
            unchanged(
                &old["spec"][field],
                &spec[field],
                &format!("spec.{field}"),
                causes,
            );
        }
        let pool = (&old["spec"]["pool"]["name"], &spec["pool"]["name"]);
        unchanged(pool.0, pool.1, "spec.pool.name", causes);
    }
    check_devices(&spec["devices"], causes);
}

fn unchanged(old: &Value, new: &Value, field: &str, causes: &mut Causes) {
    if old != new {
        causes.invalid(field, new, "field is immutable");
    }
}

fn check_devices(devices: &Value, causes: &mut Causes) {
    let has_taints = |device: &&Value| device["taints"].as_array().is_some_and(|t| !t.is_empty());
    let all = devices.as_array().map(Vec::as_slice).unwrap_or_default();
    let most = match all.iter().find(has_taints) {
        Some(_) => DEVICES_WITH_TAINTS,
        None => DEVICES,
    };
    causes.at_most("spec.devices", devices, most);
    let mut names = BTreeSet::new();
    for (field, device) in items(devices, "spec.devices") {
        causes.dns_label(&format!("{field}.name"), &device["name"]);
        if !names.insert(device["name"].as_str()) {
            causes.duplicate(&format!("{field}.name"), &device["name"]);
        }
        check_device(&field, device, causes);
    }
}

fn check_device(field: &str, device: &Value, causes: &mut Causes) {
    let nothing = Map::new();
    let attributes = device["attributes"].as_object().unwrap_or(&nothing);
    let capacity = device["capacity"].as_object().unwrap_or(&nothing);
    let found = attributes.len() + capacity.len();
    if found > ATTRIBUTES {
        let detail = format!(
            "Too many: {found}: the total number of attributes and capacities must not exceed {ATTRIBUTES}"
        );
        causes.push(field, "FieldValueTooMany", detail);
    }
    for (name, value) in attributes {
        let field = format!("{field}.attributes[{name}]");
        qualified_name(&field, name, causes);
        check_attribute(&field, value, causes);
    }
    let is_shared = device["allowMultipleAllocations"] == true;
    for (name, value) in capacity {
        let field = format!("{field}.capacity[{name}]");
        qualified_name(&field, name, causes);
        check_capacity(&field, value, is_shared, causes);
    }
    check_taints(&format!("{field}.taints"), &device["taints"], causes);
}

fn qualified_name(field: &str, name: &str, causes: &mut Causes) {
    if !is_qualified_name(name) {
        let detail = "must be a C identifier of at most 32 characters, after a domain of at most 63 \
                      and a slash, or alone";
        causes.invalid(field, &name.into(), detail);
    }
}

fn check_attribute(field: &str, value: &Value, causes: &mut Causes) {
    let kinds = ["bool", "int", "string", "version"];
    if kinds.iter().filter(|kind| !value[**kind].is_null()).count() != 1 {
        return causes.invalid(field, value, "exactly one value must be specified");
    }
    for kind in ["string", "version"] {
        let length = value[kind].as_str().map_or(0, str::len);
        causes.at_most_bytes(&format!("{field}.{kind}"), length, STRING);
    }
}

fn check_capacity(field: &str, capacity: &Value, is_shared: bool, causes: &mut Causes) {
    let Some(value) = quantity(&capacity["value"]) else {
        return causes.invalid(
            &format!("{field}.value"),
            &capacity["value"],
            "must be a quantity",
        );
    };
    let policy = &capacity["requestPolicy"];
    if policy.is_null() {
        return;
    }
    let field = format!("{field}.requestPolicy");
    if !is_shared {
        let detail = "must be null if `allowMultipleAllocations` is not true";
        causes.push(
            &field,
            "FieldValueForbidden",
            format!("Forbidden: {detail}"),
        );
    }
    let default = quantity(&policy["default"]);
    match default {
        None => causes.required(&format!("{field}.default"), "required with validValues"),
        Some(default) if default > value => causes.invalid(
            &format!("{field}.default"),
            &policy["default"],
            "must not exceed the capacity",
        ),
        Some(_) => {}
    }
    let valid = &policy["validValues"];
    causes.at_most(&format!("{field}.validValues"), valid, 10);
    let values: Vec<_> = items(valid, "")
        .iter()
        .map(|(_, value)| quantity(value))
        .collect();
    if !values.is_sorted() {
        causes.invalid(
            &format!("{field}.validValues"),
            valid,
            "must be sorted ascending",
        );
    }
    if !values.is_empty() && !values.contains(&default) {
        let field = format!("{field}.default");
        causes.invalid(&field, &policy["default"], "must be among validValues");
    }
}

/// A plain count: the only quantity that netclaim publishes.
fn quantity(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn check_taints(field: &str, taints: &Value, causes: &mut Causes) {
    causes.at_most(field, taints, 16);
    for (field, taint) in items(taints, field) {
        if !taint["key"].as_str().is_some_and(is_label_name) {
            causes.invalid(
                &format!("{field}.key"),
                &taint["key"],
                "must be a label name",
            );
        }
        let effects = ["NoSchedule", "NoExecute", "None"];
        if !taint["effect"]
            .as_str()
            .is_some_and(|effect| effects.contains(&effect))
        {
            causes.unsupported(&format!("{field}.effect"), &taint["effect"], &effects);
        }
        let value = taint["value"].as_str().unwrap_or_default();
        if value.len() > 63 {
            causes.invalid(
                &format!("{field}.value"),
                &taint["value"],
                "must be a label value",
            );
        }
    }
}

fn is_label_name(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 63 && name.bytes().all(allowed)
}

pub(super) fn drop_sharing(object: &mut Value) {
    for device in devices(object) {
        device.remove("allowMultipleAllocations");
        let capacities = device.get_mut("capacity").and_then(Value::as_object_mut);
        for capacity in capacities.into_iter().flatten() {
            if let Some(capacity) = capacity.1.as_object_mut() {
                capacity.remove("requestPolicy");
            }
        }
    }
}

pub(super) fn drop_taints(object: &mut Value) {
    for device in devices(object) {
        device.remove("taints");
    }
}

fn devices(object: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let devices = object["spec"]["devices"].as_array_mut();
    devices
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}
