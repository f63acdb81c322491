//! The documents say what the code says.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use netclaim_core::claim::{
    object::Source,
    policy::catalogue::{Field, PLUGINS, RESERVED, Role},
};

use crate::tree::{root, rust_files};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = rust_files(folder);
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "tests"));
    found.retain(|path| !path.ends_with("tests.rs"));
    found
}

/// Words such as `PodBusy` that stand as a condition's reason beside their metric label.
fn reasons() -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    for path in ["driver/src", "driver/core/src"]
        .iter()
        .flat_map(|room| sources(&root().join(room)))
    {
        let text = fs::read_to_string(path).unwrap();
        let words: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        let labels: BTreeSet<&str> = words.iter().copied().collect();
        reasons.extend(
            words
                .iter()
                .filter(|word| labels.contains(snake(word).as_str()))
                .map(|w| (*w).to_owned()),
        );
    }
    reasons.retain(|word| word.chars().filter(char::is_ascii_uppercase).count() > 1);
    reasons.retain(|word| word.chars().all(|letter| letter.is_ascii_alphabetic()));
    reasons
}

fn snake(camel: &str) -> String {
    let camel = camel.replace("API", "Api").replace("CNI", "Cni");
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_reason_is_explained() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let reasons = reasons();
    assert!(reasons.len() > 50, "the search finds reasons: {reasons:?}");
    let missing: Vec<_> = reasons
        .iter()
        .filter(|reason| !page.contains(&format!("`{reason}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "not in docs/troubleshooting.md: {missing:?}"
    );
    let explained: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| {
            line.split('|')
                .nth(1)
                .unwrap()
                .split('`')
                .skip(1)
                .step_by(2)
        })
        .collect();
    let stale: Vec<_> = explained
        .iter()
        .filter(|reason| !reasons.contains(**reason))
        .collect();
    assert!(stale.is_empty(), "explained but never said: {stale:?}");
}

/// Names of our series in a text; a row explains both directions.
fn series(text: &str) -> BTreeSet<String> {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !part(letter));
    let ours = words.filter(|word| word.starts_with("netclaim_"));
    ours.map(|word| word.replace("_transmit_", "_receive_"))
        .collect()
}

#[test]
fn queries_and_rules_ask_for_series_that_are_explained() {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rules = fs::read_to_string(root().join("deploy/prometheus/rules.yaml")).unwrap();
    let queries = page.split("```promql").skip(1);
    let queries = queries.map(|block| block.split("```").next().unwrap());
    let asked: BTreeSet<_> = queries.chain([rules.as_str()]).flat_map(series).collect();
    assert!(asked.len() > 5, "the search finds series: {asked:?}");
    let rows = page.lines().filter(|line| line.starts_with("| `netclaim_"));
    let explained = rows.flat_map(series).collect();
    let unknown: Vec<_> = asked.difference(&explained).collect();
    assert!(unknown.is_empty(), "no row of docs/metrics.md: {unknown:?}");
}

#[test]
fn every_alert_is_explained() {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rules = fs::read_to_string(root().join("deploy/prometheus/rules.yaml")).unwrap();
    let rules: serde_json::Value = serde_saphyr::from_str(&rules).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let alerts = rules.filter_map(|rule| {
        let severity = rule["labels"]["severity"].as_str()?;
        Some(format!("| `{}` | {severity} |", rule["alert"].as_str()?))
    });
    let alerts: BTreeSet<_> = alerts.collect();
    let rows = page.lines().filter(|line| line.starts_with("| `Netclaim"));
    let explained = rows.map(|row| row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|");
    let explained: BTreeSet<_> = explained.collect();
    assert_eq!(explained, alerts);
}

/// The allow-list as a page; `BLESS=1` writes it.
#[test]
fn the_allow_list_is_the_one_that_is_enforced() {
    let path = root().join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- allow-list: begin -->\n", "<!-- allow-list: end -->");
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let fresh = format!("{head}{begin}{}{end}{tail}", allow_list());
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    assert!(page == fresh, "run again with BLESS=1");
}

fn allow_list() -> String {
    let mut page = String::new();
    for plugin in PLUGINS {
        let source = match plugin.source {
            Source::Claim => "claims and classes",
            Source::Class => "classes only",
        };
        let role = match plugin.role {
            Role::Child { .. } => "makes an interface on the device",
            Role::Move => "moves the device",
            Role::Chained => "changes the interface before it",
            Role::Ipam => "gives addresses",
        };
        let takes = match plugin.arguments {
            [] => String::new(),
            names => format!("; takes runtimeConfig.{}", names.join(" and .")),
        };
        writeln!(
            page,
            "### {}\n\nFrom {source}; {role}{takes}.\n",
            plugin.name
        )
        .unwrap();
        if !plugin.fields.is_empty() {
            page.push_str("| field | accepted |\n|---|---|\n");
            plugin.fields.iter().for_each(|field| row(&mut page, field));
            page.push('\n');
        }
    }
    page.push_str("### Never accepted\n\n| field | why |\n|---|---|\n");
    for (name, why) in RESERVED {
        writeln!(page, "| `{name}` | {why} |").unwrap();
    }
    page.push_str("| `cni.dev/…` | the runtime gives it |\n");
    page
}

fn row(page: &mut String, field: &Field) {
    let check = field.check.to_string().replace('|', "\\|");
    let required = if field.required { " (required)" } else { "" };
    writeln!(page, "| `{}`{required} | {check} |", field.name).unwrap();
}

#[test]
fn every_attribute_of_a_device_is_explained() {
    let describe =
        fs::read_to_string(root().join("driver/core/src/inventory/describe.rs")).unwrap();
    let (_, table) = describe.split_once("let all = [").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    let names: Vec<&str> = table.split('"').skip(1).step_by(2).collect();
    assert!(names.len() > 10, "{names:?}");
    let page = fs::read_to_string(root().join("docs/devices.md")).unwrap();
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
