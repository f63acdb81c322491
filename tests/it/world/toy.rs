//! A plugin that does what a test says, on both of the driver's sockets.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use futures::{Stream, StreamExt as _};
use netclaim_proto::dra::v1::dra_plugin_server::{DraPlugin, DraPluginServer};
use netclaim_proto::dra::v1::{
    Claim, NodePrepareResourceResponse, NodePrepareResourcesRequest, NodePrepareResourcesResponse,
    NodeUnprepareResourceResponse, NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse,
};
use netclaim_proto::registration::registration_server::{Registration, RegistrationServer};
use netclaim_proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use netclaim_tests::world::kubelet::dial;
use netclaim_tests::world::node::Node;
use nri_client::api::{Container, PodSandbox};
use nri_client::{Plugin, Refusal, Runtime};
use tokio::io::{DuplexStream, duplex};
use tokio::net::UnixListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const REGISTRATION: &str = "/var/lib/kubelet/plugins_registry/toy-reg.sock";

/// What was asked, in order.
pub(super) type Calls = Arc<Mutex<Vec<String>>>;

/// The toy's DRA side.
#[derive(Clone)]
pub(super) struct Toy {
    pub(super) info: PluginInfo,
    pub(super) calls: Calls,
    pub(super) prepare: fn(&Claim) -> Option<NodePrepareResourceResponse>,
    /// Takes no call without a proper authority.
    pub(super) insists: bool,
    /// Where requests to prepare wait for each other.
    pub(super) together: Arc<Barrier>,
}

impl Toy {
    pub(super) fn new() -> Self {
        Self {
            info: PluginInfo {
                r#type: "DRAPlugin".to_owned(),
                name: "toy.example".to_owned(),
                endpoint: "/var/lib/kubelet/plugins/toy.sock".to_owned(),
                supported_versions: vec!["v1.DRAPlugin".to_owned()],
            },
            calls: Calls::default(),
            prepare: |_| Some(NodePrepareResourceResponse::default()),
            insists: false,
            together: Arc::new(Barrier::new(1)),
        }
    }

    /// Serves on both sockets of `node`, until the set is dropped.
    pub(super) fn serve(&self, node: &Node) -> Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let dra = self.bind(node, &self.info.endpoint)?;
        let server = Server::builder().add_service(DraPluginServer::new(self.clone()));
        tasks.spawn(async move { server.serve_with_incoming(dra).await.unwrap() });
        let registry = self.bind(node, REGISTRATION)?;
        let server = Server::builder().add_service(RegistrationServer::new(self.clone()));
        tasks.spawn(async move { server.serve_with_incoming(registry).await.unwrap() });
        Ok(tasks)
    }

    /// Removes both sockets of a toy that serves no more.
    pub(super) fn remove(&self, node: &Node) -> Result<()> {
        for path in [&self.info.endpoint, REGISTRATION] {
            let path = path.to_owned();
            node.place.run(move || std::fs::remove_file(path))??;
        }
        Ok(())
    }

    /// Listens at `path`, and minds being called by it no more than a server in Go does.
    fn bind(
        &self,
        node: &Node,
        path: &str,
    ) -> Result<impl Stream<Item = io::Result<DuplexStream>> + use<>> {
        let (at, called_by) = (path.to_owned(), dial::authority(path));
        let listener = node.place.run(move || -> io::Result<_> {
            let listener = StdUnixListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })??;
        let from = if self.insists {
            dial::LOCALHOST.to_vec()
        } else {
            called_by
        };
        let accepted = UnixListenerStream::new(UnixListener::from_std(listener)?);
        Ok(accepted.map(move |accepted| {
            let (client, from) = (accepted?, from.clone());
            let (ours, server) = duplex(64 << 10);
            tokio::spawn(async move { dial::pass(client, server, &from, dial::LOCALHOST).await });
            Ok(ours)
        }))
    }
}

#[tonic::async_trait]
impl Registration for Toy {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        status: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = status.into_inner();
        let call = format!("registered={} {}", status.plugin_registered, status.error);
        self.calls.lock().unwrap().push(call.trim_end().to_owned());
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[tonic::async_trait]
impl DraPlugin for Toy {
    async fn node_prepare_resources(
        &self,
        request: Request<NodePrepareResourcesRequest>,
    ) -> Result<Response<NodePrepareResourcesResponse>, Status> {
        self.together.wait().await;
        self.calls.lock().unwrap().push("prepare".to_owned());
        let mut claims = BTreeMap::new();
        for claim in request.into_inner().claims {
            if let Some(response) = (self.prepare)(&claim) {
                claims.insert(claim.uid, response);
            }
        }
        Ok(Response::new(NodePrepareResourcesResponse { claims }))
    }

    async fn node_unprepare_resources(
        &self,
        request: Request<NodeUnprepareResourcesRequest>,
    ) -> Result<Response<NodeUnprepareResourcesResponse>, Status> {
        self.calls.lock().unwrap().push("unprepare".to_owned());
        let claims = request.into_inner().claims.into_iter();
        let claims = claims.map(|claim| (claim.uid, NodeUnprepareResourceResponse::default()));
        let claims = claims.collect();
        Ok(Response::new(NodeUnprepareResourcesResponse { claims }))
    }
}

/// What an NRI plugin does about a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    TooLate,
}

/// The toy's NRI side.
pub(super) struct ToyNri {
    pub(super) calls: Calls,
    pub(super) run: Mutex<Answer>,
}

impl ToyNri {
    fn record(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

impl Plugin for ToyNri {
    async fn configure(&self, runtime: Runtime) -> Result<(), Refusal> {
        self.record(format!("configure {:?}", runtime.request_timeout));
        Ok(())
    }

    async fn synchronize(&self, pods: Vec<PodSandbox>, _: Vec<Container>) -> Result<(), Refusal> {
        self.record(format!("synchronize {}", pods.len()));
        Ok(())
    }

    async fn run_pod_sandbox(&self, pod: PodSandbox) -> Result<(), Refusal> {
        self.record(format!("run {}", pod.name));
        let answer = *self.run.lock().unwrap();
        match answer {
            Answer::Yes => Ok(()),
            Answer::No => Err(Refusal::new("as the test says")),
            Answer::TooLate => {
                tokio::time::sleep(Duration::from_mins(1)).await;
                Ok(())
            }
        }
    }

    async fn stop_pod_sandbox(&self, pod: PodSandbox) -> Result<(), Refusal> {
        let path = pod.network_namespace().unwrap_or("none").to_owned();
        let name = path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .starts_with("cni-");
        self.record(format!("stop {} netns={name}", pod.name));
        Ok(())
    }

    async fn remove_pod_sandbox(&self, pod: PodSandbox) -> Result<(), Refusal> {
        self.record(format!("remove {}", pod.name));
        Ok(())
    }

    async fn create_container(&self, _: PodSandbox, container: Container) -> Result<(), Refusal> {
        self.record(format!("create {}", container.name));
        Ok(())
    }

    async fn shutdown(&self) {}
}
