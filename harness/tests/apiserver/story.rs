//! What happens to both servers: chapters, each an event, the requests after it, and a look at everything.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::Code;

use crate::tap::{Fault, Method};

/// Secrets and ConfigMaps of a story: `s0`, `s1`, … and `c0`, `c1`, …
pub const SECRETS: usize = 6;
pub const CONFIG_MAPS: usize = 2;

/// A story.
#[derive(Clone, Debug)]
pub struct Story {
    pub name: String,
    pub chapters: Vec<Chapter>,
}

/// One event, and what is asked after it.
#[derive(Clone, Debug)]
pub struct Chapter {
    pub event: Event,
    pub requests: Vec<Request>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    Nothing,
    /// The plugin answers wrongly, or is well again.
    Fault(Fault),
    /// The plugin's process is gone.
    Gone,
    /// It is back.
    Back,
    /// Nobody probes for so long.
    Silence(Duration),
    /// The key in Vault gets a new version.
    Rotate,
    /// The server is killed and started.
    Restart,
    /// The server gets another configuration.
    Reload(Config),
}

/// A configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// The plugin writes; the number stands in a comment.
    Plugin(u32),
    /// Plain text is written, the plugin's values are read.
    Identity,
    /// A local key writes, the plugin's values are read.
    AesCbc,
    /// Another provider on the same socket writes.
    Second,
    /// A field that does not exist.
    Unknown,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Create(usize),
    Update(usize, u32),
    /// Read and written back unchanged: whether the store changed tells whether the value was stale.
    Noop(usize),
    Delete(usize),
    Get(usize),
    List,
    ListFromCache,
    ListPaged,
    CreateConfigMap(usize),
    NoopConfigMap(usize),
}

/// Everything that is asked in a story of known content.
const ALL: [Request; 10] = [
    Request::Create(0),
    Request::Create(1),
    Request::CreateConfigMap(0),
    Request::Get(0),
    Request::Update(0, 1),
    Request::Noop(0),
    Request::Noop(1),
    Request::List,
    Request::ListPaged,
    Request::ListFromCache,
];

impl Story {
    /// The short ones of CI: each kind of event once, and every way in which a plugin can be sick.
    pub fn of_ci() -> Vec<Self> {
        let mut stories = vec![Self::short(), Self::reload()];
        stories.extend(Self::sick());
        stories.extend(Self::sick_at_start());
        stories
    }

    /// Outage, rotation and restarts.
    pub fn short() -> Self {
        use Event::{Back, Fault as Faulty, Gone, Nothing, Restart, Rotate};
        let chapters = [
            (Nothing, ALL.to_vec()),
            (
                Faulty(Fault::Healthz("the key is disabled")),
                vec![Request::Create(2), Request::Noop(0), Request::List],
            ),
            (
                Gone,
                vec![Request::Create(3), Request::Get(0), Request::Noop(1)],
            ),
            (Restart, ALL.to_vec()),
            (Back, vec![Request::List, Request::Delete(3)]),
            (
                Rotate,
                vec![
                    Request::Create(3),
                    Request::Noop(0),
                    Request::Noop(0),
                    Request::NoopConfigMap(0),
                ],
            ),
            (Restart, ALL.to_vec()),
        ];
        Self::of("short", chapters)
    }

    /// A new configuration, with what was written under the old one.
    fn reload() -> Self {
        let chapters = [
            (Event::Nothing, ALL.to_vec()),
            (
                Event::Reload(Config::Identity),
                vec![
                    Request::Create(4),
                    Request::Noop(0),
                    Request::Noop(0),
                    Request::Noop(1),
                    Request::Create(1),
                    Request::Delete(1),
                    Request::ListFromCache,
                ],
            ),
        ];
        Self::of("reload", chapters)
    }

    /// Every way in which Status can be wrong, one after another: the same words on both servers. In the first story the
    /// seed stays in use, in the second it comes near its end (KMS2-STATUS-13), so that is the shorter one.
    fn sick() -> [Self; 2] {
        use Event::Fault as Faulty;
        let probe = vec![Request::Create(2), Request::Get(0), Request::Noop(0)];
        let refuse = |code, text| Faulty(Fault::Refuse(Method::Status, code, text));
        let named = [
            (
                "sick",
                vec![
                    Faulty(Fault::Healthz("")),
                    Faulty(Fault::Healthz("OK")),
                    // A version that is accepted pins itself; the other accepted one is then a fault.
                    Faulty(Fault::Version("v3")),
                    Faulty(Fault::Version("v2")),
                    Faulty(Fault::Version("")),
                    Faulty(Fault::StatusKeyId(String::new())),
                    Faulty(Fault::StatusKeyId("k".repeat(1025))),
                ],
            ),
            (
                "sick by status",
                vec![
                    refuse(Code::Unavailable, "the key service is away"),
                    refuse(Code::PermissionDenied, "no \"access\""),
                    refuse(Code::Unauthenticated, ""),
                    refuse(Code::Cancelled, "cancelled"),
                    Faulty(Fault::Slow(Method::Status, Duration::from_secs(4))),
                ],
            ),
        ];
        named.map(|(name, events)| {
            let first = [(Event::Nothing, ALL.to_vec())];
            let more = events.into_iter().map(|event| (event, probe.clone()));
            Self::of(name, first.into_iter().chain(more))
        })
    }

