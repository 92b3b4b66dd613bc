//! The control port: faults and manipulations as a small JSON API on a loopback address of its own.
//!
//! | request | body | does |
//! | --- | --- | --- |
//! | `POST /faults` | `{"path", "method", "skip", "count", "action": {"status": 503, "body", "headers"}}` | installs a fault: `{"id"}` |
//! | `GET /faults/ID` | | `{"hits"}` |
//! | `DELETE /faults/ID`, `DELETE /faults` | | removes one or all |
//! | `POST /freeze`, `/freeze-existing`, `/thaw`, `/seal`, `/unseal` | | what the library does under these names |
//! | `POST /advance` | `{"seconds"}` | moves the server's clock |
//! | `POST /rotate`, `/delete-key` | `{"mount", "key"}` | |
//! | `POST /revoke` | `{"token"}` or `{"mount"}` | revokes one token or all of an auth mount |
//! | `POST /close-idle-after` | `{"seconds"}` | limit on idle connections; null for none |
//! | `POST /admin` | `{"method", "path", "namespace", "body"}` | a request with the root token: `{"status", "body"}` |
//! | `GET /log`, `DELETE /log` | | the request log |
//!
//! Actions: `{"status"}`, `{"delay_ms"}`, `"hold"`, `"hold_after"`, `"close_before"`, `"close_after"`, `{"cut_body"}`,
//! `{"garbage"}`, `{"raw"}`, `"wrong_content_length"`, `{"redirect"}`.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::{Action, Fault, FaultId, SimVault};

