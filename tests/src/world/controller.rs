//! The controllers: a Deployment's pods, a template's claims, and what of them ends.
//!
//! Owns what kube-controller-manager does for the demo, when it is asked and not by watching, so
//! that a test knows what has been done.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::apiserver::resource::{CLAIMS, PODS, TEMPLATES};
use super::apiserver::store::{Key, Part, Store};
use super::id;

const BY: &str = "kube-controller-manager";

/// Makes the pods of a Deployment.
pub fn expand(store: &Store, deployment: &Value) -> Result<Vec<Value>> {
    let name = deployment["metadata"]["name"]
        .as_str()
        .context("a deployment without a name")?;
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let generate_name = format!("{name}-{}-", id::suffix());
    (0..replicas)
        .map(|_| replica(store, deployment, &generate_name))
        .collect()
}

/// Makes one more pod of a Deployment, named as `generate_name` says.
pub fn replica(store: &Store, deployment: &Value, generate_name: &str) -> Result<Value> {
    let namespace = deployment["metadata"]["namespace"].as_str();
    let mut pod = deployment["spec"]["template"].clone();
    pod["metadata"]["generateName"] = generate_name.into();
    Ok(store.create(PODS, namespace.unwrap_or("default"), pod, BY)?)
}

/// The claims of a pod; those from a template are made if they are not there.
pub fn claims_of(store: &Store, pod: &Value) -> Result<Vec<Value>> {
    let wanted = pod["spec"]["resourceClaims"].as_array();
    let wanted = wanted.map(Vec::as_slice).unwrap_or_default();
    let (namespace, pod_name) = place(pod);
    let mut statuses = Vec::new();
    let mut claims = Vec::new();
    for entry in wanted {
        let claim = match entry["resourceClaimName"].as_str() {
            Some(name) => store.get(CLAIMS, namespace, name)?,
            None => generated(store, pod, entry)?,
        };
        statuses.push(json!({"name": entry["name"],
                             "resourceClaimName": claim["metadata"]["name"]}));
        claims.push(claim);
    }
    store.edit(PODS, namespace, pod_name, Part::Status, BY, |pod| {
        pod["status"]["resourceClaimStatuses"] = statuses.into();
    })?;
    Ok(claims)
}

fn generated(store: &Store, pod: &Value, entry: &Value) -> Result<Value> {
    let (namespace, pod_name) = place(pod);
    let entry_name = entry["name"].as_str().unwrap_or_default();
    let owner = &pod["metadata"]["uid"];
    let made = store.all(CLAIMS).into_iter().find(|claim| {
        claim["metadata"]["ownerReferences"][0]["uid"] == *owner
            && claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"]
                == entry_name
    });
    if let Some(made) = made {
        return Ok(made);
    }
    let template = entry["resourceClaimTemplateName"].as_str();
    let template = template.context("a pod's claim needs a name or a template")?;
    let template = store.get(TEMPLATES, namespace, template)?;
    let claim = json!({
        "metadata": {
            "generateName": format!("{pod_name}-{entry_name}-"),
            "annotations": {"resource.kubernetes.io/pod-claim-name": entry_name},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": owner,
                                 "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": template["spec"]["spec"],
    });
    Ok(store.create(CLAIMS, namespace, claim, BY)?)
}

/// Frees the claims of a pod that is gone: nobody reserves them, the devices are free, and those
/// that the pod owned are deleted.
pub fn release(store: &Store, pod: &Value) -> Result<()> {
    let owner = &pod["metadata"]["uid"];
    for claim in store.all(CLAIMS) {
        let consumers = claim["status"]["reservedFor"].as_array();
        let is_ours = |consumer: &Value| consumer["uid"] == *owner;
        if consumers.is_some_and(|consumers| consumers.iter().any(is_ours)) {
            release_claim(store, &claim, owner)?;
        }
    }
    Ok(())
}

fn release_claim(store: &Store, claim: &Value, owner: &Value) -> Result<()> {
    let (namespace, name) = place(claim);
    let claim = store.edit(CLAIMS, namespace, name, Part::Status, BY, |claim| {
        let consumers = claim["status"]["reservedFor"].as_array_mut();
        if let Some(consumers) = consumers {
            consumers.retain(|consumer| consumer["uid"] != *owner);
            if consumers.is_empty()
                && let Some(status) = claim["status"].as_object_mut()
            {
                status.remove("allocation");
                status.remove("reservedFor");
            }
        }
    })?;
    if !claim["status"]["allocation"].is_null() {
        return Ok(());
    }
    store.edit(CLAIMS, namespace, name, Part::Main, BY, |claim| {
        claim["metadata"]["finalizers"] = json!([]);
    })?;
    if claim["metadata"]["ownerReferences"][0]["uid"] == *owner {
        store.delete(CLAIMS, &Key::new(CLAIMS, namespace, name), true)?;
    }
    Ok(())
}

/// An object's namespace and name.
pub fn place(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}
