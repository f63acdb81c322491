//! Results of ADD: any version is read, the newest is kept, each version can be written.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{SpecVersion, head};

/// What ADD made (spec §5, "ADD Success"), in the shape of 1.1.0.
///
/// It serializes as a complete 1.1.0 result, so that the journal and a claim's status hold what
/// any CNI tool reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AddResult {
    /// Every interface that was made, those outside of the sandbox included.
    #[serde(default, deserialize_with = "null_is_default")]
    pub interfaces: Vec<Interface>,
    /// Addresses, each on one of `interfaces`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub ips: Vec<IpConfig>,
    /// Routes inside the sandbox.
    #[serde(default, deserialize_with = "null_is_default")]
    pub routes: Vec<Route>,
    /// Resolver settings, which nobody applies to a pod that runs already.
    #[serde(default, deserialize_with = "null_is_default")]
    pub dns: Dns,
}

/// An interface that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The network namespace it is in; absent on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// The socket of a userspace interface (vhost-user).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_path: Option<String>,
    /// The PCI address behind it.
    #[serde(default, rename = "pciID", skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The subnet's gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index into the result's interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; the subnet's gateway when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// Path MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Maximum segment size that is advertised, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Metric: lower is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// Routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope (rtnetlink's numbers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

/// Resolver settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Name servers, by preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search domains, by preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// The interface inside the pod, picked out of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInterface<'a> {
    /// Its hardware address.
    pub mac: Option<&'a str>,
    /// Its MTU in bytes, where the plugin says it (1.1.0).
    pub mtu: Option<u32>,
    /// Its addresses.
    pub ips: Vec<IpNet>,
}

/// Why a value is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// A version that netclaim does not speak.
    #[error("a result of version {found}, expected one of {}", SpecVersion::LISTED)]
    Version {
        /// The version.
        found: String,
    },
    /// A field of the wrong shape.
    #[error("{why}")]
    Shape {
        /// The decoder's words.
        why: String,
    },
    /// An address on an interface that the result does not list.
    #[error("an address on interface {index} of {listed}")]
    NoSuchInterface {
        /// The index.
        index: usize,
        /// How many interfaces are listed.
        listed: usize,
    },
}

impl AddResult {
    /// Reads a result of any version that netclaim speaks; one that names none is of the version
    /// that was asked for (libcni's rule).
    pub fn read(value: &Value) -> Result<Self, ResultError> {
        match &value["cniVersion"] {
            Value::Null => {}
            Value::String(text) if text.is_empty() || SpecVersion::parse(text).is_some() => {}
            Value::String(text) => {
                return Err(ResultError::Version {
                    found: head(text.as_bytes()),
                });
            }
            other => {
                return Err(ResultError::Version {
                    found: head(other.to_string().as_bytes()),
                });
            }
        }
        let result = Self::deserialize(value).map_err(|error| ResultError::Shape {
            why: error.to_string(),
        })?;
        let listed = result.interfaces.len();
        match result
            .ips
            .iter()
            .filter_map(|ip| ip.interface)
            .find(|index| *index >= listed)
        {
            Some(index) => Err(ResultError::NoSuchInterface { index, listed }),
            None => Ok(result),
        }
    }

    /// The result in the shape of `version`, for a plugin of that version. As in libcni, 1.0.0
    /// keeps what 1.1.0 added and 0.x loses it.
    pub fn at(&self, version: SpecVersion) -> Value {
        let legacy = version < SpecVersion::V1_0_0;
        let written = Written {
            cni_version: version,
            interfaces: self
                .interfaces
                .iter()
                .map(|i| if legacy { i.legacy() } else { i.clone() })
                .collect(),
            ips: self
                .ips
                .iter()
                .map(|ip| WrittenIp::new(ip, legacy))
                .collect(),
            routes: self
                .routes
                .iter()
                .map(|r| if legacy { r.legacy() } else { r.clone() })
                .collect(),
            dns: &self.dns,
        };
        // Strings, numbers and lists: there is nothing that the serializer could refuse.
        serde_json::to_value(written).unwrap_or_default()
    }

    /// The interface `name` in the namespace `sandbox`, if the chain did not tell its MTU.
    pub fn without_mtu(&mut self, sandbox: &str, name: &str) -> Option<&mut Interface> {
        self.interfaces
            .iter_mut()
            .find(|i| i.name == name && i.sandbox.as_deref() == Some(sandbox) && i.mtu.is_none())
    }

    /// The interface `name` in the namespace `sandbox`. An address that names no interface is its
    /// own when it is the sandbox's only one.
    pub fn pod_interface(&self, sandbox: &str, name: &str) -> Option<PodInterface<'_>> {
        let inside = |i: &&Interface| i.sandbox.as_deref() == Some(sandbox);
        let alone = self.interfaces.iter().filter(inside).count() == 1;
        let index = self
            .interfaces
            .iter()
            .position(|i| inside(&i) && i.name == name)?;
        let interface = self.interfaces.get(index)?;
        let own = |ip: &&IpConfig| ip.interface.map_or(alone, |of| of == index);
        Some(PodInterface {
            mac: interface.mac.as_deref(),
            mtu: interface.mtu,
            ips: self.ips.iter().filter(own).map(|ip| ip.address).collect(),
        })
    }
}

impl Serialize for AddResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.at(SpecVersion::LATEST).serialize(serializer)
    }
}

impl Interface {
    fn legacy(&self) -> Self {
        Self {
            mtu: None,
            socket_path: None,
            pci_id: None,
            ..self.clone()
        }
    }
}

impl Route {
    fn legacy(&self) -> Self {
        Self {
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
            ..self.clone()
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    cni_version: SpecVersion,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<Interface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<WrittenIp<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

/// Before 1.0.0 an address says its family.
#[derive(Serialize)]
struct WrittenIp<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(flatten)]
    ip: &'a IpConfig,
}

impl<'a> WrittenIp<'a> {
    fn new(ip: &'a IpConfig, legacy: bool) -> Self {
        let family = match ip.address {
            IpNet::V4(_) => "4",
            IpNet::V6(_) => "6",
        };
        Self {
            version: legacy.then_some(family),
            ip,
        }
    }
}

impl Dns {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Go writes an empty list as null where a field has no `omitempty`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
