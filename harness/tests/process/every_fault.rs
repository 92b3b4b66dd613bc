//! One fault at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::Target;
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::able::needs_storage;
use kms_harness::arm::process::world::ProcessWorld;
use kms_harness::socket;
use kms_history::chaos::RpcEnd;
use kms_scenario::fault::{Direction, Edge, Fault, Provider, Requests, Right, Rpc};
use kms_scenario::world::{Auth, Flavour, Order, Recorder, VaultSpec, World, WorldSpec};
use kms_v2_api::{DecryptRequest, EncryptRequest, StatusRequest};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Limit for a fault to be felt, and for everything to be well again.
const WITHIN: Duration = Duration::from_secs(30);
/// How often the harness's own calls are made.
const EVERY: Duration = Duration::from_millis(100);
/// Limit of one call, as API servers have it.
const CALL: Duration = Duration::from_secs(3);

/// What a fault does to an Encrypt through the node's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Felt {
    /// It fails until the fault is over.
    Fails,
    /// It fails, and goes on failing: what is gone is gone.
    FailsForGood,
    /// It succeeds, at once or after another try.
    Works,
    /// It may fail, and succeeds again while the fault is still there.
    Returns,
    /// It succeeds, but what was written before, or with the seed of before, is lost.
    Loses,
    /// It fails until the fault is over, once the tokens of before are gone.
    FailsWithoutToken,
}

/// One fault.
pub struct Case {
    pub fault: Fault,
    pub felt: Felt,
    /// Tells cases of the same kind apart.
    pub suffix: &'static str,
    /// Of Vault.
    nodes: u32,
}

/// Every kind that the arm can make.
pub fn cases() -> Vec<Case> {
    let of_a_cluster = [
        (Fault::VaultStepDown, Felt::Works),
        (Fault::VaultStandbyLag, Felt::Works),
        (Fault::VaultFreezeLeader, Felt::Returns),
    ];
    let of_a_cluster = of_a_cluster.into_iter().map(|(fault, felt)| Case {
        fault,
        felt,
        suffix: "",
        nodes: 3,
    });
    of_one_node().into_iter().chain(of_a_cluster).collect()
}

fn of_one_node() -> Vec<Case> {
    use Felt::{Fails, FailsForGood, FailsWithoutToken, Loses, Works};
    let ms = Duration::from_millis;
    let vault = Edge::Vault;
    let answers = Direction::Answers;
    let table = [
        (Fault::VaultSeal, Fails, ""),
        (Fault::VaultStop, Fails, ""),
        (Fault::VaultRestart, Works, ""),
        (Fault::VaultHold(Requests::All), Fails, ""),
        (Fault::VaultHold(Requests::Encrypt), Fails, "-encrypt"),
        (slow(Requests::All, ms(200)), Works, ""),
        (slow(Requests::Transit, ms(200)), Works, "-transit"),
        (error(Requests::Encrypt, 503, Some(1)), Fails, ""),
        (Fault::VaultGarbage(Requests::Encrypt), Fails, ""),
        (Fault::VaultCutBody(Requests::Encrypt), Fails, ""),
        (Fault::VaultReset(Requests::Encrypt), Fails, ""),
        (Fault::VaultRevokeTokens, Works, ""),
        (Fault::VaultExpireTokens, Works, ""),
        (Fault::LoginRefused, FailsWithoutToken, ""),
        (Fault::VaultDisableAuth, Fails, ""),
        (Fault::VaultPolicyRemoved(vec![Right::Encrypt]), Fails, ""),
        (Fault::VaultPolicyRemoved(Vec::new()), Fails, "-all"),
        (Fault::VaultRotate(3), Works, ""),
        (Fault::VaultRotateAtOnce, Works, ""),
        (Fault::VaultDeleteKey, FailsForGood, ""),
        (Fault::VaultRecreateKey, Loses, ""),
        (Fault::VaultMinDecryptionVersion(None), Works, ""),
        (Fault::VaultTrim(None), Works, ""),
        (Fault::VaultQuota(1), Fails, ""),
        (Fault::VaultAuditBlocked, Fails, ""),
        (Fault::VaultStorageFailed, FailsWithoutToken, ""),
        (Fault::ClockAdvance(Duration::from_secs(5)), Works, ""),
        (Fault::NetPartition(vault), Fails, ""),
        (Fault::NetPartition(Edge::Socket), Fails, "-socket"),
        (Fault::NetPartitionOneWay(vault, answers), Fails, ""),
        (Fault::NetHold(vault), Fails, ""),
        (Fault::NetReset(vault), Works, ""),
        (Fault::NetReset(Edge::Socket), Works, "-socket"),
        (Fault::NetHalfClose(vault, answers), Works, ""),
        (latency(vault, ms(50)), Works, ""),
        (latency(Edge::Socket, ms(50)), Works, "-socket"),
        (Fault::NetBandwidth(vault, 20_000), Works, ""),
        (Fault::NetSlowReader(vault, 20_000), Works, ""),
        (delay(ms(200)), Works, ""),
        (Fault::RpcHold(Some(Rpc::Encrypt)), Fails, ""),
        (status(14), Fails, ""),
        (Fault::RpcCut(Some(Rpc::Encrypt)), Fails, ""),
        (Fault::RpcSick, Works, ""),
        (Fault::RpcWrongKey, Works, ""),
        (Fault::PluginKill, Fails, ""),
        (Fault::PluginRestart, Works, ""),
        (Fault::PluginStop, Fails, ""),
        (Fault::PluginFreeze, Fails, ""),
        (Fault::PluginStaleSocket, Works, ""),
        (Fault::CredentialsChanged, Works, ""),
        (Fault::CredentialsRemoved, FailsWithoutToken, ""),
        (Fault::CredentialsDamaged, FailsWithoutToken, ""),
    ];
    let case = |(fault, felt, suffix)| Case {
        fault,
        felt,
        suffix,
        nodes: 1,
    };
    table.into_iter().map(case).collect()
}

