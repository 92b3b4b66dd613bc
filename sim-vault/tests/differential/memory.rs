//! What a server has given out, and how later calls refer to it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::{
    call::Call,
    signers::{jwt, public_pem, wrapped_key},
};

/// Name in calls, and where in an answer the value stands.
const KEPT: [(&str, &str); 13] = [
    ("c", "/data/ciphertext"),
    ("c", "/data/batch_results/0/ciphertext"),
    ("t", "/auth/client_token"),
    ("a", "/auth/accessor"),
    ("e", "/auth/entity_id"),
    ("w", "/wrap_info/token"),
    ("a", "/wrap_info/accessor"),
    ("r", "/data/role_id"),
    ("s", "/data/secret_id"),
    ("sa", "/data/secret_id_accessor"),
    ("b", "/data/backup"),
    ("k", "/data/public_key"),
    ("u", "/data/unlock_key"),
];

/// The values of one server in the order of their coming: `$c1` is the latest ciphertext, `$c2` the one before.
#[derive(Clone, Default)]
pub struct Memory {
    values: Vec<(&'static str, String)>,
}

/// Values from outside, the same for both servers.
static OUTSIDE: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    const FAR: u64 = 4_000_000_000;
    let claims = |change: Value| {
        let mut claims = json!({ "iss": "https://i", "aud": "vault", "sub": "me", "team": "a", "exp": FAR, "iat": 1, "nbf": 1 });
        for (name, value) in change.as_object().into_iter().flatten() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().expect("an object").remove(name);
            }
        }
        claims
    };
    let good = |change: Value| jwt(&claims(change), 0, 0);
    let certificate = rcgen::generate_simple_self_signed(vec!["a".to_owned()])
        .expect("a certificate")
        .cert
        .pem();
    let service = json!({
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:n:s",
        "aud": ["vault"],
        "kubernetes.io": { "namespace": "n", "serviceaccount": { "name": "s", "uid": "u-1" } },
    });
    // longer names first: `$JWT` is the beginning of none of them
    vec![
        ("$PUBLIC2", public_pem(1)),
        ("$PUBLIC", public_pem(0)),
        ("$CERTIFICATE", certificate),
        ("$SERVICE", good(service)),
        ("$EXPIRED", good(json!({ "exp": 1_000 }))),
        ("$EARLY", good(json!({ "nbf": FAR }))),
        ("$OTHERKEY", jwt(&claims(json!({})), 0, 1)),
        ("$NOAUD", good(json!({ "aud": null }))),
        ("$AUDS", good(json!({ "aud": ["x", "vault"] }))),
        ("$WRONGISS", good(json!({ "iss": "nobody" }))),
        (
            "$NOEXP",
            good(json!({ "exp": null, "iat": null, "nbf": null })),
        ),
        ("$NOSUB", good(json!({ "sub": null }))),
        ("$NOBODY", good(json!({ "sub": "" }))),
        ("$JWT", good(json!({}))),
    ]
});

impl Memory {
    /// Keeps what an answer gives.
    pub fn keep(&mut self, path: &str, body: &Value) {
        for (name, pointer) in KEPT {
            // what a data key is nobody can foretell
            if name == "c" && path.contains("/datakey/") {
                continue;
            }
            if let Some(text) = body.pointer(pointer).and_then(Value::as_str)
                && !text.is_empty()
            {
                self.values.push((name, text.to_owned()));
            }
        }
        // the accessor of a mount, from `sys/auth/x`
        if let Some(accessor) = body.pointer("/data/accessor").and_then(Value::as_str)
            && body.pointer("/data/running_plugin_version").is_some()
        {
            self.values.push(("m", accessor.to_owned()));
        }
    }

    fn value(&self, name: &str, nth: usize) -> Option<&str> {
        let mut kept = self.values.iter().rev().filter(|(n, _)| *n == name);
        kept.nth(nth.checked_sub(1)?).map(|(_, v)| v.as_str())
    }

    /// The call as this server is to get it: method, path, token, body.
    pub fn fill(&self, call: &Call) -> Filled {
        let body = match &call.body {
            Value::Null => None,
            // malformed bodies are texts
            Value::String(raw) => Some(raw.clone()),
            body => Some(self.tree(body).to_string()),
        };
        Filled {
            path: self.text(&call.path),
            token: self.text(&call.token),
            body,
        }
    }

    fn tree(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|v| self.tree(v)).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), self.tree(v))).collect(),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        if !text.contains('$') {
            return text.to_owned();
        }
        let mut out = text.to_owned();
        for (name, value) in OUTSIDE.iter() {
            out = out.replace(name, value);
        }
        for (name, bytes) in [("$imp256", 32u8), ("$imp128", 16)] {
            if out.contains(name) {
                let key: Vec<u8> = (0..bytes).collect();
                let wrapped = self
                    .value("k", 1)
                    .and_then(|pem| wrapped_key(pem, &key).ok());
                out = out.replace(name, &wrapped.unwrap_or_default());
            }
        }
        for name in ["sa", "c", "t", "a", "e", "w", "r", "s", "b", "u", "m"] {
            for nth in 1..4 {
                let sign = format!("${name}{nth}");
                if out.contains(&sign) {
                    out = out.replace(&sign, self.value(name, nth).unwrap_or("none"));
                }
            }
        }
        out
    }
}

/// A call with the values of one server.
pub struct Filled {
    pub path: String,
    pub token: String,
    pub body: Option<String>,
}
