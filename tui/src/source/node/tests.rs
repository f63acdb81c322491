//! A real server on a real socket.

use std::pin::Pin;

use futures::StreamExt as _;
use netclaim_proto::observe::{
    GetHistoryRequest, GetHistoryResponse, ListTimelineRequest, ListTimelineResponse,
    WatchFlowsRequest, WatchFlowsResponse, WatchSnapshotsRequest, WatchSnapshotsResponse,
    observe_service_server::{ObserveService, ObserveServiceServer},
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use netclaim_core::{
    cluster::{FlowsTold, Watched},
    flows,
    time::Timestamp,
};

use super::*;
use crate::{source::Looked, tests::talk};

/// Says two snapshots to whoever asks, and ends; or goes on saying nothing.
struct Driver {
    ends: bool,
    /// Who asked for flows, or stopped to.
    asked: mpsc::Sender<Asked>,
}

#[derive(Debug, PartialEq)]
enum Asked {
    For(WatchFlowsRequest),
    NoMore,
}

/// Says once that there is nothing, and when nobody listens any more.
struct Empty(mpsc::Sender<Asked>);

impl Drop for Empty {
    fn drop(&mut self) {
        let _nobody = self.0.try_send(Asked::NoMore);
    }
}

type Snapshots = Pin<Box<dyn Stream<Item = Result<WatchSnapshotsResponse, Status>> + Send>>;
type Flows = Pin<Box<dyn Stream<Item = Result<WatchFlowsResponse, Status>> + Send>>;

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
        let said = stream::iter(snapshots);
        Ok(Response::new(if self.ends {
            Box::pin(said)
        } else {
            Box::pin(said.chain(stream::pending()))
        }))
    }

    type WatchFlowsStream = Flows;

    async fn watch_flows(
        &self,
        request: Request<WatchFlowsRequest>,
    ) -> Result<Response<Flows>, Status> {
        let request = request.into_inner();
        let refused = request.interface.as_deref() == Some("net9");
        self.asked.send(Asked::For(request)).await.unwrap();
        if refused {
            return Err(Status::failed_precondition("write this and that"));
        }
        let empty = Empty(self.asked.clone());
        let one = flows::Flows {
            taken: Timestamp(1),
            interval: None,
            interfaces: vec![],
            table: None,
        };
        let said = stream::once(async move { Ok((&one).into()) }).chain(stream::pending());
        Ok(Response::new(Box::pin(said.inspect(move |_| {
            let _kept = &empty;
        }))))
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

/// Serves a driver until it is aborted.
fn serve(path: &std::path::Path, driver: Driver) -> tokio::task::JoinHandle<()> {
    let listener = UnixListenerStream::new(UnixListener::bind(path).unwrap());
    let service = ObserveServiceServer::new(driver);
    let server = Server::builder()
        .add_service(service)
        .serve_with_incoming(listener);
    tokio::spawn(async move { server.await.unwrap() })
}

#[tokio::test]
async fn a_driver_is_waited_for_heard_and_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("observe.sock");
    let (_, looks) = watch::channel(None);
    let mut changes = std::pin::pin!(Node::new(path.clone(), looks).changes());
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

    let (asked, _) = mpsc::channel(8);
    let server = serve(&path, Driver { ends: true, asked });

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

#[tokio::test]
async fn flows_are_asked_for_while_somebody_looks_at_them_and_of_this_node_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("observe.sock");
    let (asked, mut heard) = mpsc::channel(8);
    let server = serve(&path, Driver { ends: false, asked });
    let looked = |node: &str, if_name: &str| {
        Some(Looked {
            node: node.parse().unwrap(),
            of: Watched {
                claim: "claim-uid".parse().unwrap(),
                if_name: if_name.parse().unwrap(),
            },
        })
    };
    let (looks, from) = watch::channel(looked("another-node", "net5"));
    let mut changes = std::pin::pin!(Node::new(path, from).changes());
    // Connecting, connected, two snapshots; nothing of another node's interface.
    for _ in 0..4 {
        let change = changes.next().await.unwrap().change;
        assert!(!matches!(change, Change::Flows { .. }), "{change:?}");
    }
    // They would be here at once.
    let silence = tokio::time::timeout(Duration::from_millis(500), changes.next());
    assert!(silence.await.is_err() && heard.try_recv().is_err());

    let mut told = async |if_name: &str| match changes.next().await.unwrap().change {
        Change::Flows { of, told } => {
            assert_eq!(of.if_name.as_str(), if_name);
            told
        }
        other => panic!("expected flows, found {other:?}"),
    };
    looks.send_replace(looked("kind-worker", "net1"));
    assert!(matches!(told("net1").await, FlowsTold::Seen { .. }));
    let Some(Asked::For(request)) = heard.recv().await else {
        panic!("nobody asked")
    };
    assert_eq!(request.claim_uid.as_deref(), Some("claim-uid"));
    assert_eq!(request.interface.as_deref(), Some("net1"));

    looks.send_replace(looked("kind-worker", "net9"));
    let why = "write this and that".to_owned();
    assert_eq!(told("net9").await, FlowsTold::Unseen { why });
    let mut asked = [heard.recv().await, heard.recv().await];
    asked.sort_by_key(|asked| *asked == Some(Asked::NoMore));
    assert!(matches!(&asked[0], Some(Asked::For(of)) if of.interface.as_deref() == Some("net9")));
    assert_eq!(asked[1], Some(Asked::NoMore), "the page before is closed");

    looks.send_replace(looked("kind-worker", "net1"));
    assert!(matches!(told("net1").await, FlowsTold::Seen { .. }));
    looks.send_replace(None);
    while heard.recv().await != Some(Asked::NoMore) {
        // Driven on, it finds that nobody looks.
        let _quiet = tokio::time::timeout(Duration::from_millis(10), changes.next()).await;
    }
    server.abort();
}
