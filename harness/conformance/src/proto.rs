//! The API's messages by field number, byte for byte.
//!
//! Encoding follows Go: fields ascending, default values left out, map entries with both fields
//! (KMS2-WIRE-11). Decoding is lenient where a typed decoder would hide what the subject sent:
//! unknown numbers, wrong wire types and bad UTF-8 are reported, not refused. Not a general
//! protobuf library.

use bytes::{BufMut, Bytes, BytesMut};

/// Wire type of bytes and strings.
pub(crate) const LEN: u8 = 2;

/// Appends a length-delimited field, also when empty.
pub(crate) fn put_field(out: &mut BytesMut, number: u32, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | u64::from(LEN));
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

fn put_nonempty(out: &mut BytesMut, number: u32, value: &[u8]) {
    if !value.is_empty() {
        put_field(out, number, value);
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// `EncryptRequest` (KMS2-WIRE-04).
pub(crate) fn encrypt_request(plaintext: &[u8], uid: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(plaintext.len() + uid.len() + 12);
    put_nonempty(&mut out, 1, plaintext);
    put_nonempty(&mut out, 2, uid);
    out.freeze()
}

/// `DecryptRequest` (KMS2-WIRE-06).
pub(crate) fn decrypt_request(
    ciphertext: &[u8],
    uid: &[u8],
    key_id: &[u8],
    annotations: &[(Bytes, Bytes)],
) -> Bytes {
    let mut out = BytesMut::with_capacity(ciphertext.len() + uid.len() + key_id.len() + 64);
    put_nonempty(&mut out, 1, ciphertext);
    put_nonempty(&mut out, 2, uid);
    put_nonempty(&mut out, 3, key_id);
    for (key, value) in annotations {
        let mut entry = BytesMut::new();
        put_field(&mut entry, 1, key);
        put_field(&mut entry, 2, value);
        put_field(&mut out, 4, &entry);
    }
    out.freeze()
}

/// One field as it stands in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub number: u32,
    pub wire: u8,
    /// Content of a length-delimited field, otherwise empty.
    pub value: Bytes,
}

/// Splits a message into its fields, or says where it is no message.
pub(crate) fn fields(message: &Bytes) -> Result<Vec<Field>, String> {
    let mut at = 0;
    let mut found = Vec::new();
    while at < message.len() {
        let start = at;
        let tag = varint(message, &mut at)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| format!("bad field number at byte {start}"))?;
        let wire = (tag & 7) as u8;
        let len = match wire {
            0 => {
                varint(message, &mut at)?;
                0
            }
            1 => 8,
            2 => varint(message, &mut at)?,
            5 => 4,
            other => return Err(format!("wire type {other} at byte {start}")),
        };
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| at.checked_add(len))
            .filter(|end| *end <= message.len())
            .ok_or_else(|| format!("field {number} at byte {start} is longer than the message"))?;
        let value = if wire == LEN {
            message.slice(at..end)
        } else {
            Bytes::new()
        };
        found.push(Field {
            number,
            wire,
            value,
        });
        at = end;
    }
    Ok(found)
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, String> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).ok_or("the message ends inside a number")?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(format!("a number at byte {at} is too long"))
}

/// The last length-delimited field of a number, as proto3 takes it; empty if absent.
pub(crate) fn last(fields: &[Field], number: u32) -> Bytes {
    fields
        .iter()
        .rfind(|f| f.number == number && f.wire == LEN)
        .map(|f| f.value.clone())
        .unwrap_or_default()
}

/// A map field with byte values, ordered by key, the last of equal keys taken.
pub(crate) fn map(fields: &[Field], number: u32) -> Result<Vec<(Bytes, Bytes)>, String> {
    let mut entries = std::collections::BTreeMap::new();
    for field in fields
        .iter()
        .filter(|f| f.number == number && f.wire == LEN)
    {
        let entry = self::fields(&field.value)?;
        entries.insert(last(&entry, 1), last(&entry, 2));
    }
    Ok(entries.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_encrypt_request_of_the_real_client_is_reproduced() {
        let plaintext = [
            0x8b, 0x65, 0x05, 0x33, 0x9c, 0x11, 0x4b, 0x2a, 0x43, 0xa6, 0x4a, 0x51, 0x6c, 0xb8,
            0x48, 0xee, 0x21, 0x59, 0x08, 0xd8, 0xb3, 0xfb, 0x73, 0x97, 0x85, 0x86, 0xfd, 0x64,
            0x8e, 0xfb, 0xf4, 0xce,
        ];
        let uid = "3474be5d-7a4c-49f7-b33c-dce3b2d29117";
        let mut expected = vec![0x0a, 0x20];
        expected.extend(plaintext);
        expected.extend([0x12, 0x24]);
        expected.extend(uid.as_bytes());
        assert_eq!(encrypt_request(&plaintext, uid.as_bytes()), expected);
    }

    #[test]
    fn an_empty_annotation_value_is_written_as_go_writes_it() {
        let out = decrypt_request(b"", b"", b"", &[("a.b".into(), Bytes::new())]);
        assert_eq!(out.as_ref(), [0x22, 7, 0x0a, 3, 0x61, 0x2e, 0x62, 0x12, 0]);
        let annotations = map(&fields(&out).unwrap(), 4).unwrap();
        assert_eq!(annotations, [(Bytes::from("a.b"), Bytes::new())]);
    }

    #[test]
    fn damaged_messages_are_errors_and_never_panics() {
        for bytes in [
            &[0x0a][..],
            &[0x0a, 5, 1],
            &[0x00],
            &[0x0f],
            &[0xff; 11],
            &[0x09, 1],
        ] {
            assert!(fields(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
