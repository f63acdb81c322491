//! The runtime's side of NRI: registration, synchronization and events.
//!
//! Owns what containerd's adaptation decides: one event of the node at a time; a late or broken
//! plugin is closed and the pod goes on; a plugin's error fails the request. Source:
//! containerd/nri `pkg/adaptation`.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use nri_client::api::{
    ConfigureRequest, ConfigureResponse, Container, CreateContainerRequest,
    CreateContainerResponse, Empty, Event, PLUGIN_SERVICE, PodSandbox, RegisterPluginRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StateChangeEvent, StopPodSandboxRequest,
    SynchronizeRequest, SynchronizeResponse,
};
use nri_client::mux::{self, Limits};
use nri_client::ttrpc::{self, CallError, Client, Code, Request, Service, Status};
use prost::Message as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::{Options, Sandboxes};
use crate::world::node::Node;

const SOCKET: &str = "/run/nri/nri.sock";
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How pod events reach a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// By an RPC each, from NRI 0.12; by `StateChange` where the plugin does not know it.
    Dedicated,
    /// By `StateChange`, before that; the mask has 11 bits.
    StateChange,
}

/// The plugins and how to reach them.
#[derive(Debug)]
pub(super) struct Adaptation {
    plugins: Arc<Mutex<Plugins>>,
    listener: JoinSet<()>,
}

/// One lock for all events of the node, as in the original.
#[derive(Debug)]
struct Plugins {
    options: Options,
    connected: Vec<Plugin>,
    /// How long the last one took to take in all sandboxes.
    synchronized_in: Option<Duration>,
}

#[derive(Debug)]
struct Plugin {
    /// `10-netclaim`
    name: String,
    events: i32,
    client: Client,
    connection: Connection,
}

/// Closes the trunk when it is dropped.
#[derive(Debug)]
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Adaptation {
    pub(super) fn listen(
        node: &Node,
        options: &Options,
        sandboxes: Arc<Sandboxes>,
    ) -> Result<Self> {
        let bind = || -> io::Result<_> {
            let listener = StdUnixListener::bind(SOCKET)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = node.place.run(bind)?.context("cannot listen for NRI")?;
        let listener = UnixListener::from_std(listener)?;
        let plugins = Arc::new(Mutex::new(Plugins {
            options: options.clone(),
            connected: Vec::new(),
            synchronized_in: None,
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&plugins), sandboxes));
        Ok(Self {
            plugins,
            listener: tasks,
        })
    }

    /// Closes the socket and every connection.
    pub(super) async fn close(&mut self, node: &Node) -> Result<()> {
        self.listener.abort_all();
        self.plugins.lock().await.connected.clear();
        match node.place.run(|| std::fs::remove_file(SOCKET))? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn plugins(&self) -> Vec<String> {
        let mut plugins = self.plugins.lock().await;
        plugins.connected.retain(Plugin::is_connected);
        let names = plugins.connected.iter().map(|plugin| plugin.name.clone());
        names.collect()
    }

    pub(super) async fn synchronized_in(&self) -> Option<Duration> {
        self.plugins.lock().await.synchronized_in
    }

    /// Tells every plugin of a pod's `event`; the first error ends it.
    pub(super) async fn pod(&self, event: Event, pod: PodSandbox) -> Result<()> {
        self.plugins.lock().await.ask(event, &pod, None).await
    }

    pub(super) async fn create_container(
        &self,
        pod: PodSandbox,
        container: Container,
    ) -> Result<()> {
        self.plugins
            .lock()
            .await
            .ask(Event::CreateContainer, &pod, Some(&container))
            .await
    }
}

impl Plugins {
    async fn ask(
        &mut self,
        event: Event,
        pod: &PodSandbox,
        container: Option<&Container>,
    ) -> Result<()> {
        let Options {
            generation,
            request_timeout,
            ..
        } = self.options;
        let mut failed = Ok(());
        let mut kept = Vec::new();
        for plugin in self.connected.drain(..) {
            if failed.is_err() || !plugin.wants(event) {
                kept.push(plugin);
                continue;
            }
            match plugin
                .ask(generation, request_timeout, event, pod, container)
                .await
            {
                Ok(()) => kept.push(plugin),
                Err(CallError::Status(status)) => {
                    failed = Err(anyhow::anyhow!(
                        "plugin {:?}: {}",
                        plugin.name,
                        status.message
                    ));
                    kept.push(plugin);
                }
                // Fail-open: the plugin is dropped, the pod goes on without it.
                Err(error) => tracing::warn!(plugin = plugin.name, %error, "closed a plugin"),
            }
        }
        self.connected = kept;
        failed
    }
}

impl Plugin {
    fn is_connected(&self) -> bool {
        !self.connection.0.is_finished()
    }

    fn wants(&self, event: Event) -> bool {
        self.events & (1 << (event as i32 - 1)) != 0
    }

    async fn ask(
        &self,
        generation: Generation,
        timeout: Duration,
        event: Event,
        pod: &PodSandbox,
        container: Option<&Container>,
    ) -> Result<(), CallError> {
        if event == Event::CreateContainer {
            let request = CreateContainerRequest {
                pod: Some(pod.clone()),
                container: container.cloned(),
            };
            let call = self.call("CreateContainer", &request, timeout);
            let CreateContainerResponse { .. } = call.await?;
            return Ok(());
        }
        if generation == Generation::Dedicated {
            match self.ask_dedicated(timeout, event, pod).await {
                Err(CallError::Status(status)) if status.code == Code::Unimplemented as i32 => {}
                answered => return answered,
            }
        }
        let change = StateChangeEvent {
            event: event.into(),
            pod: Some(pod.clone()),
            container: None,
        };
        let Empty {} = self.call("StateChange", &change, timeout).await?;
        Ok(())
    }

    async fn ask_dedicated(
        &self,
        timeout: Duration,
        event: Event,
        pod: &PodSandbox,
    ) -> Result<(), CallError> {
        let pod = Some(pod.clone());
        let Empty {} = match event {
            Event::RunPodSandbox => {
                let request = RunPodSandboxRequest { pod };
                self.call("RunPodSandbox", &request, timeout).await?
            }
            Event::StopPodSandbox => {
                let request = StopPodSandboxRequest { pod };
                self.call("StopPodSandbox", &request, timeout).await?
            }
            _ => {
                let request = RemovePodSandboxRequest { pod };
                self.call("RemovePodSandbox", &request, timeout).await?
            }
        };
        Ok(())
    }

    async fn call<R: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
        timeout: Duration,
    ) -> Result<R, CallError> {
        self.client
            .unary(PLUGIN_SERVICE, method, request, timeout)
            .await
    }
}

async fn accept(listener: UnixListener, plugins: Arc<Mutex<Plugins>>, sandboxes: Arc<Sandboxes>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (plugins, sandboxes) = (Arc::clone(&plugins), Arc::clone(&sandboxes));
        tokio::spawn(async move {
            if let Err(error) = admit(stream, &plugins, &sandboxes).await {
                tracing::warn!("an NRI plugin was not admitted: {error:#}");
            }
        });
    }
}

