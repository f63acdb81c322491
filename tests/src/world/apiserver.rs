//! The API server: objects over HTTP, as far as the driver, dra-top and the demo use them.
//!
//! Owns the listeners and what a test may break. It must never accept what a real API server
//! refuses; where it cannot do what a real one does, it says so with an error.
//!
//! ```text
//! HTTP             paths, verbs, users, bodies            http
//! watch            changes since a version, filtered      watch, select
//! store            versions, conflicts, deletion          store
//! apply            who owns which field                   apply
//! rules            what an object may say                 validate
//! ```

pub mod apply;
pub mod failure;
pub mod http;
pub mod resource;
pub mod select;
pub mod store;
pub mod validate;
pub mod watch;

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::place::Place;
use store::{Feature, Store};

/// An API server; its listeners end with it.
#[derive(Debug)]
pub struct ApiServer {
    /// Its objects. The other parts of the world, which are no users, go to them directly.
    pub store: Arc<Store>,
    faults: Arc<Faults>,
    listeners: JoinSet<()>,
}

/// What a test breaks.
#[derive(Debug)]
pub(crate) struct Faults {
    denied: Mutex<BTreeSet<(String, String)>>,
    serving: tokio::sync::watch::Sender<bool>,
}

impl ApiServer {
    /// A server of the newest release, with the namespaces that every cluster has.
    pub fn new() -> Result<Self> {
        let store = Arc::new(Store::new());
        for name in ["default", "kube-system"] {
            store.create_namespace(name)?;
        }
        let faults = Arc::new(Faults {
            denied: Mutex::default(),
            serving: tokio::sync::watch::Sender::new(true),
        });
        Ok(Self {
            store,
            faults,
            listeners: JoinSet::new(),
        })
    }

    /// Listens on the loopback of `place`, or of this process; clients there find it at the
    /// address returned.
    pub fn listen(&mut self, place: Option<&Place>) -> Result<SocketAddr> {
        let bind = || StdTcpListener::bind("127.0.0.1:0");
        let listener = match place {
            Some(place) => place.run(bind)?,
            None => bind(),
        };
        let listener = listener.context("the API server cannot listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let router = http::router(Arc::clone(&self.store), Arc::clone(&self.faults));
        self.listeners
            .spawn(serve(listener, router, Arc::clone(&self.faults)));
        Ok(address)
    }

    /// Answers 403 to `verb` of `resource`, such as `patch` of `resourceclaims/status`.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.faults
            .denied()
            .insert((verb.to_owned(), resource.to_owned()));
    }

    /// Takes back every [`ApiServer::deny`].
    pub fn allow_all(&self) {
        self.faults.denied().clear();
    }

    /// Is a server on which `feature` is off: it drops the feature's fields, silently.
    pub fn disable(&self, feature: Feature) {
        self.store.disable(feature);
    }

    /// Breaks every connection and answers no new one, until `up` again.
    pub fn set_up(&self, up: bool) {
        self.faults.serving.send_replace(up);
    }
}

impl Faults {
    fn denied(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_denied(&self, verb: &str, resource: &str) -> bool {
        let asked = (verb.to_owned(), resource.to_owned());
        self.denied().contains(&asked)
    }
}

/// A kubeconfig for `user` of the server at `address`. The bearer token is the user's name.
pub fn kubeconfig(address: SocketAddr, user: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: world
clusters: [{{name: world, cluster: {{server: 'http://{address}'}}}}]
contexts: [{{name: world, context: {{cluster: world, user: world, namespace: default}}}}]
users: [{{name: world, user: {{token: '{user}'}}}}]
"
    )
}

async fn serve(listener: TcpListener, router: Router, faults: Arc<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted: io::Result<_> = listener.accept().await;
        let Ok((stream, _)) = accepted else { return };
        while connections.try_join_next().is_some() {}
        if *faults.serving.borrow() {
            connections.spawn(answer(stream, router.clone(), Arc::clone(&faults)));
        }
    }
}

/// Serves one connection until it ends, or the server goes down.
async fn answer(stream: TcpStream, router: Router, faults: Arc<Faults>) {
    let service = hyper::service::service_fn(move |request: hyper::Request<_>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = faults.serving.subscribe();
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a client of the API server left");
            }
        }
        _ = serving.wait_for(|up| !up) => {}
    }
}
