//! One HTTP/2 connection with unary gRPC calls on it, without I/O: bytes in, bytes out.
//!
//! Knows what a client of a plugin needs and no more: no priorities, no pushes, answers of a few KiB.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::CallError;
use super::hpack::{self, DEFAULT_TABLE, Encoder};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest frame that we take, the protocol's default.
const MAX_FRAME: usize = 16 * 1024;
/// Largest answer that we take.
const MAX_ANSWER: usize = 64 * 1024;
/// Window that the protocol starts with.
const WINDOW: i64 = 65_535;
/// What a peer may send before we must make room again.
const ROOM: u32 = 1 << 30;

/// How the answer comes back to its caller.
pub(super) type Answer = oneshot::Sender<Result<Bytes, CallError>>;

struct Call {
    ticket: u64,
    body: Vec<u8>,
    answer: Answer,
}

struct Waiting {
    ticket: u64,
    path: &'static str,
    message: Vec<u8>,
    answer: Answer,
}

/// The state of a connection.
pub(super) struct Channel {
    /// Bytes to write.
    pub out: Vec<u8>,
    timeout: String,
    encoder: Encoder,
    settled: bool,
    next_stream: u32,
    calls: BTreeMap<u32, Call>,
    /// Tickets of calls on the wire, to their streams.
    tickets: BTreeMap<u64, u32>,
    /// Calls that the peer has no room for yet.
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
    max_streams: usize,
    send_window: i64,
    received: u32,
    /// A header block whose CONTINUATION is awaited: stream, whether it ends it, bytes.
    block: Option<(u32, bool, Vec<u8>)>,
    /// The block that last meant success: most are equal, so that comparing is enough.
    success: Option<Vec<u8>>,
    /// Why no call can be made any more.
    pub dead: Option<String>,
}

