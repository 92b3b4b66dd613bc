//! The reference: sim-vault's core as a state machine of proptest.

use std::{
    fmt,
    marker::PhantomData,
    sync::{LazyLock, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use sim_vault::{Core, Flavour, Options, Request, Response, TokenReview};

use crate::{
    call::Call,
    memory::Memory,
    shape::{self, Said},
    strategy,
    surface::{Family, families},
};

/// Which product is compared.
pub trait Product: Send + Sync + 'static {
    const FLAVOUR: Flavour;
}

/// OpenBao.
pub struct OpenBao;

/// HashiCorp Vault, community edition.
pub struct HashiCorp;

impl Product for OpenBao {
    const FLAVOUR: Flavour = Flavour::OpenBao;
}

impl Product for HashiCorp {
    const FLAVOUR: Flavour = Flavour::Vault;
}

/// The reference of one product.
pub struct Reference<P>(PhantomData<P>);

/// A core and what it has given out.
#[derive(Clone)]
pub struct Model {
    pub core: Core,
    memory: Memory,
    /// Where calls say `root`.
    root: String,
}

impl Model {
    /// One that begins when the process began to count.
    pub fn new(options: Options) -> Self {
        let root = options.root_token.clone();
        let mut core = Core::new(Options {
            start_unix: START.as_secs(),
            ..options
        });
        // nothing listens where the kubernetes method would ask
        core.set_token_review(TokenReview::Fails);
        Self {
            core,
            memory: Memory::default(),
            root,
        }
    }

    /// Makes a call, as `handle` has it: the path that was asked, and the answer.
    pub fn ask(
        &mut self,
        call: &Call,
        handle: impl FnOnce(&mut Core, &Request) -> Response,
    ) -> (String, Response) {
        let filled = self.memory.fill(call);
        let path = format!("/v1/{}", filled.path);
        let mut request = Request::new(&call.method, &path);
        match filled.token.as_str() {
            "" => {}
            "root" => request = request.token(&self.root),
            token => request = request.token(token),
        }
        request.headers.extend(call.headers.iter().cloned());
        request.body = filled.body.unwrap_or_default().into();
        let response = handle(&mut self.core, &request);
        self.memory.keep(&path, &response.json());
        (path, response)
    }
}

/// A model and its latest answer.
#[derive(Clone)]
pub struct State {
    model: Model,
    focus: usize,
    made: usize,
    /// When the latest call was made.
    pub at: Duration,
    pub said: Said,
}

/// Proptest prints the first state of what it found: the calls say all.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("focus", &FAMILIES[self.focus].name)
            .finish_non_exhaustive()
    }
}

/// What may be asked.
pub static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(families);

thread_local! {
    /// One strategy a family: building them takes longer than drawing from them.
    static STRATEGIES: Vec<BoxedStrategy<Call>> =
        (0..FAMILIES.len()).map(|on| strategy::focused(&FAMILIES, on)).collect();
}

/// The calls of a sequence that concentrates on one family.
pub fn calls(focus: usize) -> BoxedStrategy<Call> {
    STRATEGIES.with(|all| all[focus].clone())
}

/// Time since the whole second in which this process began to count, by the wall clock: seconds end when the live server's do.
pub fn now() -> Duration {
    unix().saturating_sub(Duration::from_secs(START.as_secs()))
}

#[expect(clippy::disallowed_methods, reason = "see [`now`]")]
fn unix() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// When this process began to count.
pub static START: LazyLock<Duration> = LazyLock::new(unix);

/// What takes seconds to make is made once: the first calls of a family whose keys are long.
static LAID: [OnceLock<State>; 2] = [const { OnceLock::new() }; 2];

impl State {
    /// The calls that lay the family's ground before the sequence begins.
    pub fn laid(&self) -> &'static [Call] {
        if FAMILIES[self.focus].slow {
            &FAMILIES[self.focus].prelude
        } else {
            &[]
        }
    }

    fn born(flavour: Flavour, focus: usize) -> Self {
        let mut state = Self::new(flavour, focus);
        if !FAMILIES[focus].slow {
            return state;
        }
        let laid = LAID[usize::from(flavour.is_vault())].get_or_init(|| {
            for call in &FAMILIES[focus].prelude {
                state.make(call);
            }
            state
        });
        laid.clone()
    }

    fn make(&mut self, call: &Call) {
        self.at = now();
        let at = self.at;
        let (path, response) = self
            .model
            .ask(call, |core, request| core.handle(at, request));
        self.made += 1;
        self.said = shape::of_model(&call.method, &path, &response);
    }

    fn new(flavour: Flavour, focus: usize) -> Self {
        let options = Options {
            flavour,
            ..Options::default()
        };
        Self {
            model: Model::new(options),
            focus,
            made: 0,
            at: Duration::ZERO,
            said: Said::default(),
        }
    }
}

impl<P: Product> ReferenceStateMachine for Reference<P> {
    type State = State;
    type Transition = Call;

    fn init_state() -> BoxedStrategy<State> {
        let usable: Vec<usize> = (0..FAMILIES.len())
            .filter(|n| !FAMILIES[*n].openbao_only || P::FLAVOUR.is_openbao())
            .flat_map(|n| {
                // the live server makes long keys each time
                let weight = if FAMILIES[n].slow { 1 } else { 8 };
                std::iter::repeat_n(n, weight)
            })
            .collect();
        proptest::sample::select(usable)
            .prop_map(|focus| State::born(P::FLAVOUR, focus))
            .no_shrink()
            .boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Call> {
        match FAMILIES[state.focus].prelude.get(state.made) {
            Some(call) => Just(call.clone()).boxed(),
            None => calls(state.focus),
        }
    }

    fn apply(mut state: State, call: &Call) -> State {
        state.make(call);
        state
    }
}

/// A state for calls that are written down.
pub fn born<P: Product>() -> State {
    State::new(P::FLAVOUR, 0)
}
