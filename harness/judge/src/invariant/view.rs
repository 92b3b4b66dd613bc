//! A history by subject: operations with their ends, samples of the service, faults, the audit.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_history::chaos::{
    AuditFact, Digested, Entry, Event, FaultStep, OpEnd, OpKind, Phase, RpcEnd,
};

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Op<'a> {
    /// Where.
    pub node: Option<u32>,
    /// What it does.
    pub kind: OpKind,
    /// The object; empty for lists.
    pub object: &'a str,
    /// What a write puts there.
    pub value: Option<&'a Digested>,
    /// When it began.
    pub start: Duration,
    /// When and how it ended, if it did.
    pub end: Option<(Duration, &'a OpEnd)>,
}

impl Op<'_> {
    /// When it was acknowledged, if it was.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Duration> {
        match self.end {
            Some((at, OpEnd::Ok { .. })) => Some(at),
            _ => None,
        }
    }

    /// Whether it surely had no effect.
    #[must_use]
    pub fn without_effect(&self) -> bool {
        matches!(self.end, Some((_, OpEnd::Failed { .. })))
    }
}

/// One answer of a plugin, or none.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Where.
    pub node: u32,
    /// When the call began.
    pub start: Duration,
    /// When it ended.
    pub at: Duration,
    /// What came.
    pub end: &'a RpcEnd,
}

impl<'a> Sample<'a> {
    /// Success, `healthz` ok if there is one, and a key.
    #[must_use]
    pub fn good(&self) -> bool {
        self.key().is_some()
    }

    /// The key_id of a good answer.
    #[must_use]
    pub fn key(&self) -> Option<&'a str> {
        match self.end {
            RpcEnd::Ok { key_id, healthz }
                if !key_id.is_empty() && healthz.as_deref().is_none_or(|text| text == "ok") =>
            {
                Some(key_id)
            }
            _ => None,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self.end {
            RpcEnd::Ok { key_id, healthz } => format!(
                "key_id {key_id:?}{}",
                healthz
                    .as_ref()
                    .map(|text| format!(", healthz {text:?}"))
                    .unwrap_or_default()
            ),
            RpcEnd::Failed { code, message } => format!("{code}: {message}"),
        }
    }
}

/// The life of a fault.
#[derive(Clone, Debug)]
pub struct Fault<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its kind with parameters, in words.
    pub what: &'a str,
    /// How often the key may change by it.
    pub key_changes: u32,
    /// Whether RPCs may be late or lost by it alone.
    pub hinders_rpcs: bool,
    /// When it came.
    pub injected: Option<Duration>,
    /// When it went.
    pub recovered: Option<Duration>,
}

/// The history of a run, or of one node.
pub struct View<'a> {
    entries: &'a [Entry],
    node: Option<u32>,
    phases: BTreeMap<Phase, Duration>,
}

impl<'a> View<'a> {
    /// Looks at a history; at one node of it only, if one is named.
    #[must_use]
    pub fn of(entries: &'a [Entry], node: Option<u32>) -> Self {
        let phases = entries.iter().filter_map(|entry| match entry.event {
            Event::Phase(phase) => Some((phase, entry.at)),
            _ => None,
        });
        Self {
            entries,
            node,
            phases: phases.collect(),
        }
    }

