//! What the Transit engine is sent, and what its answers mean.
//!
//! Bodies are written by hand: base64 and numbers need no escaping, and a plaintext passes through
//! one buffer only, which is wiped.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::Place;
use crate::event::VaultOp;
use crate::fault::Fault;
use crate::key::id;
use crate::key::table::Version;
use crate::vault::Answer;
use crate::vault::answer::known_text;

/// OpenBao refuses a body with more strings, names and values both counted.
const MAX_STRINGS: usize = 1000;
/// Most items in a batch: four strings each.
pub const MAX_ITEMS: usize = 249;

/// One thing to encrypt or decrypt.
#[derive(Clone)]
pub enum Input {
    /// A plaintext, to be encrypted at the current version.
    Plaintext(Bytes),
    /// A ciphertext as Transit gave it, and the key_id that it is bound to.
    Ciphertext {
        /// `vault:vN:…`
        text: Bytes,
        /// The caller's key_id.
        key_id: Box<str>,
        /// Whether it is bound to that.
        bound: bool,
    },
}

/// What became of it.
#[derive(Clone)]
pub enum Output {
    /// A ciphertext and the version it was made with.
    Ciphertext {
        /// `vault:vN:…`
        text: Bytes,
        /// The version.
        version: Version,
    },
    /// A plaintext; wiped when the last reference goes.
    Plaintext(Bytes),
}

/// How one item of an answer ended.
pub type Item = Result<Output, Fault>;

/// API paths of one key.
pub struct Paths {
    /// `transit/encrypt/kms-key`
    pub encrypt: String,
    /// `transit/decrypt/kms-key`
    pub decrypt: String,
    /// `transit/keys/kms-key`
    pub key: String,
}

impl Paths {
    /// From configuration, which has checked the names.
    pub fn new(place: &Place) -> Self {
        let Place { mount, key, .. } = place;
        Self {
            encrypt: format!("{mount}/encrypt/{key}"),
            decrypt: format!("{mount}/decrypt/{key}"),
            key: format!("{mount}/keys/{key}"),
        }
    }
}

/// Most items that one request of `op` may carry.
pub fn max_items(op: VaultOp) -> usize {
    // plaintext, associated_data and key_version are names, two of them have strings as values.
    if op == VaultOp::Encrypt {
        (MAX_STRINGS - 1) / 5
    } else {
        MAX_ITEMS
    }
}

/// The body of one request for `inputs`; `version` pins an encryption.
pub fn body(inputs: &[&Input], version: &Version) -> Bytes {
    let size: usize = inputs
        .iter()
        .map(|i| match i {
            Input::Plaintext(p) => p.len() * 4 / 3 + 220,
            Input::Ciphertext { text, .. } => text.len() + 200,
        })
        .sum();
    let mut out = Zeroizing::new(String::with_capacity(size + 32));
    if let [one] = inputs {
        write_item(&mut out, one, version);
    } else {
        out.push_str(r#"{"batch_input":["#);
        for (n, input) in inputs.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_item(&mut out, input, version);
        }
        out.push_str("]}");
    }
    Bytes::from_owner(WipedText(out))
}

struct WipedText(Zeroizing<String>);

