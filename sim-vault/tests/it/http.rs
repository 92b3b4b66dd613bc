//! What was recorded of the transport beyond single requests.

use std::time::Duration;

use crate::wire::{Client, vault};

const HEALTH: &[u8] = b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let vault = vault();
    let mut client = Client::new(&vault);
    client
        .send(&[HEALTH, b"GET /v1/nope HTTP/1.1\r\nHost: x\r\n\r\n", HEALTH].concat())
        .await;
    let (text, ended) = client.read(Duration::from_secs(1)).await;
    let statuses: Vec<&str> = text
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|p| p.get(..3))
        .collect();
    assert_eq!((statuses, ended), (vec!["200", "403", "200"], false));
}

#[tokio::test(start_paused = true)]
async fn unfinished_headers_are_cut_after_ten_seconds() {
    let vault = vault();
    let mut silent = Client::new(&vault);
    assert_eq!(
        silent.read(Duration::from_secs(9)).await,
        (String::new(), false)
    );
    assert_eq!(
        silent.read(Duration::from_secs(2)).await,
        (String::new(), true)
    );
    let mut half = Client::new(&vault);
    half.send(b"GET /v1/sys/he").await;
    let (text, ended) = half.read(Duration::from_secs(11)).await;
    assert!(
        ended && text.starts_with("HTTP/1.1 400 Bad Request") && text.ends_with("400 Bad Request"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_body_is_an_error_after_thirty_seconds() {
    let vault = vault();
    let mut client = Client::new(&vault);
    client
        .send(b"POST /v1/transit/encrypt/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{")
        .await;
    assert_eq!(client.read(Duration::from_secs(29)).await.0, "");
    let (text, ended) = client.read(Duration::from_secs(2)).await;
    assert!(
        ended && text.starts_with("HTTP/1.1 500") && text.contains("i/o timeout"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn old_clients_and_closing_clients_are_served_their_way() {
    let vault = vault();
    for (request, version, end, header) in [
        (
            "GET /v1/sys/health HTTP/1.0\r\n\r\n",
            "HTTP/1.0 200",
            true,
            "",
        ),
        (
            "GET /v1/sys/health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "HTTP/1.0 200",
            false,
            "Connection: keep-alive",
        ),
        (
            "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200",
            true,
            "Connection: close",
        ),
    ] {
        let mut client = Client::new(&vault);
        client.send(request.as_bytes()).await;
        let (text, ended) = client.read(Duration::from_secs(1)).await;
        assert!(
            text.starts_with(version) && text.contains(header) && ended == end,
            "{request}: {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunked_body_is_read_and_expect_is_answered() {
    let vault = vault();
    let mut client = Client::new(&vault);
    client
        .send(b"POST /v1/transit/encrypt/k HTTP/1.1\r\nHost: x\r\nX-Vault-Token: root\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(
        client.read(Duration::from_secs(1)).await.0,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client
        .send(b"8\r\n{\"plaint\r\nc\r\next\":\"aGk=\"}\r\n0\r\n\r\n")
        .await;
    let (text, _) = client.read(Duration::from_secs(1)).await;
    assert!(text.contains("vault:v1:"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn http2_without_tls_is_not_understood() {
    let vault = vault();
    let mut client = Client::new(&vault);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.status().await, Some(404));
}
