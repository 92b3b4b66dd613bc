//! What can go wrong with the simulated Vault, and how it is mended.

use std::time::Duration;

use bytes::Bytes;
use kms_apiserver_api::Trouble;
use kms_scenario::fault::{Fault, Requests};
use kms_scenario::world::Auth;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sim_vault::{Action, FaultId, FrozenLeader, Leader};
use tokio::time::sleep;

use super::{KEY, MOUNT, Vaults};

/// A cluster is without a leader for so long: inside what real ones were seen to take.
const ELECTION: Duration = Duration::from_secs(2);

/// How old a lagging standby's view is.
const LAG: Duration = Duration::from_secs(60);

/// Answers of a slow Vault that get a delay of their own; later ones are delayed by the longest.
const DRAWN: usize = 200;

/// The name of the rate limit.
const QUOTA: &str = "chaos";

/// How a fault of Vault ends.
pub enum Undo {
    /// Nothing is to be done.
    Nothing,
    /// The barrier opens.
    Unseal,
    /// The processes start.
    Start,
    /// Faults on requests go.
    Requests(Vec<(usize, FaultId)>),
    /// The auth method comes back.
    Auth,
    /// The policy is whole again.
    Policy,
    /// The key is taken out of the bin.
    RestoreKey,
    /// Settings of the key.
    KeySettings(Value),
    /// The rate limit goes.
    Quota,
    /// Standbys keep up.
    Lag,
    /// The leader of before goes on.
    Thaw(FrozenLeader),
}

/// What a fault did: how it ends, and what it changed at once.
pub struct Done {
    pub undo: Undo,
    /// 1 if it changed something.
    pub changed: u64,
}

impl Vaults {
    /// Makes a fault of Vault happen; nothing for other kinds.
    pub fn inject(&self, fault: &Fault, seed: [u8; 32]) -> Result<Option<Done>, Trouble> {
        let done = |undo| Ok(Some(Done { undo, changed: 1 }));
        let counted = |changed: usize| {
            Ok(Some(Done {
                undo: Undo::Nothing,
                changed: u64::from(changed > 0),
            }))
        };
        match fault {
            Fault::VaultSeal => {
                self.first().seal();
                done(Undo::Unseal)
            }
            Fault::VaultStop => {
                self.kill();
                done(Undo::Start)
            }
            Fault::VaultRestart => {
                self.kill();
                self.start_again();
                done(Undo::Nothing)
            }
            Fault::VaultRevokeTokens | Fault::VaultExpireTokens => counted(self.end_tokens()),
            Fault::VaultDisableAuth => match self.spec.auth {
                Auth::Token => Err(Trouble::new("the token method cannot be disabled")),
                Auth::Approle => self.config("DELETE", "sys/auth/approle", Value::Null, Undo::Auth),
                Auth::Userpass => {
                    self.config("DELETE", "sys/auth/userpass", Value::Null, Undo::Auth)
                }
            },
            Fault::VaultPolicyRemoved(rights) => {
                let all = Self::all_rights();
                self.write_policy(if rights.is_empty() { &all } else { rights });
                done(Undo::Policy)
            }
            Fault::VaultRotate(times) => {
                let rotated = self.opened(|sim| {
                    let before = sim.key_version(MOUNT, KEY);
                    (0..*times).for_each(|_| {
                        sim.rotate(MOUNT, KEY);
                    });
                    sim.key_version(MOUNT, KEY) > before
                });
                counted(usize::from(rotated))
            }
            Fault::VaultDeleteKey => counted(usize::from(self.delete_key())),
            Fault::VaultRecreateKey => {
                let deleted = self.delete_key();
                let made = self.create_key();
                counted(usize::from(deleted && made))
            }
            Fault::VaultSoftDelete => {
                let path = format!("{MOUNT}/keys/{KEY}/soft-delete");
                self.config("DELETE", &path, Value::Null, Undo::RestoreKey)
            }
            Fault::VaultMinDecryptionVersion(version) => {
                let version = self.version(*version);
                let undo = Undo::KeySettings(json!({"min_decryption_version": 1}));
                self.key_settings(&json!({"min_decryption_version": version}), undo)
            }
            Fault::VaultMinEncryptionVersion(version) => {
                let undo = Undo::KeySettings(json!({"min_encryption_version": 0}));
                self.key_settings(&json!({"min_encryption_version": version}), undo)
            }
            Fault::VaultTrim(version) => {
                let version = self.version(*version);
                let floors =
                    json!({"min_decryption_version": version, "min_encryption_version": version});
                self.key_settings(&floors, Undo::Nothing)?;
                let path = format!("{MOUNT}/keys/{KEY}/trim");
                let body = json!({"min_available_version": version});
                self.config("POST", &path, body, Undo::Nothing)
            }
            Fault::VaultQuota(rate) => {
                let body = json!({"path": format!("{MOUNT}/"), "rate": rate, "interval": "1s"});
                let path = format!("sys/quotas/rate-limit/{QUOTA}");
                self.config("POST", &path, body, Undo::Quota)
            }
            Fault::VaultStepDown => {
                self.step_down();
                done(Undo::Nothing)
            }
            Fault::VaultFreezeLeader => {
                let nodes = self.members.iter().map(|member| member.sim.clone());
                let frozen = FrozenLeader::freeze(nodes.collect())
                    .ok_or_else(|| Trouble::new("no node of Vault leads"))?;
                self.tasks.spawn(frozen.succession());
                done(Undo::Thaw(frozen))
            }
            Fault::VaultRotateAtOnce => {
                let collided = self.first().core(|core| core.collide_rotation(MOUNT, KEY));
                counted(usize::from(collided))
            }
            Fault::VaultStandbyLag => {
                if self.members.len() < 2 {
                    return Err(Trouble::new("a Vault of one node has no standby"));
                }
                self.set_lag(LAG);
                done(Undo::Lag)
            }
            Fault::ClockAdvance(by) => {
                self.first().advance(*by);
                done(Undo::Nothing)
            }
            other => Ok(self.on_requests(other, seed).map(|faults| Done {
                undo: Undo::Requests(faults),
                changed: 0,
            })),
        }
    }

