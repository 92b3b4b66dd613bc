//! Random calls over the part of the API that a KMS plugin and its tests touch.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};

/// One call. `%` stands for the number of the sequence, `$c1`, `$t1`, `$r`, `$s` for what earlier calls gave.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    /// `Null` is no body, a text is sent as it is.
    pub body: Value,
    pub token: String,
}

impl Call {
    pub fn new(method: &str, path: &str, body: Value) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            body,
            token: "root".to_owned(),
        }
    }

    fn by(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }
}

struct Dice(ChaCha12Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.next_u32() as usize % n
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    fn value(&mut self, list: &[Value]) -> Value {
        list[self.below(list.len())].clone()
    }

    /// An object with each field in it or not.
    fn object(&mut self, fields: &[(&str, &[Value])]) -> Value {
        let mut out = json!({});
        for (name, values) in fields {
            if self.below(3) == 0 {
                out[*name] = self.value(values);
            }
        }
        out
    }
}

/// The calls of one seed: the mounts first, then anything.
pub fn sequence(seed: u64, length: usize) -> Vec<Call> {
    let mut dice = Dice(ChaCha12Rng::seed_from_u64(seed));
    let mut calls = vec![
        Call::new("POST", "sys/mounts/m%", json!({ "type": "transit" })),
        Call::new("POST", "m%/keys/a", json!({})),
        Call::new(
            "PUT",
            "sys/policies/acl/p%",
            json!({ "policy": "path \"m%/*\" { capabilities = [\"create\", \"update\", \"read\"] }" }),
        ),
    ];
    while calls.len() < length {
        let call = match dice.below(20) {
            0..12 => transit(&mut dice),
            12..15 => tokens(&mut dice),
            15..17 => userpass(&mut dice),
            17..19 => approle(&mut dice),
            _ => system(&mut dice),
        };
        calls.push(call);
    }
    calls
}

fn plaintexts() -> Vec<Value> {
    vec![
        json!("aGk="),
        json!(""),
        json!("!!"),
        json!("aGk"),
        json!(null),
        json!(5),
        json!("aGVsbG8="),
        json!({ "a": 1 }),
        json!(true),
    ]
}

fn versions() -> Vec<Value> {
    vec![
        json!(0),
        json!(1),
        json!(2),
        json!(3),
        json!(-1),
        json!("1"),
        json!("x"),
        json!(1.5),
        json!(null),
    ]
}

fn ciphertexts() -> Vec<Value> {
    vec![
        json!("$c1"),
        json!("$c1"),
        json!("$c2"),
        json!("$c3"),
        json!(""),
        json!("vault:v1:AAAA"),
        json!("vault:v9:AAAA"),
        json!("nonsense"),
        json!(7),
        json!(null),
    ]
}

const CONTEXT: &str = "Y3R4";

fn item(dice: &mut Dice, name: &str, values: &[Value]) -> Value {
    let mut out = dice.object(&[
        ("reference", &[json!("r"), json!("")]),
        ("associated_data", &[json!("YWFk"), json!("!"), json!("")]),
        ("key_version", &versions()[..5]),
    ]);
    if dice.below(12) > 0 {
        out[name] = dice.value(values);
    }
    out
}

