//! The adapter for wiremock: the same answers, and faults as far as they can be shown.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use sim_vault::{Action, Fault, Options, SimVault};
use wiremock::MockServer;

async fn exchange(server: &MockServer, request: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "wiremock listens on a real socket"
    )]
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("it listens");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it answers");
    text
}

#[tokio::test]
async fn a_wiremock_server_answers_like_the_simulation() {
    let vault = SimVault::new(Options::default());
    vault.create_key("transit", "k", "");
    let server = MockServer::start().await;
    vault.mount_on(&server).await;
    let body = "{\"plaintext\":\"aGk=\"}";
    let request = format!(
        "POST /v1/transit/encrypt/k HTTP/1.1\r\nHost: v\r\nConnection: close\r\nX-Vault-Token: root\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let text = exchange(&server, &request).await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("vault:v1:"),
        "{text}"
    );
    vault.fault(Fault::on("", Action::CloseBefore).times(1));
    assert!(
        exchange(&server, &request)
            .await
            .starts_with("HTTP/1.1 501")
    );
    let denied = exchange(
        &server,
        "GET /v1/sys/mounts HTTP/1.1\r\nHost: v\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        denied.starts_with("HTTP/1.1 403") && denied.contains("permission denied"),
        "{denied}"
    );
}
