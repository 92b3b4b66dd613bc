//! Rows of the surface as strategies of proptest, so that what is found shrinks: to fewer calls, fewer fields, simpler values.

use proptest::{option, prelude::*, sample::select, strategy::Union};
use serde_json::{Map, Value, json};

use crate::{
    call::Call,
    surface::{Family, Row},
};

/// The calls of a sequence that concentrates on one family.
pub fn focused(all: &[Family], on: usize) -> BoxedStrategy<Call> {
    let of = |family: &Family| any_of(&family.rows);
    let others = all
        .iter()
        .filter(|f| {
            !["bring", "namespaces", "quotas", "jwt", "kubernetes", "cert"].contains(&f.name)
        })
        .map(|f| (1, of(f)))
        .collect();
    prop_oneof![9 => of(&all[on]), 1 => Union::new_weighted(others)].boxed()
}

/// The calls of some rows.
pub fn any_of(rows: &[Row]) -> BoxedStrategy<Call> {
    let rows = rows.iter().map(|row| (row.weight, one(row)));
    Union::new_weighted(rows.collect()).boxed()
}

/// All calls of a row.
fn one(row: &Row) -> BoxedStrategy<Call> {
    let methods: Vec<String> = row.methods.split('|').map(str::to_owned).collect();
    let tokens: Vec<String> = row.by.split(' ').map(str::to_owned).collect();
    let body = if !row.raw.is_empty() {
        select(row.raw.clone()).prop_map(Value::from).boxed()
    } else if row.fields.is_empty() {
        prop_oneof![3 => Just(Value::Null), 1 => Just(json!({}))].boxed()
    } else {
        object(&row.fields).prop_map(Value::Object).boxed()
    };
    (
        select(methods),
        path(row.path),
        select(tokens),
        body,
        headers(&row.headers),
    )
        .prop_map(|(method, path, token, body, headers)| {
            let bodiless = matches!(method.as_str(), "GET" | "LIST" | "DELETE" | "HEAD" | "SCAN");
            let body = if bodiless { Value::Null } else { body };
            Call {
                method,
                path,
                body,
                token,
                headers,
            }
        })
        .boxed()
}

/// `{a|b}` is one of them.
fn path(pattern: &str) -> BoxedStrategy<String> {
    let mut parts: Vec<BoxedStrategy<String>> = Vec::new();
    let mut rest = pattern;
    while let Some((plain, (choice, tail))) = rest
        .split_once('{')
        .and_then(|(plain, r)| Some((plain, r.split_once('}')?)))
    {
        parts.push(Just(plain.to_owned()).boxed());
        let choices: Vec<String> = choice.split('|').map(str::to_owned).collect();
        parts.push(select(choices).boxed());
        rest = tail;
    }
    parts.push(Just(rest.to_owned()).boxed());
    parts.prop_map(|parts| parts.concat()).boxed()
}

