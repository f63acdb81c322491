//! The resources that are served.
//!
//! Owns their table. Objects pass through the types of k8s-openapi: a field of the wrong type is
//! refused and an unknown one is dropped, as a real server does.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event as CoreEvent, Namespace, Node, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::resource::v1::{
    DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, to_value};

/// A kind of object.
#[derive(Debug)]
pub struct Resource {
    /// Its API group, empty for the core.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// Its name in objects.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its status is written apart.
    pub has_status: bool,
    /// The object with what its type does not know left out.
    pub decode: fn(Value) -> serde_json::Result<Value>,
}

const CORE: &str = "";
const DRA: &str = "resource.k8s.io";

/// All resources.
pub static ALL: [Resource; 10] = [
    Resource::new::<Namespace>(CORE, "namespaces", "Namespace").cluster(),
    Resource::new::<Node>(CORE, "nodes", "Node")
        .cluster()
        .with_status(),
    Resource::new::<Pod>(CORE, "pods", "Pod").with_status(),
    Resource::new::<CoreEvent>(CORE, "events", "Event"),
    Resource::new::<Event>("events.k8s.io", "events", "Event"),
    Resource::new::<Deployment>("apps", "deployments", "Deployment").with_status(),
    Resource::new::<DeviceClass>(DRA, "deviceclasses", "DeviceClass").cluster(),
    Resource::new::<ResourceSlice>(DRA, "resourceslices", "ResourceSlice").cluster(),
    Resource::new::<ResourceClaim>(DRA, "resourceclaims", "ResourceClaim").with_status(),
    Resource::new::<ResourceClaimTemplate>(DRA, "resourceclaimtemplates", "ResourceClaimTemplate"),
];

/// Nodes.
pub const NODES: &Resource = &ALL[1];
/// Pods.
pub const PODS: &Resource = &ALL[2];
/// Events, as `events.k8s.io` has them.
pub const EVENTS: &Resource = &ALL[4];
/// Deployments, which the world expands once.
pub const DEPLOYMENTS: &Resource = &ALL[5];
/// Classes of devices.
pub const CLASSES: &Resource = &ALL[6];
/// What drivers offer.
pub const SLICES: &Resource = &ALL[7];
/// What pods want and have.
pub const CLAIMS: &Resource = &ALL[8];
/// What claims are made from.
pub const TEMPLATES: &Resource = &ALL[9];
/// Namespaces.
pub const NAMESPACES: &Resource = &ALL[0];

impl Resource {
    const fn new<T: DeserializeOwned + Serialize>(
        group: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            group,
            version: "v1",
            plural,
            kind,
            namespaced: true,
            has_status: false,
            decode: |value| to_value(from_value::<T>(value)?),
        }
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn with_status(mut self) -> Self {
        self.has_status = true;
        self
    }

    /// The resource at `plural` of a group.
    pub fn by_path(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        ALL.iter().find(|resource| {
            (resource.group, resource.version, resource.plural) == (group, version, plural)
        })
    }

    /// The resource of an object.
    pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Self> {
        ALL.iter()
            .find(|resource| resource.api_version() == api_version && resource.kind == kind)
    }

    /// `resource.k8s.io/v1`, or `v1` for the core.
    pub fn api_version(&self) -> String {
        match self.group {
            CORE => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `resourceclaims.resource.k8s.io`
    pub fn full_name(&self) -> String {
        match self.group {
            CORE => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}
