//! `DRAResourceHealth`, `v1` and `v1alpha1`: whether each device can be used.
//!
//! The whole list each time: at once, on each change, and every 10 seconds, because the kubelet
//! believes a device for a limited time only.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use netclaim_core::{
    inventory::{Device, Inventory, LinkState},
    name::PoolName,
};
use netclaim_proto::health::{v1, v1alpha1};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::clock;

/// Time between two lists when nothing changes.
const EVERY: Duration = Duration::from_secs(10);

/// How long the kubelet may believe a list: three of them may get lost.
const BELIEVED_SECONDS: i64 = 30;

/// Serves both versions.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pool: PoolName,
    inventory: watch::Receiver<Arc<Inventory>>,
    stop: CancellationToken,
}

/// One kubelet that listens.
struct Listener {
    health: Health,
    beat: Interval,
    /// Nobody looks at the links any more.
    blind: bool,
}

/// A device's health as both versions say it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    pool: String,
    device: String,
    status: i32,
    message: String,
}

impl Health {
    pub(super) fn new(
        pool: PoolName,
        inventory: watch::Receiver<Arc<Inventory>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            pool,
            inventory,
            stop,
        }
    }

    pub(super) fn into_v1(self) -> v1::dra_resource_health_server::DraResourceHealthServer<Self> {
        v1::dra_resource_health_server::DraResourceHealthServer::new(self)
    }

    pub(super) fn into_v1alpha1(
        self,
    ) -> v1alpha1::dra_resource_health_server::DraResourceHealthServer<Self> {
        v1alpha1::dra_resource_health_server::DraResourceHealthServer::new(self)
    }

    fn lists(&self) -> impl Stream<Item = Vec<Row>> + Send + use<> {
        let mut beat = interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listener = Listener {
            health: self.clone(),
            beat,
            blind: false,
        };
        stream::unfold(listener, async |mut listener| {
            let rows = listener.next().await?;
            Some((rows, listener))
        })
    }
}

impl Listener {
    /// The next list; none once the plugin stops.
    async fn next(&mut self) -> Option<Vec<Row>> {
        tokio::select! {
            () = self.health.stop.cancelled() => return None,
            _ = self.beat.tick() => {}
            changed = self.health.inventory.changed(), if !self.blind => {
                self.blind = changed.is_err();
            }
        }
        let inventory = Arc::clone(&self.health.inventory.borrow_and_update());
        let rows = inventory.devices.values();
        Some(rows.map(|device| self.row(device)).collect())
    }

    fn row(&self, device: &Device) -> Row {
        let link = &device.link;
        let (status, message) = if self.blind {
            let message = "netclaim does not watch the node's links any more: see its log";
            (v1::HealthStatus::Unknown, message.to_owned())
        } else {
            match device.state {
                LinkState::Up => (v1::HealthStatus::Healthy, String::new()),
                LinkState::Down => (
                    v1::HealthStatus::Unhealthy,
                    format!("link {link} is down or has no carrier"),
                ),
                LinkState::Gone => (
                    v1::HealthStatus::Unhealthy,
                    format!("link {link} is not in the node's network namespace any more"),
                ),
            }
        };
        Row {
            pool: self.health.pool.to_string(),
            device: device.name.to_string(),
            status: status.into(),
            message,
        }
    }
}

/// The same service twice: the versions differ in name only.
macro_rules! resource_health {
    ($version:ident) => {
        #[tonic::async_trait]
        impl $version::dra_resource_health_server::DraResourceHealth for Health {
            type NodeWatchResourcesStream = Pin<
                Box<dyn Stream<Item = Result<$version::NodeWatchResourcesResponse, Status>> + Send>,
            >;

            async fn node_watch_resources(
                &self,
                _: Request<$version::NodeWatchResourcesRequest>,
            ) -> Result<Response<Self::NodeWatchResourcesStream>, Status> {
                let lists = self.lists().map(|rows| {
                    let devices = rows.into_iter().map(Into::into).collect();
                    Ok($version::NodeWatchResourcesResponse { devices })
                });
                Ok(Response::new(Box::pin(lists)))
            }
        }

        impl From<Row> for $version::DeviceHealth {
            fn from(row: Row) -> Self {
                let now = clock::now().0 / 1_000;
                Self {
                    device: Some($version::DeviceIdentifier {
                        pool_name: row.pool,
                        device_name: row.device,
                    }),
                    health: row.status,
                    last_updated_time: i64::try_from(now).unwrap_or(i64::MAX),
                    health_check_timeout_seconds: BELIEVED_SECONDS,
                    message: row.message,
                }
            }
        }
    };
}

resource_health!(v1);
resource_health!(v1alpha1);
