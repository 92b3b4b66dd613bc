//! Less than everything is seen: what is found of it, and what is said of the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver::object::{SourceType, encode};
use kms_apiserver::version::Version;
use kms_doctor::evidence::{Evidence, Why};
use kms_doctor::raw::Raw;
use kms_doctor::rows::ROWS;
use kms_doctor::{Diagnosis, intake};
use serde_json::{Value, json};

use crate::gather::{cluster_operator, put};

const NOW: i64 = 1_767_225_600;

fn diagnosis(documents: &[(&str, Value)]) -> Diagnosis {
    Diagnosis::of(&evidence(documents))
}

fn evidence(documents: &[(&str, Value)]) -> Evidence {
    let mut raw = Raw::new(NOW);
    for (name, value) in documents {
        match value.as_str() {
            Some(text) => raw.add(*name, Ok(text.as_bytes().to_vec())),
            None => put(&mut raw, name, value),
        }
    }
    intake::evidence(&raw, [0; 32]).0
}

fn ids(documents: &[(&str, Value)]) -> Vec<String> {
    diagnosis(documents)
        .findings
        .into_iter()
        .map(|it| it.id)
        .collect()
}

fn key(changes: Value) -> Value {
    let mut data = json!({
        "type": "aes256-gcm96", "latest_version": 2, "min_decryption_version": 1,
        "min_encryption_version": 0, "deletion_allowed": false,
        "keys": {"1": NOW - 90_000, "2": NOW - 9_000},
    });
    for (name, value) in changes.as_object().unwrap() {
        data[name] = value.clone();
    }
    json!({"status": 200, "body": {"data": data}})
}

#[test]
fn nothing_seen_is_no_health() {
    let seen = intake::evidence(&Raw::new(NOW), [0; 32]).0;
    assert!(!seen.saw_anything());
    let all = Diagnosis::of(&seen);
    assert_eq!(all.findings, []);
    assert_eq!(all.not_looked_for.len(), ROWS.len());
    let text = all.text();
    assert!(text.contains("0 findings; 0 of 41 rows"), "{text}");
}

#[test]
fn what_was_asked_for_and_not_seen_is_named_with_its_reason() {
    let mut raw = Raw::new(NOW);
    raw.add("vault/key.json", Err(Why::NotAllowed));
    raw.add("cluster/apiserver.json", Ok(b"no JSON".to_vec()));
    let all = Diagnosis::of(&intake::evidence(&raw, [0; 32]).0);
    let said: Vec<(&str, &str)> = all
        .not_seen
        .iter()
        .map(|it| (it.what.as_str(), it.because.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("cluster/spec", "what came cannot be read"),
            ("vault/key", "the credential may not look at it"),
        ]
    );
}

#[test]
fn vault_alone_shows_its_rows() {
    let health = |status: u16, sealed: bool, standby: bool| json!({"status": status, "body": {"initialized": true, "sealed": sealed, "standby": standby, "version": "2.7.2"}});
    let leader = |address: &str| json!({"status": 200, "body": {"ha_enabled": true, "is_self": false, "leader_address": address}});
    let found = |documents: &[(&str, Value)]| ids(documents);
    assert_eq!(
        found(&[
            ("vault/health.json", health(200, false, false)),
            ("vault/key.json", key(json!({})))
        ]),
        [""; 0]
    );
    assert_eq!(
        found(&[("vault/health.json", health(503, true, true))]),
        ["OCP-FAULT-13"]
    );
    let standby = ("vault/health.json", health(429, false, true));
    assert_eq!(
        found(&[standby.clone(), ("vault/leader.json", leader(""))]),
        ["OCP-FAULT-14"]
    );
    // one that knows its leader forwards
    assert_eq!(
        found(&[
            standby.clone(),
            ("vault/leader.json", leader("https://v-2:8200"))
        ]),
        [""; 0]
    );
    assert_eq!(found(&[standby]), [""; 0]);
    assert_eq!(
        found(&[(
            "vault/key.json",
            json!({"status": 404, "body": {"errors": []}})
        )]),
        ["OCP-FAULT-10"]
    );
    assert_eq!(
        found(&[(
            "vault/key.json",
            json!({"status": 403, "body": {"errors": ["permission denied"]}})
        )]),
        [""; 0]
    );
    assert_eq!(
        found(&[("vault/key.json", key(json!({"soft_deleted": true})))]),
        ["OCP-FAULT-12"]
    );
    // raised after everything was rewritten, for all that is known
    assert_eq!(
        found(&[("vault/key.json", key(json!({"min_decryption_version": 2})))]),
        [""; 0]
    );
}

