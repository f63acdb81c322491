//! `netclaim validate`: configurations of a manifest, checked offline in the driver's own words.
//!
//! Reads what users write (claims, templates, classes), not what the scheduler made of it, so what
//! depends on the allocated device is left to the node. It never talks to a cluster.

use std::io;

use netclaim_core::{claim::policy::Policy, name::DriverName};
use serde_json::Value;

use self::{manifest::Manifest, shape::Wrong};

mod manifest;
mod shape;

/// What was found about one configuration or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The object, as `Kind namespace/name`.
    pub subject: String,
    /// The field of the object.
    pub place: String,
    /// What the driver says to it.
    pub verdict: Verdict,
}

/// What the driver says to a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be taken, and do this.
    Accepted(String),
    /// It would be refused, with these words.
    Refused(String),
    /// Something else has to be there as well.
    Note(String),
}

/// A manifest that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// Not YAML.
    #[error("{place}: found what is no YAML, expected manifests; correct it there: {source}")]
    Yaml {
        /// The line and the column.
        place: String,
        /// What the parser said, with the lines.
        source: Box<serde_saphyr::Error>,
    },
}

impl From<serde_saphyr::Error> for ValidateError {
    fn from(error: serde_saphyr::Error) -> Self {
        let place = error.location().map_or_else(
            || "somewhere".to_owned(),
            |at| format!("line {}, column {}", at.line(), at.column()),
        );
        let source = Box::new(error);
        Self::Yaml { place, source }
    }
}

impl Report {
    /// Whether the manifest has to be changed.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused(_))
    }
}

/// Checks every configuration for `driver` in a manifest of one or more documents.
///
/// Objects of other kinds are passed over: the file that holds the Deployment may be given whole.
pub fn validate(
    text: &str,
    driver: &DriverName,
    policy: &Policy,
) -> Result<Vec<Report>, ValidateError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let reports = |object| {
        let manifest = Manifest::of(object);
        manifest.map_or_else(Vec::new, |manifest| manifest.reports(driver, policy))
    };
    Ok(documents
        .iter()
        .flat_map(|document| match objects(document) {
            Ok(objects) => objects.iter().flat_map(reports).collect(),
            Err(report) => vec![report],
        })
        .collect())
}

/// Prints one line for each report.
pub fn print(reports: &[Report], out: &mut impl io::Write) -> io::Result<()> {
    for report in reports {
        let (word, text) = match &report.verdict {
            Verdict::Accepted(text) => ("ok", text),
            Verdict::Refused(text) => ("refused", text),
            Verdict::Note(text) => ("note", text),
        };
        let (subject, place) = (&report.subject, &report.place);
        let line = format!("{word:<8} {subject}, {place}: {text}");
        writeln!(out, "{}", printable(&line))?;
    }
    Ok(())
}

/// Prints how many were checked, and how many of them are refused.
pub fn print_sum(
    reports: &[Report],
    driver: &DriverName,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let count = |wanted: fn(&Verdict) -> bool| {
        reports
            .iter()
            .filter(|report| wanted(&report.verdict))
            .count()
    };
    let refused = count(|verdict| matches!(verdict, Verdict::Refused(_)));
    match refused + count(|verdict| matches!(verdict, Verdict::Accepted(_))) {
        0 => writeln!(out, "no configuration for driver {driver}"),
        all => writeln!(out, "{all} checked for driver {driver}, {refused} refused"),
    }
}

/// One line that a terminal shows as it is: names are whatever somebody wrote.
pub fn printable(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' => c.to_string(),
        other => other.escape_unicode().to_string(),
    };
    text.chars().map(escaped).collect()
}

/// The object, or what a `List` holds.
fn objects(document: &Value) -> Result<&[Value], Report> {
    let kind = document["kind"].as_str().unwrap_or_default();
    match &document["items"] {
        Value::Array(items) if kind.ends_with("List") => Ok(items),
        items if manifest::is_list(kind) => {
            let wrong = Wrong::new("items", items, "a list");
            Err(Report {
                subject: kind.to_owned(),
                verdict: Verdict::Refused(wrong.to_string()),
                place: wrong.place,
            })
        }
        _ => Ok(std::slice::from_ref(document)),
    }
}

#[cfg(test)]
mod tests;
