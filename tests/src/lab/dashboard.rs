//! dra-top on a lab, as its users have it: a kubeconfig, and nothing of the nodes.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use netclaim_proto::observe::{Snapshot, Traffic};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    Lab,
    install::{NAMESPACE, READER},
    program,
};
use crate::world::driver::{self, OBSERVE_SOCKET};

pub mod page;

/// A driver that runs shows itself at once.
const PATIENCE: Duration = Duration::from_secs(10);

impl Lab {
    /// dra-top with a user's credentials, on the nodes' network.
    pub fn dra_top<S: AsRef<str>>(&self, user: &str, args: &[S]) -> Result<Command> {
        let program = driver::beside_us("dra-top")?;
        let program = program.to_str().context("a path that is no text")?;
        self.as_user(user, program, args)
    }

    /// What dra-top prints for a user, as a script gets it.
    pub async fn shown(&self, user: &str, args: &[&str]) -> Result<Vec<Value>> {
        let dra_top = self.dra_top(user, &[args, &["--output=json"]].concat())?;
        let printed = program::finish(dra_top.into(), "").await?;
        Ok(serde_json::from_str(&printed)?)
    }

    /// Prints what dra-top shows of a node's driver.
    pub async fn show(&self, node: &str) -> Result<()> {
        let socket = self.path_on(node, OBSERVE_SOCKET)?;
        let node = format!("--node=unix:{}", socket.display());
        let options = dra_top::options::Options::parse_from(["dra-top", "--output=table", &node]);
        let shown = timeout(PATIENCE, dra_top::run(options)).await;
        Ok(shown.context("the driver shows nothing")??)
    }

    /// Fails unless dra-top is kept from the driver's own pods, and says which right is missing.
    pub async fn keeps_from_drivers(&self) -> Result<()> {
        let namespace = format!("--relay-namespace={NAMESPACE}");
        let labels = "--relay-selector=app.kubernetes.io/component=driver";
        let mut dra_top = self.dra_top(READER, &["--output=json", &namespace, labels])?;
        let output = tokio::task::spawn_blocking(move || dra_top.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        let words = format!("pods/portforward in namespace {NAMESPACE}");
        ensure!(
            said.contains("no right to") && said.contains(&words),
            "expected dra-top to be refused {words}, it said {said:?}"
        );
        Ok(())
    }
}

/// Fails unless dra-top shows for each interface what its driver says of it.
pub fn agree(shown: &[Value], said: &Snapshot) -> Result<()> {
    for interface in &said.interfaces {
        let Some(counters) = &interface.counters else {
            continue;
        };
        let claim = interface.claim.as_ref().context("an interface of none")?;
        let row = shown.iter().find(|row| row["claim"] == *claim.name);
        let row = row.with_context(|| format!("dra-top does not show claim {}", claim.name))?;
        let total = |traffic: &Option<Traffic>| traffic.as_ref().map(|traffic| traffic.bytes);
        for (field, expected) in [
            ("rx_bytes_total", total(&counters.rx)),
            ("tx_bytes_total", total(&counters.tx)),
        ] {
            ensure!(
                row[field].as_u64() == expected,
                "claim {}: dra-top shows {field} {}, its driver says {expected:?}",
                claim.name,
                row[field]
            );
        }
    }
    Ok(())
}
