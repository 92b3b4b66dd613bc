//! A live dev server and a simulated one, side by side.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use sim_vault::{Flavour, Options, SimVault};
use tokio::net::{TcpListener, TcpStream};

use crate::{Vars, calls::Call, client, norm::Norm};

/// What a server said, made comparable; and what later calls may refer to.
struct Said {
    shape: Value,
    body: Value,
}

/// The two servers.
pub struct Pair {
    process: Child,
    port: u16,
    sim: SimVault,
    /// Sequences so far: each has names of its own.
    round: u64,
}

impl Drop for Pair {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pair {
    /// Starts the live server in dev mode on a free port.
    #[expect(
        clippy::disallowed_methods,
        reason = "a live server runs on the real clock"
    )]
    pub async fn start(binary: &Path, flavour: Flavour) -> Result<Self, Failed> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let process = Command::new(binary)
            .args([
                "server",
                "-dev",
                "-dev-root-token-id=root",
                "-dev-no-store-token",
            ])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let sim = SimVault::new(Options {
            flavour,
            start_unix: now.as_secs(),
            ..Options::default()
        });
        sim.advance(Duration::from_nanos(u64::from(now.subsec_nanos())));
        let pair = Self {
            process,
            port,
            sim,
            round: 0,
        };
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let ready = Call::new("GET", "auth/token/lookup-self", Value::Null);
            if pair
                .live(&ready, "root", &ready.path, None)
                .await
                .is_ok_and(|s| s.shape["status"] == 200)
            {
                return Ok(pair);
            }
        }
        Err("the live server did not come up within 10 s".into())
    }

    async fn live(
        &self,
        call: &Call,
        token: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Said, Failed> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a live server listens on a real socket"
        )]
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        say(stream, call, token, path, body).await
    }

    async fn simulated(
        &self,
        call: &Call,
        token: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<Said, Failed> {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let sim = self.sim.clone();
        let served =
            tokio::spawn(
                async move { sim.serve_io(server, IpAddr::V4(Ipv4Addr::LOCALHOST)).await },
            );
        let said = say(stream, call, token, path, body).await;
        served.abort();
        said
    }

    /// Makes the calls on both; the first difference, if any.
    pub async fn run(&mut self, calls: &[Call]) -> Result<Option<(usize, String)>, Failed> {
        self.round += 1;
        let mut memory = [Memory::default(), Memory::default()];
        let mut found = None;
        for (n, call) in calls.iter().enumerate() {
            let round = self.round.to_string();
            let filled = memory.each_ref().map(|m| {
                let fill = |t: &str| m.fill(&t.replace("%", &round));
                let body = (!call.body.is_null()).then(|| match &call.body {
                    // malformed bodies are texts
                    Value::String(raw) => raw.clone(),
                    body => fill(&body.to_string()),
                });
                (fill(&call.token), fill(&call.path), body)
            });
            let [(t0, p0, b0), (t1, p1, b1)] = filled;
            let said = [
                self.live(call, &t0, &p0, b0).await?,
                self.simulated(call, &t1, &p1, b1).await?,
            ];
            for (m, s) in memory.iter_mut().zip(&said) {
                m.keep(&s.body);
            }
            if !alike(&said[0].shape, &said[1].shape) {
                found = Some((
                    n,
                    format!(
                        "live      {}\n   simulated {}",
                        said[0].shape, said[1].shape
                    ),
                ));
                break;
            }
        }
        for path in [
            "sys/mounts/m%",
            "sys/auth/u%",
            "sys/auth/a%",
            "sys/policies/acl/p%",
        ] {
            let call = Call::new(
                "DELETE",
                &path.replace('%', &self.round.to_string()),
                Value::Null,
            );
            self.live(&call, "root", &call.path, None).await?;
            self.simulated(&call, "root", &call.path, None).await?;
        }
        Ok(found)
    }

    /// Drops calls as long as the rest still shows a difference.
    pub async fn shrink(&mut self, mut calls: Vec<Call>) -> Result<String, Failed> {
        let mut last = String::new();
        let mut at = 0;
        if let Some((n, difference)) = self.run(&calls).await? {
            calls.truncate(n + 1);
            last = difference;
        }
        while at + 1 < calls.len() {
            let mut fewer = calls.clone();
            fewer.remove(at);
            match self.run(&fewer).await? {
                Some((n, difference)) => {
                    fewer.truncate(n + 1);
                    calls = fewer;
                    last = difference;
                }
                None => at += 1,
            }
        }
        let mut out = String::new();
        for call in &calls {
            writeln!(
                out,
                "   {} {} {} [{}]",
                call.method, call.path, call.body, call.token
            )?;
        }
        Ok(out + "   " + &last)
    }
}

