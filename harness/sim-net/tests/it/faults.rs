//! Lines that lose, hold and reset.

use std::io::ErrorKind;

use kms_sim_net::{USER_TIMEOUT, WINDOW};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::pair::{Pair, millis, pause, virtual_time};

#[test]
fn what_is_lost_comes_with_the_next_retransmission_after_the_repair() {
    virtual_time(async {
        for (repaired_after, arrives_at) in [
            (100, 210),
            (201, 610),
            (1_000, 1_410),
            (30_000, 51_010),
            (300_000, 324_610),
        ] {
            let mut pair = Pair::new().await;
            pair.cut_both();
            pair.left
                .write_all(b"in the dark")
                .await
                .expect("the window");
            let Pair {
                net,
                mut right,
                began,
                ..
            } = pair;
            let mut text = [0; 11];
            let healing = async {
                pause(repaired_after).await;
                net.open("client", "server");
                net.open("server", "client");
            };
            let (read, ()) = tokio::join!(right.read_exact(&mut text), healing);
            read.expect("the connection lives");
            assert_eq!(&text, b"in the dark");
            assert_eq!(
                began.elapsed().as_millis(),
                arrives_at,
                "repaired after {repaired_after}"
            );
        }
    });
}

#[test]
fn what_is_on_its_way_when_the_line_is_cut_is_lost_and_comes_later_once() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left.write_all(b"first").await.expect("room");
        pause(5).await;
        pair.net.cut("client", "server");
        pair.left.write_all(b"second").await.expect("room");
        pause(50).await;
        pair.net.open("client", "server");
        let mut text = [0; 11];
        pair.right.read_exact(&mut text).await.expect("both");
        assert_eq!((&text, pair.elapsed()), (b"firstsecond", 210));
        assert!(
            timeout(millis(1_000), pair.right.read(&mut text))
                .await
                .is_err()
        );
    });
}

#[test]
fn a_one_way_partition_carries_requests_and_loses_answers() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.net.cut("server", "client");
        pair.left.write_all(b"question").await.expect("room");
        let mut text = [0; 8];
        pair.right
            .read_exact(&mut text)
            .await
            .expect("the way there is open");
        pair.right.write_all(b"answer").await.expect("the window");
        assert!(
            timeout(millis(60_000), pair.left.read(&mut text))
                .await
                .is_err()
        );
        pair.net.open("server", "client");
        let got = pair.left.read(&mut text).await.expect("the answer");
        assert_eq!(&text[..got], b"answer");
        // first sent at 10 ms; sent again after 102.2 s, the first time after the repair
        assert_eq!(pair.elapsed(), 102_220);
    });
}

#[test]
fn lost_acknowledgements_keep_the_window_closed() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.net.cut("server", "client");
        pair.left
            .write_all(&vec![1; WINDOW])
            .await
            .expect("the window");
        let mut all = vec![0; WINDOW];
        pair.right.read_exact(&mut all).await.expect("it arrives");
        assert!(timeout(millis(5_000), pair.left.write(b"x")).await.is_err());
        pair.net.open("server", "client");
        pair.left.write_all(b"x").await.expect("room again");
    });
}

#[test]
fn a_connection_that_gets_no_acknowledgement_times_out_for_who_sent() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.cut_both();
        pair.left.write_all(b"anybody?").await.expect("the window");
        let error = pair.left.read(&mut [0; 8]).await.expect_err("timed out");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(pair.began.elapsed(), USER_TIMEOUT);
        // the other side sent nothing and knows nothing, until it does
        pair.open_both();
        assert!(
            timeout(millis(3_600_000), pair.right.read(&mut [0; 8]))
                .await
                .is_err()
        );
        pair.right
            .write_all(b"hello")
            .await
            .expect("the kernel takes it");
        let error = pair.right.read(&mut [0; 8]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_blocked_writer_times_out_too() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.cut_both();
        let error = pair.left.write_all(&vec![0; 2 * WINDOW]).await;
        assert_eq!(error.expect_err("timed out").kind(), ErrorKind::TimedOut);
        assert_eq!(pair.began.elapsed(), USER_TIMEOUT);
    });
}

#[test]
fn held_bytes_come_in_order_at_the_release() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left.write_all(b"one").await.expect("room");
        pause(5).await;
        pair.net.hold("client", "server");
        pair.left.write_all(b"two").await.expect("room");
        let mut text = [0; 6];
        assert!(
            timeout(millis(60_000), pair.right.read_exact(&mut text))
                .await
                .is_err()
        );
        let released = pair.elapsed();
        pair.net.open("client", "server");
        pair.right.read_exact(&mut text).await.expect("both");
        assert_eq!((&text, pair.elapsed()), (b"onetwo", released + 10));
        assert_eq!(pair.net.traffic("client", "server").held, 2);
    });
}

#[test]
fn a_reset_breaks_both_ends_at_once() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left.write_all(b"gone").await.expect("room");
        assert_eq!(pair.net.reset("server", "client"), 1);
        for stream in [&mut pair.left, &mut pair.right] {
            let error = stream.read(&mut [0; 4]).await.expect_err("reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let error = stream.write(b"x").await.expect_err("reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(pair.elapsed(), 0);
        assert_eq!(
            pair.net.reset("server", "client"),
            0,
            "nothing is left to reset"
        );
    });
}

#[test]
fn a_reset_wakes_who_waits() {
    virtual_time(async {
        let Pair {
            net,
            mut left,
            right: _right,
            began,
            ..
        } = Pair::new().await;
        let reading = tokio::spawn(async move { left.read(&mut [0; 4]).await });
        pause(1_000).await;
        net.reset("client", "server");
        let error = reading.await.expect("no panic").expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(began.elapsed(), millis(1_000));
    });
}

#[test]
fn a_half_close_from_outside_ends_one_direction() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.right.write_all(b"bye").await.expect("room");
        assert_eq!(pair.net.half_close("server", "client"), 1);
        let mut words = Vec::new();
        pair.left.read_to_end(&mut words).await.expect("the end");
        assert_eq!(words, b"bye");
        let error = pair.right.write(b"x").await.expect_err("ended");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        pair.left.write_all(b"still here").await.expect("room");
        let mut text = [0; 10];
        pair.right
            .read_exact(&mut text)
            .await
            .expect("the other direction goes on");
    });
}

#[test]
fn a_stray_reset_is_lost_in_a_partition_and_comes_after_it() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        drop(pair.left);
        pause(15).await;
        pair.net.cut("client", "server");
        pair.right.write_all(b"anybody?").await.expect("the window");
        let mut end = Vec::new();
        pair.right
            .read_to_end(&mut end)
            .await
            .expect("the end came before");
        pause(1_000).await;
        pair.right
            .write_all(b"still?")
            .await
            .expect("no reset has come");
        pair.net.open("client", "server");
        pause(20).await;
        let error = pair.right.write(b"x").await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
