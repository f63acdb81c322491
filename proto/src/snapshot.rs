//! `netclaim_core::snapshot` and its message, both ways.
//!
//! Nothing is lost on the way there and back (a property test holds it), so a recording replays
//! as it was.

use netclaim_core::{
    claim::{Allocated, ClaimRef, PodRef},
    failure::{Failure, Timing},
    inventory::{Attribute, Device},
    snapshot::{Awaited, ClaimState, DeviceUse, Finding, NriState, Snapshot},
};

use crate::{
    field::{InvalidField, Problem, all, map, name, optional, required},
    observe as pb,
};

mod attachment;
mod drops;
mod flows;
mod interface;
mod time;
mod variant;

impl From<&Snapshot> for pb::Snapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            node: snapshot.node.to_string(),
            driver: snapshot.driver.to_string(),
            version: snapshot.version.clone(),
            started_at: Some(time::written(snapshot.started)),
            taken_at: Some(time::written(snapshot.taken)),
            generation: snapshot.generation,
            role: pb::Role::from(snapshot.role).into(),
            nri: Some((&snapshot.nri).into()),
            devices: snapshot.devices.iter().map(Into::into).collect(),
            claims: snapshot.claims.iter().map(Into::into).collect(),
            interfaces: snapshot.interfaces.iter().map(Into::into).collect(),
            leftovers: snapshot.leftovers.iter().map(Into::into).collect(),
            findings: snapshot.findings.iter().map(Into::into).collect(),
            drops: snapshot.drops.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Snapshot> for Snapshot {
    type Error = InvalidField;

    fn try_from(message: pb::Snapshot) -> Result<Self, InvalidField> {
        Ok(Self {
            node: name("node", message.node)?,
            driver: name("driver", message.driver)?,
            version: message.version,
            started: time::read("started_at", message.started_at)?,
            taken: time::read("taken_at", message.taken_at)?,
            generation: message.generation,
            role: variant::role("role", message.role)?,
            nri: required("nri", message.nri)?,
            devices: all("devices", message.devices)?,
            claims: all("claims", message.claims)?,
            interfaces: all("interfaces", message.interfaces)?,
            leftovers: all("leftovers", message.leftovers)?,
            findings: all("findings", message.findings)?,
            drops: optional("drops", message.drops)?,
        })
    }
}

impl From<&NriState> for pb::Nri {
    fn from(nri: &NriState) -> Self {
        Self {
            connected: nri.connected,
            since: Some(time::written(nri.since)),
            runtime: nri.runtime.clone(),
        }
    }
}

impl TryFrom<pb::Nri> for NriState {
    type Error = InvalidField;

    fn try_from(message: pb::Nri) -> Result<Self, InvalidField> {
        Ok(Self {
            connected: message.connected,
            since: time::read("since", message.since)?,
            runtime: message.runtime,
        })
    }
}

impl From<&DeviceUse> for pb::DeviceUse {
    fn from(row: &DeviceUse) -> Self {
        Self {
            device: Some((&row.device).into()),
            used: row.used,
        }
    }
}

impl TryFrom<pb::DeviceUse> for DeviceUse {
    type Error = InvalidField;

    fn try_from(message: pb::DeviceUse) -> Result<Self, InvalidField> {
        Ok(Self {
            device: required("device", message.device)?,
            used: message.used,
        })
    }
}

impl From<&Device> for pb::Device {
    fn from(device: &Device) -> Self {
        let attributes = device.attributes.iter();
        Self {
            name: device.name.to_string(),
            link: device.link.clone(),
            mode: pb::DeviceMode::from(device.mode).into(),
            state: pb::LinkState::from(device.state).into(),
            max_virtual_devices: device.max_virtual_devices,
            attributes: attributes
                .map(|(name, value)| (name.clone(), value.into()))
                .collect(),
            held_by_node: device.held_by_node,
        }
    }
}

impl TryFrom<pb::Device> for Device {
    type Error = InvalidField;

    fn try_from(message: pb::Device) -> Result<Self, InvalidField> {
        Ok(Self {
            name: name("name", message.name)?,
            link: message.link,
            mode: variant::mode("mode", message.mode)?,
            state: variant::link_state("state", message.state)?,
            max_virtual_devices: message.max_virtual_devices,
            held_by_node: message.held_by_node,
            attributes: map("attributes", message.attributes)?,
        })
    }
}

impl From<&Attribute> for pb::Attribute {
    fn from(attribute: &Attribute) -> Self {
        use pb::attribute::Value;
        let value = match attribute {
            Attribute::String(text) => Value::StringValue(text.clone()),
            Attribute::Int(number) => Value::IntValue(*number),
            Attribute::Bool(truth) => Value::BoolValue(*truth),
        };
        Self { value: Some(value) }
    }
}

impl TryFrom<pb::Attribute> for Attribute {
    type Error = InvalidField;

    fn try_from(message: pb::Attribute) -> Result<Self, InvalidField> {
        use pb::attribute::Value;
        match message.value {
            Some(Value::StringValue(text)) => Ok(Self::String(text)),
            Some(Value::IntValue(number)) => Ok(Self::Int(number)),
            Some(Value::BoolValue(truth)) => Ok(Self::Bool(truth)),
            None => Err(InvalidField::new("value", Problem::Absent)),
        }
    }
}

