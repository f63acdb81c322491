//! One object of a manifest: which of its configurations count for which request, and what the
//! driver says to them.

use std::collections::BTreeSet;

use netclaim_core::{
    claim::{
        ClaimRef,
        config::{self, Config, Template},
        object::{DeviceConfig, Source},
        policy::{ConfigSource, Policy, Target},
        refusal::{Asked, Refusal},
    },
    name::{ClaimName, ClaimUid, DriverName, IfName, NameError, Namespace, RequestName},
};
use serde_json::Value;

use super::{
    Report, Verdict,
    shape::{Devices, Request, Wrong},
};

/// Kinds that may hold configurations, where, and who writes them.
const KINDS: [(&str, &str, Source); 3] = [
    ("ResourceClaim", "spec.devices", Source::Claim),
    ("ResourceClaimTemplate", "spec.spec.devices", Source::Claim),
    ("DeviceClass", "spec", Source::Class),
];

/// Whether a kind is that of a list which may hold such objects.
pub(super) fn is_list(kind: &str) -> bool {
    let of_ours = |of: &str| KINDS.iter().any(|(kind, ..)| *kind == of);
    kind.strip_suffix("List")
        .is_some_and(|of| of.is_empty() || of_ours(of))
}

/// An object that may hold configurations.
pub(super) struct Manifest<'a> {
    object: &'a Value,
    kind: &'static str,
    /// Where `config` and `requests` are.
    pointer: &'static str,
    source: Source,
}

impl<'a> Manifest<'a> {
    /// The object, if it is of such a kind, in whatever case that is written.
    pub(super) fn of(object: &'a Value) -> Option<Self> {
        let found = object["kind"].as_str()?;
        let mut kinds = KINDS.into_iter();
        let (kind, pointer, source) = kinds.find(|(kind, ..)| kind.eq_ignore_ascii_case(found))?;
        Some(Self {
            object,
            kind,
            pointer,
            source,
        })
    }

    /// What is said to it: one report if it is not understood, else one for each configuration.
    pub(super) fn reports(&self, driver: &DriverName, policy: &Policy) -> Vec<Report> {
        match self.devices() {
            Ok(Some(devices)) => Check {
                manifest: self,
                devices: &devices,
                driver,
                policy,
            }
            .reports(),
            Ok(None) => {
                let text = "it is not of group resource.k8s.io, so it is not checked";
                vec![self.report("apiVersion", Verdict::Note(text.to_owned()))]
            }
            Err(wrong) => {
                let words = wrong.to_string();
                vec![self.report(&wrong.place, Verdict::Refused(words))]
            }
        }
    }

    /// None if another group calls its kind so.
    fn devices(&self) -> Result<Option<Devices>, Wrong> {
        let version = &self.object["apiVersion"];
        let Some(text) = version.as_str() else {
            return Err(Wrong::new("apiVersion", version, "resource.k8s.io/v1"));
        };
        if !text.starts_with("resource.k8s.io/") {
            return Ok(None);
        }
        if self.object["kind"] != self.kind {
            return Err(Wrong::new("kind", &self.object["kind"], self.kind));
        }
        Devices::read(self.object, self.pointer, self.source).map(Some)
    }

    fn report(&self, place: &str, verdict: Verdict) -> Report {
        let name = self.object["metadata"]["name"].as_str().unwrap_or("?");
        let subject = match self.source {
            Source::Class => format!("{} {name}", self.kind),
            Source::Claim => format!("{} {}/{name}", self.kind, self.namespace()),
        };
        Report {
            subject,
            place: place.to_owned(),
            verdict,
        }
    }

    fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default")
    }
}

/// A look at one object with the driver's eyes.
struct Check<'a> {
    manifest: &'a Manifest<'a>,
    devices: &'a Devices,
    driver: &'a DriverName,
    policy: &'a Policy,
}

