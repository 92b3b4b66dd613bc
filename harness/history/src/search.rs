//! Looking for bytes that must not be somewhere.

use memchr::memmem;

/// Whether some bytes stand in others. Nothing stands nowhere.
#[must_use]
pub fn holds(hay: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && memmem::find(hay, needle).is_some()
}
