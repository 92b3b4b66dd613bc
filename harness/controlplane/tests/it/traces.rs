//! The golden traces of provider lists: a second implementation's output, equal to what the operators' own integration
//! test asserts. Two resources, nodes that all follow at once.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use kms_controlplane::cluster::{Cluster, Component, target_config_name};
use kms_controlplane::controller::{Controller, End};
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::generation::Generation;
use kms_controlplane::key_secret::key_secret_name;
use kms_controlplane::migration_name;
use kms_controlplane::object::{MANAGED_NAMESPACE, MigrationState, Pod, PodPhase, Secret};
use kms_controlplane::resource::GroupResource;
use kms_controlplane::vault::PluginSpec;
use serde_json::json;

const NAME: &str = "openshift-kube-apiserver";

struct Flow {
    cluster: Cluster,
    now: Timestamp,
    revision: u32,
    out: String,
}

fn plugin(address: &str) -> PluginSpec {
    serde_json::from_value(json!({"type": "Vault", "vault": {"vaultAddress": address,
        "authentication": {"type": "AppRole"}, "vaultKeyPath": "transit/keys/kms-key"}}))
    .unwrap()
}

impl Flow {
    fn fresh() -> Self {
        let mut cluster = Cluster::new(Generation::V2, 1);
        for resource in ["A", "B"] {
            cluster
                .api
                .served
                .insert(GroupResource::from(resource), "v1".to_owned());
        }
        cluster
            .components
            .push(Component::new(NAME, &["A", "B"], &["node-1".to_owned()]));
        cluster.spec.kms = Some(plugin("https://one.example:8200"));
        let mut flow = Self {
            cluster,
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            revision: 1,
            out: String::new(),
        };
        flow.roll_out();
        flow
    }

    fn line(&mut self, text: &str) {
        writeln!(self.out, "{text}").unwrap();
    }

    fn sync(&mut self, which: Controller) -> End {
        self.cluster.sync(0, which, self.now).end
    }

    /// `Encrypted` in short.
    fn encrypted(&mut self) -> String {
        self.sync(Controller::Condition);
        let condition = &self.cluster.components[0].conditions["Encrypted"];
        let short = format!("{}/{}", condition.status.as_str(), condition.reason);
        if condition.reason == "EncryptionInProgress" {
            format!("{short} ({})", condition.message)
        } else {
            short
        }
    }

    fn key(&self, number: u64) -> Option<&Secret> {
        self.cluster.api.cached_secret(
            MANAGED_NAMESPACE,
            &key_secret_name(NAME, &number.to_string()),
        )
    }

    fn newest(&self) -> u64 {
        (1..100).rev().find(|n| self.key(*n).is_some()).unwrap_or(0)
    }

    fn edit_key(&mut self, number: u64, edit: impl FnOnce(&mut Secret)) {
        let mut secret = self.key(number).unwrap().clone();
        edit(&mut secret);
        self.cluster.api.update_secret(secret).unwrap();
    }

    fn lose_key(&mut self, number: u64) {
        self.edit_key(number, |secret| secret.finalizers.clear());
        self.cluster
            .api
            .delete_secret(
                MANAGED_NAMESPACE,
                &key_secret_name(NAME, &number.to_string()),
            )
            .unwrap();
    }

