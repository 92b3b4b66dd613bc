//! From the start of the process to the first good Status, by method of authentication, with the cost of
//! one login beside it.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::world::token_fill;
use super::{Options, label};
use crate::proc::Foreign;
use crate::progress;
use crate::server::{Identity, Server};
use crate::stats::median;
use crate::subject::{Auth, Fill, Plugin};

/// Undisturbed starts of each kind that are wanted, in turns; at most twice as many are made.
const STARTS: usize = 15;
/// How long the machine is listened to before each turn. A start itself is too short to tell
/// the load of others from our own.
const LISTEN: Duration = Duration::from_millis(150);
const STOP: Duration = Duration::from_secs(6);
const PASSWORD: &str = "correct horse battery";

/// Starts of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// `token`, `approle` or `userpass`.
    pub auth: &'static str,
    /// TLS to the server.
    pub tls: bool,
    /// Median, milliseconds.
    pub median_ms: f64,
    /// Fastest and slowest.
    pub range_ms: (f64, f64),
    /// Median of one login over a connection that stands, milliseconds; zero for a token.
    pub login_ms: f64,
    /// SIGTERM to the end of the process: median, milliseconds.
    pub stop_ms: f64,
    /// Undisturbed turns; when there was none the figures are of all.
    pub quiet: usize,
    /// Turns that ran.
    pub ran: usize,
}

struct Kind {
    auth: Auth,
    name: &'static str,
    /// Path and body of the login.
    login: Option<(&'static str, Value)>,
    turns: Vec<Turn>,
}

/// One start of one kind, milliseconds.
struct Turn {
    start: f64,
    login: f64,
    stop: f64,
    quiet: bool,
}

/// All kinds that the subject knows, on one server, in turns.
pub(super) async fn measure(options: &Options, tls: bool) -> Result<Vec<Start>> {
    progress(format_args!(
        "{STARTS} starts of each kind over {}",
        label(tls)
    ));
    let server = Server::start(&options.bao, tls).await?;
    let token = server.token().await?;
    let (role_id, secret_id) = server
        .approle("start", Identity::Renewing, 3600, 7200)
        .await?;
    server.user("start", PASSWORD).await?;
    let fill = || -> Result<Fill> {
        let dir = server.dir.path();
        let fill = token_fill(&server, &token)?
            .with("{role_id}", &role_id)
            .with("{secret_id}", &secret_id);
        fill.with_file("{role_id_file}", dir, &role_id)?
            .with_file("{secret_id_file}", dir, &secret_id)?
            .with_file("{username_file}", dir, "start")?
            .with_file("{password_file}", dir, PASSWORD)
    };
    let kind = |auth, name, login| Kind {
        auth,
        name,
        login,
        turns: vec![],
    };
    let approle = (
        "auth/approle/login",
        json!({"role_id": role_id, "secret_id": secret_id}),
    );
    let userpass = ("auth/userpass/login/start", json!({"password": PASSWORD}));
    let mut kinds = vec![
        kind(Auth::Token, "token", None),
        kind(Auth::AppRole, "approle", Some(approle)),
        kind(Auth::Userpass, "userpass", Some(userpass)),
    ];
    kinds.retain(|kind| options.subject.knows(kind.auth));
    let mut quiet_turns = 0;
    for _ in 0..2 * STARTS {
        if quiet_turns == STARTS {
            break;
        }
        let foreign = Foreign::watch(&[server.process.id()])?;
        sleep(LISTEN).await;
        let quiet = foreign.cores()? <= options.max_foreign;
        quiet_turns += usize::from(quiet);
        for kind in &mut kinds {
            let turn = one(options, &server, kind, fill()?, quiet).await?;
            kind.turns.push(turn);
        }
    }
    Ok(kinds.iter().map(|kind| sum_up(kind, tls)).collect())
}

async fn one(
    options: &Options,
    server: &Server,
    kind: &Kind,
    fill: Fill,
    quiet: bool,
) -> Result<Turn> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let mut plugin = Plugin::start(
        &options.subject,
        kind.name,
        kind.auth,
        fill,
        server.dir.path(),
    )
    .await?;
    let start = ms(plugin.started_in);
    let begin = Instant::now();
    plugin.process.stop(Signal::SIGTERM, STOP).await?;
    let stop = ms(begin.elapsed());
    let mut login = 0.0;
    if let Some((path, body)) = &kind.login {
        let begin = Instant::now();
        server.post(path, body.clone()).await?;
        login = ms(begin.elapsed());
    }
    Ok(Turn {
        start,
        login,
        stop,
        quiet,
    })
}

fn sum_up(kind: &Kind, tls: bool) -> Start {
    let quiet = kind.turns.iter().filter(|turn| turn.quiet).count();
    let counted = || kind.turns.iter().filter(|turn| turn.quiet || quiet == 0);
    let of = |field: fn(&Turn) -> f64| {
        median(&counted().map(field).collect::<Vec<_>>()).unwrap_or(f64::INFINITY)
    };
    Start {
        auth: kind.name,
        tls,
        median_ms: of(|turn| turn.start),
        range_ms: (
            counted()
                .map(|turn| turn.start)
                .fold(f64::INFINITY, f64::min),
            counted().map(|turn| turn.start).fold(0.0, f64::max),
        ),
        login_ms: of(|turn| turn.login),
        stop_ms: of(|turn| turn.stop),
        quiet,
        ran: kind.turns.len(),
    }
}
