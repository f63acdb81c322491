//! `netclaim validate`: configurations of a manifest, checked offline in the driver's own words.
//!
//! Reads what users write (claims, templates, classes), not what the scheduler made of it, so what
//! depends on the allocated device is left to the node. It never talks to a cluster.

use std::io;

use netclaim_core::{
    claim::{
        ClaimRef,
        config::{self, Config},
        object::Source,
        policy::{ConfigSource, Policy, Target},
        refusal::{Asked, Refusal},
    },
    name::{ClaimName, ClaimUid, DriverName, NameError, Namespace, RequestName},
};
use serde_json::Value;

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
    #[error("not a YAML manifest: {0}")]
    Yaml(Box<serde_saphyr::Error>),
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
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ValidateError::Yaml(Box::new(error)))?;
    let objects = documents.iter().flat_map(items);
    let manifests = objects.filter_map(Manifest::of);
    Ok(manifests
        .flat_map(|manifest| manifest.reports(driver, policy))
        .collect())
}

/// Prints one line for each report, and the sum.
pub fn print(reports: &[Report], driver: &DriverName, out: &mut impl io::Write) -> io::Result<()> {
    for report in reports {
        let (word, text) = match &report.verdict {
            Verdict::Accepted(text) => ("ok", text),
            Verdict::Refused(text) => ("refused", text),
            Verdict::Note(text) => ("note", text),
        };
        let (subject, place) = (&report.subject, &report.place);
        writeln!(out, "{word:<8} {subject}, {place}: {text}")?;
    }
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

/// The object, or what a `List` holds.
fn items(document: &Value) -> Vec<&Value> {
    match document["items"].as_array() {
        Some(items)
            if document["kind"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("List")) =>
        {
            items.iter().collect()
        }
        _ => vec![document],
    }
}

/// An object that may hold configurations.
struct Manifest<'a> {
    object: &'a Value,
    kind: &'static str,
    /// Where `config` and `requests` are.
    pointer: &'static str,
    source: Source,
}

impl<'a> Manifest<'a> {
    fn of(object: &'a Value) -> Option<Self> {
        if !object["apiVersion"]
            .as_str()?
            .starts_with("resource.k8s.io/")
        {
            return None;
        }
        let (kind, pointer, source) = match object["kind"].as_str()? {
            "ResourceClaim" => ("ResourceClaim", "spec.devices", Source::Claim),
            "ResourceClaimTemplate" => {
                ("ResourceClaimTemplate", "spec.spec.devices", Source::Claim)
            }
            "DeviceClass" => ("DeviceClass", "spec", Source::Class),
            _ => return None,
        };
        Some(Self {
            object,
            kind,
            pointer,
            source,
        })
    }

    fn reports(&self, driver: &DriverName, policy: &Policy) -> Vec<Report> {
        let spec = self
            .pointer
            .split('.')
            .fold(self.object, |value, key| &value[key]);
        let requests = requests(spec);
        let configs = spec["config"].as_array().map_or(&[][..], Vec::as_slice);
        let ours = |config: &&Value| config["opaque"]["driver"] == driver.as_str();
        // A mistyped driver's name would else look like a claim without configuration.
        let all_foreign = !configs.iter().any(|config| ours(&config));
        let mut reports: Vec<Report> = configs
            .iter()
            .enumerate()
            .filter(|(_, config)| all_foreign || ours(config))
            .map(|(at, config)| {
                let verdict = if all_foreign {
                    let other = &config["opaque"]["driver"];
                    Verdict::Note(format!("it is for driver {other}, so it is not checked"))
                } else {
                    self.verdict(config, &requests, policy)
                };
                self.report(&format!("config[{at}]"), verdict)
            })
            .collect();
        let bare = requests.iter().filter(|request| {
            let mut ours = configs.iter().filter(ours);
            !ours.any(|config| request.is_covered(&names(config)))
        });
        reports.extend(bare.map(|request| {
            let text = "it has no configuration here, so its DeviceClass has to have one";
            self.report(&request.place, Verdict::Note(text.to_owned()))
        }));
        reports
    }

    fn report(&self, place: &str, verdict: Verdict) -> Report {
        let name = self.object["metadata"]["name"].as_str().unwrap_or("?");
        let subject = match self.source {
            Source::Class => format!("{} {name}", self.kind),
            Source::Claim => format!("{} {}/{name}", self.kind, self.namespace()),
        };
        Report {
            subject,
            place: format!("{}.{place}", self.pointer),
            verdict,
        }
    }

    fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default")
    }

    fn verdict(&self, config: &Value, requests: &[Request], policy: &Policy) -> Verdict {
        let names = names(config);
        let known = |name: &&String| requests.iter().any(|request| request.is_called(name));
        if self.source == Source::Claim
            && let Some(name) = names.iter().find(|name| !known(name))
        {
            let all: Vec<&str> = requests
                .iter()
                .map(|request| request.name.as_str())
                .collect();
            let all = all.join(", ");
            return Verdict::Refused(format!(
                "requests: found \"{name}\", accepted: requests of the claim, {all}; correct the \
                 name"
            ));
        }
        let covered: Vec<&Request> = requests
            .iter()
            .filter(|request| request.is_covered(&names))
            .collect();
        match self.read(config, &covered, policy) {
            Ok(config) if self.source == Source::Claim && names_addresses(&config) => {
                Verdict::Accepted(format!("{}; {AT_THE_NODE}", summary(&config)))
            }
            Ok(config) => Verdict::Accepted(summary(&config)),
            Err(words) => Verdict::Refused(words),
        }
    }

    fn read(
        &self,
        config: &Value,
        covered: &[&Request],
        policy: &Policy,
    ) -> Result<Config, String> {
        let namespace = Namespace::parse(self.namespace()).map_err(|error| error.to_string())?;
        if self.source == Source::Claim && policy.config_source == ConfigSource::Class {
            let refusal = self.claims_own(namespace, covered);
            return Err(refusal.map_or_else(|error| error.to_string(), |words| words.to_string()));
        }
        let target = Target {
            source: self.source,
            namespace: &namespace,
            link: None,
            mode: None,
            held_by_node: false,
            admin_access: covered.iter().any(|request| request.admin_access),
            node: None,
        };
        let config = config::parse(&config["opaque"]["parameters"], policy, &target)
            .map_err(|offence| offence.to_string())?;
        if covered.iter().any(|request| request.several) {
            config
                .for_several()
                .map_err(|offence| offence.to_string())?;
        }
        Ok(config)
    }

    fn claims_own(&self, namespace: Namespace, covered: &[&Request]) -> Result<Refusal, NameError> {
        let name = self.object["metadata"]["name"].as_str().unwrap_or_default();
        let request = covered.first().map_or("", |request| request.name.as_str());
        Ok(Refusal::ClaimConfig {
            asked: Asked {
                claim: ClaimRef {
                    namespace,
                    name: ClaimName::parse(name)?,
                    uid: ClaimUid::parse("offline")?,
                },
                request: RequestName::parse(request)?,
            },
        })
    }
}

/// A request, or one of its alternatives, as a claim asks for it.
struct Request {
    name: String,
    place: String,
    several: bool,
    admin_access: bool,
}

impl Request {
    fn new(name: String, place: String, asked: &Value) -> Self {
        Self {
            name,
            place,
            several: asked["count"].as_u64().is_some_and(|count| count > 1)
                || asked["allocationMode"] == "All",
            admin_access: asked["adminAccess"] == true,
        }
    }

    fn is_covered(&self, names: &[String]) -> bool {
        RequestName::parse(self.name.as_str()).is_ok_and(|name| config::covers(names, &name))
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split('/').next() == Some(name)
    }
}

/// `v1` says `exactly` or `firstAvailable`; `v1beta1` says the former's fields at once.
fn requests(spec: &Value) -> Vec<Request> {
    let listed = spec["requests"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate();
    listed
        .flat_map(|(at, request)| {
            let name = request["name"].as_str().unwrap_or_default();
            let place = format!("requests[{at}]");
            let Some(alternatives) = request["firstAvailable"].as_array() else {
                let exactly = request.get("exactly").unwrap_or(request);
                return vec![Request::new(name.to_owned(), place, exactly)];
            };
            alternatives
                .iter()
                .enumerate()
                .map(|(sub, asked)| {
                    let own = asked["name"].as_str().unwrap_or_default();
                    let place = format!("{place}.firstAvailable[{sub}]");
                    Request::new(format!("{name}/{own}"), place, asked)
                })
                .collect()
        })
        .collect()
}

fn names(config: &Value) -> Vec<String> {
    let names = config["requests"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What is not known here: which addresses are the node's.
const AT_THE_NODE: &str = "the node also refuses its own and its gateway's addresses";

/// Whether a configuration says which addresses the pod gets.
fn names_addresses(config: &Config) -> bool {
    let plugins = config.network.plugins();
    !config.runtime_config.is_empty() || plugins.iter().any(|plugin| plugin.ipam_type().is_some())
}

/// `net1: network media, macvlan with host-local, tuning`.
fn summary(config: &Config) -> String {
    let plugins = config
        .network
        .plugins()
        .iter()
        .map(|plugin| match plugin.ipam_type() {
            Some(ipam) => format!("{} with {ipam}", plugin.plugin_type()),
            None => plugin.plugin_type().to_owned(),
        });
    let plugins: Vec<String> = plugins.collect();
    let network = config.network.name();
    format!(
        "{}: network {network}, {}",
        config.if_name,
        plugins.join(", ")
    )
}

#[cfg(test)]
mod tests;
