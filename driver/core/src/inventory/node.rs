//! Which addresses are the node's own: what no tenant may give to a pod.
//!
//! A child of a link answers on that link's network. An ipvlan with the node's address takes the
//! node's packets, since the kernel looks among the children first (`ipvlan_addr_lookup`,
//! `drivers/net/ipvlan`); a macvlan with it, or with the gateway's, answers ARP beside the owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::link::{Link, Seen};

/// Addresses that are the node's or its gateways'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// Addresses of the node's links, and which link has it; without link-local ones, which no
    /// claim may name anyway.
    pub own: BTreeMap<IpAddr, String>,
    /// Next hops of the node's default routes.
    pub gateways: BTreeSet<IpAddr>,
    /// Hardware addresses, in lower case, of the links that are offered or carry an address.
    pub hardware: BTreeMap<String, String>,
}

impl NodeAddresses {
    /// Gathers them; `offered` says which links are devices.
    ///
    /// The hardware addresses of other links are left out: those of the veths of pods come and go
    /// with them.
    pub fn of(seen: &Seen, offered: impl Fn(&Link) -> bool) -> Self {
        let own = |link: &Link| {
            let lasting = link.addresses.iter().map(ipnet::IpNet::addr);
            let all = lasting.chain(link.passing.iter().copied());
            let named = all.map(|address| (address.to_canonical(), link.name.clone()));
            named.collect::<Vec<_>>()
        };
        let named = seen
            .links
            .iter()
            .filter(|link| offered(link) || !link.addresses.is_empty());
        Self {
            own: seen.links.iter().flat_map(own).collect(),
            gateways: seen.gateways.iter().map(IpAddr::to_canonical).collect(),
            hardware: named
                .filter_map(|link| {
                    Some((link.mac.as_ref()?.to_ascii_lowercase(), link.name.clone()))
                })
                .collect(),
        }
    }

    /// Whose an address is, in words, if it is the node's or its gateway's.
    pub fn owner(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        if let Some(link) = self.own.get(&address) {
            return Some(format!("an address of the node's {link}"));
        }
        let gateway = self.gateways.contains(&address);
        gateway.then(|| "the node's default gateway".to_owned())
    }

    /// Whose a hardware address is, in words, if it is the node's.
    pub fn hardware_owner(&self, mac: &str) -> Option<String> {
        let link = self.hardware.get(&mac.to_ascii_lowercase())?;
        Some(format!("the hardware address of the node's {link}"))
    }

    /// The node's addresses and its gateways'.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.own.keys().chain(&self.gateways).copied()
    }
}

#[cfg(test)]
mod tests;
