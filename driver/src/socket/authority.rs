//! The kubelet's `:authority`, on its way in to our HTTP server.
//!
//! The kubelet's plugin watcher dials a socket by its bare path (`dial` in
//! pkg/kubelet/pluginmanager/operationexecutor), and grpc-go sends that path percent-encoded, as in
//! `%2Fvar%2Flib%2Fkubelet%2F…`. That is no authority by RFC 3986, so hyper resets the stream and
//! the kubelet never learns of us. Nobody on a unix socket reads the authority, hence it is
//! replaced here. Everything else passes as it is, and nothing here can fail a connection.

use std::{
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};
use tonic::transport::server::{Connected, UdsConnectInfo};

/// What is put in its place. Never longer than what it replaces, so the reader's table of header
/// fields holds at least all that the sender believes to be in it (RFC 7541 §4.4).
const AUTHORITY: u8 = b'k';

/// Client connection preface (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Length, type, flags and stream (RFC 9113 §4.1).
const FRAME_HEADER: usize = 9;

/// Frame type and flags of HEADERS (RFC 9113 §6.2).
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// What the reader takes at most unless it says otherwise, and ours does not (RFC 9113 §6.5.2).
const MAX_FRAME: usize = 16_384;

/// `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY_INDEX: usize = 1;

/// A connection of a client that may call us by a path.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    rewriter: Rewriter,
    /// Rewritten and not read yet, from `read` on.
    ready: Vec<u8>,
    read: usize,
}

/// Rewrites one direction of a connection, in whatever pieces it comes.
#[derive(Debug)]
struct Rewriter {
    /// Bytes that pass as they are.
    passing: usize,
    /// The beginning of a frame that is not complete.
    pending: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            rewriter: Rewriter::new(),
            ready: Vec::new(),
            read: 0,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.read == this.ready.len() {
            let mut piece = [0; 4_096];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.read = 0;
            this.rewriter.feed(piece.filled(), &mut this.ready);
        }
        let rest = &this.ready[this.read..];
        let now = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..now]);
        this.read += now;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Rewriter {
    fn new() -> Self {
        Self {
            passing: PREFACE,
            pending: Vec::new(),
        }
    }

    /// Takes in the next bytes, and gives out all that is complete.
    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.passing > 0 {
                let now = self.passing.min(bytes.len());
                out.extend_from_slice(&bytes[..now]);
                bytes = &bytes[now..];
                self.passing -= now;
                continue;
            }
            let missing = self.missing();
            let now = missing.min(bytes.len());
            self.pending.extend_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            if now == missing {
                self.go_on(out);
            }
        }
    }

    /// How many bytes are needed before something can be decided; never 0.
    fn missing(&self) -> usize {
        match self.pending.get(..FRAME_HEADER) {
            Some(header) => FRAME_HEADER + length(header) - self.pending.len(),
            None => FRAME_HEADER - self.pending.len(),
        }
    }

    /// With a frame's header, or with all of it: lets it pass, waits for the rest, or rewrites it.
    fn go_on(&mut self, out: &mut Vec<u8>) {
        let (header, payload) = self.pending.split_at(FRAME_HEADER);
        let (length, kind, flags) = (length(header), header[3], header[4]);
        // A block that continues in further frames is far longer than any of the kubelet's.
        let is_whole = kind == HEADERS && flags & END_HEADERS != 0 && length <= MAX_FRAME;
        if is_whole && payload.len() < length {
            return;
        }
        let rewritten = is_whole.then(|| rewrite(flags, payload)).flatten();
        let length = rewritten.as_ref().map_or(length, Vec::len);
        out.extend(length.to_be_bytes().iter().skip(size_of::<usize>() - 3));
        out.extend_from_slice(&header[3..]);
        let payload = rewritten.as_deref().unwrap_or(payload);
        out.extend_from_slice(payload);
        self.passing = length - payload.len();
        self.pending.clear();
    }
}

fn length(header: &[u8]) -> usize {
    let bytes = header.iter().take(3);
    bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// The payload of a HEADERS frame with another authority, if it says one.
fn rewrite(flags: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let is_set = |flag| flags & flag != 0;
    let padding = if is_set(PADDED) { *payload.first()? } else { 0 };
    let start = usize::from(is_set(PADDED)) + if is_set(PRIORITY) { 5 } else { 0 };
    let end = payload.len().checked_sub(usize::from(padding))?;
    let value = find_authority(payload.get(start..end)?)?;
    let (before, after) = (start + value.start, start + value.end);
    Some([&payload[..before], &[1, AUTHORITY], &payload[after..]].concat())
}

/// Where the value of `:authority` is in a block of header fields (RFC 7541 §6), with its length.
fn find_authority(block: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while let Some(first) = block.get(at) {
        // Indexed, literal to be indexed, new table size, literal.
        let prefix = match first.leading_zeros() {
            0 => 7,
            1 => 6,
            2 => 5,
            _ => 4,
        };
        let (index, next) = integer(block, at, prefix)?;
        at = next;
        if matches!(prefix, 6 | 4) {
            if index == 0 {
                at = after_string(block, at)?;
            }
            let end = after_string(block, at)?;
            if index == AUTHORITY_INDEX {
                return Some(at..end);
            }
            at = end;
        }
    }
    None
}

/// A string's end (RFC 7541 §5.2). The bit before its length says how it is encoded, which is the
/// same to us.
fn after_string(block: &[u8], at: usize) -> Option<usize> {
    let (length, start) = integer(block, at, 7)?;
    start.checked_add(length).filter(|end| *end <= block.len())
}

/// An integer in the last bits of a byte and those that follow, and what comes after it (RFC 7541
/// §5.1).
fn integer(block: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let most = (1 << prefix) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut next = at + 1;
    if value == most {
        for shift in (0..28).step_by(7) {
            let byte = *block.get(next)?;
            next += 1;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value, next));
            }
        }
        return None;
    }
    Some((value, next))
}

#[cfg(test)]
mod tests;
