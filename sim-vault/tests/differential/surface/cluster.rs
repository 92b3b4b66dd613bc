//! What every node of a cluster answers in its own way, and what is asked while nobody leads.

use serde_json::{Value, json};

use super::Row;

const NO_FORWARDING: &str = "X-Vault-No-Request-Forwarding";

fn plaintext() -> (&'static str, Value) {
    ("plaintext!", json!(["aGk="]))
}

/// An index that no cluster reaches, and some that are none.
fn indexes() -> Value {
    json!([
        "eyJjbHVzdGVyIjoiYSIsInZhbHVlIjoiOTk5OTk5OTk5In0=",
        "x",
        "AAAA"
    ])
}

/// Asked while a node leads.
pub fn nodes() -> Vec<Row> {
    let sends = || {
        [
            (NO_FORWARDING, json!(["1", "true"])),
            (
                "X-Vault-Inconsistent",
                json!(["forward-active-node", "fail", "x"]),
            ),
        ]
    };
    let mut rows = states();
    rows.extend([
        Row::new(2, "POST", "m/{encrypt|encrypt|datakey/wrapped}/a")
            .with(sends())
            .body([plaintext()]),
        Row::new(
            2,
            "GET",
            "{m/keys/a|auth/token/lookup-self|sys/mounts/m|sys/storage/raft/configuration}",
        )
        .with(sends()),
        Row::new(
            2,
            "POST",
            "{m/keys/a/rotate|auth/token/create|sys/policies/acl/c}",
        )
        .with(sends())
        .body([(
            "policy!",
            json!(["path \"m/*\" { capabilities = [\"read\"] }"]),
        )]),
        Row::new(1, "GET|POST", "{m/keys/a|m/keys/a/rotate|sys/health}")
            .with([("X-Vault-Forward", json!(["active-node"]))]),
        Row::new(1, "GET|POST", "{m/keys/a|m/keys/a/rotate}").with([
            ("X-Vault-Index", indexes()),
            (
                "X-Vault-Inconsistent",
                json!(["forward-active-node", "fail"]),
            ),
        ]),
        Row::new(1, "GET", "sys/ha-status").by("root root $t1  none"),
        Row::new(
            1,
            "GET|POST|LIST|HEAD",
            "sys/storage/raft/{configuration|autopilot/state}",
        )
        .by("root root $t1  none"),
        Row::new(1, "GET", "sys/storage/raft/autopilot/configuration").by("root root $t1"),
        Row::new(1, "PUT|POST|GET", "sys/{seal|step-down}").by("none  $t1"),
        Row::new(2, "POST", "auth/token/create")
            .body([("policies!", json!([["p"]])), ("num_uses", json!([2]))]),
        Row::new(2, "GET", "auth/token/lookup-self").by("$t1 $t2"),
        Row::new(2, "POST", "auth/token/{renew-self|revoke-self}").by("$t1 $t2"),
        Row::new(2, "POST", "m/decrypt/a").body([("ciphertext!", json!(["$c1", "$c2"]))]),
    ]);
    rows
}

/// Asked whether a node leads or not; a standby answers each of these itself, sealed or not.
fn states() -> Vec<Row> {
    vec![
        Row::new(
            4,
            "GET|GET|HEAD|POST",
            "sys/health{||?standbyok=true|?perfstandbyok=true|?standbycode=299|?sealedcode=298|?activecode=297|?haunhealthycode=296|?standbyok=true&activecode=295}",
        )
        .by(" root none"),
        Row::new(3, "GET|GET|GET|POST", "sys/leader").by(" root none"),
        Row::new(1, "GET|GET|POST|HEAD", "sys/seal-status").by(" root"),
        Row::new(1, "PUT", "sys/unseal").by("").body([
            (
                "key",
                json!([
                    "0000000000000000000000000000000000000000000000000000000000000000",
                    "000000000000000000000000000000000000000000000000000000000000000000",
                    "00",
                    "x",
                    ""
                ]),
            ),
            ("reset", json!([true, false])),
        ]),
        Row::new(1, "GET|PUT", "sys/init").by(""),
    ]
}

/// Asked while nobody leads: plain reads and plain writes, so that it is clear which of them only a leader can answer.
pub fn leaderless() -> Vec<Row> {
    let mut rows = states();
    rows.extend([
        Row::new(3, "POST", "m/encrypt/a").body([plaintext()]),
        Row::new(
            2,
            "GET",
            "{m/keys/a|auth/token/lookup-self|sys/mounts/m|nomount/x|m/keys/none}",
        ),
        Row::new(1, "LIST", "m/keys"),
        Row::new(2, "POST", "{m/keys/a/rotate|auth/token/create}"),
        Row::new(1, "POST", "m/keys/fresh"),
        Row::new(1, "GET|POST", "{m/keys/a|m/keys/a/rotate}").with([(NO_FORWARDING, json!(["1"]))]),
        Row::new(1, "GET", "m/keys/a").with([
            ("X-Vault-Index", indexes()),
            ("X-Vault-Inconsistent", json!(["forward-active-node"])),
        ]),
        Row::new(1, "GET", "m/keys/a").by("none "),
        Row::new(
            1,
            "GET",
            "sys/{ha-status|storage/raft/configuration|storage/raft/autopilot/state}",
        ),
        Row::new(1, "PUT", "sys/step-down").by("root none "),
    ]);
    rows
}
