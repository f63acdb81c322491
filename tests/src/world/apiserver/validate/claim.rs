//! The rules of `ResourceClaim`, its template and its class.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::{Causes, items};

/// Bytes of a config's parameters and of a device's `data`.
const PARAMETERS: usize = 10 << 10;

pub(super) fn check(old: Option<&Value>, object: &Value, causes: &mut Causes) {
    check_spec(&object["spec"], "spec", causes);
    let status = &object["status"];
    if let Some(old) = old {
        if old["spec"] != object["spec"] {
            causes.invalid("spec", &object["spec"], "field is immutable");
        }
        let before = &old["status"]["allocation"];
        if !before.is_null() && !status["allocation"].is_null() && *before != status["allocation"] {
            causes.invalid(
                "status.allocation",
                &status["allocation"],
                "field is immutable",
            );
        }
    }
    causes.at_most("status.reservedFor", &status["reservedFor"], 256);
    check_devices(&status["devices"], &status["allocation"], causes);
}

pub(super) fn check_spec(spec: &Value, field: &str, causes: &mut Causes) {
    let devices = &spec["devices"];
    let field = format!("{field}.devices");
    causes.at_most(&format!("{field}.requests"), &devices["requests"], 32);
    causes.at_most(&format!("{field}.config"), &devices["config"], 32);
    let mut names = BTreeSet::new();
    for (field, request) in items(&devices["requests"], &format!("{field}.requests")) {
        causes.dns_label(&format!("{field}.name"), &request["name"]);
        if !names.insert(request["name"].as_str().unwrap_or_default()) {
            causes.duplicate(&format!("{field}.name"), &request["name"]);
        }
        check_request(&field, request, causes);
    }
    for (field, config) in items(&devices["config"], &format!("{field}.config")) {
        check_config(&field, config, causes);
        for (field, request) in items(&config["requests"], &format!("{field}.requests")) {
            let name = request.as_str().unwrap_or_default();
            if !names.contains(name.split('/').next().unwrap_or_default()) {
                causes.invalid(
                    &field,
                    request,
                    "must be the name of a request in the claim",
                );
            }
        }
    }
}

fn check_request(field: &str, request: &Value, causes: &mut Causes) {
    let (exactly, first) = (&request["exactly"], &request["firstAvailable"]);
    causes.at_most(&format!("{field}.firstAvailable"), first, 8);
    if exactly.is_null() == first.is_null() {
        let detail = "exactly one of `exactly` or `firstAvailable` is required";
        return causes.required(field, detail);
    }
    let mut alternatives = items(first, &format!("{field}.firstAvailable"));
    if !exactly.is_null() {
        alternatives.push((format!("{field}.exactly"), exactly));
    }
    for (field, request) in alternatives {
        causes.dns_subdomain(
            &format!("{field}.deviceClassName"),
            &request["deviceClassName"],
            253,
        );
        check_selectors(&format!("{field}.selectors"), &request["selectors"], causes);
        let mode = &request["allocationMode"];
        if !mode.is_null() && mode != "ExactCount" && mode != "All" {
            causes.unsupported(
                &format!("{field}.allocationMode"),
                mode,
                &["All", "ExactCount"],
            );
        }
        causes.at_most(&format!("{field}.tolerations"), &request["tolerations"], 16);
    }
}

pub(super) fn check_class(spec: &Value, causes: &mut Causes) {
    check_selectors("spec.selectors", &spec["selectors"], causes);
    causes.at_most("spec.config", &spec["config"], 32);
    for (field, config) in items(&spec["config"], "spec.config") {
        check_config(&field, config, causes);
    }
}

fn check_selectors(field: &str, selectors: &Value, causes: &mut Causes) {
    causes.at_most(field, selectors, 32);
    for (field, selector) in items(selectors, field) {
        let field = format!("{field}.cel.expression");
        let expression = selector["cel"]["expression"].as_str().unwrap_or_default();
        causes.at_most_bytes(&field, expression.len(), PARAMETERS);
        if let Err(error) = cel::Program::compile(expression) {
            let detail = format!("compilation failed: {error}");
            causes.invalid(&field, &expression.into(), &detail);
        }
    }
}

fn check_config(field: &str, config: &Value, causes: &mut Causes) {
    let opaque = &config["opaque"];
    if opaque.is_null() {
        return causes.required(&format!("{field}.opaque"), "");
    }
    causes.dns_subdomain(&format!("{field}.opaque.driver"), &opaque["driver"], 63);
    let (field, parameters) = (format!("{field}.opaque.parameters"), &opaque["parameters"]);
    if !parameters.is_object() {
        causes.invalid(&field, parameters, "must be a valid JSON object");
    }
    causes.at_most_bytes(&field, parameters.to_string().len(), PARAMETERS);
}

