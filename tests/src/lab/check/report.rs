//! What came of the scenarios, for people and for `cargo xtask test`, which reads the last line and
//! those that say what was skipped.

use std::time::Duration;

use anyhow::Result;

use crate::demo::steps::say;

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// What did not hold.
    Failed(String),
    /// Why it could not be played.
    Skipped(String),
}

/// A scenario's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

impl Outcome {
    pub(super) fn line(&self) -> String {
        let (mark, words) = match &self.verdict {
            Verdict::Passed => ('✔', String::new()),
            Verdict::Failed(error) => ('✘', format!("\n           {error}")),
            Verdict::Skipped(why) => ('–', format!("\n           {why}")),
        };
        let seconds = self.took.as_secs_f64();
        format!("{mark} {seconds:6.1} s  {}{words}", self.name)
    }
}

/// Prints the table and the counts; gives how many failed.
pub(super) fn tell(outcomes: &[Outcome]) -> Result<usize> {
    let (mut failed, mut skipped) = (0, 0);
    say("")?;
    for outcome in outcomes {
        say(&outcome.line())?;
    }
    for outcome in outcomes {
        match &outcome.verdict {
            Verdict::Passed => {}
            Verdict::Failed(_) => failed += 1,
            Verdict::Skipped(why) => {
                skipped += 1;
                say(&format!("skipped: {}: {why}", outcome.name))?;
            }
        }
    }
    let passed = outcomes.len() - failed - skipped;
    say(&format!(
        "{passed} passed, {failed} failed, {skipped} skipped"
    ))?;
    Ok(failed)
}
