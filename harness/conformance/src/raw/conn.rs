//! One raw connection: frames out, frames in, answers put together.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kms_history::{Answered, Frame as Recorded, FrameDetail, Outcome, Request, Sent, What};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{self, Frame};
use super::headers::{Blocks, Fields, header_block};
use crate::facts::{self, Decoded};
use crate::lab::Scene;
use crate::recorder::nanos;
use crate::target::Stream;

/// How long a dial and the subject's first frame may take.
const OPEN_LIMIT: Duration = Duration::from_secs(3);

/// A connection of our own.
pub(crate) struct Conn<'a> {
    scene: Scene<'a>,
    /// `seq` of its opening.
    pub id: u64,
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    blocks: Blocks,
    next_stream: u32,
    goaway: Option<u32>,
    ended: Option<String>,
    pub ping_acks: u32,
}

/// A frame of the subject's.
pub(crate) struct Received {
    pub frame: Frame,
    /// The header fields whose block it ended, if it did; why they cannot be read.
    fields: Result<Option<Fields>, &'static str>,
}

/// A call to make on it.
pub(crate) struct RawCall<'c> {
    pub method: &'c str,
    pub case: &'static str,
    pub fields: Vec<(&'c str, &'c str)>,
    /// What goes into DATA frames; the last of them ends the stream unless `open` is set.
    pub data: Bytes,
    pub open: bool,
    pub request: Request,
    pub uid: String,
    pub of: Option<u64>,
    pub deadline: Option<Duration>,
    pub limit: Duration,
}

impl<'a> Conn<'a> {
    /// Dials and says nothing.
    pub async fn dial(scene: Scene<'a>) -> Result<Self, String> {
        let stream = match timeout(OPEN_LIMIT, scene.lab.target.connect.connect()).await {
            Ok(stream) => stream.map_err(|error| error.to_string())?,
            Err(_) => return Err("the dial took too long".into()),
        };
        let id = scene.record(What::Opened);
        Ok(Conn {
            scene,
            id,
            stream,
            buffer: BytesMut::new(),
            blocks: Blocks::new(),
            next_stream: 1,
            goaway: None,
            ended: None,
            ping_acks: 0,
        })
    }

    /// Dials and opens as grpc-go does: preface, empty SETTINGS, then waiting for the subject's
    /// SETTINGS before anything else (KMS2-WIRE-12).
    pub async fn open(scene: Scene<'a>) -> Result<Self, String> {
        let mut conn = Self::dial(scene).await?;
        conn.bytes("PREFACE", frame::PREFACE).await;
        conn.send(Frame::new(frame::SETTINGS, 0, 0, Bytes::new()))
            .await;
        let deadline = Instant::now() + OPEN_LIMIT;
        loop {
            match conn.next(deadline).await {
                Some(Received { frame: f, .. })
                    if f.kind == frame::SETTINGS && !f.has(frame::ACK) =>
                {
                    return Ok(conn);
                }
                Some(_) => {}
                None => return Err(conn.ended.unwrap_or_else(|| "no SETTINGS came".into())),
            }
        }
    }

    /// Whether the subject has ended it, or said that it will.
    pub fn is_over(&self) -> bool {
        self.ended.is_some() || self.goaway.is_some()
    }

    /// Sends bytes that may be no frame.
    pub async fn bytes(&mut self, kind: &'static str, bytes: &[u8]) {
        self.scene.record(What::FrameSent(Recorded {
            conn: self.id,
            kind: kind.into(),
            flags: 0,
            stream: 0,
            len: bytes.len() as u64,
            detail: None,
        }));
        self.write(bytes).await;
    }

    /// Sends a frame. A connection that is gone shows when reading.
    pub async fn send(&mut self, frame: Frame) {
        self.scene
            .record(What::FrameSent(recorded(self.id, &frame, frame.detail())));
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        self.write(&out).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A peer that no longer reads must not hold the harness.
        let _ = timeout(OPEN_LIMIT, self.stream.write_all(bytes)).await;
    }

