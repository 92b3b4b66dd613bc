//! The configuration file and its reload (KMS2-CFG, RELOAD).

use std::time::Duration;

use kms_apiserver::config::{Config, content_hash};
use kms_apiserver::grpc::Method;
use kms_apiserver::options::Options;
use kms_apiserver::seam::GroupResource;
use kms_apiserver::version::Version;

use crate::lab::{CONFIG, KEY, Lab, Mode, Plugin, SOCKET, millis, options, seconds};
use crate::state::object_of;

const HEAD: &str = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n";
const TWO: &str = "/run/kms/two.sock";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text.as_bytes(), &options(37))
}

fn kms(fields: &str) -> String {
    format!("{HEAD}resources: [{{resources: [secrets], providers: [{{kms: {{{fields}}}}}]}}]")
}

fn resources(lists: &[&[&str]]) -> String {
    let entries: Vec<String> = lists
        .iter()
        .map(|list| {
            let names: Vec<String> = list.iter().map(|name| format!("'{name}'")).collect();
            format!(
                "{{resources: [{}], providers: [{{identity: {{}}}}]}}",
                names.join(", ")
            )
        })
        .collect();
    format!("{HEAD}resources: [{}]", entries.join(", "))
}

fn error_of(config: &str) -> String {
    Lab::new().try_load(config, options(37)).unwrap_err()
}

fn reloading() -> Options {
    let mut options = options(37);
    options.reload = true;
    options
}

fn with_two() -> String {
    CONFIG.replace(
        "      - identity",
        &format!(
            "      - kms: {{apiVersion: v2, name: two, endpoint: 'unix://{TWO}'}}\n      - identity"
        ),
    )
}

#[test]
fn kms2_cfg_01_fields_and_defaults() {
    let config = parse(&kms(
        "name: a, endpoint: 'unix:///x', timeout: null, cachesize: null, apiVersion: ''",
    ));
    let config = config.unwrap();
    let entry = config.entries[0].providers[0].kms.as_ref().unwrap();
    assert_eq!(
        (entry.api_version.as_str(), entry.cache_size),
        ("v1", Some(1000))
    );
    assert_eq!(entry.timeout(), seconds(3));
    let v2 = parse(CONFIG).unwrap();
    assert_eq!(
        v2.entries[0].providers[0].kms.as_ref().unwrap().cache_size,
        None
    );
    // JSON, the kind's old name, and the first of several documents.
    let json = r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"identity":{}}]}]}"#;
    assert!(parse(json).is_ok());
    let old = resources(&[&["secrets"]]).replace(HEAD, "kind: EncryptionConfig\napiVersion: v1\n");
    assert!(parse(&old).is_ok());
    assert_eq!(
        parse(&format!("{CONFIG}---\n{{")).unwrap(),
        parse(CONFIG).unwrap()
    );
    assert!(
        parse(&CONFIG.replace("/v1", "/v2"))
            .unwrap_err()
            .contains("no kind")
    );
    // A key by reference, as YAML has it.
    let shared = CONFIG
        .replace("name: lab", "name: &name lab")
        .replace("[secrets]", "[secrets]");
    assert!(parse(&shared).is_ok());
}

#[test]
fn kms2_cfg_02_names() {
    for good in ["a b", "キー", "a/b", "*"] {
        assert!(
            parse(&kms(&format!(
                "apiVersion: v2, name: '{good}', endpoint: 'unix:///x'"
            )))
            .is_ok()
        );
    }
    let colon = parse(&kms("apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'")).unwrap_err();
    assert!(
        colon.ends_with("invalid KMS provider name a:b, must not contain ':'"),
        "{colon}"
    );
    let none = parse(&kms("apiVersion: v2, endpoint: 'unix:///x'")).unwrap_err();
    assert!(none.ends_with("kms.name: Required value: name is a mandatory field for a provider"));
    assert!(
        parse(&kms("name: 'a:b', endpoint: 'unix:///x'")).is_ok(),
        "v1 may"
    );
}

#[test]
fn kms2_cfg_03_names_are_unique_looking_back() {
    let entry = |version: &str| {
        format!("{{kms: {{apiVersion: {version}, name: foo, endpoint: 'unix:///x'}}}}")
    };
    for (first, second, reload, good) in [
        ("v2", "v2", false, false),
        ("v1", "v2", false, false),
        ("v2", "v1", false, true),
        ("v1", "v1", false, true),
        ("v2", "v1", true, false),
        ("v1", "v1", true, false),
    ] {
        let config = format!(
            "{HEAD}resources: [{{resources: [secrets], providers: [{}]}}, {{resources: [configmaps], providers: [{}]}}]",
            entry(first),
            entry(second)
        );
        let mut options = options(37);
        options.reload = reload;
        let parsed = Config::parse(config.as_bytes(), &options);
        assert_eq!(
            parsed.is_ok(),
            good,
            "{first} {second} {reload}: {parsed:?}"
        );
    }
}

