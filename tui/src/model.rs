//! All that a screen is drawn from. Only [`update`](crate::update) changes it; before a frame,
//! [`Model::settle`] asks once for what many parts of the screen need.

use std::{collections::BTreeSet, sync::Arc};

use netclaim_core::{
    cluster::{Cluster, Watched},
    name::NodeName,
    snapshot::InterfaceState,
    time::Timestamp,
};

use crate::{
    arrange::{Answer, Question, Summary},
    filter::Filter,
    message::Cmd,
    source::Looked,
    table::{RowId, Scene, Sort},
    theme::Theme,
    view::{self, View},
};

/// The state of the program.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// What is known, always up to date; shared with whoever puts it in order.
    pub cluster: Arc<Cluster>,
    /// What is shown while the screen is frozen.
    pub frozen: Option<Frozen>,
    /// The time.
    pub now: Timestamp,
    /// Which table is looked at.
    pub view: View,
    /// What lies over the table, the top one last.
    pub layers: Vec<Layer>,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// What went wrong with the last command.
    pub note: Option<String>,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// How to draw.
    pub theme: Theme,
    /// The only namespace that is looked at, if there is one.
    pub namespace: Option<Arc<str>>,
    /// Where changes come from, in words.
    pub origin: String,
    /// Whether changes may still come.
    pub live: bool,
    /// What there is in all, as of the last answer.
    pub summary: Summary,
    lists: [List; 3],
    unsettled: bool,
    /// An answer is being worked out.
    asked: bool,
    /// The nodes that were last asked for.
    followed: Arc<[NodeName]>,
    /// The interface whose flows were last asked for.
    looked: Option<Looked>,
}

/// What was known at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    /// It.
    pub cluster: Arc<Cluster>,
    /// When.
    pub at: Timestamp,
}

/// Lines that lie over the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// What is written there.
    pub sheet: Sheet,
    /// Lines scrolled away.
    pub scroll: usize,
}

/// What can be written over a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sheet {
    /// All about one row.
    Row(RowId),
    /// Everything that is wrong.
    Findings,
    /// The keys.
    Help,
}

/// A line of text that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// A filter; it applies while it is typed.
    Filter {
        /// The one before, for Esc.
        before: Filter,
    },
    /// The name of a view, `help` or `q`.
    Command {
        /// So far.
        text: String,
    },
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
            cluster: Arc::default(),
            frozen: None,
            now: Timestamp::default(),
            view,
            layers: Vec::new(),
            prompt: None,
            note: None,
            size: (80, 24),
            theme,
            namespace: None,
            origin,
            live: true,
            summary: Summary::default(),
            unsettled: true,
            asked: false,
            followed: Arc::default(),
            looked: None,
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
        self.body().saturating_sub(1).max(1)
    }

    /// Lines between the header and the footer.
    pub(crate) fn body(&self) -> usize {
        let around = view::header_lines(self) + view::FOOTER_LINES;
        usize::from(self.size.1.saturating_sub(around))
    }

    /// Says that what is known, the filter or the order changed.
    pub(crate) fn unsettle(&mut self) {
        self.unsettled = true;
    }

    /// Whether rows are being put in order somewhere else.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Puts the rows in order and sums up, if anything changed since the last time; asks somebody
    /// else to where that is work. Says which nodes are looked at, if these are others.
    ///
    /// Once per frame and not once per change: ten thousand objects arrive one by one.
    pub(crate) fn settle(&mut self) -> Vec<Cmd> {
        let mut cmds = Vec::new();
        if self.unsettled && !self.asked {
            self.unsettled = false;
            let question = self.question();
            if question.is_small() {
                self.settled(question.answer());
            } else {
                self.asked = true;
                cmds.push(Cmd::Arrange(Box::new(question)));
            }
        }
        self.place();
        let looked_at = self.looked_at();
        if looked_at != self.followed {
            self.followed = Arc::clone(&looked_at);
            cmds.push(Cmd::Follow(looked_at));
        }
        let looked_into = self.looked_into();
        if looked_into != self.looked {
            self.looked.clone_from(&looked_into);
            cmds.push(Cmd::Look(looked_into));
        }
        cmds
    }

    /// The nodes of the rows on the screen: the selected row's, then the others' from the top.
    fn looked_at(&self) -> Arc<[NodeName]> {
        let (list, page) = (self.list(), self.page());
        let selected = list.rows.get(list.cursor);
        let visible = list.rows.iter().skip(list.offset).take(page);
        let mut known = BTreeSet::new();
        let rows = selected.into_iter().chain(visible);
        let nodes = rows.filter_map(|row| row.node(self.scene().cluster));
        let nodes = nodes.filter(|node| known.insert(*node));
        nodes.cloned().collect()
    }

    /// The interface in a pod whose page is open; while the screen is frozen, the one before.
    fn looked_into(&self) -> Option<Looked> {
        if self.frozen.is_some() {
            return self.looked.clone();
        }
        let id = self.layers.iter().find_map(|layer| match &layer.sheet {
            Sheet::Row(RowId::Interface(id)) => Some(id),
            Sheet::Row(_) | Sheet::Findings | Sheet::Help => None,
        })?;
        let seen = self.cluster.interface(id)?.seen?;
        (seen.interface.state == InterfaceState::Attached).then(|| Looked {
            node: seen.node.snapshot.node.clone(),
            of: Watched {
                claim: id.claim.clone(),
                if_name: seen.interface.if_name.clone(),
            },
        })
    }

    /// Takes an answer in. The order of a list that was changed since then is still to come.
    ///
    /// The cursor stays on its row; when that is gone, it stays where it was.
    pub(crate) fn settled(&mut self, answer: Answer) {
        self.asked = false;
        self.summary = answer.summary;
        let list = &mut self.lists[answer.view as usize];
        if list.filter == answer.filter && list.sort == answer.sort {
            list.arrange(answer.rows, answer.total);
        }
        self.place();
    }

    fn question(&self) -> Question {
        let (scene, list) = (self.frozen.as_ref(), self.list());
        let cluster = scene.map_or(&self.cluster, |frozen| &frozen.cluster);
        Question {
            cluster: Arc::clone(cluster),
            now: scene.map_or(self.now, |frozen| frozen.at),
            view: self.view,
            namespace: self.namespace.clone(),
            filter: list.filter.clone(),
            sort: list.sort,
        }
    }

    fn place(&mut self) {
        let page = self.page();
        self.list_mut().place(page);
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
