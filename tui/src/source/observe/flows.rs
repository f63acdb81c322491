//! The flows of the interface that the screen looks at, if it is on the node that speaks.
//!
//! Nothing is asked for while nobody looks: to tell flows costs the driver a reading of its table.

use std::{sync::Arc, time::Duration};

use netclaim_core::{
    cluster::{FlowsTold, Watched},
    name::NodeName,
};
use netclaim_proto::observe::{WatchFlowsRequest, observe_service_client::ObserveServiceClient};
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        watch,
    },
    task::JoinSet,
};
use tonic::{Code, Status, transport::Channel};

/// Flows that a page shows.
const SHOWN: u32 = 10;

/// Between two questions where the driver does not tell them: an interface that is not attached may
/// come to be.
const AGAIN: Duration = Duration::from_secs(2);

/// An interface that the screen looks at, and the node that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// The node.
    pub node: NodeName,
    /// The interface.
    pub of: Watched,
}

/// What the screen looks at.
pub(crate) type Looks = watch::Receiver<Option<Looked>>;

/// What a driver says, and of which interface.
type Told = (Watched, FlowsTold);

/// Flows of one driver.
#[derive(Debug)]
pub(super) struct Flows {
    client: ObserveServiceClient<Channel>,
    looks: Looks,
    /// Once the driver has said for which one it speaks.
    node: Option<NodeName>,
    asked: Option<Watched>,
    /// Asks; ends with us.
    task: JoinSet<()>,
    told: (Sender<Told>, Receiver<Told>),
}

impl Flows {
    /// Of the driver behind a client.
    pub(super) fn new(client: ObserveServiceClient<Channel>, looks: Looks) -> Self {
        Self {
            client,
            looks,
            node: None,
            asked: None,
            task: JoinSet::new(),
            told: channel(1),
        }
    }

    /// The driver speaks for a node.
    pub(super) fn speaks_for(&mut self, node: &NodeName) {
        if self.node.as_ref() != Some(node) {
            self.node = Some(node.clone());
        }
    }

    /// What the driver tells next of what is looked at; never ends while that is nothing.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            self.look();
            tokio::select! {
                Some((of, told)) = self.told.1.recv() => {
                    // What was asked for before may still be on its way.
                    if self.asked.as_ref() == Some(&of) {
                        return (of, told);
                    }
                }
                changed = self.looks.changed() => {
                    if changed.is_err() {
                        // Without a screen nothing is looked at any more.
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Asks for what is looked at, if that is another interface than before.
    fn look(&mut self) {
        let looked = self.looks.borrow_and_update().clone();
        let here = looked.filter(|looked| Some(&looked.node) == self.node.as_ref());
        let wanted = here.map(|looked| looked.of);
        if wanted == self.asked {
            return;
        }
        self.task.abort_all();
        while self.task.try_join_next().is_some() {}
        self.asked.clone_from(&wanted);
        if let Some(of) = wanted {
            let (client, told) = (self.client.clone(), self.told.0.clone());
            self.task.spawn(follow(client, of, told));
        }
    }
}

/// Tells what the driver tells, or why it does not, until nobody listens.
async fn follow(mut client: ObserveServiceClient<Channel>, of: Watched, told: Sender<Told>) {
    loop {
        let Err(why) = listen(&mut client, &of, &told).await else {
            return;
        };
        let unseen = FlowsTold::Unseen { why };
        if told.send((of.clone(), unseen)).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until nobody listens, or why nothing is told.
async fn listen(
    client: &mut ObserveServiceClient<Channel>,
    of: &Watched,
    told: &Sender<Told>,
) -> Result<(), String> {
    let request = WatchFlowsRequest {
        claim_uid: Some(of.claim.to_string()),
        interface: Some(of.if_name.to_string()),
        limit: Some(SHOWN),
    };
    let answer = client.watch_flows(request).await;
    let mut stream = answer.map_err(|status| words(&status))?.into_inner();
    loop {
        let message = stream.message().await.map_err(|status| words(&status))?;
        let message = message.ok_or("the node ended its answer: its driver is stopping")?;
        let flows = message.try_into().map_err(|invalid| {
            format!("the node sent {invalid}; are dra-top and netclaim of the same version?")
        })?;
        let seen = FlowsTold::Seen {
            flows: Arc::new(flows),
        };
        if told.send((of.clone(), seen)).await.is_err() {
            return Ok(());
        }
    }
}

/// The driver's own words, where it has some.
fn words(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => {
            "the node's driver cannot tell flows: it is older than dra-top".to_owned()
        }
        _ => status.message().to_owned(),
    }
}
