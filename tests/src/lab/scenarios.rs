//! What is tried on a real cluster: one scenario after another, each in a namespace of its own.
//!
//! Owns the list. A scenario belongs to the file of what it disturbs; it changes nothing that its
//! [`Stage`] does not put right.

use std::fmt;

use anyhow::{Error, Result};
use futures::future::LocalBoxFuture;

pub use self::stage::{Pod, Stage, condition};

mod api;
mod causes;
pub(super) mod churn;
mod claims;
mod driver;
mod flows;
pub mod manifest;
mod networks;
mod node;
mod pods;
mod prometheus;
mod readers;
mod runtime;
mod stage;

/// Something that has to hold on a real cluster.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What is to hold, in words; unique, and what `--only` looks in.
    pub name: &'static str,
    /// Shows that it holds.
    pub play: for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, Result<()>>,
}

/// Why a scenario cannot be played here; it then counts as skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skip(pub &'static str);

/// All of them, in the order in which they are played.
pub fn all() -> impl Iterator<Item = Scenario> {
    let files = [
        pods::ALL,
        claims::ALL,
        causes::ALL,
        networks::ALL,
        flows::ALL,
        churn::ALL,
        prometheus::ALL,
        node::ALL,
        runtime::ALL,
        driver::ALL,
        api::ALL,
    ];
    files.into_iter().flatten().copied()
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Ends a scenario that cannot be played here.
pub fn skip(why: &'static str) -> Error {
    Skip(why).into()
}
