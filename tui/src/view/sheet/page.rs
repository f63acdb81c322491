//! A page of sections, labels and wrapped words.

use netclaim_core::{
    failure::Failure,
    name::NodeName,
    snapshot::{Finding, Severity},
};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use crate::{
    format,
    table::Scene,
    theme::{Mark, Part, Theme},
    value::Value,
    view::trouble_of,
};

/// Where values start.
const INDENT: usize = 14;

/// Lines that are being written.
#[derive(Debug)]
pub(super) struct Page {
    /// So far.
    pub lines: Vec<Line<'static>>,
    /// How to draw.
    pub theme: Theme,
    width: usize,
}

impl Page {
    /// An empty one.
    pub(super) fn new(theme: Theme, width: u16) -> Self {
        Self {
            lines: Vec::new(),
            theme,
            width: usize::from(width).max(INDENT + 20),
        }
    }

    /// What the page is about, and how it stands.
    pub(super) fn title(&mut self, kind: &str, name: &str, state: &Value<'_>) {
        let kind = format!(" {kind} ");
        let state = match state {
            Value::State(mark, word) => {
                let text = format!("  {} {word} ", self.theme.symbol(*mark));
                Span::styled(text, self.theme.mark(*mark))
            }
            _ => Span::raw(""),
        };
        // The state is what one came for: a long name gives way.
        let room = self.width.saturating_sub(kind.len() + state.width());
        let name = format::middle(name, room, self.theme.pick("…", "~"));
        self.lines.push(Line::from(vec![
            Span::styled(kind, self.theme.part(Part::Quiet)),
            Span::styled(name, self.theme.part(Part::Heading)),
            state,
        ]));
    }

    /// A new section, apart from the one before.
    pub(super) fn section(&mut self, title: &str) {
        self.gap();
        self.heading(title);
    }

    /// What the next lines are about.
    pub(super) fn heading(&mut self, title: &str) {
        let title = format!(" {}", self.theme.spell(title));
        self.lines
            .push(Line::styled(title, self.theme.part(Part::Heading)));
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.lines.push(Line::default());
    }

    /// A label and its value, wrapped under itself; `–` when it is not known.
    pub(super) fn field(&mut self, label: &str, value: Option<impl AsRef<str>>) {
        match value {
            Some(value) => self.labelled(label, value.as_ref(), Style::new()),
            None => self.labelled(label, "–", self.theme.part(Part::Quiet)),
        }
    }

    /// A label and its value, where there is one.
    pub(super) fn known(&mut self, label: &str, value: Option<impl AsRef<str>>) {
        if value.is_some() {
            self.field(label, value);
        }
    }

    /// A label and a state.
    pub(super) fn state(&mut self, label: &str, mark: Mark, text: &str) {
        let text = format!("{} {text}", self.theme.symbol(mark));
        self.labelled(label, &text, self.theme.mark(mark));
    }

    /// How old what a node said is, and why, where it is not of this moment.
    pub(super) fn as_of(&mut self, node: Option<&NodeName>, scene: Scene<'_>) {
        let Some(name) = node else { return };
        let mut nodes = scene.cluster.nodes();
        let heard = nodes.find(|(node, _)| *node == name);
        let silence = heard.and_then(|(_, node)| node.silence(scene.now));
        if let Some(silence) = silence {
            let age = format::age(silence);
            let why = if scene.cluster.is_resting(name) {
                "nodes are heard in turns where there are many"
            } else {
                "the node does not speak"
            };
            self.state("heard", Mark::Warning, &format!("{age} ago: {why}"));
        }
        if let Some(trouble) = trouble_of(scene.cluster, name, scene.now) {
            self.state("", Mark::Bad, &trouble);
        }
    }

    /// Traffic: what moves.
    pub(super) fn traffic(&mut self, label: &str, text: &str) {
        let style = self.theme.part(Part::Traffic);
        let line = vec![
            self.label(label),
            Span::styled(self.theme.spell(text), style),
        ];
        self.lines.push(Line::from(line));
    }

    /// Words without a label.
    pub(super) fn words(&mut self, words: &str) {
        self.wrapped(3, words);
    }

    /// A failure in full.
    pub(super) fn failure(&mut self, failure: &Failure) {
        self.state("failed at", Mark::Bad, failure.step.code());
        self.field("reason", Some(&failure.reason));
        self.labelled("message", &failure.message, self.theme.mark(Mark::Bad));
    }

    /// Findings about a subject, if there are any.
    pub(super) fn findings<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>) {
        for (index, finding) in findings.enumerate() {
            if index == 0 {
                self.section("Findings");
            }
            self.finding(&finding.rule, finding);
        }
    }

    /// A finding under a title of its own.
    pub(super) fn finding(&mut self, title: &str, finding: &Finding) {
        let mark = match finding.severity {
            Severity::Notice => Mark::Waiting,
            Severity::Warning => Mark::Warning,
            Severity::Fault => Mark::Bad,
        };
        self.marked(mark, title);
        self.wrapped(5, &finding.message);
    }

    /// Words with a mark.
    pub(super) fn marked(&mut self, mark: Mark, words: &str) {
        let style = self.theme.mark(mark);
        let lines = format::wrap(&self.theme.spell(words), self.width - 8);
        for (index, line) in lines.into_iter().enumerate() {
            let sign = if index == 0 {
                self.theme.symbol(mark)
            } else {
                " "
            };
            self.lines
                .push(Line::styled(format!("   {sign} {line}"), style));
        }
    }

    /// A bare line, already dressed, under no label.
    pub(super) fn spans(&mut self, spans: Vec<Span<'static>>) {
        let indent = std::iter::once(Span::raw("   "));
        self.lines.push(indent.chain(spans).collect());
    }

    /// A bare line, already dressed.
    pub(super) fn push(&mut self, label: &str, spans: Vec<Span<'static>>) {
        let label = self.label(label);
        self.lines
            .push(std::iter::once(label).chain(spans).collect());
    }

    /// Characters that a value may have on one line.
    pub(super) fn room(&self) -> usize {
        self.width - INDENT - 4
    }

    /// Characters of a bare line.
    pub(super) fn columns(&self) -> usize {
        self.width - 6
    }

    fn wrapped(&mut self, indent: usize, words: &str) {
        for line in format::wrap(&self.theme.spell(words), self.width - indent - 3) {
            let line = format!("{:indent$}{line}", "");
            self.lines.push(Line::from(line));
        }
    }

    fn labelled(&mut self, label: &str, value: &str, style: Style) {
        let lines = format::wrap(&self.theme.spell(value), self.room());
        for (index, line) in lines.into_iter().enumerate() {
            let label = self.label(if index == 0 { label } else { "" });
            self.lines
                .push(Line::from(vec![label, Span::styled(line, style)]));
        }
    }

    fn label(&self, label: &str) -> Span<'static> {
        Span::styled(format!("   {label:<INDENT$}"), self.theme.part(Part::Quiet))
    }
}