#[test]
fn kms2_cfg_04_the_fields_of_a_v2_entry() {
    let check = |fields: &str| {
        let base = "apiVersion: v2, name: a, endpoint: 'unix:///x'";
        parse(&kms(&format!("{base}, {fields}")))
            .err()
            .unwrap_or_default()
    };
    assert!(
        check("cachesize: 10")
            .ends_with("kms.cachesize: Invalid value: 10: cachesize is not supported in v2")
    );
    assert!(
        check("timeout: 0s")
            .ends_with("kms.timeout: Invalid value: \"0s\": timeout should be a positive value")
    );
    assert!(check("timeout: -1s").contains("Invalid value: \"-1s\""));
    assert!(check("timeout: abc").ends_with("time: invalid duration \"abc\""));
    assert!(check("timeout: 3").contains("cannot unmarshal number into Go struct field KMSConfiguration.resources.providers.kms.timeout of type string"));
    assert_eq!(check("timeout: 1ns"), "");
    let wrong = parse(&kms("apiVersion: v3, name: a, endpoint: 'unix:///x'")).unwrap_err();
    assert!(wrong.ends_with("kms.apiVersion: Invalid value: \"v3\": unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"), "{wrong}");
    assert!(
        check("name: b").contains("key \"name\" already set in map"),
        "{}",
        check("name: b")
    );
}

#[test]
fn kms2_cfg_05_one_provider_in_an_element() {
    let with = |providers: &str| {
        parse(&format!(
            "{HEAD}resources: [{{resources: [secrets], providers: {providers}}}]"
        ))
    };
    assert!(
        with("[{}]")
            .unwrap_err()
            .contains("provider does not contain any of the expected providers")
    );
    let two =
        with("[{identity: {}, aesgcm: {keys: [{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}}]")
            .unwrap_err();
    assert!(
        two.contains("more than one provider specified in a single element"),
        "{two}"
    );
    assert!(!two.contains("MDEyMzQ1"), "no key in an error");
    assert!(
        with("[]")
            .unwrap_err()
            .contains("providers: Required value")
    );
    assert!(
        parse(&resources(&[&[]]))
            .unwrap_err()
            .contains("resources: Required value")
    );
    assert!(
        parse(HEAD)
            .unwrap_err()
            .ends_with("resources: Required value: at least one resources is required")
    );
}

#[test]
fn kms2_cfg_06_resources() {
    for (list, why) in [
        (&["Secrets"][..], "should not contain capital letters"),
        (
            &["*"],
            "use '*.' to encrypt all the resources from core API group",
        ),
        (
            &["secrets.*"],
            "encrypting the same resource across groups is not supported",
        ),
        (
            &["secrets", "secrets"],
            "the same resource cannot be specified multiple times",
        ),
        (&["secrets", "*."], "using overlapping resources"),
        (
            &["*.apps", "deployments.apps"],
            "using overlapping resources",
        ),
        (
            &["events.events.k8s.io"],
            "are stored using the 'events' API group",
        ),
        (
            &["ingresses.extensions"],
            "'extensions' group has been removed",
        ),
        (&["serviceipallocations"], "do not have REST API/s"),
    ] {
        let error = error_of(&resources(&[list]));
        assert!(error.contains(why), "{list:?}: {error}");
    }
    for good in [
        &["deployments.apps", "deployments"][..],
        &[""],
        &["no such thing"],
        &["*.*"],
    ] {
        assert!(parse(&resources(&[good])).is_ok(), "{good:?}");
    }
    for (first, second, masked) in [
        ("*.", "secrets", true),
        ("*.*", "*.", true),
        ("*.apps", "*.apps", true),
        ("*.", "*.*", false),
        ("secrets", "*.", false),
        ("secrets", "secrets", false),
    ] {
        let config = resources(&[&[first], &[second]]);
        let loaded = Lab::new().try_load(&config, options(37));
        assert_eq!(loaded.is_err(), masked, "{first} {second}");
        if let Err(error) = loaded {
            let text = format!(
                "error while building transformers: resource \"{second}\" is masked by earlier rule \"{first}\""
            );
            assert_eq!(error, text);
        }
    }
}

