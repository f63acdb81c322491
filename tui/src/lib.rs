//! `dra-top`: slices, claims and pod interfaces with their traffic, in a terminal.
//!
//! Owns what is shown and how. It reads and never writes: neither to the cluster nor to a node.
//! Everything that arrives is a [`Change`](netclaim_core::cluster::Change), every screen is a
//! function of the `model::Model`, and only `update::update` changes that.

use std::{io, time::Duration};

use netclaim_core::cluster::Recorded;
use tokio::sync::mpsc;

mod app;
mod arrange;
mod clock;
mod filter;
mod format;
mod keys;
mod message;
mod model;
mod once;
pub mod options;
mod source;
mod table;
mod terminal;
mod theme;
mod update;
mod value;
mod view;

use crate::{
    clock::Clock,
    model::Model,
    options::{Options, Origin},
    source::{
        kubernetes::{Kubernetes, Wanted},
        node::Node,
        replay::Replay,
    },
};

/// Changes that may wait for a frame; a source that is faster waits for the screen.
const WAITING: usize = 1_024;

/// Why `dra-top` ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An option does not say what it has to.
    #[error(transparent)]
    Options(#[from] options::OptionsError),
    /// The kubeconfig cannot be used.
    #[error(transparent)]
    Kubernetes(#[from] source::kubernetes::ConnectError),
    /// The recording cannot be played.
    #[error(transparent)]
    Replay(#[from] source::replay::ReplayError),
    /// The recording cannot be written.
    #[error(transparent)]
    Record(#[from] source::RecordError),
    /// What was asked for did not come.
    #[error(transparent)]
    Once(#[from] once::OnceError),
    /// The terminal cannot be used, or standard output is closed.
    #[error("cannot use the terminal: {0}; without one, ask for a table: dra-top -o table claims")]
    Terminal(#[from] io::Error),
}

/// Shows what the options ask for until the user leaves.
pub async fn run(options: Options) -> Result<(), RunError> {
    let origin = options.origin()?;
    let (changes, inbox) = mpsc::channel::<Recorded>(WAITING);
    let wants = app::Wants::default();
    let mut clock = Clock::Wall;
    let feed = source::Feed::new(changes, options.record.as_deref()).await?;
    match &origin {
        Origin::Recording(file) => {
            let replay = Replay::open(file, options.output.is_none())?;
            clock = replay.clock();
            feed.follow(replay);
        }
        Origin::Live { node, cluster } => {
            for endpoint in node {
                feed.follow(Node::new(endpoint.clone(), wants.looks.subscribe()));
            }
            if let Some(cluster) = cluster {
                let wanted = Wanted {
                    nodes: wants.nodes.subscribe(),
                    looks: wants.looks.subscribe(),
                };
                feed.follow(Kubernetes::connect(cluster, wanted).await?);
            }
        }
    }
    drop(feed);
    let mut model = Model::new(options.view.into(), options.theme(), origin.to_string());
    model.namespace = options.cluster.namespace.map(Into::into);
    match options.output {
        Some(form) => {
            let patience = Duration::from_secs(options.wait);
            once::print(model, (form, patience), &origin, inbox, &clock).await?;
        }
        None => app::run(model, inbox, &clock, &wants).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
