//! Policies, wrapping, mounts, quotas, namespaces, and HTTP itself.

use serde_json::{Value, json};

use super::Row;

const TTL: &str = "X-Vault-Wrap-TTL";

fn paths() -> Value {
    json!([
        ["m/encrypt/a"],
        ["m/keys/a"],
        ["m/keys"],
        ["m/keys/"],
        ["m/encrypt/a", "sys/mounts", "m/keys/a", "m/decrypt/a"],
        ["sys/policies/acl/p"],
        ["auth/token/lookup-self"],
        "m/encrypt/a",
        ["nothing/at/all"],
        [],
        [""],
        ["m/a/b/c"],
        ["/m/encrypt/a"],
        ["m"],
        ["m/"]
    ])
}

/// Random policies, and what they let two tokens do.
pub fn policies() -> Vec<Row> {
    let who = "$t1 $t1 $t1 $t2";
    vec![
        Row::new(10, "PUT|POST", "sys/polic{ies/acl|ies/acl|y}/{p|p|q}").body([
            ("policy!", json!("@policy")),
            ("name", json!(["z"])),
            ("cas", json!([1, 0, -1, 2])),
        ]),
        Row::new(6, "PUT", "sys/policies/acl/p").body([("policy!", json!("@damaged"))]),
        Row::new(
            2,
            "GET",
            "m/keys/{a|}{?plaintext=aGk=|?key_version=1|?key_version=1&x=2|}",
        )
        .by(who),
        Row::new(2, "POST", "m/encrypt/a")
            .by(who)
            .body([("plaintext!", json!(["aGk="]))])
            .with([("X-Vault-Wrap-TTL", json!(["60", "1h", "5", "0"]))]),
        Row::new(1, "GET", "sys/internal/ui/mounts/{m|m|sys|auth/token|none}").by(who),
        Row::new(
            3,
            "PUT",
            "sys/policies/acl/{p|q|default|root|P|response-wrapping}",
        )
        .body([(
            "policy",
            json!([
                "path \"m/*\" { capabilities = [\"read\"] }",
                "",
                "path {",
                5,
                null,
                "cGF0aA==",
                "nonsense",
                "path \"a\"",
                "{}",
                "[]",
                "{\"path\":5}"
            ]),
        )]),
        Row::new(2, "GET", "sys/polic{ies/acl|y}/{p|q|none|root|P}").by("root root $t1"),
        Row::new(1, "LIST", "sys/polic{ies/acl|y}{|/|/p|/a}").by("root $t1"),
        Row::new(1, "PUT", "sys/policies/acl/{a/b|a/c/d|a/c/e|ab|b/a}")
            .body([("policy!", json!("@policy"))]),
        Row::new(
            1,
            "DELETE",
            "sys/polic{ies/acl|y}/{p|q|none|default|root|response-wrapping}",
        ),
        Row::new(2, "POST", "auth/token/create").body([
            ("policies!", json!([["p"], ["q"], ["p", "q"]])),
            ("no_default_policy", json!([true])),
        ]),
        Row::new(5, "POST", "sys/capabilities-self")
            .by(who)
            .body([("paths", paths()), ("path", paths())]),
        Row::new(1, "POST", "sys/capabilities").body([
            ("paths!", paths()),
            ("token", json!(["$t1", "bad", "", "root"])),
        ]),
        Row::new(1, "POST", "sys/capabilities-accessor")
            .body([("paths!", paths()), ("accessor", json!(["$a1", "bad", ""]))]),
        Row::new(5, "POST", "m/encrypt/{a|a|b}").by(who).body([
            ("plaintext!", json!(["aGk=", "aGVsbG8="])),
            ("associated_data", json!(["YWFk"])),
            ("key_version", json!([1, 0])),
        ]),
        Row::new(3, "POST", "m/decrypt/a")
            .by(who)
            .body([("ciphertext!", json!(["$c1"]))]),
        Row::new(3, "GET|LIST|DELETE|HEAD", "m/keys/{a|b}").by(who),
        Row::new(2, "LIST|GET", "m/keys{|/}").by(who),
        Row::new(2, "POST", "m/keys/{a|b}{|/config|/rotate}")
            .by(who)
            .body([("exportable", json!([true]))]),
        Row::new(
            1,
            "GET",
            "sys/{mounts|auth|policies/acl|auth/x|seal-status}",
        )
        .by(who),
        Row::new(1, "GET", "sys/internal/ui/mounts/{m|m/keys|nope|sys|m/}").by("$t1 root "),
        Row::new(1, "GET", "{m|none}/{nope|keys/a/b}").by(who),
        Row::new(
            1,
            "GET|PUT|DELETE|LIST",
            "cubbyhole/{x|y|x/y|x?colour=blue}",
        )
        .by("$t1 $t2 root")
        .body([("v", json!(["1"]))]),
    ]
}

