//! All that a screen is drawn from. Only [`update`](crate::update) changes it; before a frame,
//! [`Model::settle`] works out once what many parts of the screen need.

use std::collections::BTreeMap;

use netclaim_core::{cluster::Cluster, rate::Rates, snapshot::InterfaceState, time::Timestamp};

use crate::{
    filter::Filter,
    table::{RowId, Scene, Sort},
    theme::{Mark, Theme},
    view::{self, FRAME_LINES, View},
};

/// The state of the program.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// What is known, always up to date.
    pub cluster: Cluster,
    /// What is shown while the screen is frozen.
    pub frozen: Option<Box<Frozen>>,
    /// The time.
    pub now: Timestamp,
    /// Which table is looked at.
    pub view: View,
    /// What lies over the table.
    pub layer: Layer,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// What went wrong with the last command.
    pub note: Option<String>,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// How to draw.
    pub theme: Theme,
    /// Where changes come from, in words.
    pub origin: String,
    /// Whether changes may still come.
    pub live: bool,
    /// What there is in all, as of the last settling.
    pub(crate) summary: Summary,
    lists: [List; 3],
    unsettled: bool,
}

/// What was known at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    /// It.
    pub cluster: Cluster,
    /// When.
    pub at: Timestamp,
}

/// What lies over the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Nothing.
    Table,
    /// All about one row.
    Detail {
        /// Which.
        id: RowId,
        /// Lines scrolled away.
        scroll: usize,
    },
    /// The keys.
    Help {
        /// Lines scrolled away.
        scroll: usize,
    },
}

/// A line of text that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// A filter; it applies while it is typed.
    Filter {
        /// The one before, for Esc.
        before: Filter,
    },
    /// The name of a view, or `q`.
    Command {
        /// So far.
        text: String,
    },
}

/// What there is in all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Claims by how they stand.
    pub(crate) claims: BTreeMap<Mark, usize>,
    /// Interfaces that are, or ought to be, in pods.
    pub(crate) interfaces: usize,
    /// All traffic per second; none while nothing is counted.
    pub(crate) rates: Option<Rates>,
    /// The same over the last minute, newest first.
    pub(crate) history: Vec<Rates>,
}

/// How one table is looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    /// Which rows are shown.
    pub filter: Filter,
    /// In which order; by name when none was chosen.
    pub sort: Option<Sort>,
    /// The row under the cursor; none means the first, whichever that is.
    pub selected: Option<RowId>,
    /// The rows that are shown, in order.
    pub rows: Vec<RowId>,
    /// How many there are without the filter.
    pub total: usize,
    /// Where the cursor is.
    pub cursor: usize,
    /// Rows scrolled away.
    pub offset: usize,
}

impl Model {
    /// An empty screen.
    pub(crate) fn new(view: View, theme: Theme, origin: String) -> Self {
        Self {
            cluster: Cluster::default(),
            frozen: None,
            now: Timestamp::default(),
            view,
            layer: Layer::Table,
            prompt: None,
            note: None,
            size: (80, 24),
            theme,
            origin,
            live: true,
            summary: Summary::default(),
            unsettled: true,
            lists: std::array::from_fn(|_| List::default()),
        }
    }

    /// What is shown: what is known, or what was known when the screen was frozen.
    pub(crate) fn scene(&self) -> Scene<'_> {
        match &self.frozen {
            Some(frozen) => Scene {
                cluster: &frozen.cluster,
                now: frozen.at,
            },
            None => Scene {
                cluster: &self.cluster,
                now: self.now,
            },
        }
    }

    /// The table that is looked at.
    pub(crate) fn list(&self) -> &List {
        &self.lists[self.view as usize]
    }

    /// The table that is looked at, to be changed by `update`.
    pub(crate) fn list_mut(&mut self) -> &mut List {
        &mut self.lists[self.view as usize]
    }

    /// Rows of the table that fit on the screen, without its line of titles.
    pub(crate) fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(FRAME_LINES)).max(1)
    }

    /// Says that what is known, the filter or the order changed.
    pub(crate) fn unsettle(&mut self) {
        self.unsettled = true;
    }

    /// Puts the rows in order and sums up, if anything changed since the last time.
    ///
    /// Once per frame and not once per change: ten thousand objects arrive one by one. The cursor
    /// stays on its row; when that is gone, it stays where it was.
    pub(crate) fn settle(&mut self) {
        let page = self.page();
        if std::mem::take(&mut self.unsettled) {
            self.summary = Summary::of(self.scene());
            let list = self.list();
            let (rows, total) = self.view.arrange(self.scene(), &list.filter, list.sort);
            self.list_mut().arrange(rows, total);
        }
        self.list_mut().place(page);
    }
}

impl Summary {
    fn of(scene: Scene<'_>) -> Self {
        let mut sum = Self::default();
        for claim in scene.cluster.claims() {
            let (mark, _) = view::claim_state(claim.phase());
            *sum.claims.entry(mark).or_insert(0) += 1;
        }
        for line in scene.cluster.interfaces() {
            if line.state() == Some(InterfaceState::Ended) {
                continue;
            }
            sum.interfaces += 1;
            sum.rates = match (sum.rates, line.rates(scene.now)) {
                (Some(sum), Some(rates)) => Some(sum.plus(rates)),
                (sum, rates) => sum.or(rates),
            };
            let flow = line.seen.and_then(|seen| seen.flow);
            sum.add(flow.into_iter().flat_map(|flow| flow.history.iter().rev()));
        }
        sum
    }

    /// Histories differ in length; they are aligned at their newest ends.
    fn add<'a>(&mut self, newest_first: impl Iterator<Item = &'a Rates>) {
        for (age, rates) in newest_first.enumerate() {
            match self.history.get_mut(age) {
                Some(sum) => *sum = sum.plus(*rates),
                None => self.history.push(*rates),
            }
        }
    }
}

impl List {
    fn arrange(&mut self, rows: Vec<RowId>, total: usize) {
        self.cursor = match &self.selected {
            None => 0,
            Some(id) => rows.iter().position(|row| row == id).unwrap_or(self.cursor),
        };
        self.rows = rows;
        self.total = total;
    }

    /// Moves the cursor, and the rows under it where it would leave the screen.
    pub(crate) fn select(&mut self, cursor: usize, page: usize) {
        self.cursor = cursor.min(self.rows.len().saturating_sub(1));
        // At the top it stays at the top: what sorts there is what one wants to see.
        let follows = (self.cursor > 0).then(|| self.rows.get(self.cursor));
        self.selected = follows.flatten().cloned();
        self.place(page);
    }

    fn place(&mut self, page: usize) {
        self.cursor = self.cursor.min(self.rows.len().saturating_sub(1));
        let last = self.rows.len().saturating_sub(page);
        let first = (self.cursor + 1).saturating_sub(page);
        self.offset = self.offset.clamp(first, self.cursor.max(first)).min(last);
    }
}
