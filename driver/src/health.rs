//! Whether this instance lives and is ready, part by part, with reasons.
//!
//! Served twice with the same words: over TCP beside the metrics, and on the instance's own unix
//! socket, so that an old instance that still holds the port cannot answer for a new one.

use std::{collections::BTreeMap, fmt::Write as _, io, path::Path, sync::Arc};

use axum::{Extension, Router, http::StatusCode, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::socket::{Socket, SocketError};

/// The owner and its group may ask: a probe of the kubelet runs in our container.
const MODE: u32 = 0o660;

/// The parts of an instance, and why one is not ready.
#[derive(Debug)]
pub struct Health {
    parts: watch::Sender<BTreeMap<&'static str, Result<(), String>>>,
}

/// Why nobody said whether an instance is well.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no instance.
    #[error("no instance answers at {path}: {source}; does netclaim run on this node?")]
    NoAnswer {
        /// Where it was asked.
        path: String,
        /// What the socket said.
        source: io::Error,
    },
    /// Something else is there.
    #[error("what answers at {path} is not netclaim; give --health-socket as the instance has it")]
    NotUs {
        /// Where it was asked.
        path: String,
    },
}

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether all is well.
    pub well: bool,
    /// A line per part.
    pub words: String,
}

impl Health {
    /// An instance whose parts all have still to become ready.
    pub fn new(parts: impl IntoIterator<Item = &'static str>) -> Arc<Self> {
        let starting = parts
            .into_iter()
            .map(|part| (part, Err("has not started yet".to_owned())));
        Arc::new(Self {
            parts: watch::Sender::new(starting.collect()),
        })
    }

    /// A part is ready, or is not for this reason.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        self.parts.send_if_modified(|parts| {
            let news = parts.get(part) != Some(&state);
            parts.insert(part, state);
            news
        });
    }

    /// Whether every part is ready, and a line for each.
    pub fn ready(&self) -> Answer {
        let parts = self.parts.borrow();
        let mut words = String::new();
        for (part, state) in parts.iter() {
            // Writing to a string does not fail.
            let _ = match state {
                Ok(()) => writeln!(words, "[+] {part}"),
                Err(reason) => writeln!(words, "[-] {part}: {reason}"),
            };
        }
        Answer {
            well: parts.values().all(Result::is_ok),
            words,
        }
    }
}

/// `/healthz`, which answers while we live, and `/readyz`.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .layer(Extension(health))
}

async fn readyz(Extension(health): Extension<Arc<Health>>) -> (StatusCode, String) {
    let Answer { well, words } = health.ready();
    let status = if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, words)
}

/// Serves the health of this instance on its own socket until `stop`.
pub async fn serve(
    path: &Path,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<impl Future<Output = io::Result<()>> + Send + use<>, SocketError> {
    let (listener, socket) = Socket::listen(path, MODE).await?;
    Ok(async move {
        let _socket = socket;
        axum::serve(listener, router(health))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    })
}

/// Asks the instance at this socket: whether it is ready, or only whether it lives.
pub async fn ask(path: &Path, ready: bool) -> Result<Answer, AskError> {
    let page = if ready { "readyz" } else { "healthz" };
    let reply = get_page(path, page).await;
    let reply = reply.map_err(|source| AskError::NoAnswer {
        path: path.display().to_string(),
        source,
    })?;
    read(&reply).ok_or_else(|| AskError::NotUs {
        path: path.display().to_string(),
    })
}

async fn get_page(path: &Path, page: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    // HTTP/1.0: the answer ends with the connection, and is not chunked.
    let request = format!("GET /{page} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    Ok(reply)
}

fn read(reply: &str) -> Option<Answer> {
    let (head, words) = reply.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some(Answer {
        well: status == "200",
        words: words.to_owned(),
    })
}

#[cfg(test)]
mod tests;
