//! The figures for people and for programs.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::figure::Figure;
use super::machine::Machine;

/// Prints the figures, with the machine that they were measured on, and writes them to a file too.
pub(crate) fn tell(figures: &[Figure], file: Option<&Path>) -> Result<()> {
    let machine = Machine::read()?;
    io::stdout().write_all(text(&machine, figures).as_bytes())?;
    let Some(file) = file else { return Ok(()) };
    let json = serde_json::to_vec_pretty(&json(&machine, figures))?;
    fs::write(file, json).with_context(|| file.display().to_string())
}

/// A table: each figure with its bar, and below it how it was measured.
fn text(machine: &Machine, figures: &[Figure]) -> String {
    let Machine { kernel, cpu, cores } = machine;
    let mut text = format!("Linux {kernel} · {cpu} · {cores} cores\n\n");
    let line = ["what", "measured", "bar", "ratio"];
    push(&mut text, &line.map(str::to_owned), ' ');
    for figure in figures {
        let number = |value: f64| format!("{value:.2} {}", figure.unit);
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let mark = match figure.is_met() {
            Some(true) => '✔',
            Some(false) => '✘',
            None => ' ',
        };
        let ratio = figure.ratio().map(|ratio| format!("{ratio:.2}"));
        let cells = [
            figure.what.clone(),
            number(figure.measured),
            or_none(figure.bar.map(number)),
            or_none(ratio),
        ];
        push(&mut text, &cells, mark);
        if !figure.how.is_empty() {
            text.extend(["  ", &figure.how, "\n"]);
        }
        if let (Some(false), Some(reason)) = (figure.is_met(), &figure.reason) {
            text.extend(["  missed: ", reason, "\n"]);
        }
    }
    text
}

fn push(text: &mut String, [what, measured, bar, ratio]: &[String; 4], mark: char) {
    let line = format!("{what:<58} {measured:>11} {bar:>10} {ratio:>6}  {mark}");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

/// The same for programs.
fn json(machine: &Machine, figures: &[Figure]) -> Value {
    let figure = |figure: &Figure| {
        json!({
            "what": figure.what,
            "how": figure.how,
            "measured": figure.measured,
            "unit": figure.unit,
            "bar": figure.bar,
            "ratio": figure.ratio(),
            "met": figure.is_met(),
            "reason": figure.reason.as_ref().filter(|_| figure.is_met() == Some(false)),
        })
    };
    let figures: Vec<Value> = figures.iter().map(figure).collect();
    json!({"machine": machine, "figures": figures})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            kernel: "6.6.1".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
        }
    }

    #[test]
    fn a_missed_bar_is_marked_and_explained_and_a_met_one_is_not() {
        let known = |figure: Figure| Figure {
            reason: Some("the disk".to_owned()),
            ..figure
        };
        let figures = [
            known(Figure::new("met", 1.0, "ms").bar(2.0)),
            known(Figure::new("missed", 3.0, "ms").bar(2.0)).how("by hand"),
            Figure::new("beside", 3.0, "ms"),
        ];
        let text = text(&machine(), &figures);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .skip(3)
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected: [&[&str]; 5] = [
            &["met", "1.00", "ms", "2.00", "ms", "0.50", "✔"],
            &["missed", "3.00", "ms", "2.00", "ms", "1.50", "✘"],
            &["by", "hand"],
            &["missed:", "the", "disk"],
            &["beside", "3.00", "ms", "–", "–"],
        ];
        assert_eq!(lines, expected);
        let json = json(&machine(), &figures);
        assert_eq!(json["figures"][0]["reason"], Value::Null);
        assert_eq!(json["figures"][1]["met"], false);
        assert_eq!(json["figures"][2]["met"], Value::Null);
    }
}
