//! The `policy` subcommand: the HCL that a Vault policy for the configured places must hold, and no
//! more than that. Not for checking what a token may really do: that is the doctor's part.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::Place;

/// The part of `namespace` below `ancestor`: empty when they are equal, `None` when it is not below.
pub fn below<'a>(namespace: &'a str, ancestor: &str) -> Option<&'a str> {
    if ancestor.is_empty() {
        return Some(namespace);
    }
    let rest = namespace.strip_prefix(ancestor)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

/// The policy text. The current place gets encrypt, decrypt and key reads, former places lose
/// encrypt. `create` is never asked for: with it a deleted key would silently come back as another.
///
/// Paths are relative to the namespace the policy is written in, which is that of the login; a place
/// that is not below it gets a section of its own with the namespace named.
pub fn render(
    current: &Place,
    decrypt_only: &[Place],
    auth_namespace: &str,
    lookup_self: bool,
) -> String {
    // Namespace of the policy → its rules in order. Places may differ in epoch alone.
    let mut sections: BTreeMap<&str, Vec<(String, &str)>> = BTreeMap::new();
    let places = std::iter::once((current, true)).chain(decrypt_only.iter().map(|p| (p, false)));
    for (place, encrypts) in places {
        let (home, prefix) = match below(&place.namespace, auth_namespace) {
            Some("") => (auth_namespace, String::new()),
            Some(rest) => (auth_namespace, format!("{rest}/")),
            None => (place.namespace.as_str(), String::new()),
        };
        let rules = sections.entry(home).or_default();
        let Place { mount, key, .. } = place;
        let operations = [
            ("encrypt", "update"),
            ("decrypt", "update"),
            ("keys", "read"),
        ];
        for (operation, capability) in operations {
            if operation == "encrypt" && !encrypts {
                continue;
            }
            let rule = (format!("{prefix}{mount}/{operation}/{key}"), capability);
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    if lookup_self {
        let rule = ("auth/token/lookup-self".to_owned(), "read");
        sections.entry(auth_namespace).or_default().push(rule);
    }
    let several = sections.len() > 1;
    let mut text = String::new();
    for (namespace, rules) in sections {
        if !text.is_empty() {
            text.push('\n');
        }
        if several || !namespace.is_empty() {
            let name = if namespace.is_empty() {
                "root"
            } else {
                namespace
            };
            let _ = writeln!(text, "# a policy in namespace {name}");
        }
        let rules: Vec<String> = rules
            .iter()
            .map(|(path, capability)| {
                format!("path \"{path}\" {{\n  capabilities = [\"{capability}\"]\n}}\n")
            })
            .collect();
        text.push_str(&rules.join("\n"));
    }
    text
}
