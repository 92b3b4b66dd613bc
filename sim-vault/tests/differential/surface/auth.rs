//! Tokens and the login methods.

use serde_json::{Value, json};

use super::Row;

fn ttls() -> Value {
    json!([
        "1h", 3600, "9000h", "soon", -5, 0, "", "2d", "90", null, "1h30m", 1.5
    ])
}

fn counts() -> Value {
    json!([1, 2, 5, 0, -1, "3", "x", null])
}

fn policies() -> Value {
    json!([
        ["p"], [], "p,default", ["root"], "p", "", ["P", "q"], ["p", "p"], [" p "], 5, null, ["default"], { "a": 1 },
        ["root", "p"], ["", "p"], "p,,q", [""]
    ])
}

fn kinds() -> Value {
    json!([
        "batch",
        "service",
        "default",
        "default-batch",
        "default-service",
        "nope",
        ""
    ])
}

fn networks() -> Value {
    json!([
        ["127.0.0.0/8"],
        ["10.0.0.0/8"],
        "127.0.0.1/32",
        ["127.0.0.1"],
        [],
        ["nonsense"],
        ["10.0.0.0/8", "127.0.0.0/8"],
        "",
        "127.0.0.1,",
        [""]
    ])
}

/// The fields that users and roles of all methods share.
fn shared() -> Vec<(&'static str, Value)> {
    vec![
        ("token_policies", policies()),
        ("token_ttl", ttls()),
        ("token_max_ttl", json!(["2h", "10m", 0, "soon", "9000h"])),
        ("token_explicit_max_ttl", json!(["3h", "10m", "soon"])),
        ("token_period", json!(["1h", 60, 0, -1])),
        ("token_num_uses", counts()),
        ("token_bound_cidrs", networks()),
        ("token_no_default_policy", json!([true, false, "x"])),
        ("token_type", kinds()),
        ("colour", json!(["blue"])),
    ]
}

