//! What can be found out over the wire: address, TLS, login, key, rights, round trip, namespace.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Row, Verdict, sample};
use crate::config::{Auth, Config, DoctorArgs, Vault, VaultAddress};
use crate::event::VaultOp;
use crate::fault::Fault;
use crate::key::document::KeyDocument;
use crate::key::format::Format;
use crate::key::table::{Due, Version};
use crate::keyring::Keyring;
use crate::seam::Env;
use crate::session::{Operation, Session};
use crate::token::{Tokens, login};
use crate::transit::{Input, Output};
use crate::vault::{Call, Client, Meaning};

/// Limit of one request.
const LIMIT: Duration = Duration::from_secs(10);
/// A token that lives less asks for logins all the time.
const SHORT_LIFE: u64 = 60;
/// What is encrypted to see that it can be decrypted.
const TEXT: &[u8] = b"vault-kubernetes-kms doctor text";

pub(super) async fn rows(config: &Config, args: &DoctorArgs, env: &Env) -> Vec<Row> {
    let mut rows = Vec::new();
    let credentials = credentials(config, env);
    let ready = credentials.result == Verdict::Good;
    rows.push(credentials);
    let mut reached = false;
    for address in &config.vault.addresses {
        reached |= reach(config, address, env, &mut rows).await;
    }
    if !reached || !ready {
        let after = if reached { "credentials" } else { "address" };
        rows.push(Row::unknown("login", after));
        return rows;
    }
    if matches!(config.auth, Auth::AppRole { wrapped: true, .. }) {
        let meaning = "not tried: the wrapping token works once, and the plugin needs it";
        rows.push(Row::new("login", Verdict::Skipped, meaning, ""));
        return rows;
    }
    let client = Arc::new(Client::new(&config.vault, 1, env.clone()));
    let tokens = Tokens::new(
        config.auth.clone(),
        config.vault.auth_namespace.clone(),
        client.clone(),
        env.clone(),
    );
    let session = Arc::new(Session::new(client, tokens, env.clone()));
    let keyring = Keyring::new(config, session.clone(), env.clone());
    let patient = Patient {
        config,
        session: &session,
        keyring: &keyring,
        env,
    };
    tokio::select! {
        biased;
        () = Box::pin(patient.examine(args, &mut rows)) => {}
        () = session.tokens.keep() => unreachable!("the keeper never ends"),
    }
    session.tokens.revoke().await;
    rows
}

fn credentials(config: &Config, env: &Env) -> Row {
    match login::read(&config.auth, &*env.secrets) {
        Ok(_) => Row::good("credentials", "they are there and have the right form"),
        Err(text) => Row::new("credentials", Verdict::Failed, text, ""),
    }
}

/// Connects to one address; whether that worked.
async fn reach(config: &Config, address: &VaultAddress, env: &Env, rows: &mut Vec<Row>) -> bool {
    if config.vault.proxy.is_none() {
        let connect = env.connector.connect(&address.at);
        let failed = match timeout(config.vault.connect_timeout, connect).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!(
                "no connection within {} ms",
                config.vault.connect_timeout.as_millis()
            )),
        };
        if let Some(what) = failed {
            let (address, sent) = (address.to_string(), false);
            let fault = Fault::Transport {
                address,
                what,
                sent,
            };
            rows.push(Row::fault("address", &fault));
            return false;
        }
        rows.push(Row::good(
            "address",
            format!("{address} accepts connections"),
        ));
    }
    let one = Vault {
        addresses: vec![address.clone()],
        ..config.vault.clone()
    };
    let client = Client::new(&one, 1, env.clone());
    let answer = client
        .call(&Call {
            // Repeatable and small; the word goes nowhere but into a metric that nobody reads.
            op: VaultOp::Lookup,
            id: env.entropy.next_u64(),
            method: Method::GET,
            namespace: "",
            path: "sys/seal-status",
            body: Bytes::new(),
            token: None,
            deadline: Instant::now() + LIMIT,
            items: 1,
        })
        .await;
    rows.push(tls(config, address, answer.as_ref().err()));
    match answer {
        Err(_) => false,
        Ok(answer) => {
            rows.push(seal(address, answer.status, &answer.body.0));
            true
        }
    }
}

