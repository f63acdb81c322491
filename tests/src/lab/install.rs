//! netclaim installed on a lab as users install it: by helm, from the chart of this checkout.

use std::{fmt::Write as _, process::Stdio};

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::Command;

use super::{Lab, program};

/// The chart of this checkout.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/netclaim");

const RELEASE: &str = "netclaim";

/// Where the driver runs.
pub const NAMESPACE: &str = "netclaim-system";

/// Where the relay runs: the chart's default.
pub const RELAY_NAMESPACE: &str = "netclaim-relay";

/// The relay's port: the chart's default.
pub const RELAY_PORT: u16 = 10_477;

/// Values with which the driver reads its node's boot id where a lab has it: the kernel's own is the
/// machine's.
pub const BOOT_ID: &[&str] = &[
    "driver.extraArgs[0]=--boot-id-file=/run/boot-id",
    "driver.extraVolumes[0].name=boot-id",
    "driver.extraVolumes[0].hostPath.path=/run/boot-id",
    "driver.extraVolumeMounts[0].name=boot-id",
    "driver.extraVolumeMounts[0].mountPath=/run/boot-id",
];

/// A user who may use dra-top and nothing else.
pub const READER: &str = "reader";

/// The bindings that a cluster's administrator makes for such a user; docs/install.md has them.
const READER_BINDINGS: &str = include_str!("install/reader.yaml");

impl Lab {
    /// Installs the chart, or another set of its values, and waits until all is Ready.
    pub async fn install(&self, values: &[&str]) -> anyhow::Result<()> {
        let args = ["upgrade", RELEASE, CHART, "--install", "--create-namespace"];
        let values = values.iter().flat_map(|value| ["--set", value]);
        let args: Vec<_> = args.into_iter().chain(values).collect();
        self.release(&args).await
    }

    /// Goes back to the release before.
    pub async fn roll_back(&self) -> anyhow::Result<()> {
        self.release(&["rollback", RELEASE]).await
    }

    /// Takes the release away, and waits until it is gone.
    pub async fn uninstall(&self) -> anyhow::Result<()> {
        self.release(&["uninstall", RELEASE]).await
    }

    async fn release(&self, args: &[&str]) -> anyhow::Result<()> {
        let more = ["--namespace", NAMESPACE, "--wait", "--timeout=3m"];
        let helm = Command::from(self.helm(&[args, &more].concat())?);
        program::finish(helm, "").await.map(drop)
    }

    /// Gives [`READER`] its rights.
    pub async fn admit_reader(&self) -> anyhow::Result<()> {
        self.apply(READER_BINDINGS).await
    }

    /// Takes them away again.
    pub async fn dismiss_reader(&self) -> anyhow::Result<()> {
        self.feed(&["delete", "--filename=-"], READER_BINDINGS)
            .await
    }

    /// Applies a manifest as its user does.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        self.feed(&["apply", "--filename=-"], manifest).await
    }

    /// Runs kubectl on a manifest.
    pub(super) async fn feed(&self, args: &[&str], manifest: &str) -> anyhow::Result<()> {
        let mut kubectl = Command::from(self.kubectl(args)?);
        kubectl.stdin(Stdio::piped());
        program::finish(kubectl, manifest).await.map(drop)
    }

    /// Objects of the cluster, by kubectl's words for them.
    pub async fn list(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        let args: Vec<_> = ["get", "--output=json"]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let mut shown: Value = serde_json::from_str(&self.ask(&args).await?)?;
        match shown["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(vec![shown]),
        }
    }

    /// The name of the pod of a component on a node.
    pub async fn pod_of(
        &self,
        namespace: &str,
        component: &str,
        node: &str,
    ) -> anyhow::Result<String> {
        let selector = format!("--selector=app.kubernetes.io/component={component}");
        let field = format!("--field-selector=spec.nodeName={node}");
        let pods = self
            .list(&["pods", "--namespace", namespace, &selector, &field])
            .await?;
        let name = pods
            .first()
            .and_then(|pod| pod["metadata"]["name"].as_str());
        let name = name.with_context(|| format!("no {component} runs on {node}"))?;
        Ok(name.to_owned())
    }

    /// What the cluster says when something is wrong: pods, Events, claims, the drivers' last words.
    pub async fn testimony(&self) -> String {
        let driver = "--selector=app.kubernetes.io/component=driver";
        let questions: [&[&str]; 5] = [
            &["get", "pods", "--all-namespaces", "--output=wide"],
            &[
                "get",
                "events",
                "--all-namespaces",
                "--field-selector=type=Warning",
            ],
            &["get", "resourceclaims", "--all-namespaces", "--output=wide"],
            &["get", "resourceslices"],
            &[
                "logs",
                "--namespace",
                NAMESPACE,
                driver,
                "--prefix",
                "--tail=15",
            ],
        ];
        let mut testimony = String::new();
        for question in questions {
            let answer = self.ask(question).await;
            let answer = answer.unwrap_or_else(|error| format!("{error:#}"));
            _ = writeln!(testimony, "kubectl {}\n{answer}", question.join(" "));
        }
        testimony
    }
}

/// What helm makes of one template of the chart, with these of its values.
pub async fn rendered(template: &str, values: &[&str]) -> anyhow::Result<String> {
    let args = ["template", RELEASE, CHART, "--namespace", NAMESPACE];
    let values = values.iter().flat_map(|value| ["--set", value]);
    let only = ["--show-only", template];
    program::output("helm", args.into_iter().chain(only).chain(values)).await
}
