use netclaim_core::claim::policy::ConfigSource;

use super::*;

const TALK: &str = "
apiVersion: resource.k8s.io/v1beta1
kind: ResourceClaimTemplate
metadata:
  name: macvlan-eth1-attachment
  namespace: default
spec:
  spec:
    devices:
      config:
      - opaque:
          driver: cni.dra.networking.x-k8s.io
          parameters:
            apiVersion: cni.networking.x-k8s.io/v1alpha1
            config:
              cniVersion: 1.0.0
              name: macvlan-eth1
              plugins:
              - ipam:
                  ranges:
                  - - subnet: 10.10.1.0/24
                  type: host-local
                master: eth1
                mode: bridge
                type: macvlan
            ifName: net1
            kind: CNI
        requests:
        - macvlan-eth1
      requests:
      - adminAccess: true
        allocationMode: ExactCount
        deviceClassName: cni.networking.x-k8s.io
        name: macvlan-eth1
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: demo-application}
";

/// `PLUGINS`, `CONFIG` (beside `opaque`) and `REQUEST` are replaced.
const CLAIM: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: media}
spec:
  devices:
    requests:
    - REQUEST
    config:
    - opaque: {driver: gpu.example.com, parameters: {kind: GpuConfig}}
    - CONFIG
      opaque:
        driver: cni.dra.networking.x-k8s.io
        parameters:
          apiVersion: cni.networking.x-k8s.io/v1alpha1
          kind: CNI
          ifName: net1
          config: {cniVersion: 1.0.0, name: media, plugins: [PLUGINS]}
";

fn claim(plugins: &str, config: &str, request: &str) -> String {
    CLAIM
        .replace("PLUGINS", plugins)
        .replace("CONFIG", config)
        .replace("REQUEST", request)
}

fn printed(text: &str, policy: &Policy) -> String {
    let driver = "cni.dra.networking.x-k8s.io".parse().unwrap();
    let reports = validate(text, &driver, policy).unwrap();
    let mut out = Vec::new();
    print(&reports, &mut out).unwrap();
    print_sum(&reports, &driver, &mut out).unwrap();
    let refused = reports.iter().any(Report::is_refused);
    format!("{}refused: {refused}\n", String::from_utf8(out).unwrap())
}

fn check(text: &str, expected: &str) {
    assert_eq!(printed(text, &Policy::default()), expected);
}

const EXACTLY: &str = "{name: nic, exactly: {deviceClassName: fast}}";

#[test]
fn the_talks_template_is_accepted() {
    check(
        TALK,
        "ok       ResourceClaimTemplate default/macvlan-eth1-attachment, \
         spec.spec.devices.config[0]: net1: network macvlan-eth1, macvlan with host-local; the node also \
         refuses its own and its gateway's addresses\n\
         1 checked for driver cni.dra.networking.x-k8s.io, 0 refused\n\
         refused: false\n",
    );
}

#[test]
fn a_refusal_is_in_the_drivers_words() {
    check(
        &claim("{type: macvlan, mode: passthru}", "requests: []", EXACTLY),
        "refused  ResourceClaim default/media, spec.devices.config[1]: config.plugins[0].mode: \
         found \"passthru\", accepted: \"bridge\" or \"private\" or \"vepa\"; correct the value\n\
         1 checked for driver cni.dra.networking.x-k8s.io, 1 refused\n\
         refused: true\n",
    );
}

#[test]
fn requests_are_looked_at_in_both_shapes() {
    let refused = |config: &str, request: &str| {
        let text = printed(
            &claim("{type: macvlan}", config, request),
            &Policy::default(),
        );
        let line = text.lines().next().unwrap();
        line.split("media, ").nth(1).unwrap().to_owned()
    };
    let several = "spec.devices.config[1]: ifName: found \"net1\" for more than one device, \
                   accepted: a template such as \"net%d\"; write a template, or ask for one device \
                   per request";
    for request in [
        "{name: nic, exactly: {deviceClassName: fast, count: 2}}",
        "{name: nic, deviceClassName: fast, allocationMode: All}",
        "{name: nic, firstAvailable: [{name: a, deviceClassName: fast, count: 3}]}",
    ] {
        assert_eq!(refused("requests: [nic]", request), several);
    }
    assert_eq!(
        refused("requests: [nick]", EXACTLY),
        "spec.devices.config[1]: requests: found \"nick\", accepted: requests of the claim, nic; \
         correct the name"
    );
}

