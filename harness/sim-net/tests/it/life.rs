//! Processes that are killed, started again and frozen.

use std::io::ErrorKind;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::pair::{Pair, millis, pause, virtual_time};

#[test]
fn a_killed_process_closes_its_streams_and_refuses() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        assert_eq!(pair.net.kill("server"), 1);
        let got = pair
            .left
            .read(&mut [0; 4])
            .await
            .expect("the kernel says FIN");
        assert_eq!((got, pair.elapsed()), (0, 10));
        let error = pair
            .client
            .connect("server", 80)
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_process_killed_with_unread_bytes_resets_its_peer() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        pair.left.write_all(b"unread").await.expect("room");
        pause(15).await;
        pair.net.kill("server");
        let error = pair.left.read(&mut [0; 4]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_dead_generation_is_fenced_after_the_restart() {
    virtual_time(async {
        let mut pair = Pair::new().await;
        let dead = pair.net.host("server");
        let client = pair.client.clone();
        let living = pair.net.restart("server");
        let mut listener = living.listen(80).expect("the port is free");

        // streams
        let error = pair.right.write(b"zombie").await.expect_err("fenced");
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let error = pair.right.read(&mut [0; 4]).await.expect_err("fenced");
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        // the listener: it gets nothing that is meant for the living
        let stream = client.connect("server", 80).await.expect("the living one");
        assert!(pair.listener.accept().await.is_err());
        assert!(pair.listener.next().await.is_none());
        listener.accept().await.expect("the connection");
        drop(stream);
        // later connects and listens
        assert!(!dead.alive() && living.alive());
        let error = dead.connect("client", 1).await.expect_err("fenced");
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(
            dead.listen(81).map(drop).expect_err("fenced").kind(),
            ErrorKind::NotConnected
        );
        // a listener of the dead that goes late takes nothing with it
        drop(pair.listener);
        client
            .connect("server", 80)
            .await
            .expect("the port still listens");
    });
}

#[test]
fn a_connect_of_a_killed_process_fails_however_far_it_was() {
    virtual_time(async {
        for killed_after in [5, 15] {
            let Pair { net, client, .. } = Pair::new().await;
            let _listener = net.host("server").listen(81).expect("a free port");
            let connecting = tokio::spawn(async move { client.connect("server", 81).await });
            pause(killed_after).await;
            net.kill("client");
            let error = connecting.await.expect("no panic").expect_err("fenced");
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
    });
}

#[test]
fn a_frozen_process_answers_nothing_and_loses_nothing() {
    virtual_time(async {
        let Pair {
            net,
            client,
            mut listener,
            mut left,
            mut right,
            ..
        } = Pair::new().await;
        let echo = tokio::spawn(async move {
            let mut text = [0; 4];
            right.read_exact(&mut text).await.expect("ping");
            right.write_all(&text).await.expect("room");
            listener.accept().await.expect("the second one")
        });
        net.freeze("server");
        left.write_all(b"ping").await.expect("the kernel takes it");
        let second = client
            .connect("server", 80)
            .await
            .expect("the kernel shakes hands");
        let mut text = [0; 4];
        assert!(
            timeout(millis(600_000), left.read_exact(&mut text))
                .await
                .is_err()
        );
        assert!(!echo.is_finished());
        net.thaw("server");
        left.read_exact(&mut text).await.expect("the answer");
        assert_eq!(&text, b"ping");
        echo.await.expect("no panic");
        drop(second);
    });
}

#[test]
fn a_frozen_client_sees_its_connection_only_when_it_goes_on() {
    virtual_time(async {
        let Pair {
            net,
            client,
            listener: _listener,
            began,
            ..
        } = Pair::new().await;
        net.freeze("client");
        let connecting = tokio::spawn(async move { client.connect("server", 80).await });
        pause(5_000).await;
        assert!(!connecting.is_finished());
        net.thaw("client");
        connecting.await.expect("no panic").expect("a connection");
        assert_eq!(began.elapsed(), millis(5_000));
    });
}
