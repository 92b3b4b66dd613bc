//! The text form of a chaos history: one line per event, the same text for the same event, for digests and for eyes.

use std::borrow::Cow;
use std::fmt;

use crate::chaos::{Digested, Entry, Event, FaultStep, OpEnd, OpKind, RpcEnd, VaultPath};

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6}.{:06} ",
            self.at.as_secs(),
            self.at.subsec_micros()
        )?;
        match self.node {
            Some(node) => write!(f, "n{node} ")?,
            None => write!(f, "-- ")?,
        }
        event(f, &self.event)
    }
}

fn event(f: &mut fmt::Formatter<'_>, event: &Event) -> fmt::Result {
    match event {
        Event::Phase(phase) => write!(f, "phase {}", phase.as_str()),
        Event::Invoked {
            op,
            kind,
            object,
            value,
        } => {
            write!(f, "#{op} {}", kind.as_str())?;
            if !object.is_empty() {
                write!(f, " {object}")?;
            }
            digested(f, value.as_ref())
        }
        Event::Ended { op, end } => {
            write!(f, "#{op} ")?;
            op_end(f, end)
        }
        Event::Status { took, end } => {
            write!(f, "status {}us ", took.as_micros())?;
            rpc_end(f, end)
        }
        Event::Polled { end } => {
            write!(f, "polled ")?;
            rpc_end(f, end)
        }
        Event::Encrypted { took, end } => {
            write!(f, "encrypt {}us ", took.as_micros())?;
            rpc_end(f, end)
        }
        Event::VaultCalls(calls) => {
            write!(f, "vault")?;
            for (path, count) in calls {
                write!(f, " {}={count}", path.as_str())?;
            }
            Ok(())
        }
        Event::Fault { id, step } => {
            write!(f, "fault {id} ")?;
            fault_step(f, step)
        }
        Event::PluginStarted => write!(f, "plugin started"),
        Event::PluginStopped(how) => write!(f, "plugin stopped: {}", line(how)),
        Event::ApiServerStarted => write!(f, "apiserver started"),
        Event::Configured(providers) => write!(f, "configured {}", line(providers)),
        Event::Audit(fact) => {
            write!(f, "audit {} prefix={:?}", fact.object, fact.prefix)?;
            if let Some(key) = &fact.key_id {
                write!(f, " key_id={}", line(key))?;
            }
            if fact.clear {
                write!(f, " CLEAR")?;
            }
            write!(f, " fresh ")?;
            op_end(f, &fact.fresh)
        }
        Event::Leak(place) => write!(f, "LEAK {}", line(place)),
        Event::Provider(prefix) => write!(f, "provider {}", line(prefix)),
        Event::Seen { place, text } => write!(f, "seen {}: {}", line(place), line(text)),
    }
}

fn digested(f: &mut fmt::Formatter<'_>, value: Option<&Digested>) -> fmt::Result {
    match value {
        Some(value) => write!(f, " {}:{}", value.sha256, value.len),
        None => Ok(()),
    }
}

fn op_end(f: &mut fmt::Formatter<'_>, end: &OpEnd) -> fmt::Result {
    match end {
        OpEnd::Ok { value, items } => {
            write!(f, "ok")?;
            digested(f, value.as_ref())?;
            match items {
                Some(items) => write!(f, " items={items}"),
                None => Ok(()),
            }
        }
        OpEnd::Failed { code, message } => write!(f, "failed {code} {}", line(message)),
        OpEnd::Indeterminate { code, message } => {
            write!(f, "indeterminate {code} {}", line(message))
        }
    }
}

fn rpc_end(f: &mut fmt::Formatter<'_>, end: &RpcEnd) -> fmt::Result {
    match end {
        RpcEnd::Ok { key_id, healthz } => {
            write!(f, "ok key_id={}", line(key_id))?;
            match healthz {
                Some(text) if text != "ok" => write!(f, " healthz={:?}", text),
                _ => Ok(()),
            }
        }
        RpcEnd::Failed { code, message } => write!(f, "{code}: {}", line(message)),
    }
}

fn fault_step(f: &mut fmt::Formatter<'_>, step: &FaultStep) -> fmt::Result {
    match step {
        FaultStep::Planned {
            at,
            length,
            what,
            nodes,
            ..
        } => {
            write!(f, "planned {} at {at:?}", line(what))?;
            if let Some(length) = length {
                write!(f, " for {length:?}")?;
            }
            write!(f, " on {nodes:?}")
        }
        FaultStep::Injected => write!(f, "injected"),
        FaultStep::Refused(why) => write!(f, "refused: {}", line(why)),
        FaultStep::Recovered => write!(f, "recovered"),
        FaultStep::Hits(hits) => write!(f, "hits {hits}"),
    }
}

/// One line of what may have several.
fn line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) {
        Cow::Owned(text.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(text)
    }
}

impl OpKind {
    /// The name in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Rewrite => "rewrite",
        }
    }
}

impl VaultPath {
    /// The name in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Renew => "renew",
            Self::Lookup => "lookup",
            Self::Revoke => "revoke",
            Self::KeyRead => "key-read",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chaos::Phase;

    #[test]
    fn an_event_is_one_line() {
        let entry = |event| Entry {
            at: Duration::from_micros(61_000_250),
            node: Some(2),
            event,
        };
        for (event, text) in [
            (Event::Phase(Phase::Heal), "    61.000250 n2 phase heal"),
            (
                Event::Ended {
                    op: 7,
                    end: OpEnd::Failed {
                        code: 409,
                        message: "two\nlines".to_owned(),
                    },
                },
                "    61.000250 n2 #7 failed 409 two lines",
            ),
            (
                Event::Fault {
                    id: "a".to_owned(),
                    step: FaultStep::Hits(3),
                },
                "    61.000250 n2 fault a hits 3",
            ),
        ] {
            assert_eq!(entry(event).to_string(), text);
        }
    }
}