    /// The next frame of the subject, until the deadline. `None` at the deadline or the end.
    pub async fn next(&mut self, deadline: Instant) -> Option<Received> {
        let frame = loop {
            if let Some(frame) = Frame::decode(&mut self.buffer) {
                break frame;
            }
            if self.ended.is_some() {
                return None;
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
                Err(_) => return None,
                Ok(Ok(0)) => self.end("the subject closed it".into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.end(error.to_string()),
            }
        };
        // Of every stream, also of those given up: the table of fields is the connection's.
        let fields = self.blocks.take(&frame);
        let detail = match &fields {
            Ok(Some(fields)) => Some(FrameDetail::Headers(fields.clone())),
            _ => frame.detail(),
        };
        self.scene
            .record(What::FrameReceived(recorded(self.id, &frame, detail)));
        match frame.kind {
            frame::GOAWAY => self.goaway = Some(frame.number(4)),
            frame::PING if frame.has(frame::ACK) => self.ping_acks += 1,
            frame::PING => {
                let ack = Frame::new(frame::PING, frame::ACK, 0, frame.payload.clone());
                self.send(ack).await;
            }
            frame::SETTINGS if !frame.has(frame::ACK) => {
                self.send(Frame::new(frame::SETTINGS, frame::ACK, 0, Bytes::new()))
                    .await;
            }
            _ => {}
        }
        Some(Received { frame, fields })
    }

    fn end(&mut self, reason: String) {
        self.scene.record(What::Ended {
            conn: self.id,
            reason: reason.clone(),
        });
        self.ended = Some(reason);
    }

    /// Reads until the subject ends the connection or the time is up; true if it ended it.
    pub async fn drain(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.next(deadline).await.is_some() {}
        self.is_over()
    }

    /// Sends a request's frames. Returns its stream and the `seq` of the call.
    pub async fn start(&mut self, call: &RawCall<'_>) -> (u32, u64) {
        let seq = self.scene.record(What::Sent(Sent {
            method: call.method.to_string().into(),
            case: call.case.into(),
            uid: call.uid.clone(),
            request: call.request.clone(),
            of: call.of,
            deadline_ns: call.deadline.map(nanos),
            conn: Some(self.id),
        }));
        let stream = self.next_stream;
        self.next_stream += 2;
        let ends = call.data.is_empty() && !call.open;
        let flags = if ends { frame::END_STREAM } else { 0 };
        self.headers(stream, flags, &call.fields).await;
        let mut chunks = call.data.chunks(frame::MAX_PAYLOAD).peekable();
        while let Some(chunk) = chunks.next() {
            let last = chunks.peek().is_none() && !call.open;
            let flags = if last { frame::END_STREAM } else { 0 };
            let payload = call.data.slice_ref(chunk);
            self.send(Frame::new(frame::DATA, flags, stream, payload))
                .await;
        }
        (stream, seq)
    }

    /// HEADERS, and CONTINUATION where the block is longer than a frame may be.
    async fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        let block = header_block(fields);
        let mut detail = fields
            .iter()
            .map(|(n, v)| (clipped(n), clipped(v)))
            .collect();
        let mut chunks = block.chunks(frame::MAX_PAYLOAD).peekable();
        let mut first = true;
        while let Some(chunk) = chunks.next() {
            let kind = if first {
                frame::HEADERS
            } else {
                frame::CONTINUATION
            };
            let end = if chunks.peek().is_none() {
                frame::END_HEADERS
            } else {
                0
            };
            let flags = if first { flags | end } else { end };
            let frame = Frame::new(kind, flags, stream, Bytes::copy_from_slice(chunk));
            let detail = first.then(|| FrameDetail::Headers(std::mem::take(&mut detail)));
            self.scene
                .record(What::FrameSent(recorded(self.id, &frame, detail)));
            let mut out = BytesMut::new();
            frame.encode(&mut out);
            self.write(&out).await;
            first = false;
        }
    }

    /// Waits for the end of a call and records it.
    pub async fn finish(
        &mut self,
        call: &RawCall<'_>,
        (stream, seq): (u32, u64),
        start: Instant,
    ) -> (Outcome, Option<Decoded>) {
        let (outcome, decoded) = self.answer(call.method, stream, start + call.limit).await;
        self.scene.record(What::Answered(Answered {
            call: seq,
            elapsed_ns: nanos(start.elapsed()),
            outcome: outcome.clone(),
            leaks: Vec::new(),
        }));
        (outcome, decoded)
    }

