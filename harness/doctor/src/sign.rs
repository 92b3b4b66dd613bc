//! What a text is known for: lines of logs, messages of conditions, answers of plugins and of Vault.
//!
//! Read from the raw text, before words are hashed, so that a mount or a key of any name is seen through. The texts are
//! those of this plugin, of two others, of the API server, of the operators, and of both Vaults.

use serde::{Deserialize, Serialize};

/// What a text is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Vault is sealed.
    Sealed,
    /// Vault has no leader.
    NoLeader,
    /// A rate limit.
    Quota,
    /// A name that DNS does not know.
    NoSuchHost,
    /// A certificate that is refused.
    Certificate,
    /// A login or a token that is refused.
    LoginRefused,
    /// No right to encrypt.
    EncryptDenied,
    /// No right to decrypt.
    DecryptDenied,
    /// No right to read the key.
    KeyReadDenied,
    /// There is no such key.
    KeyMissing,
    /// OpenBao holds the key back.
    SoftDeleted,
    /// A version below `min_decryption_version`.
    TooOld,
    /// The key is another one than before.
    KeyReplaced,
    /// Vault cannot decrypt what it is given.
    CannotDecrypt,
    /// No answer in time.
    Slow,
    /// Nobody is reached.
    Unreachable,
    /// The plugin's socket is not there.
    SocketMissing,
    /// Status and Encrypt name different keys.
    KeyIdsDiffer,
    /// A value's provider is not in the configuration.
    NoMatchingPrefix,
    /// A value cannot be decrypted.
    Undecryptable,
    /// A Secret or ConfigMap that the spec names is missing.
    ReferenceMissing,
    /// Type KMS, which the operator does not know.
    KmsUnknown,
    /// A type that there is not.
    ModeUnknown,
    /// A key secret of the next number stands in the way.
    KeySecretInvalid,
    /// A provider that the operator does not know.
    ProviderUnknown,
    /// The preflight check failed.
    PreflightFailed,
    /// The preflight pod itself came to nothing.
    PreflightPod,
    /// A controller died.
    Panic,
    /// The target configuration was lost.
    TargetLost,
    /// A migration failed.
    MigrationFailed,
}

/// What must all be in a text, in lower case; the first row that fits is the sign.
const WORDS: &[(Sign, &[&[&str]])] = &[
    (Sign::Sealed, &[&["vault is sealed"], &["is sealed or not"]]),
    (
        Sign::NoLeader,
        &[
            &["active cluster node not found"],
            &["no active vault"],
            &["no active instance"],
        ],
    ),
    (
        Sign::Quota,
        &[&["rate limit quota"], &["http 429"], &["too many requests"]],
    ),
    (
        Sign::NoSuchHost,
        &[
            &["no such host"],
            &["failed to lookup address"],
            &["name or service not known"],
            &["temporary failure in name resolution"],
        ],
    ),
    (Sign::Certificate, &[&["x509"], &["certificate"]]),
    (
        Sign::LoginRefused,
        &[
            &["credential is rejected"],
            &["token rejected"],
            &["invalid role or secret id"],
            &["invalid username or password"],
            &["refuses the token"],
            &["bad token"],
            &["invalid token"],
            &["permission denied on auth/"],
        ],
    ),
    (
        Sign::EncryptDenied,
        &[&["permission denied", "/encrypt/"], &["403", "/encrypt/"]],
    ),
    (
        Sign::DecryptDenied,
        &[&["permission denied", "/decrypt/"], &["403", "/decrypt/"]],
    ),
    (
        Sign::KeyReadDenied,
        &[&["permission denied", "/keys/"], &["403", "/keys/"]],
    ),
    (
        Sign::SoftDeleted,
        &[&["soft-deleted"], &["soft_deleted"], &["soft deleted"]],
    ),
    (
        Sign::TooOld,
        &[
            &["(too old)"],
            &["version is disallowed by policy"],
            &["below min_decryption_version"],
        ],
    ),
    (Sign::KeyReplaced, &[&["was replaced", "creation time"]]),
    (
        Sign::KeyMissing,
        &[
            &["encryption key not found"],
            &["key not found"],
            &["no key", "transit"],
        ],
    ),
    (
        Sign::KeyIdsDiffer,
        &[&["statuskeyidhash", "encryptkeyidhash"]],
    ),
    (Sign::NoMatchingPrefix, &[&["no matching prefix found"]]),
    (
        Sign::CannotDecrypt,
        &[
            &["vault cannot decrypt"],
            &["cipher: message authentication failed", "vault"],
        ],
    ),
    (
        Sign::Undecryptable,
        &[
            &["unable to transform key"],
            &["failed to decrypt dek"],
            &["message authentication failed"],
        ],
    ),
    (
        Sign::SocketMissing,
        &[
            &["failed to create connection to unix socket"],
            &["kms.sock", "no such file"],
            &["dial unix", "no such file"],
        ],
    ),
    (
        Sign::Slow,
        &[
            &["no answer from vault"],
            &["deadlineexceeded"],
            &["deadline exceeded"],
        ],
    ),
    (
        Sign::Unreachable,
        &[
            &["cannot reach vault"],
            &["connection refused"],
            &["no route to host"],
            &["i/o timeout"],
        ],
    ),
    (
        Sign::Panic,
        &[&["observed a panic"], &["index out of range"]],
    ),
    (Sign::TargetLost, &[&["targetsecretdeleted"]]),
    (
        Sign::KmsUnknown,
        &[&["unknown encryption mode configured: kms"]],
    ),
    (
        Sign::ModeUnknown,
        &[&["unknown encryption mode configured"]],
    ),
    (
        Sign::KeySecretInvalid,
        &[&["is invalid, new keys cannot be created"]],
    ),
    (
        Sign::ProviderUnknown,
        &[
            &["unsupported kms provider type"],
            &["unsupported vault authentication type"],
        ],
    ),
    (Sign::PreflightFailed, &[&["preflight check failed"]]),
    (
        Sign::PreflightPod,
        &[
            &["podcompletedwithoutresult"],
            &["preflight pod has not reported"],
            &["preflight pod"],
        ],
    ),
    (
        Sign::ReferenceMissing,
        &[
            &["failed to get secret", "in openshift-config"],
            &["failed to get configmap", "in openshift-config"],
            &["in openshift-config is missing required key"],
        ],
    ),
    (Sign::MigrationFailed, &[&["migration of", "failed"]]),
];