fn transit(dice: &mut Dice) -> Call {
    let key = dice.of(&["a", "a", "a", "b", "c"]);
    let who = dice.of(&["root", "root", "root", "$t1"]);
    let flags = [
        json!(true),
        json!(false),
        json!("true"),
        json!("maybe"),
        json!(1),
    ];
    match dice.below(17) {
        0 => {
            let body = dice.object(&[
                (
                    "type",
                    &[
                        "aes256-gcm96",
                        "aes128-gcm96",
                        "chacha20-poly1305",
                        "ed25519",
                        "ecdsa-p256",
                        "hmac",
                        "nope",
                    ]
                    .map(Value::from),
                ),
                ("derived", &flags[..2]),
                ("exportable", &flags[..2]),
                ("convergent_encryption", &flags[..2]),
                ("allow_plaintext_backup", &flags[..2]),
                (
                    "auto_rotate_period",
                    &[json!("1h"), json!(10), json!("24h"), json!("soon")],
                ),
            ]);
            Call::new("POST", &format!("m%/keys/{key}"), body)
        }
        1 => Call::new("GET", &format!("m%/keys/{key}"), Value::Null).by(who),
        2 => Call::new("LIST", "m%/keys", Value::Null).by(who),
        3 | 4 => Call::new("POST", &format!("m%/keys/{key}/rotate"), Value::Null).by(who),
        5 => {
            let body = dice.object(&[
                ("min_decryption_version", &versions()),
                ("min_encryption_version", &versions()),
                ("deletion_allowed", &flags),
                ("exportable", &flags),
                ("allow_plaintext_backup", &flags),
                ("colour", &[json!("blue")]),
            ]);
            Call::new("POST", &format!("m%/keys/{key}/config"), body)
        }
        6 => Call::new("DELETE", &format!("m%/keys/{key}"), Value::Null),
        7 => Call::new(
            "POST",
            &format!("m%/keys/{key}/trim"),
            dice.object(&[("min_available_version", &versions())]),
        ),
        8 => {
            let end = dice.of(&["soft-delete", "soft-delete-restore"]);
            Call::new(
                if end == "soft-delete" {
                    "DELETE"
                } else {
                    "POST"
                },
                &format!("m%/keys/{key}/{end}"),
                Value::Null,
            )
        }
        9 => {
            let items: Vec<Value> = (0..dice.below(4))
                .map(|_| item(dice, "plaintext", &plaintexts()[..7]))
                .collect();
            let mut body = dice.object(&[(
                "partial_failure_response_code",
                &[json!(207), json!(200), json!(999)],
            )]);
            body["batch_input"] = items.into();
            Call::new("POST", &format!("m%/encrypt/{key}"), body).by(who)
        }
        10 => {
            let items: Vec<Value> = (0..dice.below(4))
                .map(|_| item(dice, "ciphertext", &ciphertexts()[..8]))
                .collect();
            Call::new(
                "POST",
                &format!("m%/decrypt/{key}"),
                json!({ "batch_input": items }),
            )
            .by(who)
        }
        11 | 12 => {
            let mut body = dice.object(&[
                ("associated_data", &[json!("YWFk"), json!("!"), json!("")]),
                ("context", &[json!(CONTEXT), json!("!"), json!("")]),
            ]);
            body["ciphertext"] = dice.value(&ciphertexts());
            Call::new("POST", &format!("m%/decrypt/{key}"), body).by(who)
        }
        13 => {
            let mut body =
                dice.object(&[("key_version", &versions()), ("context", &[json!(CONTEXT)])]);
            body["ciphertext"] = dice.value(&ciphertexts());
            Call::new("POST", &format!("m%/rewrap/{key}"), body).by(who)
        }
        14 => {
            let kind = dice.of(&["encryption-key", "signing-key", "hmac-key"]);
            let tail = dice.of(&["", "", "/1", "/2", "/latest"]);
            Call::new("GET", &format!("m%/export/{kind}/{key}{tail}"), Value::Null)
        }
        _ => {
            let mut body = dice.object(&[
                ("key_version", &versions()),
                ("associated_data", &[json!("YWFk"), json!("!"), json!("")]),
                ("context", &[json!(CONTEXT), json!("!"), json!("")]),
                (
                    "type",
                    &["aes128-gcm96", "chacha20-poly1305", "nope"].map(Value::from),
                ),
            ]);
            if dice.below(10) > 0 {
                body["plaintext"] = dice.value(&plaintexts());
            }
            Call::new("POST", &format!("m%/encrypt/{key}"), body).by(who)
        }
    }
}

fn tokens(dice: &mut Dice) -> Call {
    let who = dice.of(&["$t1", "$t1", "$t2", "none", ""]);
    match dice.below(5) {
        0 | 1 => {
            let body = dice.object(&[
                (
                    "policies",
                    &[
                        json!(["p%"]),
                        json!([]),
                        json!("p%,default"),
                        json!(["root"]),
                    ],
                ),
                (
                    "ttl",
                    &[
                        json!("1h"),
                        json!(3600),
                        json!("9000h"),
                        json!("soon"),
                        json!(-5),
                    ],
                ),
                ("explicit_max_ttl", &[json!("2h"), json!("10m")]),
                ("period", &[json!("1h")]),
                ("num_uses", &[json!(1), json!(2), json!(5)]),
                ("renewable", &[json!(true), json!(false)]),
                ("type", &[json!("batch"), json!("service"), json!("nope")]),
                ("no_default_policy", &[json!(true)]),
                ("display_name", &[json!("d"), json!("a b!")]),
                ("meta", &[json!({ "k": "v" })]),
            ]);
            Call::new("POST", "auth/token/create", body)
        }
        2 => Call::new("GET", "auth/token/lookup-self", Value::Null).by(who),
        3 => Call::new(
            "POST",
            "auth/token/renew-self",
            dice.object(&[(
                "increment",
                &[json!("2h"), json!(60), json!("x"), json!(-1)],
            )]),
        )
        .by(who),
        _ => Call::new("POST", "auth/token/revoke-self", Value::Null).by(who),
    }
}

