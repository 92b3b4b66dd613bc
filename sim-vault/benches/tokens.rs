//! Whether tokens that come and go leave memory behind: a million of them, a minute to live each, ten thousand a minute, from
//! logins and from other tokens, each with something in its cubbyhole. Fails if the process has grown since the first tenth.
//! Without `--bench`, as `cargo test --benches` runs it, there are a hundredth as many.

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};
use sim_vault::{Core, Options, Request};

const MINUTES: u64 = 100;
/// More than this is growth and not an allocator's mood: a fifth, and as much as a small process varies.
const ALLOWED: fn(u64) -> u64 = |kib| kib + kib / 5 + 4_096;

/// Resident memory of this process in KiB; `None` where the system does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ask(core: &mut Core, minute: u64, request: &Request) -> Value {
    let answer = core.handle(Duration::from_secs(minute * 60), request);
    assert!(answer.status < 300, "{}", answer.status);
    answer.json()
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement of this machine, and its result"
)]
fn main() -> ExitCode {
    let full = std::env::args().any(|a| a == "--bench");
    let a_minute: u64 = if full { 10_000 } else { 100 };
    let mut core = Core::new(Options::default());
    let post = |path: &str, body: &Value| Request::new("POST", path).json(body);
    for (path, body) in [
        ("/v1/sys/auth/userpass", json!({ "type": "userpass" })),
        (
            "/v1/auth/userpass/users/u",
            json!({ "password": "pw", "token_ttl": "60s" }),
        ),
    ] {
        ask(&mut core, 0, &post(path, &body).token("root"));
    }
    let made = [
        post("/v1/auth/userpass/login/u", &json!({ "password": "pw" })),
        post(
            "/v1/auth/token/create",
            &json!({ "ttl": "60s", "policies": ["default"] }),
        )
        .token("root"),
    ];
    let begun = std::time::Instant::now();
    let mut early = None;
    for minute in 0..MINUTES {
        for n in 0..a_minute {
            let answer = ask(&mut core, minute, &made[usize::from(n % 2 == 0)]);
            let token = answer["auth"]["client_token"].as_str().unwrap_or_default();
            let kept = Request::new("PUT", "/v1/cubbyhole/x")
                .token(token)
                .json(&json!({ "v": "kept until the token ends" }));
            ask(&mut core, minute, &kept);
        }
        if minute == MINUTES / 10 {
            early = resident();
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let (early, late) = (early.unwrap_or_default(), resident().unwrap_or_default());
    let tokens = MINUTES * a_minute;
    println!(
        "{tokens} tokens in {took:.1} s; resident {early} KiB after {} of them, {late} KiB at the end",
        tokens / 10
    );
    if late > ALLOWED(early) {
        println!("memory grows with tokens that are gone");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
