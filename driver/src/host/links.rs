//! The links of the node's network namespace: listed, and watched.
//!
//! Owns the conversation with rtnetlink and what sysfs adds to it. It never decides what a link is
//! good for, and never changes one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use netclaim_core::inventory::link::{Link, Seen};
use rtnetlink::{
    Handle, MulticastGroup,
    packet_core::NetlinkMessage,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{RouteHeader, RouteMessage},
    },
    sys::SocketAddr,
};

mod message;
mod namespace;
mod sysfs;

use self::message::DefaultRoutes;
use super::netns;

/// How long a burst of changes is gathered: one plugin makes a handful of them within milliseconds.
const BURST: Duration = Duration::from_millis(200);

/// Why the links are not known.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// No netlink socket.
    #[error("no netlink socket: {0}; netclaim needs the node's network namespace (hostNetwork)")]
    Socket(#[source] io::Error),
    /// The kernel did not answer a request.
    #[error("the kernel does not list its {what}: {source}; it is asked again")]
    Listing {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        source: rtnetlink::Error,
    },
    /// Reading sysfs did not come to its end.
    #[error("reading sysfs was cut short: {0}; it is read again")]
    Sysfs(#[source] tokio::task::JoinError),
}

/// Where links are looked up.
///
/// The network namespace is the one of the thread that asks.
#[derive(Clone, Debug)]
pub struct Links {
    /// Mount point of sysfs.
    pub sysfs: PathBuf,
    /// Folder where runtimes mount the namespaces of pods.
    pub netns: PathBuf,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            sysfs: "/sys".into(),
            netns: "/run/netns".into(),
        }
    }
}

impl Links {
    /// Lists the links, and the namespaces of pods: those mounted in the folder and `sandboxes`,
    /// paths of namespaces that the container runtime told.
    pub async fn list(&self, sandboxes: &BTreeSet<PathBuf>) -> Result<Seen, LinksError> {
        let (connection, handle, _) =
            rtnetlink::new_connection_with_strict_check().map_err(LinksError::Socket)?;
        let connection = tokio::spawn(connection);
        let seen = self.list_by(&handle, sandboxes).await;
        connection.abort();
        seen
    }

    async fn list_by(
        &self,
        handle: &Handle,
        sandboxes: &BTreeSet<PathBuf>,
    ) -> Result<Seen, LinksError> {
        let mut links: BTreeMap<u32, Link> = links(handle).await?;
        for address in addresses(handle).await? {
            match links.get_mut(&address.link) {
                Some(link) if address.lasting => link.addresses.push(address.net),
                Some(link) => link.passing.push(address.net.addr()),
                None => {}
            }
        }
        let routes = default_routes(handle).await?;
        for index in &routes.links {
            if let Some(link) = links.get_mut(index) {
                link.default_route = true;
            }
        }
        // After the links: the kernel gives a peer's namespace its id while it lists them.
        let mut paths = namespace::mounted(&self.netns);
        paths.extend(sandboxes.iter().cloned());
        let pod_namespaces = namespace::ids(handle, &paths).await;

        let mut links: Vec<Link> = links.into_values().collect();
        let sysfs = self.sysfs.clone();
        // The speed is asked of the device's driver, which may take its time.
        let read = tokio::task::spawn_blocking(move || {
            for link in &mut links {
                link.hardware = sysfs::hardware(&sysfs, link);
            }
            links
        });
        Ok(Seen {
            links: read.await.map_err(LinksError::Sysfs)?,
            gateways: routes.gateways,
            pod_namespaces,
        })
    }
}

/// Says that something about links, addresses or routes changed; a burst says so once.
///
/// Ends when the kernel's socket fails: then subscribe again. A message that was lost because the
/// socket was full counts as a change.
pub fn changes() -> Result<impl Stream<Item = ()> + Send + Unpin, LinksError> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Nsid,
    ];
    let (connection, handle, messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(LinksError::Socket)?;
    tokio::spawn(connection);
    // The connection lives as long as its handle.
    let bursts = stream::unfold((messages, handle), |(mut messages, handle)| async move {
        gather(&mut messages).await?;
        Some(((), (messages, handle)))
    });
    Ok(bursts.boxed())
}

/// Waits for a message, and takes those that follow close behind.
async fn gather(
    messages: &mut (impl Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Unpin),
) -> Option<()> {
    messages.next().await?;
    tokio::time::sleep(BURST).await;
    while let Some(Some(_)) = messages.next().now_or_never() {}
    Some(())
}

async fn links(handle: &Handle) -> Result<BTreeMap<u32, Link>, LinksError> {
    let listing = handle.link().get().execute();
    let links: Result<Vec<_>, _> = listing.try_collect().await;
    let links = links.map_err(failed("links"))?;
    let read = links.iter().map(message::link);
    Ok(read.map(|link| (link.index, link)).collect())
}

async fn addresses(handle: &Handle) -> Result<Vec<message::Address>, LinksError> {
    let listing = handle.address().get().execute();
    let addresses: Result<Vec<_>, _> = listing.try_collect().await;
    let addresses = addresses.map_err(failed("addresses"))?;
    Ok(addresses.iter().filter_map(message::address).collect())
}

async fn default_routes(handle: &Handle) -> Result<DefaultRoutes, LinksError> {
    let mut routes = DefaultRoutes::default();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut main = RouteMessage::default();
        main.header.address_family = family;
        main.header.table = RouteHeader::RT_TABLE_MAIN;
        let mut listing = handle.route().get(main).execute().boxed();
        while let Some(route) = listing.try_next().await.map_err(failed("routes"))? {
            routes.take(&route);
        }
    }
    Ok(routes)
}

/// The MTU of a link in a pod's namespace; none where either is gone.
pub async fn mtu(netns: &Path, name: &str) -> Option<u32> {
    let (netns, runtime) = (netns.to_owned(), tokio::runtime::Handle::current());
    let connected = tokio::task::spawn_blocking(move || {
        // The socket stays in the namespace in which it was made.
        netns::inside(&netns, || {
            let _entered = runtime.enter();
            rtnetlink::new_connection()
        })
    });
    let (connection, handle, _) = connected.await.ok()?.ok()?.ok()?;
    let connection = tokio::spawn(connection);
    let mut listing = handle.link().get().match_name(name.to_owned()).execute();
    let found = listing.try_next().await;
    connection.abort();
    found.ok()?.map(|link| message::link(&link).mtu)
}

fn failed(what: &'static str) -> impl Fn(rtnetlink::Error) -> LinksError {
    move |source| LinksError::Listing { what, source }
}

#[cfg(test)]
pub(crate) mod tests;