fn slow(requests: Requests, by: Duration) -> Fault {
    Fault::VaultSlow {
        requests,
        min: by,
        max: by,
    }
}

fn error(requests: Requests, status: u16, retry_after: Option<u32>) -> Fault {
    Fault::VaultError {
        requests,
        status,
        retry_after,
        count: None,
    }
}

fn latency(edge: Edge, by: Duration) -> Fault {
    Fault::NetLatency {
        edge,
        min: by,
        max: by,
    }
}

fn delay(by: Duration) -> Fault {
    Fault::RpcDelay {
        method: Some(Rpc::Encrypt),
        min: by,
        max: by,
    }
}

fn status(code: u8) -> Fault {
    Fault::RpcStatus {
        method: Some(Rpc::Encrypt),
        code,
        message: "made by the test".to_owned(),
    }
}

fn spec(flavour: Flavour, nodes: u32) -> WorldSpec {
    WorldSpec {
        seed: 7,
        nodes: 1,
        server_version: "1.37".to_owned(),
        vault: VaultSpec {
            flavour,
            nodes,
            auth: Auth::Approle,
            token_ttl: Duration::from_secs(20),
            token_max_ttl: Duration::from_secs(60),
            batch: false,
            secret_id_uses: 0,
            secret_id_ttl: None,
            without: Vec::new(),
            key_type: "aes256-gcm96".to_owned(),
        },
        vault_latency: (Duration::ZERO, Duration::ZERO),
        socket_latency: (Duration::ZERO, Duration::ZERO),
        plugin: BTreeMap::new(),
        providers: vec![Provider::Kms, Provider::Identity],
    }
}

/// Makes it, feels it, undoes it.
pub async fn felt_and_undone(parts: &Parts, flavour: Flavour, case: Case) -> Result<()> {
    let (spec, stored) = (spec(flavour, case.nodes), needs_storage(&case.fault));
    let world = ProcessWorld::start(&spec, parts, stored, Recorder::start()).await?;
    let told = scenario(&world, &case).await;
    world
        .stop()
        .await
        .map_err(|trouble| anyhow::anyhow!("{trouble}"))?;
    told
}

