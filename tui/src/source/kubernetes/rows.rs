//! The API's objects as rows. An object whose name the API itself would refuse is left out.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{NodeSelector, Pod},
        resource::v1::{
            AllocatedDeviceStatus, AllocationResult, Device, DeviceAttribute, DeviceClass,
            DeviceRequest, DeviceRequestAllocationResult, DeviceSelector, ResourceClaim,
            ResourceSlice,
        },
    },
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};
use netclaim_core::{
    claim::{Allocated, ClaimRef, PodRef},
    cluster::{
        AllocatedRow, ClaimRow, ClassRow, ConditionRow, DeviceRow, Object, PodRow, RelayRow,
        RequestRow, SliceRow, StatusRow,
    },
    inventory::Attribute,
    name::{NameError, NodeName},
    time::Timestamp,
};

/// The relay's port bears this name in its pod.
const RELAY_PORT_NAME: &str = "observe";
/// Where a relay listens whose pod names no such port: its own default.
const RELAY_PORT: u16 = 10_477;

/// A `ResourceSlice`.
pub(super) fn slice(slice: ResourceSlice) -> Option<Object> {
    let spec = slice.spec;
    let devices = spec.devices.unwrap_or_default();
    Some(Object::Slice(SliceRow {
        name: slice.metadata.name?.into(),
        driver: spec.driver.parse().ok()?,
        pool: spec.pool.name.parse().ok()?,
        generation: spec.pool.generation,
        node: spec.node_name.and_then(|node| node.parse().ok()),
        devices: devices.into_iter().filter_map(device).collect(),
    }))
}

/// A `DeviceClass`.
pub(super) fn class(class: DeviceClass) -> Option<Object> {
    let selectors = class
        .spec
        .and_then(|spec| spec.selectors)
        .unwrap_or_default();
    Some(Object::Class(ClassRow {
        name: class.metadata.name?.into(),
        selectors: selectors.into_iter().filter_map(expression).collect(),
    }))
}

/// A pod, if it uses claims.
pub(super) fn pod(pod: Pod) -> Option<Object> {
    let (spec, status) = (pod.spec?, pod.status.unwrap_or_default());
    let asked = spec.resource_claims.filter(|claims| !claims.is_empty())?;
    let direct = asked
        .into_iter()
        .filter_map(|claim| claim.resource_claim_name);
    let made = status.resource_claim_statuses.into_iter().flatten();
    let names = direct.chain(made.filter_map(|claim| claim.resource_claim_name));
    let mut claims = names
        .filter_map(|name| name.parse().ok())
        .collect::<Vec<_>>();
    claims.sort_unstable();
    claims.dedup();
    let unscheduled = status
        .conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    Some(Object::Pod(PodRow {
        pod: pod_ref(&pod.metadata)?,
        node: spec.node_name.and_then(|node| node.parse().ok()),
        phase: status.phase.unwrap_or_default().into(),
        claims,
        unschedulable: unscheduled
            .and_then(|condition| condition.message)
            .map(Into::into),
    }))
}

/// A pod of the relay, once it has a node.
pub(super) fn relay(pod: Pod) -> Option<Object> {
    let (spec, status) = (pod.spec?, pod.status.unwrap_or_default());
    let containers = spec.containers.into_iter();
    let mut ports = containers.flat_map(|container| container.ports.unwrap_or_default());
    let port = ports.find(|port| port.name.as_deref() == Some(RELAY_PORT_NAME));
    let port = port.and_then(|port| u16::try_from(port.container_port).ok());
    let containers = status.container_statuses.into_iter().flatten();
    let mut waiting = containers.filter_map(|container| container.state?.waiting?.reason);
    let phase = status.phase.unwrap_or_default();
    let stopped = waiting
        .next()
        .or_else(|| (phase != "Running").then_some(phase));
    Some(Object::Relay(RelayRow {
        pod: pod_ref(&pod.metadata)?,
        node: spec.node_name?.parse().ok()?,
        port: port.unwrap_or(RELAY_PORT),
        stopped: stopped.map(Into::into),
    }))
}

/// A `ResourceClaim`.
pub(super) fn claim(claim: ResourceClaim) -> Option<Object> {
    let meta = claim.metadata;
    let status = claim.status.unwrap_or_default();
    let reference = ClaimRef {
        namespace: meta.namespace.as_deref()?.parse().ok()?,
        name: meta.name.as_deref()?.parse().ok()?,
        uid: meta.uid.as_deref()?.parse().ok()?,
    };
    let consumers = status.reserved_for.unwrap_or_default();
    let pods = consumers
        .into_iter()
        .filter(|consumer| consumer.resource == "pods");
    let reserved_for = pods.filter_map(|pod| {
        Some(PodRef {
            namespace: reference.namespace.clone(),
            name: pod.name.parse().ok()?,
            uid: pod.uid.parse().ok()?,
        })
    });
    let requests = claim.spec.and_then(|spec| spec.devices?.requests);
    let statuses = status.devices.unwrap_or_default();
    let allocation = status.allocation.as_ref();
    Some(Object::Claim(ClaimRow {
        reserved_for: reserved_for.collect(),
        claim: reference,
        created: meta
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp(0), timestamp),
        deleting: meta.deletion_timestamp.is_some(),
        requests: requests.into_iter().flatten().map(request).collect(),
        devices: allocation.map_or_else(Vec::new, |found| allocated(found, statuses)),
        node: allocation.and_then(|found| node(found.node_selector.as_ref()?)),
        config: allocation.and_then(config),
    }))
}