/// Each field in it or not; `!` is always in.
fn object(fields: &[(&'static str, Value)]) -> BoxedStrategy<Map<String, Value>> {
    let entries: Vec<BoxedStrategy<Option<(String, Value)>>> = fields
        .iter()
        .map(|(name, values)| {
            let value = value_of(values);
            match name.strip_suffix('!') {
                Some(name) => value.prop_map(|v| Some((name.to_owned(), v))).boxed(),
                None => option::weighted(0.3, value)
                    .prop_map(|v| Some(((*name).to_owned(), v?)))
                    .boxed(),
            }
        })
        .collect();
    entries
        .prop_map(|entries| entries.into_iter().flatten().collect())
        .boxed()
}

fn value_of(values: &Value) -> BoxedStrategy<Value> {
    match values {
        Value::Array(list) => select(list.clone()).boxed(),
        Value::String(name) if name == "@policy" => policy().prop_map(Value::from).boxed(),
        Value::String(name) if name == "@damaged" => damaged().prop_map(Value::from).boxed(),
        Value::String(name) => items(name.trim_start_matches('@')),
        fixed => Just(fixed.clone()).boxed(),
    }
}

fn headers(headers: &[(&'static str, Value)]) -> BoxedStrategy<Vec<(String, String)>> {
    let entries: Vec<_> = headers
        .iter()
        .map(|(name, values)| {
            let texts: Vec<String> = values
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect();
            let value = select(texts);
            match name.strip_suffix('!') {
                Some(name) => value.prop_map(|v| Some((name.to_owned(), v))).boxed(),
                None => option::weighted(0.4, value)
                    .prop_map(|v| Some(((*name).to_owned(), v?)))
                    .boxed(),
            }
        })
        .collect();
    entries
        .prop_map(|entries| entries.into_iter().flatten().collect())
        .boxed()
}

/// The items of a batch.
fn items(what: &str) -> BoxedStrategy<Value> {
    let (name, values) = match what {
        "plaintext" => (
            "plaintext",
            json!(["aGk=", "", "!!", "aGVsbG8=", "aGk", null, 5, { "a": 1 }]),
        ),
        _ => (
            "ciphertext",
            json!([
                "$c1",
                "$c1",
                "$c2",
                "$c3",
                "",
                "vault:v1:AAAA",
                "vault:v9:AAAA",
                "nonsense",
                null,
                5
            ]),
        ),
    };
    let rare = |values: Value| match values {
        // mostly well formed: one malformed item spoils the whole request
        Value::Array(list) => {
            let good = list.iter().filter(|v| v.is_string() || v.is_i64()).cloned();
            let good: Vec<Value> = good.collect();
            prop_oneof![12 => select(good), 1 => select(list)].boxed()
        }
        other => value_of(&other),
    };
    let fields: Vec<(&str, BoxedStrategy<Value>, f64)> = vec![
        (name, rare(values), 0.95),
        ("reference", rare(json!(["r", "", null])), 0.2),
        ("associated_data", rare(json!(["YWFk", "!", ""])), 0.2),
        ("context", rare(json!(["Y3R4", "!", "", null])), 0.15),
        ("key_version", rare(json!([1, 0, 2, -1, 9])), 0.2),
        ("nonce", rare(json!(["AAAA", ""])), 0.05),
        ("colour", rare(json!(["blue"])), 0.05),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value, chance)| {
            let name = name.to_owned();
            option::weighted(chance, value).prop_map(move |v| Some((name.clone(), v?)))
        })
        .collect();
    let item = fields.prop_map(|f| Value::Object(f.into_iter().flatten().collect()));
    proptest::collection::vec(item, 0..4)
        .prop_map(Value::from)
        .boxed()
}

/// A policy: rules with globs, `+`, all capabilities and parameter lists, in HCL or JSON.
fn policy() -> BoxedStrategy<String> {
    let target = select(vec![
        "m/encrypt/a",
        "m/encrypt/*",
        "m/*",
        "m/+/a",
        "*",
        "m/keys/*",
        "m/keys/a",
        "m/keys",
        "m/keys/",
        "+/encrypt/a",
        "m/encrypt/+",
        "m/e*",
        "m/+/+",
        "+/+/a",
        "m/+/*",
        "/m/encrypt/a",
        "m/decrypt/a",
        "sys/*",
        "sys/policies/acl/+",
        "auth/token/*",
        "cubbyhole/*",
        "m/encrypt/a*",
        "+",
        "",
        "m/enc+/a",
        "m/keys/a/+",
        "m/keys/a/*",
        "m/++/a",
        "m/*/a",
    ]);
    let capabilities = proptest::collection::vec(
        select(vec![
            "update",
            "read",
            "create",
            "list",
            "delete",
            "deny",
            "sudo",
            "patch",
            "scan",
            "fly",
            "root",
            "subscribe",
            "Read",
        ]),
        0..4,
    );
    let parameters = || {
        select(vec![
            json!({ "plaintext": [] }),
            json!({ "plaintext": ["aGk="] }),
            json!({ "*": [] }),
            json!({ "plaintext": ["aG*"], "*": [] }),
            json!({ "associated_data": [] }),
            json!({ "key_version": [1] }),
            json!({ "PLAINTEXT": [] }),
            json!({}),
        ])
    };
    let extra = option::weighted(
        0.3,
        prop_oneof![
            parameters().prop_map(|v| ("allowed_parameters", v)),
            parameters().prop_map(|v| ("denied_parameters", v)),
            select(vec![
                json!(["plaintext"]),
                json!(["key_version"]),
                json!([])
            ])
            .prop_map(|v| ("required_parameters", v)),
            select(vec![
                json!("read"),
                json!("write"),
                json!("deny"),
                json!("sudo"),
                json!("nope")
            ])
            .prop_map(|v| ("policy", v)),
            select(vec![json!("60s"), json!("1h"), json!(5), json!("soon")])
                .prop_map(|v| ("min_wrapping_ttl", v)),
            Just(("comment", json!("x"))),
        ],
    );
    let rule = (target, option::weighted(0.95, capabilities), extra);
    let rules = proptest::collection::vec(rule, 1..4);
    (rules, any::<bool>())
        .prop_map(|(rules, as_json)| {
            if as_json {
                in_json(&rules)
            } else {
                in_hcl(&rules)
            }
        })
        .boxed()
}

/// A policy in which one or two places have suffered: a character is gone, another has come, or a piece has.
fn damaged() -> BoxedStrategy<String> {
    let piece = select(vec![
        "",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "=",
        ",",
        "\\",
        "#",
        "/*",
        "//",
        "\n",
        "$",
        "0",
        "-",
        "<<E\n",
        "x ",
        "\"x\" ",
        "true",
        "null",
        ":",
        "5",
        "ü",
        "\u{1}",
        ";",
        "policy = \"read\"\n",
        "capabilities = \"read\"\n",
        "comment = {}\n",
        "{{",
        "+*",
        "min_wrapping_ttl = \"2h\" max_wrapping_ttl = \"1h\"\n",
        "control_group {}\n",
        "expiration = \"soon\"\n",
    ]);
    let wound = (any::<prop::sample::Index>(), 0..3usize, piece);
    (policy(), proptest::collection::vec(wound, 1..3))
        .prop_map(|(text, wounds)| {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, gone, piece) in wounds {
                let from = at.index(chars.len() + 1);
                let to = (from + gone).min(chars.len());
                chars.splice(from..to, piece.chars());
            }
            chars.into_iter().collect()
        })
        .boxed()
}

type Rule = (
    &'static str,
    Option<Vec<&'static str>>,
    Option<(&'static str, Value)>,
);

fn in_hcl(rules: &[Rule]) -> String {
    let mut out = String::new();
    for (target, capabilities, extra) in rules {
        out += &format!("path \"{target}\" {{\n");
        if let Some(capabilities) = capabilities {
            out += &format!("  capabilities = {capabilities:?}\n");
        }
        match extra {
            Some((name, Value::Object(map))) => {
                out += &format!("  {name} = {{\n");
                for (key, values) in map {
                    out += &format!("    \"{key}\" = {values}\n");
                }
                out += "  }\n";
            }
            Some((name, value)) => out += &format!("  {name} = {value}\n"),
            None => {}
        }
        out += "}\n";
    }
    out
}

fn in_json(rules: &[Rule]) -> String {
    let mut paths = Map::new();
    for (target, capabilities, extra) in rules {
        let mut body = Map::new();
        // HCL reads a JSON object with a single member in another way
        if extra.is_some() || capabilities.is_some() {
            body.insert(
                "capabilities".to_owned(),
                json!(capabilities.clone().unwrap_or_default()),
            );
        }
        if let Some((name, value)) = extra {
            body.insert((*name).to_owned(), value.clone());
        }
        paths.insert((*target).to_owned(), Value::Object(body));
    }
    json!({ "path": paths }).to_string()
}
