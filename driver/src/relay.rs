//! `netclaim relay`: brings the node's observe socket to the loopback of its own pod, where
//! port-forward reaches it.
//!
//! Owns a listener and its connections. It must never be reachable from outside its pod, look into
//! the bytes, or answer in the driver's place.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy,
    net::{TcpListener, TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::options::RelayOptions;

/// After an accept that failed for want of something, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another --port")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    driver: Arc<Driver>,
    places: Arc<Semaphore>,
    max_connections: u16,
}

/// The driver of this node, which may come and go.
#[derive(Debug)]
struct Driver {
    socket: PathBuf,
    /// Whether it was said that it does not answer.
    away: AtomicBool,
}

impl Relay {
    /// Listens on loopback. The driver need not be there yet.
    pub async fn bind(options: &RelayOptions) -> Result<Self, BindError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| BindError { address, source })?;
        let socket = options.observe_socket.clone();
        tracing::info!(%address, socket = %socket.display(), "forwarding");
        Ok(Self {
            listener,
            driver: Arc::new(Driver {
                socket,
                away: AtomicBool::new(false),
            }),
            places: Arc::new(Semaphore::new(options.max_connections.into())),
            max_connections: options.max_connections,
        })
    }

    /// Forwards connections, each to the driver that is there when it begins.
    pub async fn serve(&self) -> Infallible {
        loop {
            match self.listener.accept().await {
                Ok((client, _)) => self.admit(client),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Forwards a connection, or closes it when too many are open: a client that waits in the queue
    /// would not know why.
    fn admit(&self, client: TcpStream) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(
                max_connections = self.max_connections,
                "a connection was closed: as many are open as --max-connections allows"
            );
            return;
        };
        let driver = Arc::clone(&self.driver);
        tokio::spawn(async move { driver.forward(client, place).await });
    }
}

impl Driver {
    async fn forward(&self, mut client: TcpStream, _place: OwnedSemaphorePermit) {
        // By name each time: a driver that was started anew has another socket there.
        let mut driver = match UnixStream::connect(&self.socket).await {
            Ok(driver) => driver,
            Err(error) => return self.say_away(&error),
        };
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("the driver answers again");
        }
        let (mut from_client, mut to_client) = client.split();
        let (mut from_driver, mut to_driver) = driver.split();
        // gRPC closes no half of a connection: once one side is done, so is the other. An error
        // is an end like any other, and the client sees it as one.
        tokio::select! {
            _ = copy(&mut from_client, &mut to_driver) => {}
            _ = copy(&mut from_driver, &mut to_client) => {}
        }
    }

    /// Once until it answers: dra-top tries again and again.
    fn say_away(&self, error: &io::Error) {
        if !self.away.swap(true, Ordering::Relaxed) {
            let socket = self.socket.display();
            tracing::warn!(
                "no driver answers at {socket}: {error}; does netclaim run on this node?"
            );
        }
    }
}

#[cfg(test)]
mod tests;