impl Check<'_> {
    fn reports(&self) -> Vec<Report> {
        // A mistyped driver's name would else look like a claim without configuration.
        let all_foreign = !self
            .devices
            .configs
            .iter()
            .any(|config| self.is_ours(config));
        let mut names = Vec::new();
        let mut reports = Vec::new();
        for (at, config) in self.devices.configs.iter().enumerate() {
            let verdict = if self.is_ours(config) {
                self.verdict(at, config, &mut names)
            } else if all_foreign {
                let other = config.opaque.as_ref().map_or("", |opaque| &opaque.driver);
                Verdict::Note(format!(
                    "it is for driver \"{other}\", so it is not checked"
                ))
            } else {
                continue;
            };
            let place = format!("{}.config[{at}]", self.manifest.pointer);
            reports.push(self.manifest.report(&place, verdict));
        }
        let requests = self.devices.requests.iter();
        reports.extend(
            requests
                .filter(|request| self.chosen(&request.name).is_none())
                .map(|request| {
                    let text = "it has no configuration here, so its DeviceClass has to have one";
                    let note = Verdict::Note(text.to_owned());
                    self.manifest.report(&request.place, note)
                }),
        );
        reports
    }

    fn is_ours(&self, config: &DeviceConfig) -> bool {
        let opaque = config.opaque.as_ref();
        opaque.is_some_and(|opaque| opaque.driver == self.driver.as_str())
    }

    /// The place of the configuration that counts for a request.
    fn chosen(&self, request: &RequestName) -> Option<usize> {
        config::chosen(&self.devices.configs, self.driver, request).map(|(at, _)| at)
    }

    /// `names` are those of the configurations before, with the requests that have them.
    fn verdict<'s>(
        &'s self,
        at: usize,
        config: &DeviceConfig,
        names: &mut Vec<(IfName, usize, Vec<&'s Request>)>,
    ) -> Verdict {
        if let Some(words) = self.unknown_request(config) {
            return Verdict::Refused(words);
        }
        if let Some(later) = self.replaced(at, config) {
            return Verdict::Note(format!("it is replaced by {later}, so it is not checked"));
        }
        let requests = self.devices.requests.iter();
        let served: Vec<&Request> = requests
            .filter(|request| self.chosen(&request.name) == Some(at))
            .collect();
        let config = match self.read(config, &served) {
            Ok(config) => config,
            Err(words) => return Verdict::Refused(words),
        };
        if let Template::Fixed(name) = &config.if_name {
            if let Some(words) = taken(name, &served, names) {
                return Verdict::Refused(words);
            }
            names.push((name.clone(), at, served));
        }
        if self.manifest.source == Source::Claim && names_addresses(&config) {
            return Verdict::Accepted(format!("{}; {AT_THE_NODE}", summary(&config)));
        }
        Verdict::Accepted(summary(&config))
    }

    fn unknown_request(&self, config: &DeviceConfig) -> Option<String> {
        if self.manifest.source == Source::Class {
            return None;
        }
        let all = || self.devices.requests.iter().map(|request| &request.name);
        let known = |name: &&String| {
            !all().any(|request| config::covers(std::slice::from_ref(*name), request))
        };
        let name = config.requests.iter().find(known)?;
        let all: Vec<&str> = all().map(RequestName::as_str).collect();
        Some(format!(
            "requests: found \"{name}\", accepted: requests of the claim, {}; correct the name",
            all.join(", ")
        ))
    }

    /// The later configurations that count instead, if this one counts for no request.
    fn replaced(&self, at: usize, config: &DeviceConfig) -> Option<String> {
        let later: BTreeSet<usize> = match self.manifest.source {
            Source::Class => {
                let configs = self.devices.configs.iter().enumerate();
                let last = configs.rev().find(|(_, other)| self.is_ours(other));
                last.map(|(last, _)| last).into_iter().collect()
            }
            Source::Claim => {
                let requests = self.devices.requests.iter();
                requests
                    .filter(|request| config::covers(&config.requests, &request.name))
                    .filter_map(|request| self.chosen(&request.name))
                    .collect()
            }
        };
        let words: Vec<String> = later.iter().map(|at| format!("config[{at}]")).collect();
        (!later.is_empty() && !later.contains(&at)).then(|| words.join(" and "))
    }

    fn read(&self, config: &DeviceConfig, served: &[&Request]) -> Result<Config, String> {
        let manifest = self.manifest;
        let namespace =
            Namespace::parse(manifest.namespace()).map_err(|error| error.to_string())?;
        if manifest.source == Source::Claim && self.policy.config_source == ConfigSource::Class {
            let refusal = self.claims_own(namespace, served);
            return Err(refusal.map_or_else(|error| error.to_string(), |words| words.to_string()));
        }
        let target = Target {
            source: manifest.source,
            namespace: &namespace,
            link: None,
            mode: None,
            held_by_node: false,
            admin_access: served.iter().any(|request| request.admin_access),
            node: None,
        };
        let parameters = config.opaque.as_ref().map(|opaque| &opaque.parameters);
        let config = config::parse(parameters.unwrap_or(&Value::Null), self.policy, &target)
            .map_err(|offence| offence.to_string())?;
        let of_one = |request: &&Request| request.at == served[0].at && !request.several;
        if !served.iter().all(of_one) {
            config
                .for_several()
                .map_err(|offence| offence.to_string())?;
        }
        Ok(config)
    }

    fn claims_own(&self, namespace: Namespace, served: &[&Request]) -> Result<Refusal, NameError> {
        let name = &self.manifest.object["metadata"]["name"];
        let request = served.first().map(|request| request.name.clone());
        Ok(Refusal::ClaimConfig {
            asked: Asked {
                claim: ClaimRef {
                    namespace,
                    name: ClaimName::parse(name.as_str().unwrap_or_default())?,
                    uid: ClaimUid::parse("offline")?,
                },
                request: request.map_or_else(|| RequestName::parse(""), Ok)?,
            },
        })
    }
}

/// Says which request of the claim has the name already. Of alternatives, one is allocated only.
fn taken(
    name: &IfName,
    served: &[&Request],
    before: &[(IfName, usize, Vec<&Request>)],
) -> Option<String> {
    let apart = |others: &[&Request]| {
        let mut others = others.iter();
        others.find_map(|other| {
            let both = served.iter().any(|request| request.at != other.at);
            both.then(|| other.name.clone())
        })
    };
    let mut same = before.iter().filter(|(other, ..)| other == name);
    same.find_map(|(_, at, others)| {
        let request = apart(others)?;
        Some(format!(
            "ifName: found \"{name}\", which config[{at}] gives to request {request} already; \
             choose another name or a template such as \"net%d\""
        ))
    })
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
