//! Addresses that host-local keeps for containers.

use std::{fmt, net::IpAddr};

use crate::{attachment::Key, time::Timestamp};

/// An address that host-local keeps for an interface, as a file of our folders says it
/// (`disk.Store.Reserve`, plugins/ipam/host-local/backend).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Whose folder it is in: `class`, or `ns-<namespace>`.
    pub owner: String,
    /// The network.
    pub network: String,
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub key: Key,
    /// When it was written: an address that was given again is another lease.
    pub written: Timestamp,
}

impl Lease {
    /// What is wrong with a lease that nobody answers for, in every reader's words.
    pub fn words(&self) -> String {
        format!(
            "address {} of network {} ({}) is kept for interface {}, and neither the ledger nor \
             the container runtime knows that sandbox",
            self.address, self.network, self.owner, self.key
        )
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.owner, self.network, self.address)
    }
}
