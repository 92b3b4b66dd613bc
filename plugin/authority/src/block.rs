//! One header block: whether its authority is one, and the block with another in its place.
//!
//! The blocks written here use no table, so that the server's own stays empty whatever the client
//! does to its.

use loona_hpack::Decoder;

use crate::frames::Malformed;

/// Table that a client may count on before the server says otherwise, which it never does.
const TABLE: usize = 4096;
/// Longest block once decoded. The server takes 16 KiB of fields, and refuses more by itself.
const LONGEST: usize = 64 * 1024;
/// What stands in the place of a path.
const AUTHORITY: &[u8] = b"localhost";

type Field = (Vec<u8>, Vec<u8>);

/// The client's header blocks of one connection; each has to be decoded, in their order.
pub(super) struct Blocks(Decoder<'static>);

impl Default for Blocks {
    fn default() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(TABLE);
        Self(decoder)
    }
}

impl Blocks {
    /// The fields of `block`, in their order.
    pub(super) fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, Malformed> {
        let (mut fields, mut size) = (Vec::new(), 0);
        let decoded = self.0.decode_with_cb(block, |name, value| {
            size += name.len() + value.len() + 32;
            // A short block may stand for a very long one.
            if size <= LONGEST {
                fields.push((name.into_owned(), value.into_owned()));
            }
        });
        if decoded.is_err() {
            return Err(Malformed("the header block cannot be decoded"));
        }
        if size > LONGEST {
            return Err(Malformed("the header block is too long"));
        }
        Ok(fields)
    }
}

/// Whether the server can take the authority among `fields`; none at all is fine.
pub(super) fn is_taken(fields: &[Field]) -> bool {
    fields
        .iter()
        .filter(|(name, _)| name == b":authority")
        .all(|(_, value)| http::uri::Authority::try_from(&value[..]).is_ok())
}

/// A block of `fields` with an authority that the server takes.
pub(super) fn encode(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        let value = if name == b":authority" {
            AUTHORITY
        } else {
            value
        };
        // A literal without indexing and with a new name.
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    loona_hpack::encoder::encode_integer_into(text.len(), 7, 0, block)
        .expect("a vector takes every byte");
    block.extend_from_slice(text);
}
