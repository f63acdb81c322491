//! What a claim's status says in the talk, but for what differs from pod to pod.
//!
//! Owns the comparison with the file beside the talk's manifests, where a reader finds it.

use serde_json::{Map, Value};

/// A device's status, with words in capitals for what each pod has of its own.
pub const STATUS: &str = include_str!("../../../deploy/demo/claim-status.yaml");

/// How a status differs from the talk's.
pub fn finding(claim: &str, status: &Value) -> Option<String> {
    let golden: Value = match serde_saphyr::from_str(STATUS) {
        Ok(golden) => golden,
        Err(error) => return Some(format!("claim-status.yaml is no YAML: {error}")),
    };
    let found = general(status);
    let mut differences = Vec::new();
    compare("", &golden, &found, &mut differences);
    let differences = differences.join("; ");
    (!differences.is_empty()).then(|| format!("status of claim {claim}: {differences}"))
}

/// Whether the interface came after a container had started.
pub fn is_late(status: &Value) -> bool {
    status["conditions"][0]["reason"] == "AttachedLate"
}

fn compare(path: &str, golden: &Value, found: &Value, differences: &mut Vec<String>) {
    match (golden, found) {
        (Value::Object(golden), Value::Object(found)) => {
            for key in golden
                .keys()
                .chain(found.keys().filter(|key| !golden.contains_key(*key)))
            {
                let of = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                compare(
                    &format!("{path}.{key}"),
                    &of(golden),
                    &of(found),
                    differences,
                );
            }
        }
        (Value::Array(golden), Value::Array(found)) if golden.len() == found.len() => {
            for (index, (golden, found)) in golden.iter().zip(found).enumerate() {
                compare(&format!("{path}[{index}]"), golden, found, differences);
            }
        }
        _ if golden == found => {}
        _ => differences.push(format!("{path} is {found}, in the talk {golden}")),
    }
}

/// A status with words for what differs from pod to pod. An interface that came late (the driver
/// was away when the sandbox did) is as good as any other here.
fn general(status: &Value) -> Value {
    let network = &status["networkData"];
    let mut words: Vec<(String, &str)> = Vec::new();
    let mut word = |value: &Value, word: &'static str| {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            words.push((text.to_owned(), word));
        }
    };
    word(&network["hardwareAddress"], "MAC");
    word(&network["ips"][0], "ADDRESS/24");
    word(&status["shareID"], "SHARE");
    for interface in status["data"]["interfaces"]
        .as_array()
        .into_iter()
        .flatten()
    {
        word(&interface["sandbox"], "NETNS");
    }
    for condition in status["conditions"].as_array().into_iter().flatten() {
        word(&condition["lastTransitionTime"], "TIME");
    }
    let mut status = status.clone();
    replace(&mut status, &words);
    if is_late(&status) {
        status["conditions"][0]["reason"] = "Attached".into();
        status["conditions"][0]["message"] = "the interface is in the pod".into();
    }
    status
}

fn replace(value: &mut Value, words: &[(String, &str)]) {
    match value {
        Value::String(text) => {
            if let Some((_, word)) = words.iter().find(|(of, _)| of == text) {
                *text = (*word).to_owned();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, words)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace(value, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
