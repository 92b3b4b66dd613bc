//! A chaos history written by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_history::chaos::{
    AuditFact, Digested, Entry, Event, FaultStep, OpEnd, OpKind, Phase, RpcEnd, VaultPath,
};
use kms_judge::invariant::{Claim, Expectation, Mode, Result, judge};

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A history: baseline from 0, faults from 100, heal at 200, liveness from 210 to 400.
#[derive(Clone, Default)]
pub struct Story {
    pub entries: Vec<Entry>,
    ops: u64,
}

impl Story {
    pub fn new() -> Self {
        let mut story = Self::default();
        for (at, phase) in [
            (0, Phase::Baseline),
            (100, Phase::Fault),
            (200, Phase::Heal),
            (210, Phase::Liveness),
            (400, Phase::Audit),
        ] {
            story = story.at(at, Event::Phase(phase));
        }
        story
    }

    pub fn put(mut self, at: u64, node: Option<u32>, event: Event) -> Self {
        let at = seconds(at);
        let place = self.entries.partition_point(|entry| entry.at <= at);
        self.entries.insert(place, Entry { at, node, event });
        self
    }

    pub fn at(self, at: u64, event: Event) -> Self {
        self.put(at, None, event)
    }

    pub fn op(
        mut self,
        from: u64,
        to: u64,
        kind: OpKind,
        object: &str,
        value: Option<&str>,
        end: OpEnd,
    ) -> Self {
        let op = self.ops;
        self.ops += 1;
        let invoked = Event::Invoked {
            op,
            kind,
            object: object.to_owned(),
            value: value.map(digested),
        };
        self.put(from, Some(0), invoked)
            .put(to, Some(0), Event::Ended { op, end })
    }

    pub fn write(self, from: u64, to: u64, value: &str) -> Self {
        self.op(from, to, OpKind::Write, "a", Some(value), done())
    }

    pub fn lost_write(self, from: u64, to: u64, value: &str) -> Self {
        let end = OpEnd::Indeterminate {
            code: 500,
            message: "no answer".to_owned(),
        };
        self.op(from, to, OpKind::Write, "a", Some(value), end)
    }

    pub fn read(self, at: u64, value: &str) -> Self {
        let end = OpEnd::Ok {
            value: Some(digested(value)),
            items: None,
        };
        self.op(at, at + 1, OpKind::Read, "a", None, end)
    }

    pub fn missing(self, at: u64) -> Self {
        let end = OpEnd::Failed {
            code: 404,
            message: "not found".to_owned(),
        };
        self.op(at, at + 1, OpKind::Read, "a", None, end)
    }

    pub fn status(self, at: u64, key: Option<&str>) -> Self {
        let event = Event::Status {
            took: Duration::from_millis(1),
            end: rpc(key),
        };
        self.put(at, Some(0), event)
    }

    pub fn encrypt(self, at: u64, key: Option<&str>) -> Self {
        let event = Event::Encrypted {
            took: Duration::from_millis(1),
            end: rpc(key),
        };
        self.put(at, Some(0), event)
    }

    pub fn fault(
        self,
        at: u64,
        id: &str,
        what: &str,
        key_changes: u32,
        hinders_rpcs: bool,
    ) -> Self {
        self.lasting((at, at), id, what, key_changes, hinders_rpcs)
    }

    pub fn lasting(
        self,
        (at, until): (u64, u64),
        id: &str,
        what: &str,
        key_changes: u32,
        hinders_rpcs: bool,
    ) -> Self {
        let planned = FaultStep::Planned {
            at: seconds(at),
            length: None,
            what: what.to_owned(),
            nodes: vec![0],
            key_changes,
            hinders_rpcs,
        };
        let step = |step| Event::Fault {
            id: id.to_owned(),
            step,
        };
        self.at(0, step(planned))
            .at(at, step(FaultStep::Injected))
            .at(until, step(FaultStep::Recovered))
    }

    pub fn audit(self, key: Option<&str>, value: Option<&str>, clear: bool) -> Self {
        let fresh = match value {
            Some(value) => OpEnd::Ok {
                value: Some(digested(value)),
                items: None,
            },
            None => OpEnd::Indeterminate {
                code: 500,
                message: "no key".to_owned(),
            },
        };
        self.at(
            401,
            Event::Audit(AuditFact {
                object: "a".to_owned(),
                prefix: "k8s:enc:kms:v2:kms:".to_owned(),
                key_id: key.map(str::to_owned),
                fresh,
                clear,
            }),
        )
    }

    pub fn logins(self, at: u64, count: u64) -> Self {
        let calls = BTreeMap::from([(VaultPath::Login, count)]);
        self.at(at, Event::VaultCalls(calls))
    }

    pub fn judge(&self, mode: Mode, claim: Claim) -> Result {
        let expectation = Expectation {
            mode,
            claim,
            node: None,
        };
        judge(&expectation, &self.entries)
    }

    #[track_caller]
    pub fn holds(&self, mode: Mode, claim: Claim) {
        let result = self.judge(mode, claim);
        assert!(matches!(result, Result::Held(_)), "{result:?}");
    }

    #[track_caller]
    pub fn breaks(&self, mode: Mode, claim: Claim, text: &str) {
        match self.judge(mode, claim) {
            Result::Broken { text: found, .. } => {
                assert!(found.contains(text), "{found:?} does not say {text:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn shows_nothing(&self, mode: Mode, claim: Claim) {
        let result = self.judge(mode, claim);
        assert!(matches!(result, Result::Nothing(_)), "{result:?}");
    }
}

pub fn digested(value: &str) -> Digested {
    Digested {
        sha256: value.to_owned(),
        len: 1,
    }
}

pub fn done() -> OpEnd {
    OpEnd::Ok {
        value: None,
        items: None,
    }
}

pub fn rpc(key: Option<&str>) -> RpcEnd {
    match key {
        Some(key) => RpcEnd::Ok {
            key_id: key.to_owned(),
            healthz: None,
        },
        None => RpcEnd::Failed {
            code: "Unavailable".to_owned(),
            message: "no Vault".to_owned(),
        },
    }
}