#[test]
fn the_plugin_s_own_token_shows_what_it_may() {
    let tries = |token: u16, read: u16, encrypt: u16, decrypt: u16| {
        let answer = |status: u16| {
            let errors = if status == 200 {
                json!(null)
            } else {
                json!(["1 error occurred:\n\t* permission denied\n\n"])
            };
            json!({"status": status, "body": {"errors": errors}, "took_ms": 3})
        };
        json!({"token": answer(token), "read": answer(read), "encrypt": answer(encrypt), "decrypt": answer(decrypt)})
    };
    for (statuses, expected) in [
        ((200, 200, 200, 200), vec![]),
        // a policy without lookup-self is sound
        ((403, 200, 200, 200), vec![]),
        ((403, 403, 403, 403), vec!["OCP-FAULT-09"]),
        ((200, 403, 200, 200), vec!["OCP-FAULT-08"]),
        ((200, 200, 403, 200), vec!["OCP-FAULT-06"]),
        ((200, 200, 200, 403), vec!["OCP-FAULT-07"]),
        ((200, 404, 200, 200), vec!["OCP-FAULT-10"]),
    ] {
        let (token, read, encrypt, decrypt) = statuses;
        assert_eq!(
            ids(&[("vault/plugin.json", tries(token, read, encrypt, decrypt))]),
            expected,
            "{statuses:?}"
        );
    }
    let mut slow = tries(200, 200, 200, 200);
    slow["encrypt"]["took_ms"] = 12_000.into();
    assert_eq!(ids(&[("vault/plugin.json", slow)]), ["OCP-FAULT-16"]);
}

#[test]
fn a_socket_alone_shows_its_rows() {
    let socket =
        |there: bool, socket: bool| json!({"there": there, "socket": socket, "mode": 0o600});
    let found = |file: Value, status: Value| {
        ids(&[
            ("nodes/a/plugin.socket.json", file),
            ("nodes/a/plugin.status.json", status),
        ])
    };
    let good = json!({"version": "v2", "healthz": "ok", "key_id": "1", "took_ms": 1});
    assert_eq!(found(socket(true, true), good), [""; 0]);
    assert_eq!(
        found(socket(false, false), json!({"connect": "no_socket"})),
        ["OCP-FAULT-04"]
    );
    assert_eq!(
        found(socket(true, true), json!({"connect": "denied"})),
        ["OCP-FAULT-04"]
    );
    assert_eq!(
        found(socket(true, false), json!({"connect": "nobody"})),
        ["OCP-FAULT-04"]
    );
    assert_eq!(
        found(socket(true, true), json!({"connect": "nobody"})),
        ["OCP-FAULT-05"]
    );
    assert_eq!(
        found(socket(true, true), json!({"connect": "silent"})),
        ["OCP-FAULT-05"]
    );
    for (text, id) in [
        (
            "vault is sealed or not initialised (HTTP 503); unseal it",
            "OCP-FAULT-13",
        ),
        (
            "cannot reach vault at https://v: lookup v: no such host",
            "OCP-FAULT-17",
        ),
        ("invalid peer certificate: Expired", "OCP-FAULT-18"),
        (
            "encrypt fails since 1: no answer from vault at https://v within 3 s",
            "OCP-FAULT-16",
        ),
        (
            "cannot reach vault at https://v: connection refused",
            "OCP-FAULT-19",
        ),
        ("no vault token: the credential is rejected", "OCP-FAULT-09"),
    ] {
        let status = json!({"code": 14, "message": text, "took_ms": 2});
        assert_eq!(found(socket(true, true), status), [id], "{text}");
    }
    // another plugin says it in healthz
    let sick = json!({"version": "v2", "healthz": "Error making API request: Vault is sealed", "key_id": "1", "took_ms": 1});
    assert_eq!(found(socket(true, true), sick), ["OCP-FAULT-13"]);
}