#[test]
fn a_request_without_a_configuration_is_noted() {
    let alternatives = "{name: nic, firstAvailable: [{name: a}, {name: b}]}";
    check(
        &claim("{type: macvlan}", "requests: [nic/a]", alternatives),
        "ok       ResourceClaim default/media, spec.devices.config[1]: net1: network media, \
         macvlan\n\
         note     ResourceClaim default/media, spec.devices.requests[0].firstAvailable[1]: it has \
         no configuration here, so its DeviceClass has to have one\n\
         1 checked for driver cni.dra.networking.x-k8s.io, 0 refused\n\
         refused: false\n",
    );
}

#[test]
fn a_class_may_more_and_a_list_is_opened() {
    let class = "
apiVersion: v1
kind: List
items:
- apiVersion: resource.k8s.io/v1
  kind: DeviceClass
  metadata: {name: whole}
  spec:
    config:
    - opaque:
        driver: cni.dra.networking.x-k8s.io
        parameters:
          apiVersion: cni.networking.x-k8s.io/v1alpha1
          kind: CNI
          ifName: net%d
          config: {cniVersion: 1.0.0, name: whole, plugins: [{type: host-device}, {type: tuning}]}
";
    check(
        class,
        "ok       DeviceClass whole, spec.config[0]: net%d: network whole, host-device, tuning\n\
         1 checked for driver cni.dra.networking.x-k8s.io, 0 refused\n\
         refused: false\n",
    );
}

#[test]
fn the_administrators_policy_is_the_nodes() {
    let policy = Policy {
        config_source: ConfigSource::Class,
        ..Policy::default()
    };
    let text = printed(&claim("{type: macvlan}", "requests: []", EXACTLY), &policy);
    assert!(
        text.starts_with(
            "refused  ResourceClaim default/media, spec.devices.config[1]: claim default/media, \
             request nic: found a configuration in the claim"
        ),
        "{text}"
    );
}

#[test]
fn nothing_to_check_is_said() {
    check(
        "kind: Pod\n---\n",
        "no configuration for driver cni.dra.networking.x-k8s.io\nrefused: false\n",
    );
}

#[test]
fn a_configuration_for_another_driver_is_named() {
    let text =
        claim("{type: macvlan}", "", EXACTLY).replace("cni.dra.networking", "cni.dra.netwrking");
    check(
        &text,
        "note     ResourceClaim default/media, spec.devices.config[0]: it is for driver \
         \"gpu.example.com\", so it is not checked\n\
         note     ResourceClaim default/media, spec.devices.config[1]: it is for driver \
         \"cni.dra.netwrking.x-k8s.io\", so it is not checked\n\
         note     ResourceClaim default/media, spec.devices.requests[0]: it has no configuration \
         here, so its DeviceClass has to have one\n\
         no configuration for driver cni.dra.networking.x-k8s.io\n\
         refused: false\n",
    );
}

/// A claim with requests `a`, `b` and `c` (either `c/v` or `c/w`), and these configurations: the
/// requests, the interface's name and the plugin of each.
fn claim_of(configs: &[(&str, &str, &str)]) -> String {
    let config = |(requests, if_name, plugin): &(&str, &str, &str)| {
        format!(
            "    - {{requests: [{requests}], opaque: {{driver: cni.dra.networking.x-k8s.io, parameters: \
             {{apiVersion: cni.networking.x-k8s.io/v1alpha1, kind: CNI, ifName: {if_name}, config: \
             {{cniVersion: 1.0.0, name: media, plugins: [{{type: {plugin}}}]}}}}}}}}\n"
        )
    };
    let configs: String = configs.iter().map(config).collect();
    format!("{REQUESTS}{configs}")
}

const REQUESTS: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: media}
spec:
  devices:
    requests:
    - {name: a, exactly: {deviceClassName: fast}}
    - {name: b, exactly: {deviceClassName: fast}}
    - {name: c, firstAvailable: [{name: v}, {name: w}]}
    config:
";

