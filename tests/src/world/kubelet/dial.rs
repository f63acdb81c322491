//! How a kubelet calls a plugin: by the path of its socket.
//!
//! Owns the connection. It must never be kinder than grpc-go, which for a socket dialled by its
//! bare path sends that path, percent-encoded, as `:authority`. That is no authority by RFC 3986,
//! and a server that insists on one resets every call.

use std::future;
use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::io::{DuplexStream, copy, duplex, split};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::world::node::Node;

/// `:authority: localhost` as hyper sends it: a literal to be indexed, whose name is in the static
/// table, in Huffman's code (RFC 7541 §6.2.1).
pub const LOCALHOST: &[u8] = &[0x41, 0x86, 0xa0, 0xe4, 0x1d, 0x13, 0x9d, 0x09];

/// Client connection preface, and a frame's header (RFC 9113 §3.4, §4.1).
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;

/// Frame type of HEADERS (RFC 9113 §6.2).
const HEADERS: u8 = 1;

/// What either side may have sent before the other reads it.
const BUFFER: usize = 64 << 10;

/// A channel to the plugin at `path` of `node`, connected when it is used.
pub(super) fn channel(node: &Arc<Node>, path: String) -> Channel {
    let node = Arc::clone(node);
    let connect = move |_| {
        let plugin = node.connect(&path);
        let client = plugin.map(|plugin| TokioIo::new(by_path(plugin, &path)));
        future::ready(client.map_err(io::Error::other))
    };
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector_lazy(tower::service_fn(connect))
}

fn by_path(plugin: UnixStream, path: &str) -> DuplexStream {
    let (ours, client) = duplex(BUFFER);
    let authority = authority(path);
    tokio::spawn(async move {
        let passed = pass(client, plugin, LOCALHOST, &authority).await;
        tracing::debug!(?passed, "a connection to a plugin ended");
    });
    ours
}

/// `:authority` as grpc-go has it for a socket's path: a literal to be indexed.
pub fn authority(path: &str) -> Vec<u8> {
    let value = path.replace('/', "%2F");
    // A length in 7 bits; all of them set say that more than 126 follow (RFC 7541 §5.1). A
    // socket's path has at most 107 bytes, and not 74 of them are slashes.
    let length = match u8::try_from(value.len()) {
        Ok(short @ ..127) => vec![short],
        length => vec![127, length.unwrap_or(u8::MAX) - 127],
    };
    [&[0x41], &length[..], value.as_bytes()].concat()
}

/// Passes everything on between a client and a server, until either ends; the client's header
/// blocks with `to` in the place of `from`.
pub async fn pass(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    from: &[u8],
    to: &[u8],
) -> io::Result<()> {
    let (mut requests, mut to_client) = split(client);
    let (mut answers, mut to_server) = split(server);
    tokio::select! {
        sent = pass_requests(&mut requests, &mut to_server, from, to) => sent,
        answered = copy(&mut answers, &mut to_client) => answered.map(drop),
    }
}

async fn pass_requests(
    client: &mut (impl AsyncRead + Unpin),
    server: &mut (impl AsyncWrite + Unpin),
    from: &[u8],
    to: &[u8],
) -> io::Result<()> {
    let mut preface = [0; PREFACE];
    client.read_exact(&mut preface).await?;
    server.write_all(&preface).await?;
    loop {
        let mut header = [0; FRAME_HEADER];
        client.read_exact(&mut header).await?;
        let [high, middle, low, kind, ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).await?;
        if kind == HEADERS {
            payload = replaced(payload, from, to);
            let [.., high, middle, low] = payload.len().to_be_bytes();
            header[..3].copy_from_slice(&[high, middle, low]);
        }
        server.write_all(&header).await?;
        server.write_all(&payload).await?;
    }
}

fn replaced(block: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let found = block.windows(from.len()).position(|window| window == from);
    match found {
        Some(at) => [&block[..at], to, &block[at + from.len()..]].concat(),
        None => block,
    }
}