/// Answers put aside.
pub fn wrapping() -> Vec<Row> {
    let ttl = || [(TTL, json!(["60", "1h", "0", "-1", "soon", "", "2d"]))];
    let who = "root root $t1 $w1";
    vec![
        Row::new(3, "POST", "auth/token/create").with(ttl()).body([("policies!", json!([["p"], ["p", "default"]])), ("num_uses", json!([2]))]),
        Row::new(2, "GET", "{m/keys/a|m/keys/none|auth/token/lookup-self|sys/mounts/m|m/keys?list=true|cubbyhole/x|sys/health}").with(ttl()).by("root $t1"),
        Row::new(2, "POST", "m/encrypt/{a|none}").with(ttl()).by("root $t1").body([("plaintext", json!(["aGk=", "!!"]))]),
        Row::new(2, "POST", "m/keys/a/{rotate|config}").with(ttl()),
        Row::new(3, "POST", "sys/wrapping/wrap").with(ttl()).by("root root $t1 ").body([("a", json!(["1", { "b": 2 }, null])), ("token", json!(["x"]))]),
        Row::new(6, "POST|PUT", "sys/wrapping/{unwrap|unwrap|lookup|rewrap}").by(who).body([("token", json!(["$w1", "$w1", "$w2", "bad", "", "$t1", null, 5]))]),
        Row::new(3, "POST", "sys/wrapping/{unwrap|lookup|rewrap}").by("$w1 $w2 none "),
        Row::new(1, "GET|DELETE", "sys/wrapping/{lookup|unwrap|wrap}").by("$w1 root "),
        Row::new(2, "GET", "{auth/token/lookup-self|sys/mounts}").by("$w1"),
        Row::new(1, "POST", "auth/token/{lookup|revoke|renew}").body([("token!", json!(["$w1"]))]),
        Row::new(1, "POST", "auth/token/{lookup|revoke|renew}-accessor").body([("accessor!", json!(["$a1"]))]),
        Row::new(1, "POST", "auth/token/create").body([("policies!", json!([["p"]]))]),
    ]
}

