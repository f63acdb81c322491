//! Whole screens: a recording in, frames out.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use netclaim_core::{
    cluster::{AgentState, Change, Kind, Object, Recorded, WatchState},
    drops::DropsState,
    time::Timestamp,
};
use ratatui::{Terminal, backend::TestBackend, style::Color};
use serde_json::json;

use crate::{
    keys,
    message::{Cmd, Msg},
    model::Model,
    once,
    options::Form,
    theme::Theme,
    update::update,
    view,
};

mod findings;
mod flows;
pub(crate) mod talk;

const COLOUR: Theme = Theme {
    colour: true,
    ascii: false,
};

/// The talk's fifteen pods, as committed.
const RECORDING: &str = include_str!("../tests/fixtures/talk.jsonl");

/// A model that has seen changes.
pub(crate) fn model(changes: Vec<Recorded>) -> Model {
    let origin = "unix:/run/netclaim/observe.sock".to_owned();
    let mut model = Model::new(view::View::Interfaces, COLOUR, origin);
    let last = changes.last().map(|change| change.at);
    update(&mut model, Msg::Changed(changes));
    update(&mut model, Msg::Tick(last.unwrap_or_default()));
    settle(&mut model);
    model
}

/// What happens before a frame; an answer comes at once.
pub(crate) fn settle(model: &mut Model) {
    for cmd in update(model, Msg::Due) {
        match cmd {
            Cmd::Arrange(question) => {
                update(model, Msg::Arranged(Box::new(question.answer())));
            }
            Cmd::Follow(_) | Cmd::Look(_) => {}
            Cmd::Quit | Cmd::Suspend => panic!("expected a question, found {cmd:?}"),
        }
    }
}

/// Presses keys: characters, or names in angle brackets.
pub(crate) fn press(model: &mut Model, text: &str) {
    press_then(model, text, settle);
}

/// The same, with what is to be done after each.
fn press_then(model: &mut Model, text: &str, then: impl Fn(&mut Model)) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (code, after) = match named {
            Some(("enter", after)) => (KeyCode::Enter, after),
            Some(("esc", after)) => (KeyCode::Esc, after),
            Some(("tab", after)) => (KeyCode::Tab, after),
            Some(("f6", after)) => (KeyCode::F(6), after),
            Some(("down", after)) => (KeyCode::Down, after),
            _ => (KeyCode::Char(first), &rest[first.len_utf8()..]),
        };
        rest = after;
        let event = KeyEvent::new(code, KeyModifiers::NONE);
        if let Some(msg) = keys::read(event, model.prompt.is_some()) {
            update(model, msg);
            then(model);
        }
    }
}

/// What is on the screen.
pub(crate) fn frame(model: &mut Model, columns: u16, rows: u16) -> String {
    update(model, Msg::Resized(columns, rows));
    settle(model);
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| {
        let cells = (0..columns).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..rows).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_recording_is_what_the_generator_makes() {
    let lines = talk::changes()
        .into_iter()
        .map(|change| serde_json::to_string(&change).unwrap() + "\n");
    let made = lines.collect::<String>();
    if std::env::var_os("BLESS").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/talk.jsonl");
        std::fs::write(file, &made).unwrap();
    }
    assert!(
        made == RECORDING,
        "run with BLESS=1 to write tests/fixtures/talk.jsonl"
    );
}

#[test]
fn programs_read_drops_by_reason_and_null_where_they_are_unknown() {
    let model = model(talk::changes());
    let mut out = Vec::new();
    once::write(&mut out, &model, Form::Json).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
    let of = |pod: &str| {
        let mut rows = rows.iter();
        let is_of = |row: &&serde_json::Value| row["pod"].as_str().unwrap().ends_with(pod);
        rows.find(is_of).unwrap()["drops_by_reason"].clone()
    };
    let slow = json!({"NO_SOCKET": 24, "SOCKET_RCVBUFF": 480});
    assert_eq!([of("tf2q6"), of("l2c9m")], [slow, json!({})]);
    assert_eq!([of("8hb4m"), of("h7z66")], [json!(null), json!(null)]);
}

#[test]
fn drops_that_a_node_does_not_count_are_unknown_and_it_says_why() {
    let mut snapshot = talk::snapshot(0);
    for row in &mut snapshot.interfaces {
        row.drops = None;
    }
    let mut failure = snapshot
        .interfaces
        .iter()
        .find_map(|row| row.failure.clone())
        .unwrap();
    failure.message = "the kernel does not describe itself".to_owned();
    snapshot.drops = Some(DropsState::Missing { failure });
    let heard = Recorded {
        at: snapshot.taken,
        change: Change::Snapshot {
            snapshot: Arc::new(snapshot),
        },
    };
    let mut model = model(vec![heard]);
    press(&mut model, "3<enter>");
    let frame = frame(&mut model, 80, 40);
    assert!(frame.contains("dropped       –\n"), "{frame}");
    assert!(
        frame.contains("the kernel does not describe itself"),
        "{frame}"
    );
}

