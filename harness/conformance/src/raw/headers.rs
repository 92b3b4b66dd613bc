//! Header blocks: ours in the order given, the subject's put together and decoded.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{self, Frame};

/// Header fields in their order.
pub(crate) type Fields = Vec<(String, String)>;

/// Longest block of the subject that is put together, in bytes.
const MAX_BLOCK: usize = 1 << 20;

/// A header block of literals without indexing, in the order given.
pub(crate) fn header_block(fields: &[(&str, &str)]) -> Bytes {
    let mut out = BytesMut::new();
    for (name, value) in fields {
        out.put_u8(0);
        put_string(&mut out, name.as_bytes());
        put_string(&mut out, value.as_bytes());
    }
    out.freeze()
}

fn put_string(out: &mut BytesMut, text: &[u8]) {
    match text.len().checked_sub(0x7f) {
        None => out.put_u8(text.len() as u8),
        Some(rest) => {
            out.put_u8(0x7f);
            crate::proto::put_varint(out, rest as u64);
        }
    }
    out.put_slice(text);
}

/// The subject's header blocks of one connection. Each has to be decoded, whosever stream it is on,
/// since a later one may refer to its fields.
pub(crate) struct Blocks {
    hpack: loona_hpack::Decoder<'static>,
    open: BytesMut,
}

impl Blocks {
    pub fn new() -> Self {
        let mut hpack = loona_hpack::Decoder::new();
        hpack.set_max_allowed_table_size(4096);
        Blocks {
            hpack,
            open: BytesMut::new(),
        }
    }

    /// Takes a frame's part of a block, and gives the fields if the block is whole.
    pub fn take(&mut self, frame: &Frame) -> Result<Option<Fields>, &'static str> {
        let part = match frame.kind {
            frame::HEADERS => frame.content().ok_or("the padding does not fit")?,
            frame::CONTINUATION => frame.payload.clone(),
            _ => return Ok(None),
        };
        if self.open.len() + part.len() > MAX_BLOCK {
            return Err("the header block is longer than 1 MiB");
        }
        self.open.extend_from_slice(&part);
        if !frame.has(frame::END_HEADERS) {
            return Ok(None);
        }
        let block = self.open.split();
        let fields = self
            .hpack
            .decode(&block)
            .map_err(|_| "the header block cannot be decoded")?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Some(
            fields
                .into_iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_header_blocks_decode_to_the_same_fields_in_the_same_order() {
        let long = "v".repeat(300);
        let fields = [
            (":method", "POST"),
            (":path", "/x"),
            ("long", long.as_str()),
            ("", ""),
        ];
        let decoded = loona_hpack::Decoder::new()
            .decode(&header_block(&fields))
            .unwrap();
        let decoded: Vec<_> = decoded
            .iter()
            .map(|(n, v)| {
                (
                    std::str::from_utf8(n).unwrap(),
                    std::str::from_utf8(v).unwrap(),
                )
            })
            .collect();
        assert_eq!(decoded, fields);
    }

    /// grpc-go indexes the fields of one answer and refers to them in the next, also when the first
    /// belongs to a call that was cancelled.
    #[test]
    fn a_block_refers_to_fields_of_an_earlier_one_on_any_stream() {
        let flags = frame::END_HEADERS;
        // Literal with incremental indexing, new name: "a: b".
        let first = Frame::new(frame::HEADERS, flags, 1, vec![0x40, 1, b'a', 1, b'b']);
        // The first entry of the dynamic table.
        let second = Frame::new(frame::HEADERS, flags, 3, vec![0x80 | 62]);
        let expected = Ok(Some(vec![("a".to_string(), "b".to_string())]));
        let mut blocks = Blocks::new();
        assert_eq!(blocks.take(&first), expected);
        assert_eq!(blocks.take(&second), expected);
        assert!(
            Blocks::new().take(&second).is_err(),
            "alone it refers to nothing"
        );
    }

    #[test]
    fn a_block_in_two_frames_is_whole_after_the_second() {
        let first = Frame::new(frame::HEADERS, 0, 1, vec![0, 1, b'a']);
        let second = Frame::new(frame::CONTINUATION, frame::END_HEADERS, 1, vec![1, b'b']);
        let mut blocks = Blocks::new();
        assert_eq!(blocks.take(&first), Ok(None));
        assert_eq!(
            blocks.take(&second),
            Ok(Some(vec![("a".into(), "b".into())]))
        );
    }
}
