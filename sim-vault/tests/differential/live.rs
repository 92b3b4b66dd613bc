//! The system under test: a live dev server, brought back to how it was born before each sequence.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    marker::PhantomData,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kms_process::ports::free_ports;
use libtest_mimic::Failed;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use serde_json::Value;

use crate::{
    call::Call,
    known::Known,
    memory::Memory,
    model::{self, Product, Reference, State},
    shape,
    stories::Story,
    wire::Wire,
};

/// The server's process.
pub struct Server {
    process: Child,
    wire: Wire,
    pub known: Known,
    /// Calls compared so far.
    pub compared: Cell<u64>,
    /// A second ended between the model's answer and the live one.
    straddled: Cell<bool>,
    /// With `DIFFERENTIAL_SURVEY`: differences are not failures but collected, each once, with what led to it.
    pub survey: Option<RefCell<BTreeMap<String, (u64, String)>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How often a sequence is made until no second ends during one of its calls.
const TRIES: u32 = 20;

thread_local! {
    /// Proptest's traits hand nothing in: the server of this thread.
    static CURRENT: RefCell<Option<Rc<Server>>> = const { RefCell::new(None) };
}

/// The thread's server, until this is dropped: what a thread keeps for itself may outlive the process's end.
pub struct Running(Rc<Server>);

impl std::ops::Deref for Running {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Server {
    /// Starts the live server in dev mode on a free port.
    pub fn start(binary: &Path, known: Known) -> Result<Running, Failed> {
        let [port] = free_ports().map_err(|error| format!("{error:#}"))?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let process = Command::new(binary)
            .args([
                "server",
                "-dev",
                "-dev-root-token-id=root",
                "-dev-no-store-token",
            ])
            .arg(format!("-dev-listen-address={to}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Rc::new(Self {
            process,
            wire: Wire::new(to)?,
            known,
            compared: Cell::new(0),
            straddled: Cell::new(false),
            survey: std::env::var_os("DIFFERENTIAL_SURVEY").map(|_| RefCell::default()),
        });
        for _ in 0..400 {
            server.wire.sleep(50);
            if server.wire.ask("GET", "auth/token/lookup-self").shape["status"] == 200 {
                server.wire.keep_default_policy();
                CURRENT.set(Some(Rc::clone(&server)));
                return Ok(Running(server));
            }
        }
        Err("the live server did not come up within 20 s".into())
    }

    /// What the live server answers otherwise than a story has it.
    pub fn told<P: Product>(&self, story: &Story) -> Vec<String> {
        self.wire.clean(P::FLAVOUR);
        let mut memory = Memory::default();
        let mut wrong = Vec::new();
        for step in &story.steps {
            let used = memory.fill(&step.call);
            let said = self.wire.say(&step.call, Ipv4Addr::LOCALHOST, &mut memory);
            self.wire.await_ends(&used);
            let status = said.shape["status"].as_u64().unwrap_or_default();
            let checked = step.check(P::FLAVOUR, status, &said.body);
            wrong.extend(checked.err());
        }
        wrong
    }

