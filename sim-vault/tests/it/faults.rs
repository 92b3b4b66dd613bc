//! Each fault does to a client what it says, and to the model as well.

use std::time::Duration;

use serde_json::json;
use sim_vault::{Action, Fault, Hook};

use crate::wire::{Client, vault};

const ENCRYPT: &str = "/v1/transit/encrypt/k";
const BODY: &str = "{\"plaintext\":\"aGk=\"}";
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_status_hits_so_many_after_so_many_and_never_reaches_the_model() {
    let vault = vault();
    let action = Action::Status {
        code: 503,
        body: "{}".into(),
        headers: vec![("Retry-After".to_owned(), "7".to_owned())],
    };
    let id = vault.fault(
        Fault::on("/v1/transit/", action)
            .method("POST")
            .after(1)
            .times(2),
    );
    let mut client = Client::new(&vault);
    let mut seen = Vec::new();
    for _ in 0..4 {
        client.request("POST", ENCRYPT, BODY).await;
        let (text, _) = client.read(SECOND).await;
        seen.push((text.contains(" 503 "), text.contains("Retry-After: 7")));
    }
    assert_eq!(
        seen,
        [(false, false), (true, true), (true, true), (false, false)]
    );
    assert_eq!(vault.hits(id), 2);
    let statuses: Vec<_> = vault.log().iter().map(|l| l.status).collect();
    assert_eq!(statuses, [Some(200), None, None, Some(200)]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_on_a_body_leaves_other_bodies_alone() {
    let vault = vault();
    let id = vault.fault(
        Fault::on("/v1/transit/", Action::CloseBefore)
            .body(|b| b.windows(11).any(|w| w == b"batch_input")),
    );
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    assert_eq!(client.status().await, Some(200));
    client
        .request(
            "POST",
            ENCRYPT,
            "{\"batch_input\":[{\"plaintext\":\"aGk=\"}]}",
        )
        .await;
    assert_eq!(client.status().await, Some(0));
    assert_eq!(vault.hits(id), 1);
}

#[tokio::test(start_paused = true)]
async fn holding_and_closing_differ_in_whether_the_model_acted() {
    for (action, answer, acted) in [
        (Action::Hold, None, false),
        (Action::HoldAfter, None, true),
        (Action::CloseBefore, Some(0), false),
        (Action::CloseAfter, Some(0), true),
        (Action::Raw("SSH-2.0-x\r\n".into()), Some(0), true),
    ] {
        let shown = format!("{action:?}");
        let vault = vault();
        vault.fault(Fault::on("/v1/transit/keys/k/rotate", action));
        let mut client = Client::new(&vault);
        client
            .request("POST", "/v1/transit/keys/k/rotate", "")
            .await;
        assert_eq!(client.status().await, answer, "{shown}");
        assert_eq!(
            vault.key_version("transit", "k"),
            Some(if acted { 2 } else { 1 }),
            "{shown}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_body_announces_its_whole_length() {
    let vault = vault();
    vault.fault(Fault::on(ENCRYPT, Action::CutBody(10)));
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    let (text, ended) = client.read(SECOND).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let length: usize = head
        .split("Content-Length: ")
        .nth(1)
        .and_then(|l| l.lines().next()?.parse().ok())
        .expect("a length");
    assert!(ended && body.len() == 10 && length > 100, "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_content_length_promises_what_never_comes() {
    let vault = vault();
    vault.fault(Fault::on(ENCRYPT, Action::WrongContentLength));
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    let (text, ended) = client.read(SECOND).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(
        ended && head.contains(&format!("Content-Length: {}", body.len() + 16)),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn garbage_keeps_status_and_headers() {
    let vault = vault();
    vault.fault(Fault::on(ENCRYPT, Action::Garbage("<html>".into())).times(1));
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    let (text, _) = client.read(SECOND).await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.ends_with("\r\n\r\n<html>"),
        "{text}"
    );
    client.request("POST", ENCRYPT, BODY).await;
    assert_eq!(client.status().await, Some(200), "the connection lives on");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_is_handled_at_the_end_of_the_delay() {
    let vault = vault();
    vault.fault(Fault::on(ENCRYPT, Action::Delay(Duration::from_secs(5))).times(1));
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    assert_eq!(client.read(Duration::from_secs(4)).await.0, "");
    vault.rotate("transit", "k");
    let (text, _) = client.read(Duration::from_secs(2)).await;
    assert!(text.contains("vault:v2:"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_runs_between_two_requests() {
    let vault = vault();
    let hook = Hook::new(|core| assert!(core.collide_rotation("transit", "k")));
    vault.fault(Fault::on(ENCRYPT, Action::Then(hook)).times(1));
    let mut client = Client::new(&vault);
    let mut versions = Vec::new();
    for _ in 0..2 {
        client.request("POST", ENCRYPT, BODY).await;
        versions.push(client.read(SECOND).await.0.contains("vault:v2:"));
    }
    assert_eq!(versions, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_names_the_place() {
    let vault = vault();
    vault.fault(Fault::on(
        ENCRYPT,
        Action::Redirect307("https://other:8200/x".to_owned()),
    ));
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    let (text, _) = client.read(SECOND).await;
    assert!(
        text.starts_with("HTTP/1.1 307") && text.contains("Location: https://other:8200/x"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn freezing_stalls_all_or_the_present_connections_until_the_thaw() {
    let vault = vault();
    let mut old = Client::new(&vault);
    old.request("POST", ENCRYPT, BODY).await;
    assert_eq!(old.status().await, Some(200));
    vault.freeze_existing();
    let mut new = Client::new(&vault);
    old.request("POST", ENCRYPT, BODY).await;
    new.request("POST", ENCRYPT, BODY).await;
    assert_eq!((old.status().await, new.status().await), (None, Some(200)));
    vault.freeze();
    new.request("POST", ENCRYPT, BODY).await;
    assert_eq!(new.status().await, None);
    vault.thaw();
    assert_eq!(
        (old.status().await, new.status().await),
        (Some(200), Some(200))
    );
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_the_limit_and_not_before() {
    let vault = vault();
    vault.close_idle_after(Some(Duration::from_secs(5)));
    let mut client = Client::new(&vault);
    client.request("POST", ENCRYPT, BODY).await;
    assert_eq!(client.status().await, Some(200));
    assert!(!client.read(Duration::from_secs(3)).await.1);
    assert!(client.read(Duration::from_secs(3)).await.1);
}

#[tokio::test(start_paused = true)]
async fn the_log_counts_batch_items_and_connections() {
    let vault = vault();
    let mut first = Client::new(&vault);
    first.request("POST", ENCRYPT, BODY).await;
    assert_eq!(first.status().await, Some(200));
    let mut second = Client::new(&vault);
    let batch = json!({ "batch_input": vec![json!({ "plaintext": "aGk=" }); 7] }).to_string();
    second.request("POST", ENCRYPT, &batch).await;
    assert_eq!(second.status().await, Some(200));
    let rows: Vec<_> = vault
        .log()
        .iter()
        .map(|l| (l.items, l.connection, l.authenticated))
        .collect();
    assert_eq!(rows, [(1, 1, true), (7, 2, true)]);
    assert_eq!(vault.count("/v1/transit/encrypt/"), 2);
    vault.clear_log();
    assert_eq!(vault.count(""), 0);
}
