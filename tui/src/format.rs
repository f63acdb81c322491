//! Numbers and times in few characters.

use std::time::Duration;

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

/// Cuts a name in its middle: generated names differ at both ends.
pub(crate) fn middle(text: &str, width: usize, dots: &str) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(dots.chars().count());
    let tail = room / 2;
    let head = text.chars().take(room - tail);
    let tail = text.chars().skip(length - tail);
    head.chain(dots.chars()).chain(tail).take(width).collect()
}

/// Cuts a sentence at its end.
pub(crate) fn end(text: &str, width: usize, dots: &str) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(dots.chars().count());
    let head = text.chars().take(room);
    head.chain(dots.chars()).take(width).collect()
}

/// Breaks text into lines of at most `width` characters, between words where it can.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut left = width;
    for word in text.split_whitespace() {
        let mut word = word.chars().collect::<Vec<_>>();
        let spaced = usize::from(left < width);
        if word.len() + spaced <= left {
            push(&mut lines, spaced, &word);
            left -= word.len() + spaced;
            continue;
        }
        if left < width {
            lines.push(String::new());
        }
        while word.len() > width {
            push(&mut lines, 0, &word.drain(..width).collect::<Vec<_>>());
            lines.push(String::new());
        }
        push(&mut lines, 0, &word);
        left = width - word.len();
    }
    lines
}

fn push(lines: &mut [String], spaces: usize, word: &[char]) {
    if let Some(line) = lines.last_mut() {
        line.extend(std::iter::repeat_n(' ', spaces));
        line.extend(word);
    }
}

#[cfg(test)]
mod tests;
