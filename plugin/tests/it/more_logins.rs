//! Logins by JWT, client certificate and wrapped secret id, and Vaults of which some cannot serve.

use std::time::Duration;

use serde_json::{Value, json};
use sim_vault::{Action, Fault, Flavour, Request};
use tonic::Code;
use vault_kubernetes_kms::config::{Auth, Credential};

use crate::bugs_security::{Authority, tls_world};
use crate::world::{Host, World, address, answer, both, raw_answer, sealed, seconds};

fn admin(world: &World, path: &str, body: Value) -> Value {
    let (status, answer) = world.vault.admin("POST", path, &body);
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

fn jwts() -> (String, Vec<String>) {
    let data: Value = serde_json::from_str(include_str!("../data/jwt.json")).expect("JSON");
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let jwts = data["jwts"].as_array().expect("a list").iter().map(text);
    (text(&data["public_key"]), jwts.collect())
}

/// The jwt method with the issuer's key in Vault, which then asks nobody.
fn jwt_world(flavour: Flavour) -> (World, Vec<String>) {
    let mut world = World::new(flavour);
    let (key, jwts) = jwts();
    assert!(world.vault.enable_auth("jwt", "jwt"));
    admin(
        &world,
        "auth/jwt/config",
        json!({ "jwt_validation_pubkeys": [key] }),
    );
    let role = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "token_policies": ["kms"],
        "token_no_default_policy": true,
        "token_ttl": "1h",
    });
    admin(&world, "auth/jwt/role/kms", role);
    world.files.write("/creds/jwt", &jwts[0]);
    world.config.auth = Auth::Jwt {
        mount: "jwt".into(),
        role: Some("kms".into()),
        jwt: Credential::File("/creds/jwt".into()),
    };
    (world, jwts)
}

#[test]
fn a_jwt_logs_in_and_its_successor_is_read_at_the_next_login() {
    both(|flavour| async move {
        let (world, jwts) = jwt_world(flavour);
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
        let next = jwts[1].clone();
        let sent = world.vault.fault(
            Fault::on("/v1/auth/jwt/login", Action::Delay(Duration::ZERO))
                .body(move |body| body.windows(next.len()).any(|w| w == next.as_bytes())),
        );
        world.files.write("/creds/jwt", &jwts[1]);
        world.vault.revoke_all_tokens_of("jwt");
        running.client.round_trip(&[2; 32]).await;
        assert_eq!((world.logins(), world.vault.hits(sent)), (2, 1));
        running.client.status().await.expect("good");
    });
}

/// A JWT that is refused locks nobody, so it is tried each minute; and it is told by name.
#[test]
fn a_refused_jwt_is_tried_each_minute() {
    both(|flavour| async move {
        let (world, jwts) = jwt_world(flavour);
        let mut broken = jwts[0].clone();
        broken.replace_range(broken.len() - 8.., "AAAAAAAA");
        world.files.write("/creds/jwt", &broken);
        let mut running = world.start().await;
        seconds(600).await;
        let error = running.client.status().await.expect_err("refused");
        assert_eq!(error.code(), Code::FailedPrecondition);
        let text = error.message();
        assert!(
            text.contains("auth/jwt/login") && !text.contains(&broken),
            "{text}"
        );
        assert!((8..=20).contains(&world.logins()), "{}", world.logins());
        world.files.write("/creds/jwt", &jwts[1]);
        running.client.wait_good(5).await.expect("at once");
    });
}

#[test]
fn a_client_certificate_logs_in_and_a_new_one_is_shown_at_the_next_login() {
    both(|flavour| async move {
        let authority = Authority::new("the authority");
        let mut world = tls_world(
            flavour,
            &authority,
            authority.acceptor("vault.sim", 2020, 2040),
        );
        assert!(world.vault.enable_auth("cert", "cert"));
        let trusted = json!({
            "certificate": authority.pem(),
            "allowed_common_names": ["first", "second"],
            "token_policies": ["kms"],
            "token_no_default_policy": true,
            "token_ttl": "1h",
        });
        admin(&world, "auth/cert/certs/kms", trusted);
        let show = |world: &World, name| {
            let (cert, key) = authority.client(name);
            world.files.write("/tls.crt", &cert);
            world.files.write("/tls.key", &key);
        };
        show(&world, "first");
        world.config.vault.tls.client = Some(("/tls.crt".into(), "/tls.key".into()));
        world.config.auth = Auth::Cert {
            mount: "cert".into(),
            role: Some("kms".into()),
            cert: "/tls.crt".into(),
            key: "/tls.key".into(),
        };
        let mut running = world.start_good().await;
        running.client.round_trip(&[1; 32]).await;
        show(&world, "a stranger");
        world.vault.revoke_all_tokens_of("cert");
        running.client.wait_bad(30).await.expect("nobody knows it");
        show(&world, "second");
        running.client.wait_good(5).await.expect("at once");
        running.client.round_trip(&[2; 32]).await;
    });
}

/// A wrapping token for a new secret id.
fn wrapped(world: &World) -> String {
    let request = Request::new("POST", "/v1/auth/approle/role/kms/secret-id")
        .token(&world.vault.root_token())
        .header("X-Vault-Wrap-TTL", "600s");
    let answer = world.vault.core(|core| core.handle(core.now(), &request));
    let token = &answer.json()["wrap_info"]["token"];
    token.as_str().expect("a wrapping token").to_owned()
}

fn unwraps(world: &World) -> usize {
    world.vault.count("/v1/sys/wrapping/unwrap")
}

