//! `netclaim.observe.v1.ObserveService` on a unix socket, with gRPC health and reflection.

use std::{path::Path, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, stream};
use netclaim_core::attachment::Key;
use netclaim_proto::{
    OBSERVE_DESCRIPTORS,
    observe::{
        GetHistoryRequest, GetHistoryResponse, InterfaceHistory, ListTimelineRequest,
        ListTimelineResponse, WatchFlowsRequest, WatchFlowsResponse, WatchSnapshotsRequest,
        WatchSnapshotsResponse,
        observe_service_server::{ObserveService, ObserveServiceServer},
    },
};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

use super::{NodeView, Reader};
use crate::socket::{Server, Socket, SocketError};

mod flows;

/// Root and a group: who may read a node's pods and addresses is for its administrator to say.
const MODE: u32 = 0o660;

const EVERY: Duration = Duration::from_secs(1);

/// Nothing moves faster than the screen of a person, nor is worth a connection when slower.
const ALLOWED: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_mins(1);

/// Why the service cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// Its socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The committed descriptors do not fit their reader.
    #[error(
        "this binary's own gRPC descriptors cannot be read: {0}; report this, with its version"
    )]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The service while it is served.
#[derive(Debug)]
pub struct Running {
    server: Server,
}

/// Serves the view on a socket at `path`.
pub async fn start(path: &Path, view: Arc<NodeView>) -> Result<Running, ObserveError> {
    let stop = CancellationToken::new();
    let observe = Observe {
        view,
        stop: stop.clone(),
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<ObserveServiceServer<Observe>>()
        .await;
    let routes = Routes::new(ObserveServiceServer::new(observe))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let (listener, socket) = Socket::listen(path, MODE).await?;
    let server = Server::start(listener, socket, routes, stop);
    Ok(Running { server })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(OBSERVE_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

impl Running {
    /// Ends every stream and removes the socket.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

#[derive(Debug)]
struct Observe {
    view: Arc<NodeView>,
    stop: CancellationToken,
}

/// One client that watches.
struct Watcher {
    view: Arc<NodeView>,
    reader: Reader,
    tick: Interval,
    stop: CancellationToken,
}

impl Watcher {
    /// The next snapshot, made when the connection has room for it: a slow client skips.
    async fn next(&mut self) -> Option<WatchSnapshotsResponse> {
        tokio::select! {
            () = self.stop.cancelled() => return None,
            _ = self.tick.tick() => {}
        }
        let snapshot = self.view.snapshot(&self.reader);
        Some(WatchSnapshotsResponse {
            snapshot: Some((&snapshot).into()),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.view.forget(&self.reader);
    }
}

#[tonic::async_trait]
impl ObserveService for Observe {
    type WatchSnapshotsStream =
        Pin<Box<dyn Stream<Item = Result<WatchSnapshotsResponse, Status>> + Send>>;

    async fn watch_snapshots(
        &self,
        request: Request<WatchSnapshotsRequest>,
    ) -> Result<Response<Self::WatchSnapshotsStream>, Status> {
        let mut tick = interval(every(&request.into_inner())?);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watcher = Watcher {
            view: Arc::clone(&self.view),
            reader: self.view.new_stream(),
            tick,
            stop: self.stop.clone(),
        };
        let snapshots = stream::unfold(watcher, async |mut watcher| {
            let snapshot = watcher.next().await?;
            Some((Ok(snapshot), watcher))
        });
        Ok(Response::new(Box::pin(snapshots)))
    }

    type WatchFlowsStream = Pin<Box<dyn Stream<Item = Result<WatchFlowsResponse, Status>> + Send>>;

    async fn watch_flows(
        &self,
        request: Request<WatchFlowsRequest>,
    ) -> Result<Response<Self::WatchFlowsStream>, Status> {
        let flows = flows::watch(&self.view, request.into_inner(), self.stop.clone())?;
        Ok(Response::new(Box::pin(flows)))
    }

    async fn get_history(
        &self,
        request: Request<GetHistoryRequest>,
    ) -> Result<Response<GetHistoryResponse>, Status> {
        let key = request.into_inner().key.map(Key::try_from).transpose();
        let key = key.map_err(|error| Status::invalid_argument(format!("key.{error}")))?;
        let histories = self.view.history(key.as_ref()).into_iter();
        let histories = histories.map(|(key, samples)| InterfaceHistory {
            key: Some((&key).into()),
            samples: samples.iter().map(Into::into).collect(),
        });
        let histories = histories.collect();
        Ok(Response::new(GetHistoryResponse { histories }))
    }

    async fn list_timeline(
        &self,
        request: Request<ListTimelineRequest>,
    ) -> Result<Response<ListTimelineResponse>, Status> {
        let rows = self.view.timeline(request.into_inner().include_ended);
        let interfaces = rows.iter().map(Into::into).collect();
        Ok(Response::new(ListTimelineResponse { interfaces }))
    }
}

fn every(request: &WatchSnapshotsRequest) -> Result<Duration, Status> {
    let Some(asked) = &request.interval else {
        return Ok(EVERY);
    };
    let seconds = u64::try_from(asked.seconds).ok();
    let nanos = u32::try_from(asked.nanos).ok();
    let every = seconds
        .zip(nanos)
        .map(|(s, n)| Duration::new(s, n.min(999_999_999)));
    every
        .filter(|every| ALLOWED.contains(every))
        .ok_or_else(|| {
            let (seconds, nanos) = (asked.seconds, asked.nanos);
            Status::invalid_argument(format!(
                "interval: found {seconds} s and {nanos} ns, expected 0.1 s to 60 s"
            ))
        })
}
