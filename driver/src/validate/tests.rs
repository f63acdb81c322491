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
    print(&reports, &driver, &mut out).unwrap();
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

#[test]
fn what_is_no_yaml_is_no_manifest() {
    let driver = "a".parse().unwrap();
    let error = validate("a: [", &driver, &Policy::default()).unwrap_err();
    assert!(
        error.to_string().starts_with("not a YAML manifest: "),
        "{error}"
    );
}
