//! The live cluster beside the reference, step by step.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use libtest_mimic::Failed;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use sim_vault::Flavour;

use super::{
    answer,
    nodes::Nodes,
    reference::{Reference, State},
    step::{Deed, Step},
};
use crate::{
    call::Call,
    live,
    memory::Memory,
    model::{self, Product},
    shape,
};

/// How often a sequence is made until it shows no difference: an election may come when nobody called for it, and a second
/// may end between a call and its raft entry.
const TRIES: u32 = 6;
/// How long a state may take to come that a heartbeat brings, or a standby's own reading: milliseconds.
const SOON: u64 = 20_000;
/// How often it is asked for meanwhile.
const AGAIN: u64 = 50;

thread_local! {
    /// Proptest's traits hand nothing in: the cluster of this thread.
    static CURRENT: RefCell<Option<Rc<Nodes>>> = const { RefCell::new(None) };
    /// Calls compared so far.
    static COMPARED: Cell<u64> = const { Cell::new(0) };
}

/// Prints what is being done, where somebody wants to see it.
#[expect(clippy::print_stderr, reason = "it is asked for by a variable")]
fn note(text: impl FnOnce() -> String) {
    if std::env::var_os("DIFFERENTIAL_TRACE").is_some() {
        eprintln!("{}", text());
    }
}

/// What a difference says.
fn text(panic: &(dyn Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// The thread's cluster, until this is dropped.
pub struct Running;

impl Running {
    /// Makes these nodes the thread's cluster.
    pub fn new(nodes: Nodes) -> Self {
        CURRENT.set(Some(Rc::new(nodes)));
        COMPARED.set(0);
        Self
    }

    /// Calls compared so far.
    pub fn compared(&self) -> u64 {
        COMPARED.get()
    }

    /// Makes the steps on both; panics at a difference that shows each time.
    pub fn run<P: Product>(&self, state: State, steps: &[Step], seen: Option<Arc<AtomicUsize>>) {
        let before = COMPARED.get();
        for attempt in 1..=TRIES {
            if let Some(seen) = &seen {
                seen.store(0, Ordering::SeqCst);
            }
            let run = catch_unwind(AssertUnwindSafe(|| {
                Twin::<P>::test_sequential(
                    Config::default(),
                    state.clone(),
                    steps.to_vec(),
                    seen.clone(),
                );
            }));
            match run {
                Ok(()) => return,
                Err(panic) if attempt == TRIES => resume_unwind(panic),
                Err(panic) => {
                    note(|| format!("once more, for it showed\n{}", text(&*panic)));
                    COMPARED.set(before);
                }
            }
        }
    }

    /// The difference that steps show, if they do.
    pub fn difference<P: Product>(&self, state: State, steps: &[Step]) -> Option<String> {
        let run = catch_unwind(AssertUnwindSafe(|| self.run::<P>(state, steps, None)));
        run.err().map(|panic| text(&*panic))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// The live cluster beside the reference.
pub struct Twin<P>(PhantomData<P>);

/// The cluster and what it has given out.
pub struct Live {
    nodes: Rc<Nodes>,
    memory: Memory,
}

/// The live cluster could not be brought where the step wants it.
fn must(done: Result<(), Failed>) {
    if let Err(failed) = done {
        panic!("{}", failed.message().unwrap_or_default());
    }
}

impl Live {
    fn compare(&mut self, reference: &State, role: usize, call: &Call) {
        let votes = reference.votes();
        let wanted = &reference.said.shape;
        let tries = if self.waits(role, call) {
            SOON / AGAIN
        } else {
            1
        };
        for left in (0..tries).rev() {
            let (path, answer) = self.nodes.ask(role, call, &self.memory);
            let said = answer::of_wire(&path, answer, votes);
            let same = shape::alike(&said.shape, wanted)
                || self
                    .nodes
                    .known
                    .explains(call, &said.shape.to_string(), &wanted.to_string());
            if same || left == 0 {
                self.memory.keep(&path, &said.body);
            }
            if same {
                COMPARED.set(COMPARED.get() + 1);
                return;
            }
            assert!(
                left > 0,
                "role {role}: {}",
                live::difference(call, &said.shape, wanted)
            );
            self.nodes.wire.sleep(AGAIN);
        }
    }

    /// Whether the answer may be a little late: what heartbeats tell, and what OpenBao's standbys read themselves.
    fn waits(&self, role: usize, call: &Call) -> bool {
        let told = call.path.starts_with("sys/health") || call.path == "sys/ha-status";
        let harmless = [
            "m/encrypt/",
            "m/decrypt/",
            "auth/token/lookup",
            "sys/capabilities",
        ];
        let reads = matches!(call.method.as_str(), "GET" | "LIST" | "HEAD")
            || harmless.iter().any(|h| call.path.starts_with(h));
        let wraps = call
            .headers
            .iter()
            .any(|(name, _)| name == "X-Vault-Wrap-TTL");
        told || self.nodes.flavour == Flavour::OpenBao && role != 0 && reads && !wraps
    }
}

impl<P: Product> StateMachineTest for Twin<P> {
    type SystemUnderTest = Live;
    type Reference = Reference<P>;

    fn init_test(_: &State) -> Live {
        let nodes = CURRENT.with_borrow(Clone::clone);
        let nodes = nodes.expect("a cluster is started before the test runs");
        must(nodes.heal());
        Live {
            nodes,
            memory: Memory::default(),
        }
    }

    fn apply(
        mut live: Live,
        reference: &<Self::Reference as ReferenceStateMachine>::State,
        step: Step,
    ) -> Live {
        let nodes = Rc::clone(&live.nodes);
        let votes = reference.votes();
        note(|| format!("{:?} {step}", model::now()));
        match step {
            Step::Ask(role, call) => {
                let used = live.memory.fill(&call);
                live.compare(reference, role, &call);
                if reference.leads {
                    nodes.turn_to_leader();
                    nodes.wire.await_ends(&used);
                    if !matches!(call.method.as_str(), "GET" | "LIST" | "HEAD") {
                        must(nodes.catch_up(votes));
                    }
                }
            }
            Step::Do(role, deed) => {
                if let Some(call) = deed.call(&nodes.key) {
                    live.compare(reference, role, &call);
                }
                must(nodes.handle(role, deed));
                if reference.changed && reference.leads {
                    let another = deed == Deed::StepDown;
                    must(nodes.agree(reference.voters, reference.elected, another));
                    must(nodes.catch_up(votes));
                } else if reference.changed {
                    must(nodes.give_up(reference.voters));
                }
            }
        }
        live
    }
}
