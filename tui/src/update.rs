//! What each message changes. It never waits; what has to be done outside comes back as [`Cmd`].

use std::sync::Arc;

use netclaim_core::cluster::Recorded;

use crate::{
    filter::Filter,
    message::{Action, Cmd, Edit, Msg, Step},
    model::{Frozen, Layer, Model, Prompt, Sheet},
    table::Sort,
    view::{self, View},
};

/// Takes a message in.
///
/// Keys act on the rows as they were last settled: those are the ones the user sees.
pub(crate) fn update(model: &mut Model, msg: Msg) -> Vec<Cmd> {
    let changes_nothing = matches!(
        msg,
        Msg::Act(Action::Move(_)) | Msg::Resized(..) | Msg::Due | Msg::Arranged(_)
    );
    if !changes_nothing {
        model.unsettle();
    }
    match msg {
        Msg::Changed(changes) => changed(model, changes),
        Msg::Dried => model.live = false,
        Msg::Tick(now) => model.now = model.now.max(now),
        Msg::Resized(columns, rows) => model.size = (columns, rows),
        Msg::Typed(edit) => return typed(model, edit),
        Msg::Due => return model.settle(),
        Msg::Arranged(answer) => model.settled(*answer),
        Msg::Act(action) => {
            model.note = None;
            return act(model, action);
        }
    }
    Vec::new()
}

fn changed(model: &mut Model, changes: Vec<Recorded>) {
    let cluster = Arc::make_mut(&mut model.cluster);
    for Recorded { at, change } in changes {
        model.now = model.now.max(at);
        cluster.apply(change, at);
    }
}

fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::Quit => return vec![Cmd::Quit],
        Action::Suspend => return vec![Cmd::Suspend],
        Action::Back => back(model),
        Action::Open => open(model),
        Action::Help => toggle(model, Sheet::Help),
        Action::Findings => toggle(model, Sheet::Findings),
        Action::Move(step) => go(model, step),
        Action::Show(view) => show(model, view),
        Action::Next => show(model, turn(model.view, 1)),
        Action::Previous => show(model, turn(model.view, View::ALL.len() - 1)),
        Action::SortBy(letter) => sort_by(model, letter),
        Action::SortRight => sort_beside(model, true),
        Action::SortLeft => sort_beside(model, false),
        Action::Invert => invert(model),
        Action::Filter => {
            model.layers.clear();
            let before = model.list().filter.clone();
            model.prompt = Some(Prompt::Filter { before });
        }
        Action::Command => {
            let text = String::new();
            model.prompt = Some(Prompt::Command { text });
        }
        Action::Freeze => freeze(model),
    }
    Vec::new()
}

fn back(model: &mut Model) {
    if model.layers.pop().is_none() {
        model.list_mut().filter = Filter::default();
    }
}

fn open(model: &mut Model) {
    let list = model.list();
    if let (true, Some(id)) = (model.layers.is_empty(), list.rows.get(list.cursor)) {
        let sheet = Sheet::Row(id.clone());
        model.layers.push(Layer { sheet, scroll: 0 });
    }
}

/// A sheet comes to the top, once; the key that brought it takes it away.
fn toggle(model: &mut Model, sheet: Sheet) {
    let is_on_top = model.layers.last().is_some_and(|top| top.sheet == sheet);
    model.layers.retain(|layer| layer.sheet != sheet);
    if !is_on_top {
        model.layers.push(Layer { sheet, scroll: 0 });
    }
}

fn show(model: &mut Model, view: View) {
    model.view = view;
    model.layers.clear();
}

fn turn(view: View, by: usize) -> View {
    View::ALL[(view as usize + by) % View::ALL.len()]
}

fn freeze(model: &mut Model) {
    model.frozen = match model.frozen.take() {
        Some(_) => None,
        None => Some(Frozen {
            cluster: Arc::clone(&model.cluster),
            at: model.now,
        }),
    };
}

fn go(model: &mut Model, step: Step) {
    let (page, body) = (model.page(), model.body());
    let top = model.layers.last();
    let Some(lines) = top.map(|top| view::sheet_lines(model, &top.sheet).len()) else {
        let list = model.list_mut();
        let cursor = stepped(list.cursor, step, page, list.rows.len());
        list.select(cursor, page);
        return;
    };
    let hidden = lines.saturating_sub(body);
    if let Some(Layer { scroll, .. }) = model.layers.last_mut() {
        *scroll = stepped((*scroll).min(hidden), step, page, hidden + 1);
    }
}

