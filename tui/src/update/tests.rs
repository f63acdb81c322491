//! Lists of messages in, a model out.

use netclaim_core::{cluster::Recorded, time::Timestamp};

use super::*;
use crate::tests::{model, press, talk};

fn pods(model: &Model) -> Vec<String> {
    let rows = model.list().rows.iter();
    rows.map(|row| format!("{row:?}")).collect()
}

fn change(at: u64) -> Vec<Recorded> {
    vec![talk::snapshot_at(at, 15)]
}

#[test]
fn the_cursor_stays_on_its_row_when_rows_move() {
    let mut model = model(talk::changes());
    press(&mut model, "3Rjj");
    let chosen = model.list().rows[model.list().cursor].clone();
    press(&mut model, "I");
    let list = model.list();
    assert_eq!(list.rows[list.cursor], chosen);
    assert_ne!(list.cursor, 2, "the row has moved");
    press(&mut model, "g");
    assert_eq!((model.list().cursor, &model.list().selected), (0, &None));
}

#[test]
fn sorting_starts_with_the_largest_and_turns_around() {
    let mut model = model(talk::changes());
    press(&mut model, "3");
    let check = |model: &mut Model, keys: &str, expected: Option<(&str, bool)>| {
        press(model, keys);
        let sort = model.list().sort;
        let title = |sort: Sort| (model.view.columns()[sort.column].title, sort.descending);
        assert_eq!(sort.map(title), expected, "after {keys}");
    };
    check(&mut model, "", None);
    check(&mut model, "R", Some(("RX/s", true)));
    check(&mut model, "R", Some(("RX/s", false)));
    check(&mut model, "<f6>", Some(("TX/s", true)));
    check(&mut model, "<", Some(("RX/s", true)));
    check(&mut model, "P", Some(("POD", false)));
    check(&mut model, "I", Some(("POD", true)));
    check(&mut model, "Q", Some(("POD", true)));
    assert!(model.note.as_deref().is_some_and(|note| note.contains('Q')));
    check(&mut model, "1", None);
    check(&mut model, "3", Some(("POD", true)));
}

#[test]
fn what_is_not_known_sorts_last_both_ways() {
    let mut model = model(talk::changes());
    press(&mut model, "3R");
    let down = pods(&model);
    press(&mut model, "R");
    let up = pods(&model);
    assert_eq!(down[11..], up[11..], "failed and uncounted");
    assert_ne!(down[..2], up[..2]);
}

#[test]
fn a_filter_applies_while_it_is_typed() {
    let mut model = model(talk::changes());
    let check = |model: &mut Model, keys: &str, rows: usize, text: &str| {
        press(model, keys);
        let list = model.list();
        assert_eq!(
            (list.rows.len(), list.filter.text()),
            (rows, text),
            "after {keys}"
        );
    };
    check(&mut model, "1/", 15, "");
    check(&mut model, "state:fail", 2, "state:fail");
    check(&mut model, "<enter>", 2, "state:fail");
    check(&mut model, "/x", 0, "state:failx");
    check(&mut model, "<esc>", 2, "state:fail");
    check(&mut model, "<esc>", 15, "");
    check(&mut model, "/!ready<enter>", 3, "!ready");
    check(&mut model, "3", 13, "");
    check(&mut model, "1", 3, "!ready");
}

#[test]
fn layers_lie_over_each_other_and_esc_leaves_the_top_one() {
    let mut model = model(talk::changes());
    let check = |model: &mut Model, keys: &str, expected: &[(&str, usize)]| {
        press(model, keys);
        let names = model.layers.iter().map(|layer| {
            let name = match &layer.sheet {
                Sheet::Row(_) => "row",
                Sheet::Findings => "findings",
                Sheet::Help => "help",
            };
            (name, layer.scroll)
        });
        assert_eq!(names.collect::<Vec<_>>(), expected, "after {keys}");
    };
    check(&mut model, "1/ready<enter><enter>", &[("row", 0)]);
    check(&mut model, "jj", &[("row", 2)]);
    check(&mut model, "?", &[("row", 2), ("help", 0)]);
    check(&mut model, "!", &[("row", 2), ("help", 0), ("findings", 0)]);
    check(&mut model, "?", &[("row", 2), ("findings", 0), ("help", 0)]);
    check(&mut model, "?<esc>", &[("row", 2)]);
    check(&mut model, "<esc>", &[]);
    check(&mut model, "?<esc>", &[]);
    assert_eq!(model.list().filter.text(), "ready");
    press(&mut model, "<esc>");
    assert!(model.list().filter.is_empty());
    press(&mut model, "2<tab>");
    assert_eq!(model.view, View::Interfaces);
}

#[test]
fn commands_go_to_tables_or_say_what_they_know() {
    let check = |keys: &str, view: View, note: bool| {
        let mut model = model(talk::changes());
        press(&mut model, keys);
        assert_eq!(
            (model.view, model.note.is_some()),
            (view, note),
            "after {keys}"
        );
        assert_eq!(model.prompt, None);
    };
    check(":rc<enter>", View::Claims, false);
    check(":slices<enter>", View::Slices, false);
    check(":if<enter>", View::Interfaces, false);
    check(":sl<enter>", View::Slices, false);
    check(":r<enter>", View::Interfaces, true);
    check(":help<enter>", View::Interfaces, false);
    check(":pods<enter>", View::Interfaces, true);
    check(":rc<esc>", View::Interfaces, false);
    let mut model = model(talk::changes());
    press(&mut model, ":q");
    assert_eq!(update(&mut model, Msg::Typed(Edit::Accept)), [Cmd::Quit]);
}

