//! How long files and functions may be, and where `unsafe` may stand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::tree::{root, rust_files};

const ROOMS: &[&str] = &["driver", "driver-ebpf", "proto", "tui", "tests", "xtask"];

const BANNED_NAMES: &[&str] = &[
    "mod", "util", "utils", "helper", "helpers", "manager", "common", "misc", "types", "consts",
    "traits", "handler", "handlers",
];

/// The only places that may need it; each block there carries a SAFETY comment, by lint.
const UNSAFE_ROOMS: &[&str] = &[
    "driver-ebpf/",
    "driver/src/host/heap",
    "driver/src/host/probe",
    "driver/src/host/netns",
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Tests stand in files of their own, and generated files are nobody's style.
    fn is_production(&self) -> bool {
        !self.path.ends_with("/tests.rs")
            && !["/tests/", "/it/", "/generated/", "/benches/", "/examples/"]
                .iter()
                .any(|part| self.path.contains(part))
    }

    fn lines(&self) -> usize {
        let inline = self
            .text
            .find("#[cfg(test)]\nmod tests {")
            .unwrap_or(self.text.len());
        self.text[..inline].lines().count()
    }

    fn stem(&self) -> &str {
        Path::new(&self.path).file_stem().unwrap().to_str().unwrap()
    }
}

fn sources() -> Vec<Source> {
    let files = ROOMS.iter().flat_map(|room| rust_files(&root().join(room)));
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap();
        Source {
            path: path.to_str().unwrap().to_owned(),
            text,
        }
    };
    files.map(source).collect()
}

fn production() -> Vec<Source> {
    sources()
        .into_iter()
        .filter(Source::is_production)
        .collect()
}

fn p90(lengths: &mut [usize]) -> usize {
    lengths.sort_unstable();
    lengths[lengths.len() * 9 / 10]
}

/// Name and length of every function, told by the indentation that rustfmt gives it.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words = [
            "pub ",
            "pub(crate) ",
            "pub(super) ",
            "const ",
            "async ",
            "unsafe ",
        ];
        let mut rest = code;
        while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
            rest = shorter;
        }
        let Some(name) = rest.strip_prefix("fn ") else {
            continue;
        };
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let declared_only = lines[start..]
            .iter()
            .find(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'))
            .is_some_and(|line| line.ends_with(';'));
        if let Some(length) = lines[start..].iter().position(|line| *line == end)
            && !declared_only
        {
            functions.push((name.split(['(', '<']).next().unwrap(), length + 1));
        }
    }
    functions
}

#[test]
fn files_fit_their_budget() {
    let sources = production();
    let long: Vec<String> = sources
        .iter()
        .filter(|source| source.lines() > 600)
        .map(|source| format!("{} {}", source.path, source.lines()))
        .collect();
    assert!(long.is_empty(), "more than 600 lines: {long:#?}");
    let mut lengths: Vec<usize> = sources.iter().map(Source::lines).collect();
    assert!(
        p90(&mut lengths) <= 400,
        "p90 of lines per file is {}",
        p90(&mut lengths)
    );
    for main in sources
        .iter()
        .filter(|source| source.path.ends_with("/src/main.rs"))
    {
        assert!(
            main.lines() <= 40,
            "{} has {} lines",
            main.path,
            main.lines()
        );
    }
}

#[test]
fn functions_fit_their_budget() {
    let sources = production();
    let all: Vec<(&str, &str, usize)> = sources
        .iter()
        .flat_map(|source| {
            functions(&source.text)
                .into_iter()
                .map(move |(name, length)| (source.path.as_str(), name, length))
        })
        .collect();
    assert!(
        all.len() > 100,
        "the counter finds functions: {}",
        all.len()
    );
    let long: Vec<_> = all.iter().filter(|(_, _, length)| *length > 80).collect();
    assert!(long.is_empty(), "more than 80 lines: {long:#?}");
    let mut lengths: Vec<usize> = all.iter().map(|(_, _, length)| *length).collect();
    assert!(
        p90(&mut lengths) <= 35,
        "p90 of lines per function is {}",
        p90(&mut lengths)
    );
}

#[test]
fn file_names_say_what_is_inside() {
    for source in sources()
        .iter()
        .filter(|source| !source.path.contains("/generated/"))
    {
        assert!(
            !BANNED_NAMES.contains(&source.stem()),
            "{} says nothing",
            source.path
        );
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for source in production() {
        assert!(
            source.text.starts_with("//!"),
            "{} has no module doc",
            source.path
        );
    }
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let uses = |text: &str| {
        text.lines().any(|line| {
            let code = line.split("//").next().unwrap();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        })
    };
    for source in production() {
        let may = UNSAFE_ROOMS
            .iter()
            .any(|room| source.path.starts_with(room));
        assert!(
            may || !uses(&source.text),
            "{} has unsafe code",
            source.path
        );
    }
}

#[test]
fn the_driver_has_no_branch_for_tests() {
    for source in production()
        .iter()
        .filter(|source| source.path.starts_with("driver/src"))
    {
        for word in ["cfg!(test)", "cfg(not(test))", "demo", "mock"] {
            assert!(!source.text.contains(word), "{} says {word}", source.path);
        }
    }
}