#[test]
fn screens() {
    let check = |name: &str, size: (u16, u16), keys: &str, theme: Theme| {
        let mut model = model(talk::changes());
        model.theme = theme;
        press(&mut model, keys);
        let name = format!("{name}-{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, frame(&mut model, size.0, size.1));
    };
    let ascii = Theme {
        colour: false,
        ascii: true,
    };
    let (small, wide, huge) = ((80, 24), (120, 40), (200, 60));
    check("interfaces", small, "3", COLOUR);
    check("interfaces", wide, "3R", COLOUR);
    check("interfaces", huge, "3", COLOUR);
    check("interfaces-ascii", small, "3", ascii);
    check("claims", small, "1", COLOUR);
    check("claims", wide, "1S", COLOUR);
    check("slices", small, "2", COLOUR);
    check(
        "claim-pending",
        small,
        "1/state:pending<enter><enter>",
        COLOUR,
    );
    check(
        "claim-refused",
        small,
        "1/state:failed bridge<enter><enter>",
        COLOUR,
    );
    check("claim-ready", wide, "1/state:ready<enter>jj<enter>", COLOUR);
    check(
        "interface-failed",
        small,
        "3/state:failed<enter><enter>",
        COLOUR,
    );
    check("interface-ascii", small, "3<enter>", ascii);
    check("interface-drops", (80, 40), "3U<enter>", COLOUR);
    check("device", small, "2G<enter>", COLOUR);
    check("help", small, "?", COLOUR);
    check("help-end", small, "2?G", COLOUR);
    check("findings", small, "!", COLOUR);
    check("sorted-by-hidden", small, "3K", COLOUR);
    check("filter-typing", small, "3/tx4", COLOUR);
    check("filter-nothing", small, "1/nosuchpod", COLOUR);
}

#[test]
fn a_cluster_of_three_nodes_seen_through_relays() {
    let check = |name: &str, size: (u16, u16), keys: &str| {
        let mut model = model(talk::through_relays());
        press(&mut model, keys);
        let name = format!("relays-{name}-{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, frame(&mut model, size.0, size.1));
    };
    check("interfaces", (80, 24), "3");
    check("interfaces", (120, 40), "3R");
    check("claims", (120, 40), "1");
    check("awaited", (80, 24), "1/ready shared<enter><enter>");
    check("findings", (80, 24), "!");
}

#[test]
fn the_nodes_of_the_rows_on_the_screen_are_followed() {
    let mut model = model(talk::through_relays());
    press(&mut model, "3/pod:resting<enter>");
    update(&mut model, Msg::Act(crate::message::Action::Back));
    let followed = |model: &mut Model| {
        let cmds = update(model, Msg::Due).into_iter();
        let mut nodes = cmds.filter_map(|cmd| match cmd {
            Cmd::Follow(nodes) => Some(nodes),
            Cmd::Arrange(_) | Cmd::Look(_) | Cmd::Quit | Cmd::Suspend => None,
        });
        nodes.next()
    };
    let all = followed(&mut model).expect("others than before");
    let names = all
        .iter()
        .map(netclaim_core::name::NodeName::as_str)
        .collect::<Vec<_>>();
    assert_eq!(names, ["kind-worker", "kind-worker3"], "the selected first");
    assert_eq!(followed(&mut model), None, "once");
}

#[test]
fn empty_screens_say_what_to_do() {
    let check = |name: &str, changes| {
        insta::assert_snapshot!(name, frame(&mut model(changes), 80, 12));
    };
    let agent = |state| Recorded {
        at: Timestamp(talk::START),
        change: Change::Agent {
            endpoint: "unix:/run/netclaim/observe.sock".into(),
            state,
        },
    };
    let denied = |kind| Recorded {
        at: Timestamp(talk::START),
        change: Change::Watch {
            kind,
            state: WatchState::Denied {
                missing: format!("list {kind} in all namespaces"),
            },
        },
    };
    let why = "No such file or directory at /run/netclaim/observe.sock; is netclaim running on this node?";
    check("empty-waiting", Vec::new());
    check(
        "empty-lost",
        vec![agent(AgentState::Lost {
            node: None,
            why: why.into(),
        })],
    );
    check("empty-denied", Kind::ALL.map(denied).into());
}

#[test]
fn a_silent_node_has_no_rates_and_is_named() {
    let mut model = model(talk::changes());
    let loud = frame(&mut model, 80, 24);
    assert!(loud.contains("kB/s") || loud.contains("MB/s"), "{loud}");
    let later = model.now.0 + 12_000;
    update(&mut model, Msg::Tick(Timestamp(later)));
    let silent = frame(&mut model, 80, 24);
    insta::assert_snapshot!("silent-80x24", silent);
}

#[test]
fn mono_draws_the_same_words_without_a_colour() {
    let mut model = model(talk::changes());
    let coloured = frame(&mut model, 120, 40);
    model.theme = Theme {
        colour: false,
        ascii: false,
    };
    assert_eq!(frame(&mut model, 120, 40), coloured);
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    terminal.draw(|frame| view::draw(frame, &model)).unwrap();
    let cells = terminal.backend().buffer().content();
    assert!(
        cells
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
}

#[test]
fn a_recording_gives_the_same_frame_however_it_is_cut() {
    let recorded = RECORDING
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let recorded = recorded.collect::<Vec<Recorded>>();
    let mut whole = model(recorded.clone());
    let mut pieces = model(Vec::new());
    for change in recorded {
        update(&mut pieces, Msg::Changed(vec![change]));
    }
    assert_eq!(frame(&mut pieces, 120, 40), frame(&mut whole, 120, 40));
}

#[test]
fn tiny_terminals_do_not_panic() {
    let mut model = model(talk::changes());
    for view in ["1", "2", "3", "3<enter>", "<esc>1<enter>", "?"] {
        press(&mut model, view);
        for size in [(1, 1), (3, 2), (10, 4), (20, 6), (79, 5)] {
            frame(&mut model, size.0, size.1);
        }
    }
}

/// A model that has seen ten thousand claims, ten thousand devices and a thousand interfaces.
pub(crate) fn crowd() -> Model {
    let mut model = model(talk::objects());
    update(&mut model, Msg::Changed(vec![talk::snapshot_at(0, 1_000)]));
    update(&mut model, Msg::Changed(vec![talk::snapshot_at(1, 1_000)]));
    let at = model.now;
    let claims = (15..10_000).map(|pod| Recorded {
        at,
        change: Change::Upserted {
            object: Object::Claim(talk::claim(pod)),
        },
    });
    update(&mut model, Msg::Changed(claims.collect()));
    let slices = (0..200).map(|node| Recorded {
        at,
        change: Change::Upserted {
            object: Object::Slice(talk::large_slice(node, 50)),
        },
    });
    update(&mut model, Msg::Changed(slices.collect()));
    update(&mut model, Msg::Resized(200, 60));
    model
}

/// A frame and a message cost what is on the screen; only the question costs what is known.
#[test]
fn ten_thousand_claims_are_drawn_in_time() {
    let mut model = crowd();
    let mut terminal = Terminal::new(TestBackend::new(200, 60)).unwrap();
    let mut time = |name: &str, keys: &str| {
        press(&mut model, keys);
        let began = Instant::now();
        for _ in 0..10 {
            terminal.draw(|frame| view::draw(frame, &model)).unwrap();
        }
        let drawn = began.elapsed() / 10;
        let mut inline = Duration::ZERO;
        let mut asked = Duration::ZERO;
        for _ in 0..10 {
            let at = Timestamp(model.now.0 + 1);
            let began = Instant::now();
            update(&mut model, Msg::Tick(at));
            let cmds = update(&mut model, Msg::Due);
            inline += began.elapsed();
            for cmd in cmds {
                let Cmd::Arrange(question) = cmd else {
                    continue;
                };
                let began = Instant::now();
                let answer = Box::new(question.answer());
                asked += began.elapsed();
                let began = Instant::now();
                update(&mut model, Msg::Arranged(answer));
                inline += began.elapsed();
            }
        }
        let total = model.list().total;
        let (inline, asked) = (inline / 10, asked / 10);
        println!("{name}: {total} rows, frame {drawn:?}, update {inline:?}, elsewhere {asked:?}");
        drawn + inline
    };
    let costs = [
        time("claims by name", "1"),
        time("claims by state", "S"),
        time("claims filtered", "/ready<enter>"),
        time("interfaces by rx", "3R"),
        time("slices", "2"),
    ];
    // A debug build on a busy machine; a release build is twenty times faster.
    for cost in costs {
        assert!(cost.as_millis() < 500, "{cost:?}");
    }
}
