//! One session: from the connected socket to its end.
//!
//! Owns registration and the reason of the end. It must never reconnect: when and how often is
//! the caller's decision, for which each error says what happened.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::api::{Empty, NRI_VERSION, RUNTIME_SERVICE, RegisterPluginRequest};
use crate::mux::{self, Conn, Limits, MuxError};
use crate::plugin::{Plugin, PluginService, REGISTRATION_TIMEOUT};
use crate::ttrpc::{self, CallError, Client, CodecError, Status};

/// Where runtimes listen unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/nri/nri.sock";

/// Why a session ended, or did not begin.
#[derive(Debug, Error)]
pub enum SessionError {
    /// There is no socket, or nobody listens on it.
    #[error(
        "cannot connect to the NRI socket {}: {source}; check that the runtime is up with NRI \
         enabled and that the socket is visible here", path.display()
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The runtime does not want the plugin. It will not want it later either.
    #[error(
        "the runtime refused to register the NRI plugin {plugin}: {status}; check that its NRI \
         configuration lets plugins connect"
    )]
    Refused {
        /// Its index and name.
        plugin: Registration,
        /// The runtime's words.
        status: Status,
    },
    /// The runtime did not answer the registration.
    #[error("the runtime did not register the NRI plugin {plugin}: {source}; its log says why")]
    NotRegistered {
        /// Its index and name.
        plugin: Registration,
        /// How the call ended.
        source: CallError,
    },
    /// The runtime ended a session.
    #[error(
        "the runtime closed the NRI connection: it stopped, or it dropped the plugin for a late \
         answer; its log says which"
    )]
    Closed,
    /// The socket or its framing broke.
    #[error(transparent)]
    Trunk(#[from] MuxError),
    /// The runtime's calls cannot be read any further.
    #[error(transparent)]
    Calls(#[from] CodecError),
}

/// The name under which a plugin registers, and its place among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    name: String,
    index: u8,
}

/// A name or an index that every runtime refuses.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RegistrationError {
    /// The name.
    #[error(
        "the NRI plugin name {0:?} must be of one or more of a-z, A-Z, 0-9, '-', '_', '.', '+'"
    )]
    Name(String),
    /// The index.
    #[error("the NRI plugin index {0} must be of two digits, 0 to 99")]
    Index(u8),
}

/// Connects to the runtime's socket at `path`.
pub async fn connect(path: impl AsRef<Path>) -> Result<UnixStream, SessionError> {
    let path = path.as_ref();
    let connected = UnixStream::connect(path).await;
    connected.map_err(|source| SessionError::Connect {
        path: path.to_owned(),
        source,
    })
}

/// Registers `plugin` and serves it until the session ends; only an error ends it.
///
/// Dropping the future closes the connection at once. Requests under way run to their end, and
/// their answers are lost.
pub async fn serve<S, P>(
    stream: S,
    plugin: Arc<P>,
    registration: &Registration,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite,
    P: Plugin,
{
    serve_until(stream, plugin, registration, pending()).await
}

/// [`serve`] until `stop`: takes no further request, answers those under way, closes the
/// connection, and returns without an error.
pub async fn serve_until<S, P>(
    stream: S,
    plugin: Arc<P>,
    registration: &Registration,
    stop: impl Future<Output = ()>,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite,
    P: Plugin,
{
    let conns = [mux::PLUGIN, mux::RUNTIME];
    let (mux, [requests, calls]) = mux::split(stream, conns, Limits::default());
    let mut trunk = pin!(mux.run());
    let mut session = pin!(take_part(requests, calls, plugin, registration, stop));
    tokio::select! {
        ended = &mut session => ended?,
        ended = &mut trunk => {
            ended?;
            return session.await;
        }
    }
    trunk.await?;
    Ok(())
}

impl Registration {
    /// A plugin `name` at `index`: runtimes call plugins in the order of their indexes.
    pub fn new(name: &str, index: u8) -> Result<Self, RegistrationError> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(RegistrationError::Name(name.to_owned()));
        }
        if index > 99 {
            return Err(RegistrationError::Index(index));
        }
        Ok(Self {
            name: name.to_owned(),
            index,
        })
    }
}

impl fmt::Display for Registration {
    /// As runtimes write it: `10-netclaim`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{}", self.index, self.name)
    }
}

/// The session on its two streams, while they last.
async fn take_part<P: Plugin>(
    requests: Conn,
    calls: Conn,
    plugin: Arc<P>,
    registration: &Registration,
    stop: impl Future<Output = ()>,
) -> Result<(), SessionError> {
    let mut server = pin!(ttrpc::serve(requests, Arc::new(PluginService::new(plugin))));
    let mut stop = pin!(stop);
    // The runtime may call Configure before its answer to RegisterPlugin is here.
    tokio::select! {
        registered = register(calls, registration) => registered?,
        () = &mut stop => return Ok(()),
        ended = &mut server => {
            ended?;
            return Err(not_registered(registration, mux::Closed.into()));
        }
    }
    tracing::info!(plugin = %registration, "registered with the runtime");
    tokio::select! {
        () = stop => Ok(()),
        ended = server => {
            ended?;
            Err(SessionError::Closed)
        }
    }
}

async fn register(calls: Conn, registration: &Registration) -> Result<(), SessionError> {
    let request = RegisterPluginRequest {
        plugin_name: registration.name.clone(),
        plugin_idx: format!("{:02}", registration.index),
        nri_version: NRI_VERSION.to_owned(),
    };
    let client = Client::new(calls);
    let call = client.unary(
        RUNTIME_SERVICE,
        "RegisterPlugin",
        &request,
        REGISTRATION_TIMEOUT,
    );
    let Empty {} = call
        .await
        .map_err(|error| not_registered(registration, error))?;
    Ok(())
}

fn not_registered(registration: &Registration, error: CallError) -> SessionError {
    let plugin = registration.clone();
    match error {
        CallError::Status(status) => SessionError::Refused { plugin, status },
        source => SessionError::NotRegistered { plugin, source },
    }
}

#[cfg(test)]
mod tests;
