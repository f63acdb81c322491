//! Netlink messages as links, addresses and routes.

use std::net::IpAddr;

use ipnet::IpNet;
use netclaim_core::inventory::link::Link;
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, Prop},
    route::{RouteAttribute, RouteMessage, RouteType},
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

/// A lasting global address and the link that has it.
///
/// An address that is only a moment's (temporary, deprecated, tentative) is nobody's identity.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let header = &message.header;
    if !matches!(header.scope, AddressScope::Universe | AddressScope::Site) {
        return None;
    }
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
    if address.is_ipv6() && header.flags.intersects(passing) {
        return None;
    }
    let net = IpNet::new(address, header.prefix_len).ok()?;
    Some((header.index, net))
}

/// Indices of the links by which a route leaves, if it is a default route.
pub(super) fn default_route(route: &RouteMessage) -> Vec<u32> {
    let header = &route.header;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let leaves_by = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    };
    route.attributes.iter().flat_map(leaves_by).collect()
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
