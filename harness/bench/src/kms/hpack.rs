//! Just enough header compression for a gRPC client: requests from a small table of our own, and of
//! the answers what says how a call ended.

use std::collections::VecDeque;

/// Size that a peer's decoder has unless its SETTINGS say otherwise.
pub(super) const DEFAULT_TABLE: u32 = 4096;
/// Entries of the static table.
const STATIC: usize = 61;

/// Writes request headers as a usual client does: the first request teaches, later ones refer.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// What the peer has been taught, newest first, as in the protocol.
    taught: VecDeque<(&'static str, String)>,
    /// The peer keeps no table, so that everything is written out.
    plain: bool,
}

impl Encoder {
    /// `table` is the peer's table size. Ours needs less than 1,000 bytes; a peer with less than
    /// the default gets plain headers.
    pub fn new(table: u32) -> Self {
        Self {
            taught: VecDeque::new(),
            plain: table < DEFAULT_TABLE,
        }
    }

    /// The header block of one unary call.
    pub fn request(&mut self, path: &'static str, timeout: &str, out: &mut Vec<u8>) {
        // :method POST, :scheme http
        out.extend([0x83, 0x86]);
        self.field(":path", 4, path, out);
        self.field(":authority", 1, "localhost", out);
        self.field("content-type", 31, "application/grpc", out);
        self.field("te", 0, "trailers", out);
        self.field("grpc-timeout", 0, timeout, out);
    }

    /// `index` is the name's place in the static table, 0 for none.
    fn field(&mut self, name: &'static str, index: usize, value: &str, out: &mut Vec<u8>) {
        if let Some(at) = self
            .taught
            .iter()
            .position(|(n, v)| *n == name && v == value)
        {
            return integer(0x80, 7, STATIC + 1 + at, out);
        }
        let (flag, bits) = if self.plain { (0x00, 4) } else { (0x40, 6) };
        integer(flag, bits, index, out);
        if index == 0 {
            integer(0, 7, name.len(), out);
            out.extend(name.as_bytes());
        }
        integer(0, 7, value.len(), out);
        out.extend(value.as_bytes());
        if !self.plain {
            self.taught.push_front((name, value.to_owned()));
        }
    }
}

fn integer(flag: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1usize << bits) - 1;
    if value < most {
        return out.push(flag | value as u8);
    }
    out.push(flag | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What an answer's headers or trailers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    /// `grpc-status`
    pub status: Option<u32>,
    /// `grpc-message`, percent-decoded.
    pub message: String,
}

/// Reads a header block of a peer that was told to keep no table. The error says what is wrong.
pub(super) fn decode(block: &[u8]) -> Result<Ending, &'static str> {
    let mut rest = block;
    let mut ending = Ending::default();
    while let Some(first) = rest.first().copied() {
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = read_integer(&mut rest, bits)?;
        if bits == 5 {
            continue; // a size update
        }
        if index > STATIC {
            return Err("a header refers to a table that we do not keep");
        }
        if bits == 7 {
            continue; // no static entry says how a call ended
        }
        let name = if index == 0 {
            read_string(&mut rest)?
        } else {
            String::new()
        };
        let value = read_string(&mut rest)?;
        match name.as_str() {
            "grpc-status" => {
                ending.status = Some(value.parse().map_err(|_| "grpc-status is no number")?)
            }
            "grpc-message" => ending.message = percent_decoded(&value),
            _ => {}
        }
    }
    Ok(ending)
}

fn read_integer(rest: &mut &[u8], bits: u32) -> Result<usize, &'static str> {
    const CUT: &str = "a header block is cut off";
    let (first, mut tail) = rest.split_first().ok_or(CUT)?;
    let most = (1usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        for shift in [0, 7, 14] {
            let byte;
            (byte, tail) = tail.split_first().ok_or(CUT)?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = tail;
                return Ok(value);
            }
        }
        return Err("an absurd length in a header block");
    }
    *rest = tail;
    Ok(value)
}

