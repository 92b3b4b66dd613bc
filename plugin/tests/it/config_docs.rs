//! What is documented is what the table says, and what the table says works.

use std::path::Path;

use vault_kubernetes_kms::config::options::{ENV_PREFIXES, Effect, Kind, OPTIONS, find, variable};
use vault_kubernetes_kms::config::{help, readme_table};

use crate::config_world::{attempt, base_and, files};

const BEGIN: &str =
    "<!-- options: generated, rewritten by UPDATE=1 cargo test -p vault-kubernetes-kms -->\n";
const END: &str = "<!-- /options -->\n";

#[test]
fn the_readmes_table_is_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = readme
        .split_once(BEGIN)
        .expect("README.md has the begin mark");
    let (table, tail) = rest.split_once(END).expect("README.md has the end mark");
    let generated = readme_table();
    if table != generated && std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{generated}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(table, generated, "run the tests once with UPDATE=1");
}

#[test]
fn bug_100_every_documented_variable_is_read() {
    for option in OPTIONS.iter().filter(|option| option.in_environment()) {
        let own = option
            .names()
            .flat_map(|(name, _)| ENV_PREFIXES.map(|prefix| variable(prefix, name)));
        for name in own.chain(option.client_env.iter().map(|name| (*name).to_owned())) {
            // Nothing has this as its value; whatever is read complains about it by name.
            let value = "\u{1}";
            let mut env: Vec<(&str, &str)> = base_and(&[]);
            env.retain(|(known, _)| find_of(known) != Some(option.name));
            env.push((&name, value));
            let heard = match attempt(&[], &env, &files()) {
                Err(errors) => errors
                    .iter()
                    .any(|error| error.field == name && !error.problem.contains("sets no option")),
                Ok(vault_kubernetes_kms::config::Invocation::Run(resolved)) => resolved
                    .warnings
                    .iter()
                    .any(|warning| warning.starts_with(&name)),
                Ok(_) => false,
            };
            assert!(heard, "{name} is documented and not read");
        }
    }
}

/// The option that one of the base's variables sets.
fn find_of(name: &str) -> Option<&'static str> {
    let name = name
        .strip_prefix(ENV_PREFIXES[0])?
        .to_lowercase()
        .replace('_', "-");
    find(&name).map(|option| option.name)
}

/// Words that begin with a dash and are no options of ours: other programs' in examples.
const NOT_OURS: &[&str] = &["-option", "-switch", "-p", "-address", "-HUP"];

#[test]
fn bug_100_every_option_named_in_a_text_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| {
        std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    };
    let texts = [
        ("-help", help()),
        ("README.md", read("README.md")),
        ("static-pod.yaml", read("deploy/static-pod.yaml")),
        (
            "vault-kubernetes-kms.service",
            read("deploy/vault-kubernetes-kms.service"),
        ),
    ];
    for (file, text) in texts {
        let words = text.replace(['`', '(', ')', ',', ';', '[', ']', '|', '"'], " ");
        let mut seen = 0;
        for word in words.split_whitespace() {
            let name = word
                .split(['=', ':'])
                .next()
                .unwrap_or_default()
                .trim_end_matches('.');
            let Some(bare) = name
                .strip_prefix('-')
                .filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic()))
            else {
                continue;
            };
            if bare.ends_with('…') || NOT_OURS.contains(&name) {
                continue;
            }
            assert!(
                find(bare).is_some(),
                "{file} names {name}, which does not exist"
            );
            seen += 1;
        }
        let least = if file.ends_with(".service") { 0 } else { 5 };
        assert!(seen >= least, "{file} was read: {seen}");
    }
}

#[test]
fn help_has_every_name_and_default() {
    let text = help();
    for option in OPTIONS {
        for (name, _) in option.names() {
            assert!(text.contains(&format!("-{name}")), "{name}");
        }
        for variable in option.client_env {
            assert!(text.contains(variable), "{variable}");
        }
    }
}

#[test]
fn every_default_can_be_given_as_a_value() {
    use vault_kubernetes_kms::config::options::Fallback;
    for option in OPTIONS {
        let Fallback::Value(value) = option.fallback else {
            continue;
        };
        assert!(matches!(option.effect, Effect::Used), "{}", option.name);
        let argument = format!("-{}={value}", option.name);
        assert!(
            attempt(&[&argument], &base_and(&[]), &files()).is_ok(),
            "{argument}"
        );
        if option.kind == Kind::Switch {
            assert!(matches!(value, "true" | "false"), "{argument}");
        }
    }
}
