//! All that is known of one row.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Text},
};

mod claim;
mod device;
mod interface;
mod page;

use page::Page;

use crate::{model::Model, table::RowId};

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, id: &RowId, scroll: usize) {
    let mut lines = lines(model, id, area.width);
    let hidden = (lines.len() + 1).saturating_sub(usize::from(area.height));
    lines.drain(..scroll.min(hidden));
    frame.render_widget(Text::from(lines), area);
}

/// All of its lines at a width.
pub(super) fn lines(model: &Model, id: &RowId, width: u16) -> Vec<Line<'static>> {
    let mut page = Page::new(model.theme, width);
    let scene = model.scene();
    let found = match id {
        RowId::Claim(uid) => scene
            .cluster
            .claim(uid)
            .map(|line| claim::write(&mut page, line, scene)),
        RowId::Device(id) => scene
            .cluster
            .device(id)
            .map(|line| device::write(&mut page, line, scene)),
        RowId::Interface(id) => scene
            .cluster
            .interface(id)
            .map(|line| interface::write(&mut page, line, scene)),
    };
    if found.is_none() {
        page.section("Gone");
        page.words("It is not there any more. Esc goes back to the table.");
    }
    page.lines
}