    /// The first difference in a sequence, the list of known ones aside.
    pub fn difference<P: Product>(&self, calls: &[Call]) -> Option<String> {
        let state = model::born::<P>();
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.run::<P>(state, calls, None, false);
        }));
        let panic = run.err()?;
        let text = panic.downcast_ref::<String>();
        Some(text.cloned().unwrap_or_default())
    }

    /// Makes the calls on both; panics at the first difference. If a second ended during one of the calls, times may
    /// differ for that alone: then the whole sequence is made once more.
    pub fn run<P: Product>(
        &self,
        state: State,
        calls: &[Call],
        seen: Option<Arc<AtomicUsize>>,
        excuse: bool,
    ) {
        for attempt in 0..TRIES {
            self.straddled.set(false);
            if let Some(seen) = &seen {
                seen.store(0, Ordering::SeqCst);
            }
            let before = self.compared.get();
            EXCUSE.set(excuse);
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                Twin::<P>::test_sequential(
                    Config::default(),
                    state.clone(),
                    calls.to_vec(),
                    seen.clone(),
                );
            }));
            match run {
                Ok(()) => return,
                Err(_) if self.straddled.get() && attempt + 1 < TRIES => self.compared.set(before),
                Err(panic) => {
                    let made = usize::try_from(self.compared.get() - before).unwrap_or(usize::MAX);
                    self.surveyed(calls.get(..made).unwrap_or(calls), panic);
                    return;
                }
            }
        }
    }

    /// A difference: the test ends with it, or a survey collects it with the calls that led to it.
    fn surveyed(&self, calls: &[Call], panic: Box<dyn std::any::Any + Send>) {
        let Some(survey) = &self.survey else {
            std::panic::resume_unwind(panic);
        };
        let Some((last, text)) = calls.last().zip(panic.downcast_ref::<String>()) else {
            std::panic::resume_unwind(panic);
        };
        let leaves = text.split_once('\n').unwrap_or_default().1;
        let calls: Vec<String> = calls.iter().map(|c| format!("   {c}")).collect();
        let mut survey = survey.borrow_mut();
        let kind = survey.entry(format!("{} {leaves}", last.method));
        kind.or_insert((0, calls.join("\n"))).0 += 1;
    }
}

thread_local! {
    /// Whether the list of known differences counts.
    static EXCUSE: Cell<bool> = const { Cell::new(true) };
}

/// The live server beside the reference.
pub struct Twin<P>(PhantomData<P>);

/// The server and what it has given out.
pub struct Live {
    server: Rc<Server>,
    memory: Memory,
}

impl<P: Product> StateMachineTest for Twin<P> {
    type SystemUnderTest = Live;
    type Reference = Reference<P>;

    fn init_test(state: &State) -> Live {
        let server = CURRENT.with_borrow(Clone::clone);
        let server = server.expect("a server is started before the test runs");
        server.wire.clean(P::FLAVOUR);
        let mut memory = Memory::default();
        for call in state.laid() {
            server.wire.say(call, Ipv4Addr::LOCALHOST, &mut memory);
        }
        Live { server, memory }
    }

    fn apply(
        mut live: Live,
        reference: &<Self::Reference as ReferenceStateMachine>::State,
        call: Call,
    ) -> Live {
        let server = Rc::clone(&live.server);
        let used = live.memory.fill(&call);
        let said = server
            .wire
            .say(&call, Ipv4Addr::LOCALHOST, &mut live.memory);
        server.wire.await_ends(&used);
        if model::now().as_secs() != reference.at.as_secs() {
            server.straddled.set(true);
        }
        server.compared.set(server.compared.get() + 1);
        let (a, b) = (&said.shape, &reference.said.shape);
        if !shape::alike(a, b) {
            let known =
                EXCUSE.get() && server.known.explains(&call, &a.to_string(), &b.to_string());
            assert!(known, "{}", difference(&call, a, b));
        }
        live
    }
}

/// The call and the leaves in which the answers differ.
pub fn difference(call: &Call, live: &Value, model: &Value) -> String {
    let mut out = call.to_string();
    leaves("", Some(live), Some(model), &mut out);
    out
}

fn leaves(at: &str, live: Option<&Value>, model: Option<&Value>, out: &mut String) {
    if let (Some(a), Some(b)) = (live, model)
        && shape::alike(a, b)
    {
        return;
    }
    if let (Some(Value::Object(a)), Some(Value::Object(b))) = (live, model) {
        for name in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
            leaves(&format!("{at}/{name}"), a.get(name), b.get(name), out);
        }
        return;
    }
    let shown = |side: Option<&Value>| side.map_or_else(|| "absent".to_owned(), Value::to_string);
    out.push_str(&format!(
        "\n  {at}\n    live  {}\n    model {}",
        shown(live),
        shown(model)
    ));
}