/// What is said to each configuration.
fn said(text: &str) -> Vec<String> {
    let text = printed(text, &Policy::default());
    let lines = text.lines().filter(|line| line.contains(".config["));
    let line = |line: &str| {
        let place = line.find("config[").unwrap();
        format!("{}: {}", line.split(' ').next().unwrap(), &line[place..])
    };
    lines.map(line).collect()
}

#[test]
fn one_name_is_for_one_device_of_a_claim() {
    let ok = |at: usize, name: &str| format!("ok: config[{at}]: {name}: network media, macvlan");
    let several = "refused: config[0]: ifName: found \"net1\" for more than one device, accepted: a \
                   template such as \"net%d\"; write a template, or ask for one device per request";
    let check = |configs: &[(&str, &str)], expected: &[&str]| {
        let configs: Vec<_> = configs
            .iter()
            .map(|(requests, name)| (*requests, *name, "macvlan"))
            .collect();
        assert_eq!(said(&claim_of(&configs)), expected);
    };
    check(&[("a, b", "net1")], &[several]);
    check(&[("", "net1")], &[several]);
    check(&[("a, c/v", "net1")], &[several]);
    check(&[("", "net%d")], &[&ok(0, "net%d")]);
    check(&[("c", "net1")], &[&ok(0, "net1")]);
    check(&[("c/v, c/w", "net1")], &[&ok(0, "net1")]);
    check(
        &[("a", "net1"), ("b", "net1"), ("c", "net2")],
        &[
            &ok(0, "net1"),
            "refused: config[1]: ifName: found \"net1\", which config[0] gives to request a \
             already; choose another name or a template such as \"net%d\"",
            &ok(2, "net2"),
        ],
    );
    check(
        &[("c/v", "net1"), ("c/w", "net1")],
        &[&ok(0, "net1"), &ok(1, "net1")],
    );
    // Of the first, only what the second leaves counts.
    check(
        &[("a, b", "net1"), ("b", "net2")],
        &[&ok(0, "net1"), &ok(1, "net2")],
    );
}

#[test]
fn what_a_later_configuration_replaces_whole_is_not_looked_at() {
    let bad = |requests| (requests, "net1", "vlan");
    let replaced =
        |at: &str| format!("note: config[0]: it is replaced by {at}, so it is not checked");
    let first = |configs: &[_]| said(&claim_of(configs)).remove(0);
    let good = ("a", "net1", "macvlan");
    assert_eq!(first(&[bad("a"), good]), replaced("config[1]"));
    assert_eq!(
        first(&[bad("a, b"), good, ("b", "net2", "macvlan")]),
        replaced("config[1] and config[2]")
    );
    assert!(first(&[bad("a, b"), good]).starts_with("refused: config[0]: config.plugins[0].type"));
    assert!(first(&[good, bad("a")]).starts_with("note: "));
    let unknown = ("d", "net1", "macvlan");
    assert!(first(&[unknown, good]).starts_with("refused: config[0]: requests: found \"d\""));
}

