//! Public bug reports about connections, to Vault and to the API server, and rules beside them: pools,
//! redirects, proxies, pings.

use std::sync::Arc;
use std::time::Duration;

use sim_vault::{Action, Fault, Flavour, Options, SimVault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use vault_kubernetes_kms::config::Secret;

use crate::world::{Host, World, address, both, seconds};

/// The server closes idle connections exactly when requests go out on them.
#[test]
fn bug_047_a_connection_closed_under_a_request_costs_nothing() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        let sealed = running.client.round_trip(&[1; 32]).await;
        world
            .vault
            .close_idle_after(Some(Duration::from_millis(5000)));
        for n in 0..500_u64 {
            tokio::time::sleep(Duration::from_micros(4_990_000 + n * 40)).await;
            if n % 2 == 0 {
                running
                    .client
                    .encrypt(&[1; 32])
                    .await
                    .expect("no call fails");
            } else {
                running
                    .client
                    .decrypt(&sealed)
                    .await
                    .expect("no call fails");
            }
        }
    });
}

/// The connection dies after the request was read: repeated once on a fresh one, but a login never.
#[test]
fn bug_047_what_is_safe_to_repeat_is_repeated_once() {
    both(|flavour| async move {
        for (cut, ok) in [(1, true), (9, false)] {
            let world = World::new(flavour);
            let mut running = world.start_good().await;
            let cuts = world
                .vault
                .fault(Fault::on("/v1/transit/encrypt", Action::CloseAfter).times(cut));
            assert_eq!(
                running.client.encrypt(&[1; 32]).await.is_ok(),
                ok,
                "{cut} cuts"
            );
            assert!(world.vault.hits(cuts) <= 2, "once, then an error");
        }
        let world = World::new(flavour);
        world
            .vault
            .fault(Fault::on("/v1/auth/approle/login", Action::CloseAfter).times(1));
        let mut running = world.start().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(world.logins(), 1, "a login may have been processed");
        running
            .client
            .wait_good(5)
            .await
            .expect("the next one is paced");
        assert_eq!(world.logins(), 2);
    });
}

/// A connection that goes silent is not used for ever.
#[test]
fn bug_049_a_dead_connection_leaves_the_pool() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let mut running = world.start_good().await;
        running.client.timeout = Duration::from_secs(2);
        seconds(30).await;
        world.vault.freeze_existing();
        let (began, mut failed, mut last_failure) = (Instant::now(), 0, Duration::ZERO);
        for _ in 0..60 {
            if running.client.encrypt(&[1; 32]).await.is_err() {
                failed += 1;
                last_failure = began.elapsed();
            }
            seconds(1).await;
        }
        assert!(failed <= 3, "{failed} calls failed");
        assert!(last_failure <= Duration::from_secs(15), "{last_failure:?}");
        running.client.status().await.expect("good");
    });
}

/// Pings as grpc-go sends them after nearly every answer, and a Go client's keepalive, are no flood.
#[test]
fn bug_051_pings_are_never_a_flood() {
    both(|flavour| async move {
        let world = World::new(flavour);
        let running = world.start_good().await;
        let mut raw = running.connect_raw().await;
        raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            .await
            .expect("preface");
        let reader = tokio::spawn(async move {
            let (mut acks, mut goaways) = (0, 0);
            let (mut reader, mut writer) = tokio::io::split(raw);
            let sender = tokio::spawn(async move {
                for _ in 0..2000 {
                    writer
                        .write_all(
                            b"\x00\x00\x08\x06\x00\x00\x00\x00\x00\x02\x04\x10\x10\x09\x0e\x07\x07",
                        )
                        .await
                        .expect("the connection lives");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                writer
            });
            while acks < 2000 {
                let mut head = [0; 9];
                reader
                    .read_exact(&mut head)
                    .await
                    .expect("the connection lives");
                let length = usize::from(head[1]) * 256 + usize::from(head[2]);
                let mut payload = vec![0; length];
                reader.read_exact(&mut payload).await.expect("whole frames");
                acks += usize::from(head[3] == 6 && head[4] & 1 == 1);
                goaways += usize::from(head[3] == 7);
            }
            drop(sender.await.expect("all pings sent"));
            (acks, goaways)
        });
        assert_eq!(reader.await.expect("reader"), (2000, 0));
    });
}

/// 307: same method, body, token and namespace, but only to a configured address.
#[test]
fn bug_063_redirects_go_to_configured_addresses_only() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.vault.addresses.push(address("n1.sim", 8200));
        world
            .network
            .put("n1.sim", 8200, Host::Serves(world.vault.clone()));
        let foreign = SimVault::new(Options {
            flavour,
            ..Options::default()
        });
        world
            .network
            .put("evil.sim", 8200, Host::Serves(foreign.clone()));
        let mut running = world.start_good().await;
        let redirect =
            |to: &str| Fault::on("/v1/transit/encrypt", Action::Redirect307(to.to_owned()));
        world
            .vault
            .fault(redirect("http://n1.sim:8200/v1/transit/encrypt/kms-key").times(1));
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("followed with its body and token");
        for (target, words) in [
            (
                "http://evil.sim:8200/v1/transit/encrypt/kms-key",
                "evil.sim",
            ),
            (
                "http://n1.sim:8201/v1/transit/encrypt/kms-key",
                "n1.sim:8201",
            ),
            (
                "https://n1.sim:8200/v1/transit/encrypt/kms-key",
                "n1.sim:8200",
            ),
        ] {
            let id = world.vault.fault(redirect(target));
            let error = running.client.encrypt(&[1; 32]).await.expect_err("refused");
            assert!(
                error.message().contains(words) && error.message().contains("-vault-address"),
                "{error:?}"
            );
            world.vault.clear(id);
        }
        // A loop ends after two hops.
        let looping = world
            .vault
            .fault(redirect("http://vault.sim:8200/v1/transit/encrypt/kms-key"));
        running.client.encrypt(&[1; 32]).await.expect_err("a loop");
        assert!(
            world.vault.hits(looping) <= 4,
            "{}",
            world.vault.hits(looping)
        );
        assert!(
            foreign.log().is_empty(),
            "no request, and so no token, went to a foreign host"
        );
    });
}

