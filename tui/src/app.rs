//! The loop: keys, changes and time in; frames out, and only when something differs.

use std::{io, sync::Arc, time::Duration};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures::StreamExt as _;
use netclaim_core::{cluster::Recorded, name::NodeName};
use tokio::{
    sync::{mpsc::Receiver, watch},
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};

use crate::{
    clock::Clock,
    keys,
    message::{Action, Cmd, Msg},
    model::Model,
    source::Looked,
    terminal::Screen,
    update::update,
    view,
};

/// Least time between two frames: faster than the eye would only heat the machine.
const FRAME: Duration = Duration::from_millis(33);

/// Changes that are taken in at once before anything else is looked at.
const BATCH: usize = 1_024;

/// Where it goes what the screen looks at.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// The nodes, most wanted first.
    pub nodes: watch::Sender<Arc<[NodeName]>>,
    /// The interface whose flows are shown.
    pub looks: watch::Sender<Option<Looked>>,
}

/// Shows the model until the user leaves or the program is asked to end.
pub(crate) async fn run(
    mut model: Model,
    mut inbox: Receiver<Recorded>,
    clock: &Clock,
    wants: &Wants,
) -> io::Result<()> {
    let mut screen = Screen::take()?;
    let (mut keyboard, mut signals) = (EventStream::new(), Signals::new()?);
    let mut second = time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    model.size = screen.size()?;
    update(&mut model, Msg::Tick(clock.now()));
    let (mut dirty, mut drawn) = (true, Instant::now() - FRAME);
    let mut batch = Vec::new();
    let mut answers = JoinSet::new();
    loop {
        let msg = tokio::select! {
            // Cancel-safe: each arm takes nothing out before it wins.
            biased;
            event = keyboard.next() => match event {
                Some(event) => read(&event?, model.prompt.is_some()),
                // The terminal is gone; so are we.
                None => Some(Msg::Act(Action::Quit)),
            },
            action = signals.next() => Some(Msg::Act(action)),
            Some(answer) = answers.join_next() => Some(Msg::Arranged(answer?)),
            () = time::sleep_until(drawn + FRAME), if dirty => Some(Msg::Due),
            // Changes wait while a thread reads the cluster: it would have to be copied for them.
            count = inbox.recv_many(&mut batch, BATCH), if model.live && answers.is_empty() => {
                Some(match count {
                    0 => Msg::Dried,
                    _ => Msg::Changed(std::mem::take(&mut batch)),
                })
            }
            // A finished recording has no time that passes.
            _ = second.tick(), if model.live && model.frozen.is_none() => {
                Some(Msg::Tick(clock.now()))
            }
        };
        let Some(msg) = msg else { continue };
        dirty = msg != Msg::Due;
        for cmd in update(&mut model, msg) {
            match cmd {
                Cmd::Quit => return Ok(()),
                Cmd::Suspend => screen.suspend()?,
                Cmd::Arrange(question) => {
                    answers.spawn_blocking(|| Box::new(question.answer()));
                }
                Cmd::Follow(nodes) => {
                    wants.nodes.send_replace(nodes);
                }
                Cmd::Look(looked) => {
                    wants.looks.send_replace(looked);
                }
            }
        }
        if !dirty {
            screen.draw(|frame| view::draw(frame, &model))?;
            drawn = Instant::now();
        }
    }
}

fn read(event: &Event, typing: bool) -> Option<Msg> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => keys::read(*key, typing),
        Event::Resize(columns, rows) => Some(Msg::Resized(*columns, *rows)),
        _ => None,
    }
}

/// Signals as actions.
#[cfg(unix)]
struct Signals {
    stop: [tokio::signal::unix::Signal; 3],
    suspend: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let suspend = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        Ok(Self {
            stop: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ],
            suspend: signal(suspend)?,
        })
    }

    async fn next(&mut self) -> Action {
        let [terminate, interrupt, hangup] = &mut self.stop;
        tokio::select! {
            _ = terminate.recv() => Action::Quit,
            _ = interrupt.recv() => Action::Quit,
            _ = hangup.recv() => Action::Quit,
            _ = self.suspend.recv() => Action::Suspend,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Action {
        let _ = tokio::signal::ctrl_c().await;
        Action::Quit
    }
}
