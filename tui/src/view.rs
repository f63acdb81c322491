//! What is on the screen: each part draws itself from the [`Model`].

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
};

mod bars;
mod claims;
mod footer;
mod header;
mod interfaces;
mod list;
mod sheet;
mod slices;
mod troubles;

pub(crate) use claims::{Claims, state as claim_state};
pub(crate) use footer::LINES as FOOTER_LINES;
pub(crate) use header::lines as header_lines;
pub(crate) use interfaces::{Interfaces, mark as interface_mark};
pub(crate) use sheet::lines as sheet_lines;
pub(crate) use slices::Slices;
pub(crate) use troubles::{names, trouble_of, troubles};

use crate::{
    arrange::{Question, arrange},
    model::Model,
    table::{Column, RowId, Table as _},
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

    /// The view that a command names, as kubectl users would say it; its beginning is enough
    /// where no other view begins so.
    pub(crate) fn named(command: &str) -> Option<Self> {
        let begins = |view: &Self| view.aliases().iter().any(|name| name.starts_with(command));
        let mut found = Self::ALL.into_iter().filter(begins);
        found.next().filter(|_| found.next().is_none())
    }

    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Claims => &["claims", "rc", "resourceclaims"],
            Self::Slices => &["slices", "rs", "resourceslices", "devices"],
            Self::Interfaces => &["interfaces", "ifaces"],
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
    pub(crate) fn arrange(self, question: &Question) -> (Vec<RowId>, usize) {
        match self {
            Self::Claims => arrange::<Claims, _>(question),
            Self::Slices => arrange::<Slices, _>(question),
            Self::Interfaces => arrange::<Interfaces, _>(question),
        }
    }
}

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [top, body, bottom] = Layout::vertical([
        Constraint::Length(header::lines(model)),
        Constraint::Min(1),
        Constraint::Length(footer::LINES),
    ])
    .areas(frame.area());
    header::draw(frame, top, model);
    match model.layers.last() {
        None => list::draw(frame, body, model),
        Some(layer) => sheet::draw(frame, body, model, layer),
    }
    footer::draw(frame, bottom, model);
}
