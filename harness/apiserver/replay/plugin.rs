//! The recorded plugin: answers each request as it answered the same request then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kms_apiserver::grpc::{Code, Method, Status};
use kms_apiserver::proto::{self, EncryptAnswer};

use super::trace::{Event, Trace};

/// The answers, in the order of the calls.
pub struct Plugin<'t> {
    recorded: BTreeMap<(String, &'static str), VecDeque<&'t Event>>,
    /// What the virtual plugin says when.
    pub status_key: String,
    /// What the virtual plugin wraps with.
    pub encrypt_key: String,
}

/// What a call meets.
pub enum Reply {
    /// This answer, after a while.
    After(Duration, Result<Vec<u8>, Status>),
    /// No answer.
    Never,
    /// A cut connection.
    Cut,
}

impl<'t> Plugin<'t> {
    pub fn new(trace: &'t Trace) -> Self {
        let mut recorded: BTreeMap<_, VecDeque<&Event>> = BTreeMap::new();
        for event in trace.events.iter().filter(|event| event.kind == "rpc") {
            let method = match event.text("method") {
                "Status" => "Status",
                "Encrypt" => "Encrypt",
                _ => "Decrypt",
            };
            recorded
                .entry((event.text("plugin").to_owned(), method))
                .or_default()
                .push_back(event);
        }
        Plugin {
            recorded,
            status_key: "key-1".to_owned(),
            encrypt_key: "key-1".to_owned(),
        }
    }

    /// The recorded call that this one has to be like.
    ///
    /// In order; of calls at one time the one with the likest deadline.
    pub fn next(
        &mut self,
        plugin: &str,
        method: Method,
        now: Duration,
        timeout: Duration,
    ) -> Option<&'t Event> {
        let key = (plugin.to_owned(), name(method));
        let recorded = self.recorded.get_mut(&key)?;
        let near = Duration::from_millis(20);
        let candidates = recorded
            .iter()
            .enumerate()
            .take_while(|(_, event)| event.at < now + near);
        let likest = candidates.min_by_key(|(index, event)| {
            let left = event.millis("deadline_ms").unwrap_or(timeout);
            let off = left.abs_diff(timeout);
            (off > Duration::from_millis(150), *index)
        });
        let index = likest.map_or(0, |(index, _)| index);
        recorded.remove(index)
    }

    /// The recorded calls that were never made.
    pub fn rest(&self) -> impl Iterator<Item = &&'t Event> {
        self.recorded.values().flatten()
    }

    /// How the recorded plugin would have answered this request.
    pub fn reply(&self, event: Option<&Event>, method: Method, request: &[u8]) -> Reply {
        let Some(event) = event else {
            return Reply::After(Duration::ZERO, Ok(self.usual(method, request)));
        };
        let after = event.millis("answer_after_ms").unwrap_or_default();
        let answer = event.text("answer");
        if answer == "ok" {
            let bytes = self.recorded_bytes(event, method, request);
            return Reply::After(after, Ok(bytes));
        }
        if answer == "connection cut" {
            return Reply::Cut;
        }
        if let Some(text) = answer.strip_prefix("rpc error: code = ") {
            let (code, message) = text.split_once(" desc = ").unwrap_or((text, ""));
            if code == "DeadlineExceeded" {
                return Reply::Never;
            }
            return Reply::After(after, Err(Status::new(code_of(code), message)));
        }
        if let Some(text) = answer.strip_prefix("status ") {
            let (code, quoted) = text.split_once(' ').unwrap_or((text, "\"\""));
            let message: String = serde_json::from_str(quoted).unwrap_or_default();
            return Reply::After(after, Err(Status::new(code_of(code), message)));
        }
        if let Some(text) = answer.strip_prefix("Go error without status: ") {
            return Reply::After(after, Err(Status::new(Code::UNKNOWN, text)));
        }
        Reply::Never
    }

    fn usual(&self, method: Method, request: &[u8]) -> Vec<u8> {
        match method {
            Method::Status => status(&self.status_key),
            Method::Encrypt => {
                let plaintext = field(request, 1);
                let mut bytes = Vec::new();
                put(&mut bytes, 1, &xor(&plaintext));
                put(&mut bytes, 2, self.encrypt_key.as_bytes());
                bytes
            }
            Method::Decrypt => {
                let mut bytes = Vec::new();
                put(&mut bytes, 1, &xor(&field(request, 1)));
                bytes
            }
        }
    }

    /// The recorded answer, with what depends on the request as this request has it.
    fn recorded_bytes(&self, event: &Event, method: Method, request: &[u8]) -> Vec<u8> {
        if let Some(length) = event.body["response_len"].as_u64()
            && event.body["response_hex"].is_null()
        {
            let length = length as usize;
            return match method {
                Method::Encrypt => large_encrypt_answer(&field(request, 1), length, event.at),
                _ => {
                    let mut bytes = self.usual(method, request);
                    pad(&mut bytes, length);
                    bytes
                }
            };
        }
        let Some(bytes) = event.bytes("response_hex") else {
            return self.usual(method, request);
        };
        let ours = field(request, 1);
        let (asked, answered) = match method {
            Method::Status => return bytes,
            Method::Encrypt => {
                let answer = EncryptAnswer::decode(&bytes).map(|answer| answer.ciphertext);
                (event.bytes("plaintext_hex"), answer.unwrap_or_default())
            }
            Method::Decrypt => {
                let answer = proto::decode_decrypt_answer(&bytes).map(|answer| answer.to_vec());
                (event.bytes("ciphertext_hex"), answer.unwrap_or_default())
            }
        };
        let asked = asked.unwrap_or_default();
        let replacement = if asked.is_empty() || answered.len() < asked.len() {
            return bytes;
        } else if answered.starts_with(&xor(&asked)) {
            xor(&ours)
        } else if answered.starts_with(&asked) {
            ours
        } else {
            return bytes;
        };
        replace(&bytes, &answered[..asked.len()], &replacement)
    }
}

