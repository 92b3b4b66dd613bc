//! API servers 1.27 to 1.31 on the plugin's socket: the recorded bytes of their clients, and the
//! header fields of each version (KMS2-CONN-04).

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kms_v2_api::{EncryptResponse, StatusRequest, StatusResponse};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::world::{World, both};

fn recorded() -> Value {
    serde_json::from_str(include_str!("../data/old-clients.json")).expect("JSON")
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Everything that the server sends within ten seconds.
async fn answers(io: &mut DuplexStream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(n @ 1..)) =
        tokio::time::timeout(Duration::from_secs(10), io.read(&mut some)).await
    {
        all.extend_from_slice(&some[..n]);
    }
    all
}

/// A stream's message, or none where the call failed.
fn message(all: &[u8], stream: u32) -> Option<Vec<u8>> {
    let (mut rest, mut data) = (all, Vec::new());
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let of = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]);
        if (rest[3], of) == (0, stream) {
            data.extend_from_slice(&rest[9..9 + length]);
        }
        rest = &rest[9 + length..];
    }
    data.get(5..).map(<[u8]>::to_vec)
}

/// Status and Encrypt of a real 1.31 are answered, whatever form its endpoint has.
#[test]
fn the_recorded_bytes_of_an_old_client_are_served() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let key_id = running.client.status().await.expect("good").key_id;
        for connection in recorded()["connections"].as_array().expect("a list") {
            let authority = &connection["authority"];
            let mut io = running.connect_raw().await;
            for sent in connection["sent"].as_array().expect("a list") {
                io.write_all(&bytes(sent.as_str().expect("hexadecimal")))
                    .await
                    .expect("taken");
            }
            let all = answers(&mut io).await;
            let status = message(&all, 1).unwrap_or_else(|| panic!("{authority}: no Status"));
            let status = StatusResponse::decode(&status[..]).expect("a Status");
            assert_eq!(
                (status.version.as_str(), status.key_id),
                ("v2", key_id.clone())
            );
            let sealed = message(&all, 3).unwrap_or_else(|| panic!("{authority}: no Encrypt"));
            let sealed = EncryptResponse::decode(&sealed[..]).expect("an Encrypt");
            assert_eq!(sealed.key_id, key_id);
            running.client.decrypt(&sealed).await.expect("readable");
        }
    });
}

/// The first call of each version is answered, twice on one connection: the second refers to fields
/// of the first.
#[test]
fn the_first_call_of_every_version_is_answered() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let running = world.start_good().await;
        let recorded = recorded();
        let calls = recorded["first_calls"].as_array().expect("a list");
        assert!(calls.len() >= 13);
        for call in calls {
            let mut encoder = loona_hpack::Encoder::new();
            let fields: Vec<(&[u8], &[u8])> = call["fields"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|f| [&f[0], &f[1]].map(|t| t.as_str().expect("text").as_bytes()))
                // Theirs were short tests.
                .filter(|[name, _]| *name != b"grpc-timeout")
                .map(|[name, value]| (name, value))
                .collect();
            let mut sent = BytesMut::from(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]);
            let mut frame = |kind, flags, stream, payload: &[u8]| {
                sent.put_uint(payload.len() as u64, 3);
                sent.put_u8(kind);
                sent.put_u8(flags);
                sent.put_u32(stream);
                sent.extend_from_slice(payload);
            };
            frame(4, 0, 0, &[]);
            let empty = StatusRequest {}.encode_to_vec();
            assert!(empty.is_empty());
            for stream in [1, 3] {
                frame(1, 0x4, stream, &encoder.encode(fields.iter().copied()));
                frame(0, 0x1, stream, &[0; 5]);
            }
            let mut io = running.connect_raw().await;
            io.write_all(&sent).await.expect("taken");
            let all = answers(&mut io).await;
            for stream in [1, 3] {
                let (client, fields) = (&call["client"], &call["fields"][3]);
                assert!(
                    message(&all, stream).is_some(),
                    "{client} {fields} {stream}"
                );
            }
        }
    });
}
