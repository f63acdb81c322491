//! From a claim of the API server to a [`PreparedClaim`], or to the words why not.
//!
//! Says whether a claim is well-formed and allowed. Whether there is room for it beside the others
//! of the node is [`admission`](crate::admission)'s question.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Allocated, ClaimRef, PodRef, PreparedClaim, PreparedDevice,
    config::{self, Config, Template},
    object::{ClaimObject, DeviceConfig, Source},
    offence::{Offence, shown},
    policy::{ConfigSource, Policy, Target},
    refusal::Refusal,
};
use crate::{
    fact::Refused,
    failure::Failure,
    inventory::{Device, Inventory, LinkState},
    ledger::Ledger,
    name::{DeviceName, DriverName, IfName, NameError},
};

/// What this node knows when a claim comes.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Ours.
    pub driver: &'a DriverName,
    /// What is offered.
    pub inventory: &'a Inventory,
    /// What was promised: names stay what they are, and other claims' names are taken.
    pub ledger: &'a Ledger,
    /// What the administrator decided.
    pub policy: &'a Policy,
}

/// Reads a claim that the kubelet wants prepared.
///
/// Only results and configurations of our driver are looked at. The order of the devices is the
/// allocation's, and the same claim gives the same answer.
pub fn prepare(
    object: &ClaimObject,
    wanted: &ClaimRef,
    known: &Known<'_>,
) -> Result<PreparedClaim, Box<Refusal>> {
    let claim = wanted.clone();
    if object.metadata.uid != claim.uid {
        let found = object.metadata.uid.to_string();
        return Err(Box::new(Refusal::OtherUid { claim, found }));
    }
    if object.status.allocation.is_none() {
        return Err(Box::new(Refusal::NotAllocated { claim }));
    }
    let pod = served(object, wanted, known.ledger)?;
    let allocated = allocated(object, wanted, known.driver)?;
    let mut naming = Naming::new(wanted, &pod, known.ledger);
    let configured = configure(object, wanted, &allocated, known)?;
    naming.reserve(configured.iter().map(|found| &found.config.if_name));
    let devices = configured
        .into_iter()
        .map(|found| naming.device(found))
        .collect::<Result<_, _>>()?;
    Ok(PreparedClaim {
        claim,
        owned: object.is_owned_by(&pod),
        pod,
        devices,
    })
}

/// The one pod that the claim is for: the one that it served, while that has it reserved, else the
/// first that has. A claim of a node's device is reserved by pods of this node only.
pub fn served(
    object: &ClaimObject,
    wanted: &ClaimRef,
    ledger: &Ledger,
) -> Result<PodRef, Box<Refusal>> {
    let claim = wanted.clone();
    let reserved = &object.status.reserved_for;
    if let Some(other) = reserved.iter().find(|consumer| !consumer.is_pod()) {
        let group = &other.api_group;
        let dot = if group.is_empty() { "" } else { "." };
        let found = format!("{}{dot}{group} {}", other.resource, other.name);
        return Err(Box::new(Refusal::NotAPod { claim, found }));
    }
    let before = ledger.claim(&wanted.uid).map(|before| &before.pod.uid);
    let before = before.and_then(|pod| reserved.iter().find(|other| other.uid == pod.as_str()));
    let Some(served) = before.or(reserved.first()) else {
        return Err(Box::new(Refusal::NotReserved { claim }));
    };
    served
        .pod(&wanted.namespace)
        .map_err(|error| name_error(wanted, "status.reservedFor[0]", &error))
}

/// A refusal as a fact, with what the object tells about whom it concerns.
pub fn refused(
    object: Option<&ClaimObject>,
    wanted: &ClaimRef,
    driver: &DriverName,
    failure: Failure,
) -> Refused {
    let object = object.filter(|object| object.metadata.uid == wanted.uid);
    let devices = object.map(|object| allocated(object, wanted, driver));
    Refused {
        claim: wanted.clone(),
        pod: object.and_then(|object| object.pods().next()),
        devices: devices.and_then(Result::ok).unwrap_or_default(),
        failure,
    }
}

/// Our devices of the allocation, in its order.
fn allocated(
    object: &ClaimObject,
    wanted: &ClaimRef,
    driver: &DriverName,
) -> Result<Vec<Allocated>, Box<Refusal>> {
    let devices: Vec<Allocated> = object
        .results(driver)
        .map(|result| {
            result
                .allocated()
                .map_err(|error| name_error(wanted, "status.allocation.devices.results", &error))
        })
        .collect::<Result<_, _>>()?;
    if devices.is_empty() {
        return Err(Box::new(Refusal::NoDevice {
            claim: wanted.clone(),
            driver: driver.clone(),
        }));
    }
    Ok(devices)
}

fn name_error(wanted: &ClaimRef, place: &'static str, error: &NameError) -> Box<Refusal> {
    Box::new(Refusal::Name {
        claim: wanted.clone(),
        place,
        found: shown(&error.found.as_str().into()),
        expected: error.expected,
    })
}

/// A device, and the configuration that its request has.
struct Configured<'a> {
    allocated: &'a Allocated,
    device: &'a Device,
    config: Config,
}

