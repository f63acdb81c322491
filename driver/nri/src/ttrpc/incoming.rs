//! The messages that arrive in one stream.
//!
//! Must never answer any: who reads them is the client or the server.

use bytes::BytesMut;

use super::codec::{CodecError, Decoder, Item};
use crate::mux::Receiver;

/// Puts a stream's bytes together again.
pub(super) struct Incoming {
    receiver: Receiver,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Incoming {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            decoder: Decoder::default(),
            buffer: BytesMut::new(),
        }
    }

    /// The next message; none once the trunk is gone.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, CodecError> {
        loop {
            if let Some(item) = self.decoder.decode(&mut self.buffer)? {
                return Ok(Some(item));
            }
            let Some(piece) = self.receiver.recv().await else {
                return Ok(None);
            };
            if self.buffer.is_empty() {
                // What an earlier message needed goes with it: a list of all pods is large, and rare.
                self.buffer = BytesMut::new();
            }
            self.buffer.extend_from_slice(&piece);
        }
    }
}

#[cfg(test)]
mod tests;
