//! The token: who holds it, who renews it, who waits for it.
//!
//! One keeper task makes every login and renewal, so there is never more than one under way;
//! requests take the token that is current, and report what the server said of it.

pub mod login;
pub mod plan;

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::config::{Auth, Secret};
use crate::event::{Event, VaultOp};
use crate::fault::Fault;
use crate::seam::Env;
use crate::vault::{Answer, Call, Meaning, SharedClient};
use login::{Credentials, Fingerprint};
use plan::{Action, Grant, LoginFailure, Plan};

/// Limit of one login or renewal.
const LIMIT: Duration = Duration::from_secs(10);
/// Limit of the revocation at a clean stop.
const REVOKE_LIMIT: Duration = Duration::from_millis(500);

/// A token in use.
pub struct Token {
    generation: u64,
    /// The value.
    pub secret: Secret,
    acquired: Instant,
}

impl Token {
    /// Since the login that gave it.
    pub fn age(&self) -> Duration {
        self.acquired.elapsed()
    }
}

/// The tokens of one plugin.
pub struct Tokens {
    auth: Auth,
    namespace: String,
    client: SharedClient,
    env: Env,
    state: Mutex<State>,
    /// A login ended: waiting requests can go on.
    changed: Notify,
    /// The plan changed under the keeper.
    wake: Notify,
}

#[derive(Default)]
struct State {
    plan: Plan,
    token: Option<Arc<Token>>,
    /// What the last login found, whatever came of it.
    tried: Option<Tried>,
    /// The secret id that a wrapping token gave, with the reading that it belongs to.
    unwrapped: Option<(Fingerprint, Secret)>,
    /// Text of the last failure.
    failure: String,
    /// A login is being made.
    logging_in: bool,
}

/// What a login found in its credential files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// Nothing that can be used.
    Unreadable,
    /// These.
    Credentials(Fingerprint),
}

impl Tokens {
    /// Nothing is contacted before [`Tokens::keep`] runs.
    pub fn new(auth: Auth, namespace: String, client: SharedClient, env: Env) -> Self {
        Self {
            auth,
            namespace,
            client,
            env,
            state: Mutex::default(),
            changed: Notify::new(),
            wake: Notify::new(),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().expect("no panic while locked"))
    }

    fn jitter(&self) -> u64 {
        self.env.entropy.next_u64()
    }

