//! How a value was written: what its annotations say, and who may read or write it so.
//!
//! Taking over from another plugin has two phases. In the first, values are written without
//! associated data, so that the old plugin could still read them; that breaks KMS2-DEC-05 knowingly
//! and lasts until an operator ends it. Each phase has key_ids of its own, so that the API server
//! writes everything anew at the change.

use bytes::Bytes;

use super::id;
use crate::config::Adopt;

/// How a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ours: bound to its key_id by associated data.
    Bound,
    /// Ours, of the first phase of taking over: not bound.
    Unbound,
    /// The community plugin's: not bound, no annotations, and a version or a time as its key_id.
    Community,
    /// HashiCorp's, as far as is known: not bound, no annotations, and a key_id that names place and version.
    HashiCorp,
}

impl Format {
    /// What is written by a plugin that takes over, or does not.
    pub fn written(adopt: Option<Adopt>) -> Self {
        match adopt {
            Some(adopt) if !adopt.is_final() => Self::Unbound,
            _ => Self::Bound,
        }
    }

    /// The value of the annotation. Other plugins write none.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bound => "1",
            Self::Unbound => "0",
            Self::Community | Self::HashiCorp => "",
        }
    }

    /// Whether another plugin wrote it.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Community | Self::HashiCorp)
    }

    /// Whether ciphertext, key_id and annotations stand or fall together.
    pub fn is_bound(self) -> bool {
        self == Self::Bound
    }

    /// What a value's annotations say.
    ///
    /// # Errors
    /// They are none that this plugin reads; the text is fit for a caller.
    pub fn of<'a>(
        annotations: impl ExactSizeIterator<Item = (&'a String, &'a Bytes)>,
        adopt: Option<Adopt>,
    ) -> Result<Self, String> {
        let n = annotations.len();
        match adopt {
            Some(Adopt::Community | Adopt::CommunityFinal) if n == 0 => return Ok(Self::Community),
            Some(Adopt::HashiCorp | Adopt::HashiCorpFinal) if n == 0 => return Ok(Self::HashiCorp),
            _ => {}
        }
        let all: Vec<_> = annotations.take(2).collect();
        let [(name, value)] = all[..] else {
            return Err(format!(
                "there are {n} annotations, expected {} alone",
                id::FORMAT_ANNOTATION
            ));
        };
        let readable = [Self::Bound, Self::Unbound]
            .into_iter()
            .filter(|format| format.is_bound() || adopt.is_some())
            .find(|format| name == id::FORMAT_ANNOTATION && value == format.word());
        readable.ok_or_else(|| {
            format!(
                "annotation {} is missing or has another value",
                id::FORMAT_ANNOTATION
            )
        })
    }
}

/// Whether a key_id may be the community plugin's: a version's number, or a time in seconds.
pub fn is_community_key_id(key_id: &str) -> bool {
    (1..=20).contains(&key_id.len())
        && !key_id.starts_with('0')
        && key_id.bytes().all(|b| b.is_ascii_digit())
}
