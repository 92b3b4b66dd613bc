//! Protobuf as Go reads and writes it, for the messages of the plugin API and the stored object.
//!
//! Not a general codec, and not prost: Go takes a field of another wire type for an unknown one,
//! lets the last of a repeated scalar win, and writes both fields of a map entry even when they
//! are empty (KMS2-WIRE-09, KMS2-WIRE-11).

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// Annotations of a wrapped seed.
pub type Annotations = BTreeMap<String, Vec<u8>>;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They do not parse.
    Malformed,
    /// A string is not UTF-8; the number of its field.
    Utf8(u32),
}

impl fmt::Display for DecodeError {
    /// The text of google.golang.org/protobuf. The blank after `proto:` differs by build.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed => f.write_str("proto: cannot parse invalid wire-format data"),
            DecodeError::Utf8(_) => f.write_str("string field contains invalid UTF-8"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The answer of Status (KMS2-WIRE-03).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusAnswer {
    /// Field 1.
    pub version: String,
    /// Field 2.
    pub healthz: String,
    /// Field 3.
    pub key_id: String,
}

impl StatusAnswer {
    /// Reads it.
    ///
    /// # Errors
    /// If the bytes do not parse or a string is not UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut answer = StatusAnswer::default();
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => answer.version = string(1, bytes)?,
                (2, Value::Bytes(bytes)) => answer.healthz = string(2, bytes)?,
                (3, Value::Bytes(bytes)) => answer.key_id = string(3, bytes)?,
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// The answer of Encrypt (KMS2-WIRE-05).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptAnswer {
    /// Field 1: the wrapped seed.
    pub ciphertext: Vec<u8>,
    /// Field 2.
    pub key_id: String,
    /// Field 3.
    pub annotations: Annotations,
}

impl EncryptAnswer {
    /// Reads it.
    ///
    /// # Errors
    /// If the bytes do not parse or a string is not UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut answer = EncryptAnswer::default();
        for field in fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => answer.ciphertext = bytes.to_vec(),
                (2, Value::Bytes(bytes)) => answer.key_id = string(2, bytes)?,
                (3, Value::Bytes(bytes)) => map_entry(3, bytes, &mut answer.annotations)?,
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// Reads the answer of Decrypt: its only field (KMS2-WIRE-07).
///
/// # Errors
/// If the bytes do not parse.
pub fn decode_decrypt_answer(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    let mut plaintext = Zeroizing::new(Vec::new());
    for field in fields(bytes) {
        if let (1, Value::Bytes(bytes)) = field? {
            plaintext = Zeroizing::new(bytes.to_vec());
        }
    }
    Ok(plaintext)
}

/// Writes the request of Encrypt (KMS2-WIRE-04).
pub fn encrypt_request(plaintext: &[u8], uid: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(plaintext.len() + uid.len() + 8);
    put_bytes(&mut bytes, 1, plaintext);
    put_bytes(&mut bytes, 2, uid.as_bytes());
    bytes
}

/// Writes the request of Decrypt (KMS2-WIRE-06).
pub fn decrypt_request(
    ciphertext: &[u8],
    uid: &str,
    key_id: &str,
    annotations: &Annotations,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ciphertext.len() + uid.len() + key_id.len() + 16);
    put_bytes(&mut bytes, 1, ciphertext);
    put_bytes(&mut bytes, 2, uid.as_bytes());
    put_bytes(&mut bytes, 3, key_id.as_bytes());
    put_map(&mut bytes, 4, annotations);
    bytes
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number of wire type 0.
    Varint(u64),
    /// Bytes, a string or a message.
    Bytes(&'a [u8]),
    /// A fixed-width number or a group: never used here.
    Other,
}

/// Walks over the fields of a message; the first error ends it.
pub(crate) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>), DecodeError>> {
    let mut rest = bytes;
    let mut failed = false;
    std::iter::from_fn(move || {
        if rest.is_empty() || failed {
            return None;
        }
        let field = take_field(&mut rest);
        failed = field.is_none();
        Some(field.ok_or(DecodeError::Malformed))
    })
}

/// Groups nest, and each level costs stack: Go stops at this depth too.
const MAX_DEPTH: u32 = 10_000;

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (number, wire_type) = take_tag(rest)?;
    let value = match wire_type {
        0 => Value::Varint(take_varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => {
            let length = take_varint(rest)?;
            Value::Bytes(take(rest, usize::try_from(length).ok()?)?)
        }
        3 => skip_group(rest, number).map(|()| Value::Other)?,
        5 => take(rest, 4).map(|_| Value::Other)?,
        _ => return None,
    };
    Some((number, value))
}

/// Skips to the end of the group `number`, with a counter and the open groups instead of recursion.
fn skip_group(rest: &mut &[u8], number: u32) -> Option<()> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        if open.len() > MAX_DEPTH as usize {
            return None;
        }
        let (number, wire_type) = take_tag(rest)?;
        match wire_type {
            0 => drop(take_varint(rest)?),
            1 => drop(take(rest, 8)?),
            2 => {
                let length = take_varint(rest)?;
                take(rest, usize::try_from(length).ok()?)?;
            }
            3 => open.push(number),
            4 if number == innermost => drop(open.pop()),
            5 => drop(take(rest, 4)?),
            _ => return None,
        }
    }
    Some(())
}

fn take_tag(rest: &mut &[u8]) -> Option<(u32, u8)> {
    let tag = take_varint(rest)?;
    let number = u32::try_from(tag >> 3).ok()?;
    let valid = (1..1 << 29).contains(&number);
    // The mask leaves three bits.
    valid.then_some((number, (tag & 7) as u8))
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (place, &byte) in rest.iter().take(10).enumerate() {
        if place == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *rest = &rest[place + 1..];
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

pub(crate) fn string(number: u32, bytes: &[u8]) -> Result<String, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::Utf8(number)),
    }
}

/// Reads an entry `{1: key, 2: value}`; both may be absent, unknown fields are skipped.
pub(crate) fn map_entry(
    number: u32,
    bytes: &[u8],
    map: &mut Annotations,
) -> Result<(), DecodeError> {
    let (mut key, mut value) = (String::new(), Vec::new());
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => key = string(number, bytes)?,
            (2, Value::Bytes(bytes)) => value = bytes.to_vec(),
            _ => {}
        }
    }
    map.insert(key, value);
    Ok(())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The mask leaves seven bits.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Writes a field of bytes unless it is empty.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes_always(out, number, bytes);
    }
}

fn put_bytes_always(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a number unless it is 0.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_tag(out, number, 0);
        put_varint(out, value);
    }
}

/// Writes each entry with both of its fields, in the order of the keys.
pub(crate) fn put_map(out: &mut Vec<u8>, number: u32, map: &Annotations) {
    for (key, value) in map {
        let mut entry = Vec::with_capacity(key.len() + value.len() + 8);
        put_bytes_always(&mut entry, 1, key.as_bytes());
        put_bytes_always(&mut entry, 2, value);
        put_bytes_always(out, number, &entry);
    }
}

/// Writes each entry as the gogo library does for the stored object: without an empty value.
pub(crate) fn put_map_short(out: &mut Vec<u8>, number: u32, map: &Annotations) {
    for (key, value) in map {
        let mut entry = Vec::with_capacity(key.len() + value.len() + 8);
        put_bytes_always(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value);
        put_bytes_always(out, number, &entry);
    }
}
