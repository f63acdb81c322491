//! Every reason why a claim is not served, in words that name the next step.

use std::fmt;

use super::{ClaimRef, PodRef, object::Source, offence::Offence};
use crate::{
    failure::Cause,
    name::{DeviceName, DriverName, IfName, RequestName},
};

/// A request of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The claim.
    pub claim: ClaimRef,
    /// Its request.
    pub request: RequestName,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "claim {}, request {}", self.claim, self.request)
    }
}

/// Why a claim is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The claim was deleted and made again under the same name.
    #[error(
        "claim {claim} has UID {found}, the kubelet asked for UID {}: it was deleted and made \
         again; delete the pod that still waits for the old one", .claim.uid
    )]
    OtherUid {
        /// What the kubelet asked for.
        claim: ClaimRef,
        /// The UID of what is there.
        found: String,
    },
    /// The scheduler has not decided, or took its decision back.
    #[error(
        "claim {claim}, status.allocation: found nothing, expected allocated devices; wait for \
         the scheduler and look at the pod's events"
    )]
    NotAllocated {
        /// The claim.
        claim: ClaimRef,
    },
    /// The allocation is other drivers' only.
    #[error(
        "claim {claim}, status.allocation.devices.results: found no device of driver {driver}; \
         the DeviceClass must select this driver's devices, or --driver-name must name the one \
         that it selects"
    )]
    NoDevice {
        /// The claim.
        claim: ClaimRef,
        /// Ours.
        driver: DriverName,
    },
    /// The allocation holds a name that the API server does not give.
    #[error(
        "claim {claim}, {place}: found {found}, accepted: {expected}; report this, the API server \
         should not let it pass"
    )]
    Name {
        /// The claim.
        claim: ClaimRef,
        /// Which field of the object.
        place: &'static str,
        /// What is there.
        found: String,
        /// The rule in words.
        expected: &'static str,
    },
    /// Nobody may use it.
    #[error(
        "claim {claim}, status.reservedFor: found nobody, expected the one pod that it is for; \
         wait for the scheduler to reserve it"
    )]
    NotReserved {
        /// The claim.
        claim: ClaimRef,
    },
    /// Something that has no network namespace wants it.
    #[error(
        "claim {claim}, status.reservedFor: found {found}, accepted: one pod; refer to the claim \
         in the pod's spec.resourceClaims"
    )]
    NotAPod {
        /// The claim.
        claim: ClaimRef,
        /// Who.
        found: String,
    },
    /// Another pod has it.
    #[error(
        "claim {claim} already serves pod {serves}; give each pod its own with a \
         ResourceClaimTemplate"
    )]
    SecondPod {
        /// The claim.
        claim: ClaimRef,
        /// The pod that has it.
        serves: PodRef,
    },
    /// The inventory does not have it.
    #[error(
        "{asked}: device {device} was allocated, and this node has \
         {offered}; delete the pod, so that it is scheduled on what is there"
    )]
    UnknownDevice {
        /// Who asked.
        asked: Asked,
        /// The device.
        device: DeviceName,
        /// What the node has.
        offered: String,
    },
    /// The link has left the node.
    #[error(
        "{asked}: device {device} is gone, link {link} is not on the \
         node; bring the link back, or delete the pod so that another device is allocated"
    )]
    LinkGone {
        /// Who asked.
        asked: Asked,
        /// The device.
        device: DeviceName,
        /// Its link.
        link: String,
    },
    /// Nobody said which network.
    #[error(
        "{asked}: found no configuration for driver {driver}, expected one; a claim cannot be changed, \
         so make it or its template anew with this in spec.devices.config: {}",
        minimal(&.asked.request, .driver)
    )]
    NoConfig {
        /// Who asked.
        asked: Asked,
        /// Ours.
        driver: DriverName,
    },
    /// Claims may not bring their own.
    #[error(
        "{asked}: found a configuration in the claim, accepted: the \
         DeviceClass's only (--config-source=class); remove it from spec.devices.config and use a \
         DeviceClass that has one"
    )]
    ClaimConfig {
        /// Who asked.
        asked: Asked,
    },
    /// A configuration breaks a rule.
    #[error("{asked}, the {}'s configuration, {offence}", writer(*.from))]
    Config {
        /// Who asked.
        asked: Asked,
        /// Who wrote it.
        from: Source,
        /// Where and what.
        offence: Offence,
    },
    /// Two devices would have one name in the pod.
    #[error(
        "{asked}, ifName: found \"{if_name}\", which claim {other} \
         already gives pod {pod} an interface by; choose another name or a template such as \
         \"net%d\""
    )]
    DuplicateName {
        /// Who asked.
        asked: Asked,
        /// The name.
        if_name: IfName,
        /// Who has it.
        other: ClaimRef,
        /// The pod.
        pod: PodRef,
    },
    /// A template has no name left.
    #[error(
        "{asked}, ifName: found \"{template}\", which gives no free name \
         of 15 characters; shorten the part before %d"
    )]
    NoNameLeft {
        /// Who asked.
        asked: Asked,
        /// The template.
        template: String,
    },
    /// The device has no room.
    #[error(
        "{asked}: device {device} has {used} of {max} virtual devices in \
         use (adminAccess included, which the scheduler does not count); delete pods that use it, \
         or select another device"
    )]
    DeviceFull {
        /// Who asked.
        asked: Asked,
        /// The device.
        device: DeviceName,
        /// How many there are.
        used: usize,
        /// How many there may be.
        max: u32,
    },
    /// An exclusive device is another's.
    #[error(
        "{asked}: device {device} is exclusive and claim {other} has it; \
         delete the pod of that claim, or select another device (adminAccess does not share it)"
    )]
    DeviceInUse {
        /// Who asked.
        asked: Asked,
        /// The device.
        device: DeviceName,
        /// Who has it.
        other: ClaimRef,
    },
    /// The parent has children of another kind.
    #[error(
        "{asked}: found {wanted} on device {device}, where claim {other} \
         has {present}; a link carries one kind at a time: use {present}, or select another device"
    )]
    OtherChildKind {
        /// Who asked.
        asked: Asked,
        /// The device.
        device: DeviceName,
        /// The kind that is asked for.
        wanted: String,
        /// The kind that is there.
        present: String,
        /// Whose it is.
        other: ClaimRef,
    },
    /// An exclusive device has not been cleaned up.
    #[error(
        "{asked}: device {device} is exclusive and claim {other} left \
         {if_name} behind ({attempts} tries to undo it, the last said: {why}); it is tried again, \
         correct that cause or select another device"
    )]
    LeftBehind {
        /// Who asked.
        asked: Asked,
        /// The device.
        device: DeviceName,
        /// Whose it was.
        other: ClaimRef,
        /// What it was called.
        if_name: IfName,
        /// How often it was tried.
        attempts: u32,
        /// What the last try said.
        why: String,
    },
    /// The pod has no network namespace of its own.
    #[error(
        "pod {pod} uses the node's network and claim {claim} would put an interface into it; \
         remove hostNetwork or the claim from the pod"
    )]
    HostNetwork {
        /// The pod.
        pod: PodRef,
        /// One of its claims.
        claim: ClaimRef,
    },
    /// The runtime's guest would not see the interface.
    #[error(
        "pod {pod} of claim {claim} runs under runtime handler \"{handler}\", whose guest reads \
         its interfaces before they are added (--refuse-runtime-handlers={pattern}); use a \
         runtimeClassName that shares the node's kernel"
    )]
    RuntimeHandler {
        /// The pod.
        pod: PodRef,
        /// One of its claims.
        claim: ClaimRef,
        /// The handler.
        handler: String,
        /// The pattern that it matches.
        pattern: String,
    },
}

