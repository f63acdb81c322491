//! Wires the parts of a node's driver together, and ends them in order.
//!
//! Owns the start, the standby and the shutdown. It decides nothing about claims.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use netclaim_core::snapshot::NriState;
use nri_client::Registration;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::active::{Shown, Starting};
use crate::{
    health::{self, Health},
    host::{
        Linux,
        cni::Plugins,
        probe::{self, Probes},
    },
    instance::Seats,
    nri::{self, Pods},
    options::Options,
};

mod active;
mod kubelet;
mod plugins;

/// Our place among NRI plugins: early, so that later ones find the interfaces.
const NRI_INDEX: u8 = 10;

/// The part of our health that the container runtime decides.
const RUNTIME: &str = "container runtime";

/// How long whoever stands by may take until the kubelet knows it: the kubelet looks at sockets once a
/// second.
const HANDOVER: Duration = Duration::from_secs(4);

/// How long a shutdown waits for the tasks that still write something.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves this node until `shutdown`.
///
/// Beside an active instance it is a standby: connected to the runtime, programs loaded, nothing
/// written. Once that one leaves, it makes itself known to the kubelet, and becomes active.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut shutdown = std::pin::pin!(shutdown);
    let host = host(&options);
    let pods = Pods::new();
    let leave = CancellationToken::new();
    let health = Health::new([RUNTIME]);
    tokio::spawn(
        health::serve(
            &options.expose.health_socket,
            Arc::clone(&health),
            leave.clone(),
        )
        .await?,
    );
    tokio::spawn(watch_runtime(pods.watch_state(), Arc::clone(&health)));

    let sessions = TaskTracker::new();
    let mut follow = Some(follow_pods(&options, &pods, leave.clone())?);
    let shown = Shown::new();
    let mut kubelet = shown.kubelet(&options)?;
    let folder = options.plugin_dir();
    let seats = Seats::try_take(&folder).context(folder.display().to_string())?;
    let seats = if let Some(seats) = seats {
        seats
    } else {
        tracing::info!("another instance is active on this node: standing by");
        // A standby sees every sandbox, so that it knows them when its turn comes.
        follow.take().map(|session| sessions.spawn(session));
        tokio::select! {
            seats = Seats::take(&folder, async |standby| kubelet.register_early(standby).await) =>
                seats.context(folder.display().to_string())?,
            () = &mut shutdown => return Ok(()),
        }
    };
    // An only instance joins the runtime once it can attach: a connection that answers without
    // attaching would let pods start bare.
    let join = || drop(follow.take().map(|session| sessions.spawn(session)));
    let starting = Starting::open(&options, host, &pods, &health, shown).await?;
    tokio::select! {
        () = starting.rebuild() => {}
        () = &mut shutdown => return Ok(()),
    }
    let active = starting.serve(kubelet, join).await?;
    shutdown.await;
    tracing::info!("shutting down");
    let seat = seats.call_next(HANDOVER).await;
    active.stop(&pods, FAREWELL).await;
    drop(seat);
    // Last of all: until a standby has taken over, pods are still announced to us.
    leave.cancel();
    sessions.close();
    sessions.wait().await;
    Ok(())
}

/// The node with its plugins and probes; without probes it still attaches, and says why it does
/// not count.
fn host(options: &Options) -> Linux {
    let folder = probe::folder(&options.bpffs, options.driver_name.as_str());
    let probes = Probes::open(&folder, options.max_interfaces);
    let cache = options.journal_dir().join("cni");
    let plugins = Plugins::new(
        options.cni_path.clone(),
        &cache,
        options.host_root.as_deref(),
    )
    .with_leases(&options.state_dir.join("ipam"));
    let host = Linux::new(plugins, probes, options.max_interfaces);
    if let Some(failure) = host.uncounted() {
        tracing::error!(reason = %failure.reason, "traffic is not counted: {}", failure.message);
    } else if let Err(failure) = host.drops() {
        tracing::warn!(
            reason = %failure.reason,
            "drops are not counted, all else is: {}", failure.message
        );
    }
    host
}

fn follow_pods(
    options: &Options,
    pods: &Arc<Pods<Linux>>,
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let registration = Registration::new(options.driver_name.as_str(), NRI_INDEX)?;
    let (socket, pods) = (options.nri_socket.clone(), Arc::clone(pods));
    Ok(async move {
        nri::connection::keep(&socket, &registration, &pods, stop.cancelled()).await;
    })
}

/// Says in our health whether the runtime announces pods to us.
async fn watch_runtime(mut nri: watch::Receiver<NriState>, health: Arc<Health>) {
    loop {
        let connected = nri.borrow_and_update().connected;
        let words = "not connected to its NRI socket: pods would start without their interfaces";
        health.set(
            RUNTIME,
            if connected {
                Ok(())
            } else {
                Err(words.to_owned())
            },
        );
        if nri.changed().await.is_err() {
            return;
        }
    }
}
