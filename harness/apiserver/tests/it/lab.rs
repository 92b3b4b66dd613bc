//! A laboratory: servers of the model, plugins that do as they are told, and a clock of its own.
//!
//! No time passes but by [`Lab::run`]; an answer takes as long as its plugin's delay says.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use kms_apiserver::encryption::{Encryption, Read};
use kms_apiserver::grpc::{Code, Method, Status};
use kms_apiserver::options::Options;
use kms_apiserver::seam::{
    Action, CallId, ConnId, DialError, Event, GroupResource, Now, Plain, ProbeId, ProviderId,
};
use kms_apiserver::version::Version;
use rand::TryRng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

pub const SOCKET: &str = "/run/kms/plugin.sock";
pub const KEY: &str = "/registry/secrets/default/demo";
pub const CONFIG: &str = "kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
  - resources: [secrets]
    providers:
      - kms:
          apiVersion: v2
          name: lab
          endpoint: unix:///run/kms/plugin.sock
      - identity: {}
";

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secrets() -> GroupResource {
    GroupResource::core("secrets")
}

pub fn options(minor: u8) -> Options {
    let mut options = Options::new(Version::new(minor).unwrap(), "/etc/kms/config.yaml");
    options.server_id = "lab".to_owned();
    options
}

/// How a method behaves.
#[derive(Clone)]
pub enum Mode {
    Well,
    Fails(Code),
    Hangs,
    /// The connection is cut instead of an answer.
    Cuts,
    /// These bytes, whatever was asked.
    Says(Vec<u8>),
}

/// A plugin behind one socket.
pub struct Plugin {
    /// Whether the socket answers dials.
    pub up: bool,
    /// Accepts, and never speaks.
    pub silent: bool,
    pub version: String,
    pub healthz: String,
    pub key_id: String,
    /// What Encrypt answers, if not the same.
    pub encrypt_key_id: Option<String>,
    pub annotations: BTreeMap<String, Vec<u8>>,
    pub status: Mode,
    pub encrypt: Mode,
    pub decrypt: Mode,
    pub delay: BTreeMap<&'static str, Duration>,
    /// Wraps as upstream's own mock: in base64 (KMS2-MOCK-02).
    pub base64: bool,
    /// Every plaintext that Encrypt was given.
    pub seeds: Vec<Vec<u8>>,
}

impl Default for Plugin {
    fn default() -> Self {
        Plugin {
            up: true,
            silent: false,
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: "key-1".to_owned(),
            encrypt_key_id: None,
            annotations: BTreeMap::new(),
            status: Mode::Well,
            encrypt: Mode::Well,
            decrypt: Mode::Well,
            delay: BTreeMap::new(),
            base64: false,
            seeds: Vec::new(),
        }
    }
}

impl Plugin {
    /// Upstream's own test plugin (KMS2-MOCK-02).
    pub fn mock() -> Self {
        let annotation = b"encrypted-local-kek".to_vec();
        Plugin {
            version: "v2beta1".to_owned(),
            key_id: "1".to_owned(),
            annotations: BTreeMap::from([("local-kek.kms.kubernetes.io".to_owned(), annotation)]),
            base64: true,
            ..Plugin::default()
        }
    }

    /// Everything fails, or nothing.
    pub fn fail(&mut self, fail: Option<Code>) {
        let mode = fail.map_or(Mode::Well, Mode::Fails);
        (self.status, self.encrypt, self.decrypt) = (mode.clone(), mode.clone(), mode);
    }

    pub fn wrap(&self, seed: &[u8]) -> Vec<u8> {
        if self.base64 {
            base64::engine::general_purpose::STANDARD
                .encode(seed)
                .into_bytes()
        } else {
            seed.iter().map(|byte| byte ^ 0x5a).collect()
        }
    }

    pub fn unwrap(&self, wrapped: &[u8]) -> Option<Vec<u8>> {
        if self.base64 {
            base64::engine::general_purpose::STANDARD
                .decode(wrapped)
                .ok()
        } else {
            Some(self.wrap(wrapped))
        }
    }

