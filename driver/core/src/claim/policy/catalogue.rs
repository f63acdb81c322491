//! The allow-list: which plugins and fields a configuration may use, as data.
//!
//! One table, three readers: the walk that enforces it, the messages that list what is accepted,
//! and the documentation. A field that is not here is refused; to allow one is to write a row.

use std::fmt;

use serde_json::{Map, Value};

use super::value;
use crate::claim::{
    object::Source,
    offence::{Offence, Path},
};

/// What a plugin does to the pod's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Makes an interface on top of the device.
    Child {
        /// The kernel lets the device carry children of this kind only
        /// (`netdev_rx_handler_register` says EBUSY to the second kind).
        alone: bool,
    },
    /// Moves the device itself into the pod.
    Move,
    /// Changes an interface that a plugin before it made.
    Chained,
    /// Gives addresses; stands in `ipam`.
    Ipam,
}

/// A plugin that may be used.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    /// Its `type`.
    pub name: &'static str,
    /// What it does.
    pub role: Role,
    /// Who may use it: a claim's plugins are the class's as well.
    pub source: Source,
    /// Its fields beside `type` and `capabilities`.
    pub fields: &'static [Field],
    /// The capability arguments that the reference plugin takes; any other it drops in silence.
    pub arguments: &'static [&'static str],
    /// What holds of its fields together.
    pub whole: fn(&Map<String, Value>, &Path) -> Result<(), Offence>,
}

/// A field that may be used.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, exactly: Go's decoder takes `MASTER` for `master`, and so would a gap here.
    pub name: &'static str,
    /// Whether it has to be there.
    pub required: bool,
    /// What it may hold.
    pub check: Check,
}

