//! A node's driver, over `netclaim.observe.v1` on its unix socket.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use futures::{Stream, stream};
use netclaim_core::{
    cluster::{AgentState, Change, Recorded},
    name::NodeName,
    snapshot::Snapshot,
};
use tokio::net::UnixStream;

use super::{
    Source,
    observe::{Heard, Looks, Mute, Talk},
};
use crate::clock::wall;

/// Times between tries: a driver that restarts is back within a second.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A node's driver.
#[derive(Debug)]
pub(crate) struct Node {
    path: PathBuf,
    name: Option<NodeName>,
    pause: Duration,
    looks: Looks,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begin,
    Wait,
    Connect,
    Listen(Box<Talk>),
    Show(Box<Talk>, Arc<Snapshot>),
}

/// Why a driver does not speak.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{cause} at {}; is netclaim running on this node?", path.display())]
    Connect { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Mute(#[from] Mute),
}

impl Node {
    /// The driver that listens at a path; it is asked for flows that are looked at.
    pub(crate) fn new(path: PathBuf, looks: Looks) -> Self {
        Self {
            path,
            looks,
            name: None,
            pause: FIRST_PAUSE,
            stage: Stage::Begin,
        }
    }

    async fn next(&mut self) -> Change {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Connect) {
                Stage::Begin => return self.agent(AgentState::Connecting),
                Stage::Wait => {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
                Stage::Connect => match self.connect().await {
                    Ok(talk) => self.stage = Stage::Listen(Box::new(talk)),
                    Err(trouble) => return self.lost(&trouble),
                },
                Stage::Listen(mut talk) => match talk.next().await {
                    Ok(Heard::Snapshot(snapshot)) => return self.heard(talk, snapshot),
                    Ok(Heard::Flows(of, told)) => {
                        self.stage = Stage::Listen(talk);
                        return Change::Flows { of, told };
                    }
                    Err(mute) => return self.lost(&mute.into()),
                },
                Stage::Show(talk, snapshot) => {
                    self.stage = Stage::Listen(talk);
                    return Change::Snapshot { snapshot };
                }
            }
        }
    }

    /// The first snapshot of a connection says whose it is.
    fn heard(&mut self, talk: Box<Talk>, snapshot: Arc<Snapshot>) -> Change {
        if self.pause == Duration::ZERO {
            self.stage = Stage::Listen(talk);
            return Change::Snapshot { snapshot };
        }
        self.pause = Duration::ZERO;
        let node = snapshot.node.clone();
        self.name = Some(node.clone());
        self.stage = Stage::Show(talk, snapshot);
        self.agent(AgentState::Connected { node })
    }

    fn lost(&mut self, trouble: &Trouble) -> Change {
        self.stage = Stage::Wait;
        self.pause = self.pause.max(FIRST_PAUSE);
        self.agent(AgentState::Lost {
            node: self.name.clone(),
            why: trouble.to_string(),
        })
    }

    fn agent(&self, state: AgentState) -> Change {
        Change::Agent {
            endpoint: format!("unix:{}", self.path.display()),
            state,
        }
    }

    async fn connect(&self) -> Result<Talk, Trouble> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|cause| Trouble::Connect {
                path: self.path.clone(),
                cause,
            })?;
        Ok(Talk::over(stream, self.looks.clone()).await?)
    }
}

impl Source for Node {
    fn changes(self) -> impl Stream<Item = Recorded> + Send + 'static {
        stream::unfold(self, |mut node| async move {
            let change = node.next().await;
            Some((Recorded { at: wall(), change }, node))
        })
    }
}

#[cfg(test)]
mod tests;
