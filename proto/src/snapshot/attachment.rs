//! What is left in a pod, with all that is needed to take it out.

use netclaim_core::{
    attachment::{Attachment, Leftover, Slot},
    claim::PreparedDevice,
};

use super::{time, variant};
use crate::{
    field::{InvalidField, Problem, name, required},
    observe as pb,
};

impl From<&Leftover> for pb::Leftover {
    fn from(leftover: &Leftover) -> Self {
        Self {
            attachment: Some((&leftover.attachment).into()),
            failure: Some((&leftover.failure).into()),
            attempts: leftover.attempts,
            since: Some(time::written(leftover.since)),
        }
    }
}

impl TryFrom<pb::Leftover> for Leftover {
    type Error = InvalidField;

    fn try_from(message: pb::Leftover) -> Result<Self, InvalidField> {
        Ok(Self {
            attachment: required("attachment", message.attachment)?,
            failure: required("failure", message.failure)?,
            // On the wire they stand with the interface that ended.
            last: None,
            drops: None,
            attempts: message.attempts,
            since: time::read("since", message.since)?,
        })
    }
}

impl From<&Attachment> for pb::Attachment {
    fn from(attachment: &Attachment) -> Self {
        Self {
            key: Some((&attachment.key).into()),
            claim: Some((&attachment.claim).into()),
            pod: Some((&attachment.pod).into()),
            netns: attachment.netns.clone(),
            device: Some((&attachment.device).into()),
            slot: attachment.slot.map(|slot| slot.0),
        }
    }
}

impl TryFrom<pb::Attachment> for Attachment {
    type Error = InvalidField;

    fn try_from(message: pb::Attachment) -> Result<Self, InvalidField> {
        Ok(Self {
            key: required("key", message.key)?,
            claim: required("claim", message.claim)?,
            pod: required("pod", message.pod)?,
            netns: message.netns,
            device: required("device", message.device)?,
            slot: message.slot.map(Slot),
        })
    }
}

impl From<&PreparedDevice> for pb::PreparedDevice {
    fn from(device: &PreparedDevice) -> Self {
        // Maps with string keys: there is nothing that the serializer could refuse.
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        Self {
            allocated: Some((&device.allocated).into()),
            link: device.link.clone(),
            mode: pb::DeviceMode::from(device.mode).into(),
            interface: device.if_name.to_string(),
            network_json: json(serde_json::to_string(&device.network)),
            runtime_config_json: json(serde_json::to_string(&device.runtime_config)),
            observe_flows: device.observe_flows,
        }
    }
}

impl TryFrom<pb::PreparedDevice> for PreparedDevice {
    type Error = InvalidField;

    fn try_from(message: pb::PreparedDevice) -> Result<Self, InvalidField> {
        let network = serde_json::from_str(&message.network_json);
        let runtime_config = serde_json::from_str(&message.runtime_config_json);
        Ok(Self {
            allocated: required("allocated", message.allocated)?,
            link: message.link,
            mode: variant::mode("mode", message.mode)?,
            if_name: name("interface", message.interface)?,
            network: network.map_err(|error| not_json("network_json", &error))?,
            runtime_config: runtime_config
                .map_err(|error| not_json("runtime_config_json", &error))?,
            observe_flows: message.observe_flows,
        })
    }
}

fn not_json(field: &str, error: &serde_json::Error) -> InvalidField {
    let why = error.to_string();
    InvalidField::new(field, Problem::Json { why })
}
