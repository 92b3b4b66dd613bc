//! The plugin is killed (SIGKILL) at random moments under load on a real server, and started again at once: it serves
//! within its bound each time, nobody else owns its socket, and no call is ever answered wrongly.
//!
//! `KMS_KILLS=N` does it N times, each time within a second. Among the other tests of the tier the machine is shared, so
//! there the bound is looser.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::subject::Subject;
use kms_harness::arm::process::vault::make::Make;
use kms_harness::socket;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::{running, values};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::server::Server;
use kms_process::child::{Child, Launch};
use kms_scenario::seed::Seed;
use kms_v2_api::{DecryptRequest, EncryptRequest, EncryptResponse, StatusRequest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status};

/// Callers at a time.
const CALLERS: u32 = 8;
/// Deadline of a call, as API servers have it.
const CALL: Duration = Duration::from_secs(3);
/// A killed plugin's connections end, and a plugin that lives keeps deadlines, so nothing may hang for so long.
const HANGS: Duration = Duration::from_secs(10);
/// Between two looks of somebody who waits, and two tries of a caller who was refused.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest time that the plugin runs between two kills.
const LONGEST_LIFE: Duration = Duration::from_millis(500);
/// One kill of so many has a second plugin tried at the same socket before it.
const SECOND_OF: u32 = 10;
/// Nothing that is well takes longer to serve, however busy the machine is.
const SERVES: Duration = Duration::from_secs(30);
/// How long a second plugin may take to give up.
const GIVES_UP: Duration = Duration::from_secs(20);

/// How often, and how soon it must serve again.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    kills: u32,
    within: Duration,
}

impl Times {
    /// The short form.
    pub const FEW: Self = Self {
        kills: 20,
        within: SERVES,
    };
}

/// What `KMS_KILLS` asks for.
pub fn wanted() -> Option<Times> {
    let number = std::env::var("KMS_KILLS").ok()?;
    let kills = number.parse().ok().filter(|kills| *kills > 0);
    Some(Times {
        kills: kills.unwrap_or_else(|| panic!("KMS_KILLS is {number:?}: write a number from 1 on")),
        within: Duration::from_secs(1),
    })
}

/// What the callers saw.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
}

/// What came of it.
pub struct Told {
    took: Vec<Duration>,
    second: u32,
    answered: u64,
    refused: u64,
    late: u64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share: usize| {
            let last = self.took.len().saturating_sub(1);
            self.took
                .get(last * share / 100)
                .copied()
                .unwrap_or_default()
        };
        write!(
            f,
            "{} kills; served again after {:?} (median), {:?} (99 %), {:?} (most); {} calls answered, {} lost with their connection, {} told that their time was up, 0 wrong; {} second plugins refused",
            self.took.len(),
            at(50),
            at(99),
            at(100),
            self.answered,
            self.refused,
            self.late,
            self.second
        )
    }
}

/// The short form.
pub async fn each_time_it_serves_again(parts: Parts) -> Result<()> {
    told(&parts, Times::FEW).await.map(drop)
}

/// The long form, told at the end.
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
pub fn long(parts: Result<Parts, String>, times: Times) {
    let parts = parts.unwrap_or_else(|why| panic!("{why}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    match runtime.block_on(told(&parts, times)) {
        Ok(told) => println!("{told}"),
        Err(error) => panic!("{error:#}"),
    }
}

async fn told(parts: &Parts, times: Times) -> Result<Told> {
    let (Make::Real(family, server), Subject::Own(plugin)) = (&parts.vault, &parts.subject) else {
        bail!("it is about our plugin on a real server");
    };
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let vault = Server::dev(*family, server, folder.path()).await?;
    let access = Wanted::default();
    let access = access.create(&vault.admin(), folder.path()).await?;
    let values = values(&vault, &access, folder.path());
    let subject = own::describe(plugin, Vocabulary::Sidecar, &values);
    let mut launch = running::launch(&subject, &values, folder.path().join("plugin.log"))?;
    launch.args.push("-health-port=0".to_owned());
    let at = PathBuf::from(values.get("socket").context("the run has a socket")?);

    let mut child = Child::spawn(&launch)?;
    served(&at, &child).await?;
    let seen = Arc::new(Seen::default());
    let (stop, stopped) = watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call_on(
            at.clone(),
            number,
            Arc::clone(&seen),
            stopped.clone(),
        ));
    }
    let mut told = Told {
        took: Vec::new(),
        second: 0,
        answered: 0,
        refused: 0,
        late: 0,
    };
    for kill in 1..=times.kills {
        let life = Seed::root(1).label(&format!("life {kill}"));
        sleep(life.duration(Duration::ZERO, LONGEST_LIFE)).await;
        let about = || format!("kill {kill}");
        if kill.is_multiple_of(SECOND_OF) {
            second_refused(&launch, &at, &child)
                .await
                .with_context(about)?;
            told.second += 1;
        }
        if let Some(ended) = callers.try_join_next() {
            ended?.with_context(about)?;
            bail!("{}: a caller ended by itself", about());
        }
        child.kill();
        ensure!(
            UnixStream::connect(&at).await.is_err(),
            "kill {kill}: somebody listens though the plugin is dead"
        );
        child = Child::spawn(&launch)?;
        let took = served(&at, &child).await.with_context(about)?;
        told.took.push(took);
    }
    stop.send_replace(true);
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    told.took.sort_unstable();
    told.answered = seen.answered.load(Ordering::Relaxed);
    told.refused = seen.refused.load(Ordering::Relaxed);
    told.late = seen.late.load(Ordering::Relaxed);
    ensure!(told.answered > u64::from(times.kills), "there was no load");
    ensure!(told.refused > 0, "no kill was felt");
    let late = told.took.iter().filter(|took| **took > times.within);
    let late = late.count();
    ensure!(
        late == 0,
        "{late} times it served later than after {:?}: {told}",
        times.within
    );
    Ok(told)
}