fn tls(config: &Config, address: &VaultAddress, fault: Option<&Fault>) -> Row {
    let check = "tls";
    if let Some(fault) = fault {
        return Row::fault(check, fault);
    }
    if !address.https {
        return Row::new(
            check,
            Verdict::Warning,
            format!("{address} is plain HTTP: whoever sees the wire has the token and the keys"),
            "use https",
        );
    }
    if config.vault.tls.skip_verify {
        return Row::new(
            check,
            Verdict::Failed,
            format!("the certificate of {address} is not verified: anybody can stand in for vault"),
            "drop -tls-skip-verify and give the authority with -tls-ca-file",
        );
    }
    let name = config.vault.tls.sni.as_deref().unwrap_or(&address.at.host);
    Row::good(check, format!("the certificate is valid for {name}"))
}

fn seal(address: &VaultAddress, status: u16, body: &[u8]) -> Row {
    let check = "seal";
    let Ok(state) = serde_json::from_slice::<Value>(body) else {
        return Row::new(
            check,
            Verdict::Warning,
            format!("{address} answers HTTP {status}, but not as vault does"),
            "see that the address is vault's own and not a portal before it",
        );
    };
    let version = state["version"].as_str().unwrap_or("unknown");
    if state["initialized"] == Value::Bool(false) {
        return Row::new(
            check,
            Verdict::Failed,
            "vault is not initialised",
            "initialise it",
        );
    }
    match state["sealed"].as_bool() {
        Some(true) => Row::new(check, Verdict::Failed, "vault is sealed", "unseal it"),
        Some(false) => Row::good(check, format!("{address} is unsealed, version {version}")),
        None => Row::new(
            check,
            Verdict::Skipped,
            format!("{address} does not tell (HTTP {status})"),
            "",
        ),
    }
}

/// A session that can be tried.
struct Patient<'a> {
    config: &'a Config,
    session: &'a Session,
    keyring: &'a Keyring,
    env: &'a Env,
}

