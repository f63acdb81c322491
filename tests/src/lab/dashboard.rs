//! dra-top on a lab, as its users have it: a kubeconfig, and nothing of the nodes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use netclaim_proto::observe::{Snapshot, Traffic};
use serde_json::Value;

use super::{
    Lab,
    install::{NAMESPACE, READER},
    program,
};
use crate::world::driver;

impl Lab {
    /// dra-top with a user's credentials, on the nodes' network.
    pub fn dra_top<S: AsRef<str>>(&self, user: &str, args: &[S]) -> Result<Command> {
        let program = driver::beside_us("dra-top")?;
        let program = program.to_str().context("a path that is no text")?;
        self.as_user(user, program, args)
    }

    /// What dra-top prints of a table for somebody who may use it and nothing else.
    pub async fn shown(&self, view: &str) -> Result<Vec<Value>> {
        let dra_top = self.dra_top(READER, &[view, "--output=json"])?;
        let printed = program::finish(dra_top.into(), "").await?;
        Ok(serde_json::from_str(&printed)?)
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
