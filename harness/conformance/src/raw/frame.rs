//! HTTP/2 frames as bytes.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use kms_history::{FrameDetail, Hex};

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Payload of grpc-go's bandwidth estimate (KMS2-CONN-09).
pub(crate) const BDP_PING: [u8; 8] = [2, 4, 16, 16, 9, 14, 7, 7];

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// On DATA and HEADERS: the stream's last frame of this side.
pub(crate) const END_STREAM: u8 = 1;
/// On SETTINGS and PING: an acknowledgement.
pub(crate) const ACK: u8 = 1;
/// On HEADERS and CONTINUATION: the block is whole.
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Longest payload that every HTTP/2 peer takes, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 16384;

/// Length of a frame's head in bytes.
pub(crate) const HEAD: usize = 9;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Bytes,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        Frame {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// Grants bytes on a stream, or on the connection (0).
    pub fn window(stream: u32, bytes: u32) -> Self {
        Self::new(WINDOW_UPDATE, 0, stream, bytes.to_be_bytes().to_vec())
    }

    /// grpc-go's PING.
    pub fn bdp_ping() -> Self {
        Self::new(PING, 0, 0, BDP_PING.to_vec())
    }

    /// Gives a stream up.
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
    }

    pub fn encode(&self, out: &mut BytesMut) {
        let len = self.payload.len() as u32;
        out.put_slice(&len.to_be_bytes()[1..]);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u32(self.stream);
        out.put_slice(&self.payload);
    }

    /// Takes a whole frame off the front of the buffer.
    pub fn decode(buffer: &mut BytesMut) -> Option<Self> {
        let head = buffer.get(..HEAD)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if buffer.len() < HEAD + len {
            return None;
        }
        let payload = buffer.split_to(HEAD + len).freeze().slice(HEAD..);
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without padding and priority; absent if they do not fit.
    pub fn content(&self) -> Option<Bytes> {
        let mut content = self.payload.clone();
        if self.has(PADDED) {
            let padding = *content.first()? as usize;
            content = content.slice(1..);
            content.truncate(content.len().checked_sub(padding)?);
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = (content.len() >= 5).then(|| content.slice(5..))?;
        }
        Some(content)
    }

    /// A big-endian number at a place in the payload; 0 if it is not there.
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).and_then(|b| b.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or([0; 4]))
    }

    /// Its name.
    pub fn name(&self) -> Cow<'static, str> {
        const NAMES: [&str; 10] = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
            "CONTINUATION",
        ];
        match NAMES.get(usize::from(self.kind)) {
            Some(name) => (*name).into(),
            None => format!("{:#04x}", self.kind).into(),
        }
    }

    /// What a short frame says. Header blocks are decoded by the connection.
    pub fn detail(&self) -> Option<FrameDetail> {
        Some(match self.kind {
            SETTINGS => FrameDetail::Settings(
                self.payload
                    .chunks_exact(6)
                    .map(|c| {
                        let value = u32::from_be_bytes([c[2], c[3], c[4], c[5]]);
                        (u16::from_be_bytes([c[0], c[1]]), value)
                    })
                    .collect(),
            ),
            RST_STREAM => FrameDetail::Reset(self.number(0)),
            PING => FrameDetail::Ping(Hex(self.payload.to_vec())),
            GOAWAY => {
                let debug = self.payload.get(8..).unwrap_or_default();
                let debug = &debug[..debug.len().min(256)];
                FrameDetail::GoAway(self.number(4), String::from_utf8_lossy(debug).into_owned())
            }
            WINDOW_UPDATE => FrameDetail::Window(self.number(0)),
            _ => return None,
        })
    }
}

/// A gRPC message frame: flag, length, bytes.
pub(crate) fn message(flag: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u8(flag);
    out.put_u32(body.len() as u32);
    out.put_slice(body);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames recorded from the API server's client (grpc-go 1.82.1).
    #[test]
    fn recorded_control_frames_are_reproduced() {
        let mut out = BytesMut::new();
        Frame::new(SETTINGS, 0, 0, Bytes::new()).encode(&mut out);
        Frame::window(0, 55).encode(&mut out);
        Frame::bdp_ping().encode(&mut out);
        Frame::reset(7, 8).encode(&mut out);
        let recorded = "000000040000000000\
            00000408000000000000000037\
            00000806000000000002041010090e0707\
            00000403000000000700000008";
        assert_eq!(Hex(out.to_vec()).to_string(), recorded);
        let names = [SETTINGS, WINDOW_UPDATE, PING, RST_STREAM];
        for kind in names {
            assert_eq!(Frame::decode(&mut out).unwrap().kind, kind);
        }
        assert!(Frame::decode(&mut out).is_none());
    }

    #[test]
    fn padding_that_does_not_fit_is_no_panic() {
        assert_eq!(Frame::new(DATA, PADDED, 1, vec![9, 1]).content(), None);
        assert_eq!(Frame::new(DATA, PADDED, 1, Bytes::new()).content(), None);
        assert_eq!(Frame::new(HEADERS, PRIORITY, 1, vec![1, 2]).content(), None);
        assert_eq!(
            Frame::new(DATA, PADDED, 1, vec![1, 7, 0])
                .content()
                .unwrap(),
            [7].as_slice()
        );
    }
}
