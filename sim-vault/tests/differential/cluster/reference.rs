//! The reference: one core, and three nodes that stand to it in their roles. Role 0 leads, or did last.
//!
//! Which node comes to lead is the live cluster's choice. The model elects the first that can, and the live nodes are dealt
//! their roles accordingly (see [`super::nodes`]): among standbys that are up and unsealed the one is as good as the other.

use std::{fmt, marker::PhantomData, time::Duration};

use proptest::{prelude::*, sample::select, strategy::Union};
use proptest_state_machine::ReferenceStateMachine;
use serde_json::json;
use sim_vault::{Core, Flavour, Leader, Member, Node, Options, Request, Storage};

use super::{
    answer,
    nodes::NODES,
    step::{Deed, Step},
};
use crate::{
    call::Call,
    model::{self, FAMILIES, Model, Product},
    shape::Said,
    strategy,
    surface::cluster::{leaderless, nodes},
};

/// Families whose calls are made to all nodes.
const FOCUSES: [&str; 8] = [
    "transit", "keys", "tokens", "userpass", "approle", "policy", "wrapping", "mounts",
];

/// The model of the cluster.
pub struct Reference<P>(PhantomData<P>);

/// A model, its nodes, and its latest answer.
#[derive(Clone)]
pub struct State {
    model: Model,
    nodes: [Node; NODES],
    up: [bool; NODES],
    /// A node leads: the one with role 0.
    pub leads: bool,
    /// The latest step changed who leads or who can vote.
    pub changed: bool,
    /// Which nodes were up and unsealed after the latest deed, by the roles that they had before it.
    pub voters: [bool; NODES],
    /// The role that the latest step's new leader had before.
    pub elected: Option<usize>,
    focus: usize,
    made: usize,
    /// The model lies about whom a standby names as leader: a difference that must be found.
    pub planted: bool,
    pub said: Said,
}

/// Proptest prints the first state of what it found: the steps say all.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("focus", &FAMILIES[self.focus].name)
            .finish_non_exhaustive()
    }
}

/// The names that the node of a role has in answers.
pub fn member(role: usize) -> Member {
    Member {
        name: format!("node{role}"),
        api_addr: format!("http://api{role}.test"),
        cluster_addr: format!("cluster{role}.test"),
        leads: role == 0,
        heard: true,
    }
}

thread_local! {
    static OF_NODES: BoxedStrategy<Call> = strategy::any_of(&nodes());
    static OF_LEADERLESS: BoxedStrategy<Call> = strategy::any_of(&leaderless());
}

impl State {
    pub fn new(flavour: Flavour, focus: usize) -> Self {
        let mut state = Self {
            model: Model::new(Options {
                flavour,
                storage: Storage::Raft,
                root_token: root(flavour),
                ..Options::default()
            }),
            nodes: Default::default(),
            up: [true; NODES],
            leads: true,
            changed: false,
            voters: [true; NODES],
            elected: None,
            focus,
            made: 0,
            planted: false,
            said: Said::default(),
        };
        state.stand();
        // as the live nodes are set up: see [`super::nodes`]
        let soon = json!({ "server_stabilization_time": "1s" });
        let path = "sys/storage/raft/autopilot/configuration";
        state.ask(0, &Call::new("POST", path, soon));
        state
    }

    /// Which nodes are up and unsealed.
    pub fn votes(&self) -> [bool; NODES] {
        std::array::from_fn(|role| self.up[role] && !self.nodes[role].sealed)
    }

    fn voting(&self) -> usize {
        self.votes().into_iter().filter(|votes| *votes).count()
    }

    fn make(&mut self, step: &Step) {
        (self.changed, self.elected, self.said) = (false, None, Said::default());
        match step {
            Step::Ask(role, call) => self.ask(*role, call),
            Step::Do(role, deed) => {
                let before = self.votes();
                if let Some(call) = deed.call(&self.model.core.unseal_keys().concat()) {
                    self.ask(*role, &call);
                }
                match deed {
                    Deed::Kill => self.up[*role] = false,
                    Deed::Start => {
                        self.up[*role] = true;
                        self.nodes[*role] = Node {
                            standby: true,
                            sealed: true,
                            ..Node::default()
                        };
                    }
                    Deed::StepDown | Deed::Seal | Deed::Unseal => {}
                }
                self.voters = self.votes();
                self.changed = before != self.voters;
                let gives_up = *deed == Deed::StepDown;
                if self.voters.into_iter().filter(|votes| *votes).count() <= NODES / 2 {
                    self.leads = false;
                } else if !self.leads || !self.voters[0] || gives_up {
                    let first = usize::from(gives_up);
                    self.elect((first..NODES).find(|role| self.voters[*role]));
                }
                self.stand();
            }
        }
        self.made += 1;
    }

