//! Small bar charts in a line of text.

use crate::theme::Theme;

/// One bar per value, the newest at the right; as high as its share of the largest.
///
/// Anything above zero has a bar, so that a trickle is not taken for silence.
pub(super) fn bars(theme: Theme, values: &[u64], width: usize) -> String {
    let shown = &values[values.len().saturating_sub(width)..];
    let largest = shown.iter().copied().max().unwrap_or(0).max(1);
    let bars = theme.bars();
    let bar = |&value: &u64| {
        let eighths = u128::from(value) * 8;
        let height = usize::try_from(eighths.div_ceil(u128::from(largest))).unwrap_or(8);
        bars[height.min(8)]
    };
    let blank = " ".repeat(width.saturating_sub(shown.len()));
    blank + &shown.iter().map(bar).collect::<String>()
}