fn userpass(dice: &mut Dice) -> Call {
    match dice.below(6) {
        0 => Call::new("POST", "sys/auth/u%", json!({ "type": "userpass" })),
        1 => {
            let mut body = dice.object(&[
                ("token_policies", &[json!(["p%"]), json!("p%")]),
                ("token_ttl", &[json!("1h"), json!(60)]),
                ("token_max_ttl", &[json!("2h")]),
                ("token_num_uses", &[json!(2)]),
                ("token_type", &[json!("batch"), json!("service")]),
            ]);
            body["password"] = "pw".into();
            Call::new("POST", "auth/u%/users/x", body)
        }
        2 => Call::new("GET", "auth/u%/users/x", Value::Null),
        3 => Call::new("DELETE", "auth/u%/users/x", Value::Null),
        _ => {
            let password =
                dice.value(&[json!("pw"), json!("pw"), json!("bad"), json!(""), json!(5)]);
            Call::new("POST", "auth/u%/login/x", json!({ "password": password })).by("")
        }
    }
}

fn approle(dice: &mut Dice) -> Call {
    match dice.below(7) {
        0 => Call::new("POST", "sys/auth/a%", json!({ "type": "approle" })),
        1 => {
            let body = dice.object(&[
                ("token_policies", &[json!(["p%"])]),
                ("token_ttl", &[json!("1h")]),
                ("secret_id_num_uses", &[json!(1), json!(2)]),
                ("secret_id_ttl", &[json!("10m")]),
                (
                    "token_bound_cidrs",
                    &[json!(["10.0.0.0/8"]), json!(["127.0.0.0/8"])],
                ),
            ]);
            Call::new("POST", "auth/a%/role/x", body)
        }
        2 => Call::new("GET", "auth/a%/role/x/role-id", Value::Null),
        3 => Call::new("POST", "auth/a%/role/x/secret-id", json!({})),
        4 => Call::new("GET", "auth/a%/role/x", Value::Null),
        _ => {
            let secret = dice.value(&[json!("$s"), json!("$s"), json!("bad"), json!("")]);
            Call::new(
                "POST",
                "auth/a%/login",
                json!({ "role_id": "$r", "secret_id": secret }),
            )
            .by("")
        }
    }
}

fn system(dice: &mut Dice) -> Call {
    match dice.below(6) {
        0 => Call::new(
            "POST",
            "sys/capabilities-self",
            json!({ "paths": ["m%/encrypt/a", "sys/mounts", "m%/keys/a"] }),
        )
        .by("$t1"),
        1 => Call::new(
            "POST",
            "m%/encrypt/a",
            Value::from(dice.of(&[
                "{",
                "[]",
                "{\"a\":1,}",
                "nul",
                "{\"plaintext\":\"\\q\"}",
                "",
            ])),
        ),
        2 => Call::new("GET", "sys/policies/acl/p%", Value::Null),
        3 => {
            let caps = dice.of(&[
                "\"update\"",
                "\"read\"",
                "\"deny\"",
                "\"create\",\"update\",\"read\"",
                "\"fly\"",
            ]);
            Call::new(
                "PUT",
                "sys/policies/acl/p%",
                json!({ "policy": format!("path \"m%/encrypt/+\" {{ capabilities = [{caps}] }}") }),
            )
        }
        4 => {
            let method = dice.of(&["GET", "DELETE", "LIST", "HEAD", "PATCH", "FOO"]);
            let path = dice.of(&[
                "m%/encrypt/a",
                "m%/nope",
                "m%/keys/a",
                "nomount/x",
                "auth/token/create",
                "m%/keys/",
            ]);
            Call::new(method, path, Value::Null).by(dice.of(&["root", "$t1", ""]))
        }
        _ => Call::new("GET", "sys/mounts/m%", Value::Null),
    }
}
