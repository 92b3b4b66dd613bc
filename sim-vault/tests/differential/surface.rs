//! What may be asked: the API as rows of methods, paths and bodies, grouped into families.
//!
//! A row is data: `{a|b}` in a path chooses one, a field's list holds the values it may take, simplest first (that is
//! where shrinking goes), and `!` behind a field's or a header's name makes it always present. In texts `$t1` and the like stand for
//! what earlier answers gave (see [`crate::memory`]).

use serde_json::{Value, json};

use crate::call::Call;

mod auth;
pub mod cluster;
mod system;
mod transit;

/// Ids that calls give to tokens themselves.
pub const OWN_TOKENS: [&str; 5] = ["own", "own2", "own/x", "r own", "a.b"];

/// What a quota's configuration exempts until somebody writes it; once written, it can only be written again.
pub const EXEMPT: [&str; 1] = ["sys/health"];

/// One kind of call.
pub struct Row {
    pub weight: u32,
    pub methods: &'static str,
    pub path: &'static str,
    /// Whose token: names separated by blanks, one more often by naming it twice.
    pub by: &'static str,
    pub fields: Vec<(&'static str, Value)>,
    pub headers: Vec<(&'static str, Value)>,
    /// Instead of fields: the whole body, as texts.
    pub raw: Vec<&'static str>,
}

impl Row {
    fn new(weight: u32, methods: &'static str, path: &'static str) -> Self {
        Self {
            weight,
            methods,
            path,
            by: "root",
            fields: Vec::new(),
            headers: Vec::new(),
            raw: Vec::new(),
        }
    }

    fn by(mut self, by: &'static str) -> Self {
        self.by = by;
        self
    }

    fn body<const N: usize>(mut self, fields: [(&'static str, Value); N]) -> Self {
        self.fields.extend(fields);
        self
    }

    fn body_of(mut self, fields: Vec<(&'static str, Value)>) -> Self {
        self.fields.extend(fields);
        self
    }

    fn with<const N: usize>(mut self, headers: [(&'static str, Value); N]) -> Self {
        self.headers.extend(headers);
        self
    }

    fn raw(mut self, bodies: &[&'static str]) -> Self {
        self.raw = bodies.to_vec();
        self
    }
}

impl Row {
    /// Whether it is one of this row's calls, whatever its body.
    pub fn has(&self, call: &Call) -> bool {
        let named = |name: &str| {
            self.headers
                .iter()
                .any(|(n, _)| n.trim_end_matches('!') == name)
        };
        self.methods.split('|').any(|m| m == call.method)
            && paths(self.path).contains(&call.path)
            && call.headers.iter().all(|(name, _)| named(name))
    }
}

/// All paths of a pattern.
fn paths(pattern: &str) -> Vec<String> {
    let Some((plain, (choice, tail))) = pattern
        .split_once('{')
        .and_then(|(plain, rest)| Some((plain, rest.split_once('}')?)))
    else {
        return vec![pattern.to_owned()];
    };
    let tails = paths(tail);
    let choices = choice.split('|');
    choices
        .flat_map(|c| tails.iter().map(move |t| format!("{plain}{c}{t}")))
        .collect()
}

/// Rows that belong together, and the calls that lay their ground.
pub struct Family {
    pub name: &'static str,
    pub prelude: Vec<Call>,
    pub rows: Vec<Row>,
    /// Vault's edition of this family does not exist or is not built in.
    pub openbao_only: bool,
    /// Its first calls take seconds: the model makes them once, and no other family takes calls from it.
    pub slow: bool,
}

/// All families. A sequence concentrates on one and takes the odd call from the others.
pub fn families() -> Vec<Family> {
    let family = |name, prelude, rows| Family {
        name,
        prelude,
        rows,
        openbao_only: false,
        slow: false,
    };
    let only = |name, prelude, rows| Family {
        openbao_only: true,
        ..family(name, prelude, rows)
    };
    vec![
        family("transit", ground(), transit::use_keys()),
        family("keys", ground(), transit::keep_keys()),
        family("batch", ground(), transit::batches()),
        Family {
            slow: true,
            ..family("bring", bring(), transit::bring_keys())
        },
        family("tokens", token_ground(), auth::tokens()),
        family("userpass", login_ground("userpass"), auth::userpass()),
        family("approle", login_ground("approle"), auth::approle()),
        family("jwt", login_ground("jwt"), auth::jwt()),
        only("kubernetes", login_ground("kubernetes"), auth::kubernetes()),
        family("cert", login_ground("cert"), auth::cert()),
        family("policy", policy_ground(), system::policies()),
        family("wrapping", ground(), system::wrapping()),
        family("secrets", ground(), system::secrets()),
        family("mounts", ground(), system::mounts()),
        family("quotas", quota_ground(), system::quotas()),
        only("namespaces", namespace_ground(), system::namespaces()),
        family("http", ground(), system::http()),
    ]
}

fn ground() -> Vec<Call> {
    vec![
        Call::new("POST", "sys/mounts/m", json!({ "type": "transit" })),
        Call::new("POST", "m/keys/a", json!({})),
        Call::new(
            "PUT",
            "sys/policies/acl/p",
            json!({ "policy": "path \"m/*\" { capabilities = [\"create\", \"update\", \"read\"] }" }),
        ),
    ]
}

/// Standbys may not hear of a policy that comes after the token that names it.
fn token_ground() -> Vec<Call> {
    let mut calls = ground();
    calls.push(Call::new(
        "PUT",
        "sys/policies/acl/tok",
        json!({ "policy": "path \"auth/token/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }" }),
    ));
    calls
}

fn bring() -> Vec<Call> {
    let mut calls = ground();
    calls.push(Call::new("GET", "m/wrapping_key", Value::Null));
    calls
}

fn login_ground(kind: &str) -> Vec<Call> {
    let mut calls = ground();
    calls.push(Call::new("POST", "sys/auth/x", json!({ "type": kind })));
    match kind {
        "userpass" => calls.push(Call::new(
            "POST",
            "auth/x/users/u",
            json!({ "password": "pw", "token_policies": "p" }),
        )),
        "approle" => {
            calls.push(Call::new(
                "POST",
                "auth/x/role/u",
                json!({ "token_policies": "p" }),
            ));
            calls.push(Call::new("GET", "auth/x/role/u/role-id", Value::Null));
            calls.push(Call::new("POST", "auth/x/role/u/secret-id", json!({})));
        }
        "jwt" => {
            calls.push(Call::new(
                "POST",
                "auth/x/config",
                json!({ "jwt_validation_pubkeys": ["$PUBLIC"], "bound_issuer": "https://i" }),
            ));
            calls.push(Call::new(
                "POST",
                "auth/x/role/u",
                json!({ "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": "p" }),
            ));
        }
        "kubernetes" => {
            calls.push(Call::new(
                "POST",
                "auth/x/config",
                json!({ "kubernetes_host": "http://127.0.0.1:1", "disable_local_ca_jwt": true, "kubernetes_ca_cert": "$CERTIFICATE" }),
            ));
            calls.push(Call::new(
                "POST",
                "auth/x/role/u",
                json!({ "bound_service_account_names": "s", "bound_service_account_namespaces": "n" }),
            ));
        }
        _ => {}
    }
    calls
}

fn quota_ground() -> Vec<Call> {
    let mut calls = ground();
    calls.push(Call::new(
        "POST",
        "sys/quotas/config",
        json!({ "rate_limit_exempt_paths": EXEMPT }),
    ));
    calls
}

fn policy_ground() -> Vec<Call> {
    let mut calls = ground();
    calls.push(Call::new(
        "POST",
        "auth/token/create",
        json!({ "policies": ["p", "q"] }),
    ));
    calls
}

fn namespace_ground() -> Vec<Call> {
    let mut calls = ground();
    calls.push(Call::new("POST", "sys/namespaces/n", Value::Null));
    calls.push(Call::new(
        "POST",
        "n/sys/mounts/m",
        json!({ "type": "transit" }),
    ));
    calls
}
