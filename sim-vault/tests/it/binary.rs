//! The process: what it prints, serves and refuses.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (Process, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sim-vault"))
        .args(["--listen", "127.0.0.1:0", "--root-token", "t"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("a line");
    (
        Process(child),
        serde_json::from_str(&line).expect("the line is JSON"),
    )
}

fn exchange(address: &Value, request: &str) -> String {
    let address = address
        .as_str()
        .and_then(|a| a.split("://").nth(1))
        .expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

#[test]
fn it_says_where_it_serves_and_ends_on_sigterm() {
    let (mut process, line) = start(&["--flavour", "vault"]);
    assert_eq!(line["root_token"], "t");
    let health = exchange(
        &line["address"],
        "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(
        health.starts_with("HTTP/1.1 200") && health.contains("\"enterprise\":false"),
        "{health}"
    );
    let log = exchange(
        &line["control"],
        "GET /log HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(log.contains("/v1/sys/health"), "{log}");
    Command::new("kill")
        .args(["-TERM", &process.0.id().to_string()])
        .status()
        .expect("kill runs");
    assert_eq!(process.0.wait().expect("it ends").code(), Some(0));
}

#[test]
fn with_tls_it_makes_an_authority_and_takes_it_away_again() {
    let (mut process, line) = start(&["--tls"]);
    let file = line["ca_file"].as_str().expect("a file").to_owned();
    assert!(
        std::fs::read_to_string(&file)
            .expect("it is there")
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert!(
        line["address"]
            .as_str()
            .is_some_and(|a| a.starts_with("https://"))
    );
    Command::new("kill")
        .args(["-TERM", &process.0.id().to_string()])
        .status()
        .expect("kill runs");
    process.0.wait().expect("it ends");
    assert!(!std::path::Path::new(&file).exists());
}

#[test]
fn a_bad_init_file_is_named_and_ends_it_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("init.toml");
    std::fs::write(&path, "[policies]\nkms = 'path {'\n").expect("it can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_sim-vault"))
        .args(["--listen", "127.0.0.1:0", "--init-file"])
        .arg(&path)
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text.contains("init.toml") && text.contains("policies.kms"),
        "{text}"
    );
}

#[test]
fn plain_http_to_the_tls_port_is_told_so_in_gos_words() {
    for flavour in ["openbao", "vault"] {
        let (_process, line) = start(&["--tls", "--flavour", flavour]);
        for (request, answer) in [
            (
                "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n",
                "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            ),
            // what Go does not take for HTTP is closed without a word
            ("DELETE /v1/x HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        ] {
            let address = line["address"].as_str().expect("an address");
            let address = address.trim_start_matches("https://");
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut text = Vec::new();
            // the rest of the request may turn the end into a reset
            let _ = stream.read_to_end(&mut text);
            assert_eq!(
                String::from_utf8_lossy(&text),
                answer,
                "{flavour} {request}"
            );
        }
    }
}

#[test]
fn a_reset_reaches_the_client_as_one() {
    let (_process, line) = start(&[]);
    let fault = "{\"path\":\"/v1/sys/health\",\"action\":\"reset\"}";
    let request = format!(
        "POST /faults HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{fault}",
        fault.len()
    );
    let installed = exchange(&line["control"], &request);
    assert!(installed.contains("\"id\""), "{installed}");
    let address = line["address"].as_str().expect("an address");
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).expect("it listens");
    let request = b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).expect("it reads");
    let end = stream.read(&mut [0; 16]).map_err(|e| e.kind());
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
}
