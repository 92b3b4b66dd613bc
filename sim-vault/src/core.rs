//! The model's state and what everything in it shares: time, randomness, names.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{
    flavour::Flavour,
    identity::Identity,
    lockout::Lockouts,
    mounts::{Mount, MountId},
    namespace::Namespace,
    node::{Member, Node},
    seal::Seal,
    sys::{quotas::Quotas, raft::Autopilot},
    token::{Entry, Store},
};

/// What the server stores its data in; shows in `sys/health`, `sys/seal-status` and in `X-Vault-Index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// A dev server: in memory, born unsealed.
    #[default]
    Inmem,
    /// Integrated storage.
    Raft,
}

/// What a cluster's TokenReview says to the kubernetes method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenReview {
    /// The token is what it claims to be.
    #[default]
    Agrees,
    /// Not authenticated, another account, forbidden, or no answer at all: the servers treat them alike.
    Fails,
}

/// How a simulated server is born.
#[derive(Clone)]
pub struct Options {
    /// Whose answers it gives.
    pub flavour: Flavour,
    /// Vault Enterprise: namespaces, performance standbys, the licence. From documents only; no effect on OpenBao.
    pub enterprise: bool,
    /// The initial root token.
    pub root_token: String,
    /// Everything random in the model comes from it.
    pub seed: u64,
    /// Wall-clock time at `now = 0`, in seconds since 1970.
    pub start_unix: u64,
    /// The storage it claims to have.
    pub storage: Storage,
    /// True: initialised with one key share and unsealed. False: waits for `sys/init`.
    pub initialised: bool,
    /// Largest body in bytes; more is 413.
    pub max_request_size: usize,
    /// Most JSON strings in one body (OpenBao); keys count too.
    pub max_json_strings: usize,
    /// Bound on the estimated memory of a JSON body in bytes (OpenBao).
    pub max_json_memory: usize,
    /// Address in `sys/leader` and redirects, e.g. `http://127.0.0.1:8200`.
    pub api_addr: String,
}

/// The root token stays out.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("flavour", &self.flavour)
            .field("enterprise", &self.enterprise)
            .field("seed", &self.seed)
            .field("storage", &self.storage)
            .field("api_addr", &self.api_addr)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flavour: Flavour::OpenBao,
            enterprise: false,
            root_token: "root".to_owned(),
            seed: 0,
            start_unix: 1_767_225_600,
            storage: Storage::Inmem,
            initialised: true,
            max_request_size: 33_554_432,
            max_json_strings: 1000,
            max_json_memory: 34_078_720,
            api_addr: "http://127.0.0.1:8200".to_owned(),
        }
    }
}

/// The simulated server. No I/O, no clock: see [`Core::handle`]. A clone is a server of its own with the same past.
#[derive(Clone)]
pub struct Core {
    pub(crate) options: Options,
    pub(crate) flavour: Flavour,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) now: Duration,
    pub(crate) seal: Seal,
    pub(crate) namespaces: BTreeMap<String, Namespace>,
    pub(crate) mounts: BTreeMap<MountId, Mount>,
    /// Namespace path and mount path joined.
    pub(crate) routes: BTreeMap<String, MountId>,
    pub(crate) next_mount: u64,
    pub(crate) tokens: Store,
    pub(crate) identity: Identity,
    pub(crate) lockouts: Lockouts,
    pub(crate) quotas: Quotas,
    pub(crate) token_review: TokenReview,
    /// Counts writes; the value in `X-Vault-Index`.
    pub(crate) index: u64,
    /// Time and index of the latest writes, for standbys that lag.
    pub(crate) history: VecDeque<(Duration, u64)>,
    /// The node that is asked.
    pub(crate) node: Node,
    /// The servers of the cluster; empty: one.
    pub(crate) members: Vec<Member>,
    /// How autopilot is set.
    pub(crate) autopilot: Autopilot,
    /// No audit device takes entries: nothing may be carried out.
    pub(crate) audit_broken: bool,
    /// Items of the latest Transit request.
    pub(crate) items: usize,
    /// Up to then, in seconds, keys have been rotated that rotate by themselves.
    pub(crate) rotations_checked: u64,
    pub(crate) cluster_id: String,
    pub(crate) cluster_name: String,
}

impl Core {
    /// A fresh server.
    pub fn new(options: Options) -> Self {
        let mut core = Self {
            flavour: options.flavour,
            rng: ChaCha12Rng::seed_from_u64(options.seed),
            now: Duration::ZERO,
            seal: Seal::default(),
            namespaces: BTreeMap::new(),
            mounts: BTreeMap::new(),
            routes: BTreeMap::new(),
            next_mount: 1,
            tokens: Store::default(),
            identity: Identity::default(),
            lockouts: Lockouts::default(),
            quotas: Quotas::default(),
            token_review: TokenReview::default(),
            index: 1,
            history: VecDeque::new(),
            node: Node::default(),
            members: Vec::new(),
            autopilot: Autopilot::default(),
            audit_broken: false,
            items: 0,
            rotations_checked: 0,
            cluster_id: String::new(),
            cluster_name: String::new(),
            options,
        };
        core.cluster_id = core.uuid();
        core.cluster_name = format!("vault-cluster-{}", core.hex(4));
        core.add_namespace("");
        if core.options.initialised {
            let token = core.options.root_token.clone();
            core.initialise(1, 1, Some(token));
            core.seal.sealed = false;
            if core.options.storage == Storage::Inmem {
                core.mount_engine("", "secret/", "kv-v2", None);
            }
        }
        core
    }

    /// The root token: given at birth, or made by `sys/init`.
    pub fn root_token(&self) -> &str {
        &self.options.root_token
    }