#[test]
fn a_log_counts_while_it_is_new_and_something_is_wrong() {
    let line = |minutes: i64| {
        let at = jiff::Timestamp::from_second(NOW - 60 * minutes).unwrap();
        json!(format!(
            "{at} ERROR call failed error=vault cannot decrypt this value: ciphertext or signature version is disallowed by policy (too old)\n"
        ))
    };
    assert_eq!(ids(&[("nodes/a/plugin.log", line(1))]), ["OCP-FAULT-11"]);
    assert_eq!(ids(&[("nodes/a/plugin.log", line(11))]), [""; 0]);
    let good = json!({"version": "v2", "healthz": "ok", "key_id": "1", "took_ms": 1});
    let well = ("nodes/a/plugin.status.json", good);
    assert_eq!(ids(&[("nodes/a/plugin.log", line(1)), well]), [""; 0]);
}

#[test]
fn an_api_server_alone_shows_what_it_meets() {
    let readyz = |line: &str| json!(format!("[+]ping ok\n{line}\nreadyz check failed\n"));
    let at = "nodes/a/openshift-kube-apiserver.readyz.txt";
    assert_eq!(
        ids(&[(
            at,
            json!("[+]ping ok\n[+]kms-providers ok\nreadyz check passed\n")
        )]),
        [""; 0]
    );
    assert_eq!(
        ids(&[(at, readyz("[-]kms-providers failed: reason withheld"))]),
        ["OCP-FAULT-05"]
    );
    let lists = |message: &str| json!({"secrets": {"code": 500, "message": message}});
    let at = "nodes/a/openshift-kube-apiserver.lists.json";
    assert_eq!(
        ids(&[(
            at,
            lists("Internal error occurred: unable to transform key \"/x\": failed")
        )]),
        ["OCP-FAULT-22"]
    );
    // so it is told while the server starts; a caller that asks too often is told nothing of the data
    for (message, found) in [
        (
            "storage is (re)initializing: failed to list *core.Secret: unable to transform key \"/x\": failed",
            vec!["OCP-FAULT-22"],
        ),
        ("Too many requests, please try again later.", vec![]),
    ] {
        let answer = json!({"secrets": {"code": 429, "message": message}});
        assert_eq!(ids(&[(at, answer)]), found, "{message}");
    }
    assert_eq!(
        ids(&[(
            at,
            lists("Internal error occurred: no matching prefix found")
        )]),
        ["OCP-FAULT-25"]
    );
    assert_eq!(ids(&[(at, json!({"secrets": {"code": 200}}))]), [""; 0]);
}

/// A plugin repeats what it was refused last until Vault answers it again.
#[test]
fn what_a_plugin_says_of_a_key_is_old_while_vault_is_sealed() {
    let status = json!({"code": 9, "message": "key kms-key is soft-deleted", "took_ms": 2});
    let health = json!({"status": 503, "body": {"initialized": true, "sealed": true}});
    let status = ("nodes/a/plugin.status.json", status);
    assert_eq!(ids(std::slice::from_ref(&status)), ["OCP-FAULT-12"]);
    assert_eq!(
        ids(&[status, ("vault/health.json", health)]),
        ["OCP-FAULT-13"]
    );
}

/// Asked for its check of KMS providers by name, a server repeats what the plugin says.
#[test]
fn an_api_server_tells_what_its_plugin_says() {
    let at = "nodes/a/openshift-kube-apiserver";
    let found = |why: &str| {
        let check = format!(
            "internal server error: kmsv2 Provider vault is not healthy, error: failed to perform status section of the healthz check for KMS Provider vault, error: rpc error: {why}"
        );
        ids(&[
            (
                &format!("{at}.readyz.txt"),
                json!("[-]kms-providers failed: reason withheld\nreadyz check failed\n"),
            ),
            (&format!("{at}.check.txt"), json!(check)),
        ])
    };
    for (why, id) in [
        (
            "code = Unavailable desc = vault is sealed or not initialised (HTTP 503)",
            "OCP-FAULT-13",
        ),
        (
            "code = FailedPrecondition desc = permission denied on transit/keys/k",
            "OCP-FAULT-08",
        ),
        (
            "code = Unavailable desc = cannot reach vault at https://v: connection refused",
            "OCP-FAULT-19",
        ),
        // the way to the plugin, not its way to Vault
        (
            "code = DeadlineExceeded desc = context deadline exceeded",
            "OCP-FAULT-05",
        ),
        (
            "code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /s/kms.sock: connect: connection refused\"",
            "OCP-FAULT-05",
        ),
        (
            "code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /s/kms.sock: connect: no such file or directory\"",
            "OCP-FAULT-04",
        ),
    ] {
        assert_eq!(found(why), [id], "{why}");
    }
}

