//! The header of a stored KMS v2 value, read without any key: field numbers of `EncryptedObject` (KMS2-ETCD-03).

const KEY_ID: u64 = 2;
const WRAPPED_KEY: u64 = 3;

/// The key_id in a stored value, if it has one.
pub(super) fn key_id(stored: &[u8]) -> Option<String> {
    let start = body(stored)?;
    let (from, to) = field(&stored[start..], KEY_ID)?;
    String::from_utf8(stored[start + from..start + to].to_vec()).ok()
}

/// Where the middle of the wrapped DEK or seed lies in a stored value, if there is one.
pub(super) fn wrapped_key(stored: &[u8]) -> Option<usize> {
    let start = body(stored)?;
    let (from, to) = field(&stored[start..], WRAPPED_KEY)?;
    Some(start + from + (to - from) / 2)
}

/// Where the protobuf begins: after `k8s:enc:kms:v2:NAME:`.
fn body(stored: &[u8]) -> Option<usize> {
    if !stored.starts_with(b"k8s:enc:kms:v2:") {
        return None;
    }
    let colons = stored.iter().enumerate().filter(|(_, byte)| **byte == b':');
    colons.map(|(at, _)| at + 1).nth(4)
}

/// The first length-delimited field of this number: from, to.
fn field(bytes: &[u8], wanted: u64) -> Option<(usize, usize)> {
    let mut at = 0;
    while at < bytes.len() {
        let tag = varint(bytes, &mut at)?;
        match tag & 7 {
            0 => {
                varint(bytes, &mut at)?;
            }
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
                let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
                if tag >> 3 == wanted {
                    return Some((at, end));
                }
                at = end;
            }
            _ => return None,
        }
    }
    None
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read() {
        let mut value = b"k8s:enc:kms:v2:kms:".to_vec();
        value.extend([
            0x0a, 3, 1, 2, 3, 0x12, 2, b'k', b'1', 0x1a, 4, 9, 9, 9, 9, 0x28, 1,
        ]);
        assert_eq!(key_id(&value).as_deref(), Some("k1"));
        assert_eq!(wrapped_key(&value), Some(19 + 5 + 4 + 2 + 2));
        assert_eq!(key_id(b"k8s\0plain"), None);
        assert_eq!(key_id(&value[..22]), None, "cut off");
    }
}
