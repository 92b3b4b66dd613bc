//! `policy`: what it prints is enough and no more.

use crate::config_world::{lines, printed, refused};

fn policy(args: &[&str]) -> String {
    let args: Vec<&str> = std::iter::once("policy")
        .chain(args.iter().copied())
        .collect();
    printed(&args, &[]).0
}

fn rule(path: &str, capability: &str) -> String {
    format!("path \"{path}\" {{\n  capabilities = [\"{capability}\"]\n}}\n")
}

#[test]
fn the_policy_of_the_operators_procedure() {
    let expected = [
        rule("transit/encrypt/kms-key", "update"),
        rule("transit/decrypt/kms-key", "update"),
        rule("transit/keys/kms-key", "read"),
        rule("auth/token/lookup-self", "read"),
    ]
    .join("\n");
    assert_eq!(
        policy(&["-transit-key=kms-key"]),
        expected,
        "needs neither address nor credentials"
    );
    assert_eq!(policy(&["-vault-key-path=transit/keys/kms-key"]), expected);
}

#[test]
fn without_lookup_self() {
    let text = policy(&["-transit-key=k", "-without-lookup-self"]);
    assert!(
        !text.contains("lookup-self") && text.contains(&rule("transit/keys/k", "read")),
        "{text}"
    );
    assert!(
        !text.contains("create"),
        "a deleted key must not come back as another: {text}"
    );
}

#[test]
fn former_places_cannot_encrypt() {
    let text = policy(&[
        "-transit-key=new",
        "-key-id-epoch=2",
        "-decrypt-only=mount=old-transit,key=old",
        "-decrypt-only=key=new",
    ]);
    assert!(
        text.contains(&rule("old-transit/decrypt/old", "update")),
        "{text}"
    );
    assert!(
        text.contains(&rule("old-transit/keys/old", "read")),
        "{text}"
    );
    assert!(!text.contains("encrypt/old"), "{text}");
    assert_eq!(
        text.matches("transit/decrypt/new").count(),
        1,
        "an epoch needs no rule of its own: {text}"
    );
}

#[test]
fn namespaces() {
    let text = policy(&["-transit-key=k", "-vault-namespace=/admin/team-a/"]);
    assert!(
        text.starts_with("# a policy in namespace admin/team-a\npath \"transit/encrypt/k\""),
        "{text}"
    );
    let text = policy(&[
        "-transit-key=k",
        "-vault-namespace=admin/team-a",
        "-vault-auth-namespace=admin",
    ]);
    assert!(
        text.starts_with("# a policy in namespace admin\n"),
        "{text}"
    );
    assert!(
        text.contains(&rule("team-a/transit/encrypt/k", "update")),
        "{text}"
    );
    assert!(
        text.contains(&rule("auth/token/lookup-self", "read")),
        "{text}"
    );
    let text = policy(&[
        "-transit-key=k",
        "-vault-namespace=a",
        "-decrypt-only=namespace=b,key=k",
    ]);
    let (first, second) = text
        .split_once("\n# a policy in namespace b\n")
        .expect("a section each");
    assert!(
        first.contains("lookup-self") && !second.contains("lookup-self"),
        "{text}"
    );
    assert_eq!(
        second,
        [
            rule("transit/decrypt/k", "update"),
            rule("transit/keys/k", "read")
        ]
        .join("\n")
    );
}

#[test]
fn mistakes_are_told() {
    let errors = refused(&["policy"], &[]);
    assert_eq!(
        lines(&errors),
        "-transit-key: is missing; write -transit-key=NAME, or -vault-key-path=MOUNT/keys/NAME"
    );
    assert_eq!(
        refused(&["policy", "-transit-key=a/b", "-wibble"], &[]).len(),
        2
    );
}

#[test]
fn the_shipped_policy_is_the_printed_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/policy.hcl");
    let shipped = std::fs::read_to_string(path).expect("deploy/policy.hcl");
    let rules: Vec<&str> = shipped
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        rules.join("\n"),
        policy(&["-transit-key=kms-key"]).trim_end()
    );
}