/// What one server has given out: ciphertexts, tokens, ids.
#[derive(Default)]
struct Memory {
    ciphertexts: Vec<String>,
    tokens: Vec<String>,
    role_id: String,
    secret_id: String,
}

impl Memory {
    fn keep(&mut self, body: &Value) {
        let text = |p: &str| body.pointer(p).and_then(Value::as_str).map(str::to_owned);
        self.ciphertexts.extend(text("/data/ciphertext"));
        self.tokens.extend(text("/auth/client_token"));
        if let Some(id) = text("/data/role_id") {
            self.role_id = id;
        }
        if let Some(id) = text("/data/secret_id") {
            self.secret_id = id;
        }
    }

    /// `$c1`: the latest ciphertext, `$c2` the one before; `$t1` likewise; `$r`, `$s` the ids.
    fn fill(&self, text: &str) -> String {
        let mut out = text
            .replace("$r", &self.role_id)
            .replace("$s", &self.secret_id);
        for (sign, list) in [("$c", &self.ciphertexts), ("$t", &self.tokens)] {
            for n in 1..4usize {
                let value = list
                    .len()
                    .checked_sub(n)
                    .and_then(|i| list.get(i))
                    .map_or("none", String::as_str);
                out = out.replace(&format!("{sign}{n}"), value);
            }
        }
        out
    }
}

async fn say<IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: IO,
    call: &Call,
    token: &str,
    path: &str,
    body: Option<String>,
) -> Result<Said, Failed> {
    let mut headers = vec![("Connection".to_owned(), "close".to_owned())];
    if !token.is_empty() {
        headers.push(("X-Vault-Token".to_owned(), token.to_owned()));
    }
    let path = format!("/v1/{path}");
    let sent = client::exchange(
        stream,
        &call.method,
        &path,
        &headers,
        body.as_deref().map(str::as_bytes),
    );
    let answer = match tokio::time::timeout(Duration::from_secs(30), sent).await? {
        Ok(answer) => answer,
        Err(error) => {
            return Ok(Said {
                shape: json!({ "transport_error": error }),
                body: Value::Null,
            });
        }
    };
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let vars = Vars::new();
    let norm = Norm::new(&vars, &path, true);
    let shape = json!({
        "status": answer.status,
        "headers": norm.headers(&answer.headers),
        "body": norm.walk(&body, "", ""),
        "line_end": answer.body.ends_with(b"\n"),
    });
    Ok(Said { shape, body })
}

/// Equal but for times, which may lie a few seconds apart.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| alike(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(v, w)| alike(v, w))
        }
        (Value::String(a), Value::String(b)) => {
            let near = |t: &str| {
                t.strip_prefix("<approx:")?
                    .strip_suffix('>')?
                    .parse::<i64>()
                    .ok()
            };
            // which of several bad fields is named is up to the order of a Go map
            let field = |t: &str| t.contains("error converting input for field");
            a == b
                || field(a) && field(b)
                || matches!((near(a), near(b)), (Some(a), Some(b)) if (a - b).abs() <= 5)
        }
        _ => a == b,
    }
}