    /// Sends a call and waits for its end.
    pub async fn call(&mut self, call: RawCall<'_>) -> (Outcome, Option<Decoded>) {
        let start = Instant::now();
        let sent = self.start(&call).await;
        self.finish(&call, sent, start).await
    }

    async fn answer(
        &mut self,
        method: &str,
        stream: u32,
        deadline: Instant,
    ) -> (Outcome, Option<Decoded>) {
        let (mut all, mut body) = (Vec::new(), BytesMut::new());
        // The stream's last frame may be a HEADERS whose block goes on in CONTINUATION.
        let (mut last, mut block_open) = (false, false);
        let unreadable = |reason: &str| {
            (
                Outcome::Unreadable {
                    reason: reason.into(),
                },
                None,
            )
        };
        loop {
            let Some(Received { frame, fields }) = self.next(deadline).await else {
                return match self.ended.clone() {
                    Some(reason) => (
                        Outcome::Closed {
                            goaway: self.goaway,
                            reason,
                        },
                        None,
                    ),
                    None => (Outcome::TimedOut, None),
                };
            };
            if frame.kind == frame::GOAWAY && frame.number(0) < stream {
                let reason = format!("GOAWAY, last stream {}", frame.number(0));
                return (
                    Outcome::Closed {
                        goaway: self.goaway,
                        reason,
                    },
                    None,
                );
            }
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                frame::RST_STREAM => {
                    return (
                        Outcome::Reset {
                            code: frame.number(0),
                        },
                        None,
                    );
                }
                frame::DATA => {
                    let Some(content) = frame.content() else {
                        return unreadable("the padding does not fit");
                    };
                    body.extend_from_slice(&content);
                    last = frame.has(frame::END_STREAM);
                    if !content.is_empty() {
                        self.send(Frame::window(0, content.len() as u32)).await;
                    }
                }
                frame::HEADERS | frame::CONTINUATION => {
                    if frame.kind == frame::HEADERS {
                        last = frame.has(frame::END_STREAM);
                    }
                    block_open = !frame.has(frame::END_HEADERS);
                    match fields {
                        Ok(fields) => all.extend(fields.into_iter().flatten()),
                        Err(reason) => return unreadable(reason),
                    }
                }
                _ => {}
            }
            if last && !block_open {
                return ended(method, &all, body.freeze());
            }
        }
    }
}

fn recorded(conn: u64, frame: &Frame, detail: Option<FrameDetail>) -> Recorded {
    Recorded {
        conn,
        kind: frame.name(),
        flags: frame.flags,
        stream: frame.stream,
        len: frame.payload.len() as u64,
        detail,
    }
}

/// A header field as it is kept: our own long ones are not worth their bytes.
fn clipped(text: &str) -> String {
    text.chars().take(200).collect()
}

/// What a whole answer means.
fn ended(method: &str, fields: &[(String, String)], body: Bytes) -> (Outcome, Option<Decoded>) {
    let field = |name: &str| {
        fields
            .iter()
            .rfind(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    let unreadable = |reason: String| (Outcome::Unreadable { reason }, None);
    let status: u16 = field(":status").and_then(|s| s.parse().ok()).unwrap_or(0);
    let code: Option<u32> = field("grpc-status").and_then(|s| s.parse().ok());
    match code {
        None if status != 200 => (Outcome::Http { status }, None),
        None => unreadable("no grpc-status".into()),
        Some(0) => match body.get(..5) {
            Some([0, length @ ..]) if length == (body.len() as u32 - 5).to_be_bytes() => {
                match facts::decode(method, &body.slice(5..)) {
                    Ok(decoded) => (Outcome::Ok(decoded.answer.clone()), Some(decoded)),
                    Err(reason) => unreadable(reason),
                }
            }
            _ => unreadable("not one uncompressed message".into()),
        },
        Some(code) => {
            let message = percent_decoded(field("grpc-message").unwrap_or_default());
            (
                Outcome::Error {
                    code,
                    message: facts::text(&message),
                },
                None,
            )
        }
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[at], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}
