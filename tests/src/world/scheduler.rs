//! The scheduler: gives claims their devices, and pods their node.
//!
//! Owns allocation: first node, first device that fits. It must never allocate what the real
//! scheduler would not; what it does not know (constraints, `All`) it refuses in words.

mod expression;
mod offer;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::apiserver::resource::{CLAIMS, CLASSES, NODES, PODS};
use super::apiserver::store::{Part, Store};
use super::controller;
use super::id;
use offer::{Offer, Offers};

const BY: &str = "kube-scheduler";

/// Gives the pod's claims devices of one node, and binds the pod to it.
pub fn schedule(store: &Store, pod: &Value) -> Result<Value> {
    let claims = controller::claims_of(store, pod)?;
    let mut refusals = Vec::new();
    for node in nodes(store, pod) {
        match allocate_all(store, &claims, &node) {
            Ok(allocations) => {
                for (claim, allocation) in claims.iter().zip(allocations) {
                    reserve(store, claim, allocation, pod)?;
                }
                return bind(store, pod, &node);
            }
            Err(error) => refusals.push(format!("{node}: {error:#}")),
        }
    }
    bail!(
        "0/{} nodes are available: {}",
        refusals.len(),
        refusals.join("; ")
    )
}

fn nodes(store: &Store, pod: &Value) -> Vec<String> {
    let wanted = pod["spec"]["nodeSelector"]["kubernetes.io/hostname"].as_str();
    let names = store.all(NODES).into_iter();
    names
        .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
        .filter(|name| wanted.is_none_or(|wanted| wanted == name))
        .collect()
}

fn bind(store: &Store, pod: &Value, node: &str) -> Result<Value> {
    let (namespace, name) = controller::place(pod);
    Ok(store.edit(PODS, namespace, name, Part::Main, BY, |pod| {
        pod["spec"]["nodeName"] = node.into();
    })?)
}

/// The allocation of each claim on `node`; a claim that has one keeps it.
fn allocate_all(store: &Store, claims: &[Value], node: &str) -> Result<Vec<Value>> {
    let mut offers = Offers::of_node(store, node);
    let mut allocations = Vec::new();
    for claim in claims {
        let existing = &claim["status"]["allocation"];
        if existing.is_null() {
            allocations.push(allocate(store, &mut offers, claim, node)?);
            continue;
        }
        let there =
            &existing["nodeSelector"]["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
        ensure!(there == node, "the claim is allocated on {there}");
        allocations.push(existing.clone());
    }
    Ok(allocations)
}

fn allocate(store: &Store, offers: &mut Offers, claim: &Value, node: &str) -> Result<Value> {
    let devices = &claim["spec"]["devices"];
    ensure!(
        devices["constraints"].is_null(),
        "the world's scheduler does not know constraints"
    );
    let (mut results, mut config) = (Vec::new(), Vec::new());
    for request in list(&devices["requests"]) {
        let (name, chosen, found) = first_available(store, offers, request)?;
        results.extend(found);
        let class = class(store, &chosen)?;
        for entry in list(&class["spec"]["config"]) {
            config.push(json!({"source": "FromClass", "requests": [name],
                               "opaque": entry["opaque"]}));
        }
    }
    for entry in list(&devices["config"]) {
        let mut entry = entry.clone();
        entry["source"] = "FromClaim".into();
        config.push(entry);
    }
    Ok(json!({
        "devices": {"results": results, "config": config},
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}]}]},
    }))
}

/// The name under which a request is met, what of it, and by which devices.
fn first_available(
    store: &Store,
    offers: &mut Offers,
    request: &Value,
) -> Result<(String, Value, Vec<Value>)> {
    let name = request["name"].as_str().unwrap_or_default();
    if !request["exactly"].is_null() {
        let found = take(store, offers, name, &request["exactly"])?;
        return Ok((name.to_owned(), request["exactly"].clone(), found));
    }
    let mut refusals = Vec::new();
    for alternative in list(&request["firstAvailable"]) {
        let name = format!(
            "{name}/{}",
            alternative["name"].as_str().unwrap_or_default()
        );
        match take(store, offers, &name, alternative) {
            Ok(found) => return Ok((name, alternative.clone(), found)),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    bail!("no alternative of request {name}: {}", refusals.join("; "))
}

/// Takes as many devices as `request` wants, all or none.
fn take(store: &Store, offers: &mut Offers, name: &str, request: &Value) -> Result<Vec<Value>> {
    let mode = request["allocationMode"].as_str().unwrap_or("ExactCount");
    ensure!(
        mode == "ExactCount",
        "the world's scheduler does not know allocationMode {mode}"
    );
    let class = class(store, request)?;
    let selectors: Vec<&str> = [&class["spec"]["selectors"], &request["selectors"]]
        .into_iter()
        .flat_map(list)
        .filter_map(|selector| selector["cel"]["expression"].as_str())
        .collect();
    let count = request["count"].as_u64().unwrap_or(1);
    let mut trial = offers.clone();
    let mut results = Vec::new();
    for _ in 0..count {
        let fits = |offer: &Offer| expression::all_match(&selectors, offer);
        let Some(result) = trial.take(request, fits)? else {
            bail!("cannot allocate all claims: no device for request {name}");
        };
        results.push(named(result, name));
    }
    *offers = trial;
    Ok(results)
}

fn named(mut result: Value, request: &str) -> Value {
    result["request"] = request.into();
    result
}

fn class(store: &Store, request: &Value) -> Result<Value> {
    let name = request["deviceClassName"].as_str().unwrap_or_default();
    let class = store.get(CLASSES, "", name);
    class.with_context(|| format!("device class {name}"))
}

fn reserve(store: &Store, claim: &Value, allocation: Value, pod: &Value) -> Result<()> {
    let (namespace, name) = controller::place(claim);
    store.edit(CLAIMS, namespace, name, Part::Main, BY, |claim| {
        claim["metadata"]["finalizers"] = json!(["resource.kubernetes.io/delete-protection"]);
    })?;
    let consumer = json!({"resource": "pods", "name": pod["metadata"]["name"],
                          "uid": pod["metadata"]["uid"]});
    store.edit(CLAIMS, namespace, name, Part::Status, BY, |claim| {
        let status = &mut claim["status"];
        if status["allocation"].is_null() {
            status["allocation"] = allocation;
        }
        match status["reservedFor"].as_array_mut() {
            Some(consumers) if consumers.contains(&consumer) => {}
            Some(consumers) => consumers.push(consumer),
            None => status["reservedFor"] = json!([consumer]),
        }
    })?;
    Ok(())
}

/// A new share of a device.
fn share_id() -> String {
    id::uuid()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