/// A 307 to the dead leader, as a Vault standby answers for as long as there is none: the next
/// address is tried.
#[test]
fn a_redirect_to_a_dead_leader_tries_the_next_address() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        let standby = SimVault::new(Options {
            flavour,
            ..Options::default()
        });
        standby.fault(Fault::on(
            "/v1/",
            Action::Redirect307("http://dead.sim:8200/v1/transit/encrypt/kms-key".into()),
        ));
        world
            .network
            .put("standby.sim", 8200, Host::Serves(standby));
        world.config.vault.addresses = vec![
            address("standby.sim", 8200),
            address("dead.sim", 8200),
            address("vault.sim", 8200),
        ];
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
    });
}

/// A frozen leader accepts and hangs; its connections stay open. Another address serves.
#[test]
fn a_leader_that_hangs_is_left_for_another_address() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world
            .network
            .put("n2.sim", 8200, Host::Serves(world.vault.clone()));
        world
            .network
            .put("n1.sim", 8200, Host::Serves(world.vault.clone()));
        world.config.vault.addresses = vec![address("n1.sim", 8200), address("n2.sim", 8200)];
        let mut running = world.start_good().await;
        seconds(1).await;
        world.vault.freeze_existing();
        world.network.put("n1.sim", 8200, Host::Silent);
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("half of the time for each address");
        let began = Instant::now();
        running
            .client
            .encrypt(&[1; 32])
            .await
            .expect("the address that served is preferred");
        assert!(
            began.elapsed() < Duration::from_millis(100),
            "{:?}",
            began.elapsed()
        );
    });
}

/// A proxy is asked by CONNECT, with its own credentials and never with Vault's.
#[test]
fn a_proxy_is_used_where_it_is_configured() {
    crate::world::virtual_time().block_on(async {
        let mut world = World::new(Flavour::OpenBao);
        let (sender, mut accepted) = mpsc::unbounded_channel();
        world.network.put("proxy.sim", 3128, Host::Raw(sender));
        let vault = world.vault.clone();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = seen.clone();
        tokio::spawn(async move {
            while let Some(mut io) = accepted.recv().await {
                let (vault, heard) = (vault.clone(), heard.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(io.read_u8().await.expect("a CONNECT"));
                    }
                    heard
                        .lock()
                        .expect("no panic")
                        .push(String::from_utf8(head).expect("text"));
                    io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        .await
                        .expect("answer");
                    vault.serve_io(io, [10, 0, 0, 9].into()).await;
                });
            }
        });
        world.config.vault.proxy = Some(vault_kubernetes_kms::config::Proxy {
            at: vault_kubernetes_kms::seam::HostPort {
                host: "proxy.sim".into(),
                port: 3128,
            },
            credentials: Some(Secret::new("user:pass".into())),
            no_proxy: "elsewhere.sim".into(),
        });
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
        let heads = seen.lock().expect("no panic").clone();
        assert!(
            heads[0].starts_with("CONNECT vault.sim:8200 HTTP/1.1"),
            "{}",
            heads[0]
        );
        assert!(
            heads[0]
                .to_lowercase()
                .contains("proxy-authorization: basic dxnlcjpwyxnz"),
            "{}",
            heads[0]
        );
        assert!(!heads[0].to_lowercase().contains("x-vault"), "{}", heads[0]);
        assert!(
            world
                .network
                .dialled
                .lock()
                .expect("no panic")
                .iter()
                .all(|to| to.host == "proxy.sim")
        );
        running.stop().await;

        world.config.vault.proxy.as_mut().expect("set").no_proxy = "vault.sim".into();
        world.network.dialled.lock().expect("no panic").clear();
        world.start_good().await;
        assert!(
            world
                .network
                .dialled
                .lock()
                .expect("no panic")
                .iter()
                .all(|to| to.host == "vault.sim")
        );
    });
}
