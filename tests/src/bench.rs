//! What netclaim costs, in figures with a bar each.
//!
//! Owns the list of rows and the order of things: every row is measured in an enclosure of its own,
//! one after the other, so that none disturbs another. It must never leave a missed bar out, nor
//! call one met that is not.
//!
//! A new row is a function in a file of its own, and a line in `ROWS`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::world::{driver, enclosure};
use figure::Figure;

mod attach;
mod binary;
mod count;
mod drops;
pub(crate) mod figure;
mod flows;
mod machine;
mod memory;
mod node;
pub(crate) mod quantile;
mod read;
mod reconnect;
pub(crate) mod table;

type Measure = fn() -> Result<Vec<Figure>>;

/// What is measured, by name.
const ROWS: &[(&str, Measure)] = &[
    ("count", count::measure),
    ("drops", drops::measure),
    ("flows", flows::measure),
    ("read", read::measure),
    ("attach", attach::measure),
    ("reconnect", reconnect::measure),
    ("memory", memory::measure),
    ("binary", binary::measure),
];

/// How to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only the rows whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Also write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure one row here, for the bench itself.
    #[arg(long, hide = true, value_name = "NAME")]
    row: Option<String>,
}

/// Measures and prints; a missed bar is no failure, a row that cannot be measured is.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(name) = &options.row {
        measure_here(name)?;
        return Ok(ExitCode::SUCCESS);
    }
    enclosure::preflight()?;
    driver::cni_path()?;
    driver::beside_us("netclaim")?;
    let mut figures = Vec::new();
    let only = options.only.as_deref().unwrap_or_default();
    for (name, _) in ROWS.iter().filter(|(name, _)| name.contains(only)) {
        writeln!(io::stderr(), "measuring: {name}")?;
        figures.extend(measure_apart(name).with_context(|| format!("row {name}"))?);
    }
    table::tell(&figures, options.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Has this program measure one row in an enclosure, and reads what it found.
fn measure_apart(name: &str) -> Result<Vec<Figure>> {
    let output = enclosure::command(["--row", name])?
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "it cannot be measured: {}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn measure_here(name: &str) -> Result<()> {
    let row = ROWS.iter().find(|(known, _)| *known == name);
    let (_, measure) = row.with_context(|| format!("no row {name}"))?;
    Ok(serde_json::to_writer(io::stdout(), &measure()?)?)
}
