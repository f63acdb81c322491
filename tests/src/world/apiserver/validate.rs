//! The rules that an object must keep.
//!
//! Owns what the real server's validation says of the objects that netclaim writes or reads.
//! Source: Kubernetes `pkg/apis/resource/validation`, `api/resource/v1/types.go`. It must never be
//! more lenient than that.

mod claim;
mod event;
mod slice;

pub(super) use claim::{asks_admin_access, drop_deallocated};

use serde_json::Value;

use super::failure::{Cause, Failure};
use super::resource::Resource;
use super::store::Feature;

/// Checks `object`, a new one or the successor of `old`.
pub(super) fn object(
    resource: &Resource,
    old: Option<&Value>,
    object: &Value,
) -> Result<(), Failure> {
    let mut causes = Causes::default();
    metadata(resource, object, &mut causes);
    match resource.kind {
        "ResourceSlice" => slice::check(old, object, &mut causes),
        "ResourceClaim" => claim::check(old, object, &mut causes),
        "ResourceClaimTemplate" => {
            claim::check_spec(&object["spec"]["spec"], "spec.spec", &mut causes);
        }
        "DeviceClass" => claim::check_class(&object["spec"], &mut causes),
        "Event" => event::check(resource, object, &mut causes),
        _ => {}
    }
    if causes.0.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let kind = match resource.group {
        "" => resource.kind.to_owned(),
        group => format!("{}.{group}", resource.kind),
    };
    Err(Failure::Invalid {
        kind,
        name: name.to_owned(),
        causes: causes.0,
    })
}

/// One missing field.
pub(super) fn required(field: &str, detail: &str) -> Vec<Cause> {
    let mut causes = Causes::default();
    causes.required(field, detail);
    causes.0
}

/// Drops what a server without `feature` does not know.
pub(super) fn drop_fields(resource: &Resource, feature: Feature, object: &mut Value) {
    match (resource.kind, feature) {
        ("ResourceSlice", Feature::ConsumableCapacity) => slice::drop_sharing(object),
        ("ResourceSlice", Feature::DeviceTaints) => slice::drop_taints(object),
        ("ResourceClaim", Feature::DeviceStatus) => claim::drop_devices(object),
        _ => {}
    }
}

/// The rules that an object breaks, with their places.
#[derive(Debug, Default)]
struct Causes(Vec<Cause>);

impl Causes {
    fn push(&mut self, field: &str, reason: &'static str, detail: String) {
        self.0.push(Cause {
            field: field.to_owned(),
            reason,
            detail,
        });
    }

    fn required(&mut self, field: &str, detail: &str) {
        let detail = format!("Required value: {detail}");
        self.push(
            field,
            "FieldValueRequired",
            detail.trim_end_matches(": ").to_owned(),
        );
    }

    fn invalid(&mut self, field: &str, value: &Value, detail: &str) {
        let detail = format!("Invalid value: {value}: {detail}");
        self.push(field, "FieldValueInvalid", detail);
    }

    fn unsupported(&mut self, field: &str, value: &Value, supported: &[&str]) {
        let detail = format!("Unsupported value: {value}: supported values: {supported:?}");
        self.push(field, "FieldValueNotSupported", detail);
    }

    fn duplicate(&mut self, field: &str, value: &Value) {
        self.push(
            field,
            "FieldValueDuplicate",
            format!("Duplicate value: {value}"),
        );
    }

    /// Checks that a list has at most `most` items.
    fn at_most(&mut self, field: &str, list: &Value, most: usize) {
        let found = list.as_array().map_or(0, Vec::len);
        if found > most {
            let detail = format!("Too many: {found}: must have at most {most} items");
            self.push(field, "FieldValueTooMany", detail);
        }
    }

    /// Checks that a value takes at most `most` bytes.
    fn at_most_bytes(&mut self, field: &str, length: usize, most: usize) {
        if length > most {
            let detail = format!("Too long: may not be more than {most} bytes");
            self.push(field, "FieldValueTooLong", detail);
        }
    }

    /// Checks a required name of at most `most` characters that consists of DNS labels.
    fn dns_subdomain(&mut self, field: &str, value: &Value, most: usize) {
        let text = value.as_str().unwrap_or_default();
        if text.is_empty() {
            self.required(field, "");
        } else if text.len() > most || !text.split('.').all(is_dns_label_text) {
            self.invalid(field, value, "must be a lowercase RFC 1123 subdomain");
        }
    }

    /// Checks a required DNS label.
    fn dns_label(&mut self, field: &str, value: &Value) {
        let text = value.as_str().unwrap_or_default();
        if text.is_empty() {
            self.required(field, "");
        } else if text.len() > 63 || !is_dns_label_text(text) {
            self.invalid(field, value, "must be a lowercase RFC 1123 label");
        }
    }

    /// Checks a pool: DNS subdomains, separated by slashes.
    fn pool(&mut self, field: &str, value: &Value) {
        let text = value.as_str().unwrap_or_default();
        if text.is_empty() {
            return self.required(field, "");
        }
        self.at_most_bytes(field, text.len(), 253);
        for part in text.split('/') {
            self.dns_subdomain(field, &part.into(), 253);
        }
    }
}

/// The items of a list, each with its path.
fn items<'a>(list: &'a Value, field: &str) -> Vec<(String, &'a Value)> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let with_path = |(index, item)| (format!("{field}[{index}]"), item);
    items.iter().enumerate().map(with_path).collect()
}

fn metadata(resource: &Resource, object: &Value, causes: &mut Causes) {
    let name = &object["metadata"]["name"];
    match resource.kind {
        "Namespace" => causes.dns_label("metadata.name", name),
        _ => causes.dns_subdomain("metadata.name", name, 253),
    }
}

/// Lowercase letters, digits and inner hyphens.
fn is_dns_label_text(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

/// `domain/name` or `name`, as attributes and capacities are named: a domain of at most 63
/// characters, and a C identifier of at most 32.
fn is_qualified_name(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let is_identifier = name.len() <= 32
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let domain_fits = |domain: &str| domain.len() <= 63 && domain.split('.').all(is_dns_label_text);
    is_identifier && domain.is_none_or(domain_fits)
}

#[cfg(test)]
mod tests;