#[test]
fn kms2_cfg_07_the_closest_rule_wins() {
    let secret = |letter: char| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(vec![letter as u8; 32])
    };
    let rule = |resource: &str, name: char| {
        format!(
            "{{resources: ['{resource}'], providers: [{{secretbox: {{keys: [{{name: {name}, secret: {}}}]}}}}]}}",
            secret(name)
        )
    };
    let config = format!(
        "{HEAD}resources: [{}, {}, {}]",
        rule("secrets", 'e'),
        rule("*.apps", 'g'),
        rule("*.*", 'x')
    );
    let mut lab = Lab::new();
    lab.ready(&config, options(37));
    for (resource, name) in [
        ("secrets", 'e'),
        ("deployments.apps", 'g'),
        ("configmaps", 'x'),
        ("pods.metrics.k8s.io", 'x'),
    ] {
        let stored = lab
            .write_on(0, &GroupResource::parse(resource), KEY, b"v")
            .unwrap();
        assert!(
            stored.starts_with(format!("k8s:enc:secretbox:v1:{name}:").as_bytes()),
            "{resource}"
        );
    }
}

#[test]
fn kms2_cfg_08_each_entry_has_its_own_client() {
    let config = with_two().replace(TWO, SOCKET);
    let mut lab = Lab::new();
    lab.ready(&config, options(37));
    lab.run(seconds(60));
    assert_eq!(lab.dials.len(), 2);
    assert_eq!(lab.count(Method::Status), 4);
    assert_eq!(lab.count(Method::Encrypt), 2);
    let seeds = lab.plugin().seeds.clone();
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn kms2_reload_02_only_the_content_counts() {
    let mut lab = Lab::new();
    lab.ready(CONFIG, reloading());
    lab.run(seconds(180));
    assert_eq!(lab.count(Method::Encrypt), 1, "the same bytes");
    lab.files[0] = Ok(format!("{CONFIG}# changed\n"));
    lab.run(millis(59_900));
    assert_eq!(lab.count(Method::Encrypt), 1, "not before the poll");
    lab.run(millis(200));
    assert_eq!(lab.reloads, [(seconds(240), Ok(()))]);
    // Those that watched the file: told, not polled.
    let mut lab = Lab::new();
    "v2beta1".clone_into(&mut lab.plugin().version);
    let mut old = options(28);
    old.reload = true;
    lab.ready(CONFIG, old);
    lab.files[0] = Ok(format!("{CONFIG}# changed\n"));
    lab.run(seconds(300));
    assert!(lab.reloads.is_empty());
    let now = lab.at();
    lab.server().config_touched(now);
    lab.pump(0);
    lab.run(seconds(1));
    assert_eq!(lab.reloads.len(), 1);
}

#[test]
fn kms2_reload_03_the_hash_by_version() {
    let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (minor, prefix) in [
        (29, ""),
        (30, "k8s:enc:unstable:1:"),
        (33, "k8s:enc:unstable:1:"),
        (34, "sha256:"),
        (37, "sha256:"),
    ] {
        let hash = content_hash(b"abc", Version::new(minor).unwrap());
        assert_eq!(hash, format!("{prefix}{digits}"));
    }
}

#[test]
fn kms2_reload_04_a_window_for_health_then_swap_then_close() {
    let mut lab = Lab::new();
    lab.plugins.insert(TWO.to_owned(), Plugin::default());
    lab.ready(CONFIG, reloading());
    let stored = lab.write(b"x").unwrap();
    lab.plugins.get_mut(TWO).unwrap().healthz = "sick".to_owned();
    lab.files[0] = Ok(with_two());
    lab.run(seconds(65));
    assert!(lab.reloads.is_empty(), "the window lasts 12 s");
    assert_eq!(lab.read(&stored).unwrap().bytes, b"x");
    "ok".clone_into(&mut lab.plugins.get_mut(TWO).unwrap().healthz);
    lab.run(seconds(2));
    let (at, result) = &lab.reloads[0];
    assert!(
        result.is_ok() && (millis(65_900)..millis(66_200)).contains(at),
        "{at:?}"
    );
    assert_eq!(lab.closes, Vec::<Duration>::new());
    let swapped = *at;
    lab.run(seconds(10));
    assert_eq!(
        lab.closes,
        [swapped + seconds(6)],
        "twice the old sum later"
    );
    assert_eq!(lab.count(Method::Encrypt), 3);
}

#[test]
fn kms2_reload_05_one_sick_provider_blocks_everything() {
    let mut lab = Lab::new();
    lab.plugins.insert(TWO.to_owned(), Plugin::default());
    lab.plugins.get_mut(TWO).unwrap().healthz = "sick".to_owned();
    lab.ready(CONFIG, reloading());
    let source = object_of(&lab.write(b"x").unwrap()).source;
    lab.files[0] = Ok(with_two());
    lab.run(seconds(60 + 37));
    let failures: Vec<u64> = lab.reloads.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(failures, [72, 84, 96], "one window after another");
    let text = lab.reloads[0].1.as_ref().unwrap_err();
    assert!(text.contains("health check for new transformers failed, polling error timed out waiting for the condition: kms-provider-1: kmsv2 Provider two is not healthy"), "{text}");
    assert_eq!(
        object_of(&lab.write(b"x").unwrap()).source,
        source,
        "the old one stays"
    );
    assert_eq!(
        lab.closes.len(),
        6,
        "both new clients of each try are closed"
    );
    // The pause doubles with every failure, and no success resets it.
    lab.files[0] = Ok(CONFIG.to_owned());
    lab.run(seconds(100));
    lab.files[0] = Ok("broken".to_owned());
    let before = lab.reloads.len();
    lab.run(seconds(60));
    let times: Vec<Duration> = lab.reloads[before..].iter().map(|(at, _)| *at).collect();
    let gaps: Vec<u128> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert!(gaps[0] >= 40, "{gaps:?}");
    assert!(
        gaps.windows(2).all(|pair| pair[1] == 2 * pair[0]),
        "{gaps:?}"
    );
}

#[test]
fn kms2_reload_06_v1_counts_twice() {
    let entry = |version: &str, name: &str, timeout: &str| {
        format!(
            "{{kms: {{apiVersion: {version}, name: {name}, endpoint: 'unix:///x', timeout: {timeout}}}}}"
        )
    };
    for (entries, sum) in [
        (vec![entry("v1", "a", "3s")], 6),
        (vec![entry("v1", "a", "3s"), entry("v2", "b", "6s")], 12),
        (vec![entry("v2", "a", "3s"), entry("v2", "b", "12s")], 15),
        (vec![entry("v1", "a", "10s"), entry("v1", "b", "6s")], 32),
    ] {
        let config = format!(
            "{HEAD}resources: [{{resources: [secrets], providers: [{}]}}]",
            entries.join(", ")
        );
        assert_eq!(parse(&config).unwrap().timeouts(), seconds(sum));
    }
}

#[test]
fn kms2_reload_07_an_unchanged_file_heals_nothing() {
    let mut lab = Lab::new();
    "v2beta1".clone_into(&mut lab.plugin().version);
    lab.ready(CONFIG, reloading());
    "v2".clone_into(&mut lab.plugin().version);
    lab.run(seconds(150));
    assert!(lab.probe().is_err());
    lab.files[0] = Ok(format!("{CONFIG}#\n"));
    lab.run(seconds(60));
    assert!(lab.probe().is_ok(), "one changed byte does");
}

/// A file that is gone is a failure like any other, and the old configuration goes on.
#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    let mut lab = Lab::new();
    lab.ready(CONFIG, reloading());
    lab.files[0] = Err("open /etc/kms/config.yaml: no such file or directory".to_owned());
    lab.run(seconds(61));
    let error = lab.reloads[0].1.as_ref().unwrap_err();
    assert!(error.ends_with("error reading encryption provider configuration file \"/etc/kms/config.yaml\": open /etc/kms/config.yaml: no such file or directory"), "{error}");
    assert!(lab.write(b"x").is_ok());
}

/// A plugin that hangs in the window is given up with it.
#[test]
fn a_hanging_plugin_does_not_outlast_the_window() {
    let mut lab = Lab::new();
    let hanging = Plugin {
        status: Mode::Hangs,
        ..Plugin::default()
    };
    lab.plugins.insert(TWO.to_owned(), hanging);
    lab.ready(CONFIG, reloading());
    lab.files[0] = Ok(with_two());
    lab.run(seconds(60 + 16));
    assert_eq!(lab.reloads[0].0, seconds(75), "3 s to load, 12 s to wait");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(400))]

    /// No content makes the parser panic or hang.
    #[test]
    fn any_content_is_taken_or_refused(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        cut in 0..CONFIG.len(),
        inserted in "[ \\-:{}\\[\\]&*!|>'\"%@`#,\n\ta-c0-9]{0,12}",
    ) {
        drop(Config::parse(&bytes, &options(37)));
        let mangled = format!("{}{inserted}{}", &CONFIG[..cut], &CONFIG[cut..]);
        drop(Config::parse(mangled.as_bytes(), &options(37)));
    }
}