/// What a value may be. Its `Display` is what messages and documentation say.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number, both ends included.
    Whole(u64, u64),
    /// A routing table of one's own.
    Table,
    /// A unicast hardware address.
    Mac,
    /// An IP address.
    Address,
    /// An IP address with a prefix length.
    Cidr,
    /// A network that addresses are given out of.
    Subnet,
    /// An address that the pod gets, with its prefix length.
    PodCidr,
    /// An address that the pod gets, with or without its prefix length.
    PodAddress,
    /// A few printable characters.
    Text,
    /// A name of a network.
    Network,
    /// A name of an interface in the pod.
    Interface,
    /// A name of an interface in the pod, or a template for several.
    Template,
    /// The allocated device; filled in when absent.
    Device,
    /// Where leases are kept; never the user's to say, always filled in.
    DataDir,
    /// A list of such values.
    List(&'static Self),
    /// An object of these fields.
    Object(&'static [Field]),
    /// A range of addresses for host-local.
    Range,
    /// Kernel settings of the interface itself.
    Sysctls,
    /// Switches by the name of a capability.
    Capabilities,
    /// A plugin that gives addresses.
    Ipam,
    /// A chain of plugins.
    Chain,
}

const fn field(name: &'static str, check: Check) -> Field {
    Field {
        name,
        required: false,
        check,
    }
}

const fn required(name: &'static str, check: Check) -> Field {
    Field {
        name,
        required: true,
        check,
    }
}

/// From the smallest datagram that IPv4 must carry (RFC 791) to the largest.
const MTU: Check = Check::Whole(68, 65_535);
const ANY_U32: Check = Check::Whole(0, u32::MAX as u64);

/// What a user writes as `opaque.parameters`.
pub const PARAMETERS: &[Field] = &[
    required(
        "apiVersion",
        Check::OneOf(&["cni.networking.x-k8s.io/v1alpha1"]),
    ),
    required("kind", Check::OneOf(&["CNI"])),
    required("ifName", Check::Template),
    required("config", Check::Object(CONF_LIST)),
    field("runtimeConfig", Check::Object(RUNTIME_CONFIG)),
    field("observe", Check::Object(&[field("flows", Check::Flag)])),
];

const CONF_LIST: &[Field] = &[
    required(
        "cniVersion",
        Check::OneOf(&["0.3.1", "0.4.0", "1.0.0", "1.1.0"]),
    ),
    field("cniVersions", Check::List(&Check::Text)),
    required("name", Check::Network),
    field("disableCheck", Check::Flag),
    field("disableGC", Check::Flag),
    required("plugins", Check::Chain),
];

/// Capability arguments: what `capabilities` may switch on and `runtimeConfig` may hold.
pub const RUNTIME_CONFIG: &[Field] = &[
    field("mac", Check::Mac),
    field("ips", Check::List(&Check::PodAddress)),
    field(
        "bandwidth",
        Check::Object(&[
            field("ingressRate", Check::Whole(1, MAX_RATE)),
            field("ingressBurst", Check::Whole(1, MAX_RATE)),
            field("egressRate", Check::Whole(1, MAX_RATE)),
            field("egressBurst", Check::Whole(1, MAX_RATE)),
        ]),
    ),
];

/// Bits per second, the most that a signed 32-bit count of bytes holds, which the bandwidth
/// plugin computes with.
const MAX_RATE: u64 = 8 * (i32::MAX as u64);

/// Every plugin that may be used without `--cni-types`.
pub const PLUGINS: &[Plugin] = &[
    Plugin {
        name: "macvlan",
        role: Role::Child { alone: true },
        source: Source::Claim,
        fields: &[
            field("master", Check::Device),
            field("mode", Check::OneOf(&["bridge", "private", "vepa"])),
            field("mtu", MTU),
            field("mac", Check::Mac),
            field("ipam", Check::Ipam),
        ],
        arguments: &["mac"],
        whole: value::anything,
    },
    Plugin {
        name: "ipvlan",
        role: Role::Child { alone: true },
        source: Source::Claim,
        fields: &[
            field("master", Check::Device),
            field("mode", Check::OneOf(&["l2", "l3"])),
            field("mtu", MTU),
            field("ipam", Check::Ipam),
        ],
        arguments: &[],
        whole: value::anything,
    },
    Plugin {
        name: "vlan",
        role: Role::Child { alone: false },
        source: Source::Class,
        fields: &[
            field("master", Check::Device),
            required("vlanId", Check::Whole(1, 4_094)),
            field("mtu", MTU),
            field("ipam", Check::Ipam),
        ],
        arguments: &[],
        whole: value::anything,
    },
    Plugin {
        name: "host-device",
        role: Role::Move,
        source: Source::Class,
        fields: &[field("device", Check::Device), field("ipam", Check::Ipam)],
        arguments: &[],
        whole: value::anything,
    },
    Plugin {
        name: "tuning",
        role: Role::Chained,
        source: Source::Claim,
        fields: &[
            field("mac", Check::Mac),
            field("mtu", MTU),
            field("allmulti", Check::Flag),
            field("sysctl", Check::Sysctls),
        ],
        arguments: &["mac"],
        whole: value::anything,
    },
    Plugin {
        name: "sbr",
        role: Role::Chained,
        source: Source::Claim,
        fields: &[field("table", Check::Table)],
        arguments: &[],
        whole: value::anything,
    },
    Plugin {
        name: "vrf",
        role: Role::Chained,
        source: Source::Class,
        fields: &[
            required("vrfname", Check::Interface),
            field("table", Check::Table),
        ],
        arguments: &[],
        whole: value::anything,
    },
    Plugin {
        name: "static",
        role: Role::Ipam,
        source: Source::Claim,
        fields: &[
            field("addresses", Check::List(&Check::Object(ADDRESS))),
            field("routes", Check::List(&Check::Object(ROUTE))),
        ],
        arguments: &["ips"],
        whole: value::anything,
    },
    Plugin {
        name: "host-local",
        role: Role::Ipam,
        source: Source::Claim,
        fields: &[
            field("subnet", Check::Subnet),
            field("rangeStart", Check::Address),
            field("rangeEnd", Check::Address),
            field("gateway", Check::Address),
            field("ranges", Check::List(&Check::List(&Check::Range))),
            field("routes", Check::List(&Check::Object(ROUTE))),
            field("dataDir", Check::DataDir),
        ],
        arguments: &["ips"],
        whole: value::subnet_or_ranges,
    },
    Plugin {
        name: "dhcp",
        role: Role::Ipam,
        source: Source::Class,
        fields: &[
            field("request", Check::List(&Check::Object(DHCP_REQUEST))),
            field("provide", Check::List(&Check::Object(DHCP_PROVIDE))),
            field("priority", ANY_U32),
        ],
        arguments: &[],
        whole: value::anything,
    },
];

const ADDRESS: &[Field] = &[
    required("address", Check::PodCidr),
    field("gateway", Check::Address),
];

/// A range of host-local.
pub(super) const RANGE: &[Field] = &[
    required("subnet", Check::Subnet),
    field("rangeStart", Check::Address),
    field("rangeEnd", Check::Address),
    field("gateway", Check::Address),
];

const ROUTE: &[Field] = &[
    required("dst", Check::Cidr),
    field("gw", Check::Address),
    field("mtu", MTU),
    field("advmss", MTU),
    field("priority", ANY_U32),
    field("table", Check::Table),
    field("scope", Check::Whole(0, 255)),
];

const DHCP_REQUEST: &[Field] = &[
    field("skipDefault", Check::Flag),
    required("option", Check::Text),
];

const DHCP_PROVIDE: &[Field] = &[
    required("option", Check::Text),
    field("value", Check::Text),
    field("fromArg", Check::Text),
];

/// Fields that nobody may set, whatever the plugin, and why.
pub const RESERVED: &[(&str, &str)] = &[
    (
        "dataDir",
        "leases are kept by the driver, apart for each namespace",
    ),
    ("resolvConf", "it would read a file of the node"),
    ("daemonSocketPath", "it would reach a socket of the node"),
    ("linkInContainer", "the device is the node's"),
    ("prevResult", "the runtime gives it"),
    (
        "args",
        "the runtime gives it; capability arguments go into runtimeConfig beside config",
    ),
    (
        "runtimeConfig",
        "the runtime gives it; write it beside config",
    ),
];

/// Why nobody may set `name`, if so. As Go's decoder does, it ignores case, which for this
/// purpose covers the Kelvin sign and the long s too.
pub fn reserved(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    if folded.starts_with("cni.dev/") {
        return Some("the runtime gives it");
    }
    RESERVED
        .iter()
        .find(|(reserved, _)| fold(reserved) == folded)
        .map(|(_, why)| *why)
}

/// The name without its case.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// The row of a plugin.
pub fn plugin(name: &str) -> Option<&'static Plugin> {
    PLUGINS.iter().find(|plugin| plugin.name == name)
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                f.write_str(&quoted.join(" or "))
            }
            Self::Whole(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::List(item) => write!(f, "a list, each item {item}"),
            Self::Object(fields) => {
                let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                write!(f, "an object of {}", names.join(", "))
            }
            Self::Range => Self::Object(RANGE).fmt(f),
            other => f.write_str(other.words()),
        }
    }
}

