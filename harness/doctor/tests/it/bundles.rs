//! Bundles: they read back with the same findings, and nothing leaks into them, whatever stands in the documents.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use kms_doctor::bundle::{self, Broken, MANIFEST};
use kms_doctor::canary::{self, Secret};
use kms_doctor::raw::Raw;
use kms_doctor::{Diagnosis, intake};
use kms_rehearse::fault;
use kms_rehearse::options::Mode;
use kms_rehearse::scenario;
use kms_rehearse::world::{Plan, World};
use serde_json::{Map, Value};
use sim_vault::Flavour;
use std::time::Duration;

use crate::gather;

async fn cluster() -> Box<World> {
    let plan = Plan {
        mode: Mode::Seed,
        nodes: 1,
        objects: 10,
        seed: 1,
        flavour: Flavour::Vault,
    };
    let mut world = World::start(plan).await.unwrap();
    world.settled_in("KMS").await.unwrap();
    world
}

/// The documents of a cluster whose Vault is sealed: there is something in every one of them.
fn documents() -> Raw {
    kms_sim::run::virtual_time(
        1,
        Box::pin(async {
            let mut world = cluster().await;
            let row = scenario::find("OCP-FAULT-13").unwrap();
            let at = row.at;
            fault::inject(&mut world, row, at).await.unwrap();
            world.pass(Duration::from_secs(300)).await;
            gather::gather(&world).await
        }),
    )
}

#[test]
fn a_bundle_reads_back_with_the_same_findings() {
    let raw = documents();
    let (seen, veil) = intake::evidence(&raw, [3; 32]);
    let diagnosis = Diagnosis::of(&seen);
    let files = bundle::files(&seen, &diagnosis);
    let again = bundle::read(&files).unwrap();
    assert_eq!(again, seen);
    let found: Vec<&str> = diagnosis.findings.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(found, ["OCP-FAULT-13"]);
    assert_eq!(Diagnosis::of(&again), diagnosis);
    // the plugin's own code wrote them
    let written = diagnosis.written.unwrap();
    assert!(written.bound > 0, "{written:?}");
    assert_eq!(written.need_adopt(), 0, "{written:?}");
    assert_eq!(
        canary::scan(&files, &canary::known(&raw, veil.nodes().keys().cloned())),
        []
    );
    // who gathered it is told real names, the bundle has none
    let named = diagnosis.clone().named(veil.nodes());
    let name = veil.nodes().keys().next().unwrap();
    assert!(
        files
            .values()
            .all(|bytes| !String::from_utf8_lossy(bytes).contains(name.as_str()))
    );
    assert_eq!(named.findings.len(), 1);
    let timeline = String::from_utf8(files["timeline.json"].clone()).unwrap();
    assert!(
        timeline.contains("sealed") && timeline.contains("EncryptionKeyCreated"),
        "{timeline}"
    );
}

#[test]
fn a_bundle_that_was_changed_is_refused_by_the_file_s_name() {
    let raw = documents();
    let (seen, _) = intake::evidence(&raw, [3; 32]);
    let files = bundle::files(&seen, &Diagnosis::of(&seen));
    let mut changed = files.clone();
    changed.get_mut("vault.json").unwrap().push(b' ');
    assert_eq!(
        bundle::read(&changed),
        Err(Broken::Changed("vault.json".to_owned()))
    );
    let mut missing = files.clone();
    missing.remove("nodes/node-1.json");
    assert_eq!(
        bundle::read(&missing),
        Err(Broken::Missing("nodes/node-1.json".to_owned()))
    );
    let mut other = files.clone();
    let mut manifest: Value = serde_json::from_slice(&files[MANIFEST]).unwrap();
    manifest["format"] = 99.into();
    other.insert(MANIFEST.to_owned(), manifest.to_string().into_bytes());
    assert_eq!(bundle::read(&other), Err(Broken::Format(99)));
    let text = bundle::read(&bundle::Files::new()).unwrap_err().to_string();
    assert!(text.contains("manifest.json is missing"), "{text}");
}

/// One secret of each kind that the sources hold.
fn canaries() -> Vec<(&'static str, String)> {
    [
        ("token", "hvs.CAESIKq7-canary-4mZp0c1vT2Yx"),
        ("secret-id", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ("role-id", "db02de05-fa39-4855-059b-67221c5c2f63"),
        ("password", "correct horse \"battery\" st@ple/7"),
        ("aes key", "Jx0q3kQmO6yN5m0n1uVq9r8sT7u6v5w4x3y2z1A0B9c="),
        ("plaintext", "canary-plaintext-of-a-secret-in-etcd"),
        (
            "ciphertext",
            "vault:v1:Q2FuYXJ5Q2lwaGVydGV4dE9mVHJhbnNpdA==",
        ),
        ("key_id", "v1.CanaryKeyIdContent0123456789abcdefghijklmno"),
        ("hostname", "etcd-canary-host-17.prod.corp.internal"),
        ("address", "10.137.42.219"),
        (
            "oauth token",
            "sha256~CanaryOAuthAccessTokenName1234567890abcd",
        ),
    ]
    .map(|(what, text)| (what, text.to_owned()))
    .to_vec()
}

/// A secret in every form in which it may stand somewhere.
fn forms(text: &str) -> Vec<String> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let escaped: String = text.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    vec![
        text.to_owned(),
        hex.to_uppercase(),
        hex,
        STANDARD.encode(text),
        URL_SAFE.encode(format!("x{text}")),
        url,
        escaped,
        Value::from(text).to_string(),
    ]
}