    /// The token in use, or the one that a login under way gives before `deadline`.
    ///
    /// # Errors
    /// At once when logins are held back, with the reason.
    pub async fn current(&self, deadline: Instant) -> Result<Arc<Token>, Fault> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let state = self.with(|s| {
                if s.plan.usable(now).is_some()
                    && let Some(token) = &s.token
                {
                    return Ok(Some(token.clone()));
                }
                match s.plan.held_back(now) {
                    Some((_, why)) if !s.logging_in => Err(Fault::NoToken {
                        why: s.failure.clone(),
                        definite: why != LoginFailure::Unreachable,
                    }),
                    _ => Ok(None),
                }
            })?;
            if let Some(token) = state {
                return Ok(token);
            }
            if timeout_at(deadline, changed).await.is_err() {
                return Err(Fault::NoToken {
                    why: "the login is still under way".to_owned(),
                    definite: false,
                });
            }
        }
    }

    /// The server does not accept `token`: one login at once, if that helps.
    pub fn refused(&self, token: &Token) {
        let jitter = self.jitter();
        self.with(|s| {
            s.plan.on_refused(token.generation, jitter);
            if s.token
                .as_ref()
                .is_some_and(|t| t.generation == token.generation)
            {
                s.token = None;
                s.failure = "vault refused the token".to_owned();
            }
        });
        self.wake.notify_one();
    }

    /// The server accepted `token`.
    pub fn accepted(&self, token: &Token) {
        self.with(|s| s.plan.on_accepted(token.generation));
    }

    /// The server accepted `token`, but a policy denies a path.
    pub fn denied(&self, token: &Token) {
        let jitter = self.jitter();
        self.with(|s| s.plan.on_denied(Instant::now(), token.generation, jitter));
        self.wake.notify_one();
    }

    /// A whole probe was good.
    pub fn all_good(&self) {
        self.with(|s| s.plan.on_all_good());
    }

    /// Whether there is no token because a dead server refused the login.
    pub fn waits_for_server(&self) -> bool {
        let now = Instant::now();
        self.with(|s| {
            s.plan.usable(now).is_none()
                && matches!(s.plan.held_back(now), Some((_, LoginFailure::Unreachable)))
        })
    }

    /// The server serves again: the pause after its refusal ends.
    pub fn server_is_back(&self) {
        self.with(|s| s.plan.on_server_back());
        self.wake.notify_one();
    }

    /// Looks at the credential files; a change ends every pause, and a changed static token is
    /// taken up. What was there and comes back has changed, too: nothing could be tried meanwhile.
    /// Returns whether there is something new.
    pub fn look_at_credentials(&self) -> bool {
        let new = self.are_credentials_new();
        if new {
            self.with(|s| s.plan.on_credential_changed());
            self.try_again();
        }
        new
    }

    /// Tries the credentials at once (SIGHUP), new or not.
    pub fn reload(&self) {
        let new = self.are_credentials_new();
        self.with(|s| {
            if new {
                s.plan.on_credential_changed();
            } else {
                s.plan.on_asked();
            }
        });
        self.try_again();
    }

    /// Whether the files hold what no login has tried yet. What was tried already, after a reload,
    /// is not new for having been read again.
    fn are_credentials_new(&self) -> bool {
        let Ok(read) = login::read(&self.auth, &*self.env.secrets) else {
            return false;
        };
        let found = Tried::Credentials(read.fingerprint());
        self.with(|s| s.tried.is_some_and(|tried| tried != found))
    }

    /// A static token is read again; a login that is due is made.
    fn try_again(&self) {
        let is_static = matches!(self.auth, Auth::Token { .. });
        self.with(|s| {
            if let (true, Some(token)) = (is_static, &s.token) {
                let (now, generation) = (Instant::now(), token.generation);
                s.plan.on_denied(now, generation, 0);
            }
        });
        self.wake.notify_one();
    }

    /// Logs in, renews and waits, for ever. The owner drops it at the end.
    pub async fn keep(&self) {
        loop {
            match self.with(|s| s.plan.next(Instant::now())) {
                Action::Login => {
                    self.with(|s| s.logging_in = true);
                    let result = self.login().await;
                    self.with(|s| s.logging_in = false);
                    self.after_login(result);
                    self.changed.notify_waiters();
                }
                Action::Renew => self.renew().await,
                Action::Wait(until) => self.wait(until).await,
            }
        }
    }

    async fn wait(&self, until: Option<Instant>) {
        let wake = self.wake.notified();
        match until {
            // Either end of the wait is a reason to ask the plan again.
            Some(at) => drop(timeout_at(at, wake).await),
            None => wake.await,
        }
    }

    fn after_login(&self, result: Result<(Secret, Grant), (LoginFailure, String)>) {
        let (now, jitter) = (Instant::now(), self.jitter());
        match result {
            Ok((secret, grant)) => {
                let expires = self.with(|s| {
                    let generation = s.plan.on_login(now, grant, jitter);
                    s.token = Some(Arc::new(Token {
                        generation,
                        secret,
                        acquired: now,
                    }));
                    s.plan.expires()
                });
                self.env.observer.event(&Event::Login {
                    ok: true,
                    ttl: grant.ttl,
                    detail: "",
                });
                self.tell_expiry(expires);
            }
            Err((why, text)) => {
                self.with(|s| {
                    s.plan.on_login_failed(now, why, jitter);
                    s.failure.clone_from(&text);
                });
                self.env.observer.event(&Event::Login {
                    ok: false,
                    ttl: Duration::ZERO,
                    detail: &text,
                });
            }
        }
    }

    fn tell_expiry(&self, expires: Option<Instant>) {
        let unix = expires.map_or(0, |at| {
            let wall = self.env.wall.now() + at.saturating_duration_since(Instant::now());
            wall.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
        });
        self.env.observer.event(&Event::TokenExpiry { unix });
    }

    fn auth_call<'a>(
        &'a self,
        op: VaultOp,
        path: &'a str,
        body: Bytes,
        token: Option<&'a Secret>,
    ) -> Call<'a> {
        Call {
            op,
            id: self.env.entropy.next_u64(),
            method: if op == VaultOp::Lookup {
                Method::GET
            } else {
                Method::POST
            },
            namespace: &self.namespace,
            path,
            body,
            token,
            deadline: Instant::now() + LIMIT,
            items: 1,
        }
    }

    async fn login(&self) -> Result<(Secret, Grant), (LoginFailure, String)> {
        let read = login::read(&self.auth, &*self.env.secrets);
        let found = read.as_ref().map_or(Tried::Unreadable, |credentials| {
            Tried::Credentials(credentials.fingerprint())
        });
        // Noted before anything comes of it: these are the ones that have been tried.
        let refused_before = self.with(|s| {
            let before = s.tried.replace(found);
            s.token.is_none() && before == Some(found)
        });
        match read.map_err(|e| (LoginFailure::Refused, e))? {
            Credentials::Token(token) => self.take_static(token, refused_before).await,
            Credentials::Login { path, body, .. } => self.post_login(&path, body).await,
            Credentials::Wrapped {
                path,
                role_id,
                token,
                fingerprint,
            } => {
                let secret_id = self.unwrapped(&token, fingerprint).await?;
                let body = login::approle_body(&role_id, &secret_id);
                self.post_login(&path, body).await
            }
        }
    }

    async fn post_login(
        &self,
        path: &str,
        body: Bytes,
    ) -> Result<(Secret, Grant), (LoginFailure, String)> {
        let call = self.auth_call(VaultOp::Login, path, body, None);
        let answer = self
            .client
            .call(&call)
            .await
            .map_err(|e| (LoginFailure::Unreachable, format!("login failed: {e}")))?;
        self.login_answer(path, &answer)
    }

    /// The secret id that `token` wraps. It is had once, so it is kept as long as the file stays.
    async fn unwrapped(
        &self,
        token: &Secret,
        fingerprint: Fingerprint,
    ) -> Result<Secret, (LoginFailure, String)> {
        let kept = self.with(|s| match &s.unwrapped {
            Some((of, secret_id)) if *of == fingerprint => Some(secret_id.clone()),
            _ => None,
        });
        if let Some(secret_id) = kept {
            return Ok(secret_id);
        }
        let path = "sys/wrapping/unwrap";
        let call = self.auth_call(VaultOp::Unwrap, path, Bytes::new(), Some(token));
        let answer = self
            .client
            .call(&call)
            .await
            .map_err(|e| (LoginFailure::Unreachable, format!("unwrapping failed: {e}")))?;
        let refused = |text: &str| Err((LoginFailure::Refused, text.to_owned()));
        match answer.meaning() {
            Meaning::Done => match login::parse_unwrapped(&answer.body.0) {
                Some(secret_id) => {
                    self.with(|s| s.unwrapped = Some((fingerprint, secret_id.clone())));
                    Ok(secret_id)
                }
                None => refused("the wrapping token held no secret id; wrap one"),
            },
            Meaning::Refused | Meaning::TokenRefused { .. } | Meaning::Denied => refused(
                "the wrapping token was used already or has expired; if no start of this plugin \
                 used it, somebody else has the secret id: destroy it; then wrap a new one",
            ),
            _ => Err((
                LoginFailure::Unreachable,
                format!("vault cannot unwrap now (HTTP {})", answer.status),
            )),
        }
    }

    fn login_answer(
        &self,
        path: &str,
        answer: &Answer,
    ) -> Result<(Secret, Grant), (LoginFailure, String)> {
        let namespace = if self.namespace.is_empty() {
            "the root namespace"
        } else {
            &self.namespace
        };
        // The server's text may quote what it was sent, so it is never passed on.
        let refused = |failure, what: &str| {
            Err((
                failure,
                format!(
                    "login at {path} in {namespace} refused (HTTP {}): {what}",
                    answer.status
                ),
            ))
        };
        match answer.meaning() {
            Meaning::Done => match login::parse_login(&answer.body.0) {
                Some(granted) => {
                    self.client.remember_index(answer);
                    Ok(granted)
                }
                None => refused(LoginFailure::Unreachable, "the answer holds no token"),
            },
            Meaning::Refused => refused(
                if self.auth.locks() {
                    LoginFailure::Rejected
                } else {
                    LoginFailure::Refused
                },
                "the credential is rejected; put a valid one in its place",
            ),
            Meaning::TokenRefused { .. } | Meaning::Denied => refused(
                LoginFailure::Refused,
                "locked out, no such auth mount, or not from this address; check -auth-mount, the namespace and bound CIDRs",
            ),
            Meaning::Missing => refused(LoginFailure::Refused, "no such namespace or auth mount"),
            Meaning::Sealed => refused(LoginFailure::Unreachable, "vault is sealed"),
            _ => refused(LoginFailure::Unreachable, "vault cannot serve logins now"),
        }
    }

    /// A static token is looked up once, if it may; without that right it is used as it is.
    async fn take_static(
        &self,
        token: Secret,
        refused_before: bool,
    ) -> Result<(Secret, Grant), (LoginFailure, String)> {
        let answer = self
            .client
            .call(&self.auth_call(
                VaultOp::Lookup,
                "auth/token/lookup-self",
                Bytes::new(),
                Some(&token),
            ))
            .await
            .map_err(|e| {
                (
                    LoginFailure::Unreachable,
                    format!("token not looked up: {e}"),
                )
            })?;
        let unknown = Grant {
            ttl: Duration::ZERO,
            renewable: false,
        };
        match answer.meaning() {
            Meaning::Done => Ok((
                token,
                login::parse_lookup(&answer.body.0).unwrap_or(unknown),
            )),
            Meaning::Denied | Meaning::Missing | Meaning::Refused => Ok((token, unknown)),
            Meaning::TokenRefused { .. } => {
                let unchanged = if refused_before {
                    "token rejected, unchanged since"
                } else {
                    "token rejected"
                };
                Err((
                    LoginFailure::Refused,
                    format!("{unchanged}; put a live token in its place"),
                ))
            }
            _ => Err((
                LoginFailure::Unreachable,
                format!("vault cannot look up the token (HTTP {})", answer.status),
            )),
        }
    }

    async fn renew(&self) {
        let Some(token) = self.with(|s| s.token.clone()) else {
            return;
        };
        let call = self.auth_call(
            VaultOp::Renew,
            "auth/token/renew-self",
            Bytes::new(),
            Some(&token.secret),
        );
        let result = self.client.call(&call).await;
        let (now, jitter) = (Instant::now(), self.jitter());
        let detail = match result {
            Err(fault) => {
                self.with(|s| s.plan.on_renewal_failed(now, jitter));
                fault.to_string()
            }
            Ok(answer) => match answer.meaning() {
                Meaning::Done => match login::parse_renewal(&answer.body.0) {
                    Some(ttl) => {
                        let expires = self.with(|s| {
                            s.plan.on_renewed(now, ttl, jitter);
                            s.plan.expires()
                        });
                        self.env.observer.event(&Event::Renewal {
                            ok: true,
                            ttl,
                            detail: "",
                        });
                        self.tell_expiry(expires);
                        return;
                    }
                    // 204: the user or role behind it is gone.
                    None => self.renewal_refused(now, jitter, answer.status),
                },
                Meaning::TokenRefused { .. } => {
                    self.refused(&token);
                    "the token is dead".to_owned()
                }
                Meaning::Denied | Meaning::Refused | Meaning::Missing => {
                    self.renewal_refused(now, jitter, answer.status)
                }
                Meaning::ServerState if is_refusal(&answer.error_text()) => {
                    self.renewal_refused(now, jitter, answer.status)
                }
                _ => {
                    self.with(|s| s.plan.on_renewal_failed(now, jitter));
                    format!("HTTP {}", answer.status)
                }
            },
        };
        self.env.observer.event(&Event::Renewal {
            ok: false,
            ttl: Duration::ZERO,
            detail: &detail,
        });
    }

    fn renewal_refused(&self, now: Instant, jitter: u64, status: u16) -> String {
        // Once: from now on the plan asks for logins alone.
        self.with(|s| s.plan.on_renewal_refused(now, jitter));
        let text = "the token may not renew itself (the policy grants no auth/token/renew-self); \
                    a new login is made before each expiry";
        self.env.observer.event(&Event::Notice { warn: true, text });
        format!("renewal refused (HTTP {status}); a login follows before expiry")
    }

    /// Best effort at a clean stop: a token of an own login is revoked, a static one never.
    pub async fn revoke(&self) {
        if matches!(self.auth, Auth::Token { .. }) {
            return;
        }
        let Some(token) = self.with(|s| s.token.take()) else {
            return;
        };
        let mut call = self.auth_call(
            VaultOp::Revoke,
            "auth/token/revoke-self",
            Bytes::new(),
            Some(&token.secret),
        );
        call.deadline = Instant::now() + REVOKE_LIMIT;
        if let Ok(answer) = self.client.call(&call).await
            && answer.meaning() != Meaning::Done
        {
            let text = "the token could not revoke itself at the stop; it ends with its lease";
            self.env
                .observer
                .event(&Event::Notice { warn: false, text });
        }
    }
}

/// A 500 that no retry mends: the lease is at its end, or what it came from has changed.
fn is_refusal(text: &str) -> bool {
    text.contains("past the max TTL") || text.contains("failed to renew entry")
}
