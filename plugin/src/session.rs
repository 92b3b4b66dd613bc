//! Requests that need a token: which token, and what to do when the server does not like it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::{Instant, sleep_until};

use crate::event::VaultOp;
use crate::fault::Fault;
use crate::seam::Env;
use crate::token::{Token, Tokens};
use crate::vault::{Answer, Call, Meaning, SharedClient};

/// A token younger than this may not have reached the node that refuses it.
const YOUNG: Duration = Duration::from_secs(2);
/// Pause before a young token is tried again.
const YOUNG_PAUSE: Duration = Duration::from_millis(100);
/// First pause before a lagging standby is asked again; it doubles.
const LAG_PAUSE: Duration = Duration::from_millis(25);

/// One operation that needs a token.
pub struct Operation<'a> {
    /// What it is.
    pub op: VaultOp,
    /// Our id of it, for the log.
    pub id: u64,
    /// Namespace of the mount.
    pub namespace: &'a str,
    /// Path below `/v1/`.
    pub path: &'a str,
    /// Body; empty for a read.
    pub body: Bytes,
    /// Items in it.
    pub items: usize,
}

impl Operation<'_> {
    fn capability(&self) -> &'static str {
        if self.op == VaultOp::ReadKey {
            "read"
        } else {
            "update"
        }
    }

    fn what(&self) -> &'static str {
        self.op.as_str()
    }
}

/// Client and tokens together.
pub struct Session {
    /// The Vault client.
    pub client: SharedClient,
    /// The token keeper.
    pub tokens: Tokens,
    env: Env,
}

impl Session {
    /// A session over `client`.
    pub fn new(client: SharedClient, tokens: Tokens, env: Env) -> Self {
        Self {
            client,
            tokens,
            env,
        }
    }

    /// Carries out one operation before `deadline()`, which may move while it runs.
    ///
    /// Answers are returned whose meaning only the operation knows: done, missing, refused.
    ///
    /// # Errors
    /// Every other meaning, as a fault.
    pub async fn call(
        &self,
        operation: &Operation<'_>,
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        let mut lag_pause = LAG_PAUSE;
        let (mut young_retried, mut logged_in) = (false, false);
        loop {
            let token = self.tokens.current(deadline).await?;
            let answer = self
                .client
                .call(&self.request(operation, &token, deadline))
                .await?;
            let status = answer.status;
            match answer.meaning() {
                Meaning::Done | Meaning::Missing | Meaning::Refused => {
                    self.tokens.accepted(&token);
                    return Ok(answer);
                }
                Meaning::TokenRefused { certain } => {
                    if !certain
                        && !young_retried
                        && token.age() < YOUNG
                        && fits(YOUNG_PAUSE, deadline)
                    {
                        young_retried = true;
                        self.pause(YOUNG_PAUSE).await;
                        continue;
                    }
                    self.tokens.refused(&token);
                    if logged_in {
                        return Err(Fault::TokenRefused {
                            path: operation.path.to_owned(),
                            namespace: named(operation.namespace),
                        });
                    }
                    logged_in = true;
                }
                Meaning::Denied => {
                    self.tokens.denied(&token);
                    return Err(Fault::Denied {
                        path: operation.path.to_owned(),
                        capability: operation.capability(),
                        namespace: operation.namespace.to_owned(),
                    });
                }
                Meaning::Lagging => {
                    if !fits(lag_pause, deadline) {
                        return Err(Fault::Lagging { status });
                    }
                    self.pause(lag_pause).await;
                    lag_pause *= 2;
                }
                Meaning::Quota => match answer.retry_after.filter(|d| !d.is_zero()) {
                    Some(pause) if fits(pause, deadline) => self.pause(pause).await,
                    retry_after => return Err(Fault::Quota { retry_after }),
                },
                Meaning::Sealed => return Err(Fault::Sealed { status }),
                Meaning::ServerState | Meaning::Unknown => {
                    return Err(Fault::Server {
                        what: operation.what(),
                        status,
                        text: answer.known_text().to_owned(),
                    });
                }
            }
        }
    }

    fn request<'a>(
        &self,
        operation: &'a Operation<'_>,
        token: &'a Token,
        deadline: Instant,
    ) -> Call<'a> {
        Call {
            op: operation.op,
            id: operation.id,
            method: if operation.body.is_empty() {
                Method::GET
            } else {
                Method::POST
            },
            namespace: operation.namespace,
            path: operation.path,
            body: operation.body.clone(),
            token: Some(&token.secret),
            deadline,
            items: operation.items,
        }
    }

    /// Half to all of `pause`, so that callers do not come back together.
    async fn pause(&self, pause: Duration) {
        let jitter = self.env.entropy.next_u64() % 50;
        sleep_until(Instant::now() + pause * (100 - jitter as u32) / 100).await;
    }
}

fn fits(pause: Duration, deadline: Instant) -> bool {
    Instant::now() + pause * 2 < deadline
}

fn named(namespace: &str) -> String {
    if namespace.is_empty() {
        "root".to_owned()
    } else {
        namespace.to_owned()
    }
}
