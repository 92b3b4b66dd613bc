//! Faults on requests: which ones, how many, and what happens to them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{Core, Request};

/// Names an installed fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub u64);

/// Something to do to the model between two requests.
pub struct Hook(Box<dyn FnMut(&mut Core) + Send>);

impl Hook {
    /// Wraps a closure.
    pub fn new(work: impl FnMut(&mut Core) + Send + 'static) -> Self {
        Self(Box::new(work))
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// What happens to a request that a fault hits.
#[derive(Debug)]
pub enum Action {
    /// Answered so, not handled. An empty body stays empty.
    Status {
        /// 100 to 999.
        code: u16,
        /// As it goes onto the wire.
        body: Bytes,
        /// Besides `Content-Type: application/json`, e.g. `Retry-After`.
        headers: Vec<(String, String)>,
    },
    /// Handled after this time.
    Delay(Duration),
    /// Neither handled nor answered; the connection stays open.
    Hold,
    /// Handled, but never answered.
    HoldAfter,
    /// The connection closes; the request is not handled.
    CloseBefore,
    /// The request is handled, then the connection closes without a byte.
    CloseAfter,
    /// The connection ends with a TCP reset; the request is not handled. A stream that knows no resets closes.
    Reset,
    /// Handled; the answer's body ends after so many bytes and the connection closes.
    CutBody(usize),
    /// Handled; the answer's body is replaced by these bytes, status and headers stay.
    Garbage(Bytes),
    /// Handled; these bytes go out instead of HTTP, then the connection closes.
    Raw(Bytes),
    /// Handled; the answer announces 16 bytes more than it has, then the connection closes.
    WrongContentLength,
    /// Handled and answered; the hook runs right after, before any other request.
    Then(Hook),
    /// 307 to this place, not handled.
    Redirect307(String),
}

/// A condition on the body.
pub type BodyCheck = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A fault: what it hits, when, how often, and what it does.
pub struct Fault {
    /// E.g. `POST`; any if `None`.
    pub method: Option<String>,
    /// Beginning of the path, e.g. `/v1/transit/decrypt/`; "" hits all.
    pub path_prefix: String,
    /// A condition on the body; `None` is always met.
    pub body: Option<BodyCheck>,
    /// The first so many fitting requests pass.
    pub skip: u64,
    /// Then so many are hit; `None` hits all.
    pub count: Option<u64>,
    /// What happens to them.
    pub action: Action,
}

impl Fault {
    /// Hits all requests whose path begins so.
    pub fn on(path_prefix: &str, action: Action) -> Self {
        Self {
            method: None,
            path_prefix: path_prefix.to_owned(),
            body: None,
            skip: 0,
            count: None,
            action,
        }
    }

    /// Hits only so many.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Lets the first ones pass.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// Hits only this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Hits only requests whose body fulfils the condition.
    #[must_use]
    pub fn body(mut self, check: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.body = Some(Arc::new(check));
        self
    }

    fn fits(&self, request: &Request) -> bool {
        self.method.as_ref().is_none_or(|m| *m == request.method)
            && request.path.starts_with(&self.path_prefix)
            && self.body.as_ref().is_none_or(|check| check(&request.body))
    }
}

/// An action without its hook, to be carried out outside the lock.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Pass,
    Status(u16, Bytes, Vec<(String, String)>),
    Delay(Duration),
    Hold,
    HoldAfter,
    CloseBefore,
    CloseAfter,
    Reset,
    CutBody(usize),
    Garbage(Bytes),
    Raw(Bytes),
    WrongContentLength,
    Then(FaultId),
    Redirect(String),
}

impl Verdict {
    pub(super) fn reaches_model(&self) -> bool {
        !matches!(
            self,
            Self::Status(..) | Self::Hold | Self::CloseBefore | Self::Reset | Self::Redirect(_)
        )
    }
}

struct Installed {
    fault: Fault,
    seen: u64,
}

#[derive(Default)]
pub(super) struct Faults {
    next: u64,
    installed: BTreeMap<FaultId, Installed>,
    hits: BTreeMap<FaultId, u64>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) -> FaultId {
        self.next += 1;
        let id = FaultId(self.next);
        self.installed.insert(id, Installed { fault, seen: 0 });
        self.hits.insert(id, 0);
        id
    }

    pub(super) fn hits(&self, id: FaultId) -> u64 {
        self.hits.get(&id).copied().unwrap_or(0)
    }

    pub(super) fn clear(&mut self, id: FaultId) {
        self.installed.remove(&id);
    }

    pub(super) fn clear_all(&mut self) {
        self.installed.clear();
    }

    pub(super) fn judge(&mut self, request: &Request) -> Verdict {
        for (id, installed) in &mut self.installed {
            let Installed { fault, seen } = installed;
            if !fault.fits(request) {
                continue;
            }
            *seen += 1;
            let past = *seen > fault.skip;
            let left = fault
                .count
                .is_none_or(|n| *seen <= fault.skip.saturating_add(n));
            if !past || !left {
                continue;
            }
            *self.hits.entry(*id).or_default() += 1;
            return match &fault.action {
                Action::Status {
                    code,
                    body,
                    headers,
                } => Verdict::Status(*code, body.clone(), headers.clone()),
                Action::Delay(d) => Verdict::Delay(*d),
                Action::Hold => Verdict::Hold,
                Action::HoldAfter => Verdict::HoldAfter,
                Action::CloseBefore => Verdict::CloseBefore,
                Action::CloseAfter => Verdict::CloseAfter,
                Action::Reset => Verdict::Reset,
                Action::CutBody(n) => Verdict::CutBody(*n),
                Action::Garbage(bytes) => Verdict::Garbage(bytes.clone()),
                Action::Raw(bytes) => Verdict::Raw(bytes.clone()),
                Action::WrongContentLength => Verdict::WrongContentLength,
                Action::Then(_) => Verdict::Then(*id),
                Action::Redirect307(to) => Verdict::Redirect(to.clone()),
            };
        }
        Verdict::Pass
    }

    pub(super) fn run_hook(&mut self, id: FaultId, core: &mut Core) {
        if let Some(Installed {
            fault:
                Fault {
                    action: Action::Then(hook),
                    ..
                },
            ..
        }) = self.installed.get_mut(&id)
        {
            (hook.0)(core);
        }
    }
}
