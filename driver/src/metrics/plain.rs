//! The older text format, for scrapers that do not ask for `OpenMetrics`.

use std::fmt::Write as _;

/// Writes an `OpenMetrics` scrape as Prometheus text 0.0.4: there a family is named as its samples
/// are, information is a gauge, and neither units nor an end are marked.
pub fn plain(openmetrics: &str) -> String {
    let mut plain = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            describe(&mut plain, help, rest);
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

fn describe(plain: &mut String, help: &str, family: &str) {
    let (name, kind) = family.split_once(' ').unwrap_or((family, "untyped"));
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        kind => ("", kind),
    };
    let words = help.split_once(' ').map_or("", |(_, words)| words);
    for (mark, text) in [("HELP", words), ("TYPE", kind)] {
        // Writing to a string does not fail.
        let _ = writeln!(plain, "# {mark} {name}{suffix} {text}");
    }
}