/// Mounting, tuning, moving, unmounting; what sits below a mount.
pub fn mounts() -> Vec<Row> {
    let config = || {
        json!([
            { "default_lease_ttl": "1h" }, { "max_lease_ttl": "2h" }, { "default_lease_ttl": "3h", "max_lease_ttl": "2h" }, {},
            { "default_lease_ttl": 60 }
        ])
    };
    vec![
        Row::new(5, "POST", "sys/mounts/{v|v|m|k|v/}").body([
            ("type!", json!(["transit", "kv", "nope", ""])),
            ("description", json!(["d", ""])),
            ("config", config()),
        ]),
        Row::new(4, "POST", "sys/auth/{x|x|y|x/}").body([
            (
                "type!",
                json!(["userpass", "approle", "jwt", "cert", "nope", "", "transit"]),
            ),
            ("description", json!(["d"])),
            ("config", config()),
        ]),
        Row::new(3, "GET", "sys/{mounts|auth}/{v|m|x|none|token|sys|secret}").by("root root $t1"),
        Row::new(2, "GET", "sys/{mounts|auth}/{v|m|x|none|token}/tune").by("root root $t1"),
        // somebody who may use the system without being root
        Row::new(2, "PUT", "sys/policies/acl/p").body([(
            "policy!",
            json!([
                "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }",
                "path \"sys/*\" { capabilities = [\"read\"] }\npath \"sys/auth/*\" { capabilities = [\"read\", \"update\", \"delete\", \"sudo\"] }"
            ]),
        )]),
        Row::new(
            2,
            "GET|LIST|POST|DELETE",
            "sys/{auth|auth/x|auth/none|auth/x/tune|auth/none/tune|mounts/auth/x/tune|remount}",
        )
        .by("$t1"),
        Row::new(
            3,
            "POST",
            "sys/{mounts/v|mounts/m|auth/x|mounts/none|auth/none}/tune",
        )
        .by("root root $t1")
        .body([
            ("default_lease_ttl", json!(["1h", "2h", 60])),
            ("max_lease_ttl", json!(["2h", "3h"])),
            ("description", json!(["d", ""])),
        ]),
        Row::new(
            2,
            "DELETE",
            "sys/{mounts/v|auth/x|mounts/none|auth/none|mounts/sys|auth/token|mounts/cubbyhole|mounts/identity}",
        )
        .by("root root root $t1"),
        Row::new(1, "GET", "sys/{mounts|auth}"),
        Row::new(
            1,
            "GET",
            "sys/internal/ui/mounts/{v|m|m/keys/a|auth/x|none}",
        )
        .by("root $t1 "),
        Row::new(1, "POST", "sys/mounts/k").body([("type!", json!(["kv"])), ("config", config())]),
        Row::new(4, "POST|PUT|GET|GET|LIST|DELETE", "k{/x|/x|/y|/x/y|/x?colour=blue||/}").body([
            ("v", json!(["1", { "a": 1 }])),
            ("ttl", json!(["1h", 60, "-5", -5, 1.5, null, "", "soon", true, "9000h"])),
            ("lease", json!(["2h", 0])),
            ("path", json!(["z"])),
        ]),
        Row::new(1, "POST", "v/keys/k"),
        Row::new(
            1,
            "GET",
            "sys/{license/status|policies/acl/p|nope|quotas/lease-count/x}",
        )
        .by("root root $t1"),
        Row::new(1, "POST", "auth/token/create").body([("policies!", json!([["p"], ["default"]]))]),
        Row::new(1, "POST", "auth/x/users/u").body([
            ("password!", json!(["pw"])),
            ("token_type", json!(["batch"])),
        ]),
        Row::new(2, "POST", "auth/x/login/u")
            .by("")
            .body([("password!", json!(["pw"]))]),
        Row::new(1, "GET", "auth/token/lookup-self").by("$t1"),
        Row::new(1, "POST|DELETE", "identity/entity/id/{$e1|none}")
            .body([("disabled", json!([true, false]))]),
    ]
}

