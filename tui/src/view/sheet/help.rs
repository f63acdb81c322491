//! The help: the table of keys, as it is.

use ratatui::text::Span;

use super::page::Page;
use crate::{
    keys::GROUPS,
    theme::{Mark, Part},
    view::View,
};

/// Writes it.
pub(super) fn write(page: &mut Page, view: View) {
    for group in &GROUPS {
        page.heading(group.title);
        for binding in group.bindings {
            line(page, binding.label, Part::Key, binding.help);
        }
        page.gap();
    }
    page.heading(&format!(
        "Sort {} by a letter; again turns the order around",
        view.name()
    ));
    columns(page, view);
    page.gap();
    page.heading("Signs");
    for (mark, meaning) in MARKS {
        let sign = Span::styled(
            format!("{:<9}", page.theme.symbol(mark)),
            page.theme.mark(mark),
        );
        page.spans(vec![sign, Span::raw(meaning)]);
    }
    line(page, "–", Part::Quiet, "not known; zero is written 0");
}

fn line(page: &mut Page, sign: &str, part: Part, meaning: &'static str) {
    let sign = page.theme.spell(sign);
    let sign = Span::styled(format!("{sign:<9}"), page.theme.part(part));
    page.spans(vec![sign, Span::raw(meaning)]);
}

/// Five columns with their letters in a line.
fn columns(page: &mut Page, view: View) {
    for columns in view.columns().chunks(5) {
        let theme = page.theme;
        let spans = columns.iter().flat_map(|column| {
            [
                Span::styled(format!("{} ", column.letter), theme.part(Part::Key)),
                Span::raw(format!("{:<11}", column.title)),
            ]
        });
        let spans = spans.collect();
        page.spans(spans);
    }
}

const MARKS: [(Mark, &str); 6] = [
    (Mark::Good, "as it should be"),
    (Mark::Busy, "being done"),
    (Mark::Waiting, "something has to come first"),
    (Mark::Warning, "works, but not quite: not counted, or late"),
    (Mark::Bad, "failed: Enter says why"),
    (Mark::Over, "over"),
];
