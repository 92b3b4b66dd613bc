//! The model by itself: no stream, no runtime, time given by hand.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use sim_vault::{Core, Flavour, Options, Request};

fn core(flavour: Flavour) -> Core {
    let mut core = Core::new(Options {
        flavour,
        ..Options::default()
    });
    ask(
        &mut core,
        0,
        "POST",
        "sys/mounts/transit",
        &json!({ "type": "transit" }),
    );
    ask(&mut core, 0, "POST", "transit/keys/k", &json!({}));
    core
}

fn ask(
    core: &mut Core,
    at: u64,
    method: &str,
    path: &str,
    body: &serde_json::Value,
) -> (u16, serde_json::Value) {
    let mut request = Request::new(method, &format!("/v1/{path}")).token("root");
    if !body.is_null() {
        request = request.json(body);
    }
    let response = core.handle(Duration::from_secs(at), &request);
    (response.status, response.json())
}

/// Tokens with a minute to live, a hundredth of them a minute: what has run out is gone from the store.
/// A million of them where the code is optimised, a fiftieth of that where it is not.
#[test]
fn a_million_tokens_that_expired_leave_nothing_behind() {
    const A_MINUTE: u64 = if cfg!(debug_assertions) { 200 } else { 10_000 };
    let mut core = core(Flavour::OpenBao);
    let create = Request::new("POST", "/v1/auth/token/create")
        .token("root")
        .json(&json!({ "ttl": "60s", "policies": ["default"] }));
    for minute in 0..100 {
        for _ in 0..A_MINUTE {
            let made = core.handle(Duration::from_secs(minute * 60), &create);
            assert_eq!(made.status, 200);
        }
        let alive = core.living_tokens("", Duration::from_secs(minute * 60)) as u64;
        assert!(
            alive <= A_MINUTE + 1,
            "{alive} tokens alive in minute {minute}"
        );
    }
    let left = core.living_tokens("", Duration::from_secs(6_060));
    assert_eq!(left, 1, "the root token alone");
}

#[test]
fn time_never_goes_back() {
    let mut core = core(Flavour::OpenBao);
    let (_, made) = ask(
        &mut core,
        100,
        "POST",
        "auth/token/create",
        &json!({ "ttl": "10s" }),
    );
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let mut look = |at| {
        core.handle(
            Duration::from_secs(at),
            &Request::new("GET", "/v1/auth/token/lookup-self").token(&token),
        )
        .status
    };
    assert_eq!(
        (look(50), look(109), look(111), look(105)),
        (200, 200, 403, 403)
    );
}

#[test]
fn neither_tokens_nor_keys_show_in_debug_texts() {
    let logged = {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let vault = sim_vault::SimVault::new(Options {
                root_token: "s.verysecret".to_owned(),
                ..Options::default()
            });
            vault.call(&Request::new("GET", "/v1/auth/token/lookup-self").token("s.verysecret"));
            format!("{:?} {vault:?}", vault.log())
        })
    };
    assert!(!logged.contains("verysecret"), "{logged}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing that comes over the wire makes the model panic, and every answer is one.
    #[test]
    fn any_request_gets_an_answer(
        method in "(GET|POST|PUT|LIST|DELETE|HEAD|PATCH|[A-Z]{1,8})",
        path in "/v1/(transit|sys|auth/token|auth/x|cubbyhole|[a-z]{0,4})/(encrypt|decrypt|keys|create|mounts|policies/acl)?/?[\\PC]{0,12}",
        body in prop_oneof![
            "\\PC{0,60}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..60),
            "\\{\"(plaintext|ciphertext|batch_input|policy|type|ttl)\":(\"\\PC{0,12}\"|\\[\\{\\}\\]|-?[0-9]{1,20}|null)\\}".prop_map(String::into_bytes),
        ],
    ) {
        for flavour in [Flavour::OpenBao, Flavour::Vault] {
            let mut core = core(flavour);
            let mut request = Request::new(&method, &path).token("root");
            request.body = body.clone().into();
            let response = core.handle(Duration::ZERO, &request);
            prop_assert!((200..600).contains(&response.status), "{}", response.status);
        }
    }

    /// Neither does a policy text.
    #[test]
    fn any_policy_text_is_accepted_or_refused(text in "(path|\"|\\{|\\}|\\[|=|capabilities|read|#|/\\*|<<E|\n|\\PC){0,30}") {
        let mut core = core(Flavour::OpenBao);
        let (status, _) = ask(&mut core, 0, "PUT", "sys/policies/acl/p", &json!({ "policy": text }));
        prop_assert!(status == 204 || status == 400);
    }

    /// What was encrypted comes back, whatever the rotation in between; a flipped bit never does.
    #[test]
    fn round_trips_hold_over_rotations(plain in proptest::collection::vec(any::<u8>(), 0..200), rotations in 0u8..4, bit in 0usize..1000) {
        let mut core = core(Flavour::OpenBao);
        let text = base64(&plain);
        let (_, made) = ask(&mut core, 0, "POST", "transit/encrypt/k", &json!({ "plaintext": text }));
        let sealed = made["data"]["ciphertext"].as_str().unwrap().to_owned();
        for _ in 0..rotations {
            ask(&mut core, 0, "POST", "transit/keys/k/rotate", &json!({}));
        }
        let (status, opened) = ask(&mut core, 0, "POST", "transit/decrypt/k", &json!({ "ciphertext": sealed }));
        prop_assert_eq!((status, opened["data"]["plaintext"].as_str()), (200, Some(text.as_str())));
        let (label, payload) = sealed.rsplit_once(':').unwrap();
        let mut bytes = unbase64(payload);
        let at = bit % (bytes.len() * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        let broken = format!("{label}:{}", base64(&bytes));
        let (status, _) = ask(&mut core, 0, "POST", "transit/decrypt/k", &json!({ "ciphertext": broken }));
        prop_assert_eq!(status, 400);
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("the server writes base64")
}