    fn answer(&mut self, method: Method, request: &[u8]) -> Option<Result<Vec<u8>, Status>> {
        let mode = match method {
            Method::Status => &self.status,
            Method::Encrypt => &self.encrypt,
            Method::Decrypt => &self.decrypt,
        };
        match mode {
            Mode::Well => {}
            Mode::Fails(code) => return Some(Err(Status::new(*code, "told to fail"))),
            Mode::Hangs | Mode::Cuts => return None,
            Mode::Says(bytes) => return Some(Ok(bytes.clone())),
        }
        if method != Method::Status && field(request, 2).is_empty() {
            return Some(Err(Status::new(Code(3), "no uid")));
        }
        let mut bytes = Vec::new();
        match method {
            Method::Status => {
                put(&mut bytes, 1, self.version.as_bytes());
                put(&mut bytes, 2, self.healthz.as_bytes());
                put(&mut bytes, 3, self.key_id.as_bytes());
            }
            Method::Encrypt => {
                let seed = field(request, 1);
                put(&mut bytes, 1, &self.wrap(&seed));
                let key_id = self.encrypt_key_id.as_ref().unwrap_or(&self.key_id);
                put(&mut bytes, 2, key_id.as_bytes());
                for (key, value) in &self.annotations {
                    let mut entry = Vec::new();
                    put(&mut entry, 1, key.as_bytes());
                    put(&mut entry, 2, value);
                    put(&mut bytes, 3, &entry);
                }
                self.seeds.push(seed);
            }
            Method::Decrypt => match self.unwrap(&field(request, 1)) {
                Some(seed) => put(&mut bytes, 1, &seed),
                None => return Some(Err(Status::new(Code(3), "not wrapped here"))),
            },
        }
        Some(Ok(bytes))
    }
}

/// A call that arrived at a plugin.
#[derive(Clone)]
pub struct Call {
    pub server: usize,
    pub at: Duration,
    pub method: Method,
    pub request: Vec<u8>,
    pub timeout: Duration,
    pub authority: String,
}

/// Everything.
pub struct Lab {
    pub now: Duration,
    /// Wall time minus the laboratory's time.
    pub wall: Duration,
    pub servers: Vec<Encryption>,
    pub plugins: BTreeMap<String, Plugin>,
    pub calls: Vec<Call>,
    pub dials: Vec<(Duration, String)>,
    pub closes: Vec<Duration>,
    /// Per server: the content of its file.
    pub files: Vec<Result<String, String>>,
    pub reloads: Vec<(Duration, Result<(), String>)>,
    pub logs: Vec<String>,
    pub started: BTreeMap<usize, Duration>,
    pub cancelled: Vec<Duration>,
    links: BTreeMap<(usize, ProviderId), Link>,
    on_way: BTreeMap<(usize, CallId), (ProviderId, ConnId)>,
    jobs: BTreeMap<(Duration, u64), Job>,
    made: u64,
    decrypted: BTreeMap<(usize, CallId), Result<Vec<u8>, Status>>,
    probed: BTreeMap<(usize, ProbeId), (Duration, Result<(), String>)>,
}

struct Link {
    socket: String,
    authority: String,
    open: Option<ConnId>,
}

enum Job {
    Dialled(usize, ProviderId, ConnId, Result<(), DialError>),
    Answer(usize, ProviderId, CallId, Result<Vec<u8>, Status>),
    Cut(usize, ProviderId, ConnId),
}

/// Seeds from a generator; jitter in the middle.
pub struct Chance(ChaCha8Rng);

