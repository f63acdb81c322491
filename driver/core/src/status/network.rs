//! What the status says about an interface that is in the pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::NetworkData;
use crate::{
    attachment::{Attachment, Phase},
    cni::{AddResult, Dns, SpecVersion},
    ledger::Held,
};

/// Longest `data` in bytes (`AllocatedDeviceStatusDataMaxLength`).
pub(super) const MAX_DATA: usize = 10 * 1024;

/// Most addresses (`NetworkDeviceDataMaxIPs`).
pub(super) const MAX_IPS: usize = 16;

/// An interface that is in the pod, and what its plugins reported.
pub(super) struct Network<'a> {
    attachment: &'a Attachment,
    result: &'a AddResult,
}

impl<'a> Network<'a> {
    /// The network of an attachment that is there.
    pub(super) fn of(held: &'a Held) -> Option<Self> {
        match &held.phase {
            Phase::Attached { result, .. } => Some(Self {
                attachment: &held.attachment,
                result,
            }),
            Phase::Attaching | Phase::Detaching { .. } => None,
        }
    }

    /// What everybody understands.
    pub(super) fn network_data(&self) -> NetworkData {
        let if_name = self.attachment.key.if_name.as_str();
        let interface = self.result.pod_interface(&self.attachment.netns, if_name);
        let ips = interface.iter().flat_map(|interface| &interface.ips);
        let mut seen = BTreeSet::new();
        NetworkData {
            interface_name: if_name.to_owned(),
            ips: ips
                .filter(|ip| seen.insert(**ip))
                .take(MAX_IPS)
                .map(ToString::to_string)
                .collect(),
            hardware_address: interface.and_then(|found| found.mac).map(str::to_owned),
        }
    }

    /// The result in the version of the configuration. What is too long loses, one after the
    /// other, what is least asked for; none when even the interface itself is too long.
    pub(super) fn data(&self) -> Option<Value> {
        let cuts: [fn(&Self, &mut AddResult); 5] = [
            |_, _| {},
            |_, result| result.routes.clear(),
            |_, result| result.dns = Dns::default(),
            Self::keep_own_interface,
            |_, result| result.ips.truncate(MAX_IPS),
        ];
        let mut result = self.result.clone();
        if self.attachment.device.network.version() < SpecVersion::LATEST {
            // The version has no word for it, and its chain did not say it.
            result.interfaces.iter_mut().for_each(|i| i.mtu = None);
        }
        cuts.iter().find_map(|cut| {
            cut(self, &mut result);
            let data = result.at(self.attachment.device.network.version());
            (data.to_string().len() <= MAX_DATA).then_some(data)
        })
    }

    /// Drops interfaces other than the pod's, and with them their addresses.
    fn keep_own_interface(&self, result: &mut AddResult) {
        let own = result.interfaces.iter().position(|interface| {
            interface.name == self.attachment.key.if_name.as_str()
                && interface.sandbox.as_ref() == Some(&self.attachment.netns)
        });
        let Some(own) = own else {
            return;
        };
        result.interfaces = vec![result.interfaces.swap_remove(own)];
        result
            .ips
            .retain(|ip| ip.interface.is_none_or(|of| of == own));
        for ip in &mut result.ips {
            ip.interface = ip.interface.map(|_| 0);
        }
    }
}
