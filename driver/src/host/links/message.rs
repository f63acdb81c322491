//! Netlink messages as links, addresses and routes.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use netclaim_core::inventory::link::Link;
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, Prop},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia},
};

/// A link of `RTM_NEWLINK`; its addresses, routes and hardware are told elsewhere.
pub(super) fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        loopback: flags.contains(LinkFlags::Loopback),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        // IFF_RUNNING follows the operational state, IFF_LOWER_UP the carrier.
        up: flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::PropList(props) => link.alt_names = alt_names(props),
            LinkAttribute::LinkInfo(info) => link.kind = kind(info),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Link(parent) => link.parent = Some(*parent).filter(|index| *index != 0),
            LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(*id),
            _ => {}
        }
    }
    link
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Index of the link.
    pub(super) link: u32,
    /// The address.
    pub(super) net: IpNet,
    /// Global, and not only a moment's (temporary, deprecated, tentative): an identity.
    pub(super) lasting: bool,
}

/// An address and the link that has it; none for a link-local one.
pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let header = &message.header;
    let of = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    // On a link between two ends, the local address is ours and the other the peer's.
    let local = of(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        of(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    // IFA_F_TEMPORARY shares its bit with IFA_F_SECONDARY, which is harmless in IPv4.
    let passing = AddressHeaderFlags::Deprecated
        | AddressHeaderFlags::Tentative
        | AddressHeaderFlags::Secondary;
    let is_passing = address.is_ipv6() && header.flags.intersects(passing);
    let is_global = matches!(header.scope, AddressScope::Universe | AddressScope::Site);
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let net = IpNet::new(address, header.prefix_len).ok()?;
    (!is_link_local).then_some(Address {
        link: header.index,
        net,
        lasting: is_global && !is_passing,
    })
}

/// The default routes of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DefaultRoutes {
    /// Indices of the links by which they leave.
    pub(super) links: BTreeSet<u32>,
    /// Their next hops.
    pub(super) gateways: BTreeSet<IpAddr>,
}

impl DefaultRoutes {
    /// Takes in a route, if it is one of them.
    pub(super) fn take(&mut self, route: &RouteMessage) {
        let header = &route.header;
        if header.destination_prefix_length == 0 && header.kind == RouteType::Unicast {
            self.take_hop(&route.attributes);
        }
    }

    fn take_hop(&mut self, attributes: &[RouteAttribute]) {
        for attribute in attributes {
            match attribute {
                RouteAttribute::Oif(index) => {
                    self.links.insert(*index);
                }
                RouteAttribute::Gateway(RouteAddress::Inet(address))
                | RouteAttribute::Via(RouteVia::Inet(address)) => {
                    self.gateways.insert((*address).into());
                }
                RouteAttribute::Gateway(RouteAddress::Inet6(address))
                | RouteAttribute::Via(RouteVia::Inet6(address)) => {
                    self.gateways.insert((*address).into());
                }
                RouteAttribute::MultiPath(hops) => {
                    for hop in hops {
                        self.links.insert(hop.interface_index);
                        self.take_hop(&hop.attributes);
                    }
                }
                _ => {}
            }
        }
    }
}

fn alt_names(props: &[Prop]) -> Vec<String> {
    let name = |prop: &Prop| match prop {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    };
    props.iter().filter_map(name).collect()
}

fn kind(info: &[LinkInfo]) -> Option<String> {
    info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

fn mac(bytes: &[u8]) -> Option<String> {
    let octets: Vec<String> = bytes.iter().map(|octet| format!("{octet:02x}")).collect();
    (!octets.is_empty()).then(|| octets.join(":"))
}
