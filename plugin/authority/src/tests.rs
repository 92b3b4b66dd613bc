//! What comes out of the layer, for every way in which a client may cut its frames.

use bytes::{BufMut, BytesMut};
use loona_hpack::{Decoder, Encoder};
use proptest::prelude::*;

use crate::frames::{Frames, Malformed};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// One frame or header block of a client.
#[derive(Clone, Debug)]
enum Sent {
    Other { kind: u8, payload: Vec<u8> },
    Block(Block),
}

#[derive(Clone, Debug)]
struct Block {
    fields: Fields,
    padding: Option<u8>,
    priority: Option<[u8; 5]>,
    /// Longest part in one frame.
    part: usize,
    end_stream: bool,
}

fn put_frame(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.extend_from_slice(payload);
}

fn sent_bytes(all: &[Sent]) -> BytesMut {
    let (mut out, mut encoder) = (BytesMut::from(PREFACE), Encoder::new());
    for (n, sent) in all.iter().enumerate() {
        let stream = 2 * n as u32 + 1;
        match sent {
            Sent::Other { kind, payload } => put_frame(&mut out, *kind, 0x1, stream, payload),
            Sent::Block(block) => {
                let fields = block.fields.iter().map(|(n, v)| (&n[..], &v[..]));
                let encoded = encoder.encode(fields);
                let mut parts = encoded.chunks(block.part).peekable();
                let first = parts.next().unwrap_or_default();
                let mut payload = Vec::new();
                payload.extend(block.padding);
                payload.extend(block.priority.iter().flatten());
                payload.extend_from_slice(first);
                payload.extend(std::iter::repeat_n(0, block.padding.unwrap_or(0).into()));
                let mut flags = u8::from(block.end_stream);
                flags |= if block.padding.is_some() { 0x8 } else { 0 };
                flags |= if block.priority.is_some() { 0x20 } else { 0 };
                flags |= if parts.peek().is_none() { 0x4 } else { 0 };
                put_frame(&mut out, 1, flags, stream, &payload);
                while let Some(part) = parts.next() {
                    let flags = if parts.peek().is_none() { 0x4 } else { 0 };
                    put_frame(&mut out, 9, flags, stream, part);
                }
            }
        }
    }
    out
}

/// What a server reads from `bytes`: frames without padding, blocks put together and decoded.
fn read_bytes(bytes: &[u8]) -> Vec<Sent> {
    let mut rest = bytes.strip_prefix(PREFACE).expect("the preface");
    let (mut all, mut decoder) = (Vec::new(), Decoder::new());
    let mut open: Option<(Block, Vec<u8>)> = None;
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        assert!(length <= 16 * 1024, "a frame that no server has to take");
        let payload = behind[..length].to_vec();
        rest = &behind[length..];
        match kind {
            1 => {
                assert_eq!(flags & 0x8, 0, "padding is not handed on");
                let priority = (flags & 0x20 != 0).then(|| payload[..5].try_into().expect("5"));
                let at = if priority.is_some() { 5 } else { 0 };
                let block = Block {
                    fields: Vec::new(),
                    padding: None,
                    priority,
                    part: 0,
                    end_stream: flags & 1 != 0,
                };
                open = Some((block, payload[at..].to_vec()));
            }
            9 => open.as_mut().expect("after HEADERS").1.extend(&payload),
            kind => {
                assert!(open.is_none(), "within a block");
                all.push(Sent::Other { kind, payload });
            }
        }
        if matches!(kind, 1 | 9) && flags & 0x4 != 0 {
            let (mut block, bytes) = open.take().expect("a block");
            block.fields = decoder.decode(&bytes).expect("decodes");
            all.push(Sent::Block(block));
        }
    }
    assert!(rest.is_empty() && open.is_none());
    all
}

/// Hands `bytes` over in pieces.
fn through(bytes: &[u8], pieces: &[usize]) -> Result<BytesMut, Malformed> {
    let (mut frames, mut out) = (Frames::default(), BytesMut::new());
    let (mut rest, mut pieces, mut passes) = (bytes, pieces.iter().cycle(), false);
    while !rest.is_empty() {
        let n = (*pieces.next().unwrap_or(&rest.len())).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(n);
        rest = behind;
        if passes {
            out.extend_from_slice(piece);
        } else {
            passes = frames.take(piece, &mut out)?;
        }
    }
    if !passes {
        frames.end(&mut out);
    }
    Ok(out)
}

fn fields(authority: &str, more: &[(String, String)]) -> Fields {
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let mut all = vec![
        field(":method", "POST"),
        field(":path", "/v2.KeyManagementService/Status"),
        field(":authority", authority),
    ];
    all.extend(more.iter().map(|(name, value)| field(name, value)));
    all
}

fn block(authority: &str) -> Block {
    Block {
        fields: fields(authority, &[]),
        padding: None,
        priority: None,
        part: 20_000,
        end_stream: false,
    }
}

