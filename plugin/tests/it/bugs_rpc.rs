//! Public bug reports about connections, deadlines and bad requests, each as the smallest input
//! that shows it.

use std::time::Duration;

use bytes::Bytes;
use kms_v2_api::DecryptRequest;
use sim_vault::{Action, Fault, Flavour};
use tokio::time::Instant;
use tonic::Code;
use vault_kubernetes_kms::key::id::{FORMAT, FORMAT_ANNOTATION};

use crate::world::{World, both, raw_answer, sealed as sealed_answer, seconds};

/// SIGTERM during a slow Decrypt: it finishes, nobody new is served, and the end is bounded.
#[test]
fn bug_052_a_stop_finishes_calls_and_is_bounded() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        world.vault.fault(
            Fault::on("/v1/transit/decrypt", Action::Delay(Duration::from_secs(2))).times(1),
        );
        let mut client = running.client.clone();
        let call = tokio::spawn(async move { client.decrypt(&sealed).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let took = running.stop().await;
        assert_eq!(
            call.await
                .expect("no panic")
                .expect("in flight calls finish")
                .plaintext,
            vec![1; 32]
        );
        assert!(took < Duration::from_secs(3), "{took:?}");

        let mut running = world.start_good().await;
        running.client.timeout = Duration::from_secs(60);
        world.vault.freeze();
        let mut client = running.client.clone();
        let hanging = tokio::spawn(async move { client.encrypt(&[1; 32]).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let took = running.stop().await;
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert!(hanging.await.expect("no panic").is_err());
    });
}

/// Garbage is refused here, without a request, and harms nobody.
#[test]
fn bug_055_garbage_is_refused_without_a_request() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let good = running.client.round_trip(&[1; 32]).await;
        world.vault.clear_log();
        let request = || DecryptRequest {
            ciphertext: good.ciphertext.clone(),
            uid: "u".into(),
            key_id: good.key_id.clone(),
            annotations: good.annotations.clone(),
        };
        let with = |f: &dyn Fn(&mut DecryptRequest)| {
            let mut r = request();
            f(&mut r);
            r
        };
        let text = |t: &[u8]| {
            let t = Bytes::copy_from_slice(t);
            with(&move |r| r.ciphertext = t.clone())
        };
        let payload = good.ciphertext.strip_prefix(b"vault:v1:").expect("label");
        let mut bad = vec![
            text(b""),
            text(b"v"),
            text(b"vault:"),
            text(b"vault:v1:"),
            text(b"vault:v0:AAAA"),
            text(b"vault:v01:AAAA"),
            text(b"vault:v+1:AAAA"),
            text(b"vault:v99999999999999999999:AAAA"),
            text(b"vault:v1:!!!!"),
            text(b"vault:v1:AAA"),
            text(b"vault:v1:AAAA\n"),
            text(b"vault:v1:\xff\xfe"),
            text(&[b'A'; 1025]),
            text(&vec![b'A'; 1024 * 1024]),
            text(&[b"vault:v2:", payload].concat()),
            with(&|r| r.key_id = String::new()),
            with(&|r| r.key_id = "x".repeat(1025)),
            with(&|r| r.key_id = "../../secret/data/x".into()),
            with(&|r| r.key_id = format!("{}A", &r.key_id[..r.key_id.len() - 1])),
            with(&|r| r.annotations.clear()),
            with(&|r| drop(r.annotations.insert("other.example".into(), Bytes::new()))),
            with(&|r| r.annotations = [("other.example".to_owned(), "1".into())].into()),
            with(&|r| {
                drop(
                    r.annotations
                        .insert(FORMAT_ANNOTATION.into(), Bytes::from_static(b"2")),
                )
            }),
            with(&|r| {
                drop(
                    r.annotations
                        .insert(FORMAT_ANNOTATION.into(), vec![0; 40 * 1024].into()),
                )
            }),
        ];
        // A key_id of the right form that belongs to another key, for a version that is known.
        bad.push(with(&|r| {
            r.key_id = vault_kubernetes_kms::key::id::key_id(&world_place("other"), 1, "1")
        }));
        for (n, request) in bad.into_iter().enumerate() {
            let error = running
                .client
                .decrypt_raw(request)
                .await
                .expect_err("refused");
            assert_eq!(error.code(), Code::InvalidArgument, "case {n}: {error:?}");
        }
        for plaintext in [vec![], vec![0; 1024], vec![0; 1024 * 1024]] {
            let error = running
                .client
                .encrypt(&plaintext)
                .await
                .expect_err("refused");
            assert_eq!(error.code(), Code::InvalidArgument);
        }
        assert_eq!(world.requests(), 0, "no request to Vault for any of them");
        running
            .client
            .decrypt(&good)
            .await
            .expect("a missing uid or garbage harms nobody");
        let mut without_uid = request();
        without_uid.uid = String::new();
        running
            .client
            .decrypt_raw(without_uid)
            .await
            .expect("an empty uid is replaced");
        assert_eq!(FORMAT, "1");
    });
}