#[test]
fn a_plugin_that_crashes_is_found_where_api_servers_are_no_pods_of_openshift_s() {
    let pod = |state: Value| {
        json!({"items": [
            {"metadata": {"name": "kms-plugin-cp-1"}, "spec": {"nodeName": "cp-1"}, "status": {
                "phase": "Running", "containerStatuses": [{"restartCount": 7, "state": state}]}},
            {"metadata": {"name": "etcd-cp-2"}, "spec": {"nodeName": "cp-2"}, "status": {
                "phase": "Running", "containerStatuses": [{"restartCount": 7, "state": {"waiting": {"reason": "Error"}}}]}},
        ]})
    };
    let crashes = pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}));
    let found = diagnosis(&[("cluster/pods.json", crashes)]).findings;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, "OCP-FAULT-05");
    assert_eq!(
        found[0].saw,
        "node-1: its pod waits with CrashLoopBackOff, 7 restarts"
    );
    assert_eq!(
        ids(&[("cluster/pods.json", pod(json!({"running": {}})))]),
        [""; 0]
    );
}

#[test]
fn real_names_are_for_whoever_gathered_it() {
    let documents = [
        ("nodes/b.corp/plugin.socket.json", json!({"there": false})),
        ("nodes/a.corp/plugin.socket.json", json!({"there": false})),
    ];
    let mut raw = Raw::new(NOW);
    for (name, value) in &documents {
        put(&mut raw, name, value);
    }
    let (seen, veil) = intake::evidence(&raw, [0; 32]);
    let plain = Diagnosis::of(&seen);
    assert_eq!(
        plain.findings[0].saw,
        "node-1: there is no socket; node-2: there is no socket"
    );
    assert_eq!(
        plain.named(veil.nodes()).findings[0].saw,
        "a.corp: there is no socket; b.corp: there is no socket"
    );
}

/// ClusterOperators alone name what operators say of themselves; beside the operators' own resources they confirm it.
#[test]
fn cluster_operators_say_what_operators_do() {
    let missing = (
        "EncryptionKeyControllerDegraded",
        "Error",
        "failed to create key: failed to get secret planted-reference in openshift-config: secrets \"planted-reference\" not found",
    );
    let fell_back = (
        "StaticPodFallbackRevisionDegraded",
        "FallbackRevision",
        "a static pod was rolled back to revision 2\ndue to waiting for kube-apiserver",
    );
    let pod = (
        "EncryptionKMSPreflightControllerDegraded",
        "ImagePullBackOff",
        "preflight pod has not reported config hash after 3m0s",
    );
    // what is not about encryption, in the midst
    let other = ("SomeOtherDegraded", "Error", "vault is sealed");
    let list = |name: &str, holds: &[(&str, &str, &str)]| {
        let it = cluster_operator(name, holds);
        let beside = cluster_operator("console", &[missing]);
        (
            "cluster/clusteroperators.json",
            json!({"items": [beside, it]}),
        )
    };
    for (name, holds, expected) in [
        ("kube-apiserver", &[][..], &[][..]),
        ("kube-apiserver", &[other], &[]),
        ("kube-apiserver", &[other, missing], &["OCP-FAULT-02"]),
        ("authentication", &[missing, other], &["OCP-FAULT-02"]),
        (
            "openshift-apiserver",
            &[missing, pod],
            &["OCP-FAULT-02", "OCP-TRAP-12"],
        ),
        (
            "kube-apiserver",
            &[other, fell_back, missing],
            &["OCP-FAULT-02", "OCP-FAULT-29"],
        ),
    ] {
        let all = diagnosis(&[list(name, holds)]);
        let found: Vec<&str> = all.findings.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(found, expected, "{name} {holds:?}");
        let seen = evidence(&[list(name, holds)]);
        let seen = serde_json::to_string(&seen).unwrap();
        for hidden in ["planted-reference", "SomeOther"] {
            assert!(!seen.contains(hidden), "{hidden}: {seen}");
        }
        let blind = |id: &str| all.not_looked_for.iter().any(|it| it.what == id);
        assert!(!blind("OCP-TRAP-03") && blind("OCP-TRAP-05"));
    }
    // it lags behind, so where the operator itself is seen that counts, and it confirms
    let operator = |conditions: Value| {
        let object = json!({"status": {"conditions": conditions}});
        ("cluster/operators/openshift-kube-apiserver.json", object)
    };
    let late = list("kube-apiserver", &[missing]);
    assert_eq!(ids(&[operator(json!([])), late.clone()]), [""; 0]);
    let (kind, reason, message) = missing;
    let own = json!([{"type": kind, "status": "True", "reason": reason, "message": message}]);
    for (documents, confirmed) in [
        (&[operator(own.clone())][..], false),
        (&[operator(own.clone()), late], true),
    ] {
        let all = diagnosis(documents);
        let [finding] = &all.findings[..] else {
            panic!("{all:?}");
        };
        assert_eq!(finding.id, "OCP-FAULT-02");
        assert_eq!(finding.saw.contains("ClusterOperator"), confirmed);
    }
}