async fn scenario(world: &ProcessWorld, case: &Case) -> Result<()> {
    let trouble = |trouble| anyhow::anyhow!("{trouble}");
    works(world).await.context("before the fault")?;
    written(world, "before").await?;
    let order = Order {
        id: "it".to_owned(),
        fault: case.fault.clone(),
        nodes: vec![0],
        deadline: 4 * WITHIN,
    };
    world.inject(&order).await.map_err(trouble)?;
    if case.felt == Felt::FailsWithoutToken {
        let revoke = Order {
            id: "tokens".to_owned(),
            fault: Fault::VaultRevokeTokens,
            ..order.clone()
        };
        world.inject(&revoke).await.map_err(trouble)?;
    }
    let begun = Instant::now();
    match case.felt {
        Felt::Fails | Felt::FailsForGood | Felt::FailsWithoutToken => {
            while let Ok(()) = encrypt(world).await {
                ensure!(begun.elapsed() < WITHIN, "Encrypt goes on working");
                sleep(EVERY).await;
            }
        }
        Felt::Works | Felt::Loses => works(world).await.context("during the fault")?,
        Felt::Returns => works_within(world, 3 * WITHIN)
            .await
            .context("during the fault")?,
    }
    while world.hits("it") == 0 {
        ensure!(begun.elapsed() < WITHIN, "no hits");
        // Whether it works is not the question here.
        let _ = every_call(world).await;
        sleep(EVERY).await;
    }
    world.recover("it").await.map_err(trouble)?;
    ensure!(world.hits("it") > 0, "the hits are forgotten");
    if case.fault == Fault::LoginRefused {
        // A refused credential is tried again after 15 minutes, or when there is another one.
        let remedy = Order {
            id: "remedy".to_owned(),
            fault: Fault::CredentialsChanged,
            ..order
        };
        world.inject(&remedy).await.map_err(trouble)?;
    }
    if case.felt == Felt::FailsForGood {
        let again = encrypt(world).await;
        return ensure_fails(again);
    }
    works(world).await.context("after the fault")?;
    if case.felt != Felt::Loses {
        written(world, "after").await?;
    }
    world.note_vault_calls();
    Ok(())
}

fn ensure_fails(end: Result<()>) -> Result<()> {
    ensure!(end.is_err(), "Encrypt works again without a key");
    Ok(())
}

/// Through the node's socket, as its API server calls, and past it, as an operator would.
async fn encrypt(world: &ProcessWorld) -> Result<()> {
    let front = socket::parse(&world.endpoint(0))?;
    let through = async {
        let request = EncryptRequest {
            plaintext: b"through".to_vec().into(),
            uid: "process-arm".to_owned(),
        };
        anyhow::Ok(socket::connect(&front).await?.encrypt(request).await?)
    };
    let through = tokio::time::timeout(CALL, through).await?;
    through.context("through the socket")?;
    let probe = world.encrypt(0, b"past", CALL).await;
    match probe.map_err(|trouble| anyhow::anyhow!("{trouble}"))?.end {
        RpcEnd::Ok { .. } => Ok(()),
        RpcEnd::Failed { code, message } => anyhow::bail!("past the socket: {code}: {message}"),
    }
}

/// Each call once, through the node's socket.
async fn every_call(world: &ProcessWorld) -> Result<()> {
    let mut client = socket::connect(&socket::parse(&world.endpoint(0))?).await?;
    let calls = async {
        client.status(StatusRequest {}).await?;
        let request = EncryptRequest {
            plaintext: b"every".to_vec().into(),
            uid: "process-arm".to_owned(),
        };
        let sealed = client.encrypt(request).await?.into_inner();
        let request = DecryptRequest {
            ciphertext: sealed.ciphertext,
            key_id: sealed.key_id,
            annotations: sealed.annotations,
            uid: "process-arm".to_owned(),
        };
        client.decrypt(request).await.map(drop)
    };
    Ok(tokio::time::timeout(CALL, calls).await??)
}

async fn works(world: &ProcessWorld) -> Result<()> {
    works_within(world, WITHIN).await
}

async fn works_within(world: &ProcessWorld, within: Duration) -> Result<()> {
    let begun = Instant::now();
    while let Err(error) = encrypt(world).await {
        ensure!(
            begun.elapsed() < within,
            "not well after {} s: {error:#}",
            within.as_secs()
        );
        sleep(EVERY).await;
    }
    Ok(())
}

/// A Secret can be written, and read by a server that knows nothing yet.
async fn written(world: &ProcessWorld, name: &str) -> Result<()> {
    let trouble = |trouble| anyhow::anyhow!("{trouble}");
    let target = Target::secret("default", name);
    let object = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "Ym9keQ=="}});
    let begun = Instant::now();
    loop {
        let server = world.apiserver(0);
        let answer = server
            .create(&target, object.clone())
            .await
            .map_err(trouble)?;
        // An answer that came too late may stand for a write that took place.
        if answer.ok() || answer.code == 409 {
            break;
        }
        // A server that saw the outage looks again only every 10 s.
        ensure!(begun.elapsed() < 2 * WITHIN, "write {name}: {answer:?}");
        sleep(EVERY).await;
    }
    let fresh = world.fresh_apiserver(0).await.map_err(trouble)?;
    loop {
        let read = fresh.get(&target).await.map_err(trouble)?;
        if read.field("/data/a") == "Ym9keQ==" {
            return Ok(());
        }
        // One that starts in an outage needs a good Status first.
        ensure!(begun.elapsed() < 2 * WITHIN, "read {name}: {read:?}");
        sleep(EVERY).await;
    }
}