    /// The key shares in hexadecimal: all that `sys/unseal` asks for.
    pub fn unseal_keys(&self) -> Vec<String> {
        self.seal.shares.iter().map(|s| hex(s)).collect()
    }

    /// Whose answers this server gives.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The time of the latest request.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Seconds since 1970.
    pub(crate) fn unix(&self) -> u64 {
        self.options.start_unix + self.now.as_secs()
    }

    /// RFC 3339 with nanoseconds as Go prints it, of a time since birth.
    pub(crate) fn rfc3339(&self, at: Duration) -> String {
        let seconds = i64::try_from(self.options.start_unix + at.as_secs()).unwrap_or(i64::MAX);
        let nanos = i32::try_from(at.subsec_nanos()).unwrap_or_default();
        jiff::Timestamp::new(seconds, nanos)
            .map(|t| t.to_string())
            .unwrap_or_default()
    }

    pub(crate) fn random(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        self.rng.fill_bytes(&mut out);
        out
    }

    pub(crate) fn hex(&mut self, bytes: usize) -> String {
        hex(&self.random(bytes))
    }

    /// A random (version 4) UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut raw = [0u8; 16];
        self.rng.fill_bytes(&mut raw);
        raw[6] = raw[6] & 0x0f | 0x40;
        raw[8] = raw[8] & 0x3f | 0x80;
        let mut text = hex(&raw);
        for dash in [20, 16, 12, 8] {
            text.insert(dash, '-');
        }
        text
    }

    /// Random letters and digits.
    pub(crate) fn base62(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut out = String::with_capacity(length);
        while out.len() < length {
            // 62 * 4 = 248: larger draws would favour the first letters
            let draw = (self.rng.next_u32() & 0xff) as usize;
            if draw < 248 {
                out.push(char::from(ALPHABET[draw % 62]));
            }
        }
        out
    }

    pub(crate) fn namespace(&self, path: &str) -> Option<&Namespace> {
        self.namespaces.get(path)
    }

    pub(crate) fn mount(&self, id: MountId) -> Option<&Mount> {
        self.mounts.get(&id)
    }

    /// Initialises with fresh key shares; a given token becomes the root token.
    pub(crate) fn initialise(&mut self, shares: u8, threshold: u8, token: Option<String>) {
        self.seal.initialised = true;
        self.seal.sealed = true;
        self.seal.threshold = threshold;
        self.seal.shares = (0..shares)
            .map(|_| self.random(if shares == 1 { 32 } else { 33 }))
            .collect();
        let dev = self.options.storage == Storage::Inmem;
        let id = token.unwrap_or_else(|| self.service_token("", true));
        self.options.root_token.clone_from(&id);
        let accessor = self.base62(24);
        let mount = self.routes.get("auth/token/").copied().unwrap_or_default();
        self.tokens.insert(Entry {
            policies: vec!["root".to_owned()],
            display_name: if dev { "token" } else { "root" }.to_owned(),
            path: if dev {
                "auth/token/create"
            } else {
                "auth/token/root"
            }
            .to_owned(),
            orphan: true,
            has_issue_time: dev,
            ..Entry::new(id, accessor, mount, self.now)
        });
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        for digit in [b >> 4, b & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    out
}

impl Core {
    /// Wall-clock time at birth, in seconds since 1970.
    pub(crate) fn start_unix(&self) -> u64 {
        self.options.start_unix
    }

    /// Items of the latest Transit request, once.
    pub(crate) fn take_items(&mut self) -> usize {
        std::mem::take(&mut self.items)
    }

    /// Every audit device refuses entries, or one takes them again: without, no request is carried out.
    pub fn set_audit_broken(&mut self, broken: bool) {
        self.audit_broken = broken;
    }

    /// One write: the raft index grows.
    pub(crate) fn wrote(&mut self) {
        /// More than a standby can lag behind.
        const KEPT: usize = 4096;
        self.index += 1;
        if self.history.len() >= KEPT {
            self.history.pop_front();
        }
        self.history.push_back((self.now, self.index));
    }

    /// A rotation of a key that OpenBao answers with `transaction commit failed` because others collided with it:
    /// not stored, yet in the node's memory, and used. Lost by [`Core::restart`] unless a later rotation stores it.
    pub fn collide_rotation(&mut self, mount: &str, key: &str) -> bool {
        crate::transit::phantom_rotation(self, mount, key)
    }

    /// Restarts the process: what was never stored is gone, and the server is sealed if its shares are not at hand.
    pub fn restart(&mut self, sealed: bool) {
        crate::transit::forget_phantoms(self);
        self.seal.sealed = sealed;
        self.seal.reset();
    }

    /// Sets what the cluster behind the kubernetes method says.
    pub fn set_token_review(&mut self, review: TokenReview) {
        self.token_review = review;
    }

    /// Seals or unseals without shares.
    pub fn set_sealed(&mut self, sealed: bool) {
        self.seal.sealed = sealed;
        self.seal.reset();
    }

    /// Revokes a token with its children, batch tokens too; true if it lived.
    pub fn kill_token(&mut self, token: &str) -> bool {
        let lived = self.tokens.get(token).is_some();
        self.tokens.revoke(token, true);
        lived
    }

    /// Revokes the service tokens of an auth mount of the root namespace, but not the root token.
    pub fn kill_tokens_of(&mut self, mount: &str) -> usize {
        let Some(id) = self.mount_at("", &format!("auth/{mount}")).map(|m| m.id) else {
            return 0;
        };
        let root = self.options.root_token.clone();
        self.tokens.revoke_where(|t| t.mount == id && t.id != root)
    }

    /// Living tokens of a role or user.
    pub fn living_tokens(&mut self, owner: &str, now: Duration) -> usize {
        self.tokens.expire(now.max(self.now));
        self.tokens.iter().filter(|t| t.owner == owner).count()
    }
}
