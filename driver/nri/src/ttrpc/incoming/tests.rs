use bytes::{BufMut as _, Bytes};

use super::*;
use crate::{
    mux::{self, Limits},
    ttrpc::codec::Kind,
};

const CONN: u32 = 1;

fn message(payload: usize) -> Bytes {
    let mut wire = BytesMut::new();
    wire.put_uint(payload as u64, 4);
    wire.put_u32(1);
    wire.put_slice(&[1, 0]);
    wire.put_bytes(7, payload);
    wire.freeze()
}

#[tokio::test]
async fn what_a_large_message_needed_goes_with_it() {
    let (ours, theirs) = tokio::io::duplex(64 * 1_024);
    let (ours, [here]) = mux::split(ours, [CONN], Limits::default());
    let (theirs, [there]) = mux::split(theirs, [CONN], Limits::default());
    tokio::spawn(ours.run());
    tokio::spawn(theirs.run());
    let mut incoming = Incoming::new(here.receiver);
    for payload in [1_024 * 1_024, 100] {
        there.sender.send(message(payload)).await.unwrap();
        let item = incoming.next().await.unwrap();
        assert!(
            matches!(&item, Some(Item::Message(message))
                if message.kind == Kind::Request && message.payload.len() == payload),
            "{item:?}"
        );
    }
    let held = incoming.buffer.capacity();
    assert!(
        held < 64 * 1_024,
        "{held} bytes are held for a small message"
    );
}
