//! A node's driver, over `netclaim.observe.v1` on its unix socket.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use futures::{Stream, stream};
use hyper_util::rt::TokioIo;
use netclaim_core::{
    cluster::{AgentState, Change, Recorded},
    name::NodeName,
    snapshot::Snapshot,
};
use netclaim_proto::observe::{
    WatchSnapshotsRequest, WatchSnapshotsResponse, observe_service_client::ObserveServiceClient,
};
use tokio::net::UnixStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};

use super::Source;
use crate::clock::wall;

/// Times between tries: a driver that restarts is back within a second.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A driver that says nothing for so long is taken for dead, although its socket is open.
const SILENCE: Duration = Duration::from_secs(10);
/// Largest snapshot: a thousand interfaces with their timelines have room in it many times over.
const LARGEST_SNAPSHOT: usize = 64 << 20;

/// A node's driver.
#[derive(Debug)]
pub(crate) struct Node {
    path: PathBuf,
    name: Option<NodeName>,
    pause: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begin,
    Wait,
    Connect,
    Listen(Box<Streaming<WatchSnapshotsResponse>>),
    Show(Box<Streaming<WatchSnapshotsResponse>>, Arc<Snapshot>),
}

/// Why a driver does not speak.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{cause} at {}; is netclaim running on this node?", path.display())]
    Connect { path: PathBuf, cause: io::Error },
    #[error("it answered {}: {}", .0.code(), .0.message())]
    Call(tonic::Status),
    #[error("cannot connect: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("it sent {0}; are dra-top and netclaim of the same version?")]
    Invalid(netclaim_proto::InvalidField),
    #[error("it sent an empty snapshot; are dra-top and netclaim of the same version?")]
    Empty,
    #[error("it said nothing for {} s; it hangs or is stopped", SILENCE.as_secs())]
    Silent,
    #[error("it ended the stream: it is stopping or being replaced")]
    Ended,
}

impl Node {
    /// The driver that listens at a path.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            name: None,
            pause: FIRST_PAUSE,
            stage: Stage::Begin,
        }
    }

    async fn next(&mut self) -> Change {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Connect) {
                Stage::Begin => return self.agent(AgentState::Connecting),
                Stage::Wait => {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
                Stage::Connect => match self.connect().await {
                    Ok(stream) => self.stage = Stage::Listen(Box::new(stream)),
                    Err(trouble) => return self.lost(&trouble),
                },
                Stage::Listen(mut stream) => match receive(&mut stream).await {
                    Ok(snapshot) => return self.heard(stream, snapshot),
                    Err(trouble) => return self.lost(&trouble),
                },
                Stage::Show(stream, snapshot) => {
                    self.stage = Stage::Listen(stream);
                    return Change::Snapshot { snapshot };
                }
            }
        }
    }

    /// The first snapshot of a connection says whose it is.
    fn heard(
        &mut self,
        stream: Box<Streaming<WatchSnapshotsResponse>>,
        snapshot: Arc<Snapshot>,
    ) -> Change {
        if self.pause == Duration::ZERO {
            self.stage = Stage::Listen(stream);
            return Change::Snapshot { snapshot };
        }
        self.pause = Duration::ZERO;
        let node = snapshot.node.clone();
        self.name = Some(node.clone());
        self.stage = Stage::Show(stream, snapshot);
        self.agent(AgentState::Connected { node })
    }

    fn lost(&mut self, trouble: &Trouble) -> Change {
        self.stage = Stage::Wait;
        self.pause = self.pause.max(FIRST_PAUSE);
        self.agent(AgentState::Lost {
            node: self.name.clone(),
            why: trouble.to_string(),
        })
    }

    fn agent(&self, state: AgentState) -> Change {
        Change::Agent {
            endpoint: format!("unix:{}", self.path.display()),
            state,
        }
    }

    async fn connect(&self) -> Result<Streaming<WatchSnapshotsResponse>, Trouble> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|cause| Trouble::Connect {
                path: self.path.clone(),
                cause,
            })?;
        let mut client = ObserveServiceClient::new(over(stream).await?)
            .max_decoding_message_size(LARGEST_SNAPSHOT);
        let request = WatchSnapshotsRequest::default();
        let answer = client.watch_snapshots(request).await;
        Ok(answer.map_err(Trouble::Call)?.into_inner())
    }
}

impl Source for Node {
    fn changes(self) -> impl Stream<Item = Recorded> + Send + 'static {
        stream::unfold(self, |mut node| async move {
            let change = node.next().await;
            Some((Recorded { at: wall(), change }, node))
        })
    }
}

/// A channel over a socket that is already connected; it does not reconnect, we do.
async fn over(stream: UnixStream) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream
            .take()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    // The authority is not used on a unix socket, but HTTP/2 wants one.
    Endpoint::from_static("http://netclaim")
        .connect_with_connector(connector)
        .await
}

async fn receive(stream: &mut Streaming<WatchSnapshotsResponse>) -> Result<Arc<Snapshot>, Trouble> {
    let message = tokio::time::timeout(SILENCE, stream.message()).await;
    let message = message
        .map_err(|_| Trouble::Silent)?
        .map_err(Trouble::Call)?;
    let snapshot = message
        .ok_or(Trouble::Ended)?
        .snapshot
        .ok_or(Trouble::Empty)?;
    Snapshot::try_from(snapshot)
        .map(Arc::new)
        .map_err(Trouble::Invalid)
}

#[cfg(test)]
mod tests;