/// Status answers of the usual plugin.
fn status(key_id: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, 1, b"v2");
    put(&mut bytes, 2, b"ok");
    put(&mut bytes, 3, key_id.as_bytes());
    bytes
}

/// The Encrypt answers that the recording gives by their length alone, by what their case says.
fn large_encrypt_answer(plaintext: &[u8], length: usize, at: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let wrapped = xor(plaintext);
    let (wrapped, key_id) = match length {
        // Everything at its limit.
        34_832 => (vec![0x77; 1024], "k".repeat(1024)),
        _ => (wrapped, "k".to_owned()),
    };
    put(&mut bytes, 1, &wrapped);
    put(&mut bytes, 2, key_id.as_bytes());
    let annotations: Vec<(String, usize)> = match length {
        32_815 | 34_832 => vec![("a.b".to_owned(), 32_765)],
        32_816 => vec![("a.b".to_owned(), 32_766)],
        // Of the same length as another case, but later.
        32_823 if at > Duration::from_secs(1) => {
            vec![("A".to_owned(), 16_384), ("B".to_owned(), 16_384)]
        }
        32_823 => vec![("a.b".to_owned(), 16_381), ("c.d".to_owned(), 16_381)],
        32_824 => vec![("a.b".to_owned(), 16_381), ("c.d".to_owned(), 16_382)],
        52_037 => (0..4000)
            .map(|index| (format!("a{index:04}.b"), 0))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in annotations {
        let mut entry = Vec::new();
        put(&mut entry, 1, key.as_bytes());
        put(&mut entry, 2, &vec![0; value]);
        put(&mut bytes, 3, &entry);
    }
    bytes
}

/// Fills up with the unknown field 15.
fn pad(bytes: &mut Vec<u8>, length: usize) {
    for head in 2..6 {
        let body = length.saturating_sub(bytes.len() + head);
        let mut padded = bytes.clone();
        put(&mut padded, 15, &vec![0; body]);
        if padded.len() == length {
            *bytes = padded;
            return;
        }
    }
}

/// Wraps and unwraps as the usual plugin.
pub fn xor(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x5a).collect()
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from);
    let Some(at) = at.filter(|_| from.len() == to.len()) else {
        return bytes.to_vec();
    };
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// The first field of bytes with this number.
pub fn field(message: &[u8], number: u8) -> Vec<u8> {
    fields(message, number)
        .into_iter()
        .next()
        .unwrap_or_default()
}

/// The fields of bytes with this number, of a message that holds nothing else than bytes.
pub fn fields(message: &[u8], number: u8) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = message;
    while let Some((&tag, after)) = rest.split_first() {
        let (mut length, mut place, mut head) = (0usize, 0, 0);
        for &byte in after {
            length |= usize::from(byte & 0x7f) << place;
            place += 7;
            head += 1;
            if byte < 0x80 {
                break;
            }
        }
        let body = &after[head..head + length];
        if tag == number << 3 | 2 {
            found.push(body.to_vec());
        }
        rest = &after[head + length..];
    }
    found
}

fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Status => "Status",
        Method::Encrypt => "Encrypt",
        Method::Decrypt => "Decrypt",
    }
}

fn code_of(name: &str) -> Code {
    if let Some(number) = name.strip_prefix("Code(") {
        let number = number.trim_end_matches(')').parse();
        return Code(number.unwrap_or(2));
    }
    (0..17)
        .map(Code)
        .find(|code| code.name() == name)
        .unwrap_or(Code::UNKNOWN)
}