fn check_devices(devices: &Value, allocation: &Value, causes: &mut Causes) {
    let results = items(&allocation["devices"]["results"], "");
    let mut seen = BTreeSet::new();
    for (field, device) in items(devices, "status.devices") {
        let id = identity(device);
        if !seen.insert(id) {
            causes.duplicate(&field, &Value::from(id.to_vec()));
        }
        if !results.iter().any(|(_, result)| identity(result) == id) {
            let detail = "must be an allocated device in the claim";
            causes.invalid(&field, &Value::from(id.to_vec()), detail);
        }
        let length = match &device["data"] {
            Value::Null => 0,
            data => data.to_string().len(),
        };
        causes.at_most_bytes(&format!("{field}.data"), length, PARAMETERS);
        check_conditions(
            &format!("{field}.conditions"),
            &device["conditions"],
            causes,
        );
        check_network(
            &format!("{field}.networkData"),
            &device["networkData"],
            causes,
        );
    }
}

/// Driver, pool, device and share of a result, or of its status.
fn identity(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| device[field].as_str().unwrap_or_default())
}

fn check_conditions(field: &str, conditions: &Value, causes: &mut Causes) {
    causes.at_most(field, conditions, 8);
    let mut kinds = BTreeSet::new();
    for (field, condition) in items(conditions, field) {
        for required in ["type", "reason", "lastTransitionTime"] {
            if condition[required].as_str().is_none_or(str::is_empty) {
                causes.required(&format!("{field}.{required}"), "must be set");
            }
        }
        if !kinds.insert(condition["type"].as_str()) {
            causes.duplicate(&format!("{field}.type"), &condition["type"]);
        }
        let states = ["True", "False", "Unknown"];
        if !condition["status"]
            .as_str()
            .is_some_and(|status| states.contains(&status))
        {
            causes.unsupported(&format!("{field}.status"), &condition["status"], &states);
        }
        let reason = condition["reason"].as_str().unwrap_or_default();
        if !is_reason(reason) {
            let detail =
                "must start with a letter, and have letters, digits, '_', ',' and ':' only";
            causes.invalid(&format!("{field}.reason"), &reason.into(), detail);
        }
        let message = condition["message"].as_str();
        match message {
            None => causes.required(&format!("{field}.message"), ""),
            Some(text) => causes.at_most_bytes(&format!("{field}.message"), text.len(), 32 << 10),
        }
    }
}

fn is_reason(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte);
    text.len() <= 1024
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with([',', ':'])
        && text.bytes().all(allowed)
}

fn check_network(field: &str, network: &Value, causes: &mut Causes) {
    let length = |name: &str| network[name].as_str().map_or(0, str::len);
    causes.at_most_bytes(
        &format!("{field}.interfaceName"),
        length("interfaceName"),
        256,
    );
    causes.at_most_bytes(
        &format!("{field}.hardwareAddress"),
        length("hardwareAddress"),
        128,
    );
    causes.at_most(&format!("{field}.ips"), &network["ips"], 16);
    let mut seen = BTreeSet::new();
    for (field, ip) in items(&network["ips"], &format!("{field}.ips")) {
        let text = ip.as_str().unwrap_or_default();
        if !is_canonical_cidr(text) {
            causes.invalid(
                &field,
                ip,
                "must be a valid address in CIDR form, (e.g. 10.9.8.7/24)",
            );
        }
        if !seen.insert(text) {
            causes.duplicate(&field, ip);
        }
    }
}

/// An address with its prefix length, written as Go writes it.
fn is_canonical_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let Ok(parsed) = address.parse::<IpAddr>() else {
        return false;
    };
    let most = if parsed.is_ipv4() { 32 } else { 128 };
    let in_range = length.parse::<u8>().is_ok_and(|length| length <= most);
    parsed.to_string() == address && in_range
}

/// Whether a claim or a template asks for admin access.
pub(in super::super) fn asks_admin_access(object: &Value) -> bool {
    [&object["spec"], &object["spec"]["spec"]]
        .into_iter()
        .flat_map(|spec| items(&spec["devices"]["requests"], ""))
        .any(|(_, request)| request["exactly"]["adminAccess"] == true)
}

/// Drops the status of devices whose claim is not allocated any more, as the server does.
pub(in super::super) fn drop_deallocated(old: &Value, object: &mut Value) {
    let is_allocated = |claim: &Value| !claim["status"]["allocation"].is_null();
    if is_allocated(old) && !is_allocated(object) {
        drop_devices(object);
    }
}

pub(super) fn drop_devices(object: &mut Value) {
    if let Some(status) = object["status"].as_object_mut() {
        status.remove("devices");
    }
}