fn role(
    weight: u32,
    methods: &'static str,
    path: &'static str,
    own: Vec<(&'static str, Value)>,
) -> Row {
    let mut row = Row::new(weight, methods, path);
    row.fields = own;
    row.fields.extend(shared());
    row
}

/// The shared ones by their old names.
fn old() -> Vec<(&'static str, Value)> {
    vec![
        ("policies", policies()),
        ("ttl", ttls()),
        ("max_ttl", json!(["10m", "2h", "9000h", 0, null])),
        ("period", json!(["1h", "9000h", 0])),
        ("bound_cidrs", networks()),
        ("num_uses", counts()),
    ]
}

/// What anyone may do with the tokens that a family's logins gave.
fn with_tokens() -> Vec<Row> {
    vec![
        Row::new(3, "GET", "auth/token/lookup-self").by("$t1 $t1 $t2"),
        Row::new(2, "POST", "auth/token/renew-self")
            .by("$t1 $t1 $t2")
            .body([("increment", json!(["2h", 60, "x", -1, "", null, 0]))]),
        Row::new(2, "POST", "m/encrypt/a")
            .by("$t1 $t1 $t2")
            .body([("plaintext!", json!(["aGk="]))]),
        Row::new(1, "POST", "auth/token/revoke-self").by("$t1 $t2"),
    ]
}

pub fn tokens() -> Vec<Row> {
    let create = || {
        [
            ("policies", policies()),
            ("ttl", ttls()),
            ("explicit_max_ttl", json!(["2h", "10m", "soon", -5, 0])),
            ("period", json!(["1h", "soon", 0, "2d"])),
            ("num_uses", counts()),
            ("renewable", json!([true, false, "x"])),
            ("type", kinds()),
            ("no_default_policy", json!([true, false])),
            ("no_parent", json!([true, false])),
            ("display_name", json!(["d", "a b!", "", "ü", 5])),
            (
                "meta",
                json!([{ "k": "v" }, {}, { "k": 5 }, "k=v", null, { "k": { "a": 1 } }, ["k=v"]]),
            ),
            ("lease", json!(["1h", "soon", 60])),
            ("colour", json!(["blue"])),
            ("entity_alias", json!(["e", "E", "f", ""])),
        ]
    };
    let mut rows = vec![
        Row::new(8, "POST", "auth/token/create").body(create()),
        Row::new(2, "POST", "auth/token/create")
            .by("$t1 $t2")
            .body(create()),
        Row::new(2, "POST", "auth/token/create").body([
            ("policies", json!([["p"]])),
            ("ttl!", json!(["1h"])),
            ("num_uses", json!([1, 2, 3])),
        ]),
        Row::new(2, "POST", "auth/token/create-orphan")
            .by("root $t1")
            .body(create()),
        Row::new(2, "POST", "auth/token/create").body([
            (
                "id!",
                json!([
                    "own", "own2", "", "a.b", "s.own", "hvs.own", "own/x", "r own"
                ]),
            ),
            ("policies", policies()),
        ]),
        Row::new(4, "POST", "auth/token/create/{r|r|s}")
            .by("root root $t1")
            .body(create()),
        role(
            4,
            "POST",
            "auth/token/roles/{r|r|s}",
            vec![
                ("allowed_policies", policies()),
                ("disallowed_policies", policies()),
                ("allowed_policies_glob", json!([["p*"], ["*"], []])),
                ("disallowed_policies_glob", json!([["q*"], ["*"], []])),
                ("orphan", json!([true, false])),
                ("renewable", json!([false, true])),
                ("path_suffix", json!(["x", "", "a/b", "a b", "abc", "a..b"])),
                ("explicit_max_ttl", json!(["2h", 60, "9000h", 0, null])),
                ("period", json!(["1h", 60, 0])),
                ("bound_cidrs", networks()),
                ("allowed_entity_aliases", json!([["e"], "E*", [], null])),
                ("token_type", json!([null, "batch", "default-batch"])),
            ],
        ),
        Row::new(2, "GET|DELETE|LIST", "auth/token/roles/{r|s}").by("root root $t1"),
        Row::new(1, "LIST|GET", "auth/token/roles"),
        Row::new(3, "POST", "auth/token/lookup")
            .by("root $t1")
            .body([("token", json!(["$t1", "$t2", "root", "bad", ""]))]),
        Row::new(2, "POST", "auth/token/lookup-accessor")
            .body([("accessor", json!(["$a1", "$a2", "bad", ""]))]),
        Row::new(3, "POST", "auth/token/renew")
            .by("root root $t1")
            .body([
                ("token", json!(["$t1", "$t2", "root", "bad", ""])),
                ("increment", json!(["2h", 60, "x", -1])),
            ]),
        Row::new(1, "POST", "auth/token/renew-accessor").body([
            ("accessor", json!(["$a1", "$a2", "bad", ""])),
            ("increment", json!(["2h", 60])),
        ]),
        Row::new(2, "POST", "auth/token/revoke{|-orphan}")
            .by("root root $t2")
            .body([("token", json!(["$t1", "$t2", "bad", ""]))]),
        // somebody who may use the method without being root
        Row::new(3, "PUT", "sys/policies/acl/tok").body([(
            "policy!",
            json!([
                "path \"auth/token/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }",
                "path \"auth/token/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }"
            ]),
        )]),
        Row::new(3, "POST", "auth/token/create").body([("policies!", json!([["tok"], ["tok", "p"]]))]),
        Row::new(1, "GET|POST|DELETE", "auth/token/accessors").by("$t1"),
        Row::new(1, "POST", "auth/token/revoke-accessor")
            .body([("accessor", json!(["$a1", "bad", ""]))]),
        Row::new(
            1,
            "GET|LIST|DELETE|POST",
            "auth/token/{create|lookup|nope|renew-self|lookup-self/|create/}",
        )
        .by("root $t1 "),
        Row::new(
            2,
            "POST|POST|POST|PUT|GET|LIST|DELETE",
            "sys/{leases/|leases/|}revoke-{prefix|prefix|force}/{auth/token/create/r|auth/x/login|auth/x|none|auth/x/}",
        )
        .by("root root $t1")
        .body([("sync", json!([true, false, "x"])), ("prefix", json!(["z"]))]),
        Row::new(2, "GET|PUT", "cubbyhole/x")
            .by("$t1 $t2 root")
            .body([("v", json!(["1", 2]))]),
        Row::new(1, "GET", "auth/token/lookup-self").by("none $t3 "),
    ];
    rows.extend(with_tokens());
    rows
}

pub fn userpass() -> Vec<Row> {
    let passwords = || json!(["pw", "bad", "bad", "", 5, null, { "a": 1 }, ["pw"], "pw2", true]);
    let mut rows = vec![
        role(4, "POST|PUT", "auth/x/users/{u|u|V}", vec![
            ("password", json!(["pw", "pw2", "", 5, null])),
        ]),
        Row::new(1, "POST", "auth/x/users/u").body_of(old()),
        Row::new(2, "GET", "auth/x/users/{u|v|V}"),
        Row::new(1, "DELETE", "auth/x/users/{u|v}"),
        Row::new(1, "LIST|GET", "auth/x/users"),
        Row::new(1, "POST", "auth/x/users/{u|v|w}/password").body([("password", passwords())]),
        Row::new(1, "POST", "auth/x/users/{u|v|w}/policies").body([("token_policies", json!([["p"], ["q", "p"], "p", [], ["P", "", "p"], "q,,P"]))]),
        Row::new(10, "POST|PUT", "auth/x/login/{u|u|u|U|v|w}").by("  $t1").body([("password", passwords())]),
        Row::new(4, "POST", "auth/x/login/u").by("").body([("password!", json!(["bad", "pw"]))]),
        Row::new(1, "POST", "sys/auth/x/tune").body([(
            "user_lockout_config!",
            json!([
                { "lockout_threshold": "2" }, { "lockout_disable": true }, { "lockout_threshold": "3", "lockout_duration": "10m" },
                { "lockout_counter_reset_duration": "5m" }
            ]),
        )]),
        Row::new(1, "GET", "sys/auth/x/tune"),
        Row::new(1, "POST", "sys/locked-users/{$m1|bad}/unlock/{u|w}"),
        Row::new(1, "GET|DELETE|POST", "auth/x/{login/u|nope}").by("root  $t1"),
        Row::new(1, "DELETE", "sys/auth/x"),
        Row::new(1, "POST", "sys/auth/x").body([("type!", json!(["userpass"]))]),
        Row::new(1, "POST", "auth/y/login/u").by(" root").body([("password!", json!(["pw"]))]),
    ];
    rows.extend(with_tokens());
    rows
}

pub fn approle() -> Vec<Row> {
    let mut rows = vec![
        role(
            4,
            "POST",
            "auth/x/role/{u|u|V}",
            vec![
                ("bind_secret_id", json!([true, false])),
                ("secret_id_bound_cidrs", networks()),
                ("secret_id_num_uses", counts()),
                ("secret_id_ttl", json!(["10m", "soon", 0, -1, "9000h"])),
                ("role_id", json!(["own", ""])),
                ("local_secret_ids", json!([true, false])),
                ("policies", policies()),
                ("period", json!(["1h", 0, null, "soon"])),
                ("bound_cidr_list", networks()),
            ],
        ),
        Row::new(2, "GET", "auth/x/role/{u|v|w}"),
        Row::new(1, "DELETE", "auth/x/role/{u|v}"),
        Row::new(1, "LIST|GET", "auth/x/role"),
        Row::new(2, "GET", "auth/x/role/{u|u|w}/role-id"),
        Row::new(1, "POST", "auth/x/role/{u|u|w}/role-id")
            .body([("role_id", json!(["own", "", 5]))]),
        Row::new(5, "POST", "auth/x/role/{u|u|u|v|w}/secret-id").body([
            (
                "metadata",
                json!([
                    "{\"k\":\"v\"}", "nonsense", "", { "k": "v" }, "{\"k\":5}", "k=v", "k=v,l=w", "eyJrIjoidiJ9", "k=", "=v",
                    "k=v=w", " K = V ,", "{\"k\":null}", "{}", "null", "{\"\":\"v\"}", 5, null, "a b=v", "vault-k=v", "k.l=v",
                    format!("k={}", "v".repeat(513)), format!("{}=v", "k".repeat(129))
                ]),
            ),
            ("cidr_list", networks()),
            ("token_bound_cidrs", networks()),
            ("num_uses", counts()),
            ("ttl", json!(["10m", "20m", "soon", 0, -1])),
        ]),
        Row::new(1, "POST", "auth/x/role/{u|w}/custom-secret-id").body([
            ("secret_id", json!(["sid", "", 5])),
            ("num_uses", json!([1])),
            ("metadata", json!(["k=v", "{\"k\":\"v\"}", "a=1,b=2", "k"])),
        ]),
        Row::new(1, "LIST", "auth/x/role/{u|w}/secret-id"),
        Row::new(
            2,
            "POST",
            "auth/x/role/{u|u|w}/secret-id/{lookup|lookup|destroy}",
        )
        .body([("secret_id", json!(["$s1", "$s1", "bad", "", "sid"]))]),
        Row::new(
            2,
            "POST",
            "auth/x/role/{u|u|w}/secret-id-accessor/{lookup|lookup|destroy}",
        )
        .body([("secret_id_accessor", json!(["$sa1", "$sa1", "bad", ""]))]),
        Row::new(10, "POST", "auth/x/login").by("  $t1").body([
            (
                "role_id",
                json!(["$r1", "$r1", "$r1", "bad", "", "own", 5, null]),
            ),
            (
                "secret_id",
                json!(["$s1", "$s1", "$s1", "$s2", "bad", "", "sid", 5, null]),
            ),
        ]),
        Row::new(5, "POST", "auth/x/login").by("").body([
            ("role_id!", json!(["$r1"])),
            ("secret_id!", json!(["$s1", "$s2", "bad"])),
        ]),
        Row::new(
            8,
            "POST|POST|POST|GET|DELETE|LIST",
            "auth/x/role/{u|u|u|w}/{policies|token-ttl|token-max-ttl|token-num-uses|period|bind-secret-id|secret-id-num-uses|secret-id-ttl|bound-cidr-list|secret-id-bound-cidrs|token-bound-cidrs|local-secret-ids}{|/}",
        )
        .body([
            ("policies", policies()),
            ("token_policies", policies()),
            ("token_ttl", ttls()),
            ("token_max_ttl", json!(["2h", "10m", 0, "soon", null])),
            ("token_num_uses", counts()),
            ("period", json!(["1h", 0, null])),
            ("token_period", json!(["2h", 0, null, "soon"])),
            ("bind_secret_id", json!([true, false, null, "x"])),
            ("secret_id_num_uses", counts()),
            ("secret_id_ttl", ttls()),
            ("bound_cidr_list", networks()),
            ("secret_id_bound_cidrs", networks()),
            ("token_bound_cidrs", networks()),
        ]),
        Row::new(1, "POST", "auth/x/tidy/secret-id"),
        Row::new(
            1,
            "GET|DELETE|LIST|POST",
            "auth/x/{login/x|role/u/nope|nope}",
        )
        .by("root "),
    ];
    rows.extend(with_tokens());
    rows
}

pub fn jwt() -> Vec<Row> {
    let mut rows = vec![
        Row::new(3, "POST", "auth/x/config").body([
            (
                "jwt_validation_pubkeys",
                json!([
                    ["$PUBLIC"],
                    "$PUBLIC",
                    [],
                    ["nonsense"],
                    ["$PUBLIC2", "$PUBLIC"]
                ]),
            ),
            ("bound_issuer", json!(["https://i", "other", ""])),
            ("default_role", json!(["u", "", "w"])),
            ("jwt_supported_algs", json!([["RS256"], []])),
            ("jwks_url", json!([""])),
            ("oidc_discovery_url", json!([""])),
        ]),
        role(
            5,
            "POST",
            "auth/x/role/{u|u|v}",
            vec![
                ("role_type", json!(["jwt", "oidc", "nope", ""])),
                (
                    "bound_audiences",
                    json!([["vault"], "vault", ["other"], [], ["other", "vault"]]),
                ),
                ("bound_subject", json!(["me", "you", ""])),
                (
                    "bound_claims",
                    json!([{ "team": "a" }, { "team": ["b", "a"] }, { "none": "x" }, {}, { "team": 5 }]),
                ),
                ("bound_claims_type", json!(["string", "glob", "nope"])),
                ("user_claim", json!(["sub", "none", "team", "", "nested"])),
                (
                    "claim_mappings",
                    json!([{ "team": "group" }, { "none": "x" }, { "team": "" }, { "team": "a b" }, { "team": "vault-k" }]),
                ),
                ("groups_claim", json!(["groups", "none"])),
                ("clock_skew_leeway", json!([0, 60])),
                ("expiration_leeway", json!([0, 60])),
            ],
        ),
        Row::new(1, "GET|DELETE", "auth/x/role/{u|v|w}"),
        Row::new(2, "POST", "auth/x/role/u").body([
            ("role_type!", json!(["jwt"])),
            ("user_claim!", json!(["sub", "team"])),
            ("bound_audiences!", json!([["vault"]])),
            (
                "bound_claims",
                json!([{ "team": "a" }, { "team": "*" }, { "exp": 4_000_000_000u64 }, { "aud": "vault" }, { "team": true }]),
            ),
            ("bound_claims_type", json!(["glob", "string"])),
            ("claim_mappings", json!([{ "team": "group" }, { "exp": "x" }, { "team": "role" }, { "team": "a", "sub": "a" }])),
            ("groups_claim", json!(["team", "aud", "exp", "none", ""])),
        ]),
        Row::new(1, "POST", "auth/x/role/u").body_of(old()).body([("role_type!", json!(["jwt"]))]),
        Row::new(1, "LIST|GET", "auth/x/role"),
        Row::new(5, "POST", "auth/x/login").by("").body([
            ("role!", json!(["u"])),
            ("jwt!", json!(["$JWT", "$AUDS"])),
        ]),
        Row::new(12, "POST", "auth/x/login").by("  $t1").body([
            ("role", json!(["u", "u", "u", "w", "", null, 5])),
            (
                "jwt",
                json!([
                    "$JWT",
                    "$JWT",
                    "$JWT",
                    "$EXPIRED",
                    "$EARLY",
                    "$OTHERKEY",
                    "$NOAUD",
                    "$AUDS",
                    "$WRONGISS",
                    "$NOEXP",
                    "$NOSUB",
                    "$NOBODY",
                    "nonsense",
                    "a.b",
                    "",
                    "$JWTx",
                    5,
                    null
                ]),
            ),
        ]),
    ];
    rows.extend(with_tokens());
    rows
}

pub fn kubernetes() -> Vec<Row> {
    vec![
        role(
            5,
            "POST",
            "auth/x/role/{u|u|v}",
            vec![
                (
                    "bound_service_account_names",
                    json!([["s"], "s", ["*"], [], ["s*"], ["other"]]),
                ),
                (
                    "bound_service_account_namespaces",
                    json!([["n"], "n", ["*"], [], ["n*"], ["other"]]),
                ),
                ("audience", json!(["vault", "other", ""])),
                (
                    "alias_name_source",
                    json!(["serviceaccount_uid", "serviceaccount_name", "nope", ""]),
                ),
            ],
        ),
        Row::new(1, "POST", "auth/x/role/u").body_of(old()),
        Row::new(1, "DELETE", "auth/x/role/{u|v|w}"),
        Row::new(3, "GET", "auth/x/role/{u|v|w}"),
        Row::new(1, "LIST|GET", "auth/x/role"),
        Row::new(10, "POST", "auth/x/login").by("").body([
            ("role", json!(["u", "u", "u", "w", "", null, 5])),
            (
                "jwt",
                json!([
                    "$SERVICE", "$SERVICE", "$EXPIRED", "$JWT", "nonsense", "a.b.c", "", 5, null
                ]),
            ),
        ]),
    ]
}

pub fn cert() -> Vec<Row> {
    vec![
        role(
            6,
            "POST",
            "auth/x/certs/{u|u|v}",
            vec![
                (
                    "certificate!",
                    json!(["$CERTIFICATE", "nonsense", "", "$PUBLIC"]),
                ),
                ("allowed_common_names", json!([["a"], "a,b", []])),
                ("display_name", json!(["d", ""])),
            ],
        ),
        Row::new(1, "POST", "auth/x/certs/{u|v}").body_of(old()),
        Row::new(3, "GET", "auth/x/certs/{u|u|U|v|w}"),
        Row::new(2, "DELETE", "auth/x/certs/{u|v|w|V}"),
        Row::new(1, "LIST|GET", "auth/x/certs"),
        Row::new(3, "POST", "auth/x/login")
            .by("")
            .body([("name", json!(["u", "w", ""]))]),
    ]
}
