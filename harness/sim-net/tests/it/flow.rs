//! Bytes on a healthy line: latency, window, rate, a slow reader, the end.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kms_sim_net::{Latency, WINDOW};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::pair::{Pair, millis, pause, virtual_time};

#[test]
fn bytes_travel_for_the_latency_in_each_direction() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.net
            .set_latency("server", "client", Latency::fixed(millis(30)));
        let mut text = [0; 4];
        pair.left.write_all(b"ping").await.expect("room");
        pair.right.read_exact(&mut text).await.expect("ping");
        assert_eq!((pair.elapsed(), &text), (10, b"ping"));
        pair.right.write_all(b"pong").await.expect("room");
        pair.left.read_exact(&mut text).await.expect("pong");
        assert_eq!((pair.elapsed(), &text), (40, b"pong"));
    });
}

#[test]
fn what_was_sent_later_never_overtakes() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.net
            .set_latency("client", "server", Latency::fixed(millis(100)));
        pair.left.write_all(b"slow").await.expect("room");
        pair.net
            .set_latency("client", "server", Latency::fixed(millis(1)));
        pair.left.write_all(b"fast").await.expect("room");
        let mut text = [0; 8];
        pair.right.read_exact(&mut text).await.expect("both");
        assert_eq!((&text, pair.elapsed()), (b"slowfast", 100));
    });
}

#[test]
fn a_reader_who_does_not_read_stops_the_writer_at_the_window() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left
            .write_all(&vec![7; WINDOW])
            .await
            .expect("the window");
        let more = timeout(millis(60_000), pair.left.write_all(b"x")).await;
        assert!(more.is_err(), "the window is full");
        let mut some = [0; 100];
        pair.right.read_exact(&mut some).await.expect("arrived");
        let written = pair.left.write(&[8; 1000]).await.expect("room for 100");
        assert_eq!(written, 100);
    });
}

#[test]
fn a_blocked_writer_is_woken_by_the_reader() {
    virtual_time(async {
        let Pair {
            mut left,
            mut right,
            ..
        } = Pair::new().await;
        let size = 10 * WINDOW + 17;
        let writing = tokio::spawn(async move {
            left.write_all(&vec![7; size]).await.expect("all of it");
        });
        let mut all = Vec::new();
        right.read_to_end(&mut all).await.expect("to the end");
        writing.await.expect("no panic");
        assert_eq!(all.len(), size);
    });
}

#[test]
fn a_limited_rate_is_shared_by_the_connections_of_a_link() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        let mut second = pair.client.connect("server", 80).await.expect("another");
        let mut accepted = pair.listener.accept().await.expect("another");
        pair.net.set_bandwidth("client", "server", Some(10_000));
        let began = Instant::now();
        pair.left.write_all(&[1; 10_000]).await.expect("room");
        second.write_all(&[2; 10_000]).await.expect("room");
        let (mut first, mut other) = (vec![0; 10_000], vec![0; 10_000]);
        pair.right
            .read_exact(&mut first[..1460])
            .await
            .expect("one packet");
        assert_eq!(
            began.elapsed(),
            millis(156),
            "146 ms on the line, 10 ms on its way"
        );
        pair.right
            .read_exact(&mut first[1460..])
            .await
            .expect("the rest");
        assert_eq!(began.elapsed(), millis(1_010));
        accepted.read_exact(&mut other).await.expect("all");
        assert_eq!(began.elapsed(), millis(2_010));
    });
}

#[test]
fn a_slow_reader_takes_what_it_can_and_the_writer_waits() {
    virtual_time(async {
        let Pair {
            net,
            mut left,
            mut right,
            ..
        } = Pair::new().await;
        net.set_read_rate("client", "server", Some(1_000));
        let began = Instant::now();
        let writing = tokio::spawn(async move {
            left.write_all(&vec![7; WINDOW + 2_000]).await.expect("all");
            began.elapsed()
        });
        let mut some = vec![0; 3_000];
        right
            .read_exact(&mut some)
            .await
            .expect("three seconds' worth");
        assert!(
            (2_900..3_100).contains(&began.elapsed().as_millis()),
            "{:?}",
            began.elapsed()
        );
        let written = writing.await.expect("no panic").as_millis();
        assert!((1_800..2_200).contains(&written), "{written}");
    });
}

#[test]
fn one_direction_ends_and_the_other_goes_on() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left.write_all(b"question").await.expect("room");
        pair.left.shutdown().await.expect("an open stream");
        let mut question = Vec::new();
        pair.right
            .read_to_end(&mut question)
            .await
            .expect("the end");
        assert_eq!(question, b"question");
        let error = pair.left.write_all(b"more").await.expect_err("ended");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        pair.right.write_all(b"answer").await.expect("room");
        let mut answer = [0; 6];
        pair.left.read_exact(&mut answer).await.expect("the answer");
        assert_eq!(&answer, b"answer");
    });
}

#[test]
fn a_stream_that_is_dropped_ends_after_what_it_sent() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left.write_all(b"last words").await.expect("room");
        drop(pair.left);
        let mut words = Vec::new();
        pair.right.read_to_end(&mut words).await.expect("the end");
        assert_eq!(words, b"last words");
        // nobody is there to take an answer: the first write is reset, the next one fails
        pair.right
            .write_all(b"hello?")
            .await
            .expect("the kernel takes it");
        pause(25).await;
        let error = pair.right.write_all(b"hello?").await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stream_that_is_dropped_with_unread_bytes_resets() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.right.write_all(b"unread").await.expect("room");
        pause(15).await;
        drop(pair.left);
        let error = pair.right.read(&mut [0; 8]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(pair.began.elapsed(), millis(25));
    });
}

#[test]
fn connections_are_forgotten_with_their_ends() {
    virtual_time(async {
        let pair = Pair::new().await;
        assert_eq!(pair.net.connections(), 1);
        drop(pair.left);
        assert_eq!(pair.net.connections(), 1);
        drop(pair.right);
        assert_eq!(pair.net.connections(), 0);
    });
}

/// Neither what is sent to it nor what its own end sends wakes a reader before something arrives.
#[test]
fn a_reader_is_woken_once_for_one_arrival() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        let turns = Arc::new(AtomicU32::new(0));
        let (mut incoming, mut outgoing) = tokio::io::split(pair.right);
        let counted = Arc::clone(&turns);
        let reader = tokio::spawn(async move {
            let mut text = [0; 4];
            let mut read = pin!(incoming.read_exact(&mut text));
            let read = poll_fn(|cx| {
                counted.fetch_add(1, Ordering::Relaxed);
                read.as_mut().poll(cx)
            });
            read.await.expect("ping");
        });
        pause(1).await;
        outgoing.write_all(b"pong").await.expect("room");
        pair.left.write_all(b"ping").await.expect("room");
        reader.await.expect("no panic");
        assert_eq!(
            turns.load(Ordering::Relaxed),
            2,
            "to begin and at the arrival"
        );
    });
}
