//! A broken plugin as the table describes it.

use kms_planted::Variant;

use crate::bug::Bug;

/// Where a mutant lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// The plugin without any bug: in this process and as a process, and in the simulation.
    Honest,
    /// Served in this process.
    InProcess(Bug),
    /// A process of its own, because the bug is one of processes.
    Process(Bug),
    /// Our own plugin in the simulation, with the bug planted around it, in `kms-planted`'s scenario.
    Chaos(Variant),
}

/// One plugin of the zoo.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Kebab-case name. Never used for another one.
    pub id: &'static str,
    /// Where it lives, and its bug.
    pub arm: Arm,
    /// What must fail: requirements, in chaos invariants.
    pub fails: &'static [&'static str],
    /// What must warn.
    pub warns: &'static [&'static str],
    /// What else fails or warns, because it follows, each with the reason.
    pub also: &'static [(&'static [&'static str], &'static str)],
    /// Requirements that an invariant of a chaos mutant stands for; others name them by themselves.
    pub stands_for: &'static [&'static str],
    /// One sentence: who has this bug, or how one gets it.
    pub why: &'static str,
}

impl Mutant {
    const fn new(id: &'static str, arm: Arm) -> Self {
        Self {
            id,
            arm,
            fails: &[],
            warns: &[],
            also: &[],
            stands_for: &[],
            why: "",
        }
    }

    /// The plugin that is right.
    pub(crate) const fn honest() -> Self {
        Self::new("honest", Arm::Honest)
    }

    pub(crate) const fn of(bug: Bug) -> Self {
        Self::new(bug.id(), Arm::InProcess(bug))
    }

    pub(crate) const fn process(bug: Bug) -> Self {
        Self::new(bug.id(), Arm::Process(bug))
    }

    /// `id` is `chaos-` and the variant's name.
    pub(crate) const fn chaos(id: &'static str, variant: Variant) -> Self {
        Self::new(id, Arm::Chaos(variant))
    }

    pub(crate) const fn fails(mut self, ids: &'static [&'static str]) -> Self {
        self.fails = ids;
        self
    }

    pub(crate) const fn warns(mut self, ids: &'static [&'static str]) -> Self {
        self.warns = ids;
        self
    }

    pub(crate) const fn also(
        mut self,
        also: &'static [(&'static [&'static str], &'static str)],
    ) -> Self {
        self.also = also;
        self
    }

    pub(crate) const fn stands_for(mut self, ids: &'static [&'static str]) -> Self {
        self.stands_for = ids;
        self
    }

    pub(crate) const fn why(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    /// What it breaks, by the ids that must name it.
    pub fn breaks(&self) -> impl Iterator<Item = &'static str> {
        self.fails.iter().chain(self.warns).copied()
    }

    /// What follows from that.
    pub fn follows(&self) -> impl Iterator<Item = &'static str> {
        self.also.iter().flat_map(|(ids, _)| ids.iter().copied())
    }

    /// The requirements that it breaks.
    pub fn requirements(&self) -> impl Iterator<Item = &'static str> {
        let own = self.breaks().filter(|id| id.starts_with("KMS2-"));
        own.chain(self.stands_for.iter().copied())
    }
}
