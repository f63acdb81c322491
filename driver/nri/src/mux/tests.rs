use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// A mux with the streams 1 and 2, and the raw other end of its trunk.
fn opened(buffer: usize) -> (Mux<DuplexStream>, [Conn; 2], DuplexStream) {
    let (ours, theirs) = duplex(buffer);
    let (mux, conns) = split(ours, [PLUGIN, RUNTIME], Limits::default());
    (mux, conns, theirs)
}

/// The lengths of the frames of stream `conn` in `wire`, and their payloads together.
fn frames(mut wire: &[u8], conn: ConnId) -> (Vec<usize>, Vec<u8>) {
    let mut lengths = Vec::new();
    let mut payload = Vec::new();
    while let Some((header, rest)) = wire.split_at_checked(frame::HEADER_LEN) {
        assert_eq!(header[..4], conn.to_be_bytes());
        let length = usize::from(header[6]) << 8 | usize::from(header[7]);
        assert_eq!(header[4..6], [0, 0], "no frame reaches 64 KiB");
        lengths.push(length);
        payload.extend(&rest[..length]);
        wire = &rest[length..];
    }
    (lengths, payload)
}

#[tokio::test]
async fn no_frame_exceeds_4096_bytes_whatever_is_sent() {
    let (mux, [plugin, _], mut trunk) = opened(64 << 10);
    let message: Vec<u8> = (0..300 << 10)
        .map(|index: u32| index.to_be_bytes()[3])
        .collect();
    tokio::spawn(mux.run());
    plugin
        .sender
        .send(message.clone().into())
        .await
        .expect("open");
    let mut wire = vec![0; message.len() + 75 * frame::HEADER_LEN];
    timeout(SOON, trunk.read_exact(&mut wire))
        .await
        .expect("in time")
        .expect("open");
    let (lengths, payload) = frames(&wire, PLUGIN);
    assert_eq!(lengths, [4096; 75]);
    assert!(payload == message);
}

#[tokio::test]
async fn frames_of_unknown_and_unread_streams_are_dropped() {
    let (mux, [mut plugin, runtime], mut trunk) = opened(1024);
    let running = tokio::spawn(mux.run());
    drop(runtime.receiver);
    let mut wire = BytesMut::new();
    frame::encode(0, b"reserved", 4096, &mut wire);
    frame::encode(9, b"unknown", 4096, &mut wire);
    frame::encode(RUNTIME, b"unread", 4096, &mut wire);
    frame::encode(PLUGIN, b"here", 4096, &mut wire);
    trunk.write_all(&wire).await.expect("open");
    assert_eq!(
        timeout(SOON, plugin.receiver.recv()).await,
        Ok(Some("here".into()))
    );
    drop(trunk);
    assert_eq!(timeout(SOON, plugin.receiver.recv()).await, Ok(None));
    assert_eq!(
        running.await.expect("no panic").expect("no error"),
        End::Peer
    );
}

#[tokio::test]
async fn the_trunk_ends_when_this_side_is_done_and_all_is_written() {
    let (mux, [plugin, runtime], mut trunk) = opened(16);
    let running = tokio::spawn(mux.run());
    plugin.sender.send("last words".into()).await.expect("open");
    drop((plugin.sender, runtime.sender));
    let mut wire = Vec::new();
    timeout(SOON, trunk.read_to_end(&mut wire))
        .await
        .expect("in time")
        .expect("open");
    assert_eq!(frames(&wire, PLUGIN).1, b"last words");
    assert_eq!(
        running.await.expect("no panic").expect("no error"),
        End::Local
    );
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_trunk() {
    let (mux, [mut plugin, _runtime], mut trunk) = opened(1024);
    let running = tokio::spawn(mux.run());
    trunk.write_all(b"GET / HTTP/1.1\r\n").await.expect("open");
    let ended = timeout(SOON, running)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(
        matches!(ended, Err(MuxError::Frame(FrameError::TooLong { .. }))),
        "{ended:?}"
    );
    assert_eq!(plugin.receiver.recv().await, None);
    assert_eq!(plugin.sender.send("late".into()).await, Err(Closed));
}
