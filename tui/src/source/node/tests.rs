//! A real server on a real socket.

use std::pin::Pin;

use futures::StreamExt as _;
use netclaim_proto::observe::{
    GetHistoryRequest, GetHistoryResponse, ListTimelineRequest, ListTimelineResponse,
    WatchSnapshotsRequest, WatchSnapshotsResponse,
    observe_service_server::{ObserveService, ObserveServiceServer},
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::tests::talk;

/// Says two snapshots to whoever asks, and ends.
struct Driver;

type Snapshots = Pin<Box<dyn Stream<Item = Result<WatchSnapshotsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ObserveService for Driver {
    type WatchSnapshotsStream = Snapshots;

    async fn watch_snapshots(
        &self,
        _: Request<WatchSnapshotsRequest>,
    ) -> Result<Response<Snapshots>, Status> {
        let snapshots = [0, 1].map(|second| {
            let snapshot = Some((&talk::snapshot(second)).into());
            Ok(WatchSnapshotsResponse { snapshot })
        });
        Ok(Response::new(Box::pin(stream::iter(snapshots))))
    }

    async fn get_history(
        &self,
        _: Request<GetHistoryRequest>,
    ) -> Result<Response<GetHistoryResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_timeline(
        &self,
        _: Request<ListTimelineRequest>,
    ) -> Result<Response<ListTimelineResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[tokio::test]
async fn a_driver_is_waited_for_heard_and_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("observe.sock");
    let mut changes = std::pin::pin!(Node::new(path.clone()).changes());
    let mut next = async || changes.next().await.expect("it never ends").change;
    let state = |change| match change {
        Change::Agent { state, .. } => state,
        other => panic!("expected an agent, found {other:?}"),
    };
    let lost = |change| match state(change) {
        AgentState::Lost { node, why } => (node.map(|node| node.to_string()), why),
        other => panic!("expected a loss, found {other:?}"),
    };

    assert_eq!(state(next().await), AgentState::Connecting);
    let (node, why) = lost(next().await);
    assert_eq!(node, None);
    assert!(why.contains("is netclaim running on this node?"), "{why}");

    let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let service = ObserveServiceServer::new(Driver);
    let server = Server::builder()
        .add_service(service)
        .serve_with_incoming(listener);
    let server = tokio::spawn(server);

    let node = "kind-worker".parse().unwrap();
    assert_eq!(state(next().await), AgentState::Connected { node });
    for second in [0, 1] {
        let Change::Snapshot { snapshot } = next().await else {
            panic!("expected snapshot {second}");
        };
        assert_eq!(*snapshot, talk::snapshot(second));
    }
    let (node, why) = lost(next().await);
    assert_eq!(node.as_deref(), Some("kind-worker"));
    assert!(why.contains("ended the stream"), "{why}");
    server.abort();
}
