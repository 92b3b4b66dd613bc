//! A whole transcript in memory, with look-ups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Answer, Answered, Event, Outcome, Sent, What};
use crate::{FORMAT, VERSION};

/// First line of the file: what the run was, as far as judges need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Always [`FORMAT`].
    pub format: String,
    /// Always [`VERSION`].
    pub version: u32,
    /// Version of the suite that recorded it.
    pub suite: String,
    /// Root of all randomness of the run.
    pub seed: u64,
    /// Name of the profile that was asked for.
    pub profile: String,
    /// Minor version of the API server to judge for; absent means every supported one.
    pub server_version: Option<u32>,
    /// Round trips that were asked for.
    pub round_trips: u64,
    /// The API server's call timeout, in nanoseconds.
    pub timeout_ns: u64,
}

impl Header {
    /// A header of this version with no server version.
    pub fn new(seed: u64, profile: &str, round_trips: u64, timeout_ns: u64) -> Self {
        Header {
            format: FORMAT.into(),
            version: VERSION,
            suite: env!("CARGO_PKG_VERSION").into(),
            seed,
            profile: profile.into(),
            server_version: None,
            round_trips,
            timeout_ns,
        }
    }
}

/// Why events do not make a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The sequence number is not above the one before.
    #[error("sequence number {seq} does not follow {after}")]
    Order {
        /// The number.
        seq: u64,
        /// The one before.
        after: u64,
    },
    /// An answer to a call that was not sent before it.
    #[error("event {seq} answers call {call}, which was not sent before it")]
    NoCall {
        /// The answer.
        seq: u64,
        /// The call it names.
        call: u64,
    },
    /// A second answer to the same call.
    #[error("event {seq} answers call {call} a second time")]
    AnsweredTwice {
        /// The answer.
        seq: u64,
        /// The call it names.
        call: u64,
    },
}

/// A transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    header: Header,
    events: Vec<Event>,
    by_stimulus: BTreeMap<String, Vec<usize>>,
    by_seq: BTreeMap<u64, usize>,
    answers: BTreeMap<u64, usize>,
}

/// A call with its end.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The event of sending.
    pub event: &'a Event,
    /// What was sent.
    pub sent: &'a Sent,
    /// How it ended; absent if the run ended first.
    pub answered: Option<&'a Answered>,
}

impl<'a> Call<'a> {
    /// Sequence number of the sending.
    pub fn seq(&self) -> u64 {
        self.event.seq
    }

    /// How it ended, if it did.
    pub fn outcome(&self) -> Option<&'a Outcome> {
        self.answered.map(|a| &a.outcome)
    }

    /// The answer, if it succeeded.
    pub fn answer(&self) -> Option<&'a Answer> {
        match self.outcome() {
            Some(Outcome::Ok(answer)) => Some(answer),
            _ => None,
        }
    }
}

impl History {
    /// Indexes the events and checks that they fit together.
    pub fn new(header: Header, events: Vec<Event>) -> Result<Self, HistoryError> {
        let mut history = History {
            header,
            events: Vec::new(),
            by_stimulus: BTreeMap::new(),
            by_seq: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        history.events.reserve(events.len());
        for event in events {
            history.push(event)?;
        }
        Ok(history)
    }

    /// Appends one event.
    pub fn push(&mut self, event: Event) -> Result<(), HistoryError> {
        let seq = event.seq;
        if let Some(last) = self.events.last()
            && seq <= last.seq
        {
            return Err(HistoryError::Order {
                seq,
                after: last.seq,
            });
        }
        let index = self.events.len();
        if let What::Answered(answered) = &event.what {
            let call = answered.call;
            let sent = self.by_seq.get(&call).map(|i| &self.events[*i].what);
            if !matches!(sent, Some(What::Sent(_))) {
                return Err(HistoryError::NoCall { seq, call });
            }
            if self.answers.insert(call, index).is_some() {
                return Err(HistoryError::AnsweredTwice { seq, call });
            }
        }
        match self.by_stimulus.get_mut(event.stimulus.as_ref()) {
            Some(indices) => indices.push(index),
            None => {
                self.by_stimulus
                    .insert(event.stimulus.to_string(), vec![index]);
            }
        }
        self.by_seq.insert(seq, index);
        self.events.push(event);
        Ok(())
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Everything, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Names of all stimuli that left a trace, sorted.
    pub fn stimuli(&self) -> impl Iterator<Item = &str> {
        self.by_stimulus.keys().map(String::as_str)
    }

    /// The events of one stimulus, in order; none if it left no trace.
    pub fn stimulus<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Event> + use<'a> {
        self.by_stimulus
            .get(name)
            .into_iter()
            .flatten()
            .map(|i| &self.events[*i])
    }

    /// The calls of one stimulus.
    pub fn calls_of<'a>(&'a self, name: &str) -> impl Iterator<Item = Call<'a>> + use<'a> {
        self.stimulus(name).filter_map(|event| self.as_call(event))
    }

    /// All calls of the run.
    pub fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.events.iter().filter_map(|event| self.as_call(event))
    }

    /// The call whose sending has this sequence number.
    pub fn call(&self, seq: u64) -> Option<Call<'_>> {
        self.by_seq
            .get(&seq)
            .and_then(|i| self.as_call(&self.events[*i]))
    }

    fn as_call<'a>(&'a self, event: &'a Event) -> Option<Call<'a>> {
        let What::Sent(sent) = &event.what else {
            return None;
        };
        let answered = self
            .answers
            .get(&event.seq)
            .and_then(|i| match &self.events[*i].what {
                What::Answered(answered) => Some(answered),
                _ => None,
            });
        Some(Call {
            event,
            sent,
            answered,
        })
    }
}