    /// The target config as the traces write it.
    fn config(&self) -> Option<String> {
        let secret = self
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &target_config_name(NAME))?;
        let config = EncryptionConfiguration::from_secret(secret).unwrap()?;
        let labels: Vec<String> = config.resources[0]
            .providers
            .iter()
            .map(Provider::label)
            .collect();
        Some(labels.join(",").replace("aesgcm-null", "aesgcm"))
    }

    fn roll_out(&mut self) {
        self.sync(Controller::Sync);
        self.revision += 1;
        if let Some(copy) = self.cluster.api.cached_secret(NAME, CONFIG_KEY) {
            let mut secret = Secret::new(NAME, &format!("{CONFIG_KEY}-{}", self.revision));
            secret.data = copy.data.clone();
            self.cluster.api.create_secret(secret).unwrap();
        }
        let revision = self.revision.to_string();
        let (name, node) = ("apiserver-node-1".to_owned(), "node-1".to_owned());
        self.cluster.api.set_pod(
            NAME,
            Pod {
                name,
                node,
                revision,
                phase: PodPhase::Running,
                ready: true,
            },
        );
    }

    /// One flow: a cause, then everything until nothing more happens. Without `migrates` it stops before the migration.
    fn play(&mut self, title: &str, migrates: bool, cause: impl FnOnce(&mut Self)) {
        writeln!(self.out, "\n## {title}").unwrap();
        cause(self);
        let before = self.encrypted();
        self.line(&format!("   cond before: {before}"));
        let mut revisions = 0;
        loop {
            let newest = self.newest();
            for which in [
                Controller::Key,
                Controller::Preflight,
                Controller::Preflight,
                Controller::Key,
            ] {
                self.sync(which);
            }
            if self.newest() > newest {
                let number = self.newest();
                let secret = self.key(number).unwrap();
                let (mode, reason) = (
                    secret.note("mode").unwrap(),
                    secret.note("internal-reason").unwrap(),
                );
                let head = format!("   key {number} created mode={mode} reason={reason}");
                let condition = self.encrypted();
                self.line(&format!("{head}            | Encrypted={condition}"));
            }
            let written = self
                .cluster
                .sync(0, Controller::State, self.now)
                .events
                .iter()
                .any(|e| matches!(e.reason.as_str(), "SecretCreated" | "SecretUpdated"));
            if written {
                revisions += 1;
                let config = self.config().unwrap();
                let condition = self.encrypted();
                self.line(&format!(
                    "   config  {config:<48} | Encrypted(while rolling, not updated)={condition}"
                ));
                self.roll_out();
                let condition = self.encrypted();
                self.line(&format!(
                    "{:<59} | Encrypted={condition}",
                    "           ... all nodes converged"
                ));
            } else if !(migrates && self.migrate()) {
                break;
            }
        }
        let condition = self.encrypted();
        self.line(&format!(
            "   final: {condition} ; revisions used: {revisions}"
        ));
    }

    /// Lets one resource after the other be rewritten; tells whether there was anything to rewrite.
    fn migrate(&mut self) -> bool {
        self.sync(Controller::Migration);
        let mut any = false;
        for resource in ["A", "B"] {
            let name = migration_name(&GroupResource::from(resource));
            let now = self.now;
            let Some(migration) = self.cluster.api.migrations().get(&name) else {
                continue;
            };
            if migration.state != MigrationState::New {
                continue;
            }
            any = true;
            let key = migration.write_key.clone();
            self.cluster.api.migration_mut(&name).unwrap().state = MigrationState::Succeeded(now);
            self.sync(Controller::Migration);
            let condition = self.encrypted();
            let head = format!("   migrated {resource} -> key {key}");
            self.line(&format!(
                "{head}                               | Encrypted={condition}"
            ));
        }
        any
    }

    fn mode(mode: &'static str) -> impl FnOnce(&mut Self) {
        move |flow| flow.cluster.spec.mode = mode.to_owned()
    }

    fn reason(text: &'static str) -> impl FnOnce(&mut Self) {
        move |flow| {
            flow.cluster.components[0].overrides =
                json!({"encryption": {"reason": text}}).to_string().into()
        }
    }

    fn address(text: &'static str) -> impl FnOnce(&mut Self) {
        move |flow| flow.cluster.spec.kms = Some(plugin(text))
    }

    fn lose_running(&mut self) {
        let name = format!("{CONFIG_KEY}-{}", self.revision);
        self.cluster.api.delete_secret(NAME, &name).unwrap();
    }

    /// What the state controller would do now.
    fn next_config(&self) -> String {
        let mut twin = Self {
            cluster: self.cluster.clone(),
            out: String::new(),
            ..*self
        };
        match twin.sync(Controller::State) {
            End::Panic(text) => {
                assert_eq!(text, "runtime error: index out of range [0] with length 0");
                "PANIC: index out of range (providers[0] on empty list)".to_owned()
            }
            _ => twin.config().unwrap(),
        }
    }
}