impl From<&ClaimState> for pb::ClaimState {
    fn from(row: &ClaimState) -> Self {
        Self {
            claim: Some((&row.claim).into()),
            pod: row.pod.as_ref().map(Into::into),
            devices: row.devices.iter().map(Into::into).collect(),
            refused: row.refused.as_ref().map(Into::into),
            awaited: row.awaited.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::ClaimState> for ClaimState {
    type Error = InvalidField;

    fn try_from(message: pb::ClaimState) -> Result<Self, InvalidField> {
        Ok(Self {
            claim: required("claim", message.claim)?,
            pod: optional("pod", message.pod)?,
            devices: all("devices", message.devices)?,
            refused: optional("refused", message.refused)?,
            awaited: optional("awaited", message.awaited)?,
        })
    }
}

impl From<&Awaited> for pb::Awaited {
    fn from(awaited: &Awaited) -> Self {
        Self {
            pods: awaited.pods.iter().map(Into::into).collect(),
            since: Some(time::written(awaited.since)),
            failure: Some((&awaited.failure).into()),
        }
    }
}

impl TryFrom<pb::Awaited> for Awaited {
    type Error = InvalidField;

    fn try_from(message: pb::Awaited) -> Result<Self, InvalidField> {
        Ok(Self {
            pods: all("pods", message.pods)?,
            since: time::read("since", message.since)?,
            failure: required("failure", message.failure)?,
        })
    }
}

impl From<&ClaimRef> for pb::ClaimRef {
    fn from(claim: &ClaimRef) -> Self {
        Self {
            namespace: claim.namespace.to_string(),
            name: claim.name.to_string(),
            uid: claim.uid.to_string(),
        }
    }
}

impl TryFrom<pb::ClaimRef> for ClaimRef {
    type Error = InvalidField;

    fn try_from(message: pb::ClaimRef) -> Result<Self, InvalidField> {
        Ok(Self {
            namespace: name("namespace", message.namespace)?,
            name: name("name", message.name)?,
            uid: name("uid", message.uid)?,
        })
    }
}

impl From<&PodRef> for pb::PodRef {
    fn from(pod: &PodRef) -> Self {
        Self {
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            uid: pod.uid.to_string(),
        }
    }
}

impl TryFrom<pb::PodRef> for PodRef {
    type Error = InvalidField;

    fn try_from(message: pb::PodRef) -> Result<Self, InvalidField> {
        Ok(Self {
            namespace: name("namespace", message.namespace)?,
            name: name("name", message.name)?,
            uid: name("uid", message.uid)?,
        })
    }
}

impl From<&Allocated> for pb::Allocated {
    fn from(allocated: &Allocated) -> Self {
        Self {
            request: allocated.request.to_string(),
            pool: allocated.pool.to_string(),
            device: allocated.device.to_string(),
            share_id: allocated.share_id.as_ref().map(ToString::to_string),
            admin_access: allocated.admin_access,
        }
    }
}

impl TryFrom<pb::Allocated> for Allocated {
    type Error = InvalidField;

    fn try_from(message: pb::Allocated) -> Result<Self, InvalidField> {
        let share_id = message.share_id.map(|id| name("share_id", id));
        Ok(Self {
            request: name("request", message.request)?,
            pool: name("pool", message.pool)?,
            device: name("device", message.device)?,
            share_id: share_id.transpose()?,
            admin_access: message.admin_access,
        })
    }
}

impl From<&Failure> for pb::Failure {
    fn from(failure: &Failure) -> Self {
        Self {
            step: pb::Step::from(failure.step).into(),
            reason: failure.reason.clone().into_owned(),
            code: failure.code.clone().into_owned(),
            message: failure.message.clone(),
        }
    }
}

impl TryFrom<pb::Failure> for Failure {
    type Error = InvalidField;

    fn try_from(message: pb::Failure) -> Result<Self, InvalidField> {
        Ok(Self {
            step: variant::step("step", message.step)?,
            reason: message.reason.into(),
            code: message.code.into(),
            message: message.message,
        })
    }
}

impl From<&Timing> for pb::Timing {
    fn from(timing: &Timing) -> Self {
        Self {
            step: pb::Step::from(timing.step).into(),
            plugin: timing.plugin.clone(),
            took: Some(time::written_micros(timing.micros)),
            ok: timing.ok,
        }
    }
}

impl TryFrom<pb::Timing> for Timing {
    type Error = InvalidField;

    fn try_from(message: pb::Timing) -> Result<Self, InvalidField> {
        Ok(Self {
            step: variant::step("step", message.step)?,
            plugin: message.plugin,
            micros: time::read_micros("took", message.took)?,
            ok: message.ok,
        })
    }
}

impl From<&Finding> for pb::Finding {
    fn from(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.clone(),
            severity: pb::Severity::from(finding.severity).into(),
            subject: finding.subject.clone(),
            message: finding.message.clone(),
        }
    }
}

impl TryFrom<pb::Finding> for Finding {
    type Error = InvalidField;

    fn try_from(message: pb::Finding) -> Result<Self, InvalidField> {
        Ok(Self {
            rule: message.rule,
            severity: variant::severity("severity", message.severity)?,
            subject: message.subject,
            message: message.message,
        })
    }
}

#[cfg(test)]
mod tests;