/// Takes a plugin through registration, configuration and synchronization. No event is sent
/// meanwhile, so that it misses none.
async fn admit(stream: UnixStream, plugins: &Mutex<Plugins>, sandboxes: &Sandboxes) -> Result<()> {
    let conns = [mux::PLUGIN, mux::RUNTIME];
    let (trunk, [calls, requests]) = mux::split(stream, conns, Limits::default());
    let (registered, mut registration) = mpsc::channel(1);
    let connection = Connection(
        tokio::spawn(async move {
            let service = Arc::new(RuntimeService { registered });
            tokio::select! {
                ended = trunk.run() => tracing::debug!(?ended, "an NRI plugin's trunk ended"),
                ended = ttrpc::serve(requests, service) => {
                    tracing::debug!(?ended, "an NRI plugin's calls ended");
                }
            }
        })
        .abort_handle(),
    );
    let registering = tokio::time::timeout(REGISTRATION_TIMEOUT, registration.recv());
    let request = registering
        .await
        .context("no registration in time")?
        .context("closed before registration")?;
    let mut plugins = plugins.lock().await;
    let client = Client::new(calls);
    let events = configure(&client, &plugins.options).await?;
    let told = Instant::now();
    synchronize(&client, &plugins.options, sandboxes).await?;
    plugins.synchronized_in = Some(told.elapsed());
    plugins.connected.push(Plugin {
        name: format!("{}-{}", request.plugin_idx, request.plugin_name),
        events,
        client,
        connection,
    });
    plugins.connected.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

async fn configure(client: &Client, options: &Options) -> Result<i32> {
    let request = ConfigureRequest {
        runtime_name: "containerd".to_owned(),
        runtime_version: match options.generation {
            // A build outside of git has no better.
            Generation::Dedicated => "v2.4.2+unknown".to_owned(),
            Generation::StateChange => "v1.7.35".to_owned(),
        },
        registration_timeout: millis(REGISTRATION_TIMEOUT),
        request_timeout: millis(options.request_timeout),
        ..ConfigureRequest::default()
    };
    let call = client.unary(
        PLUGIN_SERVICE,
        "Configure",
        &request,
        options.request_timeout,
    );
    let ConfigureResponse { events } = call.await?;
    let known = match options.generation {
        Generation::Dedicated => 0b11_1111_1111_1111,
        Generation::StateChange => 0b111_1111_1111,
    };
    if events & !known != 0 {
        bail!("invalid plugin events: {events:#b}");
    }
    Ok(if events == 0 { known } else { events })
}

async fn synchronize(client: &Client, options: &Options, sandboxes: &Sandboxes) -> Result<()> {
    let (mut pods, containers) = sandboxes.to_messages();
    loop {
        let rest = pods.split_off(pods.len().min(options.pods_per_message));
        let more = !rest.is_empty();
        let request = SynchronizeRequest {
            pods,
            // All with the last message.
            containers: if more { Vec::new() } else { containers.clone() },
            more,
        };
        let call = client.unary(
            PLUGIN_SERVICE,
            "Synchronize",
            &request,
            options.request_timeout,
        );
        let answer: SynchronizeResponse = call.await?;
        if answer.more != more {
            bail!("the plugin answered more={} to more={more}", answer.more);
        }
        if !more {
            return Ok(());
        }
        pods = rest;
    }
}

/// What a plugin may call.
struct RuntimeService {
    registered: mpsc::Sender<RegisterPluginRequest>,
}

impl Service for RuntimeService {
    async fn call(&self, request: Request) -> Result<Bytes, Status> {
        if request.method != "RegisterPlugin" {
            let text = format!("unknown method {}/{}", request.service, request.method);
            return Err(Status::new(Code::Unimplemented, text));
        }
        let refuse = |text: String| Status::new(Code::Unknown, text);
        let register = RegisterPluginRequest::decode(request.payload)
            .map_err(|error| refuse(error.to_string()))?;
        let index = &register.plugin_idx;
        if index.len() != 2 || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse(format!(
                "invalid plugin index {index:?}, must be 2 digits"
            )));
        }
        if register.plugin_name.is_empty() {
            return Err(refuse("plugin name is empty".to_owned()));
        }
        let sent = self.registered.send(register).await;
        sent.map_err(|_| refuse("already registered".to_owned()))?;
        Ok(Empty {}.encode_to_vec().into())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