fn device(device: Device) -> Option<DeviceRow> {
    let attributes = device.attributes.unwrap_or_default();
    let attributes = attributes.into_iter();
    let taints = device.taints.into_iter().flatten();
    Some(DeviceRow {
        name: device.name.parse().ok()?,
        attributes: attributes
            .filter_map(|(name, value)| Some((name.into(), attribute(value)?)))
            .collect(),
        max: match device.allow_multiple_allocations {
            Some(true) => {
                let capacity = device.capacity.unwrap_or_default();
                let of = |(name, capacity): (&String, &_)| {
                    let k8s_openapi::api::resource::v1::DeviceCapacity { value, .. } = capacity;
                    let short = name.rsplit('/').next() == Some("maxVirtualDevices");
                    short.then(|| value.0.parse().ok()).flatten()
                };
                capacity.iter().find_map(of)
            }
            Some(false) | None => Some(1),
        },
        taints: taints
            .map(|taint| {
                let value = taint.value.unwrap_or_default();
                format!("{}={value}:{}", taint.key, taint.effect).into()
            })
            .collect(),
    })
}

fn attribute(value: DeviceAttribute) -> Option<Attribute> {
    let text = value.string.or(value.version).map(Attribute::String);
    let list = value
        .strings
        .or(value.versions)
        .map(|texts| Attribute::String(texts.join(", ")));
    text.or(list)
        .or(value.int.map(Attribute::Int))
        .or(value.bool.map(Attribute::Bool))
}

fn expression(selector: DeviceSelector) -> Option<Box<str>> {
    selector.cel.map(|cel| cel.expression.into())
}

fn request(request: DeviceRequest) -> RequestRow {
    let exactly = request
        .exactly
        .into_iter()
        .map(|exactly| exactly.device_class_name);
    let first = request.first_available.into_iter().flatten();
    let classes = exactly.chain(first.map(|sub| sub.device_class_name));
    RequestRow {
        name: request.name.into(),
        classes: classes.map(Into::into).collect(),
    }
}

/// Results with what their drivers wrote: by driver, pool, device and share.
fn allocated(found: &AllocationResult, statuses: Vec<AllocatedDeviceStatus>) -> Vec<AllocatedRow> {
    let key = |driver: &str, pool: &str, device: &str, share: Option<&str>| {
        [driver, pool, device, share.unwrap_or("")].map(str::to_owned)
    };
    let mut written = statuses
        .into_iter()
        .map(|s| (key(&s.driver, &s.pool, &s.device, s.share_id.as_deref()), s))
        .collect::<BTreeMap<_, _>>();
    let results = found
        .devices
        .as_ref()
        .and_then(|devices| devices.results.as_ref());
    let mut row = |result: &DeviceRequestAllocationResult| {
        let r = result;
        let status = written.remove(&key(&r.driver, &r.pool, &r.device, r.share_id.as_deref()));
        let share_id = r.share_id.as_ref().map(|share| share.parse()).transpose()?;
        Ok::<_, NameError>(AllocatedRow {
            driver: r.driver.parse()?,
            allocated: Allocated {
                request: r.request.parse()?,
                pool: r.pool.parse()?,
                device: r.device.parse()?,
                share_id,
                admin_access: r.admin_access.unwrap_or(false),
            },
            status: status.map(|status| Box::new(status_row(status))),
        })
    };
    results
        .into_iter()
        .flatten()
        .filter_map(|result| row(result).ok())
        .collect()
}

fn status_row(status: AllocatedDeviceStatus) -> StatusRow {
    let network = status.network_data.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ips = network.ips.unwrap_or_default();
    StatusRow {
        conditions: conditions.into_iter().map(condition).collect(),
        interface: network.interface_name.map(Into::into),
        mac: network.hardware_address.map(Into::into),
        ips: ips.into_iter().map(Into::into).collect(),
    }
}

fn condition(condition: Condition) -> ConditionRow {
    ConditionRow {
        kind: condition.type_.into(),
        holds: match condition.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        },
        reason: condition.reason.into(),
        message: condition.message.into(),
    }
}

/// The one node that the allocation is bound to: how the scheduler writes a node's own devices.
fn node(selector: &NodeSelector) -> Option<NodeName> {
    let [term] = selector.node_selector_terms.as_slice() else {
        return None;
    };
    let fields = term.match_fields.iter().flatten();
    let mut names = fields.filter(|field| field.key == "metadata.name");
    match names.next()?.values.as_deref()? {
        [name] => name.parse().ok(),
        _ => None,
    }
}

/// `net1: macvlan, host-local (class)`: enough to recognise a configuration.
fn config(found: &AllocationResult) -> Option<Box<str>> {
    let configs = found.devices.as_ref()?.config.as_ref()?.iter();
    let words = configs.filter_map(|config| {
        let parameters = &config.opaque.as_ref()?.parameters.0;
        let name = parameters["ifName"].as_str().unwrap_or("?");
        let plugins = parameters["config"]["plugins"].as_array();
        let types = plugins.into_iter().flatten().flat_map(|plugin| {
            [&plugin["type"], &plugin["ipam"]["type"]].map(|kind| kind.as_str())
        });
        let types = types.flatten().collect::<Vec<_>>().join(", ");
        let source = match config.source.as_str() {
            "FromClass" => "class",
            _ => "claim",
        };
        Some(format!("{name}: {types} ({source})"))
    });
    let words = words.collect::<Vec<_>>().join("; ");
    (!words.is_empty()).then(|| words.into())
}

fn pod_ref(meta: &ObjectMeta) -> Option<PodRef> {
    Some(PodRef {
        namespace: meta.namespace.as_deref()?.parse().ok()?,
        name: meta.name.as_deref()?.parse().ok()?,
        uid: meta.uid.as_deref()?.parse().ok()?,
    })
}

/// A time before the epoch is as good as none.
fn timestamp(time: &Time) -> Timestamp {
    Timestamp(u64::try_from(time.0.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
