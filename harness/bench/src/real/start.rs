//! From the start of the process to the first good Status, by method of authentication, with the cost of
//! one login beside it.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::token_fill;
use super::{Options, label};
use crate::progress;
use crate::server::{Identity, Server};
use crate::stats::median;
use crate::subject::{Auth, Fill, Plugin};

/// Starts of each kind, in turns.
const STARTS: usize = 15;
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
}

struct Kind {
    auth: Auth,
    name: &'static str,
    /// Path and body of the login.
    login: Option<(&'static str, Value)>,
    starts: Vec<f64>,
    logins: Vec<f64>,
    stops: Vec<f64>,
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
        starts: vec![],
        logins: vec![],
        stops: vec![],
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
    for _ in 0..STARTS {
        for kind in &mut kinds {
            let plugin = Plugin::start(
                &options.subject,
                kind.name,
                kind.auth,
                fill()?,
                server.dir.path(),
            )
            .await?;
            kind.starts.push(plugin.started_in.as_secs_f64() * 1e3);
            let begin = Instant::now();
            plugin.process.stop(STOP).await?;
            kind.stops.push(begin.elapsed().as_secs_f64() * 1e3);
            if let Some((path, body)) = &kind.login {
                let begin = Instant::now();
                server.post(path, body.clone()).await?;
                kind.logins.push(begin.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    Ok(kinds.into_iter().map(|kind| sum_up(&kind, tls)).collect())
}

fn sum_up(kind: &Kind, tls: bool) -> Start {
    let fastest = kind.starts.iter().copied().fold(f64::INFINITY, f64::min);
    let slowest = kind.starts.iter().copied().fold(0.0, f64::max);
    Start {
        auth: kind.name,
        tls,
        median_ms: median(&kind.starts).unwrap_or(f64::INFINITY),
        range_ms: (fastest, slowest),
        login_ms: median(&kind.logins).unwrap_or(0.0),
        stop_ms: median(&kind.stops).unwrap_or(f64::INFINITY),
    }
}
