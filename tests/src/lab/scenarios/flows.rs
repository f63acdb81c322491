//! With whom pods talk, as somebody is told who may use dra-top and nothing else.

use std::net::{IpAddr, UdpSocket};

use anyhow::{Context as _, Result, bail, ensure};
use netclaim_core::{
    cluster::{FlowsTold, Watched},
    flows::{FlowId, Line, Passed, Ports, Recorded},
};
use serde_json::json;

use super::{
    Scenario, Stage,
    manifest::{From::Template, claim, macvlan, pod, template},
};
use crate::{
    lab::{dashboard::page::Page, install::READER},
    world::traffic,
};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "flows: dra-top shows a reader each datagram of two pods, and of a third why it shows none",
    play: |stage| Box::pin(told_to_a_reader(stage)),
}];

const UDP: u8 = 17;

/// Of UDP, IP and Ethernet.
const HEADERS: u64 = 8 + 20 + 14;

/// What a pod sends, and from which port: below those that the kernel gives away.
#[derive(Clone, Copy, Debug)]
struct Sent {
    port: u16,
    datagrams: usize,
    size: usize,
}

const ONE: Sent = Sent {
    port: 5_301,
    datagrams: 30,
    size: 400,
};
const TWO: Sent = Sent {
    port: 5_302,
    datagrams: 12,
    size: 1_000,
};

/// A flow as the pod's page has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    flow: FlowId,
    sent: Passed,
    received: Passed,
}

/// A pod whose page is open.
#[derive(Debug)]
struct End {
    pod: String,
    address: IpAddr,
    of: Watched,
    page: Page,
}

async fn told_to_a_reader(stage: &Stage<'_>) -> Result<()> {
    stage.lab.admit_reader().await?;
    let network = macvlan("flows", "10.20.1.0/24");
    let silent = claim("silent", "eth1", "net1", &network);
    let mut observed = claim("observed", "eth1", "net1", &network);
    observed["spec"]["devices"]["config"][0]["opaque"]["parameters"]["observe"] =
        json!({"flows": true});
    let mut objects = vec![template(&silent), template(&observed)];
    let mut pods = Vec::new();
    for node in Stage::WORKERS {
        for (name, of) in [
            ("one", "observed"),
            ("two", "observed"),
            ("silent", "silent"),
        ] {
            let name = format!("{node}-{name}");
            objects.push(pod(&name, node, &[Template(of)]));
            pods.push(name);
        }
    }
    stage.apply(&objects).await?;
    stage.settled(&pods).await?;
    for node in Stage::WORKERS {
        exchanged(stage, node).await?;
        refused(stage, &format!("{node}-silent")).await?;
    }
    stage.lab.dismiss_reader().await
}

/// Two pods of a node send to each other while both pages are open: each shows the one flow of
/// theirs, whole, from its own side.
async fn exchanged(stage: &Stage<'_>, node: &str) -> Result<()> {
    let mut one = End::of(stage, &format!("{node}-one")).await?;
    let mut two = End::of(stage, &format!("{node}-two")).await?;
    for end in [&mut one, &mut two] {
        let fact = format!("{}'s flows to be recorded", end.pod);
        stage.until(&fact, async || end.datagrams()).await?;
    }
    let (here, there) = (one.bound(stage, ONE).await?, two.bound(stage, TWO).await?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    traffic::pass(&here, &there, ONE.datagrams, ONE.size)?;
    traffic::pass(&there, &here, TWO.datagrams, TWO.size)?;
    let addresses = (one.address, two.address);
    one.shows(stage, ONE, (addresses.1, TWO)).await?;
    two.shows(stage, TWO, (addresses.0, ONE)).await?;
    one.page.leave().await?;
    two.page.leave().await
}

/// A pod whose claim does not ask: dra-top says so, and what to write.
async fn refused(stage: &Stage<'_>, pod: &str) -> Result<()> {
    let claim = stage.claim_of(pod).await?;
    let name = claim["metadata"]["name"].as_str().unwrap_or_default();
    let words = format!(
        "flows of net1 are not recorded, because claim {}/{name} does not ask for them; write \
         `observe: {{flows: true}}`",
        stage.namespace
    );
    let mut end = End::of(stage, pod).await?;
    let fact = format!("dra-top to say why it shows no flows of {pod}");
    let told = stage.until(&fact, async || end.page.flows(&end.of)).await?;
    let FlowsTold::Unseen { why } = told else {
        bail!("dra-top shows flows of {pod}, whose claim does not ask for them");
    };
    ensure!(
        why.starts_with(&words),
        "expected {words:?}, dra-top was told {why:?}"
    );
    end.page.leave().await
}

impl End {
    async fn of(stage: &Stage<'_>, pod: &str) -> Result<Self> {
        let claim = stage.claim_of(pod).await?;
        let uid = claim["metadata"]["uid"]
            .as_str()
            .context("a claim without a UID")?;
        let of = Watched {
            claim: uid.parse()?,
            if_name: "net1".parse()?,
        };
        let address = stage.attached(pod, "net1").await?.parse()?;
        let page = Page::open(stage.lab, READER, (&stage.namespace, pod))?;
        Ok(Self {
            pod: pod.to_owned(),
            address,
            of,
            page,
        })
    }

    /// Where it sends from, and is sent to.
    async fn bound(&self, stage: &Stage<'_>, Sent { port, .. }: Sent) -> Result<UdpSocket> {
        let address = self.address;
        let pod = stage.pod(&self.pod).await?;
        stage.within(&pod, move || Ok(UdpSocket::bind((address, port))?))
    }

    /// The flows of UDP on its page; an error while it is not told any flows.
    fn datagrams(&mut self) -> Result<Vec<Shown>> {
        let flows = match self.page.flows(&self.of)? {
            FlowsTold::Seen { flows } => flows,
            FlowsTold::Unseen { why } => bail!("dra-top was told none: {why}"),
        };
        let [row] = flows.interfaces.as_slice() else {
            bail!("of {} interfaces", flows.interfaces.len());
        };
        ensure!(row.pod.name.as_str() == self.pod, "of pod {:?}", row.pod);
        let Some(Recorded::Observed { flows, .. }) = &row.recorded else {
            bail!("recorded is {:?}", row.recorded);
        };
        let is_udp = |line: &&Line| matches!(line.id, FlowId::Ip { protocol: UDP, .. });
        let shown = flows.iter().filter(is_udp).map(|line| Shown {
            flow: line.id,
            sent: line.flow.tx,
            received: line.flow.rx,
        });
        Ok(shown.collect())
    }

    /// Waits until its page shows what it sent and what another sent to it, and no other datagram.
    async fn shows(
        &mut self,
        stage: &Stage<'_>,
        sent: Sent,
        (other, received): (IpAddr, Sent),
    ) -> Result<()> {
        let expected = Shown {
            flow: FlowId::Ip {
                protocol: UDP,
                local: self.address,
                remote: other,
                ports: Some(Ports {
                    local: sent.port,
                    remote: received.port,
                }),
            },
            sent: sent.passed(),
            received: received.passed(),
        };
        let fact = format!("dra-top to show of {} {expected:?}", self.pod);
        stage
            .until(&fact, async || {
                let shown = self.datagrams()?;
                ensure!(shown == [expected], "it shows {shown:?}");
                Ok(())
            })
            .await
    }
}

impl Sent {
    fn passed(self) -> Passed {
        let (packets, size) = (self.datagrams as u64, self.size as u64);
        Passed {
            packets,
            bytes: packets * (size + HEADERS),
        }
    }
}
