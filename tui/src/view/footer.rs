//! The last line: what is being typed, what went wrong, or which keys there are.

use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
};

use crate::{
    model::{Layer, Model, Prompt},
    theme::{Mark, Part, Theme},
};

/// How many lines it has.
pub(crate) const LINES: u16 = 1;

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let theme = model.theme;
    if let Some(prompt) = &model.prompt {
        let (sign, text) = match prompt {
            Prompt::Filter { .. } => ("/", model.list().filter.text()),
            Prompt::Command { text } => (":", text.as_str()),
        };
        let line = Line::from(vec![
            Span::styled(format!(" {sign}"), theme.part(Part::Key)),
            Span::raw(text.to_owned()),
        ]);
        let after = u16::try_from(line.width()).unwrap_or(0);
        frame.render_widget(line, area);
        frame.set_cursor_position(Position::new(area.x + after.min(area.width), area.y));
        return;
    }
    let line = match &model.note {
        Some(note) => Line::styled(format!(" {}", theme.spell(note)), theme.mark(Mark::Warning)),
        None => hints(model.layers.last(), theme),
    };
    frame.render_widget(line, area);
}

fn hints(layer: Option<&Layer>, theme: Theme) -> Line<'static> {
    let hints: &[(&str, &str)] = match layer {
        None => &[
            ("Enter", "details"),
            ("/", "filter"),
            ("F6", "sort"),
            ("1-3", "tables"),
            ("Space", "freeze"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Some(_) => &[
            ("Esc", "back"),
            ("j k", "scroll"),
            ("?", "help"),
            ("q", "quit"),
        ],
    };
    let mut spans = vec![Span::raw(" ")];
    for (key, what) in hints {
        spans.push(Span::styled((*key).to_owned(), theme.part(Part::Key)));
        spans.push(Span::styled(format!(" {what}  "), theme.part(Part::Quiet)));
    }
    Line::from(spans)
}
