//! Sets up the log: text for people or JSON for machines, to standard error.

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::options::{LogFormat, LogOptions};

/// Logs each failed request as an error of its own, beside the line that says what it means for whom.
/// Can be had by name.
const SAID_BY_US: &str = "kube_client";

/// Installs the log for the whole process.
pub fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter = filter(&options.log)?;
    let lines = fmt::layer()
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    let lines = match options.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    Ok(())
}

fn filter(log: &str) -> anyhow::Result<Targets> {
    let filter = format!("{SAID_BY_US}=off,{log}");
    let expected = || format!("--log {log}: expected levels, as info or info,netclaim=debug");
    filter.parse().with_context(expected)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_clients_own_words_are_there_for_who_asks_for_them() {
        for (log, ours, clients) in [
            ("info", true, false),
            ("warn", false, false),
            ("info,kube_client=info", true, true),
            ("netclaim=info", true, false),
        ] {
            let filter = filter(log).unwrap();
            let enabled = |target| filter.would_enable(target, &Level::INFO);
            let found = (
                enabled("netclaim::status"),
                enabled("kube_client::client::builder"),
            );
            assert_eq!(found, (ours, clients), "{log}");
        }
        assert!(filter("info,netclaim=loud").is_err());
    }
}
