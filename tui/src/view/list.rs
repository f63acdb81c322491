//! A table on the screen: only the rows that can be seen are formatted.

use std::cmp::Reverse;

use netclaim_core::cluster::{AgentState, Kind};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
    widgets::Paragraph,
};

use super::{Claims, Interfaces, Slices, View, bars::bars, troubles};
use crate::{
    format,
    model::{List, Model},
    table::{Column, Cut, Table},
    theme::{Part, Theme},
    value::Value,
};

/// Draws the table that is looked at.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if model.list().rows.is_empty() {
        return empty(frame, area, model);
    }
    match model.view {
        View::Claims => table::<Claims, _>(frame, area, model),
        View::Slices => table::<Slices, _>(frame, area, model),
        View::Interfaces => table::<Interfaces, _>(frame, area, model),
    }
}

fn table<T: Table<N>, const N: usize>(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let (list, scene) = (model.list(), model.scene());
    let height = usize::from(area.height.saturating_sub(1));
    let visible = list.rows.iter().enumerate().skip(list.offset).take(height);
    let rows = visible
        .map(|(index, id)| {
            let line = T::line(scene.cluster, id);
            (index, line.map(|line| T::cells(line, scene)))
        })
        .collect::<Vec<_>>();
    let cells = rows.iter().filter_map(|(_, cells)| cells.as_ref());
    let mut columns = T::COLUMNS;
    if let Some(sort) = list.sort {
        // What the order comes from is not hidden.
        columns[sort.column].rank = 0;
    }
    let layout = Widths::fit(&columns, cells, area.width);
    let mut lines = vec![titles(&T::COLUMNS, list, &layout, model.theme)];
    for (index, cells) in &rows {
        let selected = *index == list.cursor;
        lines.push(row(
            &T::COLUMNS,
            cells.as_ref(),
            &layout,
            selected,
            model.theme,
        ));
    }
    frame.render_widget(Text::from(lines), area);
}

/// How wide each column is; zero when it is hidden.
#[derive(Debug, PartialEq, Eq)]
struct Widths<const N: usize> {
    columns: [u16; N],
    gap: u16,
}

impl<const N: usize> Widths<N> {
    /// Gives each column what its cells need, hides the least important ones where that is too
    /// much, and narrows what is left.
    fn fit<'a, 'b: 'a>(
        columns: &[Column; N],
        rows: impl Iterator<Item = &'a [Value<'b>; N]>,
        width: u16,
    ) -> Self {
        let mut want = columns.map(|column| size(column.title) + 1);
        let mut said = [false; N];
        for cells in rows {
            for (i, cell) in cells.iter().enumerate() {
                want[i] = want[i].max(natural(cell));
                said[i] |= !cell.is_empty();
            }
        }
        // A column in which nothing is said takes no room from others.
        let room_of = |i: usize, width: u16| if said[i] { width } else { 0 };
        let least =
            std::array::from_fn(|i| room_of(i, columns[i].min.min(want[i].min(columns[i].max))));
        let want = std::array::from_fn(|i| {
            room_of(i, want[i].max(columns[i].min.min(6)).min(columns[i].max))
        });
        let mut fitted = Self {
            columns: least,
            gap: 1,
        };
        // One for the cursor.
        let room = width.saturating_sub(1);
        while fitted.used() > room && fitted.hide(columns) {}
        fitted.grow(&want, columns, room);
        fitted
    }

    fn used(&self) -> u16 {
        self.columns
            .iter()
            .filter(|width| **width > 0)
            .map(|width| width + self.gap)
            .sum()
    }

    /// Hides the columns that matter least; what belongs together goes together.
    fn hide(&mut self, columns: &[Column; N]) -> bool {
        let shown = columns
            .iter()
            .zip(&self.columns)
            .filter(|(_, width)| **width > 0);
        let worst = shown.map(|(column, _)| column.rank).max().unwrap_or(0);
        for (column, width) in columns.iter().zip(&mut self.columns) {
            if worst > 0 && column.rank == worst {
                *width = 0;
            }
        }
        worst > 0
    }

    fn grow(&mut self, want: &[u16; N], columns: &[Column; N], room: u16) {
        let mut order = (0..N).filter(|&i| self.columns[i] > 0).collect::<Vec<_>>();
        // Of those that matter the same, sentences before names: a name is known by its ends.
        order.sort_by_key(|&i| (columns[i].rank, Reverse(columns[i].max)));
        for i in order {
            let left = room.saturating_sub(self.used());
            self.columns[i] += left.min(want[i].saturating_sub(self.columns[i]));
        }
        let shown = u16::try_from(self.columns.iter().filter(|w| **w > 0).count()).unwrap_or(1);
        let left = room.saturating_sub(self.used());
        self.gap += (left / shown.max(1)).min(2);
    }
}

fn natural(cell: &Value<'_>) -> u16 {
    match cell {
        Value::State(_, word) => size(word) + 2,
        Value::Trend(_) => u16::MAX,
        Value::Unknown
        | Value::Text(_)
        | Value::Reason(..)
        | Value::Count(_)
        | Value::Tally(_)
        | Value::Bytes(_)
        | Value::Rate(_)
        | Value::Packets(_)
        | Value::Age(_)
        | Value::Heard(..)
        | Value::Share(..) => size(&cell.shown()),
    }
}

fn size(text: &str) -> u16 {
    u16::try_from(format::width(text)).unwrap_or(u16::MAX - 2)
}