#[test]
fn a_frozen_screen_keeps_still_while_changes_go_on() {
    let mut model = model(talk::changes());
    press(&mut model, " ");
    let before = model.scene().cluster.clone();
    update(&mut model, Msg::Changed(change(50)));
    assert_eq!(*model.scene().cluster, before);
    press(&mut model, " ");
    assert_ne!(*model.scene().cluster, before, "nothing was lost");
    assert_eq!(model.now, Timestamp(talk::START + 50_010));
}

#[test]
fn what_was_looked_at_may_go_away() {
    let mut model = model(talk::changes());
    press(&mut model, "3G<enter>");
    let gone = netclaim_core::cluster::Change::Snapshot {
        snapshot: match talk::snapshot_at(50, 0).change {
            netclaim_core::cluster::Change::Snapshot { snapshot } => snapshot,
            other => panic!("expected a snapshot, found {other:?}"),
        },
    };
    let at = model.now;
    update(
        &mut model,
        Msg::Changed(vec![Recorded { at, change: gone }]),
    );
    let screen = crate::tests::frame(&mut model, 80, 24);
    assert!(
        screen.contains("net1"),
        "the claim's status still names it: {screen}"
    );
}

#[test]
fn every_step_stays_inside() {
    let steps = [
        (Step::Up, 0, 0),
        (Step::Down, 9, 9),
        (Step::Down, 3, 4),
        (Step::PageDown, 3, 7),
        (Step::PageDown, 8, 9),
        (Step::PageUp, 3, 0),
        (Step::HalfDown, 0, 2),
        (Step::HalfUp, 5, 3),
        (Step::First, 5, 0),
        (Step::Last, 5, 9),
    ];
    for (step, from, expected) in steps {
        assert_eq!(stepped(from, step, 4, 10), expected, "{step:?} from {from}");
        assert_eq!(stepped(0, step, 4, 0), 0, "{step:?} in an empty table");
    }
}

/// The question that a frame brings, if it brings one.
fn asked(model: &mut Model) -> Option<Box<crate::arrange::Question>> {
    let cmds = update(model, Msg::Due);
    cmds.into_iter().find_map(|cmd| match cmd {
        Cmd::Arrange(question) => Some(question),
        Cmd::Quit | Cmd::Suspend | Cmd::Follow(_) | Cmd::Look(_) => None,
    })
}

#[test]
fn more_than_a_thousand_rows_are_put_in_order_elsewhere() {
    let mut few = model(talk::changes());
    update(&mut few, Msg::Act(Action::Show(View::Claims)));
    assert_eq!(asked(&mut few), None, "fifteen rows are no work");
    assert_eq!(few.list().rows.len(), 15);

    let mut many = crate::tests::crowd();
    update(&mut many, Msg::Act(Action::Show(View::Claims)));
    let question = asked(&mut many).expect("a question");
    assert_eq!(many.list().rows.len(), 0, "nothing was put in order here");
    assert_eq!(asked(&mut many), None, "one question at a time");
    update(&mut many, Msg::Arranged(Box::new(question.answer())));
    assert_eq!(many.list().rows.len(), 10_000);
    assert_eq!(asked(&mut many), None, "nothing changed since");
}

#[test]
fn an_answer_that_is_late_does_not_undo_what_was_typed() {
    let mut model = crate::tests::crowd();
    update(&mut model, Msg::Act(Action::Show(View::Claims)));
    let unfiltered = asked(&mut model).expect("a question").answer();
    update(&mut model, Msg::Act(Action::Filter));
    for letter in "failed".chars() {
        update(&mut model, Msg::Typed(Edit::Insert(letter)));
    }
    update(&mut model, Msg::Arranged(Box::new(unfiltered)));
    assert_eq!(model.list().rows.len(), 0, "not the rows of another filter");
    let filtered = asked(&mut model).expect("the filter was changed since then");
    update(&mut model, Msg::Arranged(Box::new(filtered.answer())));
    let (shown, total) = (model.list().rows.len(), model.list().total);
    assert!((1..100).contains(&shown), "{shown} of {total}");
}

#[test]
fn changes_that_come_while_rows_are_put_in_order_are_kept() {
    let mut model = crate::tests::crowd();
    let question = asked(&mut model).expect("a question");
    update(&mut model, Msg::Changed(change(50)));
    assert_ne!(
        *model.cluster, *question.cluster,
        "a thread reads the old one"
    );
    update(&mut model, Msg::Arranged(Box::new(question.answer())));
    assert!(
        asked(&mut model).is_some(),
        "and the new one is put in order next"
    );
}

#[test]
fn one_namespace_is_all_that_is_shown_of_a_node() {
    let mut model = model(talk::changes());
    let check = |model: &mut Model, only: &str, expected: [usize; 3]| {
        model.namespace = Some(only.into());
        let rows = [":claims<enter>", ":slices<enter>", ":if<enter>"].map(|keys| {
            press(model, keys);
            model.list().total
        });
        assert_eq!(rows, expected, "{only}");
    };
    check(&mut model, "demo", [15, 3, 13]);
    check(&mut model, "other", [0, 3, 0]);
}
