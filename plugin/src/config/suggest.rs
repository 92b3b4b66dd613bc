//! What a name that nobody knows was probably meant to be, and whose name it is.

use super::error::ConfigError;
use super::options::{ENV_PREFIXES, OPTIONS, OptionSpec, Vocabulary, find, variable};

/// Options of other KMS plugins that people bring along: name, whose it is, what to do here.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "key",
        "aws-encryption-provider",
        "name the Transit key with -transit-key",
    ),
    (
        "region",
        "aws-encryption-provider",
        "leave it out, and name the server with -vault-address",
    ),
    (
        "encryption-context",
        "aws-encryption-provider",
        "leave it out: every ciphertext is bound to its key_id",
    ),
    (
        "listen",
        "aws-encryption-provider",
        "name the socket with -listen-address=unix:///path",
    ),
    (
        "key-uri",
        "Google's k8s-cloudkms-plugin",
        "name the Transit key with -transit-key",
    ),
    (
        "path-to-unix-socket",
        "Google's k8s-cloudkms-plugin",
        "name the socket with -listen-address=unix:///path",
    ),
    (
        "keyvault-name",
        "Azure's kubernetes-kms",
        "name the mount with -transit-mount",
    ),
    (
        "key-name",
        "Azure's kubernetes-kms",
        "name the Transit key with -transit-key",
    ),
    (
        "key-version",
        "Azure's kubernetes-kms",
        "leave it out: the latest version is taken up by itself",
    ),
    ("managed-hsm", "Azure's kubernetes-kms", "leave it out"),
    (
        "config",
        "dc-tec's bao-kms-provider",
        "give options or variables: there is no configuration file",
    ),
    (
        "zap-devel",
        "vault-kube-kms",
        "leave it out, and use -log-level and -log-format",
    ),
    (
        "zap-encoder",
        "vault-kube-kms",
        "leave it out, and use -log-format",
    ),
    ("zap-stacktrace-level", "vault-kube-kms", "leave it out"),
    ("zap-time-encoding", "vault-kube-kms", "leave it out"),
];

/// The error for an option that is not in the table. `written` is the name with its dashes; what
/// follows `=` must not be part of it.
pub fn unknown_option(written: &str) -> ConfigError {
    let name = written.trim_start_matches('-');
    let field = shown(written);
    if let Some((_, product, fix)) = FOREIGN.iter().find(|(known, _, _)| *known == name) {
        return ConfigError::new(field, format!("is an option of {product}"), *fix);
    }
    let glued = glued_secret(name).filter(|secret| !name[secret.len()..].starts_with('-'));
    let fix = match (glued, nearest(name)) {
        (Some(secret), _) => format!("write -{secret}=VALUE"),
        (None, Some((near, Vocabulary::Own))) => format!("did you mean -{near}?"),
        (None, Some((near, whose))) => format!("did you mean -{near} ({})?", whose.describe()),
        (None, None) => "see -help for all options".to_owned(),
    };
    ConfigError::new(field, "is not an option", fix)
}

/// The error for a variable with one of our prefixes that sets nothing.
pub fn unknown_variable(name: &str) -> ConfigError {
    let prefix = ENV_PREFIXES
        .iter()
        .find(|prefix| name.starts_with(**prefix))
        .unwrap_or(&ENV_PREFIXES[0]);
    let option = name[prefix.len()..].to_ascii_lowercase().replace('_', "-");
    let near = nearest(&option)
        .filter(|(near, _)| find(near).is_some_and(|spec| spec.in_environment()))
        .map(|(near, _)| format!("did you mean {}?", variable(prefix, near)));
    ConfigError::new(
        name,
        "sets no option, although it has this plugin's prefix",
        near.unwrap_or_else(|| "unset it; the README lists the variables".to_owned()),
    )
}

/// The option that was meant by a placeholder in its name's place (`<vault_namespace>`).
pub fn meant_by_placeholder(inner: &str) -> Option<&'static str> {
    let name = inner.trim().to_ascii_lowercase().replace(['_', ' '], "-");
    find(&name)
        .map(|spec| spec.name)
        .or_else(|| nearest(&name).map(|(near, _)| near))
}

/// The known name nearest to this one, if any is near enough to be meant.
pub fn nearest(name: &str) -> Option<(&'static str, Vocabulary)> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    // Longer ones are nobody's slip of a finger, and distances of long strings cost.
    if name.len() < 3 || name.len() > 64 {
        return None;
    }
    let all = || OPTIONS.iter().flat_map(|spec| spec.names());
    let by_distance = all()
        .map(|(known, whose)| (strsim::osa_distance(&name, known), known, whose))
        .min_by_key(|(distance, _, _)| *distance)
        .filter(|(distance, known, _)| *distance <= (known.len().max(name.len()) / 4).max(1))
        .map(|(_, known, whose)| (known, whose));
    // `-ca-cert` for -vault-ca-cert, `-username` for -userpass-username.
    let by_end = || {
        all().find(|(known, _)| {
            known
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.ends_with('-'))
        })
    };
    by_distance.or_else(by_end)
}

/// The option of a secret that this name begins with, when the rest may be the secret itself
/// (`-tokens.abc`: somebody left out the `=`). A name within two letters of a known one is a slip.
fn glued_secret(name: &str) -> Option<&'static str> {
    let mut all = OPTIONS.iter().flat_map(OptionSpec::names);
    if name.len() <= 64 && all.any(|(known, _)| strsim::osa_distance(name, known) <= 2) {
        return None;
    }
    OPTIONS
        .iter()
        .filter(|spec| !spec.is_public() && name.starts_with(spec.name))
        .map(|spec| spec.name)
        .max_by_key(|name| name.len())
}

/// A written name as it may be shown: without a value that was glued to it, and short.
fn shown(written: &str) -> String {
    let name = written.trim_start_matches('-');
    let dashes = &written[..written.len() - name.len()];
    let plain = name
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .unwrap_or(name.len());
    let cut = glued_secret(name).map_or(plain.min(48), str::len);
    let rest = if cut < name.len() { "…" } else { "" };
    format!("{dashes}{}{rest}", &name[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        for (written, meant) in [
            ("vault-adress", "vault-address"),
            ("vault_namespace", "vault-namespace"),
            ("transit-kye", "transit-key"),
            ("sokcet", "socket"),
            ("ca-cert", "vault-ca-cert"),
            ("username", "userpass-username"),
            ("Auth-Method", "auth-method"),
        ] {
            assert_eq!(nearest(written).map(|n| n.0), Some(meant), "{written}");
        }
        for far in ["", "x", "something-else-entirely", &"token".repeat(40)] {
            assert_eq!(nearest(far), None, "{far}");
        }
    }

    #[test]
    fn bug_114_a_secret_glued_to_its_option_is_not_shown() {
        for written in [
            "-tokens.CANARY",
            "--tokenCANARYCANARY",
            "-userpass-passwordCANARY",
        ] {
            let text = unknown_option(written).to_string();
            assert!(!text.contains("CANARY"), "{text}");
        }
    }

    #[test]
    fn an_option_of_another_product_is_named_as_such() {
        let text = unknown_option("--key-uri").to_string();
        assert!(
            text.contains("Google's") && text.contains("-transit-key"),
            "{text}"
        );
    }
}
