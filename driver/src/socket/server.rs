//! One gRPC server on one unix socket.

use tokio::{net::UnixListener, task::JoinHandle};
use tokio_stream::{StreamExt as _, wrappers::UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport};

use super::{Socket, authority::Connection};

/// A server and the file of its socket.
#[derive(Debug)]
pub(crate) struct Server {
    socket: Socket,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves until `stop`; endless streams must end with it too.
    pub(crate) fn start(
        listener: UnixListener,
        socket: Socket,
        routes: Routes,
        stop: CancellationToken,
    ) -> Self {
        let stopped = stop.clone().cancelled_owned();
        let path = socket.path().to_owned();
        let task = tokio::spawn(async move {
            let accepted = UnixListenerStream::new(listener);
            let incoming = accepted.map(|accepted| accepted.map(Connection::new));
            let server = transport::Server::builder().add_routes(routes);
            if let Err(error) = server.serve_with_incoming_shutdown(incoming, stopped).await {
                tracing::error!(path = %path.display(), %error, "gRPC server ended");
            }
        });
        Self { socket, stop, task }
    }

    /// Removes the socket, then answers what was asked and ends.
    pub(crate) async fn stop(self) {
        drop(self.socket);
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "gRPC server broke down");
        }
    }
}
