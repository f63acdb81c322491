//! Sets up the log: text for people or JSON for machines, to standard error.

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::options::{LogFormat, LogOptions};

/// Installs the log for the whole process.
pub fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter: Targets = options.log.parse().with_context(|| {
        format!(
            "--log {}: expected levels, as info or info,netclaim=debug",
            options.log
        )
    })?;
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
