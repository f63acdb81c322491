//! With whom pods talk: told of those whose claims ask for it, and gone with the driver.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use netclaim_core::flows::{FlowId, Line, Recorded};
use netclaim_proto::observe::WatchFlowsRequest;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Options, driver, traffic};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::life::{exact, send};
use super::stage::{CLASS, Stage, macvlan, parameters, play, until};

/// A datagram of `send` with its headers of UDP, IP and Ethernet.
const FRAME: u64 = 400 + 8 + 20 + 14;

const UDP: u8 = 17;

/// A pod whose claim asks for flows, running.
async fn observed(stage: &Stage, name: &str) -> Result<Value> {
    let mut parameters = parameters("net1", &macvlan());
    parameters["observe"] = json!({"flows": true});
    stage.claim(name, CLASS, &parameters)?;
    let pod = stage.pod(name, &[name])?;
    stage.world.run_pod(&pod, super::stage::LIMIT).await
}

/// What gRPC has of the flows of a pod's interface; nothing while that is about to begin.
async fn flows(stage: &Stage, pod: &Value) -> Result<Option<Vec<Line>>> {
    let claim = stage.interface(pod).await?.claim.context("a claim")?;
    let request = WatchFlowsRequest {
        claim_uid: Some(claim.uid),
        interface: Some("net1".to_owned()),
        limit: None,
    };
    let flows = driver::flows(stage.worker(), request).await?;
    let row = flows.interfaces.into_iter().next().context("it went")?;
    match row.recorded {
        Some(Recorded::Observed { flows, .. }) => Ok(Some(flows)),
        Some(Recorded::Unavailable { failure }) => anyhow::bail!("{failure:?}"),
        None => Ok(None),
    }
}

/// Waits until the one flow of UDP from a pod has this many datagrams.
async fn until_sent(stage: &Stage, pod: &Value, count: u64) -> Result<()> {
    until(&format!("{count} datagrams in one flow"), async || {
        let flows = flows(stage, pod).await?.unwrap_or_default();
        let sent = flows.into_iter().filter(|line| {
            let is_udp = matches!(line.id, FlowId::Ip { protocol: UDP, .. });
            is_udp && line.flow.tx.packets > 0
        });
        let sent: Vec<Line> = sent.collect();
        let [line] = sent.as_slice() else {
            ensure!(sent.is_empty(), "more than one: {sent:?}");
            return Ok(None);
        };
        let all = (line.flow.tx.packets, line.flow.tx.bytes) == (count, count * FRAME);
        Ok(all.then_some(()))
    })
    .await
}

/// What hangs on a pod's interface.
async fn programs(stage: &Stage, pod: &Value) -> Result<Vec<String>> {
    let worker = stage.worker();
    let netns = worker.netns(pod).await?;
    worker.node.place.within(netns, || {
        let mut names = Vec::new();
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            let (_, programs) = SchedClassifier::query_tcx("net1", side)?;
            names.extend(
                programs
                    .iter()
                    .filter_map(|p| p.name_as_str().map(str::to_owned)),
            );
        }
        Ok(names)
    })
}

const COUNTED: [&str; 2] = ["count_rx", "count_tx"];
const RECORDED: [&str; 4] = ["count_rx", "flow_rx", "flow_tx", "count_tx"];

async fn until_programs(stage: &Stage, pod: &Value, expected: &[&str]) -> Result<()> {
    until(&format!("{expected:?} hang on it"), async || {
        Ok((programs(stage, pod).await? == expected).then_some(()))
    })
    .await
}

#[test]
fn flows_are_told_of_those_who_ask_and_go_with_the_driver() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let (one, two) = (observed(stage, "one").await?, stage.running("two").await?);
            until_programs(stage, &one, &RECORDED).await?;
            send(stage, &one, &two, 30).await?;
            until_sent(stage, &one, 30).await?;
            exact(stage, &one).await?;
            until_programs(stage, &two, &COUNTED).await?;

            stage.driver.take().context("a driver")?.kill().await?;
            until_programs(stage, &one, &COUNTED).await?;
            let worker = stage.worker();
            let (from, to) = (worker.netns(&one).await?, worker.netns(&two).await?);
            let address = traffic::interface(&worker.node, to.clone(), "net1")?.address()?;
            traffic::send_udp(&worker.node, from, to, address, 40, 400)?;
            stage.start().await?;
            until_programs(stage, &one, &RECORDED).await?;
            // It begins anew, and the account goes on.
            send(stage, &one, &two, 5).await?;
            until_sent(stage, &one, 5).await?;
            let counted = exact(stage, &one).await?;
            ensure!(counted.1 >= 75, "{counted:?}");

            stage.world.delete_pod(&one).await?;
            let ended = refusal(stage, &one).await?;
            ensure!(ended.code() == Code::NotFound, "{ended}");
            // Whoever has its slot next begins with nothing.
            let three = observed(stage, "three").await?;
            until("flows of three", async || flows(stage, &three).await)
                .await
                .and_then(|flows| {
                    let of_one = flows.iter().any(|line| line.flow.tx.packets >= 5);
                    ensure!(!of_one, "another pod's: {flows:?}");
                    Ok(())
                })?;
            stage.world.delete_pod(&two).await?;
            stage.world.delete_pod(&three).await?;
            stage.left(0).await
        })
    })
}

/// What gRPC answers instead of flows.
async fn refusal(stage: &Stage, pod: &Value) -> Result<Status> {
    let failed = flows(stage, pod).await.err().context("flows are told")?;
    failed.downcast::<Status>()
}

#[test]
fn who_does_not_ask_hears_how() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let silent = stage.running("silent").await?;
            let refused = refusal(stage, &silent).await?;
            ensure!(refused.code() == Code::FailedPrecondition, "{refused}");
            let words =
                "claim default/silent does not ask for them; write `observe: {flows: true}`";
            ensure!(refused.message().contains(words), "{refused}");
            Ok(())
        })
    })
}