/// Everything that a text is known for, in the order of the table.
pub fn signs(text: &str) -> Vec<Sign> {
    let text = text.to_lowercase();
    let fits = |words: &&[&str]| words.iter().all(|word| text.contains(word));
    let mut found: Vec<Sign> = WORDS
        .iter()
        .filter(|(_, any)| any.iter().any(&fits))
        .map(|(sign, _)| *sign)
        .collect();
    // the narrower one says it all
    if found.contains(&Sign::KmsUnknown) {
        found.retain(|sign| *sign != Sign::ModeUnknown);
    }
    if found.contains(&Sign::NoSuchHost) || found.contains(&Sign::Certificate) {
        found.retain(|sign| *sign != Sign::Unreachable);
    }
    if found.contains(&Sign::CannotDecrypt) && found.contains(&Sign::TooOld) {
        found.retain(|sign| *sign != Sign::CannotDecrypt);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_servers_and_plugins_are_known() {
        for (text, sign) in [
            (
                "vault is sealed or not initialised (HTTP 503); unseal it",
                Sign::Sealed,
            ),
            (
                "local node not active but active cluster node not found",
                Sign::NoLeader,
            ),
            ("dial tcp: lookup vault.svc: no such host", Sign::NoSuchHost),
            (
                "x509: certificate has expired or is not yet valid",
                Sign::Certificate,
            ),
            (
                "permission denied on kv-9/encrypt/a; the policy must grant \"update\" on it",
                Sign::EncryptDenied,
            ),
            (
                "URL: PUT https://v/v1/transit/decrypt/k Code: 403. Errors: * permission denied",
                Sign::DecryptDenied,
            ),
            (
                "ciphertext or signature version is disallowed by policy (too old)",
                Sign::TooOld,
            ),
            ("refusing to use soft-deleted key", Sign::SoftDeleted),
            ("invalid role or secret ID", Sign::LoginRefused),
            (
                "no vault token: token rejected, unchanged since; put a live token in its place",
                Sign::LoginRefused,
            ),
        ] {
            assert_eq!(signs(text), [sign], "{text}");
        }
        assert_eq!(
            signs("cannot reach vault at v: lookup v: no such host"),
            [Sign::NoSuchHost]
        );
        assert_eq!(
            signs("unknown encryption mode configured: KMS"),
            [Sign::KmsUnknown]
        );
        assert_eq!(
            signs("unknown encryption mode configured: secretbox"),
            [Sign::ModeUnknown]
        );
        assert_eq!(signs("all is well"), []);
    }
}