    /// Ends a fault.
    pub fn undo(&self, undo: &Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Unseal => self.first().unseal(),
            Undo::Start => self.start_again(),
            Undo::Requests(faults) => {
                for (member, fault) in faults {
                    self.members[*member].sim.clear(*fault);
                }
            }
            Undo::Auth => self.set_up_auth(),
            Undo::Policy => self.write_policy(&[]),
            Undo::RestoreKey => {
                let path = format!("{MOUNT}/keys/{KEY}/soft-delete-restore");
                self.admin("POST", &path, &Value::Null);
            }
            Undo::KeySettings(settings) => {
                self.admin("POST", &format!("{MOUNT}/keys/{KEY}/config"), settings);
            }
            Undo::Quota => {
                let path = format!("sys/quotas/rate-limit/{QUOTA}");
                self.admin("DELETE", &path, &Value::Null);
            }
            Undo::Lag => self.set_lag(Duration::ZERO),
            Undo::Thaw(frozen) => frozen.thaw(),
        }
    }

    /// Requests that a fault on requests hit.
    pub fn request_hits(&self, faults: &[(usize, FaultId)]) -> u64 {
        let hits = faults
            .iter()
            .map(|(member, fault)| self.members[*member].sim.hits(*fault));
        hits.sum()
    }

    fn start_again(&self) {
        // the storage stays; the barrier opens by itself, as with auto-unseal
        self.first().core(|core| core.restart(false));
        self.serve();
    }

    fn delete_key(&self) -> bool {
        self.opened(|sim| sim.delete_key(MOUNT, KEY))
    }

    fn version(&self, wanted: Option<u32>) -> u64 {
        let latest = || {
            let found = self.opened(|sim| sim.key_version(MOUNT, KEY));
            found.unwrap_or(1)
        };
        wanted.map_or_else(latest, u64::from)
    }

    fn key_settings(&self, settings: &Value, undo: Undo) -> Result<Option<Done>, Trouble> {
        let path = format!("{MOUNT}/keys/{KEY}/config");
        self.config("POST", &path, settings.clone(), undo)
    }

    /// An administrator's call that must succeed.
    fn config(
        &self,
        method: &str,
        path: &str,
        body: Value,
        undo: Undo,
    ) -> Result<Option<Done>, Trouble> {
        let (status, answer) = self.admin(method, path, &body);
        if (200..300).contains(&status) {
            Ok(Some(Done { undo, changed: 1 }))
        } else {
            let why = &answer["errors"];
            Err(Trouble::new(format!(
                "Vault answers {method} {path} with {status}: {why}"
            )))
        }
    }

    fn set_lag(&self, lag: Duration) {
        for member in &self.members {
            member.sim.set_node(|node| node.lag = lag);
        }
    }

    /// The leader gives up; the next node leads after an election, or the same one if it is alone.
    fn step_down(&self) {
        let mut led = 0;
        for (number, member) in self.members.iter().enumerate() {
            member.sim.set_node(|node| {
                if !node.standby {
                    led = number;
                }
                node.standby = true;
                node.leader = Leader::None;
            });
        }
        let next = (led + 1) % self.members.len();
        let members = self.members.iter().map(|member| member.sim.clone());
        let members: Vec<_> = members.collect();
        self.tasks.spawn(async move {
            sleep(ELECTION).await;
            for (number, sim) in members.iter().enumerate() {
                sim.set_node(|node| {
                    node.standby = number != next;
                    node.leader = Leader::Alive;
                });
            }
        });
    }

    /// Installs what a fault does to requests; nothing for other kinds.
    fn on_requests(&self, fault: &Fault, seed: [u8; 32]) -> Option<Vec<(usize, FaultId)>> {
        let mut installed = Vec::new();
        let mut add = |requests: Requests, times: Option<u64>, action: &dyn Fn() -> Action| {
            for path in self.paths(requests) {
                for (number, member) in self.members.iter().enumerate() {
                    let mut fault = sim_vault::Fault::on(path, action());
                    fault.count = times;
                    installed.push((number, member.sim.fault(fault)));
                }
            }
        };
        match fault {
            Fault::VaultHold(requests) => add(*requests, None, &|| Action::Hold),
            Fault::VaultSlow { requests, min, max } => {
                let mut rng = ChaCha8Rng::from_seed(seed);
                let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                for _ in 0..DRAWN {
                    let drawn = rng.random_range(micros(min)..=micros(max).max(micros(min)));
                    let delay = Duration::from_micros(drawn);
                    add(*requests, Some(1), &|| Action::Delay(delay));
                }
                add(*requests, None, &|| Action::Delay(*max));
            }
            Fault::VaultError {
                requests,
                status,
                retry_after,
                count,
            } => add(*requests, *count, &|| {
                let retry = retry_after.map(|after| ("Retry-After".to_owned(), after.to_string()));
                refusal(*status, "injected error", retry)
            }),
            Fault::VaultGarbage(requests) => add(*requests, None, &|| {
                Action::Garbage(Bytes::from_static(b"<html><body>It works!</body></html>"))
            }),
            Fault::VaultCutBody(requests) => add(*requests, None, &|| Action::CutBody(10)),
            Fault::VaultReset(requests) => add(*requests, None, &|| Action::CloseBefore),
            Fault::LoginRefused => {
                let text = match self.spec.auth {
                    Auth::Userpass => "invalid username or password",
                    Auth::Approle | Auth::Token => "invalid role or secret ID",
                };
                add(Requests::Login, None, &|| refusal(400, text, None));
            }
            Fault::VaultAuditBlocked => {
                // whatever is audited waits for the device; health is not
                for requests in AUDITED {
                    add(requests, None, &|| Action::Hold);
                }
            }
            Fault::VaultStorageFailed => {
                // logins and renewals write
                for requests in [Requests::Login, Requests::Renew] {
                    add(requests, None, &|| refusal(500, "internal error", None));
                }
            }
            _ => return None,
        }
        Some(installed)
    }

    /// The paths of some requests.
    fn paths(&self, requests: Requests) -> &'static [&'static str] {
        match requests {
            Requests::All => &[""],
            Requests::Login => match self.spec.auth {
                Auth::Approle => &["/v1/auth/approle/login"],
                Auth::Userpass => &["/v1/auth/userpass/login"],
                Auth::Token => &["/v1/auth/token/login"],
            },
            Requests::Renew => &["/v1/auth/token/renew-self"],
            Requests::Lookup => &["/v1/auth/token/lookup-self"],
            Requests::Transit => &["/v1/transit/"],
            Requests::Encrypt => &["/v1/transit/encrypt/"],
            Requests::Decrypt => &["/v1/transit/decrypt/"],
            Requests::KeyRead => &["/v1/transit/keys/"],
        }
    }

    fn all_rights() -> [kms_scenario::fault::Right; 5] {
        use kms_scenario::fault::Right;
        [
            Right::Encrypt,
            Right::Decrypt,
            Right::KeyRead,
            Right::Lookup,
            Right::Renew,
        ]
    }
}

/// What leaves a trace in the audit log, of what a plugin asks for.
const AUDITED: [Requests; 4] = [
    Requests::Login,
    Requests::Renew,
    Requests::Lookup,
    Requests::Transit,
];

/// An error as Vault writes one.
fn refusal(code: u16, text: &str, header: Option<(String, String)>) -> Action {
    Action::Status {
        code,
        body: json!({"errors": [text]}).to_string().into(),
        headers: header.into_iter().collect(),
    }
}