fn world_place(key: &str) -> vault_kubernetes_kms::config::Place {
    vault_kubernetes_kms::config::Place {
        namespace: String::new(),
        mount: "transit".into(),
        key: key.into(),
        epoch: String::new(),
    }
}

/// The caller's deadline is the limit: an answer goes out before it ends, and nothing runs on after.
#[test]
fn bug_058_no_call_outlives_its_deadline() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        seconds(1).await;
        // A server that cannot serve is no reason to wait: the caller hears it at once.
        let unable = world
            .vault
            .fault(Fault::on("/v1/transit/decrypt", sealed_answer()).times(1));
        let began = Instant::now();
        let error = running.client.decrypt(&sealed).await.expect_err("503");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(1));
        assert_eq!(world.vault.hits(unable), 1);
        // 1.2 s a request.
        world.vault.fault(Fault::on(
            "/v1/transit/",
            Action::Delay(Duration::from_millis(1200)),
        ));
        running
            .client
            .decrypt(&sealed)
            .await
            .expect("1.2 s fit into 3 s");
        world.vault.clear_faults();
        world.vault.fault(Fault::on("/v1/transit/", Action::Hold));
        for timeout_ms in [100, 500, 3000, 10_000] {
            running.client.timeout = Duration::from_millis(timeout_ms);
            let began = Instant::now();
            let error = running
                .client
                .encrypt(&[1; 32])
                .await
                .expect_err("nobody answers");
            let took = began.elapsed();
            // Early enough for the answer's way.
            let margin = (timeout_ms / 20).min(100);
            assert!(
                took <= Duration::from_millis(timeout_ms - margin),
                "{timeout_ms} ms: {took:?}"
            );
            assert!(
                matches!(error.code(), Code::DeadlineExceeded | Code::Unavailable),
                "{error:?}"
            );
            assert!(
                !error.message().contains("Timeout expired"),
                "our text, not the client's: {error:?}"
            );
        }
        world.vault.clear_faults();
        running.client.wait_good(25).await.expect("heals");
        // A caller that goes away takes its request along. The probe's own requests are not meant.
        let ciphertext = sealed.ciphertext.clone();
        let asked = world.vault.fault(
            Fault::on("/v1/transit/decrypt", Action::Delay(Duration::from_secs(2)))
                .body(move |body| body.windows(ciphertext.len()).any(|w| w == ciphertext)),
        );
        world.told.clear();
        running.client.timeout = Duration::from_secs(3);
        let cancelled =
            tokio::time::timeout(Duration::from_millis(500), running.client.decrypt(&sealed)).await;
        assert!(cancelled.is_err());
        seconds(5).await;
        assert_eq!(world.vault.hits(asked), 1, "sent once, not again");
        let waited = world.told.lines().into_iter().find(|line| {
            line.contains("op: Decrypt") && line.contains("http_status: 200, latency: 2")
        });
        assert_eq!(waited, None, "nobody waits for its answer any more");
    });
}

/// An answer of its own that breaks the API server's limits becomes an error.
#[test]
fn bug_059_its_own_answers_are_checked() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let long = format!(
            r#"{{"data":{{"ciphertext":"vault:v1:{}"}}}}"#,
            "A".repeat(1016)
        );
        for (body, what) in [
            (long, "longer than 1024 bytes"),
            (r#"{"data":{"ciphertext":""}}"#.to_owned(), "empty"),
            (r#"{"data":{}}"#.to_owned(), "absent"),
            (
                r#"{"data":{"ciphertext":"vault:v:AAAA"}}"#.to_owned(),
                "without a version",
            ),
            (
                r#"{"data":{"ciphertext":"plain"}}"#.to_owned(),
                "without a label",
            ),
        ] {
            world
                .vault
                .fault(Fault::on("/v1/transit/encrypt", Action::Garbage(body.into())).times(1));
            let error = running.client.encrypt(&[1; 32]).await.expect_err(what);
            assert_eq!(error.code(), Code::Internal, "{what}: {error:?}");
        }
        let sealed = running.client.round_trip(&[1; 32]).await;
        assert_eq!(
            sealed.key_id,
            running.client.status().await.expect("good").key_id
        );
    });
}