#[test]
fn a_cluster_without_cluster_operators_is_no_error() {
    let mut raw = Raw::new(NOW);
    raw.add("cluster/clusteroperators.json", Err(Why::NotThere));
    let seen = intake::evidence(&raw, [0; 32]).0;
    let all = Diagnosis::of(&seen);
    assert_eq!(all.findings, []);
    let said = all
        .not_seen
        .iter()
        .map(|it| (it.what.as_str(), it.because.as_str()));
    let expected = [
        "openshift-apiserver",
        "openshift-kube-apiserver",
        "openshift-oauth-apiserver",
    ];
    let expected = expected.map(|it| (format!("{it}/cluster-operator"), "there is no such thing"));
    assert!(
        said.eq(expected.iter().map(|(what, why)| (what.as_str(), *why))),
        "{all:?}"
    );
}

/// What taking over from another plugin waits for: nothing stored that only `-adopt` reads.
#[test]
fn values_are_counted_by_the_plugin_that_wrote_them() {
    let value = |format: Option<&str>| {
        let name = "format.vault-kubernetes-kms".to_owned();
        let annotations = format.map(|format| (name, format.to_owned().into()));
        let annotations = annotations.into_iter().collect();
        // operators of OpenShift number their providers, others have a name
        let provider = if format.is_some() {
            "1_secrets"
        } else {
            "vault"
        };
        let mut bytes = format!("k8s:enc:kms:v2:{provider}:").into_bytes();
        let kind = SourceType::HkdfSeed;
        encode(
            &mut bytes,
            Version::NEWEST,
            &[1; 40],
            "1",
            &[2; 60],
            &annotations,
            kind,
        );
        bytes
    };
    let stored = |values: &[Vec<u8>]| {
        let pairs = values.iter().zip('a'..).map(|(value, name)| {
            let key = format!("/kubernetes.io/secrets/default/{name}");
            json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)})
        });
        json!({"kvs": pairs.collect::<Vec<_>>()})
    };
    let name = "etcd/openshift-kube-apiserver.json";
    let plain = b"k8s\0".to_vec();
    let formats = [Some("1"), Some("0"), Some("0"), None, None, Some("9")];
    let mut values: Vec<_> = formats.map(value).into();
    values.push(plain);
    let found = diagnosis(&[(name, stored(&values))]);
    // etcd's values alone are enough to collect, and for the doctor to be asked
    let mut alone = Raw::new(NOW);
    put(&mut alone, name, &stored(&values));
    assert!(intake::evidence(&alone, [0; 32]).0.saw_anything());
    let written = found.written.unwrap();
    assert_eq!((written.bound, written.unbound, written.foreign), (1, 2, 3));
    assert!(
        found.text().contains("needs -adopt for 5"),
        "{}",
        found.text()
    );
    let done = diagnosis(&[(name, stored(&values[..1]))]);
    assert_eq!(done.written.unwrap().need_adopt(), 0);
    assert!(
        done.text().contains("needs -adopt for 0"),
        "{}",
        done.text()
    );
    // nobody looked
    assert_eq!(diagnosis(&[]).written, None);
}
