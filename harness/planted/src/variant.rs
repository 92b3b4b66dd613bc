//! The mistakes.

use std::fmt;
use std::str::FromStr;

/// The scenario in which every mistake shows, for both arms.
pub const SCENARIO: &str = include_str!("../planted.toml");

/// On which side of the plugin a mistake is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Between callers and the plugin's socket.
    Kms,
    /// Between the plugin and Vault.
    Vault,
}

macro_rules! variants {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal, $side:ident, breaks $breaks:literal;)*) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Variant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Variant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in texts and arguments.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Where it is made.
            #[must_use]
            pub fn side(self) -> Side {
                match self { $(Self::$name => Side::$side,)* }
            }

            /// The invariant that sees it in [`SCENARIO`]; others may as well.
            #[must_use]
            pub fn breaks(self) -> &'static str {
                match self { $(Self::$name => $breaks,)* }
            }
        }
    };
}

variants! {
    /// Once well, Status is ok for ever, whatever happens to Vault.
    AlwaysOk = "always-ok", Kms, breaks "always:status-truthful";
    /// Once bad, Status stays bad.
    SickForEver = "sick-for-ever", Kms, breaks "eventually:status-ok";
    /// Status names the first key for ever; Encrypt does not.
    StaleKeyId = "stale-key-id", Kms, breaks "always:key-id-agrees";
    /// Every fifth Status names a key that nobody made.
    KeyIdFlaps = "key-id-flaps", Kms, breaks "always:key-id-never-flaps";
    /// After a rotation every fifth Status names the key before it.
    KeyIdReturns = "key-id-returns", Kms, breaks "always:key-id-never-returns";
    /// Every seventh call waits for 10 s first.
    Hangs = "hangs", Kms, breaks "always:deadlines-kept";
    /// Encrypt answers everything with its first ciphertext.
    OneCiphertext = "one-ciphertext", Kms, breaks "always:readable-by-fresh-apiserver";
    /// Encrypt loses the annotations.
    AnnotationsLost = "annotations-lost", Kms, breaks "always:readable-by-fresh-apiserver";
    /// Encrypt's ciphertext is the plaintext itself, which needs no Vault.
    Clear = "clear", Kms, breaks "always:no-plaintext-anywhere";
    /// Decrypt answers with one bit flipped.
    OtherBytes = "other-bytes", Kms, breaks "always:readable-by-fresh-apiserver";
    /// Decrypt knows only what this process has encrypted.
    ForgetsAtRestart = "forgets-at-restart", Kms, breaks "always:readable-by-fresh-apiserver";
    /// Decrypt refuses every key but the one that Status names.
    OldKeysRefused = "old-keys-refused", Kms, breaks "always:readable-by-fresh-apiserver";
    /// The first login's answer is all that a login ever gives.
    LoginOnce = "login-once", Vault, breaks "eventually:recovers";
    /// Every request is preceded by one more login.
    LoginStorm = "login-storm", Vault, breaks "always:vault-logins-at-most";
    /// Every read of the key is made 40 times.
    RequestStorm = "request-storm", Vault, breaks "always:vault-requests-at-most";
    /// The key is read once; what is read later is what was read then.
    RotationUnseen = "rotation-unseen", Vault, breaks "eventually:key-id-changes";
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|variant| variant.name() == word);
        found.copied().ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|variant| variant.name()).collect();
            format!(
                "there is no planted bug {word:?}; there are: {}",
                all.join(", ")
            )
        })
    }
}
