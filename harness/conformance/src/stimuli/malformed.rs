//! Requests that are too large, and bytes that are no proper request (KMS2-SEC-04).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kms_history::{Request, What};
use kms_judge::stimuli::AFTERWARDS;

use crate::facts;
use crate::lab::{Material, Scene};
use crate::proto;
use crate::raw::Conn;
use crate::raw::conn::RawCall;
use crate::raw::frame::{self, Frame};
use crate::raw::headers::header_block;
use crate::seeds::random;
use crate::stimuli::wire::{grpc_go_fields, path_of};

/// Fields and messages beyond every limit, through the gRPC library.
pub(crate) async fn oversized(scene: Scene<'_>) {
    let Some(good) = scene
        .encrypt("", &scene.seed("good"), scene.uid("good"))
        .await
        .1
    else {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    };
    let long = |len: usize| Bytes::from(vec![b'a'; len]);
    let with = |change: &dyn Fn(&mut Material)| {
        let mut material = good.clone();
        change(&mut material);
        material
    };
    let one_big = |m: &mut Material, len: usize| {
        m.sealed
            .annotations
            .push((Bytes::from_static(b"big.example.com"), long(len)));
    };
    let cases = [
        (
            "ciphertext of 64 KiB",
            with(&|m| m.sealed.ciphertext = long(65_536)),
        ),
        (
            "key_id of 64 KiB",
            with(&|m| m.sealed.key_id = long(65_536)),
        ),
        (
            "annotations of 32769 bytes",
            with(&|m| one_big(m, 32_769 - 15)),
        ),
        (
            "4000 annotations",
            with(&|m| {
                let name = |i: usize| Bytes::from(format!("a{i}.example.com"));
                m.sealed
                    .annotations
                    .extend((0..4000).map(|i| (name(i), Bytes::new())));
            }),
        ),
        (
            "ciphertext of 3 MiB",
            with(&|m| m.sealed.ciphertext = long(3 << 20)),
        ),
        (
            "message of 5 MiB",
            with(&|m| m.sealed.ciphertext = long(5 << 20)),
        ),
    ];
    for (case, material) in cases {
        scene.decrypt(case, &material, scene.uid(case)).await;
        scene.status(AFTERWARDS).await;
        if scene.gave_up() {
            return;
        }
    }
    scene
        .encrypt("plaintext of 5 MiB", &long(5 << 20), scene.uid("5 MiB"))
        .await;
    scene
        .decrypt(AFTERWARDS, &good, scene.uid("afterwards"))
        .await;
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

/// Proper HTTP/2 with improper gRPC, then improper HTTP/2.
pub(crate) async fn malformed(scene: Scene<'_>) {
    for case in CALLS {
        if !call(scene, case).await {
            return;
        }
    }
    for (i, case) in CONNECTIONS.iter().enumerate() {
        let Ok(mut conn) = Conn::dial(scene).await else {
            break;
        };
        scene.record(What::Note(format!("connection {}: {case}", conn.id)));
        connection(scene, &mut conn, case).await;
        conn.drain(scene.lab.options.patience).await;
        drop(conn);
        scene.status(AFTERWARDS).await;
        scene.progress(i as u64, CONNECTIONS.len() as u64);
        if scene.gave_up() {
            return;
        }
    }
    // Connections that say nothing and stay.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.extend(Conn::dial(scene).await);
    }
    scene.status(AFTERWARDS).await;
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

const CALLS: &[&str] = &[
    "truncated-message",
    "length-of-4-gib",
    "compressed-without-encoding",
    "unknown-flag",
    "no-message",
    "not-protobuf",
    "cut-protobuf",
    "bad-utf8-uid",
    "bad-utf8-key-id",
    "content-type-json",
    "garbled-timeout",
    "huge-metadata",
];

/// A call of this kind on its own connection. False if none can be made any more.
async fn call(scene: Scene<'_>, case: &'static str) -> bool {
    let Ok(mut conn) = Conn::open(scene).await else {
        return false;
    };
    let plaintext = scene.seed(case);
    let uid = scene.uid(case);
    let proper = proto::encrypt_request(&plaintext, uid.as_bytes());
    let framed = frame::message(0, &proper);
    let mut method = "Encrypt";
    let data = match case {
        "truncated-message" => framed.slice(..framed.len() / 2),
        "length-of-4-gib" => [&[0, 0xff, 0xff, 0xff, 0xff][..], &proper].concat().into(),
        "compressed-without-encoding" => frame::message(1, &proper),
        "unknown-flag" => frame::message(7, &proper),
        "no-message" => Bytes::new(),
        "not-protobuf" => frame::message(0, &[0xff; 40]),
        "cut-protobuf" => frame::message(0, &proper[..20]),
        "bad-utf8-uid" => frame::message(0, &proto::encrypt_request(&plaintext, &[0xff, 0xfe])),
        "bad-utf8-key-id" => {
            method = "Decrypt";
            let body = proto::decrypt_request(&plaintext, uid.as_bytes(), &[0xff, 0xfe], &[]);
            frame::message(0, &body)
        }
        _ => framed,
    };
    let path = path_of(method);
    let filler = "m".repeat(8000);
    // Well inside the harness's own limit: a library that waits for a message that never comes (as
    // grpc-go does) ends the call at its deadline, which is an error like any other.
    let deadline = (scene.lab.options.timeout / 2).min(Duration::from_secs(1));
    let timeout = format!("{}u", deadline.as_micros());
    let mut fields = grpc_go_fields(&path, "localhost", &timeout);
    match case {
        "content-type-json" => fields[4].1 = "application/json",
        "garbled-timeout" => fields[8].1 = "three seconds",
        "huge-metadata" => {
            for name in ["x-a", "x-b", "x-c", "x-d", "x-e", "x-f", "x-g", "x-h"] {
                fields.push((name, &filler));
            }
        }
        _ => {}
    }
    let bytes = data.clone();
    conn.call(RawCall {
        method,
        case,
        fields,
        data,
        open: false,
        request: Request::Bytes(facts::blob(&bytes)),
        uid,
        of: None,
        deadline: Some(deadline),
        limit: scene.lab.options.timeout,
    })
    .await;
    scene.status(AFTERWARDS).await;
    !scene.gave_up()
}

const CONNECTIONS: &[&str] = &[
    "random bytes",
    "HTTP/1.1",
    "TLS hello",
    "SETTINGS of 5 bytes",
    "DATA on stream 0",
    "HEADERS on an even stream",
    "PING of 7 bytes",
    "a frame of 1 MiB",
    "an unknown frame type",
    "a header block that is none",
    "a window beyond its limit",
    "a frame that ends half-way",
];

async fn connection(scene: Scene<'_>, conn: &mut Conn<'_>, case: &str) {
    let mut rng = scene.lab.seeds.rng(&format!("malformed/{case}"));
    match case {
        "random bytes" => return conn.bytes("BYTES", &random(&mut rng, 1024)).await,
        "HTTP/1.1" => {
            let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
            return conn.bytes("BYTES", request).await;
        }
        "TLS hello" => {
            return conn
                .bytes("BYTES", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
                .await;
        }
        _ => {}
    }
    conn.bytes("PREFACE", frame::PREFACE).await;
    conn.send(Frame::new(frame::SETTINGS, 0, 0, Bytes::new()))
        .await;
    let fields = grpc_go_fields("/v2.KeyManagementService/Status", "localhost", "3000000u");
    let block = header_block(&fields);
    let bad = match case {
        "SETTINGS of 5 bytes" => Frame::new(frame::SETTINGS, 0, 0, vec![0; 5]),
        "DATA on stream 0" => Frame::new(frame::DATA, frame::END_STREAM, 0, vec![0; 5]),
        "HEADERS on an even stream" => Frame::new(frame::HEADERS, frame::END_HEADERS, 2, block),
        "PING of 7 bytes" => Frame::new(frame::PING, 0, 0, vec![0; 7]),
        "a frame of 1 MiB" => Frame::new(frame::DATA, 0, 1, vec![0; 1 << 20]),
        "an unknown frame type" => Frame::new(0x2a, 0xff, 0, random(&mut rng, 64)),
        "a header block that is none" => {
            Frame::new(frame::HEADERS, frame::END_HEADERS, 1, vec![0xff; 64])
        }
        "a window beyond its limit" => {
            conn.send(Frame::window(0, 0x7fff_ffff)).await;
            Frame::window(0, 0x7fff_ffff)
        }
        _ => {
            let mut whole = BytesMut::new();
            Frame::new(frame::HEADERS, frame::END_HEADERS, 1, block).encode(&mut whole);
            return conn.bytes("BYTES", &whole[..whole.len() / 2]).await;
        }
    };
    conn.send(bad).await;
}