    fn ask(&mut self, role: usize, call: &Call) {
        let node = &mut self.nodes[role];
        let handle =
            |core: &mut Core, request: &Request| core.handle_on(node, model::now(), request);
        let (path, response) = self.model.ask(call, handle);
        self.said = answer::of_model(&call.method, &path, &response);
        if self.planted && response.status == 307 {
            self.said.shape["headers"]["Location"] = format!("{}{path}", member(2).api_addr).into();
        }
    }

    fn elect(&mut self, role: Option<usize>) {
        let Some(role) = role else {
            return;
        };
        self.nodes.swap(0, role);
        self.up.swap(0, role);
        (self.leads, self.changed, self.elected) = (true, true, Some(role));
    }

    /// Every node learns how it stands.
    fn stand(&mut self) {
        let votes = self.votes();
        for (role, node) in self.nodes.iter_mut().enumerate() {
            node.standby = !self.leads || role != 0;
            node.leader = match (self.leads, role) {
                (true, _) => Leader::Alive,
                // it gave up by itself
                (false, 0) => Leader::None,
                (false, _) => Leader::Lost(Duration::ZERO),
            };
        }
        let heard = |(role, heard)| Member {
            heard,
            ..member(role)
        };
        self.model
            .core
            .set_members(votes.into_iter().enumerate().map(heard).collect());
    }

    /// Whether that can be done, and what comes of it can be waited for.
    fn can(&self, role: usize, deed: Deed) -> bool {
        let (up, votes) = (self.up[role], self.votes()[role]);
        match deed {
            Deed::StepDown => self.leads && votes,
            // a leader that is left alone soon after its election may not notice: the real ones then answer `active` for good
            Deed::Seal => self.leads && votes && self.voting() == NODES,
            Deed::Kill if votes => self.voting() == NODES || self.leads && role == 0,
            Deed::Kill => up,
            Deed::Unseal => up && !votes,
            Deed::Start => !up,
        }
    }

    /// How often that is done, among a hundred steps or so: what costs the cluster its leader takes longest.
    fn weight(&self, role: usize, deed: Deed) -> u32 {
        let heals = matches!(deed, Deed::Unseal | Deed::Start);
        let breaks = matches!(deed, Deed::Seal | Deed::Kill) && self.voting() <= NODES / 2 + 1;
        match (self.leads, heals, breaks && self.votes()[role]) {
            (false, true, _) => 8,
            (_, true, _) => 6,
            (_, _, true) => 1,
            _ => 2,
        }
    }
}

/// A root token in the form that the servers give it.
fn root(flavour: Flavour) -> String {
    match flavour {
        Flavour::OpenBao => "s.rootrootrootrootrootroot",
        Flavour::Vault => "hvs.rootrootrootrootrootroot",
    }
    .to_owned()
}

impl<P: Product> ReferenceStateMachine for Reference<P> {
    type State = State;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<State> {
        // OpenBao's standbys may go on with a token's policies as they were before one was added, for longer than can be waited
        let stale = |name: &str| P::FLAVOUR.is_openbao() && name == "policy";
        let usable: Vec<usize> = (0..FAMILIES.len())
            .filter(|n| FOCUSES.contains(&FAMILIES[*n].name) && !stale(FAMILIES[*n].name))
            .collect();
        select(usable)
            .prop_map(|focus| State::new(P::FLAVOUR, focus))
            .no_shrink()
            .boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Step> {
        if let Some(call) = FAMILIES[state.focus].prelude.get(state.made) {
            return Just(Step::Ask(0, call.clone())).boxed();
        }
        // a sealed node has little to say
        let roles: Vec<usize> = (0..NODES)
            .filter(|role| state.up[*role])
            .flat_map(|role| std::iter::repeat_n(role, if state.votes()[role] { 4 } else { 1 }))
            .collect();
        let at = |calls: BoxedStrategy<Call>| {
            (select(roles.clone()), calls)
                .prop_map(|(role, call)| Step::Ask(role, call))
                .boxed()
        };
        let mut steps = if state.leads {
            vec![
                (240, at(model::calls(state.focus))),
                (160, at(OF_NODES.with(BoxedStrategy::clone))),
            ]
        } else {
            vec![(160, at(OF_LEADERLESS.with(BoxedStrategy::clone)))]
        };
        for role in 0..NODES {
            for deed in Deed::ALL.into_iter().filter(|deed| state.can(role, *deed)) {
                let step = Just(Step::Do(role, deed)).boxed();
                steps.push((state.weight(role, deed), step));
            }
        }
        Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &State, step: &Step) -> bool {
        match step {
            Step::Do(role, deed) => state.can(*role, *deed),
            Step::Ask(role, call) => {
                let plain = || leaderless().iter().any(|row| row.has(call));
                state.up[*role] && (state.leads || plain())
            }
        }
    }

    fn apply(mut state: State, step: &Step) -> State {
        state.make(step);
        state
    }
}