fn read_string(rest: &mut &[u8]) -> Result<String, &'static str> {
    let huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = read_integer(rest, 7)?;
    let (bytes, tail) = rest.split_at_checked(length).ok_or("a header is cut off")?;
    *rest = tail;
    if huffman {
        unhuffman(bytes)
    } else {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The code of printable ASCII, which is all that headers hold: bits, first code, and the
/// characters that have it and its successors.
const CODE: [(u32, u32, &str); 11] = [
    (5, 0x0, "012aceiost"),
    (6, 0x14, " %-./3456789=A_bdfghlmnpru"),
    (7, 0x5c, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, 0xf8, "&*,;XZ"),
    (10, 0x3f8, "!\"()?"),
    (11, 0x7fa, "'+|"),
    (12, 0xffa, "#>"),
    (13, 0x1ff9, "$@[]~"),
    (14, 0x3ffc, "^}"),
    (15, 0x7ffc, "<`{"),
    (19, 0x7fff0, "\\"),
];

fn unhuffman(bytes: &[u8]) -> Result<String, &'static str> {
    let mut text = String::new();
    let (mut code, mut length) = (0u32, 0u32);
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1)))
    {
        (code, length) = (code << 1 | bit, length + 1);
        let row = CODE.iter().find(|(bits, _, _)| *bits == length);
        let found = row
            .and_then(|(_, first, chars)| chars.as_bytes().get(code.checked_sub(*first)? as usize));
        if let Some(byte) = found {
            text.push(char::from(*byte));
            (code, length) = (0, 0);
        } else if length > 19 {
            return Err("a header is not printable ASCII");
        }
    }
    // What is left is padding: fewer than eight ones.
    if length < 8 && code + 1 == 1 << length {
        Ok(text)
    } else {
        Err("a header ends inside a character")
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples_decode() {
        // RFC 7541, C.4.1 and C.6.1.
        assert_eq!(
            unhuffman(&[
                0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff
            ])
            .unwrap(),
            "www.example.com"
        );
        assert_eq!(unhuffman(&[0x64, 0x02]).unwrap(), "302");
        assert!(unhuffman(&[0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn an_ending_is_read_from_literals_of_every_kind() {
        let mut block = vec![0x20, 0x88]; // size update, :status 200
        block.extend(b"\x40\x0bgrpc-status\x0214");
        block.extend(b"\x00\x0cgrpc-message\x08a%3Ab%zz");
        let ending = Ending {
            status: Some(14),
            message: "a:b%zz".to_owned(),
        };
        assert_eq!(decode(&block).unwrap(), ending);
        block.truncate(block.len() - 1);
        assert!(decode(&block).is_err());
        assert!(decode(&[0xff, 0x00]).is_err(), "index 127 was never taught");
    }

    #[test]
    fn the_second_request_refers_to_the_first() {
        let mut encoder = Encoder::new(DEFAULT_TABLE);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        encoder.request("/v2.KeyManagementService/Status", "3000m", &mut first);
        encoder.request("/v2.KeyManagementService/Status", "3000m", &mut second);
        // Taught in the order path, authority, content-type, te, grpc-timeout: the newest is 62.
        assert_eq!(
            second,
            [
                0x83,
                0x86,
                0x80 | 66,
                0x80 | 65,
                0x80 | 64,
                0x80 | 63,
                0x80 | 62
            ]
        );
        let mut plain = Vec::new();
        Encoder::new(0).request("/v2.KeyManagementService/Status", "3000m", &mut plain);
        assert!(plain.len() > second.len() && !plain.contains(&0x44));
    }

    #[test]
    fn long_integers_survive() {
        for value in [0, 14, 15, 126, 127, 128, 300, 20_000] {
            let mut out = Vec::new();
            integer(0, 7, value, &mut out);
            let mut rest = out.as_slice();
            assert_eq!((read_integer(&mut rest, 7), rest.len()), (Ok(value), 0));
        }
    }
}
