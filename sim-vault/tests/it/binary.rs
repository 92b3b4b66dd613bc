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