fn all() -> String {
    let mut flow = Flow::fresh();
    flow.play("identity -> aescbc (fresh)", true, Flow::mode("aescbc"));
    flow.play("aescbc -> identity", true, Flow::mode("identity"));
    flow.play("identity -> unset", true, Flow::mode(""));
    flow.play("identity -> aescbc again", true, Flow::mode("aescbc"));
    flow.play("external reason a", true, Flow::reason("a"));
    flow.play("external reason b", true, Flow::reason("b"));
    flow.play("key 5 expired (weekly)", true, |flow| {
        let long_ago = (flow.now - std::time::Duration::from_secs(169 * 3600)).to_string();
        flow.edit_key(5, |secret| secret.set_note("migrated-timestamp", &long_ago));
    });
    flow.play("key secret 6 deleted", true, |flow| flow.lose_key(6));
    flow.play("operand config deleted", true, Flow::lose_running);
    flow.play("aescbc -> KMS", true, Flow::mode("KMS"));
    flow.play("KMS -> aescbc", true, Flow::mode("aescbc"));
    flow.play("aescbc -> KMS again", true, Flow::mode("KMS"));
    flow.play("KMS -> aescbc (2)", true, Flow::mode("aescbc"));
    flow.play("aescbc -> KMS (3)", true, Flow::mode("KMS"));
    flow.play(
        "KMS -> KMS (VaultAddress changed)",
        true,
        Flow::address("https://two.example:8200"),
    );
    flow.play(
        "operand config deleted in KMS mode",
        true,
        Flow::lose_running,
    );
    flow.play("KMS -> identity", true, Flow::mode("identity"));
    let mut out = flow.out;

    writeln!(
        out,
        "\n======== the seed's flows from a fresh cluster ========"
    )
    .unwrap();
    let mut flow = Flow::fresh();
    flow.play("SEED: identity -> KMS (fresh)", true, Flow::mode("KMS"));
    out += &flow.out;
    let mut flow = Flow::fresh();
    flow.play(
        "SEED: identity -> aescbc (fresh)",
        true,
        Flow::mode("aescbc"),
    );
    flow.play("SEED: aescbc -> KMS", true, Flow::mode("KMS"));
    flow.play("disable: KMS -> aescbc", true, Flow::mode("aescbc"));
    flow.play("re-enable KMS", true, Flow::mode("KMS"));
    flow.play("disable: KMS -> identity", true, Flow::mode("identity"));
    flow.play("identity -> KMS again", true, Flow::mode("KMS"));
    out += &flow.out;

    writeln!(
        out,
        "\n======== KMS key secret force-deleted (not covered by any upstream test) ========"
    )
    .unwrap();
    let mut flow = Flow::fresh();
    flow.play("fresh KMS", true, Flow::mode("KMS"));
    flow.play(
        "KMS -> KMS",
        true,
        Flow::address("https://two.example:8200"),
    );
    flow.play(
        "KMS -> KMS (2)",
        true,
        Flow::address("https://three.example:8200"),
    );
    flow.line("   etcd data is now encrypted with kms:3");
    flow.lose_key(3);
    let next = flow.next_config();
    flow.line(&format!("   first config the state controller would publish if it runs before the key controller: {next}"));
    flow.play("after key secret 3 was force-deleted", false, |_| {});
    out += &flow.out;
    let mut flow = Flow::fresh();
    flow.play("fresh KMS (single key)", true, Flow::mode("KMS"));
    flow.lose_key(1);
    let next = flow.next_config();
    flow.line(&format!(
        "   first config the state controller would publish: {next}"
    ));
    flow.play("after the only key secret was force-deleted", false, |_| {});
    out + &flow.out
}

#[test]
fn golden_traces_line_by_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories/traces.txt");
    let text = fs::read_to_string(path).unwrap();
    // What the other implementation found when it looked at the operators' test is its own remark.
    let recorded: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("   CHECK"))
        .collect();
    let played = all();
    let played: Vec<&str> = played.lines().collect();
    for (at, line) in recorded.iter().enumerate() {
        assert_eq!(Some(line), played.get(at), "line {at} of the traces");
    }
    assert_eq!(recorded.len(), played.len());
    println!(
        "traces: {} flows alike",
        recorded
            .iter()
            .filter(|line| line.starts_with("## "))
            .count()
    );
}
