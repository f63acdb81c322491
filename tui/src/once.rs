//! A table on standard output, for people without a terminal and for programs.

use std::{
    collections::BTreeMap,
    io::{self, Write, stdout},
    time::Duration,
};

use netclaim_core::{
    cluster::{AgentState, Change, Cluster, Kind, Recorded},
    name::NodeName,
};
use serde_json::{Map, Value as Json};
use tokio::sync::mpsc::Receiver;

use crate::{
    clock::Clock,
    format,
    message::{Cmd, Msg},
    model::Model,
    options::{Form, Origin},
    table::{Cut, Table},
    update::update,
    value::Value,
    view::{self, Claims, Interfaces, Slices, View},
};

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// An empty table would say that there is nothing.
    #[error("nothing is known: {0}")]
    Unknown(String),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Waits until everything that was asked for is known, or cannot be had, and prints it.
pub(crate) async fn print(
    mut model: Model,
    (form, patience): (Form, Duration),
    origin: &Origin,
    mut inbox: Receiver<Recorded>,
    clock: &Clock,
) -> Result<(), OnceError> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut snapshots = BTreeMap::<NodeName, usize>::new();
    while !is_enough(&model.cluster, &snapshots, origin) {
        let Ok(Some(change)) = tokio::time::timeout_at(deadline, inbox.recv()).await else {
            break;
        };
        if let Change::Snapshot { snapshot } = &change.change {
            *snapshots.entry(snapshot.node.clone()).or_default() += 1;
        }
        update(&mut model, Msg::Changed(vec![change]));
    }
    update(&mut model, Msg::Tick(clock.now()));
    update(&mut model, Msg::Dried);
    arrange(&mut model);
    let troubles = view::troubles(&model).into_iter().map(|(_, words)| words);
    let late = late(&model.cluster).map(|who| {
        let patience = patience.as_secs();
        format!("{who} did not answer within {patience} s (--wait): its rows lack its figures")
    });
    let troubles = troubles.chain(late).collect::<Vec<_>>();
    if !is_anything_known(&model.cluster) {
        let nothing = format!("{} said nothing for {} s", model.origin, patience.as_secs());
        let why = troubles
            .into_iter()
            .reduce(|all, why| format!("{all}; {why}"));
        return Err(OnceError::Unknown(why.unwrap_or(nothing)));
    }
    for trouble in troubles {
        writeln!(io::stderr(), "dra-top: {trouble}")?;
    }
    match write(&mut stdout().lock(), &model, form) {
        // `dra-top -o table | head` is no failure.
        Err(closed) if closed.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn is_anything_known(cluster: &Cluster) -> bool {
    let synced = |kind: &Kind| cluster.is_synced(*kind);
    cluster.size() > 0 || cluster.nodes().next().is_some() || Kind::ALL.iter().any(synced)
}

/// Nobody waits for a frame, so the rows are put in order here.
fn arrange(model: &mut Model) {
    for cmd in update(model, Msg::Due) {
        if let Cmd::Arrange(question) = cmd {
            update(model, Msg::Arranged(Box::new(question.answer())));
        }
    }
}

/// Whether waiting longer would tell more.
fn is_enough(cluster: &Cluster, snapshots: &BTreeMap<NodeName, usize>, origin: &Origin) -> bool {
    let Origin::Live { node, cluster: api } = origin else {
        return false;
    };
    let is_settled = |agent: &AgentState| match agent {
        AgentState::Connecting => false,
        // A rate needs two.
        AgentState::Connected { node } => snapshots.get(node).is_some_and(|count| *count > 1),
        AgentState::Resting { .. } | AgentState::Lost { .. } | AgentState::Gone { .. } => true,
    };
    let mut agents = cluster.agents();
    let watches = if api.is_some() { Kind::ALL.len() } else { 0 };
    // The relays' drivers are among the agents once all relays are known.
    cluster.watches().count() == watches
        && cluster.agents().count() >= node.len()
        && agents.all(|(_, agent)| is_settled(&agent.state))
}

/// Who is still waited for.
fn late(cluster: &Cluster) -> impl Iterator<Item = &str> {
    let agents = cluster.agents();
    agents
        .filter(|(_, agent)| agent.state == AgentState::Connecting)
        .map(|(endpoint, _)| endpoint)
}

/// Writes the table that the model looks at.
pub(crate) fn write(out: &mut impl Write, model: &Model, form: Form) -> io::Result<()> {
    match model.view {
        View::Claims => rows::<Claims, _>(out, model, form),
        View::Slices => rows::<Slices, _>(out, model, form),
        View::Interfaces => rows::<Interfaces, _>(out, model, form),
    }
}

fn rows<T: Table<N>, const N: usize>(
    out: &mut impl Write,
    model: &Model,
    form: Form,
) -> io::Result<()> {
    let scene = model.scene();
    let lines = model
        .list()
        .rows
        .iter()
        .filter_map(|id| T::line(scene.cluster, id));
    let rows = lines.map(|line| T::cells(line, scene)).collect::<Vec<_>>();
    match form {
        Form::Json => json::<T, N>(out, &rows),
        Form::Table => table::<T, N>(out, &rows),
    }
}

fn json<T: Table<N>, const N: usize>(
    out: &mut impl Write,
    rows: &[[Value<'_>; N]],
) -> io::Result<()> {
    let object = |cells: &[Value<'_>; N]| {
        let fields = T::COLUMNS.iter().zip(cells);
        let fields = fields.map(|(column, cell)| (column.field().to_owned(), cell.json()));
        Json::Object(fields.collect::<Map<_, _>>())
    };
    let rows = rows.iter().map(object).collect::<Vec<_>>();
    serde_json::to_writer_pretty(&mut *out, &rows)?;
    writeln!(out)
}

fn table<T: Table<N>, const N: usize>(
    out: &mut impl Write,
    rows: &[[Value<'_>; N]],
) -> io::Result<()> {
    let titles = T::COLUMNS.map(|column| column.title.to_owned());
    let cells = rows.iter().map(|cells| cells.each_ref().map(plain));
    let lines = std::iter::once(titles).chain(cells).collect::<Vec<_>>();
    let mut widths = [0; N];
    for cells in &lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(format::width(cell));
        }
    }
    let mut lines = lines.iter();
    lines.try_for_each(|cells| line::<T, N>(out, cells, &widths))
}

/// A message may hold what a plugin printed: nothing of it may move the cursor.
fn plain(cell: &Value<'_>) -> String {
    cell.shown().replace(char::is_control, " ")
}

/// Bars are for eyes only; the last column has no blanks after it.
fn line<T: Table<N>, const N: usize>(
    out: &mut impl Write,
    cells: &[String; N],
    widths: &[usize; N],
) -> io::Result<()> {
    let mut text = String::new();
    for ((column, cell), width) in T::COLUMNS.iter().zip(cells).zip(widths) {
        if column.title != "TREND" {
            text += &format::pad(cell, *width, column.cut == Cut::Right);
            text += "  ";
        }
    }
    writeln!(out, "{}", text.trim_end())
}
