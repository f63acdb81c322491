//! The talk's demo: its manifests, applied.
//!
//! Owns the way of a manifest into the API server. The manifests are the files that a user
//! applies to a real cluster, unchanged.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::apiserver::resource::{NAMESPACES, Resource};
use super::apiserver::store::{Key, Part, Store};

/// The device class.
pub const CLASS: &str = include_str!("../../../deploy/demo/deviceclass.yaml");
/// The claim template, sharing by capacity.
pub const TEMPLATE: &str = include_str!("../../../deploy/demo/claimtemplate.yaml");
/// The claim template as the talk had it, sharing by admin access.
pub const TEMPLATE_V1BETA1: &str = include_str!("../../../deploy/demo/claimtemplate-v1beta1.yaml");
/// The Deployment of 15 pods.
pub const DEPLOYMENT: &str = include_str!("../../../deploy/demo/deployment.yaml");

const BY: &str = "kubectl-client-side-apply";

/// Creates the object of a manifest.
pub fn apply(store: &Store, manifest: &str) -> Result<Value> {
    let object: Value = serde_saphyr::from_str(manifest).context("the manifest is no YAML")?;
    create(store, object)
}

/// The claim template of a manifest, with one wish more.
pub fn asking_for_flows(manifest: &str) -> Result<Value> {
    let mut template: Value =
        serde_saphyr::from_str(manifest).context("the manifest is no YAML")?;
    let parameters = "/spec/spec/devices/config/0/opaque/parameters";
    let parameters = template.pointer_mut(parameters);
    parameters.context("the template has no configuration")?["observe"] = json!({"flows": true});
    Ok(template)
}

/// Creates an object in its namespace, or in `default`.
pub fn create(store: &Store, object: Value) -> Result<Value> {
    let object = upgraded(object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let resource = Resource::by_kind(&api_version, &kind)
        .with_context(|| format!("no matches for kind {kind:?} in version {api_version:?}"))?;
    let namespace = match (
        resource.namespaced,
        object["metadata"]["namespace"].as_str(),
    ) {
        (false, _) => String::new(),
        (true, namespace) => namespace.unwrap_or("default").to_owned(),
    };
    Ok(store.create(resource, &namespace, object, BY)?)
}

/// Allows admin access to devices in `namespace`.
pub fn allow_admin_access(store: &Store, namespace: &str) -> Result<()> {
    let labels = json!({"resource.kubernetes.io/admin-access": "true"});
    let patch = json!({"metadata": {"labels": labels}});
    let key = Key::new(NAMESPACES, "", namespace);
    store.merge(NAMESPACES, &key, Part::Main, &patch, BY)?;
    Ok(())
}

/// A `v1beta1` object as the server stores it: what was in a request is in its `exactly`.
fn upgraded(mut object: Value) -> Value {
    if object["apiVersion"] != "resource.k8s.io/v1beta1" {
        return object;
    }
    object["apiVersion"] = "resource.k8s.io/v1".into();
    let requests = match object["kind"].as_str() {
        Some("ResourceClaimTemplate") => "/spec/spec/devices/requests",
        _ => "/spec/devices/requests",
    };
    let requests = object.pointer_mut(requests).and_then(Value::as_array_mut);
    for request in requests.into_iter().flatten() {
        if request["firstAvailable"].is_null() {
            let name = request["name"].take();
            let mut exactly = request.take();
            if let Some(fields) = exactly.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
            *request = json!({"name": name, "exactly": exactly});
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{TEMPLATE, TEMPLATE_V1BETA1, upgraded};

    #[test]
    fn both_templates_ask_for_the_same_but_for_the_way_of_sharing() {
        let new: Value = serde_saphyr::from_str(TEMPLATE).unwrap();
        let old: Value = serde_saphyr::from_str(TEMPLATE_V1BETA1).unwrap();
        let mut old = upgraded(old);
        let exactly = &mut old["spec"]["spec"]["devices"]["requests"][0]["exactly"];
        assert_eq!(exactly["adminAccess"].take(), true);
        exactly.as_object_mut().unwrap().remove("adminAccess");
        exactly["count"] = 1.into();
        assert_eq!(old, new);
    }
}