/// What a mount of versioned secrets rules, and a secret for itself.
fn rules() -> [(&'static str, Value); 5] {
    [
        ("max_versions", json!([3, 1, 2, 0, "x", null, "4"])),
        ("cas_required", json!([true, false, null, "x"])),
        (
            "delete_version_after",
            json!(["1h", "30m", "0s", 90, null, "soon", "25h"]),
        ),
        ("metadata_cas_required", json!([false, false, true])),
        ("colour", json!(["blue"])),
    ]
}

/// One pair at a time: the servers name the faults of several in the order of chance.
fn custom() -> Value {
    json!([
        { "a": "b" }, { "c": "d" }, {}, null, { "a": null }, { "a": 1 }, { "a": true }, { "a": "" }, { "": "b" },
        { "a": { "b": 1 } }, { "a": ["b"] }, "a=b", 5, [{ "a": "b" }], { "a": "b\n" }, { "a\u{1}": "b" }
    ])
}

/// The only media type that PATCH takes.
fn patches() -> [(&'static str, Value); 1] {
    [("Content-Type!", json!(["application/merge-patch+json"]))]
}

/// A dev server's `secret/`, and what comes of a plugin that takes it for Transit.
pub fn secrets() -> Vec<Row> {
    let versions = json!([[1], [1, 2], "1,2", [3], [], ["x"], "1,x", 5, null, true, [1.5], { "a": 1 }, "", [99], [-1]]);
    vec![
        Row::new(8, "POST|PUT", "secret/data/{x|x|x|y|x/y}")
            .by("root root root $t1")
            .body([
                ("data", json!([{ "v": "1" }, { "v": "2" }, {}, { "a": { "b": [1] } }, null, 5, "x"])),
                ("options", json!([{ "cas": 0 }, { "cas": 1 }, { "cas": 2 }, { "cas": "1" }, { "cas": "x" }, { "cas": null }, { "cas": -1 }, {}, null, 5])),
                ("version", json!([1, "x"])),
                ("colour", json!(["blue"])),
            ]),
        Row::new(4, "POST", "secret/data/{x|x|y}").body([("data!", json!([{ "v": "1" }]))]),
        Row::new(
            6,
            "GET",
            "secret/data/{x|x|x|y|x/y|none}{|?version=1|?version=2|?version=9|?version=0|?version=-1|?version=x|?colour=blue}",
        )
        .by("root root $t1"),
        Row::new(2, "DELETE", "secret/data/{x|x|y|none}"),
        Row::new(4, "POST|PUT", "secret/{delete|undelete|destroy}/{x|x|x|y|none}")
            .body([("versions", versions)]),
        Row::new(4, "PATCH", "secret/data/{x|x|x|y|none}")
            .with(patches())
            .body([
                ("data", json!([{ "v": "3" }, { "v": null }, { "a": { "b": null, "c": 1 } }, {}, null, 5])),
                ("options", json!([{ "cas": 0 }, { "cas": 1 }, { "cas": 2 }, {}, null])),
                ("colour", json!(["blue"])),
            ]),
        Row::new(3, "GET|POST|POST", "secret/config").body(rules()),
        Row::new(1, "DELETE|LIST|PATCH|HEAD|GET", "secret/config{|/|/x}").with(patches()),
        Row::new(4, "POST|PUT", "secret/metadata/{x|x|y|none}")
            .body(rules())
            .body([("custom_metadata", custom()), ("metadata_cas", json!([0, 1, 2, "x"]))]),
        Row::new(4, "PATCH", "secret/metadata/{x|x|y|none}")
            .with(patches())
            .body(rules())
            .body([("custom_metadata", custom()), ("metadata_cas", json!([0, 1, 2]))]),
        Row::new(3, "GET", "secret/metadata/{x|x|y|x/y|none}"),
        Row::new(1, "DELETE", "secret/metadata/{x|y|none}"),
        Row::new(2, "LIST", "secret/metadata{|/|/x|/none|/x/}"),
        Row::new(
            2,
            "GET|POST|PUT|DELETE|LIST|HEAD",
            "secret/{encrypt/k|decrypt/k|keys/k|x|metadata|data|destroy}",
        )
        .by("root root $t1")
        .body([("plaintext", json!(["aGk="]))]),
        Row::new(1, "POST", "auth/token/create").body([("policies!", json!([["s"]]))]),
        Row::new(1, "PUT", "sys/policies/acl/s").body([(
            "policy!",
            json!([
                "path \"secret/*\" { capabilities = [\"update\", \"read\", \"list\"] }",
                "path \"secret/*\" { capabilities = [\"create\", \"read\"] }"
            ]),
        )]),
    ]
}

/// Rate limits. Intervals are long: a sequence must not depend on when it runs.
pub fn quotas() -> Vec<Row> {
    vec![
        // never on `sys/`: the test could not go on
        Row::new(5, "POST", "sys/quotas/rate-limit/{l|l|k}").body([
            ("rate!", json!([3, 1, 2, 0.5, "2", 0, -1, 1000, 2.5])),
            ("path!", json!(["m/", "m/", "none/", "auth/token/"])),
            ("interval!", json!(["1h", 7200, "2d"])),
            ("block_interval", json!(["1h", 0])),
            ("inheritable", json!([false])),
            ("colour", json!(["blue"])),
        ]),
        Row::new(2, "GET", "sys/quotas/rate-limit/{l|k|none}"),
        Row::new(1, "DELETE", "sys/quotas/rate-limit/{l|k|none}"),
        Row::new(3, "POST", "sys/quotas/config").body([
            (
                "enable_rate_limit_response_headers",
                json!([true, false, "x"]),
            ),
            ("enable_rate_limit_audit_logging", json!([true, false])),
            (
                "rate_limit_exempt_paths",
                json!([["sys/health"], ["m/encrypt/a"], []]),
            ),
        ]),
        Row::new(1, "GET", "sys/quotas/config"),
        Row::new(1, "GET|POST|DELETE", "sys/quotas/{lease-count/x|nope}"),
        Row::new(8, "POST", "m/encrypt/{a|b}").body([("plaintext!", json!(["aGk="]))]),
        Row::new(2, "GET|LIST", "m/keys/a"),
        Row::new(1, "GET", "sys/{health|seal-status|mounts/m}"),
    ]
}

/// Each by header or by prefix.
pub fn namespaces() -> Vec<Row> {
    let header = || {
        [(
            "X-Vault-Namespace",
            json!(["n", "n", "n/", "/n/", "", "/", "root", "none", "N", "o"]),
        )]
    };
    let mut rows = vec![
        Row::new(3, "POST|PUT", "sys/namespaces/{n|o|n/|root|sys|auth}")
            .body([("custom_metadata", json!([{ "a": "b" }, {}]))]),
        Row::new(1, "GET", "sys/namespaces/{n|o|none}"),
        Row::new(1, "LIST", "sys/namespaces"),
        Row::new(1, "GET|POST|PUT", "sys/{health|seal}")
            .with([("X-Vault-Namespace", json!(["n", "none"]))])
            .by("none"),
        Row::new(1, "POST", "sys/namespaces/api-lock/lock")
            .with([("X-Vault-Namespace", json!(["n", "n", ""]))]),
        Row::new(3, "POST", "sys/namespaces/api-lock/unlock")
            .with([("X-Vault-Namespace", json!(["n", "n", ""]))])
            .body([("unlock_key", json!(["bad", "$u1"]))]),
    ];
    // the same calls once more below a prefix
    for (before, headers) in [
        ("", header().to_vec()),
        ("n/", Vec::new()),
        ("none/", Vec::new()),
    ] {
        let path = |rest: &str| -> &'static str { String::leak(format!("{before}{rest}")) };
        let below = vec![
            Row::new(2, "GET", path("sys/mounts/m")),
            Row::new(3, "POST", path("m/keys/{a|b}")),
            Row::new(3, "POST", path("m/encrypt/{a|b}"))
                .by("root root $t1")
                .body([("plaintext!", json!(["aGk="]))]),
            Row::new(2, "GET", path("m/keys/a")).by("root root $t1"),
            Row::new(3, "POST", path("auth/token/create"))
                .by("root root root $t1")
                .body([(
                    "policies!",
                    json!([["p"], ["default"], ["p", "q"], ["root"]]),
                )]),
            Row::new(3, "GET", path("auth/token/lookup-self")).by("$t1 $t1 root $t2"),
            Row::new(1, "POST", path("auth/token/{renew|revoke}-self")).by("$t1"),
            Row::new(2, "PUT", path("sys/policies/acl/p")).body([(
                "policy!",
                json!([
                    "path \"m/*\" { capabilities = [\"update\"] }",
                    "path \"+/m/*\" { capabilities = [\"read\"] }",
                    "path \"n/auth/token/create\" { capabilities = [\"update\"] }",
                    "path \"n/auth/token/create\" { capabilities = [\"update\", \"sudo\"] }"
                ]),
            )]),
            Row::new(1, "GET", path("sys/policies/acl/p")).by("root $t1"),
            Row::new(
                1,
                "GET",
                path("sys/internal/ui/mounts/{sys|m|n/m|n/sys|n/auth/token|none}"),
            )
            .by("root $t1 $t2"),
            Row::new(1, "POST", path("sys/capabilities")).body([
                (
                    "paths!",
                    json!([[
                        "m/keys/a",
                        "n/m/keys/a",
                        "auth/token/lookup-self",
                        "n/auth/token/lookup-self"
                    ]]),
                ),
                ("token!", json!(["$t1", "root"])),
            ]),
            Row::new(1, "POST", path("sys/auth/x")).body([("type!", json!(["userpass"]))]),
            Row::new(1, "POST", path("auth/x/users/u")).body([("password!", json!(["pw"]))]),
            Row::new(2, "POST", path("auth/x/login/u"))
                .by("")
                .body([("password!", json!(["pw", "bad"]))]),
            Row::new(1, "POST", path("sys/mounts/{m|k}")).body([("type!", json!(["transit"]))]),
        ];
        rows.extend(below.into_iter().map(|mut row| {
            row.headers.clone_from(&headers);
            row
        }));
    }
    rows
}

/// Methods, bodies, paths and headers that good clients do not send.
pub fn http() -> Vec<Row> {
    vec![
        Row::new(6, "POST|PUT", "m/encrypt/a").by("root root none ").raw(&[
            "{", "[]", "{\"a\":1,}", "nul", "{\"plaintext\":\"\\q\"}", "", "null", "5", "\"x\"", "{} {}", "{}x", "{\"plaintext\":\"aGk=\",\"plaintext\":\"aGVsbG8=\"}",
            "{\"plaintext\":\"a\\u0047k=\"}", "{\"a\":NaN}", "{'a':1}", " {\"plaintext\":\"aGk=\"} ", "\u{feff}{}", "{\"plaintext\":1e999}", "{\"key_version\":1e2,\"plaintext\":\"\"}",
            "{\"plaintext\":\"\\ud800\"}", "{\"plaintext\":\"a\u{0}\"}", "true", "[{}]", "{\"plaintext\":01}", "{\"plaintext\":\"aGk=\"", "plaintext=aGk%3D", "{\"\":1}", "{\"plaintext\":-}",
        ]),
        Row::new(2, "POST", "m/encrypt/a").with([("Content-Type", json!(["application/x-www-form-urlencoded", "text/plain", "application/json"]))]).raw(&["plaintext=aGk%3D", "plaintext=aGk=&key_version=1", "{\"plaintext\":\"aGk=\"}", "a", "", "%zz", "plaintext=a+b"]),
        Row::new(4, "GET|DELETE|LIST|HEAD|PATCH|FOO|OPTIONS|post|SCAN|TRACE", "{m/encrypt/a|m/nope|m/keys/a|nomount/x|auth/token/create|m/keys/|sys/mounts|sys/nope|m/keys/a/rotate}").by("root root $t1 none "),
        Row::new(3, "GET|POST", "{m//keys/a|m/./keys/a|m/x/../keys/a|m/keys/%61|m/keys/a%2Frotate|m/keys/a%00|m/keys/a%0a|m/keys/%zz|m/keys/ä|m/keys/a?x=y&x=z|m/keys/a?|m%2Fkeys/a|M/keys/a|m/keys/a/|/m/keys/a|m/keys/..%2fa|sys|sys/|m|m/|}").by("root $t1 "),
        Row::new(3, "GET", "m/keys/a").with([
            ("X-Vault-Wrap-TTL", json!(["60", "-1", "soon"])),
            ("X-Vault-Namespace", json!(["", "/", "root"])),
            ("X-Vault-Index", json!(["x", "AAAA", "eyJjbHVzdGVyIjoiYSIsInZhbHVlIjoiMSJ9"])),
            ("X-Vault-Inconsistent", json!(["forward-active-node", "x"])),
            ("X-Vault-No-Request-Forwarding", json!(["1"])),
            ("X-Vault-Request", json!(["true", "no"])),
            ("Authorization", json!(["Bearer root", "bearer root", "Bearer none", "Basic eDp5", "Bearer"])),
            ("Accept", json!(["text/html"])),
            ("Range", json!(["bytes=0-1"])),
            ("If-None-Match", json!(["*"])),
        ]).by("root root  none"),
        Row::new(3, "PATCH", "{m/keys/a|sys/mounts/m|m/encrypt/a}").with([("Content-Type", json!(["application/merge-patch+json", "application/json", "text/plain; x", "nonsense", ""]))]).raw(&["{}", "{", ""]),
        Row::new(1, "GET|HEAD", "sys/init").by(" root none"),
        Row::new(3, "GET|HEAD|POST|PUT", "sys/{health|seal-status|leader|health?standbyok=true|health?activecode=299|health?sealedcode=1|health?activecode=99|health?standbyok|health/|seal-status?x}").by(" root none"),
        Row::new(1, "GET", "sys/{health?activecode=x|health?perfstandbyok=maybe}").by(" root"),
        Row::new(1, "PUT|POST", "sys/unseal").by("").body([("key", json!(["00", "x", ""])), ("reset", json!([true, false]))]),
        Row::new(1, "PUT|POST", "sys/init").by("").body([("secret_shares!", json!([1, 0])), ("secret_threshold", json!([1, 2]))]),
        Row::new(1, "PUT|POST|GET", "sys/seal").by("none "),
        Row::new(1, "POST", "auth/token/create").body([("policies!", json!([["p"]]))]),
    ]
}