fn wrapped_world(flavour: Flavour) -> World {
    let mut world = World::new(flavour);
    let Auth::AppRole { wrapped, .. } = &mut world.config.auth else {
        unreachable!("the world's own method")
    };
    *wrapped = true;
    world
}

#[test]
fn a_wrapped_secret_id_is_unwrapped_once_and_kept_for_later_logins() {
    both(|flavour| async move {
        let world = wrapped_world(flavour);
        world.files.write("/creds/secret-id", &wrapped(&world));
        let mut running = world.start_good().await;
        for n in 0..3 {
            world.vault.revoke_all_tokens_of("approle");
            running.client.round_trip(&[n; 32]).await;
            seconds(30).await;
        }
        assert_eq!((unwraps(&world), world.logins()), (1, 4));
        // Another one: taken at the next login.
        world.files.write("/creds/secret-id", &wrapped(&world));
        world.vault.revoke_all_tokens_of("approle");
        running.client.round_trip(&[9; 32]).await;
        assert_eq!((unwraps(&world), world.logins()), (2, 5));
    });
}

/// Somebody else was there first: that is told, and the token is not sent as a secret id.
#[test]
fn a_wrapping_token_that_was_used_already_is_told_as_such() {
    both(|flavour| async move {
        let world = wrapped_world(flavour);
        let token = wrapped(&world);
        let stolen = Request::new("POST", "/v1/sys/wrapping/unwrap").token(&token);
        let stolen = world.vault.core(|core| core.handle(core.now(), &stolen));
        assert_eq!(stolen.status, 200);
        world.files.write("/creds/secret-id", &token);
        let mut running = world.start().await;
        seconds(120).await;
        let error = running.client.status().await.expect_err("used");
        let text = error.message();
        assert!(text.contains("somebody else has the secret id"), "{text}");
        assert!(!text.contains(&token), "{text}");
        assert_eq!(world.logins(), 0);
        world.files.write("/creds/secret-id", &wrapped(&world));
        running.client.wait_good(5).await.expect("at once");
    });
}

/// Three addresses, of which any two refuse, hang or are sealed: logins and calls find the third,
/// and stay with it.
#[test]
fn of_several_addresses_the_one_that_serves_is_found() {
    both(|flavour| async move {
        for good in 0..3 {
            for bad in [Host::Refuses, Host::Silent, sealed_host(flavour)] {
                let mut world = World::new(flavour);
                let names = ["a.sim", "b.sim", "c.sim"];
                world.config.vault.addresses = names.map(|name| address(name, 8200)).to_vec();
                world.config.vault.connect_timeout = Duration::from_millis(500);
                for (at, name) in names.into_iter().enumerate() {
                    let host = if at == good {
                        Host::Serves(world.vault.clone())
                    } else {
                        bad.clone()
                    };
                    world.network.put(name, 8200, host);
                }
                let mut running = world.start_good().await;
                running.client.round_trip(&[1; 32]).await;
                world.network.dialled.lock().expect("no panic").clear();
                for n in 0..20 {
                    running.client.round_trip(&[n; 32]).await;
                    seconds(1).await;
                }
                let dialled = world.network.dialled.lock().expect("no panic").clone();
                let astray = dialled.iter().filter(|to| to.host != names[good]).count();
                assert_eq!(astray, 0, "it stays with what serves");
                running.client.status().await.expect("good");
            }
        }
    });
}

/// A Vault of its own that is sealed.
fn sealed_host(flavour: Flavour) -> Host {
    let world = World::new(flavour);
    world.vault.fault(Fault::on("/v1/", sealed()));
    Host::Serves(world.vault)
}

/// A node that lags behind and stays so, as each server says it: no call waits for it to catch up while another address
/// serves, and the next ones go there at once.
#[test]
fn a_standby_that_does_not_catch_up_is_left_for_another_address() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.vault.addresses = vec![address("a.sim", 8200), address("b.sim", 8200)];
        let behind = World::new(flavour);
        let lagging = match flavour {
            Flavour::Vault => answer(412, "required index state not present"),
            Flavour::OpenBao => raw_answer(429, r#"{"errors":[]}"#),
        };
        let lags = behind.vault.fault(Fault::on("/v1/", lagging));
        let host = Host::Serves(behind.vault.clone());
        world.network.put("a.sim", 8200, host);
        let host = Host::Serves(world.vault.clone());
        world.network.put("b.sim", 8200, host);
        let mut running = world.start_good().await;
        for n in 0..20 {
            running.client.round_trip(&[n; 32]).await;
            seconds(5).await;
            running.client.status().await.expect("good");
        }
        assert_eq!(behind.vault.hits(lags), 1, "asked once");
    });
}

/// The active address fails under load: no call is lost, and none waits for long.
#[test]
fn an_address_that_fails_under_calls_costs_none_of_them() {
    both(|flavour| async move {
        let mut world = World::new(flavour);
        world.config.vault.addresses = vec![address("a.sim", 8200), address("b.sim", 8200)];
        for name in ["a.sim", "b.sim"] {
            let host = Host::Serves(world.vault.clone());
            world.network.put(name, 8200, host);
        }
        let mut running = world.start_good().await;
        for round in 0..6_u8 {
            let (fails, serves) = if round % 2 == 0 {
                ("a.sim", "b.sim")
            } else {
                ("b.sim", "a.sim")
            };
            world.network.put(fails, 8200, Host::Refuses);
            let host = Host::Serves(world.vault.clone());
            world.network.put(serves, 8200, host);
            world.vault.freeze_existing();
            for n in 0..10 {
                running.client.round_trip(&[round * 16 + n; 32]).await;
            }
            running.client.status().await.expect("good");
            seconds(30).await;
        }
    });
}
