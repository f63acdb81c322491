//! Numbers and times in few characters.

use std::time::Duration;

use ratatui::buffer::CellWidth as _;

const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// Three digits and a unit: `0 B`, `812 B`, `1.23 kB`, `45.6 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let (number, unit) = scaled(count);
    format!("{number} {unit}B")
}

/// Three digits and a unit: `0`, `812`, `1.23k`, `45.6M`.
pub(crate) fn count(count: u64) -> String {
    let (number, unit) = scaled(count);
    format!("{number}{unit}")
}

/// The two largest parts: `8s`, `4m12s`, `3h05m`, `12d`.
pub(crate) fn age(age: Duration) -> String {
    let s = age.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..172_800 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d", s / 86_400),
    }
}

/// How long a step took: `840 µs`, `12.4 ms`, `1.20 s`.
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros / 10_000 % 100),
    }
}

/// The time of day in UTC.
pub(crate) fn clock(millis: u64) -> String {
    let s = millis / 1_000;
    format!("{:02}:{:02}:{:02}", s / 3_600 % 24, s / 60 % 60, s % 60)
}

fn scaled(count: u64) -> (String, &'static str) {
    let (mut whole, mut rest, mut unit) = (count, 0, 0);
    while whole >= 1_000 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1_000, whole % 1_000, unit + 1);
    }
    let number = match whole {
        _ if unit == 0 => whole.to_string(),
        0..10 => format!("{whole}.{:02}", rest / 10),
        10..100 => format!("{whole}.{}", rest / 100),
        _ => whole.to_string(),
    };
    (number, UNITS[unit])
}

/// Columns that text takes on a screen, which leaves control characters out.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Cuts a name in its middle: generated names differ at both ends.
pub(crate) fn middle(text: &str, room: usize, dots: &str) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let Some(left) = room.checked_sub(width(dots)) else {
        return head(dots, room).to_owned();
    };
    let (head, tail) = (head(text, left - left / 2), tail(text, left / 2));
    format!("{head}{dots}{tail}")
}

/// Cuts a sentence at its end.
pub(crate) fn end(text: &str, room: usize, dots: &str) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    match room.checked_sub(width(dots)) {
        Some(left) => format!("{}{dots}", head(text, left)),
        None => head(dots, room).to_owned(),
    }
}

/// Text with blanks after it, or before it, up to a width.
pub(crate) fn pad(text: &str, room: usize, to_the_right: bool) -> String {
    let blanks = " ".repeat(room.saturating_sub(width(text)));
    if to_the_right {
        blanks + text
    } else {
        text.to_owned() + &blanks
    }
}

/// Breaks text into lines of at most `room` columns, between words where it can.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = vec![String::new()];
    let mut left = room;
    for mut word in text.split_whitespace() {
        let space = usize::from(left < room);
        if width(word) + space > left && space > 0 {
            lines.push(String::new());
            left = room;
        } else if space > 0 {
            push(&mut lines, " ");
            left -= 1;
        }
        while let Some((part, rest)) = broken(word, room) {
            push(&mut lines, part);
            lines.push(String::new());
            word = rest;
        }
        push(&mut lines, word);
        left = left.saturating_sub(width(word));
    }
    lines
}

/// A word that is too wide, in two; a character that is too wide by itself stays whole.
fn broken(word: &str, room: usize) -> Option<(&str, &str)> {
    if width(word) <= room {
        return None;
    }
    let first = word.chars().next().map_or(0, char::len_utf8);
    let (part, rest) = word.split_at(head(word, room).len().max(first));
    (!rest.is_empty()).then_some((part, rest))
}

fn push(lines: &mut [String], part: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(part);
    }
}

/// The beginning of text that has room.
fn head(text: &str, room: usize) -> &str {
    let mut used = 0;
    let over = text.char_indices().find(|(_, c)| {
        used += columns(*c);
        used > room
    });
    over.map_or(text, |(at, _)| &text[..at])
}

/// The end of text that has room.
fn tail(text: &str, room: usize) -> &str {
    let mut used = 0;
    let over = text.char_indices().rev().find(|(_, c)| {
        used += columns(*c);
        used > room
    });
    over.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

fn columns(c: char) -> usize {
    if c.is_control() {
        return 0;
    }
    c.encode_utf8(&mut [0; 4]).cell_width().into()
}

#[cfg(test)]
mod tests;