impl AsRef<[u8]> for WipedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn write_item(out: &mut String, input: &Input, version: &Version) {
    match input {
        Input::Plaintext(plaintext) => {
            out.push_str(r#"{"plaintext":""#);
            STANDARD.encode_string(plaintext, out);
            if version.format.is_bound() {
                out.push_str(r#"","associated_data":""#);
                out.push_str(&id::binding(&version.key_id));
            }
            out.push_str(r#"","key_version":"#);
            out.push_str(&version.number.to_string());
            out.push('}');
        }
        Input::Ciphertext {
            text,
            key_id,
            bound,
        } => {
            out.push_str(r#"{"ciphertext":""#);
            // The shape was checked: printable ASCII without quotes.
            out.push_str(std::str::from_utf8(text).expect("checked to be base64 behind a label"));
            if *bound {
                out.push_str(r#"","associated_data":""#);
                out.push_str(&id::binding(key_id));
            }
            out.push_str(r#""}"#);
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    ciphertext: Option<Cow<'a, str>>,
    #[serde(borrow)]
    plaintext: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    batch_results: Option<Vec<Data<'a>>>,
}

/// The items of an answer to `inputs` of `op`, in their order.
///
/// # Errors
/// A fault that concerns them all: [`is_batch_refusal`] tells whether smaller requests may help.
pub fn items(
    op: VaultOp,
    place: &Place,
    answer: &Answer,
    n: usize,
    version: &Version,
) -> Result<Vec<Item>, Fault> {
    let bad = |what: &str| Fault::BadAnswer {
        address: "this address".to_owned(),
        what: what.to_owned(),
    };
    let parsed = serde_json::from_slice::<Envelope<'_>>(&answer.body.0);
    let data = parsed.ok().and_then(|e| e.data);
    // A batch in which items failed has another status, but its results all the same.
    if let Some(results) = data.as_ref().and_then(|d| d.batch_results.as_ref()) {
        if results.len() != n || n == 1 {
            return Err(bad(&format!("{} results for {n} items", results.len())));
        }
        return Ok(results
            .iter()
            .map(|item| one(op, place, item, answer.status, version))
            .collect());
    }
    match answer.status {
        200..=299 => {
            let data = data.ok_or_else(|| bad("it has no data"))?;
            if n != 1 {
                return Err(bad("a single result for a batch"));
            }
            Ok(vec![one(op, place, &data, answer.status, version)])
        }
        status => Err(refusal(op, place, status, &answer.error_text(), version)),
    }
}

/// Whether `fault` refuses the batch as such, so that smaller ones may pass.
pub fn is_batch_refusal(fault: &Fault) -> bool {
    match fault {
        Fault::Refused { status, text, .. } | Fault::Server { status, text, .. } => {
            *status == 413
                || text == "exceeded maximum number of strings"
                || text == "failed to parse batch input"
        }
        _ => false,
    }
}

fn one(op: VaultOp, place: &Place, item: &Data<'_>, status: u16, version: &Version) -> Item {
    let bad = |what: &str| {
        Err(Fault::BadAnswer {
            address: "this address".to_owned(),
            what: what.to_owned(),
        })
    };
    if let Some(error) = item.error.as_deref().filter(|e| !e.is_empty()) {
        return Err(refusal(
            op,
            place,
            if status == 200 { 400 } else { status },
            error,
            version,
        ));
    }
    if op == VaultOp::Encrypt {
        let Some(text) = item.ciphertext.as_deref() else {
            return bad("it has no ciphertext");
        };
        return match label(text.as_bytes()) {
            Some(number) if number == version.number => Ok(Output::Ciphertext {
                text: Bytes::copy_from_slice(text.as_bytes()),
                version: version.clone(),
            }),
            // Some servers ignore the pin of a batch's items.
            Some(number) if number > version.number => Err(Fault::PinTooOld(version.number)),
            Some(number) => Err(Fault::PinTooNew(number)),
            None => bad("the ciphertext has no version label"),
        };
    }
    let Some(text) = item.plaintext.as_deref() else {
        return bad("it has no plaintext");
    };
    match STANDARD.decode(text) {
        Ok(plaintext) => Ok(Output::Plaintext(Bytes::from_owner(Zeroizing::new(
            plaintext,
        )))),
        Err(_) => bad("the plaintext is not standard padded base64"),
    }
}

/// What a refusal of `op` means. Only known texts are passed on.
fn refusal(op: VaultOp, place: &Place, status: u16, text: &str, version: &Version) -> Fault {
    let Place {
        mount,
        key,
        namespace,
        ..
    } = place;
    let known = known_text(text);
    match known {
        "encryption key not found" | "refusing to use soft-deleted key" | "no such key version" => {
            Fault::Key(format!(
                "{known}: key {key} at mount {mount}{}",
                in_namespace(namespace)
            ))
        }
        "requested version for encryption is less than the minimum encryption key version" => {
            Fault::PinTooOld(version.number)
        }
        "requested version for encryption is higher than the latest key version" => {
            Fault::PinTooNew(version.number)
        }
        "invalid ciphertext: version is too new" => Fault::PinTooNew(0),
        _ if status == 404 => missing(place),
        _ if matches!(status, 400 | 500) && op == VaultOp::Decrypt && !is_about_batch(known) => {
            Fault::Data(if known.is_empty() {
                "an unrecognised refusal".to_owned()
            } else {
                known.to_owned()
            })
        }
        _ => Fault::Refused {
            what: op.as_str(),
            status,
            text: known.to_owned(),
        },
    }
}

fn is_about_batch(known: &str) -> bool {
    matches!(
        known,
        "exceeded maximum number of strings"
            | "failed to parse batch input"
            | "request body too large"
    )
}

/// The fault of a key, mount or namespace that is not there.
pub fn missing(place: &Place) -> Fault {
    let Place {
        mount,
        key,
        namespace,
        ..
    } = place;
    Fault::Key(format!(
        "key not found: {key} at mount {mount}{}; check -transit-mount, -transit-key and the policy's path",
        in_namespace(namespace)
    ))
}

fn in_namespace(namespace: &str) -> String {
    if namespace.is_empty() {
        " in the root namespace".to_owned()
    } else {
        format!(" in namespace {namespace}")
    }
}

/// Version of a canonical `vault:vN:` label with something behind it.
pub fn label(ciphertext: &[u8]) -> Option<u64> {
    let rest = ciphertext.strip_prefix(b"vault:v")?;
    let end = rest.iter().position(|b| *b == b':')?;
    let digits = &rest[..end];
    let canonical =
        !digits.is_empty() && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    if !canonical || rest.len() == end + 1 {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether the part behind the label is standard padded base64.
pub fn has_canonical_payload(ciphertext: &[u8]) -> bool {
    let Some(colon) = ciphertext.iter().rposition(|b| *b == b':') else {
        return false;
    };
    let payload = &ciphertext[colon + 1..];
    !payload.is_empty() && STANDARD.decode(payload).is_ok()
}

/// Longest plaintext whose ciphertext at `version` fits the API server's 1024 bytes. The nonce may
/// be the long one of xchacha20.
pub fn max_plaintext(version: u64) -> usize {
    let label = "vault:v:".len() + version.to_string().len();
    (kms_v2_api::MAX_FIELD_BYTES - label) / 4 * 3 - (24 + 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_canonical_or_nothing() {
        for (text, version) in [
            ("vault:v1:AAAA", Some(1)),
            ("vault:v4294967296:AAAA", Some(4294967296)),
            ("vault:v0:AAAA", None),
            ("vault:v01:AAAA", None),
            ("vault:v+1:AAAA", None),
            ("vault:v-1:AAAA", None),
            ("vault:v1:", None),
            ("vault:v1", None),
            ("vault:v:AAAA", None),
            ("vault:", None),
            ("", None),
            ("vault:v99999999999999999999:AAAA", None),
            ("Vault:v1:AAAA", None),
        ] {
            assert_eq!(label(text.as_bytes()), version, "{text}");
        }
    }

    #[test]
    fn batches_stay_below_the_string_limit() {
        let version = Version {
            number: 1,
            key_id: "v1.x".into(),
            format: crate::key::format::Format::Bound,
        };
        for (op, input) in [
            (
                VaultOp::Encrypt,
                Input::Plaintext(Bytes::from_static(&[0; 32])),
            ),
            (
                VaultOp::Decrypt,
                Input::Ciphertext {
                    text: Bytes::from_static(b"vault:v1:AAAA"),
                    key_id: "v1.x".into(),
                    bound: true,
                },
            ),
        ] {
            let inputs = vec![&input; max_items(op)];
            let body = body(&inputs, &version);
            let quotes = body.iter().filter(|b| **b == b'"').count();
            assert!(quotes / 2 <= MAX_STRINGS, "{op:?}: {}", quotes / 2);
            assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn the_longest_plaintext_fits() {
        for version in [1, 9, 10, 1_000_000] {
            let n = max_plaintext(version);
            let text = format!("vault:v{version}:{}", STANDARD.encode(vec![0; n + 24 + 16]));
            assert!(text.len() <= 1024, "{version}: {}", text.len());
        }
    }

    #[test]
    fn only_known_texts_are_passed_on() {
        let place = Place {
            namespace: "".into(),
            mount: "transit".into(),
            key: "k".into(),
            epoch: "".into(),
        };
        let version = Version {
            number: 1,
            key_id: "v1.x".into(),
            format: crate::key::format::Format::Bound,
        };
        for op in [VaultOp::Encrypt, VaultOp::Decrypt] {
            for status in [400, 404, 413, 500] {
                let fault = refusal(
                    op,
                    &place,
                    status,
                    "error converting input s3cret for field \"plaintext\"",
                    &version,
                );
                assert!(!fault.to_string().contains("s3cret"), "{fault}");
            }
        }
    }

    fn place() -> Place {
        Place {
            namespace: "".into(),
            mount: "transit".into(),
            key: "k".into(),
            epoch: "".into(),
        }
    }

    fn version(number: u64) -> Version {
        Version {
            number,
            key_id: "v1.x".into(),
            format: crate::key::format::Format::Bound,
        }
    }

    /// What an answer to `n` items of `op` at version 2 comes to.
    fn read(op: VaultOp, n: usize, status: u16, body: &str) -> Result<Vec<Item>, Fault> {
        let answer = Answer {
            status,
            body: crate::vault::answer::Body(Bytes::copy_from_slice(body.as_bytes())),
            index: None,
            retry_after: None,
            address: 0,
        };
        items(op, &place(), &answer, n, &version(2))
    }

    #[test]
    fn an_answer_has_as_many_items_as_the_request() {
        let one = r#"{"data":{"plaintext":"AQ=="}}"#;
        let batch_of_one = r#"{"data":{"batch_results":[{"plaintext":"AQ=="}]}}"#;
        let batch_of_two =
            r#"{"data":{"batch_results":[{"plaintext":"AQ=="},{"plaintext":"Ag==","error":""}]}}"#;
        for (n, body, fits) in [
            (1, one, true),
            (2, one, false),
            (1, batch_of_one, false),
            (2, batch_of_one, false),
            (2, batch_of_two, true),
            (3, batch_of_two, false),
        ] {
            match read(VaultOp::Decrypt, n, 200, body) {
                Ok(items) => assert!(fits && items.iter().all(Result::is_ok), "{n}: {body}"),
                Err(fault) => {
                    assert!(
                        !fits && matches!(fault, Fault::BadAnswer { .. }),
                        "{n}: {fault}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_items_error_is_its_own_under_any_status() {
        for status in [200, 207, 400] {
            let body = r#"{"data":{"batch_results":[{"plaintext":"AQ=="},{"error":"cipher: message authentication failed"}]}}"#;
            let items = read(VaultOp::Decrypt, 2, status, body).expect("a batch");
            assert!(items[0].is_ok());
            let error = items[1].as_ref().err().expect("the second failed");
            let expected = status == 200 || status == 400;
            assert_eq!(
                matches!(error, Fault::Data(_)),
                expected,
                "{status}: {error}"
            );
        }
    }

    #[test]
    fn bug_037_the_label_of_an_answer_is_the_version_that_was_asked_for() {
        for (made_with, expected) in [
            (1, Some(Fault::PinTooNew(1))),
            (2, None),
            (3, Some(Fault::PinTooOld(2))),
        ] {
            let body = format!(r#"{{"data":{{"ciphertext":"vault:v{made_with}:AAAA"}}}}"#);
            let mut items = read(VaultOp::Encrypt, 1, 200, &body).expect("one");
            assert_eq!(items.pop().and_then(Result::err), expected, "v{made_with}");
        }
    }

    #[test]
    fn refusals_are_read_by_their_texts() {
        use VaultOp::{Decrypt, Encrypt};
        let named = |fault: &Fault, words: &str| {
            matches!(fault, Fault::Key(_)) && fault.to_string().contains(words)
        };
        for text in [
            "encryption key not found",
            "refusing to use soft-deleted key",
            "no such key version",
        ] {
            let fault = refusal(Decrypt, &place(), 400, text, &version(2));
            assert!(named(&fault, text), "{fault}");
        }
        for op in [Encrypt, Decrypt] {
            let fault = refusal(op, &place(), 404, "", &version(2));
            assert!(
                named(&fault, "key not found: k at mount transit"),
                "{fault}"
            );
        }
        let refused = |op, status, text| refusal(op, &place(), status, text, &version(2));
        let data = "cipher: message authentication failed";
        for status in [400, 500] {
            assert!(matches!(refused(Decrypt, status, data), Fault::Data(_)));
            assert!(matches!(
                refused(Encrypt, status, data),
                Fault::Refused { .. }
            ));
        }
        assert!(matches!(refused(Decrypt, 413, data), Fault::Refused { .. }));
        for (status, text, smaller_may_pass) in [
            (413, "", true),
            (400, "exceeded maximum number of strings", true),
            (500, "failed to parse batch input", true),
            (400, "request body too large", false),
            (418, "unsupported path", false),
        ] {
            let fault = refused(Decrypt, status, text);
            assert_eq!(
                is_batch_refusal(&fault),
                smaller_may_pass,
                "{status} {text}"
            );
        }
    }
}
