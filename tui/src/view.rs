//! What is on the screen: each part draws itself from the [`Model`].

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
};

mod bars;
mod claims;
mod detail;
mod footer;
mod header;
mod help;
mod interfaces;
mod list;
mod slices;

pub(crate) use claims::{Claims, state as claim_state};
pub(crate) use header::troubles;
pub(crate) use interfaces::Interfaces;
pub(crate) use slices::Slices;

use crate::{
    filter::Filter,
    model::{Layer, Model},
    table::{Column, RowId, Scene, Sort, Table as _, arrange},
};

/// A table that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Claims.
    Claims,
    /// Devices.
    Slices,
    /// Interfaces.
    Interfaces,
}

impl View {
    /// All of them, in the order of their digits.
    pub(crate) const ALL: [Self; 3] = [Self::Claims, Self::Slices, Self::Interfaces];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Slices => "slices",
            Self::Interfaces => "interfaces",
        }
    }

    /// The view that a command names, by any name that kubectl users would try.
    pub(crate) fn named(command: &str) -> Option<Self> {
        match command {
            "claims" | "claim" | "rc" | "resourceclaims" => Some(Self::Claims),
            "slices" | "slice" | "rs" | "resourceslices" | "devices" => Some(Self::Slices),
            "interfaces" | "interface" | "ifaces" | "if" => Some(Self::Interfaces),
            _ => None,
        }
    }

    /// Its columns.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Claims => &Claims::COLUMNS,
            Self::Slices => &Slices::COLUMNS,
            Self::Interfaces => &Interfaces::COLUMNS,
        }
    }

    /// Its rows in order, and how many there are without the filter.
    pub(crate) fn arrange(
        self,
        scene: Scene<'_>,
        filter: &Filter,
        sort: Option<Sort>,
    ) -> (Vec<RowId>, usize) {
        match self {
            Self::Claims => arrange::<Claims, _>(scene, filter, sort),
            Self::Slices => arrange::<Slices, _>(scene, filter, sort),
            Self::Interfaces => arrange::<Interfaces, _>(scene, filter, sort),
        }
    }
}

/// Lines above and below the table.
pub(crate) const FRAME_LINES: u16 = 5;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [top, body, bottom] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    header::draw(frame, top, model);
    match &model.layer {
        Layer::Table => list::draw(frame, body, model),
        Layer::Detail { id, scroll } => detail::draw(frame, body, model, id, *scroll),
        Layer::Help { scroll } => help::draw(frame, body, model, *scroll),
    }
    footer::draw(frame, bottom, model);
}

/// How many lines a layer has that scrolls: what keeps the cursor from leaving it.
pub(crate) fn scroll_lines(model: &Model) -> usize {
    match &model.layer {
        Layer::Table => 0,
        Layer::Detail { id, .. } => detail::lines(model, id, model.size.0).len(),
        Layer::Help { .. } => help::lines(model.theme).len(),
    }
}
