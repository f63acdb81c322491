//! Streams of flows: whole ones, and only of interfaces whose claims ask for them.

use std::sync::Arc;

use futures::{Stream, stream};
use netclaim_core::{
    flows::{Flows, Unwatched, Wanted, Watch},
    name::NameError,
};
use netclaim_proto::observe::{WatchFlowsRequest, WatchFlowsResponse};
use tokio::{
    task,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{super::NodeView, EVERY};

/// Flows of an interface that are told to those who do not say how many.
const MOST: u32 = 100;

/// Most that anybody is told: all that there is room for on a node.
const MOST_OF_ALL: u32 = 1 << 20;

/// One client that watches flows.
struct Watcher {
    view: Arc<NodeView>,
    watch: Watch,
    tick: Interval,
    stop: CancellationToken,
}

/// Flows from here on, unless there are none to be watched.
pub(super) fn watch(
    view: &Arc<NodeView>,
    request: WatchFlowsRequest,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<WatchFlowsResponse, Status>> + Send + use<>, Status> {
    let most = match request.limit.unwrap_or(MOST) {
        most @ 1..=MOST_OF_ALL => most,
        found => {
            return Err(Status::invalid_argument(format!(
                "limit: found {found}, expected 1 to {MOST_OF_ALL}"
            )));
        }
    };
    let wanted = Wanted {
        claim: named("claim_uid", request.claim_uid)?,
        if_name: named("interface", request.interface)?,
    };
    wanted
        .check(&view.ledger())
        .map_err(|unwatched| refused(&unwatched))?;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        view: Arc::clone(view),
        watch: Watch::new(wanted, most as usize),
        tick,
        stop,
    };
    Ok(stream::unfold(watcher, async |watcher| {
        let (flows, watcher) = watcher.next().await?;
        Some((Ok((&flows).into()), watcher))
    }))
}

impl Watcher {
    /// The next flows, read when the connection has room for them: a slow client skips.
    async fn next(mut self) -> Option<(Flows, Self)> {
        tokio::select! {
            () = self.stop.cancelled() => return None,
            _ = self.tick.tick() => {}
        }
        // A full table takes some milliseconds.
        let read = task::spawn_blocking(move || (self.view.flows(&mut self.watch), self));
        read.await.ok()
    }
}

fn named<N: TryFrom<String, Error = NameError>>(
    field: &str,
    name: Option<String>,
) -> Result<Option<N>, Status> {
    let name = name.map(N::try_from).transpose();
    name.map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

fn refused(unwatched: &Unwatched) -> Status {
    let words = unwatched.to_string();
    match unwatched {
        Unwatched::NoClaim { .. } | Unwatched::NoInterface { .. } => Status::not_found(words),
        Unwatched::NotAsked { .. } => Status::failed_precondition(words),
    }
}