fn writer(source: Source) -> &'static str {
    match source {
        Source::Class => "DeviceClass",
        Source::Claim => "claim",
    }
}

/// The shortest configuration that works, in one line of YAML.
fn minimal(request: &RequestName, driver: &DriverName) -> String {
    format!(
        "- {{requests: [{request}], opaque: {{driver: {driver}, parameters: {{apiVersion: \
         cni.networking.x-k8s.io/v1alpha1, kind: CNI, ifName: net1, config: {{cniVersion: 1.0.0, \
         name: net1, plugins: [{{type: macvlan, mode: bridge}}]}}}}}}}}"
    )
}

impl Cause for Refusal {
    fn reason(&self) -> &'static str {
        self.labels().0
    }

    fn code(&self) -> &'static str {
        self.labels().1
    }
}

impl Refusal {
    fn labels(&self) -> (&'static str, &'static str) {
        match self {
            Self::OtherUid { .. } => ("ClaimReplaced", "claim_replaced"),
            Self::NotAllocated { .. } => ("NotAllocated", "not_allocated"),
            Self::NoDevice { .. } => ("NoDevice", "no_device"),
            Self::Name { .. } => ("InvalidName", "invalid_name"),
            Self::NotReserved { .. } => ("NotReserved", "not_reserved"),
            Self::NotAPod { .. } => ("NotAPod", "not_a_pod"),
            Self::SecondPod { .. } => ("ClaimInUse", "claim_in_use"),
            Self::UnknownDevice { .. } => ("UnknownDevice", "unknown_device"),
            Self::LinkGone { .. } => ("LinkGone", "link_gone"),
            Self::NoConfig { .. } => ("NoConfig", "no_config"),
            Self::ClaimConfig { .. } => ("ClaimConfigRefused", "claim_config_refused"),
            Self::Config { offence, .. } => (offence.reason(), offence.code()),
            Self::DuplicateName { .. } => ("DuplicateInterfaceName", "duplicate_interface_name"),
            Self::NoNameLeft { .. } => ("NoInterfaceName", "no_interface_name"),
            Self::DeviceFull { .. } => ("DeviceFull", "device_full"),
            Self::DeviceInUse { .. } => ("DeviceInUse", "device_in_use"),
            Self::OtherChildKind { .. } => ("OtherChildKind", "other_child_kind"),
            Self::LeftBehind { .. } => ("DeviceNotClean", "device_not_clean"),
            Self::HostNetwork { .. } => ("HostNetwork", "host_network"),
            Self::RuntimeHandler { .. } => ("RuntimeHandlerRefused", "runtime_handler_refused"),
        }
    }
}
