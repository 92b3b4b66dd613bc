//! What a connection does with frames, without a socket.

use super::*;

const PATH: &str = "/v2.KeyManagementService/Status";

fn settled(settings: &[u8]) -> Channel {
    let mut channel = Channel::new("3000m".to_owned());
    let mut input = Vec::new();
    frame(&mut input, SETTINGS, 0, 0, settings);
    assert_eq!(channel.read(&input), Ok(input.len()));
    channel.out.clear();
    channel
}

fn answer(stream: u32, message: &[u8], trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame(&mut out, HEADERS, END_HEADERS, stream, &[0x88]);
    frame(&mut out, DATA, 0, stream, message);
    frame(
        &mut out,
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        trailers,
    );
    out
}

#[test]
fn answers_come_back_in_any_order_and_in_pieces() {
    let mut channel = settled(&[]);
    let (first, mut first_answer) = oneshot::channel();
    let (second, mut second_answer) = oneshot::channel();
    channel.call(PATH, vec![0; 5], first);
    channel.call(PATH, vec![0; 5], second);
    let ok = b"\x00\x0bgrpc-status\x010";
    let mut input = answer(3, &[0, 0, 0, 0, 1, 9], ok);
    input.extend(answer(1, &[0, 0, 0, 0, 1, 8], ok));
    let mut used = 0;
    for end in 1..=input.len() {
        used += channel.read(&input[used..end]).unwrap();
    }
    assert_eq!(used, input.len());
    assert_eq!(
        first_answer.try_recv().unwrap(),
        Ok(Bytes::from_static(&[8]))
    );
    assert_eq!(
        second_answer.try_recv().unwrap(),
        Ok(Bytes::from_static(&[9]))
    );
    assert!(channel.calls.is_empty() && channel.tickets.is_empty());
}

#[test]
fn an_error_a_cut_message_and_a_missing_status_are_no_answers() {
    for (message, trailers, expected) in [
        (
            &[0, 0, 0, 0, 0][..],
            &b"\x00\x0bgrpc-status\x0214"[..],
            Some(14),
        ),
        (&[0, 0, 0, 0, 9][..], &b"\x00\x0bgrpc-status\x010"[..], None),
        (&[0, 0, 0, 0, 0][..], &b""[..], None),
    ] {
        let mut channel = settled(&[]);
        let (sender, mut receiver) = oneshot::channel();
        channel.call(PATH, vec![0; 5], sender);
        channel.read(&answer(1, message, trailers)).unwrap();
        match (receiver.try_recv().unwrap().unwrap_err(), expected) {
            (CallError::Grpc { code, .. }, Some(expected)) => assert_eq!(code, expected),
            (CallError::Transport(_), None) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_peers_limits_on_streams_and_bytes_are_kept() {
    let mut channel = settled(&[0, 3, 0, 0, 0, 1]);
    let (first, _keep) = oneshot::channel();
    let (second, _keep) = oneshot::channel();
    let ticket = channel.call(PATH, vec![0; 40_000], first);
    channel.call(PATH, vec![0; 40_000], second);
    assert_eq!(
        (channel.calls.len(), channel.waiting.len()),
        (1, 1),
        "one stream is allowed"
    );
    channel.cancel(ticket);
    assert_eq!(
        (channel.calls.len(), channel.waiting.len()),
        (0, 1),
        "the window holds 65,535 bytes"
    );
    let mut update = Vec::new();
    frame(&mut update, WINDOW_UPDATE, 0, 0, &40_000u32.to_be_bytes());
    channel.read(&update).unwrap();
    assert_eq!((channel.calls.len(), channel.waiting.len()), (1, 0));
}

#[test]
fn a_dead_connection_fails_calls_in_flight_and_later_ones() {
    let mut channel = settled(&[]);
    let (first, mut first_answer) = oneshot::channel();
    channel.call(PATH, vec![0; 5], first);
    channel.fail("gone");
    let (second, mut second_answer) = oneshot::channel();
    channel.call(PATH, vec![0; 5], second);
    let gone = Err(CallError::Transport("gone".to_owned()));
    assert_eq!(first_answer.try_recv().unwrap(), gone);
    assert_eq!(second_answer.try_recv().unwrap(), gone);
}
