//! The object that stands in etcd behind the prefix (KMS2-OBJ-01), and the limits of what a plugin
//! may answer.

use sha2_v10::{Digest, Sha256};

use crate::gotext::{aggregate, quote};
use crate::proto::{self, Annotations, DecodeError, Value};
use crate::version::Version;

/// Longest key_id, in bytes (KMS2-STATUS-04).
pub const MAX_KEY_ID: usize = 1024;
/// Longest wrapped seed, in bytes (KMS2-ENC-05).
pub const MAX_SOURCE: usize = 1024;
/// Most bytes of annotations, keys and values together (KMS2-ENC-08).
pub const MAX_ANNOTATIONS: usize = 32 * 1024;

/// What the plugin unwraps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceType {
    /// An AES-GCM key: type 0.
    AesGcmKey,
    /// A seed that HKDF makes a key from for each write: type 1.
    HkdfSeed,
}

impl SourceType {
    /// The number of field 5.
    pub fn number(self) -> u32 {
        match self {
            SourceType::AesGcmKey => 0,
            SourceType::HkdfSeed => 1,
        }
    }
}

/// The object of section 3.1 of the contract. Field 5 is kept as the number that was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptedObject {
    /// Field 1.
    pub data: Vec<u8>,
    /// Field 2.
    pub key_id: String,
    /// Field 3: the wrapped seed.
    pub source: Vec<u8>,
    /// Field 4.
    pub annotations: Annotations,
    /// Field 5; wider numbers are cut to 32 bits (KMS2-DEC-11).
    pub source_type: i32,
}

impl EncryptedObject {
    /// Reads a stored object as `version` does. 1.27 does not know field 5 (KMS2-VER-01).
    ///
    /// # Errors
    /// With the text of the library that the version was built with.
    pub fn decode(bytes: &[u8], version: Version) -> Result<Self, String> {
        Self::parse(bytes, version).map_err(|error| match error {
            error if !version.gogo_protobuf() => error.to_string(),
            DecodeError::Malformed => "unexpected EOF".to_owned(),
            DecodeError::Utf8(2) => {
                "proto: field \"v2.EncryptedObject.keyID\" contains invalid UTF-8".to_owned()
            }
            DecodeError::Utf8(_) => {
                "proto: field \"v2.EncryptedObject.AnnotationsEntry.key\" contains invalid UTF-8"
                    .to_owned()
            }
        })
    }

    fn parse(bytes: &[u8], version: Version) -> Result<Self, DecodeError> {
        let mut object = EncryptedObject::default();
        for field in proto::fields(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => object.data = bytes.to_vec(),
                (2, Value::Bytes(bytes)) => object.key_id = proto::string(2, bytes)?,
                (3, Value::Bytes(bytes)) => object.source = bytes.to_vec(),
                (4, Value::Bytes(bytes)) => proto::map_entry(4, bytes, &mut object.annotations)?,
                (5, Value::Varint(number)) if version.knows_source_type() => {
                    object.source_type = number as i32;
                }
                _ => {}
            }
        }
        Ok(object)
    }

    /// The type, if it is a known one.
    pub fn known_type(&self) -> Option<SourceType> {
        match self.source_type {
            0 => Some(SourceType::AesGcmKey),
            1 => Some(SourceType::HkdfSeed),
            _ => None,
        }
    }

    /// Checks everything that can be checked without a key, in upstream's order: type, data,
    /// wrapped seed, key_id, annotations. Only the first fault is told (KMS2-ENC-09).
    ///
    /// # Errors
    /// With upstream's text.
    pub fn validate(&self) -> Result<(), String> {
        if self.known_type().is_none() {
            return Err(format!(
                "unknown encryptedDEKSourceType: {}",
                self.source_type
            ));
        }
        if self.data.is_empty() {
            return Err("encrypted data is empty".to_owned());
        }
        validate_parts(&self.source, &self.key_id, &self.annotations)
    }

    /// The map key of the seed cache: SHA-256 over [`cache_key_bytes`] (KMS2-CACHE-07).
    pub fn cache_key(&self) -> [u8; 32] {
        let bytes = cache_key_bytes(
            self.source_type as u32,
            &self.source,
            &self.key_id,
            &self.annotations,
        );
        Sha256::digest(bytes).into()
    }
}

/// Writes a stored object as `version` does: fields in ascending order, type 0 left out. The older
/// library leaves out the empty value of an annotation as well.
#[expect(clippy::too_many_arguments, reason = "the fields, as they are")]
pub fn encode(
    out: &mut Vec<u8>,
    version: Version,
    data: &[u8],
    key_id: &str,
    source: &[u8],
    annotations: &Annotations,
    source_type: SourceType,
) {
    proto::put_bytes(out, 1, data);
    proto::put_bytes(out, 2, key_id.as_bytes());
    proto::put_bytes(out, 3, source);
    if version.gogo_protobuf() {
        proto::put_map_short(out, 4, annotations);
    } else {
        proto::put_map(out, 4, annotations);
    }
    proto::put_number(out, 5, u64::from(source_type.number()));
}