fn titles<const N: usize>(
    columns: &[Column; N],
    list: &List,
    layout: &Widths<N>,
    theme: Theme,
) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for (i, column) in columns.iter().enumerate() {
        let width = usize::from(layout.columns[i]);
        if width == 0 {
            continue;
        }
        let sorted = list.sort.filter(|sort| sort.column == i);
        let title = match sorted {
            Some(sort) if sort.descending => format!("{}{}", column.title, theme.pick("▼", "v")),
            Some(_) => format!("{}{}", column.title, theme.pick("▲", "^")),
            None => column.title.to_owned(),
        };
        let part = if sorted.is_some() {
            Part::Sorted
        } else {
            Part::Heading
        };
        let padded = pad(&format::end(&title, width, ""), width, column.cut);
        spans.push(Span::styled(padded, theme.part(part)));
        spans.push(Span::raw(" ".repeat(usize::from(layout.gap))));
    }
    Line::from(spans)
}

fn row<const N: usize>(
    columns: &[Column; N],
    cells: Option<&[Value<'_>; N]>,
    layout: &Widths<N>,
    selected: bool,
    theme: Theme,
) -> Line<'static> {
    let cursor = if selected {
        theme.pick("▶", ">")
    } else {
        " "
    };
    let mut spans = vec![Span::styled(cursor.to_owned(), theme.part(Part::Key))];
    for (i, cell) in cells.into_iter().flatten().enumerate() {
        let width = usize::from(layout.columns[i]);
        if width > 0 {
            spans.push(span(cell, width, columns[i].cut, theme));
            spans.push(Span::raw(" ".repeat(usize::from(layout.gap))));
        }
    }
    let line = Line::from(spans);
    if selected {
        line.patch_style(theme.part(Part::Selected))
    } else {
        line
    }
}

fn span(cell: &Value<'_>, width: usize, cut: Cut, theme: Theme) -> Span<'static> {
    let dots = theme.pick("…", "~");
    let text = theme.spell(&cell.shown());
    let cut_text = match cut {
        Cut::Middle => format::middle(&text, width, dots),
        Cut::End | Cut::Right => format::end(&text, width, dots),
    };
    match cell {
        Value::State(mark, word) => {
            let text = format!("{} {word}", theme.symbol(*mark));
            Span::styled(pad(&text, width, cut), theme.mark(*mark))
        }
        Value::Trend(rates) => Span::styled(bars(theme, rates, width), theme.part(Part::Traffic)),
        Value::Rate(0) | Value::Packets(0) | Value::Unknown => {
            Span::styled(pad(&cut_text, width, cut), theme.part(Part::Quiet))
        }
        Value::Rate(_) | Value::Packets(_) => {
            Span::styled(pad(&cut_text, width, cut), theme.part(Part::Traffic))
        }
        Value::Text(_)
        | Value::Reason(..)
        | Value::Count(_)
        | Value::Tally(_)
        | Value::Bytes(_)
        | Value::Age(_)
        | Value::Heard(..)
        | Value::Share(..) => Span::raw(pad(&cut_text, width, cut)),
    }
}

fn pad(text: &str, width: usize, cut: Cut) -> String {
    format::pad(text, width, cut == Cut::Right)
}

/// An empty table says why it is empty and what to do.
fn empty(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let text = format!("\n{}", nothing(model));
    let width = usize::from(area.width.saturating_sub(4));
    let lines = text.lines().flat_map(|line| format::wrap(line, width));
    let lines = lines.map(|line| Line::from(format!("  {}", model.theme.spell(&line))));
    let text = Text::from(lines.collect::<Vec<_>>()).style(model.theme.part(Part::Quiet));
    frame.render_widget(Paragraph::new(text), area);
}

/// Of whom nothing is known yet: an API server that tells of some kinds will tell of all.
fn late(model: &Model) -> Vec<String> {
    let cluster = model.scene().cluster;
    let told = cluster.watches().map(|(kind, _)| kind).collect::<Vec<_>>();
    let kinds = Kind::ALL.iter().filter(|kind| !told.contains(kind));
    let kinds = kinds.filter(|_| !told.is_empty() && model.live);
    let agents = cluster.agents();
    let agents = agents.filter(|(_, agent)| agent.state == AgentState::Connecting);
    let agents = agents.map(|(endpoint, _)| format!("the {endpoint}"));
    kinds.map(ToString::to_string).chain(agents).collect()
}

fn nothing(model: &Model) -> String {
    let (list, name) = (model.list(), model.view.name());
    if model.is_asked() {
        return format!("Putting {name} in order.");
    }
    if list.total > 0 {
        return format!(
            "None of {} {name} matches “{}”.\nEsc clears the filter.",
            list.total,
            list.filter.text()
        );
    }
    let troubles = troubles(model);
    if !troubles.is_empty() {
        let words = troubles.into_iter().map(|(_, words)| words);
        let words = words.collect::<Vec<_>>().join("\n");
        return format!("No {name} can be seen.\n{words}");
    }
    let cluster = model.scene().cluster;
    let spoke = cluster.nodes().next().is_some() || cluster.watches().next().is_some();
    if !spoke {
        return format!("Waiting for {}.", model.origin);
    }
    let late = late(model);
    if !late.is_empty() {
        return format!("No {name} yet. Waiting for {}.", late.join(", "));
    }
    let advice = match model.view {
        View::Claims => {
            "A pod asks for a device with spec.resourceClaims, by a ResourceClaim or a template."
        }
        View::Slices => "A driver offers devices; is netclaim running on the nodes?",
        View::Interfaces => {
            "An interface appears here when a pod with a network claim starts. :claims shows what waits."
        }
    };
    format!("No {name} yet.\n{advice}")
}

#[cfg(test)]
mod tests;
