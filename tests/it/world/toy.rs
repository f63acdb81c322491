//! A plugin that does what a test says, on both of the driver's sockets.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use netclaim_proto::dra::v1::dra_plugin_server::{DraPlugin, DraPluginServer};
use netclaim_proto::dra::v1::{
    Claim, NodePrepareResourceResponse, NodePrepareResourcesRequest, NodePrepareResourcesResponse,
    NodeUnprepareResourceResponse, NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse,
};
use netclaim_proto::registration::registration_server::{Registration, RegistrationServer};
use netclaim_proto::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use netclaim_tests::world::node::Node;
use nri_client::api::{Container, PodSandbox};
use nri_client::{Plugin, Refusal, Runtime};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// What was asked, in order.
pub(super) type Calls = Arc<Mutex<Vec<String>>>;

/// The toy's DRA side.
#[derive(Clone)]
pub(super) struct Toy {
    pub(super) info: PluginInfo,
    pub(super) calls: Calls,
    pub(super) prepare: fn(&Claim) -> Option<NodePrepareResourceResponse>,
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
        }
    }

    /// Serves on both sockets of `node`, until the set is dropped.
    pub(super) fn serve(&self, node: &Node) -> Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let dra = bind(node, &self.info.endpoint)?;
        let server = Server::builder().add_service(DraPluginServer::new(self.clone()));
        tasks.spawn(async move { server.serve_with_incoming(dra).await.unwrap() });
        let registry = bind(node, "/var/lib/kubelet/plugins_registry/toy-reg.sock")?;
        let server = Server::builder().add_service(RegistrationServer::new(self.clone()));
        tasks.spawn(async move { server.serve_with_incoming(registry).await.unwrap() });
        Ok(tasks)
    }
}

fn bind(node: &Node, path: &str) -> Result<UnixListenerStream> {
    let path = path.to_owned();
    let listener = node.place.run(move || -> io::Result<_> {
        let listener = StdUnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })??;
    Ok(UnixListenerStream::new(UnixListener::from_std(listener)?))
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