impl Check {
    fn words(&self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Table => {
                "a routing table from 1 to 2147483647, not 253 to 255 (the kernel's own)"
            }
            Self::Mac => "a unicast hardware address such as \"02:00:00:00:00:01\"",
            Self::Address => "an IP address",
            Self::Cidr | Self::PodCidr | Self::Subnet => "an IP address with its prefix length",
            Self::PodAddress => "an IP address, with or without its prefix length",
            Self::Text => "1 to 64 printable ASCII characters",
            Self::Network => {
                "a name of 1 to 128 letters, digits, _ . or -, a letter or digit first"
            }
            Self::Interface => {
                "1 to 15 characters of a-z 0-9 . _ -, a letter first, and not lo, eth0, all or \
                 default"
            }
            Self::Template => {
                "1 to 15 characters of a-z 0-9 . _ -, a letter first, and not lo, eth0, all or \
                 default; or such a name that ends in %d, for several devices"
            }
            Self::Device => "the allocated device's link",
            Self::DataDir => "nothing",
            Self::Sysctls => {
                "an object of settings net.<ipv4|ipv6|mpls>.<conf|neigh>.<ifName>.<name>, each \
                 1 to 64 printable ASCII characters"
            }
            Self::Capabilities => "an object of switches mac, ips, bandwidth",
            Self::Ipam => "an object with the type of an IPAM plugin",
            Self::Chain => "a list of 1 to 16 plugins",
            Self::OneOf(_) | Self::Whole(..) | Self::List(_) | Self::Object(_) | Self::Range => "",
        }
    }
}