    fn entries(&self) -> impl Iterator<Item = &'a Entry> + use<'_, 'a> {
        self.entries
            .iter()
            .filter(|entry| entry.node.is_none() || self.node.is_none() || entry.node == self.node)
    }

    /// When a phase began, if it did.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.phases.get(&phase).copied()
    }

    /// From when to when a phase lasted; to the last entry, if none follows.
    #[must_use]
    pub fn span(&self, phase: Phase) -> Option<(Duration, Duration)> {
        let start = self.phase(phase)?;
        let after = (std::ops::Bound::Excluded(phase), std::ops::Bound::Unbounded);
        let end = self.phases.range(after).next().map(|(_, at)| *at);
        Some((start, end.or(self.entries.last().map(|entry| entry.at))?))
    }

    /// Operations in the order in which they began.
    #[must_use]
    pub fn ops(&self) -> Vec<Op<'a>> {
        let mut ops: BTreeMap<u64, Op<'a>> = BTreeMap::new();
        for entry in self.entries() {
            match &entry.event {
                Event::Invoked {
                    op,
                    kind,
                    object,
                    value,
                } => {
                    let op_ = Op {
                        node: entry.node,
                        kind: *kind,
                        object,
                        value: value.as_ref(),
                        start: entry.at,
                        end: None,
                    };
                    ops.insert(*op, op_);
                }
                Event::Ended { op, end } => {
                    if let Some(op) = ops.get_mut(op) {
                        op.end = Some((entry.at, end));
                    }
                }
                _ => {}
            }
        }
        let mut ops: Vec<_> = ops.into_values().collect();
        ops.sort_by_key(|op| op.start);
        ops
    }

    /// The harness's own Status calls.
    #[must_use]
    pub fn statuses(&self) -> Vec<Sample<'a>> {
        self.samples(|event| match event {
            Event::Status { took, end } => Some((*took, end)),
            _ => None,
        })
    }

    /// The harness's own Encrypt calls.
    #[must_use]
    pub fn encrypts(&self) -> Vec<Sample<'a>> {
        self.samples(|event| match event {
            Event::Encrypted { took, end } => Some((*took, end)),
            _ => None,
        })
    }

    /// Status polls of the API servers.
    #[must_use]
    pub fn polls(&self) -> Vec<Sample<'a>> {
        self.samples(|event| match event {
            Event::Polled { end } => Some((Duration::ZERO, end)),
            _ => None,
        })
    }

    fn samples(
        &self,
        pick: impl Fn(&'a Event) -> Option<(Duration, &'a RpcEnd)>,
    ) -> Vec<Sample<'a>> {
        let sample = |entry: &'a Entry| {
            let (took, end) = pick(&entry.event)?;
            Some(Sample {
                node: entry.node?,
                start: entry.at.saturating_sub(took),
                at: entry.at,
                end,
            })
        };
        self.entries().filter_map(sample).collect()
    }

    /// Calls to Vault, each with the end of its window.
    #[must_use]
    pub fn vault_calls(&self) -> Vec<(Duration, &'a BTreeMap<kms_history::chaos::VaultPath, u64>)> {
        let pick = |entry: &'a Entry| match &entry.event {
            Event::VaultCalls(calls) => Some((entry.at, calls)),
            _ => None,
        };
        self.entries().filter_map(pick).collect()
    }

    /// What the audit found, with its time.
    #[must_use]
    pub fn audit(&self) -> Vec<(Duration, &'a AuditFact)> {
        let pick = |entry: &'a Entry| match &entry.event {
            Event::Audit(fact) => Some((entry.at, fact)),
            _ => None,
        };
        self.entries.iter().filter_map(pick).collect()
    }

    /// What every stored value must begin with, if somebody said so.
    #[must_use]
    pub fn provider(&self) -> Option<&'a str> {
        self.entries.iter().find_map(|entry| match &entry.event {
            Event::Provider(prefix) => Some(prefix.as_str()),
            _ => None,
        })
    }

    /// Where canaries were found in clear.
    #[must_use]
    pub fn leaks(&self) -> Vec<(Duration, &'a str)> {
        let pick = |entry: &'a Entry| match &entry.event {
            Event::Leak(place) => Some((entry.at, place.as_str())),
            _ => None,
        };
        self.entries.iter().filter_map(pick).collect()
    }

    /// Starts (true) and ends of plugins.
    #[must_use]
    pub fn plugin_lives(&self) -> Vec<(Duration, u32, bool)> {
        let pick = |entry: &Entry| match entry.event {
            Event::PluginStarted => Some((entry.at, entry.node?, true)),
            Event::PluginStopped(_) => Some((entry.at, entry.node?, false)),
            _ => None,
        };
        self.entries().filter_map(pick).collect()
    }

    /// All faults that were planned.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault<'a>> {
        let mut faults: BTreeMap<&str, Fault<'a>> = BTreeMap::new();
        for entry in self.entries {
            let Event::Fault { id, step } = &entry.event else {
                continue;
            };
            match step {
                FaultStep::Planned {
                    what,
                    key_changes,
                    hinders_rpcs,
                    ..
                } => {
                    let fault = Fault {
                        id,
                        what,
                        key_changes: *key_changes,
                        hinders_rpcs: *hinders_rpcs,
                        injected: None,
                        recovered: None,
                    };
                    faults.insert(id, fault);
                }
                FaultStep::Injected => {
                    if let Some(fault) = faults.get_mut(id.as_str()) {
                        fault.injected = Some(entry.at);
                    }
                }
                FaultStep::Recovered => {
                    if let Some(fault) = faults.get_mut(id.as_str()) {
                        fault.recovered = Some(entry.at);
                    }
                }
                FaultStep::Refused(_) | FaultStep::Hits(_) => {}
            }
        }
        faults.into_values().collect()
    }
}