impl TryRng for Chance {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(1 << 63)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl Lab {
    /// Plugins without a server yet; the usual one stands at [`SOCKET`].
    pub fn new() -> Self {
        Lab {
            now: Duration::ZERO,
            wall: seconds(1_800_000_000),
            servers: Vec::new(),
            plugins: BTreeMap::from([(SOCKET.to_owned(), Plugin::default())]),
            calls: Vec::new(),
            dials: Vec::new(),
            closes: Vec::new(),
            files: Vec::new(),
            reloads: Vec::new(),
            logs: Vec::new(),
            started: BTreeMap::new(),
            cancelled: Vec::new(),
            links: BTreeMap::new(),
            on_way: BTreeMap::new(),
            jobs: BTreeMap::new(),
            made: 0,
            decrypted: BTreeMap::new(),
            probed: BTreeMap::new(),
        }
    }

    /// A laboratory with one server of the newest version that has been started.
    pub fn started() -> Self {
        let mut lab = Lab::new();
        lab.ready(CONFIG, options(37));
        lab
    }

    pub fn plugin(&mut self) -> &mut Plugin {
        self.plugins.get_mut(SOCKET).unwrap()
    }

    /// Starts a server; it is the last one. The clock does not move.
    pub fn load(&mut self, config: &str, options: Options) -> usize {
        self.try_load(config, options).unwrap()
    }

    /// Starts a server, and lets happen what takes no time.
    pub fn ready(&mut self, config: &str, options: Options) -> usize {
        let server = self.load(config, options);
        self.run(Duration::ZERO);
        server
    }

    pub fn try_load(&mut self, config: &str, options: Options) -> Result<usize, String> {
        let server = self.servers.len();
        let rng = Chance(ChaCha8Rng::seed_from_u64(server as u64 + 1));
        let model = Encryption::start(self.at(), options, Box::new(rng), config.as_bytes())?;
        self.servers.push(model);
        self.files.push(Ok(config.to_owned()));
        self.pump(server);
        Ok(server)
    }

    pub fn at(&self) -> Now {
        Now {
            mono: self.now,
            unix: self.wall + self.now,
        }
    }

