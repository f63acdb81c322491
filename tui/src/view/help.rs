//! The help: the table of keys, as it is.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
};

use crate::{
    keys::GROUPS,
    model::Model,
    theme::{Mark, Part, Theme},
};

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, scroll: usize) {
    let mut lines = lines(model.theme);
    lines.drain(..scroll.min(lines.len()));
    frame.render_widget(Text::from(lines), area);
}

/// All of its lines.
pub(super) fn lines(theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for group in &GROUPS {
        lines.push(Line::styled(
            format!(" {}", group.title),
            theme.part(Part::Heading),
        ));
        for binding in group.bindings {
            let label = if theme.ascii {
                binding
                    .label
                    .replace('→', "Right")
                    .replace('←', "Left")
                    .replace('↑', "Up")
                    .replace('↓', "Down")
            } else {
                binding.label.to_owned()
            };
            lines.push(Line::from(vec![
                Span::styled(format!("   {label:<9}"), theme.part(Part::Key)),
                Span::raw(binding.help),
            ]));
        }
        if group.title.starts_with("Find") {
            lines.push(Line::from(vec![
                Span::styled(format!("   {:<9}", "A-Z"), theme.part(Part::Key)),
                Span::raw("sort by the column of that letter; again turns the order around"),
            ]));
        }
        lines.push(Line::default());
    }
    lines.push(Line::styled(" Signs", theme.part(Part::Heading)));
    lines.extend(MARKS.iter().map(|(mark, meaning)| {
        Line::from(vec![
            Span::styled(format!("   {:<9}", theme.symbol(*mark)), theme.mark(*mark)),
            Span::raw(*meaning),
        ])
    }));
    let unknown = format!("   {:<9}", theme.pick("–", "-"));
    lines.push(Line::from(vec![
        Span::styled(unknown, theme.part(Part::Quiet)),
        Span::raw("not known; zero is written 0"),
    ]));
    lines
}

const MARKS: [(Mark, &str); 6] = [
    (Mark::Good, "as it should be"),
    (Mark::Busy, "being done"),
    (Mark::Waiting, "something has to come first"),
    (Mark::Warning, "works, but not quite: not counted, or late"),
    (Mark::Bad, "failed: Enter says why"),
    (Mark::Over, "over"),
];
