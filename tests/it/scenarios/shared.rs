//! Several pods on one claim: one is served, the others hear why not, and none starts without its
//! interface. The kubelet prepares the claim once and never again.

use anyhow::{Result, ensure};
use netclaim_tests::world::apiserver::resource::EVENTS;
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{Options, controller, scheduler, talk};
use serde_json::{Value, json};

use super::stage::{CLASS, LIMIT, Stage, macvlan, parameters, play, until};

/// Tries to start a pod, which must hear that claim `shared` serves `serves`, as everybody does.
async fn check(stage: &Stage, pod: &Value, serves: &str) -> Result<()> {
    let kubelet = stage.worker().kubelet.try_run_pod(pod).await;
    let kubelet = format!(
        "{:#}",
        kubelet
            .err()
            .unwrap_or_else(|| anyhow::anyhow!("it starts"))
    );
    let said = format!(
        "claim default/shared already serves pod default/{serves}; give each pod its own with a \
         ResourceClaimTemplate"
    );
    ensure!(kubelet.contains(&said), "the kubelet was told {kubelet:?}");
    until(&format!("an Event {said:?}"), async || {
        let mut events = stage.world.api.store.all(EVENTS).into_iter();
        let found = events.find(|event| {
            event["regarding"]["uid"] == pod["metadata"]["uid"] && event["reason"] == "ClaimInUse"
        });
        Ok(found.filter(|event| event["note"] == said.as_str()))
    })
    .await?;
    until(&format!("a condition {said:?}"), async || {
        let refused = stage.condition("shared", "PodRefused")?;
        let same = refused["reason"] == "ClaimInUse" && refused["message"] == said.as_str();
        Ok((same && refused["status"] == "True").then_some(()))
    })
    .await?;
    ensure!(stage.log()?.contains(&said), "the log does not say it");
    let metric = "netclaim_failures_total{step=\"plan\",code=\"claim_in_use\"}";
    ensure!(stage.scrape()?.contains(metric), "no {metric}");
    Ok(())
}

/// A pod is served after all, and nobody waits any more.
async fn served(stage: &Stage, pod: &Value) -> Result<()> {
    stage.worker().kubelet.run_pod(pod, LIMIT).await?;
    stage.told("shared", "Ready", "True/Attached").await?;
    ensure!(stage.interface(pod).await?.name == "net1");
    until("nobody waits", async || {
        let refused = stage.condition("shared", "PodRefused")?;
        Ok(refused.is_null().then_some(()))
    })
    .await?;
    stage.left(1).await
}

fn reserved(stage: &Stage, name: &str) -> Result<Value> {
    let pod = stage.pod(name, &["shared"])?;
    scheduler::schedule(&stage.world.api.store, &pod)
}

#[test]
fn a_second_pod_on_a_claim() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let first = stage.running("shared").await?;
            let second = reserved(stage, "second")?;
            check(stage, &second, "shared").await?;
            stage.left(1).await?;
            stage.told("shared", "Ready", "True/Attached").await?;
            stage.world.delete_pod(&first).await?;
            served(stage, &second).await
        })
    })
}

#[test]
fn two_pods_that_come_together() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            stage.claim("shared", CLASS, &parameters("net1", &macvlan()))?;
            let first = reserved(stage, "first")?;
            let second = reserved(stage, "second")?;
            check(stage, &second, "first").await?;
            stage.worker().kubelet.run_pod(&first, LIMIT).await?;
            stage.told("shared", "Ready", "True/Attached").await?;
            check(stage, &second, "first").await?;
            stage.world.delete_pod(&first).await?;
            served(stage, &second).await
        })
    })
}

#[test]
fn a_second_pod_that_comes_while_the_api_server_is_away() -> Result<()> {
    test(|| {
        play(Options::default(), &[], async |stage| {
            let first = stage.running("shared").await?;
            let plain = |name: &str, namespace: &str| {
                let pod = json!({"apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": {"containers": [{"name": "main"}]}});
                let pod = talk::create(&stage.world.api.store, pod)?;
                scheduler::schedule(&stage.world.api.store, &pod)
            };
            let (beside, elsewhere) = (plain("beside", "default")?, plain("away", "kube-system")?);
            stage.world.api.set_up(false);
            let second = reserved(stage, "second")?;
            let kubelet = &stage.worker().kubelet;
            for pod in [&second, &beside] {
                let refused = kubelet.try_run_pod(pod).await.err();
                let refused = format!("{:#}", refused.unwrap_or_else(|| anyhow::anyhow!("runs")));
                let (_, name) = controller::place(pod);
                let said = format!("the API server did not give pod default/{name}");
                // A last event may have come through.
                let in_use = pod == &second && refused.contains("already serves pod");
                ensure!(in_use || refused.contains(&said), "{name}: {refused}");
            }
            kubelet.run_pod(&elsewhere, LIMIT).await?;

            stage.world.api.set_up(true);
            kubelet.run_pod(&beside, LIMIT).await?;
            check(stage, &second, "shared").await?;
            stage.world.delete_pod(&first).await?;
            served(stage, &second).await
        })
    })
}
