//! One measured figure with its bar.

use serde::{Deserialize, Serialize};

/// A figure. Less is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// How, so that it can be repeated.
    pub(crate) how: String,
    /// What came out.
    pub(crate) measured: f64,
    /// What must not be exceeded; none for a figure that explains another.
    pub(crate) bar: Option<f64>,
    /// Of both.
    pub(crate) unit: String,
    /// Why the bar is missed, where that is known.
    pub(crate) reason: Option<String>,
}

impl Figure {
    /// A figure without a bar.
    pub(crate) fn new(what: &str, measured: f64, unit: &str) -> Self {
        Self {
            what: what.to_owned(),
            how: String::new(),
            measured,
            bar: None,
            unit: unit.to_owned(),
            reason: None,
        }
    }

    /// Memory, without a bar.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn mebibytes(what: &str, kibibytes: u64) -> Self {
        Self::new(what, kibibytes as f64 / 1_024.0, "MiB")
    }

    /// Says how it was measured.
    pub(crate) fn how(mut self, how: impl Into<String>) -> Self {
        self.how = how.into();
        self
    }

    /// Sets the bar.
    pub(crate) fn bar(mut self, bar: f64) -> Self {
        self.bar = Some(bar);
        self
    }

    /// Measured over bar: at most 1 where it is met; none where the bar is nothing at all.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let bar = self.bar.filter(|bar| *bar > 0.0)?;
        Some(self.measured / bar)
    }

    /// Whether the bar is met.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.measured <= self.bar?)
    }
}
