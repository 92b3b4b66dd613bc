//! The system under test: a live dev server, brought back to how it was born before each sequence.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    marker::PhantomData,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libtest_mimic::Failed;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
};

use crate::{
    call::Call,
    client,
    known::Known,
    memory::Memory,
    model::{self, Product, Reference, State},
    shape::{self, Said},
    stories::Story,
    surface,
};

/// The server's process.
pub struct Server {
    process: Child,
    port: u16,
    runtime: Runtime,
    pub known: Known,
    /// The policy `default` as it was: calls may overwrite it, and it cannot be deleted.
    default_policy: OnceCell<Value>,
    /// Calls compared so far.
    pub compared: Cell<u64>,
    /// A second ended between the model's answer and the live one.
    straddled: Cell<bool>,
    /// Calls of the test's own so far.
    own: Cell<u32>,
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let port = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))?
            .local_addr()?
            .port();
        let process = Command::new(binary)
            .args([
                "server",
                "-dev",
                "-dev-root-token-id=root",
                "-dev-no-store-token",
            ])
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Rc::new(Self {
            process,
            port,
            runtime,
            known,
            default_policy: OnceCell::new(),
            compared: Cell::new(0),
            straddled: Cell::new(false),
            own: Cell::new(0),
            survey: std::env::var_os("DIFFERENTIAL_SURVEY").map(|_| RefCell::default()),
        });
        for _ in 0..400 {
            server
                .runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
            if server.ask("GET", "auth/token/lookup-self").shape["status"] == 200 {
                let default = server.ask("GET", "sys/policies/acl/default");
                let text = default.body["data"]["policy"].clone();
                server.default_policy.get_or_init(|| text);
                CURRENT.set(Some(Rc::clone(&server)));
                return Ok(Running(server));
            }
        }
        Err("the live server did not come up within 20 s".into())
    }

    /// A call of the test's own, each from another address: quotas count by address, and would keep the test from removing them.
    fn ask(&self, method: &str, path: &str) -> Said {
        self.tell(method, path, Value::Null)
    }

    fn tell(&self, method: &str, path: &str, body: Value) -> Said {
        let n = self.own.get() + 1;
        self.own.set(n);
        let [_, a, b, c] = n.to_be_bytes();
        self.say(
            &Call::new(method, path, body),
            Ipv4Addr::new(127, a | 1, b, c),
            &mut Memory::default(),
        )
    }

    fn say(&self, call: &Call, from: Ipv4Addr, memory: &mut Memory) -> Said {
        let filled = memory.fill(call);
        let mut headers = vec![("Connection".to_owned(), "close".to_owned())];
        if !filled.token.is_empty() {
            headers.push(("X-Vault-Token".to_owned(), filled.token));
        }
        headers.extend(call.headers.iter().cloned());
        let path = format!("/v1/{}", filled.path);
        let body = filled.body.as_deref().map(str::as_bytes);
        let answer = self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().map_err(|_| "no socket")?;
            socket
                .bind((from, 0).into())
                .map_err(|_| "no address to call from")?;
            let stream = socket
                .connect((Ipv4Addr::LOCALHOST, self.port).into())
                .await
                .map_err(|_| "refused")?;
            let exchange = client::exchange(stream, &call.method, &path, &headers, body);
            tokio::time::timeout(Duration::from_secs(60), exchange)
                .await
                .map_err(|_| "no answer within 60 s")?
        });
        let said = shape::of_wire(&path, answer);
        memory.keep(&path, &said.body);
        said
    }

    /// What the live server answers otherwise than a story has it.
    pub fn told<P: Product>(&self, story: &Story) -> Vec<String> {
        self.clean::<P>();
        let mut memory = Memory::default();
        let mut wrong = Vec::new();
        for step in &story.steps {
            let used = memory.fill(&step.call).token;
            let said = self.say(&step.call, Ipv4Addr::LOCALHOST, &mut memory);
            self.await_end_of(&used);
            let status = said.shape["status"].as_u64().unwrap_or_default();
            let checked = step.check(P::FLAVOUR, status, &said.body);
            wrong.extend(checked.err());
        }
        wrong
    }

    /// Removes what a new server does not have.
    fn clean<P: Product>(&self) {
        self.ask("POST", "sys/namespaces/api-lock/unlock/n");
        let keys = |said: &Said| -> Vec<String> {
            let data = said.body["data"].as_object().into_iter().flatten();
            data.map(|(k, _)| k.clone()).collect()
        };
        let listed = |said: &Said| -> Vec<String> {
            let list = said.body["data"]["keys"].as_array().into_iter().flatten();
            list.filter_map(|k| k.as_str().map(str::to_owned)).collect()
        };
        let mut calls = Vec::new();
        for path in keys(&self.ask("GET", "sys/mounts")) {
            if !["cubbyhole/", "identity/", "secret/", "sys/"].contains(&path.as_str()) {
                calls.push(format!("sys/mounts/{path}"));
            }
        }
        for path in keys(&self.ask("GET", "sys/auth")) {
            if path != "token/" {
                calls.push(format!("sys/auth/{path}"));
            }
        }
        for name in listed(&self.ask("LIST", "sys/policies/acl")) {
            if !["default", "root"].contains(&name.as_str()) {
                calls.push(format!("sys/policies/acl/{}", name.replace(' ', "%20")));
            }
        }
        for (list, below) in [
            ("sys/quotas/rate-limit", "sys/quotas/rate-limit"),
            ("auth/token/roles", "auth/token/roles"),
        ] {
            for name in listed(&self.ask("LIST", list)) {
                calls.push(format!(
                    "{below}/{}",
                    name.trim_end_matches('/').replace(' ', "%20")
                ));
            }
        }
        let locked = self.ask("GET", "sys/locked-users");
        for mount in locked
            .body
            .pointer("/data/by_namespace/0/mount_accessors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            for user in mount["alias_identifiers"].as_array().into_iter().flatten() {
                let (mount, user) = (mount["mount_accessor"].as_str(), user.as_str());
                if let (Some(mount), Some(user)) = (mount, user) {
                    self.ask("POST", &format!("sys/locked-users/{mount}/unlock/{user}"));
                }
            }
        }
        for call in calls {
            self.ask("DELETE", &call);
        }
        let text = self.default_policy.get();
        self.tell("PUT", "sys/policies/acl/default", json!({ "policy": text }));
        for id in surface::OWN_TOKENS {
            self.tell("POST", "auth/token/revoke", json!({ "token": id }));
        }
        for path in ["x", "y", "x/y"] {
            self.ask("DELETE", &format!("cubbyhole/{path}"));
            self.ask("DELETE", &format!("secret/metadata/{path}"));
        }
        self.tell(
            "POST",
            "sys/quotas/config",
            json!({ "rate_limit_exempt_paths": surface::EXEMPT }),
        );
        if P::FLAVOUR.is_openbao() {
            self.remove_namespaces();
        }
    }

    /// Namespaces go slowly, the inner ones first.
    fn remove_namespaces(&self) {
        for _ in 0..200 {
            let left = self.ask("LIST", "sys/namespaces");
            let names = left.body["data"]["keys"].as_array().into_iter().flatten();
            let names: Vec<&str> = names.filter_map(Value::as_str).collect();
            if names.is_empty() {
                return;
            }
            for name in names {
                let name = name.trim_end_matches('/').replace(' ', "%20");
                self.ask("DELETE", &format!("sys/namespaces/{name}/o"));
                self.ask("DELETE", &format!("sys/namespaces/{name}"));
            }
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        }
    }

    /// A token's last use ends it, but the server revokes it in the background: until then others still see it, with -1
    /// uses left. How many calls later it has gone is chance, so the comparison goes on when it has.
    fn await_end_of(&self, token: &str) {
        if ["", "root", "none"].contains(&token) {
            return;
        }
        let body = json!({ "token": token });
        for _ in 0..400 {
            let found = self.tell("POST", "auth/token/lookup", body.clone());
            if found.body["data"]["num_uses"] != -1 {
                return;
            }
            self.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
        }
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
        server.clean::<P>();
        let mut memory = Memory::default();
        for call in state.laid() {
            server.say(call, Ipv4Addr::LOCALHOST, &mut memory);
        }
        Live { server, memory }
    }

    fn apply(
        mut live: Live,
        reference: &<Self::Reference as ReferenceStateMachine>::State,
        call: Call,
    ) -> Live {
        let server = Rc::clone(&live.server);
        let used = live.memory.fill(&call).token;
        let said = server.say(&call, Ipv4Addr::LOCALHOST, &mut live.memory);
        server.await_end_of(&used);
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
fn difference(call: &Call, live: &Value, model: &Value) -> String {
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