    /// Every way in which Encrypt can go wrong when a server starts: no seed, so nothing can be written or read. And a
    /// Decrypt that is refused then.
    fn sick_at_start() -> [Self; 2] {
        use Event::Fault as Faulty;
        let probe = vec![
            Request::Create(2),
            Request::Get(0),
            Request::Noop(0),
            Request::List,
        ];
        let first = (Event::Nothing, ALL.to_vec());
        let refuse = |method, code, text| Faulty(Fault::Refuse(method, code, text));
        let encrypt = [
            first.clone(),
            (Faulty(Fault::EncryptKeyId("another".into())), Vec::new()),
            (Event::Restart, probe.clone()),
            (Faulty(Fault::Ciphertext(0)), Vec::new()),
            (Faulty(Fault::Ciphertext(1025)), Vec::new()),
            (Faulty(Fault::Annotation("not-qualified")), Vec::new()),
            (
                refuse(Method::Encrypt, Code::FailedPrecondition, "sealed"),
                Vec::new(),
            ),
            (Faulty(Fault::None), ALL.to_vec()),
        ];
        let decrypt = [
            first,
            (
                refuse(Method::Decrypt, Code::Internal, "no such key"),
                Vec::new(),
            ),
            (Event::Restart, probe),
            (Faulty(Fault::None), vec![Request::List, Request::Get(0)]),
        ];
        [
            Self::of("sick at start", encrypt),
            Self::of("sick decrypt", decrypt),
        ]
    }

    fn of(name: &str, chapters: impl IntoIterator<Item = (Event, Vec<Request>)>) -> Self {
        Self {
            name: name.to_owned(),
            chapters: chapters
                .into_iter()
                .map(|(event, requests)| Chapter { event, requests })
                .collect(),
        }
    }

    /// A random one of so many chapters. The same seed gives the same story.
    pub fn random(seed: u64, length: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut plugin = Plugin::Well;
        let mut chapters = vec![Chapter {
            event: Event::Nothing,
            requests: ALL.to_vec(),
        }];
        let (mut config, mut refused) = (0, false);
        while chapters.len() < length {
            let before = &chapters[chapters.len() - 1].event;
            let event = loop {
                let event = event(&mut random, plugin, &mut config);
                // no server starts with a configuration that it refuses
                if event != *before && !(refused && event == Event::Restart) {
                    break event;
                }
            };
            plugin = plugin.after(&event);
            if let Event::Reload(config) = event {
                refused = config == Config::Unknown;
            }
            let requests = (0..random.random_range(3..9))
                .map(|_| request(&mut random))
                .collect();
            chapters.push(Chapter { event, requests });
        }
        Self {
            name: format!("random {seed}"),
            chapters,
        }
    }
}

/// What a random story has to remember of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    Well,
    Sick,
    Gone,
}

impl Plugin {
    fn after(self, event: &Event) -> Self {
        match event {
            Event::Fault(Fault::None) | Event::Back => Self::Well,
            Event::Fault(_) => Self::Sick,
            Event::Gone => Self::Gone,
            _ => self,
        }
    }
}

fn event(random: &mut ChaCha8Rng, plugin: Plugin, config: &mut u32) -> Event {
    let dice = random.random_range(0..100);
    match plugin {
        Plugin::Well if dice < 20 => Event::Rotate,
        Plugin::Well if dice < 35 => Event::Restart,
        Plugin::Well if dice < 55 => {
            *config += 1;
            Event::Reload(match random.random_range(0..6) {
                0 => Config::Identity,
                1 => Config::AesCbc,
                2 => Config::Second,
                3 => Config::Unknown,
                _ => Config::Plugin(*config),
            })
        }
        Plugin::Well if dice < 75 => Event::Gone,
        Plugin::Well => Event::Fault(fault(random)),
        Plugin::Gone if dice < 15 => Event::Restart,
        Plugin::Gone if dice < 30 => Event::Silence(Duration::from_secs(190)),
        Plugin::Gone => Event::Back,
        Plugin::Sick if dice < 15 => Event::Restart,
        Plugin::Sick if dice < 40 => Event::Fault(fault(random)),
        Plugin::Sick => Event::Fault(Fault::None),
    }
}

fn fault(random: &mut ChaCha8Rng) -> Fault {
    match random.random_range(0..6) {
        0 => Fault::Healthz("the key is disabled"),
        1 => Fault::Version("v2alpha1"),
        2 => Fault::StatusKeyId(String::new()),
        3 => Fault::Refuse(Method::Status, Code::Unavailable, "away"),
        4 => Fault::Refuse(Method::Status, Code::DeadlineExceeded, "too late"),
        _ => Fault::Slow(Method::Status, Duration::from_secs(4)),
    }
}

fn request(random: &mut ChaCha8Rng) -> Request {
    let number = random.random_range(0..SECRETS);
    match random.random_range(0..20) {
        0..5 => Request::Create(number),
        5..8 => Request::Update(number, random.random_range(0..1000)),
        8..12 => Request::Noop(number),
        12 => Request::Delete(number),
        13 => Request::Get(number),
        14 => Request::List,
        15 => Request::ListFromCache,
        16 => Request::ListPaged,
        17 => Request::CreateConfigMap(number % CONFIG_MAPS),
        _ => Request::NoopConfigMap(number % CONFIG_MAPS),
    }
}
