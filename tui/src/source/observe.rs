//! A driver's stream of snapshots, whatever brings it here.
//!
//! Knows nothing of how a driver is reached, and never tries again: who calls it does.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use netclaim_core::snapshot::Snapshot;
use netclaim_proto::observe::{
    WatchSnapshotsRequest, WatchSnapshotsResponse, observe_service_client::ObserveServiceClient,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};

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

/// Snapshots of a driver.
#[derive(Debug)]
pub(super) struct Snapshots(Streaming<WatchSnapshotsResponse>);

impl Snapshots {
    /// Asks for them over a connection to the driver.
    pub(super) async fn over<S>(stream: S) -> Result<Self, Mute>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let asked = async {
            let mut client = ObserveServiceClient::new(channel(stream).await?)
                .max_decoding_message_size(LARGEST_SNAPSHOT);
            let answer = client.watch_snapshots(WatchSnapshotsRequest::default());
            Ok(Self(answer.await.map_err(Mute::Call)?.into_inner()))
        };
        let asked = tokio::time::timeout(SILENCE, asked).await;
        asked.unwrap_or(Err(Mute::Silent))
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Result<Arc<Snapshot>, Mute> {
        let message = tokio::time::timeout(SILENCE, self.0.message()).await;
        let message = message.map_err(|_| Mute::Silent)?.map_err(Mute::Call)?;
        let snapshot = message.ok_or(Mute::Ended)?.snapshot.ok_or(Mute::Empty)?;
        Snapshot::try_from(snapshot)
            .map(Arc::new)
            .map_err(Mute::Invalid)
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
