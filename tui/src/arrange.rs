//! Which rows a table has and in which order: a question that can be answered anywhere.
//!
//! Owns everything whose cost grows with the cluster. It knows nothing of the screen, so that the
//! answer may be worked out on another thread while keys are read and frames are drawn.

use std::{collections::BTreeMap, sync::Arc};

use netclaim_core::{
    claim::ClaimRef,
    cluster::{Cluster, InterfaceLine},
    inventory::LinkState,
    rate::Rates,
    snapshot::InterfaceState,
    time::Timestamp,
};

use crate::{
    filter::Filter,
    table::{RowId, Scene, Sort, Table},
    theme::Mark,
    value::Value,
    view::{self, View},
};

/// Rows that are put in order between two keys: in 2 ms, and in 20 ms by a debug build.
const AT_ONCE: usize = 1_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// What is known.
    pub cluster: Arc<Cluster>,
    /// The time that is shown.
    pub now: Timestamp,
    /// Which table.
    pub view: View,
    /// The only namespace that is looked at, if there is one.
    pub namespace: Option<Arc<str>>,
    /// Which of its rows.
    pub filter: Filter,
    /// In which order.
    pub sort: Option<Sort>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Which table.
    pub view: View,
    /// Which of its rows.
    pub filter: Filter,
    /// In which order.
    pub sort: Option<Sort>,
    /// They.
    pub rows: Vec<RowId>,
    /// How many there are without the filter.
    pub total: usize,
    /// What there is in all tables.
    pub summary: Summary,
}

/// What there is in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    /// Claims by how they stand.
    pub claims: BTreeMap<Mark, usize>,
    /// Devices, and how many of them are down or gone.
    pub devices: (usize, usize),
    /// Interfaces that are, or ought to be, in pods.
    pub interfaces: BTreeMap<Mark, usize>,
    /// All traffic per second; none while nothing is counted.
    pub rates: Option<Rates>,
    /// The same over the last minute, newest first.
    pub history: Vec<Rates>,
}

impl Question {
    /// Whether answering it is no work.
    pub(crate) fn is_small(&self) -> bool {
        self.cluster.size() <= AT_ONCE
    }

    /// Works the answer out.
    pub(crate) fn answer(self) -> Answer {
        let (rows, total) = self.view.arrange(&self);
        Answer {
            rows,
            total,
            summary: Summary::of(&self),
            view: self.view,
            filter: self.filter,
            sort: self.sort,
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            cluster: &self.cluster,
            now: self.now,
        }
    }

    fn asks_for(&self, namespace: Option<&str>) -> bool {
        let only = self.namespace.as_deref();
        only.is_none_or(|only| namespace.is_none_or(|namespace| namespace == only))
    }
}

/// The rows that pass the filter, in order, and how many there are without it.
pub(crate) fn arrange<T: Table<N>, const N: usize>(question: &Question) -> (Vec<RowId>, usize) {
    let (scene, filter, sort) = (question.scene(), &question.filter, question.sort);
    let mut total = 0;
    let mut rows = Vec::new();
    for line in T::lines(scene.cluster) {
        if !question.asks_for(T::namespace(line, scene)) {
            continue;
        }
        total += 1;
        let mut key = Value::Unknown;
        if sort.is_some() || !filter.is_empty() {
            let mut cells = T::cells(line, scene);
            if !filter.is_empty() && !filter.holds(&words::<T, N>(&cells)) {
                continue;
            }
            if let Some(sort) = sort {
                key = std::mem::replace(&mut cells[sort.column], Value::Unknown);
            }
        }
        rows.push((key, T::order(line, scene), line));
    }
    let descending = sort.is_some_and(|sort| sort.descending);
    rows.sort_by(|(a, x, _), (b, y, _)| a.compare(b, descending).then_with(|| x.cmp(y)));
    let ids = rows.into_iter().filter_map(|(_, _, line)| T::id(line));
    (ids.collect(), total)
}

/// The cells as the filter reads them.
fn words<T: Table<N>, const N: usize>(cells: &[Value<'_>; N]) -> Vec<(&'static str, String)> {
    let columns = T::COLUMNS.iter().zip(cells);
    columns
        .map(|(column, cell)| (column.field(), cell.shown().to_lowercase()))
        .collect()
}

impl Summary {
    fn of(question: &Question) -> Self {
        let cluster = &question.cluster;
        let mut sum = Self::default();
        let asked = |claim: &ClaimRef| question.asks_for(Some(claim.namespace.as_str()));
        for claim in cluster.claims().filter(|line| asked(line.claim)) {
            let (mark, _) = view::claim_state(claim);
            *sum.claims.entry(mark).or_default() += 1;
        }
        for device in cluster.devices() {
            let unusable = device.state().is_some_and(|state| state != LinkState::Up);
            sum.devices.0 += 1;
            sum.devices.1 += usize::from(unusable);
        }
        for line in cluster.interfaces().filter(|line| asked(line.claim)) {
            sum.interface(line, question.now);
        }
        sum
    }

    fn interface(&mut self, line: InterfaceLine<'_>, now: Timestamp) {
        if line.state() == Some(InterfaceState::Ended) {
            return;
        }
        let mark = view::interface_mark(line, now).unwrap_or(Mark::Good);
        *self.interfaces.entry(mark).or_default() += 1;
        self.rates = match (self.rates, line.rates(now)) {
            (Some(sum), Some(rates)) => Some(sum.plus(rates)),
            (sum, rates) => sum.or(rates),
        };
        let seen = line.seen.filter(|seen| seen.node.silence(now).is_none());
        let flow = seen.and_then(|seen| seen.flow);
        self.add(flow.into_iter().flat_map(|flow| flow.history.iter().rev()));
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
