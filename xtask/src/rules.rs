//! The rules for Prometheus, tried by its own tool.

use crate::{
    cache, cluster,
    step::{self, command, say},
};

const FOLDER: &str = "deploy/prometheus";

/// Fails if Prometheus would not take the rules or the scrape configuration, or if the rules do not
/// say what their tests expect.
pub(crate) fn check() -> anyhow::Result<()> {
    let promtool = cluster::PROMETHEUS.ensure()?.join("promtool");
    for args in [
        &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"][..],
        &[
            "check",
            "config",
            "--lint=all",
            "--lint-fatal",
            "prometheus.yaml",
        ],
        &["test", "rules", "rules.test.yaml"],
    ] {
        let mut promtool = command(&promtool.to_string_lossy(), args);
        step::run(promtool.current_dir(cache::root().join(FOLDER)))?;
    }
    say("Prometheus takes the rules, and they say what their tests expect");
    Ok(())
}