fn any_block() -> impl Strategy<Value = Block> {
    let authority = prop_oneof![
        Just("%2Frun%2Fkms.sock".to_owned()),
        Just("/run/a b.sock".to_owned()),
        Just("localhost".to_owned()),
    ];
    let more = prop::collection::vec(("[a-z]{1,12}", "[ -~]{0,300}"), 0..6);
    let padding = prop::option::of(any::<u8>());
    let priority = prop::option::of(any::<[u8; 5]>());
    (
        authority,
        more,
        padding,
        priority,
        1_usize..200,
        any::<bool>(),
    )
        .prop_map(
            |(authority, more, padding, priority, part, end_stream)| Block {
                fields: fields(&authority, &more),
                padding,
                priority,
                part,
                end_stream,
            },
        )
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let other = (
        prop::sample::select(vec![0_u8, 2, 3, 4, 6, 8, 200]),
        prop::collection::vec(any::<u8>(), 0..600),
    );
    prop_oneof![
        any_block().prop_map(Sent::Block),
        other.prop_map(|(kind, payload)| Sent::Other { kind, payload }),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..4000, 1..20)
}

proptest! {
    #[test]
    fn only_authorities_change_however_the_client_cuts_its_frames(
        more in prop::collection::vec(any_sent(), 0..12),
        pieces in pieces(),
    ) {
        let mut all = vec![Sent::Block(block("%2Frun%2Fkms.sock"))];
        all.extend(more);
        let bytes = sent_bytes(&all);
        let read = read_bytes(&through(&bytes, &pieces).expect("sound"));
        prop_assert_eq!(read.len(), all.len());
        for (sent, read) in all.iter().zip(&read) {
            match (sent, read) {
                (Sent::Other { kind, payload }, Sent::Other { kind: k, payload: p }) => {
                    prop_assert_eq!((kind, payload), (k, p));
                }
                (Sent::Block(sent), Sent::Block(read)) => {
                    let mut expected = sent.fields.clone();
                    expected[2].1 = b"localhost".to_vec();
                    prop_assert_eq!(&expected, &read.fields);
                    prop_assert_eq!(sent.priority, read.priority);
                    prop_assert_eq!(sent.end_stream, read.end_stream);
                }
                _ => prop_assert!(false, "{:?} became {:?}", sent, read),
            }
        }
    }

    #[test]
    fn behind_an_authority_that_is_one_not_a_byte_changes(
        more in prop::collection::vec(any_sent(), 0..12),
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        pieces in pieces(),
    ) {
        let mut all = vec![Sent::Block(block("localhost"))];
        all.extend(more);
        let mut bytes = sent_bytes(&all);
        bytes.extend_from_slice(&garbage);
        prop_assert_eq!(through(&bytes, &pieces), Ok(bytes));
    }

    /// Nothing panics; before anything was changed the server gets what there is, to refuse it.
    #[test]
    fn whatever_a_client_sends_is_refused_and_nothing_worse(
        start in 0_usize..4,
        garbage in prop::collection::vec(any::<u8>(), 0..600),
        pieces in pieces(),
    ) {
        let changed = [Sent::Block(block("/run/kms.sock"))];
        let mut bytes = match start {
            0 => BytesMut::new(),
            1 => BytesMut::from(PREFACE),
            _ => sent_bytes(&changed),
        };
        if start == 3 {
            // The garbage is a header block.
            put_frame(&mut bytes, 1, 0x4, 3, &garbage);
        } else {
            bytes.extend_from_slice(&garbage);
        }
        let out = through(&bytes, &pieces);
        let begins_with_a_block = start == 1 && garbage.get(3) == Some(&1);
        if start < 2 && !begins_with_a_block && !garbage.is_empty() {
            prop_assert!(out.is_ok());
        }
    }
}

#[test]
fn a_long_block_is_cut_into_frames_that_every_server_takes() {
    let long: Vec<_> = (0..12)
        .map(|n| (format!("name-{n}"), "v".repeat(3000)))
        .collect();
    for priority in [None, Some([1; 5])] {
        let all = [Sent::Block(Block {
            fields: fields("/run/kms.sock", &long),
            priority,
            ..block("")
        })];
        let read = read_bytes(&through(&sent_bytes(&all), &[5000]).expect("sound"));
        let [Sent::Block(block)] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!(block.fields.len(), 3 + long.len());
    }
}

/// A block of a few bytes that stands for megabytes, and one that never ends: both end there.
#[test]
fn what_is_too_long_ends_the_connection() {
    let changed = [Sent::Block(Block {
        fields: fields("/run/kms.sock", &[("name".into(), "v".repeat(4000))]),
        ..block("")
    })];
    let mut bomb = sent_bytes(&changed);
    put_frame(&mut bomb, 1, 0x4, 3, &[0x80 | 62; 100]);
    let refused = through(&bomb, &[1000]).expect_err("4000 bytes, a hundred times");
    assert!(refused.to_string().contains("too long"), "{refused}");

    let mut endless = sent_bytes(&changed);
    put_frame(&mut endless, 1, 0, 3, &[0; 10]);
    for _ in 0..10 {
        put_frame(&mut endless, 9, 0, 3, &[0; 10_000]);
    }
    let refused = through(&endless, &[1000]).expect_err("it never ends");
    assert!(refused.to_string().contains("too long"), "{refused}");

    let mut interrupted = sent_bytes(&changed);
    put_frame(&mut interrupted, 1, 0, 3, &[0; 10]);
    put_frame(&mut interrupted, 0, 0, 3, &[0; 10]);
    let refused = through(&interrupted, &[1000]).expect_err("a block has no gaps");
    assert!(refused.to_string().contains("interrupted"), "{refused}");
}
