//! Which bytes of a client's stream are header blocks. Pure: bytes in, bytes out.
//!
//! Everything but HEADERS and CONTINUATION passes at once, in pieces as it comes. What the server
//! would refuse anyway passes as it is as long as nothing was changed before, so that the refusal is
//! the server's own; afterwards it ends the connection.

use bytes::{Buf, BufMut, BytesMut};

use crate::block::{self, Blocks};

/// What a client sends before its first frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
/// Longest encoded block that is put together; the server takes 16 KiB of fields.
const LONGEST: usize = 64 * 1024;
/// Frame size that every HTTP/2 server takes.
const FRAME: usize = 16 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// What no HTTP/2 client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// What the next bytes are.
enum At {
    Preface,
    Frame,
    /// This many bytes of a frame that passes.
    Payload(usize),
    /// A stream's header block, of which this has come.
    Block(Open),
}

/// A header block that is not whole yet.
struct Open {
    stream: u32,
    /// END_STREAM and PRIORITY, as they were.
    flags: u8,
    priority: Option<[u8; 5]>,
    block: Vec<u8>,
    /// Its frames as they came.
    raw: BytesMut,
}

/// The frames of one connection.
pub(super) struct Frames {
    at: At,
    waiting: BytesMut,
    blocks: Blocks,
    /// A block has been changed, so the rest has to be.
    rewrites: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            at: At::Preface,
            waiting: BytesMut::new(),
            blocks: Blocks::default(),
            rewrites: false,
        }
    }
}

impl Frames {
    /// Takes what came, and puts out what can go on. Returns true when all that follows passes as
    /// it is.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<bool, Malformed> {
        self.waiting.extend_from_slice(bytes);
        match self.step(out) {
            Ok(passes) => {
                if passes {
                    self.end(out);
                }
                Ok(passes)
            }
            // The server refuses it, in its own words.
            Err(_) if !self.rewrites => {
                self.end(out);
                Ok(true)
            }
            Err(malformed) => Err(malformed),
        }
    }

    /// Puts out what waits for more, which will not come.
    pub(super) fn end(&mut self, out: &mut BytesMut) {
        if let At::Block(open) = &mut self.at {
            out.extend_from_slice(&open.raw);
            open.raw.clear();
        }
        out.extend_from_slice(&self.waiting);
        self.waiting.clear();
    }

    fn step(&mut self, out: &mut BytesMut) -> Result<bool, Malformed> {
        loop {
            match &mut self.at {
                At::Preface => {
                    let n = self.waiting.len().min(PREFACE.len());
                    if self.waiting[..n] != PREFACE[..n] {
                        return Err(Malformed("no HTTP/2 preface"));
                    }
                    if n < PREFACE.len() {
                        return Ok(false);
                    }
                    out.extend_from_slice(&self.waiting.split_to(n));
                    self.at = At::Frame;
                }
                At::Payload(0) => self.at = At::Frame,
                At::Payload(left) => {
                    let n = (*left).min(self.waiting.len());
                    if n == 0 {
                        return Ok(false);
                    }
                    *left -= n;
                    out.extend_from_slice(&self.waiting.split_to(n));
                }
                At::Frame | At::Block(_) => {
                    let Some(head) = Head::of(&self.waiting) else {
                        return Ok(false);
                    };
                    let is_block = matches!(self.at, At::Block(_)) || head.kind == HEADERS;
                    if !is_block {
                        out.extend_from_slice(&self.waiting.split_to(FRAME_HEADER));
                        self.at = At::Payload(head.length);
                        continue;
                    }
                    if head.length > LONGEST {
                        return Err(Malformed("a frame of a header block is too long"));
                    }
                    if self.waiting.len() < FRAME_HEADER + head.length {
                        return Ok(false);
                    }
                    let frame = self.waiting.split_to(FRAME_HEADER + head.length);
                    if self.block_frame(head, &frame, out)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// A whole frame of a header block. Returns true when all that follows passes as it is.
    fn block_frame(
        &mut self,
        head: Head,
        frame: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, Malformed> {
        let mut open = match std::mem::replace(&mut self.at, At::Frame) {
            At::Block(open) => open,
            _ => Open {
                stream: head.stream,
                flags: head.flags & (END_STREAM | PRIORITY),
                priority: None,
                block: Vec::new(),
                raw: BytesMut::new(),
            },
        };
        let is_first = open.raw.is_empty();
        open.raw.extend_from_slice(frame);
        let part = open.part(head, &frame[FRAME_HEADER..], is_first);
        let ends = head.flags & END_HEADERS != 0;
        let too_long = open.raw.len() > LONGEST + FRAME_HEADER;
        // Kept where `end` finds it, should it be of no use.
        self.at = At::Block(open);
        part?;
        if too_long {
            return Err(Malformed("a header block is too long"));
        }
        if !ends {
            return Ok(false);
        }
        self.whole(out)
    }

    /// The header block at hand is whole.
    fn whole(&mut self, out: &mut BytesMut) -> Result<bool, Malformed> {
        let At::Block(open) = &self.at else {
            unreachable!("called with a block at hand");
        };
        let fields = self.blocks.decode(&open.block)?;
        if !self.rewrites && block::is_taken(&fields) {
            return Ok(true);
        }
        self.rewrites = true;
        open.write(&block::encode(&fields), out);
        self.at = At::Frame;
        Ok(false)
    }
}

impl Open {
    /// Takes one frame's part of the block.
    fn part(&mut self, head: Head, payload: &[u8], is_first: bool) -> Result<(), Malformed> {
        if !is_first {
            if head.kind != CONTINUATION || head.stream != self.stream {
                return Err(Malformed("a header block is interrupted"));
            }
            self.block.extend_from_slice(payload);
            return Ok(());
        }
        let mut rest = payload;
        if head.flags & PADDED != 0 {
            let (padding, behind) = rest.split_first().ok_or(Malformed("no pad length"))?;
            let without = behind.len().checked_sub(usize::from(*padding));
            rest = &behind[..without.ok_or(Malformed("the padding does not fit"))?];
        }
        if head.flags & PRIORITY != 0 {
            let (priority, behind) = rest
                .split_first_chunk::<5>()
                .ok_or(Malformed("the priority does not fit"))?;
            self.priority = Some(*priority);
            rest = behind;
        }
        self.block.extend_from_slice(rest);
        Ok(())
    }

    /// Writes `block` in the place of its own, without padding.
    fn write(&self, block: &[u8], out: &mut BytesMut) {
        let priority = self.priority.as_ref().map_or(&[][..], |p| &p[..]);
        let (first, mut rest) = block.split_at(block.len().min(FRAME - priority.len()));
        let end = |rest: &[u8]| if rest.is_empty() { END_HEADERS } else { 0 };
        put_head(
            out,
            priority.len() + first.len(),
            HEADERS,
            self.flags | end(rest),
            self.stream,
        );
        out.extend_from_slice(priority);
        out.extend_from_slice(first);
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(FRAME));
            rest = behind;
            put_head(out, part.len(), CONTINUATION, end(rest), self.stream);
            out.extend_from_slice(part);
        }
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut head = bytes.get(..FRAME_HEADER)?;
        Some(Self {
            length: head.get_uint(3) as usize,
            kind: head.get_u8(),
            flags: head.get_u8(),
            stream: head.get_u32() & 0x7fff_ffff,
        })
    }
}

fn put_head(out: &mut BytesMut, length: usize, kind: u8, flags: u8, stream: u32) {
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
}
