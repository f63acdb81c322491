//! The rules of `Event`.
//!
//! Source: Kubernetes `pkg/apis/core/validation/events.go`.

use serde_json::Value;

use super::super::resource::Resource;
use super::Causes;

pub(super) fn check(resource: &Resource, event: &Value, causes: &mut Causes) {
    let about = if resource.group.is_empty() {
        "involvedObject"
    } else {
        "regarding"
    };
    let namespace = event[about]["namespace"].as_str().unwrap_or("default");
    if event["metadata"]["namespace"] != namespace {
        let field = format!("{about}.namespace");
        causes.invalid(&field, &namespace.into(), "does not match event.namespace");
    }
    if resource.group.is_empty() {
        return;
    }
    if event["eventTime"].is_null() {
        causes.required("eventTime", "");
    }
    for (field, most) in [
        ("reportingController", 253),
        ("reportingInstance", 128),
        ("action", 128),
        ("reason", 128),
    ] {
        let text = event[field].as_str().unwrap_or_default();
        if text.is_empty() {
            causes.required(field, "");
        }
        causes.at_most_bytes(field, text.len(), most);
    }
    let note = event["note"].as_str().unwrap_or_default();
    causes.at_most_bytes("note", note.len(), 1024);
    let kinds = ["Normal", "Warning"];
    if !event["type"]
        .as_str()
        .is_some_and(|kind| kinds.contains(&kind))
    {
        causes.unsupported("type", &event["type"], &kinds);
    }
}