/// Answers that are damaged on the way are errors, never other bytes.
#[test]
fn damaged_answers_are_errors_and_give_nothing() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        let plaintexts = [
            r#"{"data":{"plaintext":"AQEBAQ"}}"#,
            r#"{"data":{"plaintext":"AQ-_AQ=="}}"#,
            r#"{"data":{"plaintext":"AQEB\nAQ=="}}"#,
            r#"{"data":{"plaintext":null}}"#,
            r#"{"data":{"plaintext":7}}"#,
            r#"{"data":null}"#,
            r#"{"data":{"batch_results":[{"plaintext":"AQ=="},{"plaintext":"Ag=="}]}}"#,
            r#"{"data":{"batch_results":[]}}"#,
            "[]",
            "null",
            "",
            "<html>proxy error</html>",
        ];
        let mut actions: Vec<Action> = plaintexts
            .iter()
            .map(|b| Action::Garbage((*b).into()))
            .collect();
        actions.push(Action::CutBody(20));
        actions.push(Action::WrongContentLength);
        actions.push(Action::Garbage(vec![b' '; 2 * 1024 * 1024].into()));
        for (n, action) in actions.into_iter().enumerate() {
            // Twice, so that the one repetition meets it too.
            let id = world.vault.fault(Fault::on("/v1/transit/decrypt", action));
            let error = running.client.decrypt(&sealed).await.expect_err("damaged");
            assert!(
                matches!(error.code(), Code::Internal | Code::Unavailable),
                "{n}: {error:?}"
            );
            world.vault.clear(id);
            running
                .client
                .decrypt(&sealed)
                .await
                .unwrap_or_else(|e| panic!("{n}: the next is good: {e:?}"));
        }
    });
}

/// Overload is refused at once and is no evidence against the server.
#[test]
fn waiting_places_are_bounded() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.max_waiting = 8;
        let mut running = world.start_good().await;
        let mut sealed = Vec::new();
        for n in 0..20_u8 {
            sealed.push(running.client.encrypt(&[n; 32]).await.expect("encrypt"));
        }
        world.vault.fault(Fault::on(
            "/v1/transit/decrypt",
            Action::Delay(Duration::from_secs(1)),
        ));
        // Twice: who was refused keeps no place.
        for _ in 0..2 {
            let calls: Vec<_> = sealed
                .iter()
                .cloned()
                .map(|sealed| {
                    let mut client = running.client.clone();
                    tokio::spawn(async move { client.decrypt(&sealed).await })
                })
                .collect();
            let (mut ok, mut full) = (0, 0);
            for call in calls {
                match call.await.expect("no panic") {
                    Ok(_) => ok += 1,
                    Err(e) if e.code() == Code::ResourceExhausted => full += 1,
                    Err(e) => panic!("{e:?}"),
                }
            }
            assert_eq!((ok, full), (8, 12));
        }
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("Encrypt has places of its own");
        running
            .client
            .status()
            .await
            .expect("no evidence against the server");
    });
}

/// One damaged object among many in a batch fails alone; a refused batch is halved, then single.
#[test]
fn a_batch_fails_item_by_item() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let mut all = Vec::new();
        for n in 0..30_u8 {
            all.push(running.client.encrypt(&[n; 32]).await.expect("encrypt"));
        }
        // A flipped byte in the payload of every tenth.
        for sealed in all.iter_mut().step_by(10) {
            let mut text = sealed.ciphertext.to_vec();
            let at = text.len() - 10;
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            sealed.ciphertext = text.into();
        }
        for refused in [false, true] {
            if refused {
                let text = match flavour {
                    Flavour::OpenBao => {
                        r#"{"errors":["refused JSON input due to high complexity: exceeded maximum number of strings"]}"#
                    }
                    Flavour::Vault => {
                        r#"{"errors":["1 error occurred:\n\t* failed to parse batch input: 1 error(s) decoding:\n\n* x\n\n"]}"#
                    }
                };
                let code = if flavour == Flavour::OpenBao {
                    400
                } else {
                    500
                };
                let is_batch = |body: &[u8]| body.starts_with(br#"{"batch_input""#);
                world
                    .vault
                    .fault(Fault::on("/v1/transit/decrypt", raw_answer(code, text)).body(is_batch));
            }
            let calls: Vec<_> = all
                .iter()
                .cloned()
                .map(|sealed| {
                    let mut client = running.client.clone();
                    tokio::spawn(async move { client.decrypt(&sealed).await })
                })
                .collect();
            for (n, call) in calls.into_iter().enumerate() {
                let result = call.await.expect("no panic");
                match (n % 10, result) {
                    (0, Err(e)) => assert_eq!(e.code(), Code::InvalidArgument, "{n}: {e:?}"),
                    (0, Ok(_)) => panic!("{n} is damaged"),
                    (_, result) => {
                        assert_eq!(result.expect("unharmed").plaintext, vec![n as u8; 32])
                    }
                }
            }
        }
        running
            .client
            .status()
            .await
            .expect("bad objects say nothing about the server");
    });
}
