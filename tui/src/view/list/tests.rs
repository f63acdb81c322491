use super::*;
use crate::{table::Column, theme::Mark};

const COLUMNS: [Column; 4] = [
    column("NAME", 8, 20, 0),
    column("RXp/s", 6, 6, 2),
    column("TXp/s", 6, 6, 2),
    column("NODE", 6, 12, 1),
];

const fn column(title: &'static str, min: u16, max: u16, rank: u8) -> Column {
    Column {
        title,
        letter: 'A',
        min,
        max,
        rank,
        cut: Cut::End,
    }
}

#[test]
fn columns_fit_or_are_hidden_together() {
    let name = "a-name-of-30-characters-or-so-";
    let row = [
        Value::text(Some(name)),
        Value::Count(1),
        Value::Unknown,
        Value::text(Some("n1")),
    ];
    let check = |width, columns: [u16; 4], gap| {
        let fitted = Widths::fit(&COLUMNS, std::iter::once(&row), width);
        assert_eq!(fitted, Widths { columns, gap }, "at {width}");
    };
    check(100, [20, 6, 6, 6], 3);
    check(43, [20, 6, 6, 6], 1);
    check(33, [11, 6, 6, 5], 1);
    check(29, [20, 0, 0, 6], 1);
    check(15, [13, 0, 0, 0], 1);
    check(4, [8, 0, 0, 0], 1);
}

#[test]
fn a_state_has_its_symbol_and_what_is_unknown_a_dash() {
    let theme = Theme {
        colour: false,
        ascii: false,
    };
    let ascii = Theme {
        ascii: true,
        ..theme
    };
    let check = |cell: Value<'_>, [unicode, plain]: [&str; 2]| {
        assert_eq!(span(&cell, 8, Cut::End, theme).content, unicode);
        assert_eq!(span(&cell, 8, Cut::End, ascii).content, plain);
    };
    check(Value::State(Mark::Good, "up"), ["● up    ", "* up    "]);
    check(Value::Unknown, ["–       ", "-       "]);
    check(Value::Rate(0), ["0 B     ", "0 B     "]);
    check(Value::text(Some("a-long-name")), ["a-long-…", "a-long-~"]);
    check(Value::Trend(vec![0, 1, 8]), ["      ▁█", "      _#"]);
}
