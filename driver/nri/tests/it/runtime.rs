//! A session with both ends in hand: the plugin records what it is asked, the runtime is spoken
//! for by the test.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nri_client::api::{
    ConfigureRequest, ConfigureResponse, Container, Empty, Event, PLUGIN_SERVICE, PodSandbox,
    RUNTIME_SERVICE, RegisterPluginRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StateChangeEvent, StopPodSandboxRequest,
};
use nri_client::mux::{self, Limits};
use nri_client::ttrpc::{self, CallError, Client, Code, Request, Service, Status};
use nri_client::{Plugin, Refusal, Registration, Runtime, SessionError, serve_until};
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No step takes longer, unless it hangs.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What the plugin was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Configure(Runtime),
    Synchronize(Vec<String>, Vec<String>),
    Run(String),
    Ran(String),
    Stop(String),
    Remove(String),
    Create(String, String),
    Shutdown,
}

/// Which generation of NRI the runtime is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Generation {
    StateChange,
    Dedicated,
}

/// How the runtime answers a registration.
#[derive(Clone, Copy)]
pub(crate) enum Registrar {
    Accepts,
    Refuses,
    /// Never answers.
    Sleeps,
}

/// A plugin that refuses the pod `refused`, in as many words as its uid says, and holds the pod
/// `slow` until it is let go.
struct Recorder {
    asked: mpsc::UnboundedSender<Asked>,
    let_go: Arc<Notify>,
}

/// The runtime, and with it the session under test.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
    pub(crate) registered: mpsc::UnboundedReceiver<RegisterPluginRequest>,
    pub(crate) let_go: Arc<Notify>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<Result<(), SessionError>>,
    pub(crate) trunk: JoinHandle<Result<mux::End, mux::MuxError>>,
}

impl Session {
    /// A session after registration.
    pub(crate) async fn registered() -> Self {
        let mut session = Self::begin(Registrar::Accepts);
        session.registered.recv().await.expect("a registration");
        session
    }

    /// A session from its first byte. The runtime's limits are those of Go: what it reads must
    /// come in frames of at most 4,096 bytes, what it writes is not cut.
    pub(crate) fn begin(registrar: Registrar) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (asked, asked_of) = mpsc::unbounded_channel();
        let let_go = Arc::new(Notify::new());
        let plugin = Recorder {
            asked,
            let_go: Arc::clone(&let_go),
        };
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            let registration = Registration::new("recorder", 42).expect("valid");
            let stopped = async {
                if stopped.await.is_err() {
                    pending::<()>().await;
                }
            };
            serve_until(ours, Arc::new(plugin), &registration, stopped).await
        });

        let limits = Limits {
            payload_in: 4096,
            payload_out: (4 << 20) + 10,
        };
        let (mux, [plugin, runtime]) = mux::split(theirs, [mux::PLUGIN, mux::RUNTIME], limits);
        let (registrations, registered) = mpsc::unbounded_channel();
        tokio::spawn(ttrpc::serve(
            runtime,
            Arc::new(RuntimeService {
                registrar,
                registrations,
            }),
        ));
        let trunk = tokio::spawn(mux.run());
        let client = Client::new(plugin);
        Self {
            client,
            asked: asked_of,
            registered,
            let_go,
            stop,
            ended,
            trunk,
        }
    }

    /// Calls a method of the plugin.
    pub(crate) async fn call<Reply: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<Reply, Status> {
        call(&self.client, method, request).await
    }

    /// Tells of `event` for the pod `name` in the way of `generation`.
    pub(crate) async fn pod_event(
        &self,
        generation: Generation,
        event: Event,
        pod: PodSandbox,
    ) -> Result<(), Status> {
        let pod = Some(pod);
        let outcome = match (generation, event) {
            (Generation::StateChange, event) => {
                let change = StateChangeEvent {
                    event: event.into(),
                    pod,
                    container: None,
                };
                self.call("StateChange", &change).await
            }
            (_, Event::RunPodSandbox) => {
                self.call("RunPodSandbox", &RunPodSandboxRequest { pod })
                    .await
            }
            (_, Event::StopPodSandbox) => {
                self.call("StopPodSandbox", &StopPodSandboxRequest { pod })
                    .await
            }
            (_, Event::RemovePodSandbox) => {
                self.call("RemovePodSandbox", &RemovePodSandboxRequest { pod })
                    .await
            }
            (_, other) => panic!("{other:?} has no method here"),
        };
        outcome.map(|Empty {}| ())
    }

    /// Configures the plugin.
    pub(crate) async fn configure(&self, request: ConfigureRequest) -> ConfigureResponse {
        self.call("Configure", &request)
            .await
            .expect("a plugin that can be configured")
    }

    /// What the plugin is asked next.
    pub(crate) async fn next(&mut self) -> Asked {
        timeout(SOON, self.asked.recv())
            .await
            .expect("in time")
            .expect("a plugin")
    }

    /// How the session ended.
    pub(crate) async fn end(self) -> Result<(), SessionError> {
        timeout(SOON, self.ended)
            .await
            .expect("in time")
            .expect("no panic")
    }
}