/// Waits until this process answers a good Status at the socket; how long it took.
async fn served(at: &Path, child: &Child) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let asked = async {
            let mut client = socket::connect(at).await?;
            anyhow::Ok(client.status(StatusRequest {}).await?.into_inner())
        };
        let good = timeout(CALL, asked).await;
        if let Ok(Ok(status)) = good
            && status.healthz == "ok"
        {
            let took = begun.elapsed();
            owned_by(at, child).await?;
            return Ok(took);
        }
        ensure!(
            begun.elapsed() <= SERVES,
            "it does not serve {SERVES:?} after its start"
        );
        sleep(PAUSE).await;
    }
}

/// The socket belongs to this process and no other.
async fn owned_by(at: &Path, child: &Child) -> Result<()> {
    let stream = UnixStream::connect(at).await.context("nobody listens")?;
    let owner = stream.peer_cred()?.pid();
    ensure!(
        owner == Some(child.id().cast_signed()),
        "process {owner:?} owns the socket, not {}",
        child.id()
    );
    Ok(())
}

/// Another plugin at the same socket gives up, and the first one keeps it.
async fn second_refused(launch: &Launch, at: &Path, first: &Child) -> Result<()> {
    let mut second = Child::spawn(launch)?;
    let ended = second.wait(GIVES_UP).await;
    let ended = ended.context("a second plugin goes on beside the first")?;
    ensure!(
        !ended.success(),
        "a second plugin ended as if all were well"
    );
    owned_by(at, first).await
}

/// One caller: encrypts, and decrypts what it or a plugin before encrypted. Whatever is answered must be right.
async fn call_on(
    at: PathBuf,
    number: u32,
    seen: Arc<Seen>,
    stopped: watch::Receiver<bool>,
) -> Result<()> {
    let mut sealed: Vec<(Vec<u8>, EncryptResponse)> = Vec::new();
    let mut count = 0_u32;
    while !*stopped.borrow() {
        let Ok(mut client) = socket::connect(&at).await else {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
            continue;
        };
        loop {
            if *stopped.borrow() {
                return Ok(());
            }
            count += 1;
            let old = sealed.get(count as usize % sealed.len().max(1));
            let called = match old {
                Some((plaintext, answer)) if !count.is_multiple_of(3) => {
                    let request = DecryptRequest {
                        ciphertext: answer.ciphertext.clone(),
                        key_id: answer.key_id.clone(),
                        annotations: answer.annotations.clone(),
                        uid: format!("{number}-{count}"),
                    };
                    let plaintext = plaintext.clone();
                    timeout(HANGS, client.decrypt(timed(request)))
                        .await
                        .map(|called| {
                            called.map(|answer| {
                                let right = answer.into_inner().plaintext == plaintext;
                                (right, None)
                            })
                        })
                }
                _ => {
                    let plaintext = format!("{number:04}-{count:027}").into_bytes();
                    let request = EncryptRequest {
                        plaintext: plaintext.clone().into(),
                        uid: format!("{number}-{count}"),
                    };
                    timeout(HANGS, client.encrypt(timed(request)))
                        .await
                        .map(|called| {
                            called.map(|answer| (true, Some((plaintext, answer.into_inner()))))
                        })
                }
            };
            match called {
                Ok(Ok((true, new))) => {
                    seen.answered.fetch_add(1, Ordering::Relaxed);
                    if let Some(new) = new {
                        // Some of the first stay: they are older than every later plugin.
                        sealed.truncate(63);
                        sealed.push(new);
                    }
                }
                Ok(Ok((false, _))) => bail!("Decrypt gave other bytes back"),
                Ok(Err(status)) if lost(&status) => {
                    seen.refused.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(Err(status)) if status.code() == Code::DeadlineExceeded => {
                    seen.late.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(Err(status)) => bail!("a call was refused: {status:?}"),
                Err(_) => bail!("a call hung for {} s", HANGS.as_secs()),
            }
        }
    }
    Ok(())
}

/// With the deadline.
fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

/// A call that went with its connection, or came before the plugin had its token.
fn lost(status: &Status) -> bool {
    let with_connection = std::error::Error::source(status).is_some();
    with_connection || matches!(status.code(), Code::Unavailable | Code::Cancelled)
}
