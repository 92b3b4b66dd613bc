//! What came of a rehearsal, as data, and as the page that people read.

use std::collections::BTreeSet;

use kms_controlplane::invariant::Invariant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::Mode;

/// A rehearsal.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsal {
    /// The procedure's word, with its category.
    pub procedure: String,
    /// Which operators.
    pub mode: Mode,
    /// Control plane nodes.
    pub nodes: usize,
    /// Objects at the beginning.
    pub objects: u64,
    /// Root of all randomness.
    pub seed: u64,
    /// What was played, in order; troubleshooting plays a part for each fault.
    pub parts: Vec<Part>,
    /// Whether everything held that the procedure expects.
    pub held: bool,
}

/// A story on one cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// What it is about, where there are several.
    pub title: String,
    /// Its steps.
    pub steps: Vec<Step>,
    /// What went wrong on purpose.
    pub fault: Option<FaultStory>,
    /// Invariants that were broken, with the time.
    pub broken: Vec<String>,
    /// Which those are.
    pub rules: BTreeSet<Rule>,
    /// Seconds that passed on the cluster.
    pub simulated_seconds: u64,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its id, for `--at`.
    pub id: String,
    /// What is done.
    pub title: String,
    /// When it began, on the cluster's clock.
    pub at: String,
    /// Commands and what they print.
    pub lines: Vec<Shown>,
    /// What is expected of it.
    pub expectations: Vec<Expectation>,
}

/// A command with its output, or a remark.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Shown {
    /// A command, as the procedure writes it, and what it prints now.
    Command {
        /// The cluster's clock.
        at: String,
        /// The command.
        command: String,
        /// What it prints.
        output: String,
    },
    /// A remark of the rehearsal.
    Note {
        /// The text.
        text: String,
    },
}

/// Something that is expected.
#[derive(Clone, Debug, Serialize)]
pub struct Expectation {
    /// What.
    pub text: String,
    /// Whether it is so.
    pub held: bool,
    /// What was found instead, or the figure.
    pub found: String,
}

/// The story of a fault.
#[derive(Clone, Debug, Serialize)]
pub struct FaultStory {
    /// Its id.
    pub id: String,
    /// What goes wrong.
    pub title: String,
    /// The step before which it happened.
    pub at: String,
    /// How it shows.
    pub seen: Vec<Expectation>,
    /// How the procedure's own means find it.
    pub detect: String,
    /// What its commands show of it.
    pub detected: Vec<Detected>,
    /// What was done about it.
    pub remedy: String,
    /// What the procedure does not say.
    pub note: String,
    /// Whether the cluster came back.
    pub recovered: Vec<Expectation>,
}

/// A command that finds a fault.
#[derive(Clone, Debug, Serialize)]
pub struct Detected {
    /// The command.
    pub command: String,
    /// The lines of its output that say it.
    pub output: String,
    /// Whether they do.
    pub expectation: Expectation,
}

/// What must hold in every cluster at every moment: [`Invariant`], and what clients see.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// No pod writes with a key before every pod can read it.
    ReadBeforeWrite,
    /// A key stays configured until all is migrated to a newer one, and one older key beyond that.
    KeptUntilMigrated,
    /// Migrations run only while every pod runs the target configuration.
    MigratesWhenStable,
    /// All resources have the same keys, and one of them at most writes.
    SameKeys,
    /// Key numbers only grow.
    NumbersGrow,
    /// A new key waits until all is migrated to the one before.
    OneAtATime,
    /// Two keys never share a socket.
    OwnSocket,
    /// Nothing is written in plain text once all is encrypted and nobody asked for it.
    NoPlainText,
    /// Whatever is stored has its provider on every ready pod.
    Readable,
    /// What was acknowledged is read on every ready node.
    AcknowledgedIsRead,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ReadBeforeWrite,
        Self::KeptUntilMigrated,
        Self::MigratesWhenStable,
        Self::SameKeys,
        Self::NumbersGrow,
        Self::OneAtATime,
        Self::OwnSocket,
        Self::NoPlainText,
        Self::Readable,
        Self::AcknowledgedIsRead,
    ];

    /// Its word in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::ReadBeforeWrite => "read-before-write",
            Self::KeptUntilMigrated => "kept-until-migrated",
            Self::MigratesWhenStable => "migrates-when-stable",
            Self::SameKeys => "same-keys",
            Self::NumbersGrow => "numbers-grow",
            Self::OneAtATime => "one-at-a-time",
            Self::OwnSocket => "own-socket",
            Self::NoPlainText => "no-plain-text",
            Self::Readable => "readable",
            Self::AcknowledgedIsRead => "acknowledged-is-read",
        }
    }

    /// The rule of the control plane's own, or that of its clients.
    pub fn of(invariant: Option<Invariant>) -> Self {
        match invariant {
            Some(Invariant::ReadBeforeWrite) => Self::ReadBeforeWrite,
            Some(Invariant::KeptUntilMigrated) => Self::KeptUntilMigrated,
            Some(Invariant::MigratesWhenStable) => Self::MigratesWhenStable,
            Some(Invariant::SameKeys) => Self::SameKeys,
            Some(Invariant::NumbersGrow) => Self::NumbersGrow,
            Some(Invariant::OneAtATime) => Self::OneAtATime,
            Some(Invariant::OwnSocket) => Self::OwnSocket,
            Some(Invariant::NoPlainText) => Self::NoPlainText,
            Some(Invariant::Readable) => Self::Readable,
            None => Self::AcknowledgedIsRead,
        }
    }
}

