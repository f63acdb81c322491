//! What a driver says, whatever brings it here: its snapshots, and the flows that are looked at.
//!
//! Knows nothing of how a driver is reached, and never tries again: who calls it does.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use netclaim_core::{
    cluster::{FlowsTold, Watched},
    snapshot::Snapshot,
};
use netclaim_proto::observe::{
    WatchSnapshotsRequest, WatchSnapshotsResponse, observe_service_client::ObserveServiceClient,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};

use self::flows::Flows;
pub(crate) use self::flows::{Looked, Looks};

mod flows;

/// A driver that says nothing for so long is taken for dead, although its socket is open.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// Largest snapshot: a thousand interfaces with their timelines have room in it many times over.
const LARGEST_SNAPSHOT: usize = 64 << 20;

/// Why a driver that is reached does not speak.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mute {
    /// It refused.
    #[error("it answered {}: {}", .0.code(), .0.message())]
    Call(tonic::Status),
    /// It speaks another protocol, or hung up.
    #[error("cannot connect: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// It speaks another version of ours.
    #[error("it sent {0}; are dra-top and netclaim of the same version?")]
    Invalid(netclaim_proto::InvalidField),
    /// As before.
    #[error("it sent an empty snapshot; are dra-top and netclaim of the same version?")]
    Empty,
    /// It hangs.
    #[error("it said nothing for {} s; it hangs or is stopped", SILENCE.as_secs())]
    Silent,
    /// It goes.
    #[error("it ended the stream: it is stopping or being replaced")]
    Ended,
}

/// What a driver said.
#[derive(Debug)]
pub(super) enum Heard {
    /// How the node stands.
    Snapshot(Arc<Snapshot>),
    /// What it says of flows.
    Flows(Watched, FlowsTold),
}

/// A conversation with a driver.
#[derive(Debug)]
pub(super) struct Talk {
    snapshots: Streaming<WatchSnapshotsResponse>,
    /// When it spoke last.
    spoke: Instant,
    flows: Flows,
}

impl Talk {
    /// Asks for snapshots over a connection to the driver, and for the flows that somebody looks at.
    pub(super) async fn over<S>(stream: S, looks: Looks) -> Result<Self, Mute>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let asked = async {
            let mut client = ObserveServiceClient::new(channel(stream).await?)
                .max_decoding_message_size(LARGEST_SNAPSHOT);
            let answer = client.watch_snapshots(WatchSnapshotsRequest::default());
            Ok(Self {
                snapshots: answer.await.map_err(Mute::Call)?.into_inner(),
                spoke: Instant::now(),
                flows: Flows::new(client, looks),
            })
        };
        timeout(SILENCE, asked).await.unwrap_or(Err(Mute::Silent))
    }

    /// What it says next.
    pub(super) async fn next(&mut self) -> Result<Heard, Mute> {
        // Cancel-safe: what does not come first stays where it is.
        tokio::select! {
            message = timeout_at(self.spoke + SILENCE, self.snapshots.message()) => {
                let message = message.map_err(|_| Mute::Silent)?.map_err(Mute::Call)?;
                self.spoke = Instant::now();
                let snapshot = message.ok_or(Mute::Ended)?.snapshot.ok_or(Mute::Empty)?;
                let snapshot = Snapshot::try_from(snapshot).map_err(Mute::Invalid)?;
                self.flows.speaks_for(&snapshot.node);
                Ok(Heard::Snapshot(Arc::new(snapshot)))
            }
            (of, told) = self.flows.next() => Ok(Heard::Flows(of, told)),
        }
    }
}

/// A channel over a connection that is there already; it does not reconnect.
async fn channel<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream
            .take()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    // Nobody reads the authority, but HTTP/2 wants one.
    Endpoint::from_static("http://netclaim")
        .connect_with_connector(connector)
        .await
}