fn configure<'a>(
    object: &ClaimObject,
    wanted: &ClaimRef,
    allocated: &'a [Allocated],
    known: &Known<'a>,
) -> Result<Vec<Configured<'a>>, Box<Refusal>> {
    let configs = object
        .status
        .allocation
        .as_ref()
        .map_or(&[][..], |allocation| &allocation.devices.config);
    let mut served: BTreeMap<usize, usize> = BTreeMap::new();
    let mut configured = Vec::with_capacity(allocated.len());
    for allocated in allocated {
        let device = device(wanted, allocated, known.inventory)?;
        let (at, chosen) = choose(configs, wanted, allocated, known)?;
        let count = served.entry(at).or_default();
        *count += 1;
        let config = read(chosen, wanted, allocated, device, known);
        let config = config.and_then(|config| match *count {
            1 => Ok(config),
            _ => config.for_several().map(|()| config),
        });
        let config = config.map_err(|offence| {
            Box::new(Refusal::Config {
                asked: allocated.asked(wanted),
                from: chosen.source,
                offence,
            })
        })?;
        configured.push(Configured {
            allocated,
            device,
            config,
        });
    }
    Ok(configured)
}

/// The device as this node has it.
fn device<'a>(
    wanted: &ClaimRef,
    allocated: &Allocated,
    inventory: &'a Inventory,
) -> Result<&'a Device, Box<Refusal>> {
    let asked = allocated.asked(wanted);
    match inventory.device(&allocated.device) {
        Some(device) if device.state == LinkState::Gone => Err(Box::new(Refusal::LinkGone {
            asked,
            device: device.name.clone(),
            link: device.link.clone(),
        })),
        Some(device) => Ok(device),
        None => {
            let names: Vec<&str> = inventory.devices.keys().map(DeviceName::as_str).collect();
            Err(Box::new(Refusal::UnknownDevice {
                asked,
                device: allocated.device.clone(),
                offered: if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                },
            }))
        }
    }
}

fn choose<'a>(
    configs: &'a [DeviceConfig],
    wanted: &ClaimRef,
    allocated: &Allocated,
    known: &Known<'_>,
) -> Result<(usize, &'a DeviceConfig), Box<Refusal>> {
    let asked = allocated.asked(wanted);
    let own = config::applying(configs, known.driver, &allocated.request, Source::Claim).next();
    if known.policy.config_source == ConfigSource::Class && own.is_some() {
        return Err(Box::new(Refusal::ClaimConfig { asked }));
    }
    config::chosen(configs, known.driver, &allocated.request).ok_or_else(|| {
        let driver = known.driver.clone();
        Box::new(Refusal::NoConfig { asked, driver })
    })
}

fn read(
    chosen: &DeviceConfig,
    wanted: &ClaimRef,
    allocated: &Allocated,
    device: &Device,
    known: &Known<'_>,
) -> Result<Config, Offence> {
    let target = Target {
        source: chosen.source,
        namespace: &wanted.namespace,
        link: Some(&device.link),
        mode: Some(device.mode),
        held_by_node: device.held_by_node,
        admin_access: allocated.admin_access,
        node: Some(&known.inventory.node),
    };
    let nothing = serde_json::Value::Null;
    let parameters = chosen.opaque.as_ref().map(|opaque| &opaque.parameters);
    config::parse(parameters.unwrap_or(&nothing), known.policy, &target)
}

/// Which names the pod's interfaces have.
struct Naming<'a> {
    claim: &'a ClaimRef,
    before: &'a [PreparedDevice],
    taken: BTreeSet<IfName>,
}

impl<'a> Naming<'a> {
    fn new(claim: &'a ClaimRef, pod: &'a PodRef, ledger: &'a Ledger) -> Self {
        let others = ledger
            .claims_of(&pod.uid)
            .filter(|other| other.claim.uid != claim.uid);
        let before = ledger
            .claim(&claim.uid)
            .filter(|before| before.pod.uid == pod.uid);
        Self {
            claim,
            before: before.map_or(&[], |before| &before.devices),
            taken: others
                .flat_map(|other| &other.devices)
                .map(|device| device.if_name.clone())
                .collect(),
        }
    }

    /// Keeps numbers away from names that are written out.
    fn reserve<'t>(&mut self, templates: impl Iterator<Item = &'t Template>) {
        self.taken
            .extend(templates.filter_map(|template| match template {
                Template::Fixed(name) => Some(name.clone()),
                Template::Numbered(_) => None,
            }));
    }

    fn device(&mut self, found: Configured<'_>) -> Result<PreparedDevice, Box<Refusal>> {
        let if_name = self
            .kept(&found)
            .or_else(|| found.config.if_name.name(&self.taken))
            .ok_or_else(|| {
                Box::new(Refusal::NoNameLeft {
                    asked: found.allocated.asked(self.claim),
                    template: found.config.if_name.to_string(),
                })
            })?;
        self.taken.insert(if_name.clone());
        Ok(PreparedDevice {
            allocated: found.allocated.clone(),
            link: found.device.link.clone(),
            mode: found.device.mode,
            if_name,
            network: found.config.network.into(),
            runtime_config: found.config.runtime_config,
            observe_flows: found.config.observe_flows,
        })
    }

    /// The number that the device already has: an interface that is in use is not renamed.
    fn kept(&self, found: &Configured<'_>) -> Option<IfName> {
        let before = self
            .before
            .iter()
            .find(|before| before.allocated == *found.allocated)?;
        let name = &before.if_name;
        (found.config.if_name.gives(name) && !self.taken.contains(name)).then(|| name.clone())
    }
}

#[cfg(test)]
mod tests;
