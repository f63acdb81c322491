//! Who may do what: everybody everything, but for what a test denied.
//!
//! Owns the answers to those who may not. It must never say so in another way than a real server:
//! since Kubernetes 1.36 `status.devices` of a claim needs a right for its driver besides the one
//! to write the status, and whoever lacks that hears of a rule that the object breaks. Source:
//! `pkg/registry/resource/utils.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Request, Server};
use crate::world::apiserver::failure::{Cause, Failure};
use crate::world::apiserver::resource::CLAIMS;
use crate::world::apiserver::store::Part;

/// No object: what a role names to let somebody write a driver's devices.
const PER_DRIVER: &str = "resourceclaims/driver";

/// Refuses what was denied.
pub(super) fn check(
    server: &Server,
    user: &str,
    verb: &str,
    request: &Request,
) -> Result<(), Failure> {
    let target = &request.target;
    let resource = match target.part {
        Part::Main => target.resource.plural.to_owned(),
        Part::Status => format!("{}/status", target.resource.plural),
    };
    if server.faults.is_denied(verb, &resource) {
        let name = target.name.as_deref().unwrap_or_default();
        return Err(Failure::Forbidden(forbidden(
            request, name, user, verb, &resource,
        )));
    }
    let per_driver = format!("associated-node:{verb}");
    let is_status = target.part == Part::Status && target.resource.kind == CLAIMS.kind;
    if !is_status || !server.faults.is_denied(&per_driver, PER_DRIVER) {
        return Ok(());
    }
    let causes: Vec<Cause> = drivers(server, request)?
        .iter()
        .map(|driver| Cause {
            field: "status.devices".to_owned(),
            reason: "FieldValueForbidden",
            detail: format!(
                "Forbidden: changing status.devices requires resource=\"{PER_DRIVER}\", \
                 verb=\"[{per_driver} arbitrary-node:{verb}]\" permission: {}",
                forbidden(request, driver, user, &per_driver, PER_DRIVER)
            ),
        })
        .collect();
    if causes.is_empty() {
        return Ok(());
    }
    Err(Failure::Invalid {
        kind: format!("{}.{}", target.resource.kind, target.resource.group),
        name: target.name.clone().unwrap_or_default(),
        causes,
    })
}

/// The drivers whose devices a status speaks of; those that had some, where it takes all away.
fn drivers(server: &Server, request: &Request) -> Result<BTreeSet<String>, Failure> {
    let of = |devices: &Value| -> BTreeSet<String> {
        let devices = devices.as_array().into_iter().flatten();
        let names = devices.filter_map(|device| device["driver"].as_str().map(str::to_owned));
        names.collect()
    };
    let written = request.object()?;
    let written = &written["status"]["devices"];
    let named = of(written);
    if !named.is_empty() || written.is_null() {
        return Ok(named);
    }
    let before = request.target.get(&server.store)?;
    Ok(of(&before["status"]["devices"]))
}

fn forbidden(request: &Request, name: &str, user: &str, verb: &str, resource: &str) -> String {
    let target = &request.target;
    let scope = match &target.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    format!(
        "{} {name:?} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group \
         {:?} {scope}",
        target.resource.full_name(),
        target.resource.group,
    )
}