impl Channel {
    /// A connection that has greeted; calls go out once the peer's SETTINGS are known.
    pub fn new(timeout: String) -> Self {
        let mut out = PREFACE.to_vec();
        // HEADER_TABLE_SIZE 0 and ENABLE_PUSH 0.
        frame(
            &mut out,
            SETTINGS,
            0,
            0,
            &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0],
        );
        frame(&mut out, WINDOW_UPDATE, 0, 0, &ROOM.to_be_bytes());
        Self {
            out,
            timeout,
            encoder: Encoder::default(),
            settled: false,
            next_stream: 1,
            calls: BTreeMap::new(),
            tickets: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_ticket: 0,
            max_streams: usize::MAX,
            send_window: WINDOW,
            received: 0,
            block: None,
            success: None,
            dead: None,
        }
    }

    /// Begins a call with a framed gRPC message; the ticket is for [`Channel::cancel`].
    pub fn call(&mut self, path: &'static str, message: Vec<u8>, answer: Answer) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        match &self.dead {
            // A caller that has gone does not mind.
            Some(why) => drop(answer.send(Err(CallError::Transport(why.clone())))),
            None => self.waiting.push_back(Waiting {
                ticket,
                path,
                message,
                answer,
            }),
        }
        self.admit();
        ticket
    }

    /// Whether one call is all there is, so that writing at once cannot cost a larger write.
    pub fn alone(&self) -> bool {
        self.calls.len() == 1
    }

    /// Forgets a call and tells the peer, if it has begun and not ended.
    pub fn cancel(&mut self, ticket: u64) {
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        if let Some(stream) = self.tickets.remove(&ticket) {
            if self.calls.remove(&stream).is_some() {
                frame(&mut self.out, RST_STREAM, 0, stream, &8u32.to_be_bytes());
            }
            self.admit();
        }
    }

    /// Sends what the peer has room for.
    fn admit(&mut self) {
        while self.settled && self.dead.is_none() && self.calls.len() < self.max_streams {
            let fits = |next: &Waiting| next.message.len() as i64 <= self.send_window;
            if !self.waiting.front().is_some_and(fits) {
                return;
            }
            let next = self.waiting.pop_front().expect("it was looked at");
            let stream = self.next_stream;
            self.next_stream += 2;
            self.send_window -= next.message.len() as i64;
            let mut block = Vec::with_capacity(160);
            self.encoder.request(next.path, &self.timeout, &mut block);
            frame(&mut self.out, HEADERS, END_HEADERS, stream, &block);
            frame(&mut self.out, DATA, END_STREAM, stream, &next.message);
            self.calls.insert(
                stream,
                Call {
                    ticket: next.ticket,
                    body: Vec::new(),
                    answer: next.answer,
                },
            );
            self.tickets.insert(next.ticket, stream);
        }
    }

    /// Fails every call, now and later.
    pub fn fail(&mut self, why: &str) {
        let why = self.dead.get_or_insert_with(|| why.to_owned()).clone();
        let answers = std::mem::take(&mut self.calls)
            .into_values()
            .map(|call| call.answer);
        self.tickets.clear();
        let waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|waiting| waiting.answer);
        for answer in answers.chain(waiting) {
            drop(answer.send(Err(CallError::Transport(why.clone()))));
        }
    }

    /// Takes whole frames from the front of `input`; how many bytes were used.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, &'static str> {
        let mut used = 0;
        while let Some((head, rest)) = input[used..].split_first_chunk::<9>() {
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            if length > MAX_FRAME {
                return Err("the plugin sent a frame that is too large");
            }
            let Some(payload) = rest.get(..length) else {
                break;
            };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            self.frame(head[3], head[4], stream, payload)?;
            used += 9 + length;
        }
        self.admit();
        Ok(used)
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> Result<(), &'static str> {
        match kind {
            DATA => {
                self.make_room(payload.len());
                let data = unpadded(payload, flags)?;
                if let Some(call) = self.calls.get_mut(&stream) {
                    call.body.extend(data);
                    if call.body.len() > MAX_ANSWER {
                        return Err("the plugin sent an answer that is too large");
                    }
                }
                if flags & END_STREAM != 0 {
                    self.finish(
                        stream,
                        Err(CallError::Transport(
                            "the answer has no trailers".to_owned(),
                        )),
                    );
                }
            }
            HEADERS => {
                let mut block = unpadded(payload, flags)?;
                if flags & PRIORITY != 0 {
                    block = block.get(5..).ok_or("cut HEADERS")?;
                }
                self.headers(
                    stream,
                    flags & END_STREAM != 0,
                    flags & END_HEADERS != 0,
                    block.to_vec(),
                )?;
            }
            CONTINUATION => {
                let (of, ends, mut block) = self.block.take().ok_or("CONTINUATION of nothing")?;
                block.extend(payload);
                if of != stream || block.len() > MAX_ANSWER {
                    return Err("a wrong CONTINUATION");
                }
                self.headers(stream, ends, flags & END_HEADERS != 0, block)?;
            }
            RST_STREAM => self.finish(
                stream,
                Err(CallError::Transport(
                    "the plugin reset the stream".to_owned(),
                )),
            ),
            SETTINGS if flags & ACK == 0 => self.settings(payload),
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            GOAWAY => return Err("the plugin said goodbye"),
            WINDOW_UPDATE if stream == 0 => {
                let more = payload
                    .first_chunk()
                    .map_or(0, |bytes| u32::from_be_bytes(*bytes));
                self.send_window += i64::from(more);
            }
            _ => {}
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) {
        let mut table = DEFAULT_TABLE;
        for setting in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match setting[1] {
                1 => table = value,
                3 => self.max_streams = value as usize,
                _ => {}
            }
        }
        if !self.settled {
            self.encoder = Encoder::new(table);
            self.settled = true;
        }
        frame(&mut self.out, SETTINGS, ACK, 0, &[]);
    }

    fn headers(
        &mut self,
        stream: u32,
        ends: bool,
        whole: bool,
        block: Vec<u8>,
    ) -> Result<(), &'static str> {
        if !whole {
            self.block = Some((stream, ends, block));
            return Ok(());
        }
        if !ends {
            return Ok(()); // the first headers of an answer; its trailers decide
        }
        if self.success.as_ref() != Some(&block) {
            let ending = hpack::decode(&block)?;
            match ending.status {
                Some(0) => self.success = Some(block),
                Some(code) => {
                    self.finish(
                        stream,
                        Err(CallError::Grpc {
                            code,
                            message: ending.message,
                        }),
                    );
                    return Ok(());
                }
                None => {
                    self.finish(
                        stream,
                        Err(CallError::Transport("no grpc-status".to_owned())),
                    );
                    return Ok(());
                }
            }
        }
        let body = self
            .calls
            .get_mut(&stream)
            .map(|call| std::mem::take(&mut call.body))
            .unwrap_or_default();
        self.finish(stream, unframe(body));
        Ok(())
    }

    fn finish(&mut self, stream: u32, result: Result<Bytes, CallError>) {
        if let Some(call) = self.calls.remove(&stream) {
            self.tickets.remove(&call.ticket);
            // A caller that has gone does not mind.
            drop(call.answer.send(result));
        }
    }

    /// Gives the connection's window back before it runs out.
    fn make_room(&mut self, used: usize) {
        self.received += u32::try_from(used).expect("a frame is small");
        if self.received > ROOM / 2 {
            let more = std::mem::take(&mut self.received);
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .expect("our frames are small")
        .to_be_bytes();
    out.extend([length[1], length[2], length[3], kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

fn unpadded(payload: &[u8], flags: u8) -> Result<&[u8], &'static str> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or("cut padding")?;
    rest.len()
        .checked_sub(usize::from(*padding))
        .map(|end| &rest[..end])
        .ok_or("too much padding")
}

/// The one message of a unary answer.
fn unframe(body: Vec<u8>) -> Result<Bytes, CallError> {
    match body.first_chunk::<5>() {
        Some(&[0, a, b, c, d]) if u32::from_be_bytes([a, b, c, d]) as usize == body.len() - 5 => {
            Ok(Bytes::from(body).slice(5..))
        }
        _ => Err(CallError::Transport(
            "the answer is not one uncompressed gRPC message".to_owned(),
        )),
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