    /// Lets this much time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.step(next);
        }
        self.now = end;
    }

    fn next(&self) -> Option<Duration> {
        let timers = self.servers.iter().filter_map(Encryption::next_deadline);
        let job = self.jobs.keys().next().map(|(at, _)| *at);
        timers.chain(job).min().map(|next| next.max(self.now))
    }

    fn step(&mut self, next: Duration) {
        self.now = next;
        let job = self
            .jobs
            .keys()
            .next()
            .copied()
            .filter(|(at, _)| *at <= next);
        if let Some(job) = job.and_then(|key| self.jobs.remove(&key)) {
            return self.job(job);
        }
        for server in 0..self.servers.len() {
            self.pump(server);
        }
    }

    fn job(&mut self, job: Job) {
        let now = self.at();
        let server = match job {
            Job::Dialled(server, provider, conn, outcome) => {
                if outcome.is_ok() {
                    self.links.get_mut(&(server, provider)).unwrap().open = Some(conn);
                }
                self.servers[server].dialled(now, provider, conn, outcome);
                server
            }
            Job::Answer(server, provider, call, outcome) => {
                self.on_way.remove(&(server, call));
                self.servers[server].answer(now, provider, call, outcome);
                server
            }
            Job::Cut(server, provider, conn) => {
                self.lose(server, provider, conn);
                server
            }
        };
        self.pump(server);
    }

    fn lose(&mut self, server: usize, provider: ProviderId, conn: ConnId) {
        let now = self.at();
        let why = Status::new(Code::UNAVAILABLE, "error reading from server: EOF");
        self.links.get_mut(&(server, provider)).unwrap().open = None;
        self.servers[server].lost(now, provider, conn, &why);
        self.pump(server);
    }

    /// The plugin's process is gone: its socket and its connections.
    pub fn kill(&mut self, socket: &str) {
        self.plugins.get_mut(socket).unwrap().up = false;
        self.cut(socket);
    }

    /// The plugin's connections are cut; its socket stays.
    pub fn cut(&mut self, socket: &str) {
        let open: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.socket == socket)
            .filter_map(|((server, provider), link)| Some((*server, *provider, link.open?)))
            .collect();
        for (server, provider, conn) in open {
            self.lose(server, provider, conn);
        }
    }

    pub fn revive(&mut self, socket: &str) {
        self.plugins.get_mut(socket).unwrap().up = true;
    }

    fn later(&mut self, after: Duration, job: Job) {
        self.made += 1;
        self.jobs.insert((self.now + after, self.made), job);
    }

    pub fn pump(&mut self, server: usize) {
        loop {
            let now = self.at();
            let actions = self.servers[server].poll(now);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(server, action);
            }
        }
    }

    fn act(&mut self, server: usize, action: Action) {
        match action {
            Action::Dial {
                provider,
                conn,
                address,
                authority,
            } => {
                self.dials.push((self.now, address.clone()));
                let outcome = match self.plugins.get(&address) {
                    Some(plugin) if plugin.silent => None,
                    Some(plugin) if plugin.up => Some(Ok(())),
                    _ => Some(Err(DialError::Connect(format!(
                        "dial unix {address}: connect: no such file or directory"
                    )))),
                };
                let link = Link {
                    socket: address,
                    authority,
                    open: None,
                };
                self.links.insert((server, provider), link);
                if let Some(outcome) = outcome {
                    self.later(
                        Duration::ZERO,
                        Job::Dialled(server, provider, conn, outcome),
                    );
                }
            }
            Action::Send {
                provider,
                conn,
                rpc,
            } => {
                let link = &self.links[&(server, provider)];
                let (socket, authority) = (link.socket.clone(), link.authority.clone());
                self.on_way.insert((server, rpc.call), (provider, conn));
                let plugin = self.plugins.get_mut(&socket).unwrap();
                let name = rpc.method.path().rsplit('/').next().unwrap();
                let delay = plugin.delay.get(name).copied().unwrap_or_default();
                let cuts = matches!(
                    match rpc.method {
                        Method::Status => &plugin.status,
                        Method::Encrypt => &plugin.encrypt,
                        Method::Decrypt => &plugin.decrypt,
                    },
                    Mode::Cuts
                );
                let answer = plugin.answer(rpc.method, &rpc.request);
                self.calls.push(Call {
                    server,
                    at: self.now,
                    method: rpc.method,
                    request: rpc.request,
                    timeout: rpc.timeout,
                    authority,
                });
                if cuts {
                    self.later(delay, Job::Cut(server, provider, conn));
                } else if let Some(answer) = answer {
                    self.later(delay, Job::Answer(server, provider, rpc.call, answer));
                }
            }
            Action::Cancel { .. } => self.cancelled.push(self.now),
            Action::AbortDial { .. } => {}
            Action::Close { .. } => self.closes.push(self.now),
            Action::Event(event) => self.happened(server, event),
        }
    }

    fn happened(&mut self, server: usize, event: Event) {
        match event {
            Event::Started => drop(self.started.insert(server, self.now)),
            Event::StartFailed { error } => panic!("{error}"),
            Event::Decrypted { call, outcome } => {
                self.decrypted.insert((server, call), outcome);
            }
            Event::Probed { probe, result } => {
                self.probed.insert((server, probe), (self.now, result));
            }
            Event::ReadConfig => {
                let now = self.at();
                let file = self.files[server].clone();
                let content = file.as_ref().map(String::as_bytes).map_err(Clone::clone);
                self.servers[server].config_read(now, content);
            }
            Event::Reloaded { result } => self.reloads.push((self.now, result)),
            Event::Log(log) => self.logs.push(log.text),
        }
    }

    /// Writes on the last server; the error is its text.
    pub fn write(&mut self, value: &[u8]) -> Result<Vec<u8>, String> {
        let server = self.servers.len() - 1;
        self.write_on(server, &secrets(), KEY, value)
    }

    pub fn write_on(
        &mut self,
        server: usize,
        resource: &GroupResource,
        key: &str,
        value: &[u8],
    ) -> Result<Vec<u8>, String> {
        let now = self.at();
        let written = self.servers[server].write(now, resource, key, value);
        self.pump(server);
        written.map_err(|error| error.text)
    }

    /// Reads on the last server, for as long as it takes.
    pub fn read(&mut self, stored: &[u8]) -> Result<Plain, String> {
        let server = self.servers.len() - 1;
        self.read_on(server, &secrets(), KEY, stored)
    }

    pub fn read_on(
        &mut self,
        server: usize,
        resource: &GroupResource,
        key: &str,
        stored: &[u8],
    ) -> Result<Plain, String> {
        let now = self.at();
        let mut read = self.servers[server].read(now, resource, key, stored);
        loop {
            match read {
                Read::Plain(plain) => return Ok(plain),
                Read::Failed(error) => return Err(error.text),
                Read::Need(pending) => {
                    let now = self.at();
                    let call = self.servers[server].decrypt(now, &pending, None);
                    self.pump(server);
                    let outcome = self.wait(|lab| lab.decrypted.remove(&(server, call)));
                    let now = self.at();
                    read = self.servers[server].supply(now, pending, outcome);
                    self.pump(server);
                }
            }
        }
    }

    /// Lets time pass until something is there.
    pub fn wait<T>(&mut self, mut ready: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..100_000 {
            if let Some(ready) = ready(self) {
                return ready;
            }
            let next = self.next().expect("something is still to come");
            self.step(next);
        }
        panic!("it never came")
    }

    /// Runs the check `kms-providers` of the last server.
    pub fn probe(&mut self) -> Result<(), String> {
        let server = self.servers.len() - 1;
        let probe = self.begin_probe(None);
        self.wait(|lab| lab.probed.remove(&(server, probe))).1
    }

    pub fn begin_probe(&mut self, deadline: Option<Duration>) -> ProbeId {
        let server = self.servers.len() - 1;
        let now = self.at();
        let probe = self.servers[server].probe(now, deadline);
        self.pump(server);
        probe
    }

    /// When a probe ended, and how.
    pub fn probed(&mut self, probe: ProbeId) -> Option<(Duration, Result<(), String>)> {
        let server = self.servers.len() - 1;
        self.probed.remove(&(server, probe))
    }

    pub fn decrypted(&mut self, server: usize, call: CallId) -> Option<Result<Vec<u8>, Status>> {
        self.decrypted.remove(&(server, call))
    }

    /// Times of the calls of one method.
    pub fn times(&self, method: Method) -> Vec<Duration> {
        let calls = self.calls.iter().filter(|call| call.method == method);
        calls.map(|call| call.at).collect()
    }

    pub fn count(&self, method: Method) -> usize {
        self.times(method).len()
    }

    /// The last server.
    pub fn server(&mut self) -> &mut Encryption {
        self.servers.last_mut().unwrap()
    }

    /// A series of the last server's metrics.
    pub fn metric(&mut self, name: &str) -> Option<f64> {
        let page = self.server().metrics();
        let line = page.lines().find(|line| {
            line.rsplit_once(' ')
                .is_some_and(|(series, _)| series == name)
        });
        Some(line?.rsplit_once(' ')?.1.parse().unwrap())
    }
}

/// The first field of bytes with this number.
pub fn field(message: &[u8], number: u8) -> Vec<u8> {
    let mut rest = message;
    while let Some((&tag, after)) = rest.split_first() {
        let (mut length, mut place, mut head) = (0usize, 0, 0);
        for &byte in after {
            length |= usize::from(byte & 0x7f) << place;
            place += 7;
            head += 1;
            if byte < 0x80 {
                break;
            }
        }
        if tag == number << 3 | 2 {
            return after[head..head + length].to_vec();
        }
        rest = &after[head + length..];
    }
    Vec::new()
}

/// Appends a field of bytes.
pub fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}