#[test]
fn names_cannot_speak_for_the_driver() {
    let hostile = r#"{name: "media\nok       \e[32mResourceClaim\x9b \u202e"}"#;
    let text = claim("{type: macvlan}", "requests: []", EXACTLY).replace("{name: media}", hostile);
    let text = printed(&text, &Policy::default());
    assert!(
        text.starts_with(
            "ok       ResourceClaim default/media\\u{a}ok       \\u{1b}[32mResourceClaim\\u{9b} \
             \\u{202e}, spec.devices.config[1]: net1: "
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3);
    let driver = r#""cni\e[32m""#;
    let text = claim("{type: macvlan}", "requests: []", EXACTLY)
        .replace("cni.dra.networking.x-k8s.io", driver);
    let text = printed(&text, &Policy::default());
    assert!(!text.contains('\x1b'), "{text:?}");
}

/// What is written instead of what, and the words.
const FORMS: &[(&str, &str, &str)] = &[
    (
        "requests: []",
        "requests: [1, 2]",
        "spec.devices.config[1].requests[0]: found 1, accepted: the name of a request",
    ),
    (
        "requests: []",
        "requests: nic",
        "spec.devices.config[1].requests: found \"nic\", accepted: a list",
    ),
    (
        EXACTLY,
        "{name: Nic}",
        "spec.devices.requests[0].name: found \"Nic\", accepted: a name of 1 to 63 characters \
             of a-z 0-9 -",
    ),
    (
        EXACTLY,
        "nic",
        "spec.devices.requests[0]: found \"nic\", accepted: an object",
    ),
    (
        EXACTLY,
        "{name: nic, firstAvailable: {name: a}}",
        "spec.devices.requests[0].firstAvailable: found {\"name\":\"a\"}, accepted: a list",
    ),
    (
        "kind: ResourceClaim",
        "kind: ResourceClaimTemplate",
        "spec.spec: found nothing, accepted: an object",
    ),
    (
        "kind: ResourceClaim",
        "kind: resourceclaim",
        "kind: found \"resourceclaim\", accepted: ResourceClaim",
    ),
    (
        "apiVersion: resource.k8s.io/v1",
        "apiversion: resource.k8s.io/v1",
        "apiVersion: found nothing, accepted: resource.k8s.io/v1",
    ),
    (
        "{driver: gpu.example.com, parameters: {kind: GpuConfig}}",
        "gpu.example.com",
        "spec.devices.config[0].opaque: found \"gpu.example.com\", accepted: an object of driver, \
             parameters",
    ),
];

#[test]
fn what_has_not_the_apis_form_is_refused_with_its_place() {
    let good = claim("{type: macvlan}", "requests: []", EXACTLY);
    let check = |from: &str, to: &str, expected: &str| {
        assert!(good.contains(from), "{from}");
        let text = printed(&good.replacen(from, to, 1), &Policy::default());
        let line = text.lines().next().unwrap();
        let words = line.strip_prefix("refused  ").unwrap_or(line);
        let words = words
            .split_once("media, ")
            .map_or(words, |(_, words)| words);
        assert_eq!(words, format!("{expected}; correct the manifest"));
        assert!(text.ends_with("1 refused\nrefused: true\n"), "{text}");
    };
    for (from, to, expected) in FORMS {
        check(from, to, expected);
    }
    let map = good.split("    - opaque").next().unwrap().to_owned() + "      opaque: {}\n";
    let text = printed(&map, &Policy::default());
    assert!(
        text.contains("spec.devices.config: found {\"opaque\":{}}, accepted: a list"),
        "{text}"
    );
}

#[test]
fn flows_are_accepted_and_need_no_note() {
    let text = claim("{type: macvlan}", "requests: []", EXACTLY);
    let with = |observe: &str| {
        let text = text.replace("kind: CNI\n", &format!("kind: CNI\n          {observe}\n"));
        printed(&text, &Policy::default())
    };
    assert_eq!(with("observe: {flows: true}"), with(""));
}

#[test]
fn a_kind_of_another_group_is_not_ours() {
    check(
        "apiVersion: example.com/v1\nkind: DeviceClass\nmetadata: {name: a}\n",
        "note     DeviceClass a, apiVersion: it is not of group resource.k8s.io, so it is not \
         checked\n\
         no configuration for driver cni.dra.networking.x-k8s.io\nrefused: false\n",
    );
}

#[test]
fn a_list_without_a_list_is_refused() {
    let said = |text: &str| {
        let text = printed(text, &Policy::default());
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        said("kind: List\nitems: {kind: DeviceClass}\n"),
        "refused  List, items: found {\"kind\":\"DeviceClass\"}, accepted: a list; correct the manifest"
    );
    assert_eq!(
        said("kind: ResourceClaimList\n"),
        "refused  ResourceClaimList, items: found nothing, accepted: a list; correct the manifest"
    );
    let other = "no configuration for driver cni.dra.networking.x-k8s.io";
    assert_eq!(said("kind: List\nitems: []\n"), other);
    assert_eq!(said("kind: AllowList\n"), other);
}

#[test]
fn what_is_no_yaml_is_no_manifest() {
    let driver = "a".parse().unwrap();
    let error = validate("kind: Pod\na: [", &driver, &Policy::default()).unwrap_err();
    let words = "line 2, column 4: found what is no YAML, expected manifests; correct it there: ";
    assert!(error.to_string().starts_with(words), "{error}");
}