/// Where a step leads among `count` places.
fn stepped(from: usize, step: Step, page: usize, count: usize) -> usize {
    let last = count.saturating_sub(1);
    let half = (page / 2).max(1);
    match step {
        Step::Up => from.saturating_sub(1),
        Step::Down => (from + 1).min(last),
        Step::PageUp => from.saturating_sub(page),
        Step::PageDown => (from + page).min(last),
        Step::HalfUp => from.saturating_sub(half),
        Step::HalfDown => (from + half).min(last),
        Step::First => 0,
        Step::Last => last,
    }
}

fn sort_by(model: &mut Model, letter: char) {
    let columns = model.view.columns();
    let Some(column) = columns.iter().position(|column| column.letter == letter) else {
        let name = model.view.name();
        model.note = Some(format!(
            "{name} has no column with the letter {letter}: see ?"
        ));
        return;
    };
    match model.list().sort {
        Some(sort) if sort.column == column => invert(model),
        _ => choose(model, column),
    }
}

fn sort_beside(model: &mut Model, right: bool) {
    let count = model.view.columns().len();
    let column = match (model.list().sort, right) {
        (None, true) => 0,
        (None, false) => count - 1,
        (Some(sort), true) => (sort.column + 1) % count,
        (Some(sort), false) => (sort.column + count - 1) % count,
    };
    choose(model, column);
}

/// Quantities start with the largest: that is what one looks for.
fn choose(model: &mut Model, column: usize) {
    let descending = model.view.columns()[column].is_quantity();
    model.list_mut().sort = Some(Sort { column, descending });
}

fn invert(model: &mut Model) {
    let sort = &mut model.list_mut().sort;
    *sort = Some(match *sort {
        Some(Sort { column, descending }) => Sort {
            column,
            descending: !descending,
        },
        None => Sort {
            column: 0,
            descending: true,
        },
    });
}

fn typed(model: &mut Model, edit: Edit) -> Vec<Cmd> {
    match model.prompt.take() {
        Some(Prompt::Filter { before }) => filter(model, edit, before),
        Some(Prompt::Command { text }) => return command(model, edit, &text),
        None => {}
    }
    Vec::new()
}

fn filter(model: &mut Model, edit: Edit, before: Filter) {
    let list = model.list_mut();
    match edit {
        Edit::Accept => return,
        Edit::Cancel => {
            list.filter = before;
            return;
        }
        Edit::Insert(_) | Edit::Erase | Edit::EraseWord | Edit::Clear => {
            list.filter = Filter::parse(&edited(list.filter.text(), edit));
        }
    }
    model.prompt = Some(Prompt::Filter { before });
}

fn command(model: &mut Model, edit: Edit, text: &str) -> Vec<Cmd> {
    match edit {
        Edit::Cancel => {}
        Edit::Accept => match (text.trim(), View::named(text.trim())) {
            ("q" | "quit" | "q!", _) => return vec![Cmd::Quit],
            ("", _) => {}
            ("help" | "h" | "?", _) => toggle(model, Sheet::Help),
            ("findings" | "!", _) => toggle(model, Sheet::Findings),
            (_, Some(view)) => show(model, view),
            (name, None) => {
                model.note = Some(format!(
                    "no table named {name}: try claims, slices, interfaces, findings, help, q"
                ));
            }
        },
        Edit::Insert(_) | Edit::Erase | Edit::EraseWord | Edit::Clear => {
            let text = edited(text, edit);
            model.prompt = Some(Prompt::Command { text });
        }
    }
    Vec::new()
}

fn edited(text: &str, edit: Edit) -> String {
    let mut text = text.to_owned();
    match edit {
        Edit::Insert(c) => text.push(c),
        Edit::Erase => {
            text.pop();
        }
        Edit::EraseWord => {
            let kept = text.trim_end().rfind(' ').map_or(0, |space| space + 1);
            text.truncate(kept);
        }
        Edit::Clear => text.clear(),
        Edit::Accept | Edit::Cancel => {}
    }
    text
}

#[cfg(test)]
mod tests;
