//! What the plugins need in Vault: the Transit key, a policy, and credentials for each plugin.

use std::time::Duration;

use kms_scenario::fault::Right;
use kms_scenario::world::Auth;
use serde_json::{Value, json};
use sim_vault::{SimVault, TokenSettings};

use super::Vaults;
use crate::surroundings::{Files, lock};

/// The Transit mount.
pub const MOUNT: &str = "transit";

/// The Transit key.
pub const KEY: &str = "kms-key";

/// Policy, role and beginning of user names.
const WHO: &str = "kms-plugin";

/// The files that a plugin's credentials stand in.
const ROLE_ID: &str = "/creds/role-id";
const SECRET_ID: &str = "/creds/secret-id";
const USERNAME: &str = "/creds/username";
const PASSWORD: &str = "/creds/password";
const TOKEN: &str = "/creds/token";

/// What was given out so far.
pub struct Issued {
    /// For each plugin, how often its credentials were changed.
    generations: Vec<u32>,
    /// For each plugin, its token, with that method.
    tokens: Vec<String>,
}

impl Issued {
    pub fn new(plugins: u32) -> Self {
        let plugins = plugins as usize;
        Self {
            generations: vec![0; plugins],
            tokens: vec![String::new(); plugins],
        }
    }
}

impl Vaults {
    /// Key, policy, auth method and credentials of a new Vault.
    pub(super) fn set_up(&self) {
        let made = self.create_key();
        assert!(made, "the language lets only known key types through");
        self.write_policy(&[]);
        self.set_up_auth();
        if self.spec.auth == Auth::Token {
            let mut issued = lock(&self.access);
            issued
                .tokens
                .iter_mut()
                .for_each(|token| *token = self.new_token());
        }
    }

    pub(super) fn create_key(&self) -> bool {
        self.opened(|sim| sim.create_key(MOUNT, KEY, &self.spec.key_type))
    }

    /// The auth method with the role and all credentials that were given out: also after it was disabled.
    pub(super) fn set_up_auth(&self) {
        match self.spec.auth {
            Auth::Approle => {
                self.opened(|sim| sim.approle("approle", WHO, &self.role()));
                let body = json!({"role_id": self.role_id()});
                self.admin("POST", &format!("auth/approle/role/{WHO}/role-id"), &body);
            }
            Auth::Userpass => {
                self.opened(|sim| sim.enable_auth("userpass", "userpass"));
            }
            Auth::Token => {}
        }
        let plugins = lock(&self.access).generations.len();
        (0..plugins).for_each(|plugin| self.register(plugin));
    }

    /// Makes a plugin's present credentials known to Vault.
    fn register(&self, plugin: usize) {
        match self.spec.auth {
            Auth::Approle => {
                let body = json!({"secret_id": self.secret("secret-id", plugin)});
                let path = format!("auth/approle/role/{WHO}/custom-secret-id");
                self.admin("POST", &path, &body);
            }
            Auth::Userpass => {
                let password = self.secret("password", plugin);
                let user = user(plugin);
                self.opened(|sim| sim.userpass("userpass", &user, &password, &self.role()));
            }
            Auth::Token => {}
        }
    }

    /// Gives a plugin new credentials; the old ones of AppRole and token stay good.
    pub fn renew_credentials(&self, plugin: usize) {
        lock(&self.access).generations[plugin] += 1;
        self.register(plugin);
        if self.spec.auth == Auth::Token {
            let token = self.new_token();
            lock(&self.access).tokens[plugin] = token;
        }
    }

    /// Writes a plugin's present credentials into its files.
    pub fn write_credentials(&self, plugin: usize, files: &Files) {
        for (path, content) in self.credentials(plugin) {
            files.write(path, &content);
        }
    }