/// Plants at every place whose number fits: after values, as values, as keys.
struct Planter<'a> {
    texts: &'a [String],
    seed: usize,
    place: usize,
}

impl Planter<'_> {
    fn next(&mut self) -> Option<&str> {
        self.place += 1;
        let fits = self.seed == 0 || self.place.is_multiple_of(self.seed + 1);
        fits.then(|| self.texts[self.place % self.texts.len()].as_str())
    }

    fn json(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let before = text.clone();
                if let Some(canary) = self.next() {
                    // beside what is known, or in its place
                    *text = if before.len().is_multiple_of(3) {
                        canary.to_owned()
                    } else {
                        format!("{before} {canary}")
                    };
                }
            }
            Value::Array(all) => {
                all.iter_mut().for_each(|it| self.json(it));
                if let Some(canary) = self.next() {
                    all.push(Value::from(canary));
                }
            }
            Value::Object(all) => {
                let mut planted = Map::new();
                for (name, mut it) in std::mem::take(all) {
                    self.json(&mut it);
                    planted.insert(name, it);
                }
                if let Some(canary) = self.next() {
                    planted.insert(canary.to_owned(), Value::from(canary));
                }
                *all = planted;
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        let lines = text.lines().map(|line| match self.next() {
            Some(canary) if line.len().is_multiple_of(2) => format!("{line} {canary}\n"),
            Some(canary) => format!("{canary} {line} error={canary}: vault is sealed\n"),
            None => format!("{line}\n"),
        });
        lines.collect()
    }
}

#[test]
fn no_secret_of_any_kind_gets_into_a_bundle_from_any_place_in_any_form() {
    let raw = documents();
    let names: Vec<String> = raw.names().map(str::to_owned).collect();
    let secrets: Vec<Secret> = canaries()
        .iter()
        .map(|(what, text)| Secret::new(*what, text.as_bytes()).unwrap())
        .collect();
    let texts: Vec<String> = canaries()
        .iter()
        .flat_map(|(_, text)| forms(text))
        .collect();
    let mut planted = 0;
    for seed in 0..6 {
        let mut dirty = Raw::new(raw.taken);
        let mut planter = Planter {
            texts: &texts,
            seed,
            // another secret at each place, each time
            place: seed * 17,
        };
        for name in &names {
            let Ok(bytes) = raw.bytes(name) else {
                continue;
            };
            let document = match serde_json::from_slice::<Value>(bytes) {
                Ok(mut value) => {
                    planter.json(&mut value);
                    serde_json::to_vec(&value).unwrap()
                }
                Err(_) => planter.text(&String::from_utf8_lossy(bytes)).into_bytes(),
            };
            dirty.add(name, Ok(document));
        }
        // the name of a node that nobody expects
        let host = &canaries()[8].1;
        dirty.add(
            format!("nodes/{host}/plugin.log"),
            Ok(planter.text("a\nvault is sealed\n").into_bytes()),
        );
        planted += planter.place;
        let (seen, _) = intake::evidence(&dirty, [3; 32]);
        let files = bundle::files(&seen, &Diagnosis::of(&seen));
        assert_eq!(canary::scan(&files, &secrets), [], "seed {seed}");
        assert_eq!(bundle::read(&files).unwrap(), seen);
    }
    assert!(planted > 1000, "{planted} places");
}

#[test]
fn what_the_documents_hold_is_searched_for_by_itself() {
    let raw = documents();
    let all = canary::known(&raw, ["ip-10-0-16-7.compute.internal".to_owned()]);
    let kinds: Vec<&str> = all.iter().map(|it| it.what.as_str()).collect();
    for kind in [
        "the name of a node",
        "a value of a Secret",
        "a value of etcd",
    ] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let mut raw = Raw::new(0);
    gather::put(
        &mut raw,
        "cluster/pods.json",
        &serde_json::json!({"items": [{"spec": {"containers": [
            {"command": ["/p", "-userpass-password=hunter2-hunter2", "-transit-mount=transit"]}
        ]}}]}),
    );
    let all = canary::known(&raw, []);
    assert_eq!(all.len(), 1, "{all:?}");
    let files = bundle::Files::from([("a.json".to_owned(), b"x hunter2-hunter2".to_vec())]);
    let hits = canary::scan(&files, &all);
    assert_eq!(hits.len(), 1);
    assert_eq!(
        (hits[0].file.as_str(), hits[0].what.as_str()),
        ("a.json", "an argument of the plugin")
    );
}
