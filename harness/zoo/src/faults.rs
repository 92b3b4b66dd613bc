//! Bugs of the transport and of message bytes: what a handler of typed messages cannot get wrong.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kms_v2_api::{DecryptRequest, EncryptRequest, StatusRequest};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};

use crate::bug::Bug;

/// State of the transport's bugs.
#[derive(Default)]
pub(crate) struct Faults {
    in_flight: AtomicU32,
    asking: Mutex<BTreeSet<Bytes>>,
    pub poisoned: AtomicBool,
}

/// Counts a call for as long as it lives.
pub(crate) struct Running<'a>(&'a AtomicU32);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notes that a call was dropped before its end.
pub(crate) struct Unfinished<'a> {
    pub poisoned: &'a AtomicBool,
    pub done: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.poisoned.fetch_or(!self.done, Ordering::Relaxed);
    }
}

impl Faults {
    /// Before a call: what a wrong transport refuses, delays or changes.
    pub async fn before(
        &self,
        bug: Bug,
        method: &str,
        headers: &HeaderMap,
        request: Bytes,
    ) -> Result<Bytes, Status> {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or("")
        };
        let pause = |ms| tokio::time::sleep(Duration::from_millis(ms));
        match bug {
            Bug::GrpcGoRefused if header("user-agent") == "grpc-go/1.82.1" => {
                return Err(Status::unauthenticated("who are you"));
            }
            Bug::DeadlinesIgnored if header("grpc-timeout") == "250m" => pause(700).await,
            // The contact's calls, and a Status of the next stimulus.
            Bug::HangsAfterContact if self.in_flight.fetch_add(1, Ordering::Relaxed) >= 5 => {
                std::future::pending().await
            }
            Bug::OversizedHangs if request.len() > 2 << 20 => std::future::pending().await,
            Bug::StatusStrict if method == "Status" => strict::<StatusRequest>(&request)?,
            Bug::EncryptStrict if method == "Encrypt" => strict::<EncryptRequest>(&request)?,
            Bug::DecryptStrict if method == "Decrypt" => strict::<DecryptRequest>(&request)?,
            Bug::MethodMissing if method == "Decrypt" => {
                return Err(Status::unimplemented("not yet"));
            }
            Bug::KeyIdNotUtf8 => return Ok(replaced(&request, 0xff, b'~')),
            Bug::NotProtobufServed
                if method == "Encrypt" && EncryptRequest::decode(request.clone()).is_err() =>
            {
                let plaintext = Bytes::from_static(b"anything");
                return Ok(EncryptRequest {
                    plaintext,
                    uid: "u".into(),
                }
                .encode_to_vec()
                .into());
            }
            Bug::OverloadedByBurst if method == "Decrypt" => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                let _running = Running(&self.in_flight);
                pause(5).await;
                if self.in_flight.load(Ordering::Relaxed) > 40 {
                    return Err(Status::resource_exhausted("too many calls"));
                }
            }
            Bug::EqualCallsCollide if method == "Decrypt" => {
                let ciphertext = DecryptRequest::decode(request.clone())
                    .unwrap_or_default()
                    .ciphertext;
                if !lock(&self.asking).insert(ciphertext.clone()) {
                    return Err(Status::aborted("somebody else is asking"));
                }
                pause(5).await;
                lock(&self.asking).remove(&ciphertext);
            }
            Bug::CancelPoisons if method == "Encrypt" => pause(3).await,
            _ => {}
        }
        Ok(request)
    }

    /// After a call: what a wrong transport makes of the answer.
    pub fn after(&self, bug: Bug, method: &str, answer: Bytes) -> Bytes {
        let with = |tail: &[u8]| Bytes::from([&answer[..], tail].concat());
        match (bug, method) {
            // Field 2 once more, as a number.
            (Bug::StatusFieldTypes, "Status") => with(&[0x10, 1]),
            (Bug::EncryptFieldTypes, "Encrypt") => with(&[0x10, 1]),
            // Fields 2 and up of an early draft.
            (Bug::DecryptFieldsOfTheDraft, "Decrypt") => with(&[0x12, 1, b'k']),
            (Bug::StatusFieldsUnknown, "Status") => with(&[0x7a, 1, b'n']),
            (Bug::KeyIdNotUtf8, "Status" | "Encrypt") => replaced(&answer, b'~', 0xff),
            (Bug::DecryptAnswersNonsense, "Decrypt") => Bytes::from_static(&[0xff; 9]),
            _ => answer,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses what the message type does not know.
fn strict<M: Message + Default>(request: &Bytes) -> Result<(), Status> {
    let known = M::decode(request.clone()).map(|message| message.encoded_len());
    match known == Ok(request.len()) {
        true => Ok(()),
        false => Err(Status::new(Code::InvalidArgument, "unknown fields")),
    }
}

/// The bytes with another one at the end of each key_id.
fn replaced(bytes: &Bytes, from: u8, to: u8) -> Bytes {
    const NAME: &[u8] = b"key-4f1c9a";
    let mut out = BytesMut::from(&bytes[..]);
    for at in NAME.len() + 2..out.len() {
        if out[at] == from && bytes[..at - 2].ends_with(NAME) {
            out[at] = to;
        }
    }
    out.freeze()
}

/// A stream that may count grpc-go's PINGs and hang up on the tenth.
pub(crate) struct Wire {
    pub inner: UnixStream,
    pub pings_left: Option<usize>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        const BDP: [u8; 8] = [2, 4, 16, 16, 9, 14, 7, 7];
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let (Some(left), Poll::Ready(Ok(()))) = (self.pings_left, &polled) {
            let pings = buf.filled()[before..]
                .windows(8)
                .filter(|w| *w == BDP)
                .count();
            match left.checked_sub(pings) {
                Some(left) => self.pings_left = Some(left),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
