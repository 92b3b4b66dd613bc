//! Old data that must stay readable: a key_id, or a value as etcd holds it (BUG-039).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::vault::one;
use super::{Row, Verdict};
use crate::config::Sample;
use crate::event::VaultOp;
use crate::fault::Fault;
use crate::key::format::Format;
use crate::key::id;
use crate::keyring::{Found, Keyring};
use crate::seam::Env;
use crate::transit::{self, Input, Output};

/// What every value begins with that KMS v2 encrypted; the provider's name follows, and a colon.
const PREFIX: &[u8] = b"k8s:enc:kms:v2:";
/// etcd holds no larger values by default.
const LARGEST: usize = 2 * 1024 * 1024;
const CHECK: &str = "sample";
const NAME_ITS_PLACE: &str = "name the place that wrote it, as it was, epoch included: \
    -decrypt-only=namespace=...,mount=...,key=...,epoch=...; without it this data is lost to the cluster";

/// What the API server stores: `EncryptedObject` of k8s.io/apiserver, `kmstypes/v2/api.proto`.
#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    seed: Bytes,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: BTreeMap<String, Bytes>,
}

/// Whether the sample can be read with what is configured. The tables have been filled.
pub(super) async fn row(sample: &Sample, keyring: &Keyring, env: &Env, deadline: Instant) -> Row {
    let path = match sample {
        Sample::KeyId(key_id) => return by_id(key_id, keyring),
        Sample::File(path) => path,
    };
    let value = match env.secrets.read(path, LARGEST) {
        Ok(value) => value,
        Err(error) => {
            let meaning = format!("cannot read {}: {error}", path.display());
            return Row::new(CHECK, Verdict::Unknown, meaning, "");
        }
    };
    match parse(&value) {
        Ok(stored) => by_value(stored, keyring, env, deadline).await,
        Err(meaning) => Row::new(
            CHECK,
            Verdict::Unknown,
            meaning,
            "take the value of a Secret with `etcdctl get KEY --print-value-only`",
        ),
    }
}

fn by_id(key_id: &str, keyring: &Keyring) -> Row {
    if let Some(at) = keyring
        .places
        .iter()
        .position(|place| place.with(|table| table.knows(key_id)))
    {
        return Row::good(CHECK, format!("the key_id belongs to {}", named(at)));
    }
    foreign(key_id)
}

fn foreign(key_id: &str) -> Row {
    let meaning = if id::is_key_id(key_id) {
        "no version of a configured key has this key_id: namespace, mount, key or epoch were \
         others, the key was made anew, or the version may no longer decrypt"
    } else {
        "another plugin made this key_id, and this one cannot read what it wrote"
    };
    let remedy = if id::is_key_id(key_id) {
        NAME_ITS_PLACE
    } else {
        "keep the other plugin as a second provider until storage migration is complete"
    };
    Row::new(CHECK, Verdict::Failed, meaning, remedy)
}

async fn by_value(stored: Stored, keyring: &Keyring, env: &Env, deadline: Instant) -> Row {
    let format = Format::of(stored.annotations.iter(), keyring.adopt);
    let number =
        transit::label(&stored.seed).filter(|_| transit::has_canonical_payload(&stored.seed));
    let (Ok(format), Some(number)) = (format, number) else {
        return foreign(&stored.key_id);
    };
    let Found::At(at, version) = keyring.find(&stored.key_id, number, format) else {
        return foreign(&stored.key_id);
    };
    let input = Input::Ciphertext {
        text: stored.seed,
        key_id: stored.key_id.into(),
        bound: format.is_bound(),
    };
    match one(
        keyring,
        env,
        at,
        VaultOp::Decrypt,
        &input,
        &version,
        deadline,
    )
    .await
    {
        Ok(Output::Plaintext(_)) => {
            let version = version.number;
            let meaning = format!("its seed decrypts at {}, version {version}", named(at));
            if format.is_bound() {
                Row::good(CHECK, meaning)
            } else {
                let why = "only while -adopt is set: it is not bound to its key_id";
                let remedy = "let storage migration write it anew before -adopt is dropped";
                Row::new(CHECK, Verdict::Warning, format!("{meaning}, {why}"), remedy)
            }
        }
        Ok(_) => Row::new(CHECK, Verdict::Failed, "decrypt gives no plaintext", ""),
        Err(fault @ Fault::Data(_)) => Row::new(
            CHECK,
            Verdict::Failed,
            fault.to_string(),
            "this one value is damaged; try another, and restore it from a backup",
        ),
        Err(fault) => Row::fault(CHECK, &fault),
    }
}

fn named(at: usize) -> String {
    if at == 0 {
        "the configured key".to_owned()
    } else {
        format!("-decrypt-only place {at}")
    }
}

fn parse(value: &[u8]) -> Result<Stored, String> {
    let Some(rest) = value.strip_prefix(PREFIX) else {
        let how = match value {
            [b'k', b'8', b's', b':', b'e', b'n', b'c', b':', rest @ ..] => {
                let how: Vec<u8> = rest.iter().copied().take_while(|b| *b != b':').collect();
                format!("encrypted with {}", String::from_utf8_lossy(&how))
            }
            _ => "not encrypted".to_owned(),
        };
        return Err(format!("the value is {how}, not with KMS v2"));
    };
    let colon = rest
        .iter()
        .position(|byte| *byte == b':')
        .ok_or("the value ends within the provider's name")?;
    let stored = &rest[colon + 1..];
    // etcdctl ends its output with a line end of its own.
    Stored::decode(stored)
        .or_else(|error| match stored {
            [stored @ .., b'\n'] => Stored::decode(stored),
            _ => Err(error),
        })
        .map_err(|_| "the value is cut or damaged".to_owned())
}