impl Patient<'_> {
    async fn examine(&self, args: &DoctorArgs, rows: &mut Vec<Row>) {
        if let Err(fault) = self.session.tokens.current(limit()).await {
            rows.push(Row::fault("login", &fault));
            rows.push(Row::unknown("key", "login"));
            return;
        }
        let how = match &self.config.auth {
            Auth::Token { .. } => "the token is taken",
            Auth::AppRole { .. } => "approle gives a token",
            Auth::Userpass { .. } => "userpass gives a token",
            Auth::Jwt { .. } => "the JWT gives a token",
            Auth::Cert { .. } => "the client certificate gives a token",
        };
        rows.push(Row::good("login", how));
        rows.extend(self.token().await);
        rows.extend(self.namespace().await);
        match self.keyring.read(0, limit()).await {
            Ok(document) => {
                let config = &self.config.place;
                let latest = document.latest;
                let meaning = format!("{} at {} has version {latest}", config.key, config.mount);
                rows.push(Row::good("key", meaning));
                self.key(&document, rows).await;
            }
            Err(fault) => {
                rows.push(Row::fault("key", &fault));
                for check in ["encrypt", "decrypt", "binding"] {
                    rows.push(Row::unknown(check, "key"));
                }
            }
        }
        self.former_places(rows).await;
        if let Some(sample) = &args.sample {
            rows.push(sample::row(sample, self.keyring, self.env, limit()).await);
        }
    }

    /// What the server tells of the token, if it may be asked.
    async fn token(&self) -> Vec<Row> {
        let check = "token";
        let answer = self
            .session
            .call(
                &Operation {
                    op: VaultOp::Lookup,
                    id: self.env.entropy.next_u64(),
                    namespace: &self.config.vault.auth_namespace,
                    path: "auth/token/lookup-self",
                    body: Bytes::new(),
                    items: 1,
                },
                limit(),
            )
            .await;
        let data = match &answer {
            Ok(answer) if answer.meaning() == Meaning::Done => {
                serde_json::from_slice::<Value>(&answer.body.0)
                    .map(|answer| answer["data"].clone())
                    .unwrap_or_default()
            }
            _ => {
                let meaning = "it may not look itself up, which the plugin does not need";
                return vec![Row::new(check, Verdict::Skipped, meaning, "")];
            }
        };
        self.judge_token(&data)
    }

    fn judge_token(&self, data: &Value) -> Vec<Row> {
        let check = "token";
        let warning = |meaning: String, remedy| Row::new(check, Verdict::Warning, meaning, remedy);
        let number = |name: &str| data[name].as_u64().unwrap_or(0);
        let (ttl, uses) = (number("ttl"), number("num_uses"));
        let renewable = data["renewable"].as_bool().unwrap_or(false);
        let is_static = matches!(self.config.auth, Auth::Token { .. });
        let mut rows = Vec::new();
        if uses > 0 {
            rows.push(Row::new(
                check,
                Verdict::Failed,
                format!("it ends after {uses} uses, which are gone within minutes"),
                "set token_num_uses=0",
            ));
        }
        let policies = data["policies"].as_array().cloned().unwrap_or_default();
        if policies.iter().any(|policy| policy == "root") {
            let meaning = "it is a root token: the plugin could do everything in vault".to_owned();
            rows.push(warning(
                meaning,
                "use one with `vault-kubernetes-kms policy` alone",
            ));
        }
        if is_static && ttl > 0 && !renewable {
            let meaning = format!("it ends in {ttl} s and cannot be renewed; nobody replaces it");
            rows.push(warning(
                meaning,
                "use approle or userpass, or a periodic token",
            ));
        } else if (1..SHORT_LIFE).contains(&ttl) {
            let meaning = format!("it lives {ttl} s only, so any outage outlives it");
            rows.push(warning(meaning, "set token_ttl to an hour"));
        }
        let limit = number("explicit_max_ttl");
        if is_static && limit > 0 {
            let meaning = format!("it ends {limit} s after its creation, renewed or not");
            rows.push(warning(
                meaning,
                "use approle or userpass, or a periodic token",
            ));
        }
        if rows.is_empty() {
            let life = if ttl == 0 {
                "it never ends".to_owned()
            } else {
                format!("it lives {ttl} s more")
            };
            let renewal = if renewable { "can" } else { "cannot" };
            rows.push(Row::good(check, format!("{life} and {renewal} be renewed")));
        }
        rows
    }

    /// Community Vault echoes the namespace header and works in the root namespace all the same.
    /// So one is asked for that does not exist: who answers takes no notice of namespaces.
    async fn namespace(&self) -> Option<Row> {
        let place = &self.config.place;
        let wanted = [&place.namespace, &self.config.vault.auth_namespace];
        let named = wanted.into_iter().find(|name| !name.is_empty())?;
        let token = self.session.tokens.current(limit()).await.ok()?;
        let nowhere = format!("no-such-namespace-{:016x}", self.env.entropy.next_u64());
        let call = Call {
            op: VaultOp::ReadKey,
            id: self.env.entropy.next_u64(),
            method: Method::GET,
            namespace: &nowhere,
            path: &self.keyring.current().paths.key,
            body: Bytes::new(),
            token: Some(&token.secret),
            deadline: limit(),
            items: 1,
        };
        let check = "namespace";
        Some(match self.session.client.call(&call).await {
            Err(fault) => Row::fault(check, &fault),
            Ok(answer) if answer.meaning() == Meaning::Done => Row::new(
                check,
                Verdict::Failed,
                format!(
                    "this server takes no notice of namespaces (community edition): {named} is not \
                     used, everything runs in the root namespace"
                ),
                "leave -vault-namespace and -vault-auth-namespace out, or use a server that has \
                 namespaces",
            ),
            Ok(_) => Row::good(
                check,
                format!("the server knows namespaces; {named} is used"),
            ),
        })
    }

    async fn key(&self, document: &KeyDocument, rows: &mut Vec<Row>) {
        let taken = self
            .keyring
            .current()
            .with(|table| table.observe(Instant::now(), document));
        let version = match taken {
            Due::TakeUp(version) => version,
            Due::Fault(text) => {
                rows.push(Row::new("key-type", Verdict::Failed, text, ""));
                return;
            }
            Due::Nothing => unreachable!("a fresh table takes the first version up"),
        };
        rows.push(Row::good(
            "key-type",
            "authenticated, and neither derived nor deleted",
        ));
        if document.min_encryption > document.latest {
            rows.push(Row::new(
                "key-versions",
                Verdict::Failed,
                format!(
                    "min_encryption_version {} is above the latest version {}",
                    document.min_encryption, document.latest
                ),
                "lower it",
            ));
        }
        self.round_trip(&version, rows).await;
        self.keyring
            .current()
            .with(|table| table.take_up(version, document));
    }

    /// Encrypts, decrypts, and decrypts with other associated data, which must fail.
    async fn round_trip(&self, version: &Version, rows: &mut Vec<Row>) {
        let plaintext = Input::Plaintext(Bytes::from_static(TEXT));
        let text = match self.one(0, VaultOp::Encrypt, &plaintext, version).await {
            Ok(Output::Ciphertext { text, .. }) => text,
            Ok(Output::Plaintext(_)) => {
                let meaning = "encrypt gives no ciphertext";
                rows.push(Row::new("encrypt", Verdict::Failed, meaning, ""));
                return;
            }
            Err(fault) => {
                rows.push(Row::fault("encrypt", &fault));
                rows.push(Row::unknown("binding", "encrypt"));
                rows.push(self.may_decrypt(0, "decrypt").await);
                return;
            }
        };
        let meaning = format!("works at version {}", version.number);
        rows.push(Row::good("encrypt", meaning));
        let bound = version.format.is_bound();
        let sealed = |key_id: &str| Input::Ciphertext {
            text: text.clone(),
            key_id: key_id.into(),
            bound,
        };
        match self
            .one(0, VaultOp::Decrypt, &sealed(&version.key_id), version)
            .await
        {
            Ok(Output::Plaintext(plaintext)) if plaintext == TEXT => {
                rows.push(Row::good("decrypt", "gives back what was encrypted"));
            }
            Ok(_) => {
                let meaning = "decrypt does not give back what was encrypted";
                let remedy = "see that -transit-mount is a transit engine";
                rows.push(Row::new("decrypt", Verdict::Failed, meaning, remedy));
            }
            Err(fault) => {
                rows.push(Row::fault("decrypt", &fault));
                rows.push(Row::unknown("binding", "decrypt"));
                return;
            }
        }
        if !bound {
            rows.push(Row::new(
                "binding",
                Verdict::Warning,
                "while another plugin is taken over from, values are not bound to their key_id: whoever can write to \
                 etcd can put one value's seed in the place of another's",
                "when everything stored has been written anew, go on with -adopt=community,final or hashicorp,final",
            ));
            return;
        }
        let other = self
            .one(0, VaultOp::Decrypt, &sealed("v1.another"), version)
            .await;
        rows.push(match other {
            Err(Fault::Data(_)) => Row::good(
                "binding",
                "with changed associated data decryption is refused",
            ),
            Err(fault) => Row::fault("binding", &fault),
            Ok(_) => Row::new(
                "binding",
                Verdict::Failed,
                "the server ignores associated data, so a ciphertext is not bound to its key_id",
                "use Vault 1.12 or later, or OpenBao, with a key of type aes256-gcm96",
            ),
        });
    }

    /// Whether decryption is allowed where nothing is at hand to decrypt: a made-up value is
    /// refused for what it is, or for want of rights.
    async fn may_decrypt(&self, at: usize, check: impl Into<String>) -> Row {
        let made_up = Input::Ciphertext {
            text: Bytes::from_static(
                b"vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            key_id: "v1.another".into(),
            bound: true,
        };
        let version = Version {
            number: 1,
            key_id: "v1.another".into(),
            format: Format::Bound,
        };
        match self.one(at, VaultOp::Decrypt, &made_up, &version).await {
            Err(Fault::Data(_)) | Ok(_) => Row::good(check, "is allowed"),
            Err(fault) => Row::fault(check, &fault),
        }
    }

    async fn former_places(&self, rows: &mut Vec<Row>) {
        for (at, place) in self.keyring.places.iter().enumerate().skip(1) {
            let check = format!("decrypt-only-{at}");
            let document = match self.keyring.read(at, limit()).await {
                Ok(document) => document,
                Err(fault) => {
                    rows.push(Row::fault(check, &fault));
                    continue;
                }
            };
            // Fills the table, which a sample is looked up in.
            let due = place.with(|table| table.observe(Instant::now(), &document));
            rows.push(match due {
                Due::Fault(text) => Row::new(check, Verdict::Failed, text, ""),
                _ => self.may_decrypt(at, check).await,
            });
        }
    }

    async fn one(
        &self,
        at: usize,
        op: VaultOp,
        input: &Input,
        version: &Version,
    ) -> Result<Output, Fault> {
        one(self.keyring, self.env, at, op, input, version, limit()).await
    }
}

/// One item at one place.
pub(super) async fn one(
    keyring: &Keyring,
    env: &Env,
    at: usize,
    op: VaultOp,
    input: &Input,
    version: &Version,
    deadline: Instant,
) -> Result<Output, Fault> {
    let id = env.entropy.next_u64();
    let mut items = keyring
        .request(at, op, id, &[input], version, deadline)
        .await?;
    items
        .pop()
        .unwrap_or_else(|| Err(Fault::Key("an answer without a result".to_owned())))
}

fn limit() -> Instant {
    Instant::now() + LIMIT
}