/// The bytes that the cache key is the hash of. Parts are within their limits, so 16 bits hold
/// their lengths; a longer value is one that no limit let through.
pub fn cache_key_bytes(
    source_type: u32,
    source: &[u8],
    key_id: &str,
    annotations: &Annotations,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(source.len() + key_id.len() + 16);
    let part = |bytes: &mut Vec<u8>, part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    bytes.extend_from_slice(&source_type.to_be_bytes());
    part(&mut bytes, source);
    part(&mut bytes, key_id.as_bytes());
    if !annotations.is_empty() {
        bytes.extend_from_slice(&(annotations.len() as u32).to_be_bytes());
        for (key, value) in annotations {
            part(&mut bytes, key.as_bytes());
            part(&mut bytes, value);
        }
    }
    bytes
}

/// Checks a wrapped seed as the plugin answered it.
///
/// # Errors
/// With upstream's text, for the first group that is wrong.
pub fn validate_parts(
    source: &[u8],
    key_id: &str,
    annotations: &Annotations,
) -> Result<(), String> {
    validate_source(source)
        .map_err(|why| format!("failed to validate encrypted DEK source: {why}"))?;
    validate_key_id(key_id).map_err(|fault| format!("failed to validate key id: {fault}"))?;
    validate_annotations(annotations)
        .map_err(|why| format!("failed to validate annotations: {why}"))
}

fn validate_source(source: &[u8]) -> Result<(), String> {
    match source.len() {
        0 => Err("encrypted DEK source is empty".to_owned()),
        1..=MAX_SOURCE => Ok(()),
        length => Err(format!(
            "encrypted DEK source is {length} bytes, which exceeds the max size of {MAX_SOURCE}"
        )),
    }
}

/// What is wrong with a key_id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyIdFault {
    /// It is empty.
    Empty,
    /// It is longer than [`MAX_KEY_ID`]: this many bytes.
    TooLong(usize),
}

impl KeyIdFault {
    /// The label of the metric (KMS2-MET-05).
    pub fn label(self) -> &'static str {
        match self {
            KeyIdFault::Empty => "empty",
            KeyIdFault::TooLong(_) => "too_long",
        }
    }
}

impl std::fmt::Display for KeyIdFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyIdFault::Empty => f.write_str("keyID is empty"),
            KeyIdFault::TooLong(length) => write!(
                f,
                "keyID is {length} bytes, which exceeds the max size of {MAX_KEY_ID}"
            ),
        }
    }
}

/// Checks a key_id: its length in bytes, and nothing else (KMS2-STATUS-04, KMS2-STATUS-05).
///
/// # Errors
/// If it is empty or too long.
pub fn validate_key_id(key_id: &str) -> Result<(), KeyIdFault> {
    match key_id.len() {
        0 => Err(KeyIdFault::Empty),
        1..=MAX_KEY_ID => Ok(()),
        length => Err(KeyIdFault::TooLong(length)),
    }
}

/// Checks annotations: each key a domain name of at least two labels, and the sum of the sizes
/// (KMS2-ENC-07, KMS2-ENC-08).
///
/// # Errors
/// With all faults, in the order of the keys; upstream's order is random.
pub fn validate_annotations(annotations: &Annotations) -> Result<(), String> {
    let mut faults: Vec<String> = annotations
        .keys()
        .filter_map(|key| domain_fault(key))
        .collect();
    let total: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if total > MAX_ANNOTATIONS {
        faults.push(format!(
            "total size of annotations is {total}, which exceeds the max size of {MAX_ANNOTATIONS}"
        ));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(aggregate(&faults))
    }
}

const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with a fully qualified domain name.
fn domain_fault(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("annotations: Required value".to_owned());
    }
    let invalid = |value: &str, why: &str| {
        Some(format!(
            "annotations: Invalid value: {}: {why}",
            quote(value)
        ))
    };
    let name = key.strip_suffix('.').unwrap_or(key);
    let mut faults = Vec::new();
    if name.len() > 253 {
        faults.push("must be no more than 253 characters");
    }
    if !name.split('.').all(is_label) {
        faults.push(SUBDOMAIN_RULE);
    }
    if !faults.is_empty() {
        return invalid(name, &faults.join(","));
    }
    if !name.contains('.') {
        return invalid(
            name,
            "should be a domain with at least two segments separated by dots",
        );
    }
    let long = name.split('.').find(|label| label.len() > 63)?;
    invalid(long, "must be no more than 63 characters")
}

/// Lower-case letters, digits and hyphens; hyphens only inside.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
