//! Wires the parts of a node's driver together, and ends them in order.
//!
//! Owns the start, the standby and the shutdown. It decides nothing about claims.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use nri_client::Registration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::active::Active;
use crate::{
    host::{
        Linux,
        cni::Plugins,
        probe::{self, Probes},
    },
    instance::ActiveLock,
    nri::{self, Pods},
    options::Options,
};

mod active;

/// Our place among NRI plugins: early, so that later ones find the interfaces.
const NRI_INDEX: u8 = 10;

/// How long a shutdown waits for the tasks that still write something.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves this node until `shutdown`.
///
/// Starts as a standby: connected to the runtime, programs loaded, nothing written. Becomes active
/// once no other instance is.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut shutdown = std::pin::pin!(shutdown);
    let host = host(&options);
    let pods = Pods::new();
    let tasks = TaskTracker::new();
    let leave_runtime = CancellationToken::new();
    let session = tasks.spawn(follow_pods(&options, &pods, leave_runtime.clone())?);

    let lock = tokio::select! {
        lock = ActiveLock::acquire(&options.plugin_dir()) => {
            lock.with_context(|| format!("cannot lock {}", options.plugin_dir().display()))?
        }
        () = &mut shutdown => return Ok(()),
    };
    let active = Active::start(&options, host, &pods).await?;
    shutdown.await;
    tracing::info!("shutting down");
    active.stop(FAREWELL).await;
    drop(lock);
    // Last of all: until a standby has taken over, pods are still announced to us.
    leave_runtime.cancel();
    session.await?;
    Ok(())
}

/// The node with its plugins and probes; without probes it still attaches, and says why it does
/// not count.
fn host(options: &Options) -> Linux {
    let folder = probe::folder(&options.bpffs, &options.driver_name);
    let probes = Probes::open(&folder, options.max_interfaces);
    let cache = options.journal_dir().join("cni");
    let plugins = Plugins::new(options.cni_path.clone(), &cache, None);
    let host = Linux::new(plugins, probes, options.max_interfaces);
    if let Some(failure) = host.uncounted() {
        tracing::error!(reason = %failure.reason, "traffic is not counted: {}", failure.message);
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
