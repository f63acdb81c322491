//! The chart: linted, its schema tried, and the plain manifests that are made of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};

use crate::{
    cache, cluster,
    step::{self, command, say},
};

const CHART: &str = "deploy/helm/netclaim";

const MANIFESTS: &str = "deploy/manifests/netclaim.yaml";

/// What stands above the manifests: a namespace, which helm makes by itself.
const HEAD: &str = "\
# For those without helm: `kubectl apply --filename` installs netclaim with its defaults.
# Made of deploy/helm/netclaim by `cargo xtask chart`; change the chart.
---
apiVersion: v1
kind: Namespace
metadata:
  name: netclaim-system
  labels:
    # The driver is privileged; deploy/helm/netclaim/templates/driver.yaml says why.
    pod-security.kubernetes.io/enforce: privileged
";

/// Lines that are true only of what helm installs.
const OF_HELM: &[&str] = &[
    "app.kubernetes.io/managed-by:",
    "helm.sh/chart:",
    "# Source:",
];

/// Values that the schema must refuse, and what it then says.
const REFUSED: &[(&str, &str)] = &[
    ("drivername=x", "'drivername' not allowed"),
    ("driver.logLevel=debug", "'logLevel' not allowed"),
    ("driver.maxInterfaces=0", "/driver/maxInterfaces"),
    (
        "driver.resources.limits.memory=64Mi",
        "'memory' not allowed",
    ),
    ("relay.port=80", "/relay/port"),
    (
        "admission.restrictSlice=true",
        "'restrictSlice' not allowed",
    ),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
    ("cniPlugins.install=true", "cniPlugins.image: name an image"),
];

/// Every switch that adds an object or a field.
const EVERYTHING: &str = "cniPlugins.install=true,cniPlugins.image=plugins,\
    admission.restrictClaimConfig=true,monitoring.podMonitor.create=true,\
    monitoring.prometheusRule.create=true,driver.node.useHostRoot=true,\
    driver.policy.cniTypes={bond}";

/// What to do with the chart.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only compare the committed manifests with what the chart gives.
    #[arg(long)]
    check: bool,
}

/// Makes the manifests of the chart, or checks those that are there.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.check {
        return check();
    }
    let file = cache::root().join(MANIFESTS);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, manifests(&helm()?)?).with_context(|| file.display().to_string())?;
    say(&format!("{MANIFESTS} is what the chart gives"));
    Ok(())
}

/// Fails if the chart is not sound, or the committed manifests are not what it gives.
pub(crate) fn check() -> anyhow::Result<()> {
    let helm = helm()?;
    for values in ["driver.log=info", EVERYTHING] {
        let mut lint = ask(
            &helm,
            &["lint", "--strict", "--quiet", CHART, "--set", values],
        );
        step::run(&mut lint)?;
    }
    for (value, expected) in REFUSED {
        let Output { status, stderr, .. } = template(&helm, &["--set", value]).output()?;
        let said = String::from_utf8_lossy(&stderr);
        ensure!(
            !status.success() && said.contains(expected),
            "--set {value}: expected a refusal with {expected:?}, helm said {said:?}"
        );
    }
    let committed = fs::read_to_string(cache::root().join(MANIFESTS)).context(MANIFESTS)?;
    ensure!(
        committed == manifests(&helm)?,
        "{MANIFESTS} is not what {CHART} gives; run `cargo xtask chart` and commit it"
    );
    say("the chart is sound, and the committed manifests are what it gives");
    Ok(())
}

fn helm() -> anyhow::Result<PathBuf> {
    Ok(cluster::HELM.ensure()?.join("helm"))
}

fn manifests(helm: &Path) -> anyhow::Result<String> {
    let rendered = step::output(&mut template(helm, &[]))?;
    let of_helm = |line: &&str| !OF_HELM.iter().any(|word| line.trim().starts_with(word));
    let lines: Vec<_> = rendered.lines().filter(of_helm).collect();
    Ok(format!("{HEAD}{}\n", lines.join("\n")))
}

fn template(helm: &Path, args: &[&str]) -> Command {
    let fixed = ["template", "netclaim", CHART, "--namespace=netclaim-system"];
    ask(helm, &[&fixed, args].concat())
}

fn ask(helm: &Path, args: &[&str]) -> Command {
    let mut ask = command(&helm.to_string_lossy(), args);
    ask.current_dir(cache::root());
    ask
}
