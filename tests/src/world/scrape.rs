//! A scrape of a driver's `/metrics`, as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::node::Node;
use super::traffic::Totals;

/// Where the driver is scraped, on its node.
const ADDRESS: &str = "127.0.0.1:10476";

/// How long a scrape may take: Prometheus' own default is 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// The samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape(Vec<Sample>);

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A sample and its time, which nobody asks for.
#[derive(Deserialize)]
struct Answer {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Scrape {
    /// Scrapes the driver of `node`.
    pub fn of(node: &Node) -> Result<Self> {
        node.place.run(Self::here)?
    }

    /// Scrapes the driver in the network namespace of this thread.
    pub fn here() -> Result<Self> {
        let reply = get().context("cannot scrape the driver")?;
        let (head, body) = reply.split_once("\r\n\r\n").context("no HTTP reply")?;
        ensure!(head.contains(" 200 "), "/metrics answers {head}");
        Self::parse(body)
    }

    /// What Prometheus answered to an instant query, in the JSON of its API.
    pub fn answered(vector: &str) -> Result<Self> {
        let vector: Vec<Answer> = serde_json::from_str(vector).context("no vector")?;
        let sample = |Answer { mut metric, value }: Answer| {
            Ok(Sample {
                name: metric.remove("__name__").unwrap_or_default(),
                labels: metric,
                value: value.1.parse()?,
            })
        };
        vector
            .into_iter()
            .map(sample)
            .collect::<Result<_>>()
            .map(Self)
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(sample).collect::<Result<_>>().map(Self)
    }

    /// The names of all samples.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|sample| sample.name.as_str()).collect()
    }

    /// The samples of a name that have `labels`.
    pub fn all<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| {
                sample
                    .labels
                    .get(*label)
                    .is_some_and(|found| found == value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The value of the only sample of a name that has `labels`.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.all(name, labels);
        let value = found.next()?.value;
        found.next().is_none().then_some(value)
    }

    /// The same, of a counter.
    pub fn whole(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        // A scrape's counters are written as whole numbers.
        format!("{:.0}", self.value(name, labels)?).parse().ok()
    }

    /// The traffic of a pod's interface.
    pub fn totals(&self, pod_uid: &str, interface: &str) -> Option<Totals> {
        let of = |what: &str| {
            let name = format!("netclaim_interface_{what}_total");
            self.whole(&name, &[("pod_uid", pod_uid), ("interface", interface)])
        };
        Some(Totals {
            rx_bytes: of("receive_bytes")?,
            rx_packets: of("receive_packets")?,
            tx_bytes: of("transmit_bytes")?,
            tx_packets: of("transmit_packets")?,
        })
    }
}

fn get() -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

fn sample(line: &str) -> Result<Sample> {
    let parsed = || {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}')?.trim_end_matches(',');
        let labels = labels.split_terminator("\",").map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        Some(Sample {
            name: name.to_owned(),
            labels: labels.collect::<Option<_>>()?,
            value: value.parse().ok()?,
        })
    };
    parsed().with_context(|| format!("no sample: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::Scrape;

    #[test]
    fn a_scrape_is_read() {
        let text = "# HELP a b\na_total{x=\"1\",y=\"z,w\"} 3\na_total{x=\"2\",y=\"\"} 4\nb 5.5\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!(scrape.value("a_total", &[("x", "1")]), Some(3.0));
        assert_eq!(scrape.value("a_total", &[("y", "z,w")]), Some(3.0));
        assert_eq!(scrape.value("a_total", &[]), None, "two samples have it");
        assert_eq!(scrape.value("b", &[]), Some(5.5));
        assert!(Scrape::parse("a{x=1} 2").is_err());
    }

    #[test]
    fn an_answer_is_read() {
        let text = r#"[{"metric":{"__name__":"a","x":"1"},"value":[1.5,"3"]},{"metric":{},"value":[1.5,"4"]}]"#;
        let answer = Scrape::answered(text).unwrap();
        assert_eq!(answer.value("a", &[("x", "1")]), Some(3.0));
        assert_eq!(answer.value("", &[]), Some(4.0));
    }
}
