//! What is written over a table: lines that scroll.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Text},
};

mod claim;
mod device;
mod findings;
mod flows;
mod help;
mod interface;
mod page;

use page::Page;

use crate::{
    model::{Layer, Model, Sheet},
    table::RowId,
};

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, layer: &Layer) {
    let mut lines = lines(model, &layer.sheet);
    let hidden = lines.len().saturating_sub(usize::from(area.height));
    lines.drain(..layer.scroll.min(hidden));
    frame.render_widget(Text::from(lines), area);
}

/// All of its lines at the width of the screen.
pub(crate) fn lines(model: &Model, sheet: &Sheet) -> Vec<Line<'static>> {
    let mut page = Page::new(model.theme, model.size.0);
    match sheet {
        Sheet::Row(id) => row(&mut page, model, id),
        Sheet::Findings => findings::write(&mut page, model),
        Sheet::Help => help::write(&mut page, model.view),
    }
    page.lines
}

fn row(page: &mut Page, model: &Model, id: &RowId) {
    let scene = model.scene();
    let found = match id {
        RowId::Claim(uid) => scene
            .cluster
            .claim(uid)
            .map(|line| claim::write(page, line, scene)),
        RowId::Device(id) => scene
            .cluster
            .device(id)
            .map(|line| device::write(page, line, scene)),
        RowId::Interface(id) => scene
            .cluster
            .interface(id)
            .map(|line| interface::write(page, line, scene)),
    };
    if found.is_none() {
        page.section("Gone");
        page.words("It is not there any more. Esc goes back to the table.");
    }
}