/// Calls a method of the plugin, whose answer is not a matter of the connection.
pub(crate) async fn call<Reply: Message + Default>(
    client: &Client,
    method: &str,
    request: &impl Message,
) -> Result<Reply, Status> {
    match client.unary(PLUGIN_SERVICE, method, request, SOON).await {
        Ok(reply) => Ok(reply),
        Err(CallError::Status(status)) => Err(status),
        Err(error) => panic!("{method}: {error}"),
    }
}

/// A pod whose id and name are `name`.
pub(crate) fn pod(name: &str) -> PodSandbox {
    PodSandbox {
        id: name.to_owned(),
        name: name.to_owned(),
        ..PodSandbox::default()
    }
}

struct RuntimeService {
    registrar: Registrar,
    registrations: mpsc::UnboundedSender<RegisterPluginRequest>,
}

impl Service for RuntimeService {
    async fn call(&self, request: Request) -> Result<Bytes, Status> {
        assert_eq!(request.service, RUNTIME_SERVICE);
        assert_eq!(request.method, "RegisterPlugin");
        assert_eq!(request.timeout(), Some(Duration::from_secs(5)));
        let registration = RegisterPluginRequest::decode(request.payload).expect("a registration");
        self.registrations
            .send(registration)
            .expect("a test that waits");
        match self.registrar {
            Registrar::Accepts => Ok(Bytes::new()),
            Registrar::Refuses => Err(Status::new(Code::Unknown, "invalid plugin name")),
            Registrar::Sleeps => pending().await,
        }
    }
}

impl Recorder {
    fn record(&self, asked: Asked) {
        // The test may be over while a request runs on.
        let _ = self.asked.send(asked);
    }
}

impl Plugin for Recorder {
    async fn configure(&self, runtime: Runtime) -> Result<(), Refusal> {
        self.record(Asked::Configure(runtime));
        Ok(())
    }

    async fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
    ) -> Result<(), Refusal> {
        let pods = pods.into_iter().map(|pod| pod.id).collect();
        let containers = containers
            .into_iter()
            .map(|container| container.id)
            .collect();
        self.record(Asked::Synchronize(pods, containers));
        Ok(())
    }

    async fn run_pod_sandbox(&self, pod: PodSandbox) -> Result<(), Refusal> {
        self.record(Asked::Run(pod.id.clone()));
        match pod.name.as_str() {
            "refused" => return Err(Refusal::new(pod.uid)),
            "slow" => self.let_go.notified().await,
            _ => {}
        }
        self.record(Asked::Ran(pod.id));
        Ok(())
    }

    async fn stop_pod_sandbox(&self, pod: PodSandbox) -> Result<(), Refusal> {
        self.record(Asked::Stop(pod.id));
        Ok(())
    }

    async fn remove_pod_sandbox(&self, pod: PodSandbox) -> Result<(), Refusal> {
        self.record(Asked::Remove(pod.id));
        Ok(())
    }

    async fn create_container(&self, pod: PodSandbox, container: Container) -> Result<(), Refusal> {
        self.record(Asked::Create(pod.id, container.id));
        Ok(())
    }

    async fn shutdown(&self) {
        self.record(Asked::Shutdown);
    }
}
