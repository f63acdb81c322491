use std::path::Path;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    time::timeout,
};

use super::*;
use crate::options::{LogFormat, LogOptions};

/// Everything here happens on loopback, at once.
const LIMIT: Duration = Duration::from_secs(5);

struct Stage {
    folder: TempDir,
    address: SocketAddr,
}

impl Stage {
    async fn with_places(max_connections: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = RelayOptions {
            observe_socket: folder.path().join("observe.sock"),
            port: 0,
            max_connections,
            log: LogOptions {
                log_format: LogFormat::Text,
                log: String::new(),
            },
        };
        let relay = Relay::bind(&options).await.unwrap();
        let address = relay.listener.local_addr().unwrap();
        tokio::spawn(async move { relay.serve().await });
        Self { folder, address }
    }

    fn driver(&self) -> UnixListener {
        let socket = self.folder.path().join("observe.sock");
        let stale = Path::new(&socket);
        if stale.exists() {
            std::fs::remove_file(stale).unwrap();
        }
        UnixListener::bind(socket).unwrap()
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn is_closed(client: &mut TcpStream) -> bool {
    let read = timeout(LIMIT, client.read(&mut [0; 1])).await.unwrap();
    // Closed with bytes unread, it is reset.
    read.is_err() || read.is_ok_and(|bytes| bytes == 0)
}

async fn exchange(client: &mut TcpStream, driver: &mut UnixStream) {
    let mut heard = [0; 4];
    client.write_all(b"ping").await.unwrap();
    timeout(LIMIT, driver.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"ping");
    driver.write_all(b"pong").await.unwrap();
    timeout(LIMIT, client.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"pong");
}

#[tokio::test]
async fn bytes_pass_both_ways_and_the_end_of_one_side_ends_the_other() {
    let stage = Stage::with_places(4).await;
    let listener = stage.driver();
    let mut client = stage.client().await;
    let (mut driver, _) = listener.accept().await.unwrap();
    exchange(&mut client, &mut driver).await;
    drop(driver);
    assert!(is_closed(&mut client).await);

    let mut client = stage.client().await;
    let (mut driver, _) = listener.accept().await.unwrap();
    exchange(&mut client, &mut driver).await;
    drop(client);
    assert_eq!(driver.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_driver_that_comes_later_or_again_is_found() {
    let stage = Stage::with_places(4).await;
    assert!(is_closed(&mut stage.client().await).await, "no driver yet");
    for _ in 0..2 {
        let listener = stage.driver();
        let mut client = stage.client().await;
        let (mut driver, _) = listener.accept().await.unwrap();
        exchange(&mut client, &mut driver).await;
    }
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_until_one_ends() {
    let stage = Stage::with_places(2).await;
    let listener = stage.driver();
    let mut clients = Vec::new();
    let mut drivers = Vec::new();
    for _ in 0..2 {
        clients.push(stage.client().await);
        drivers.push(listener.accept().await.unwrap().0);
    }
    assert!(is_closed(&mut stage.client().await).await);
    drop(clients.pop());
    assert_eq!(
        drivers.pop().unwrap().read(&mut [0; 1]).await.unwrap(),
        0,
        "the relay has seen the end"
    );
    // The place is free once the relay's task has gone; that is a moment later.
    let admitted = timeout(LIMIT, async {
        loop {
            let client = stage.client().await;
            let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
            if let Ok(accepted) = accepted {
                return (client, accepted.unwrap().0);
            }
        }
    });
    let (mut client, mut driver) = admitted.await.unwrap();
    exchange(&mut client, &mut driver).await;
}

#[tokio::test]
async fn a_port_in_use_is_said_with_what_to_do() {
    let stage = Stage::with_places(1).await;
    let options = RelayOptions {
        observe_socket: "observe.sock".into(),
        port: stage.address.port(),
        max_connections: 1,
        log: LogOptions {
            log_format: LogFormat::Text,
            log: String::new(),
        },
    };
    let error = Relay::bind(&options).await.unwrap_err().to_string();
    let expected = format!("cannot listen on {}: ", stage.address);
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("; choose another --port"), "{error}");
}
