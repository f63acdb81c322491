//! Links as the kernel reports them: what the survey reads.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

/// A network device of the node's own namespace.
///
/// From `RTM_GETLINK`, `RTM_GETADDR`, `RTM_GETROUTE` and sysfs; a field that the kernel does not
/// tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent things that the kernel says of a link"
)]
pub struct Link {
    /// Interface index: never given twice while the node runs.
    pub index: u32,
    /// Name, 15 bytes at most.
    pub name: String,
    /// Other names it answers to.
    pub alt_names: Vec<String>,
    /// `IFLA_INFO_KIND`; none for hardware.
    pub kind: Option<String>,
    /// Whether it is a loopback.
    pub loopback: bool,
    /// Whether its frames are Ethernet's: what macvlan, ipvlan and vlan need.
    pub ethernet: bool,
    /// Hardware address, lower-case hex with colons.
    pub mac: Option<String>,
    /// Largest packet.
    pub mtu: u32,
    /// Administratively up, with carrier, and operational.
    pub up: bool,
    /// Index of the bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
    /// Index of the link below it, or of a veth's peer.
    pub parent: Option<u32>,
    /// Id of the namespace of that link, where it is another one (`IFLA_LINK_NETNSID`).
    pub peer_namespace: Option<i32>,
    /// Its lasting global addresses, in the kernel's order.
    pub addresses: Vec<IpNet>,
    /// Its other addresses but link-local ones: of a moment (temporary, deprecated, tentative), or
    /// of the node alone.
    pub passing: Vec<IpAddr>,
    /// Whether a default route of the node leaves by it.
    pub default_route: bool,
    /// What sysfs says of the device behind it.
    pub hardware: Hardware,
}

/// The device behind a link, as sysfs shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// `dddd:bb:dd.f`.
    pub pci_address: Option<String>,
    /// `pcidddd:bb`: the first component of the device's path in sysfs.
    pub pcie_root: Option<String>,
    /// Kernel driver.
    pub driver: Option<String>,
    /// Mbit/s; the kernel knows it only while there is carrier.
    pub speed: Option<u32>,
    /// NUMA node.
    pub numa_node: Option<u32>,
}

/// What was seen at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The links of the node's namespace.
    pub links: Vec<Link>,
    /// Next hops of its default routes.
    pub gateways: BTreeSet<IpAddr>,
    /// Ids, in the node's namespace, of the namespaces that belong to pods.
    pub pod_namespaces: BTreeSet<i32>,
}

impl Link {
    /// Whether it is called so, by its name or by another one.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.alt_names.iter().any(|alt| alt == name)
    }
}