/// What is wrong with a request to the control port.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such path or method.
    #[error("no such operation: {0} {1}")]
    Unknown(String, String),
    /// The body does not fit.
    #[error("body: {0}")]
    Body(#[from] serde_json::Error),
    /// An id that is no number.
    #[error("fault id: {0:?} is not a number")]
    Id(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultBody {
    #[serde(default)]
    path: String,
    method: Option<String>,
    #[serde(default)]
    skip: u64,
    count: Option<u64>,
    action: ActionBody,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ActionBody {
    Name(Named),
    Status {
        status: u16,
        #[serde(default)]
        body: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    Delay {
        delay_ms: u64,
    },
    Cut {
        cut_body: usize,
    },
    Garbage {
        garbage: String,
    },
    Raw {
        raw: String,
    },
    Redirect {
        redirect: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    Hold,
    HoldAfter,
    CloseBefore,
    CloseAfter,
    WrongContentLength,
}

impl From<ActionBody> for Action {
    fn from(body: ActionBody) -> Self {
        match body {
            ActionBody::Name(Named::Hold) => Self::Hold,
            ActionBody::Name(Named::HoldAfter) => Self::HoldAfter,
            ActionBody::Name(Named::CloseBefore) => Self::CloseBefore,
            ActionBody::Name(Named::CloseAfter) => Self::CloseAfter,
            ActionBody::Name(Named::WrongContentLength) => Self::WrongContentLength,
            ActionBody::Status {
                status,
                body,
                headers,
            } => Self::Status {
                code: status,
                body: body.into(),
                headers,
            },
            ActionBody::Delay { delay_ms } => Self::Delay(Duration::from_millis(delay_ms)),
            ActionBody::Cut { cut_body } => Self::CutBody(cut_body),
            ActionBody::Garbage { garbage } => Self::Garbage(garbage.into()),
            ActionBody::Raw { raw } => Self::Raw(raw.into()),
            ActionBody::Redirect { redirect } => Self::Redirect307(redirect),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    mount: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    token: Option<String>,
    mount: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecondsBody {
    seconds: Option<f64>,
}

impl SecondsBody {
    fn duration(&self) -> Option<Duration> {
        self.seconds
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminBody {
    method: String,
    path: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    body: Value,
}

impl SimVault {
    /// Carries out one request of the control API.
    pub fn control(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, ControlError> {
        let id = |text: &str| {
            text.parse()
                .map(FaultId)
                .map_err(|_| ControlError::Id(text.to_owned()))
        };
        Ok(match (method, path) {
            ("POST", "/faults") => {
                let body: FaultBody = serde_json::from_slice(body)?;
                let fault = Fault {
                    method: body.method,
                    path_prefix: body.path,
                    body: None,
                    skip: body.skip,
                    count: body.count,
                    action: body.action.into(),
                };
                json!({ "id": self.fault(fault).0 })
            }
            ("GET", path) if path.starts_with("/faults/") => {
                json!({ "hits": self.hits(id(path.trim_start_matches("/faults/"))?) })
            }
            ("DELETE", "/faults") => {
                self.clear_faults();
                json!({})
            }
            ("DELETE", path) if path.starts_with("/faults/") => {
                self.clear(id(path.trim_start_matches("/faults/"))?);
                json!({})
            }
            ("POST", "/freeze") => self.did(Self::freeze),
            ("POST", "/freeze-existing") => self.did(Self::freeze_existing),
            ("POST", "/thaw") => self.did(Self::thaw),
            ("POST", "/seal") => self.did(Self::seal),
            ("POST", "/unseal") => self.did(Self::unseal),
            ("POST", "/advance") => {
                let body: SecondsBody = serde_json::from_slice(body)?;
                self.advance(body.duration().unwrap_or_default());
                json!({})
            }
            ("POST", "/close-idle-after") => {
                let body: SecondsBody = serde_json::from_slice(body)?;
                self.close_idle_after(body.duration());
                json!({})
            }
            ("POST", "/rotate") => {
                let body: KeyBody = serde_json::from_slice(body)?;
                json!({ "latest_version": self.rotate(&body.mount, &body.key) })
            }
            ("POST", "/delete-key") => {
                let body: KeyBody = serde_json::from_slice(body)?;
                json!({ "deleted": self.delete_key(&body.mount, &body.key) })
            }
            ("POST", "/revoke") => {
                let body: RevokeBody = serde_json::from_slice(body)?;
                let one = body.token.map_or(0, |t| usize::from(self.revoke_token(&t)));
                json!({ "revoked": one + body.mount.map_or(0, |m| self.revoke_all_tokens_of(&m)) })
            }
            ("POST", "/admin") => {
                let body: AdminBody = serde_json::from_slice(body)?;
                let (status, answer) =
                    self.admin_in(&body.namespace, &body.method, &body.path, &body.body);
                json!({ "status": status, "body": answer })
            }
            ("GET", "/log") => {
                let rows = self.log().into_iter().map(|l| {
                    json!({
                        "at_ms": u64::try_from(l.at.as_millis()).unwrap_or(u64::MAX),
                        "method": l.method,
                        "path": l.path,
                        "status": l.status,
                        "namespace": l.namespace,
                        "authenticated": l.authenticated,
                        "items": l.items,
                        "connection": l.connection,
                    })
                });
                Value::Array(rows.collect())
            }
            ("DELETE", "/log") => self.did(Self::clear_log),
            _ => return Err(ControlError::Unknown(method.to_owned(), path.to_owned())),
        })
    }

    fn did(&self, work: impl FnOnce(&Self)) -> Value {
        work(self);
        json!({})
    }

    /// Serves the control API until the future is dropped.
    pub async fn listen_control(&self, listener: TcpListener) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    let vault = self.clone();
                    tasks.spawn(async move {
                        let service = service_fn(move |request| {
                            let vault = vault.clone();
                            async move { vault.control_exchange(request).await }
                        });
                        // how the client ends a connection is its business
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    async fn control_exchange(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(|b| b.to_bytes())
            .unwrap_or_default();
        let (status, answer) = match self.control(head.method.as_str(), head.uri.path(), &body) {
            Ok(answer) => (200, answer),
            Err(e @ ControlError::Unknown(..)) => (404, json!({ "error": e.to_string() })),
            Err(e) => (400, json!({ "error": e.to_string() })),
        };
        let mut response = hyper::Response::new(Full::new(Bytes::from(answer.to_string() + "\n")));
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        response.headers_mut().insert(
            "content-type",
            hyper::header::HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}
