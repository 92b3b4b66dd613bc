//! How connections come about, and how they do not.

use std::io::ErrorKind;

use kms_sim_net::{Latency, Net, SYN_TIMEOUT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::pair::{Pair, millis, pause, virtual_time};

fn net() -> Net {
    let net = Net::new(1);
    net.set_default_latency(Latency::fixed(millis(10)));
    net
}

#[test]
fn a_connect_takes_one_round_trip() {
    virtual_time(async {
        let net = net();
        let _listener = net.host("server").listen(80).expect("a free port");
        let began = Instant::now();
        net.host("client")
            .connect("server", 80)
            .await
            .expect("a connection");
        assert_eq!(began.elapsed(), millis(20));
    });
}

#[test]
fn nobody_who_listens_refuses_after_a_round_trip() {
    virtual_time(async {
        let net = net();
        let _server = net.host("server");
        let began = Instant::now();
        let error = net
            .host("client")
            .connect("server", 80)
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(began.elapsed(), millis(20));
        let error = net
            .host("client")
            .connect("nowhere", 80)
            .await
            .expect_err("no such host");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_handshake_hangs_in_a_partition_and_ends_at_a_retransmission_after_it() {
    virtual_time(async {
        let net = net();
        let _listener = net.host("server").listen(80).expect("a free port");
        net.cut("client", "server");
        let client = net.host("client");
        let began = Instant::now();
        let connecting = async {
            let stream = client.connect("server", 80).await.expect("a connection");
            (stream, began.elapsed())
        };
        let healing = async {
            pause(4_000).await;
            net.open("client", "server");
        };
        let ((_stream, took), ()) = tokio::join!(connecting, healing);
        // packets go at 0, 1, 3 and 7 s
        assert_eq!(took, millis(7_020));
        assert_eq!(net.traffic("client", "server").lost, 3);
    });
}

#[test]
fn a_handshake_without_an_answer_is_given_up_after_127_seconds() {
    virtual_time(async {
        for (from, to) in [("client", "server"), ("server", "client")] {
            let net = net();
            let _listener = net.host("server").listen(80).expect("a free port");
            net.cut(from, to);
            let began = Instant::now();
            let error = net
                .host("client")
                .connect("server", 80)
                .await
                .expect_err("timed out");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(began.elapsed(), SYN_TIMEOUT);
        }
    });
}

#[test]
fn a_held_handshake_goes_on_at_the_release() {
    virtual_time(async {
        let net = net();
        let _listener = net.host("server").listen(80).expect("a free port");
        net.hold("client", "server");
        let client = net.host("client");
        let began = Instant::now();
        let releasing = async {
            pause(5_500).await;
            net.open("client", "server");
        };
        let (stream, ()) = tokio::join!(client.connect("server", 80), releasing);
        stream.expect("a connection");
        assert_eq!(began.elapsed(), millis(5_520));
    });
}

#[test]
fn a_listener_with_a_limit_leaves_the_next_one_connected_but_unanswered() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.net.set_connection_limit("server", 80, Some(1));
        let mut second = pair
            .client
            .connect("server", 80)
            .await
            .expect("the kernel shakes hands");
        second
            .write_all(b"hello")
            .await
            .expect("it fits into the window");
        assert!(
            timeout(millis(60_000), pair.listener.accept())
                .await
                .is_err()
        );
        drop(pair.right);
        let mut accepted = pair.listener.accept().await.expect("there is room now");
        let mut text = [0; 5];
        accepted.read_exact(&mut text).await.expect("what was sent");
        assert_eq!(&text, b"hello");
    });
}

#[test]
fn a_full_backlog_answers_no_handshake() {
    virtual_time(async {
        let net = net();
        let mut listener = net.host("server").listen(80).expect("a free port");
        let client = net.host("client");
        let mut streams = Vec::new();
        for _ in 0..128 {
            streams.push(client.connect("server", 80).await.expect("room"));
        }
        let late = timeout(millis(30_000), client.connect("server", 80)).await;
        assert!(late.is_err(), "no answer within 30 s");
        let began = Instant::now();
        let (stream, accepted) = tokio::join!(client.connect("server", 80), listener.accept());
        stream.expect("a connection");
        accepted.expect("the first one");
        // the first packet still found the backlog full, or room was made before it came
        assert!(began.elapsed() <= millis(1_020), "{:?}", began.elapsed());
    });
}

#[test]
fn a_port_is_taken_once_and_free_again_after_its_listener() {
    virtual_time(async {
        let net = net();
        let server = net.host("server");
        let listener = server.listen(80).expect("a free port");
        let error = server.listen(80).map(drop).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(listener);
        let error = net.host("client").connect("server", 80).await;
        assert_eq!(
            error.expect_err("nobody listens").kind(),
            ErrorKind::ConnectionRefused
        );
        server.listen(80).expect("free again");
    });
}

#[test]
fn a_connect_that_was_given_up_leaves_no_connection() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        // the packet has arrived, the answer has not
        let given_up = timeout(millis(15), pair.client.connect("server", 80)).await;
        assert!(given_up.is_err());
        let mut orphan = pair.listener.accept().await.expect("it was established");
        let mut rest = Vec::new();
        orphan
            .read_to_end(&mut rest)
            .await
            .expect("the end of the stream");
        drop(orphan);
        assert_eq!(pair.net.connections(), 1);
    });
}
