//! dra-top against the world's API server and driver, as a script uses it.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use netclaim_tests::world::enclosure::test;
use netclaim_tests::world::{apiserver, controller, driver};
use serde_json::Value;
use tokio::process::Command;

use super::demo::Town;

const KUBECONFIG: &str = "/run/world/admin.kubeconfig";

async fn dra_top(town: &Town, arguments: &[&str]) -> Result<Output> {
    let worker = &town.world.workers[0];
    worker
        .node
        .write(KUBECONFIG, apiserver::kubeconfig(worker.api, "admin"))?;
    let mut command = Command::new(driver::beside_us("dra-top")?);
    command
        .args(["-o", "json"])
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let output = worker.node.spawn(command)?.wait_with_output().await?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {words}");
    Ok(output)
}

fn rows(output: &Output) -> Result<Vec<Value>> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| text.into_owned())
}

#[test]
fn each_view_is_there_from_either_side_and_from_both() -> Result<()> {
    test(|| async {
        let town = Town::up(2).await?;
        let node = format!("unix:{}", driver::OBSERVE_SOCKET);
        let cluster = ["--kubeconfig", KUBECONFIG];
        let both = [&["--node", &node], &cluster[..]].concat();
        let pod = controller::place(&town.pods[0]).1;
        for (sources, view, rows_wanted, known) in [
            (&cluster[..], "slices", 2, "\"node\":\"kind-worker\""),
            (&cluster, "claims", 2, pod),
            (&cluster, "interfaces", 2, "10.10.1."),
            (&["--node", &node], "slices", 2, "\"state\":\"up\""),
            (&["--node", &node], "claims", 2, pod),
            (&["--node", &node], "interfaces", 2, "\"probe\":\"tcx\""),
            (&both, "slices", 2, "\"used\":"),
            (&both, "claims", 2, "\"ready\""),
            (&both, "interfaces", 2, "\"probe\":\"tcx\""),
        ] {
            let output = dra_top(&town, &[sources, &[view]].concat()).await?;
            let found = rows(&output)?;
            let text = serde_json::to_string(&found)?;
            ensure!(
                found.len() == rows_wanted && text.contains(known),
                "{sources:?} {view}: no {known} in {text}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_right_that_is_missing_is_named() -> Result<()> {
    test(|| async {
        let town = Town::up(1).await?;
        town.world.api.deny("list", "resourceslices");
        let output = dra_top(&town, &["--kubeconfig", KUBECONFIG, "claims"]).await?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(words.contains("list resourceslices"), "{words}");
        ensure!(rows(&output)?.len() == 1, "what may be seen is shown");
        Ok(())
    })
}