    /// The paths of a plugin's credential files.
    pub fn credential_files(&self) -> &'static [&'static str] {
        match self.spec.auth {
            Auth::Approle => &[ROLE_ID, SECRET_ID],
            Auth::Userpass => &[USERNAME, PASSWORD],
            Auth::Token => &[TOKEN],
        }
    }

    fn credentials(&self, plugin: usize) -> Vec<(&'static str, String)> {
        match self.spec.auth {
            Auth::Approle => vec![
                (ROLE_ID, self.role_id()),
                (SECRET_ID, self.secret("secret-id", plugin)),
            ],
            Auth::Userpass => vec![
                (USERNAME, user(plugin)),
                (PASSWORD, self.secret("password", plugin)),
            ],
            Auth::Token => vec![(TOKEN, lock(&self.access).tokens[plugin].clone())],
        }
    }

    /// How a plugin is told to log in.
    pub fn login_flags(&self) -> Vec<(&'static str, &'static str)> {
        match self.spec.auth {
            Auth::Approle => vec![
                ("auth-method", "approle"),
                ("approle-role-id-path", ROLE_ID),
                ("approle-secret-id-path", SECRET_ID),
            ],
            Auth::Userpass => vec![
                ("auth-method", "userpass"),
                ("userpass-username-path", USERNAME),
                ("userpass-password-path", PASSWORD),
            ],
            Auth::Token => vec![("auth-method", "token"), ("token-path", TOKEN)],
        }
    }

    fn role(&self) -> Value {
        let mut role = json!({
            "token_policies": [WHO],
            "token_no_default_policy": true,
            "token_ttl": seconds(self.spec.token_ttl),
            "token_max_ttl": seconds(self.spec.token_max_ttl),
        });
        if self.spec.batch {
            role["token_type"] = "batch".into();
        }
        if self.spec.auth == Auth::Approle {
            role["secret_id_num_uses"] = self.spec.secret_id_uses.into();
            if let Some(ttl) = self.spec.secret_id_ttl {
                role["secret_id_ttl"] = seconds(ttl).into();
            }
        }
        role
    }

    fn new_token(&self) -> String {
        let settings = TokenSettings {
            policies: vec![WHO.to_owned()],
            ttl: self.spec.token_ttl,
            explicit_max_ttl: self.spec.token_max_ttl,
            batch: self.spec.batch,
            no_default_policy: true,
            ..TokenSettings::default()
        };
        self.opened(|sim| sim.create_token(&settings))
    }

    /// Writes the plugins' policy without some rights, besides those that the scenario leaves out.
    pub(super) fn write_policy(&self, without: &[Right]) {
        let all = [
            (Right::Encrypt, format!("{MOUNT}/encrypt/{KEY}"), "update"),
            (Right::Decrypt, format!("{MOUNT}/decrypt/{KEY}"), "update"),
            (Right::KeyRead, format!("{MOUNT}/keys/{KEY}"), "read"),
            (Right::Lookup, "auth/token/lookup-self".to_owned(), "read"),
            (Right::Renew, "auth/token/renew-self".to_owned(), "update"),
        ];
        let given = all
            .iter()
            .filter(|(right, ..)| !without.contains(right) && !self.spec.without.contains(right));
        let mut text: String = given
            .map(|(_, path, may)| format!("path \"{path}\" {{ capabilities = [\"{may}\"] }}\n"))
            .collect();
        if text.is_empty() {
            text = "path \"nothing\" { capabilities = [\"deny\"] }\n".to_owned();
        }
        let path = format!("sys/policies/acl/{WHO}");
        let (status, answer) = self.admin("PUT", &path, &json!({ "policy": text }));
        assert_eq!(status, 204, "our own policy is sound: {answer}");
    }

    /// What an administrator asks.
    pub(super) fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.opened(|sim| sim.admin(method, path, body))
    }

    /// What an administrator does. A sealed barrier is no obstacle and stays sealed: faults come and go by the plan,
    /// whatever else is broken.
    pub(super) fn opened<T>(&self, deed: impl FnOnce(&SimVault) -> T) -> T {
        let sim = self.first();
        let sealed = sim.is_sealed();
        if sealed {
            sim.unseal();
        }
        let done = deed(sim);
        if sealed {
            sim.seal();
        }
        done
    }

    fn role_id(&self) -> String {
        hex(self.seed.label("role-id").bytes())
    }

    fn secret(&self, what: &str, plugin: usize) -> String {
        let generation = lock(&self.access).generations[plugin];
        let label = format!("{what} {plugin} {generation}");
        hex(self.seed.label(&label).bytes())
    }

    /// Ends all tokens that the plugins have. How many.
    pub(super) fn end_tokens(&self) -> usize {
        match self.spec.auth {
            Auth::Approle => self.first().revoke_all_tokens_of("approle"),
            Auth::Userpass => self.first().revoke_all_tokens_of("userpass"),
            Auth::Token => {
                let tokens = lock(&self.access).tokens.clone();
                let lived = tokens
                    .iter()
                    .filter(|token| self.first().revoke_token(token));
                lived.count()
            }
        }
    }
}

fn user(plugin: usize) -> String {
    format!("{WHO}-{plugin}")
}

/// Vault counts in whole seconds.
fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs().max(1))
}

fn hex(bytes: [u8; 32]) -> String {
    bytes[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
