//! The multiplexer of NRI: several byte streams over one socket, the trunk.
//!
//! Owns framing and delivery. It must never look into the bytes it carries, nor drop any that
//! somebody reads: a stream that nobody empties stalls the others, so whoever opens one reads it.
//!
//! Opening is not negotiated: both sides know the numbers. Source: containerd/nri
//! `pkg/net/multiplex/mux.go`.

pub mod frame;

use std::io;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use frame::{FrameError, Piece};

/// The number of a byte stream on the trunk; 0 is reserved.
pub type ConnId = u32;

/// The stream on which the runtime calls the plugin.
pub const PLUGIN: ConnId = 1;

/// The stream on which the plugin calls the runtime.
pub const RUNTIME: ConnId = 2;

/// Bytes asked of the trunk at a time: a few frames of a Go peer, whose writer flushes 4,096.
const READ_SIZE: usize = 16 << 10;

/// Pieces that wait for one stream's reader, and messages that wait for the trunk. Enough to keep
/// both sides busy; beyond it the sender waits.
const QUEUE: usize = 64;

/// The largest payloads of frames, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A longer frame ends the trunk.
    pub payload_in: usize,
    /// A longer message is cut.
    pub payload_out: usize,
}

impl Default for Limits {
    /// Takes what every release of NRI may send: 16 MiB before 0.7, 4 MiB + 10 since. Sends at
    /// most 4,096 bytes: Go's ttrpc reads a stream through a buffer of that size, and `conn.Read`
    /// of `mux.go` fails for a frame that does not fit. (Measured with 0.8.0 and 0.12.2: 4,096
    /// pass, 4,097 cost the connection. So may more than 1 MiB at once, whatever its frames: 256
    /// of them is all that `mux.go` queues.)
    fn default() -> Self {
        Self {
            payload_in: (16 << 20) + 10,
            payload_out: 4096,
        }
    }
}

/// Why the trunk ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it.
    Peer,
    /// Every [`Sender`] of this side is gone, and what they sent is written.
    Local,
}

/// Why the trunk broke.
#[derive(Debug, Error)]
pub enum MuxError {
    /// The peer does not speak this protocol, or has lost its place in it.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The socket failed.
    #[error("the NRI socket failed: {0}; connect again")]
    Io(#[source] io::Error),
}

/// The trunk with its streams. Nothing moves unless [`Mux::run`] is polled; dropping it closes
/// the trunk.
#[derive(Debug)]
pub struct Mux<S> {
    trunk: S,
    limits: Limits,
    readers: Vec<(ConnId, mpsc::Sender<Bytes>)>,
    messages: mpsc::Receiver<(ConnId, Bytes)>,
}

/// One byte stream.
#[derive(Debug)]
pub struct Conn {
    /// Its outgoing half.
    pub sender: Sender,
    /// Its incoming half.
    pub receiver: Receiver,
}

/// Sends into one stream; the bytes of one message stay together.
#[derive(Clone, Debug)]
pub struct Sender {
    conn: ConnId,
    messages: mpsc::Sender<(ConnId, Bytes)>,
}

/// A place in the queue to the trunk.
#[derive(Debug)]
pub struct Permit<'a> {
    conn: ConnId,
    place: mpsc::Permit<'a, (ConnId, Bytes)>,
}

/// Receives what arrives in one stream.
#[derive(Debug)]
pub struct Receiver {
    pieces: mpsc::Receiver<Bytes>,
}

/// The trunk is gone.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the NRI connection is closed")]
pub struct Closed;

/// Opens the streams `conns` on `trunk`.
pub fn split<S, const N: usize>(
    trunk: S,
    conns: [ConnId; N],
    limits: Limits,
) -> (Mux<S>, [Conn; N]) {
    let (outgoing, messages) = mpsc::channel(QUEUE);
    let mut readers = Vec::with_capacity(N);
    let open = conns.map(|conn| {
        let (incoming, pieces) = mpsc::channel(QUEUE);
        readers.push((conn, incoming));
        Conn {
            sender: Sender {
                conn,
                messages: outgoing.clone(),
            },
            receiver: Receiver { pieces },
        }
    });
    (
        Mux {
            trunk,
            limits,
            readers,
            messages,
        },
        open,
    )
}

impl<S: AsyncRead + AsyncWrite> Mux<S> {
    /// Carries bytes until one side is done.
    ///
    /// Frames for a stream that was not opened, or whose [`Receiver`] is gone, are dropped, as
    /// `mux.go` does.
    pub async fn run(self) -> Result<End, MuxError> {
        let (reading, writing) = tokio::io::split(self.trunk);
        let ended = tokio::select! {
            read = read(reading, self.limits.payload_in, &self.readers) => read,
            written = write(writing, self.limits.payload_out, self.messages) => written,
        };
        match ended {
            Err(MuxError::Io(error)) if is_closed(&error) => Ok(End::Peer),
            ended => ended,
        }
    }
}

impl Sender {
    /// Waits for a place in the queue, then sends `message`.
    pub async fn send(&self, message: Bytes) -> Result<(), Closed> {
        self.reserve().await.map(|permit| permit.send(message))
    }

    /// Waits for a place in the queue. For senders that must decide and send in one step.
    pub async fn reserve(&self) -> Result<Permit<'_>, Closed> {
        let place = self.messages.reserve().await.map_err(|_| Closed)?;
        Ok(Permit {
            conn: self.conn,
            place,
        })
    }
}

impl Permit<'_> {
    /// Sends `message` in this place.
    pub fn send(self, message: Bytes) {
        self.place.send((self.conn, message));
    }
}

impl Receiver {
    /// The next bytes, cut as they came; none once the trunk is gone.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }
}

async fn read(
    mut trunk: impl AsyncRead + Unpin,
    limit: usize,
    readers: &[(ConnId, mpsc::Sender<Bytes>)],
) -> Result<End, MuxError> {
    let mut decoder = frame::Decoder::new(limit);
    let mut buffer = BytesMut::new();
    loop {
        while let Some(piece) = decoder.decode(&mut buffer)? {
            deliver(piece, readers).await;
        }
        buffer.reserve(READ_SIZE);
        if trunk.read_buf(&mut buffer).await.map_err(MuxError::Io)? == 0 {
            return Ok(End::Peer);
        }
    }
}

async fn deliver(piece: Piece, readers: &[(ConnId, mpsc::Sender<Bytes>)]) {
    let Some((_, reader)) = readers.iter().find(|(conn, _)| *conn == piece.conn) else {
        tracing::debug!(
            conn = piece.conn,
            bytes = piece.bytes.len(),
            "frame of an unknown stream"
        );
        return;
    };
    if reader.send(piece.bytes).await.is_err() {
        tracing::debug!(
            conn = piece.conn,
            "frame of a stream that nobody reads any more"
        );
    }
}

async fn write(
    mut trunk: impl AsyncWrite + Unpin,
    limit: usize,
    mut messages: mpsc::Receiver<(ConnId, Bytes)>,
) -> Result<End, MuxError> {
    let mut buffer = BytesMut::new();
    while let Some((conn, message)) = messages.recv().await {
        frame::encode(conn, &message, limit, &mut buffer);
        trunk
            .write_all_buf(&mut buffer)
            .await
            .map_err(MuxError::Io)?;
        trunk.flush().await.map_err(MuxError::Io)?;
    }
    Ok(End::Local)
}

/// A peer that dies is a peer that closes: which error tells of it depends on what it had not
/// yet read.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests;