impl FaultStory {
    /// Everything that is expected of it, in the order of its telling.
    pub fn expectations(&self) -> impl Iterator<Item = &Expectation> {
        let detected = self.detected.iter().map(|it| &it.expectation);
        self.seen.iter().chain(detected).chain(&self.recovered)
    }
}

impl Part {
    /// Whether all of it held. A fault has its story; without one no invariant may be broken either.
    pub fn held(&self) -> bool {
        self.expectations().all(|expectation| expectation.held)
            && (self.fault.is_some() || self.broken.is_empty())
    }
}

impl Rehearsal {
    /// The page.
    pub fn text(&self) -> String {
        let mut out = format!(
            "kms-harness rehearse {}\nmode {}, {} node{}, {} objects, seed {}\n",
            self.procedure,
            match self.mode {
                Mode::Seed => "seed",
                Mode::V2 => "v2",
                Mode::Newest => "newest",
            },
            self.nodes,
            if self.nodes == 1 { "" } else { "s" },
            self.objects,
            self.seed
        );
        for part in &self.parts {
            part.write(&mut out);
        }
        let all = self.parts.iter().flat_map(Part::expectations);
        let (held, failed): (Vec<_>, Vec<_>) = all.partition(|expectation| expectation.held);
        let seconds: u64 = self.parts.iter().map(|part| part.simulated_seconds).sum();
        out.push_str(&format!(
            "\n{} expectations held, {} did not; {} on the cluster's clock\n",
            held.len(),
            failed.len(),
            span(seconds)
        ));
        out
    }
}

impl Part {
    fn expectations(&self) -> impl Iterator<Item = &Expectation> {
        let steps = self.steps.iter().flat_map(|step| &step.expectations);
        let fault = self.fault.iter().flat_map(FaultStory::expectations);
        steps.chain(fault)
    }

    fn write(&self, out: &mut String) {
        if !self.title.is_empty() {
            out.push_str(&format!("\n=== {}\n", self.title));
        }
        for (number, step) in self.steps.iter().enumerate() {
            out.push_str(&format!(
                "\n{}. {}   [{}, {}]\n",
                number + 1,
                step.title,
                step.id,
                step.at
            ));
            let mut before = "";
            for shown in &step.lines {
                shown.write(out, &step.at, before);
                if let Shown::Command { command, .. } = shown {
                    before = command;
                }
            }
            step.expectations.iter().for_each(|it| it.write(out));
        }
        if let Some(fault) = &self.fault {
            out.push_str(&format!(
                "\n{}: {}   [before {}]\n",
                fault.id, fault.title, fault.at
            ));
            fault.seen.iter().for_each(|it| it.write(out));
            out.push_str(&format!("   found by: {}\n", fault.detect));
            for detected in &fault.detected {
                let shown = Shown::Command {
                    at: fault.at.clone(),
                    command: detected.command.clone(),
                    output: detected.output.clone(),
                };
                shown.write(out, &fault.at, "");
                detected.expectation.write(out);
            }
            out.push_str(&format!("   remedy: {}\n", fault.remedy));
            out.push_str(&format!("   not in the procedure: {}\n", fault.note));
            fault.recovered.iter().for_each(|it| it.write(out));
        }
        if !self.broken.is_empty() {
            out.push_str("\nInvariants that were broken:\n");
            for text in &self.broken {
                out.push_str(&format!("   {text}\n"));
            }
        }
    }
}

impl Shown {
    /// A command that stands there already is not written once more.
    fn write(&self, out: &mut String, step_at: &str, before: &str) {
        match self {
            Self::Command {
                at,
                command,
                output,
            } => {
                if at != step_at {
                    out.push_str(&format!("   -- {at}\n"));
                }
                let new = if command == before { "" } else { command };
                for (number, line) in new.lines().enumerate() {
                    let sign = if number == 0 { "$" } else { " " };
                    out.push_str(format!("   {sign} {line}").trim_end());
                    out.push('\n');
                }
                for line in output.lines() {
                    out.push_str(format!("     {line}").trim_end());
                    out.push('\n');
                }
            }
            Self::Note { text } => out.push_str(&format!("   ({text})\n")),
        }
    }
}

impl Expectation {
    fn write(&self, out: &mut String) {
        let word = if self.held { "ok  " } else { "FAIL" };
        let found = if self.found.is_empty() {
            String::new()
        } else {
            format!(": {}", self.found)
        };
        out.push_str(&format!("   {word} {}{found}\n", self.text));
    }
}

/// A span of time for people.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
