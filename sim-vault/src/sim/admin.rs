//! What tests do to a server from outside: set it up and pull the ground from under its clients.
//! Everything goes through the API with the root token where the API has a way.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::SimVault;
use crate::{Leader, Request};

/// How a token for a test is made; the default is a renewable service token with policy `default` for 32 days.
#[derive(Clone, Debug, Default)]
pub struct TokenSettings {
    /// Besides `default`.
    pub policies: Vec<String>,
    /// Zero: the mount's default.
    pub ttl: Duration,
    /// Zero: none.
    pub explicit_max_ttl: Duration,
    /// Zero: not periodic.
    pub period: Duration,
    /// 0: unlimited.
    pub num_uses: u64,
    /// A batch token instead of a service token.
    pub batch: bool,
    /// It cannot be renewed.
    pub not_renewable: bool,
    /// Without the policy `default`: it may not renew or look up itself.
    pub no_default_policy: bool,
    /// Namespace, e.g. `admin/team`.
    pub namespace: String,
}

impl SimVault {
    /// A request with the root token: status and body.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.admin_in("", method, path, body)
    }

    /// The same in a namespace.
    pub fn admin_in(
        &self,
        namespace: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let path = path.strip_prefix("/v1/").unwrap_or(path);
        let mut request = Request::new(method, &format!("/v1/{path}")).token(&self.root_token());
        if !namespace.is_empty() {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let now = self.now();
        // not into the log: that is about the server's clients
        let response = self.core(|core| {
            let response = core.handle(now, &request);
            core.take_items();
            response
        });
        (response.status, response.json())
    }

    fn post(&self, namespace: &str, path: &str, body: Value) -> Value {
        self.admin_in(namespace, "POST", path, &body).1
    }

    /// Whether it is sealed.
    pub fn is_sealed(&self) -> bool {
        self.core(|core| core.sealed())
    }

    /// Seals the server.
    pub fn seal(&self) {
        self.core(|core| core.set_sealed(true));
    }

    /// Unseals it, whatever its shares.
    pub fn unseal(&self) {
        self.core(|core| core.set_sealed(false));
    }

    /// The node leads no more, and no other node does: what a cluster is between two leaders.
    pub fn step_down(&self) {
        self.set_node(|node| {
            node.standby = true;
            node.leader = Leader::None;
        });
    }

    /// The node leads again.
    pub fn lead(&self) {
        self.set_node(|node| {
            node.standby = false;
            node.leader = Leader::Alive;
        });
    }

    /// Mounts a secrets engine, e.g. (`transit`, `transit`); true if that worked.
    pub fn mount(&self, path: &str, kind: &str) -> bool {
        self.admin(
            "POST",
            &format!("sys/mounts/{path}"),
            &json!({ "type": kind }),
        )
        .0 == 204
    }

    /// Creates a Transit key, mounting the engine first where needed; an empty type is `aes256-gcm96`.
    pub fn create_key(&self, mount: &str, key: &str, kind: &str) -> bool {
        self.mount(mount, "transit");
        let body = if kind.is_empty() {
            json!({})
        } else {
            json!({ "type": kind })
        };
        self.admin("POST", &format!("{mount}/keys/{key}"), &body).0 == 200
    }

    /// Adds a version; the new latest one, `None` if there is no such key.
    pub fn rotate(&self, mount: &str, key: &str) -> Option<u64> {
        self.admin("POST", &format!("{mount}/keys/{key}/rotate"), &Value::Null);
        self.key_version(mount, key)
    }

    /// The latest version.
    pub fn key_version(&self, mount: &str, key: &str) -> Option<u64> {
        self.admin("GET", &format!("{mount}/keys/{key}"), &Value::Null)
            .1["data"]["latest_version"]
            .as_u64()
    }

    /// Deletes a key for good, allowing the deletion first.
    pub fn delete_key(&self, mount: &str, key: &str) -> bool {
        self.set_key_config(mount, key, &json!({ "deletion_allowed": true }));
        self.admin("DELETE", &format!("{mount}/keys/{key}"), &Value::Null)
            .0
            == 204
    }

    /// Changes `min_decryption_version` and the like.
    pub fn set_key_config(&self, mount: &str, key: &str, config: &Value) -> bool {
        self.admin("POST", &format!("{mount}/keys/{key}/config"), config)
            .0
            == 200
    }

    /// Writes a policy in HCL or JSON; the server's complaint if it cannot be read.
    pub fn put_policy(&self, name: &str, text: &str) -> Result<(), String> {
        self.put_policy_in("", name, text)
    }

    /// The same in a namespace.
    pub fn put_policy_in(&self, namespace: &str, name: &str, text: &str) -> Result<(), String> {
        let (status, body) = self.admin_in(
            namespace,
            "PUT",
            &format!("sys/policies/acl/{name}"),
            &json!({ "policy": text }),
        );
        if status == 204 {
            Ok(())
        } else {
            Err(body["errors"][0].as_str().unwrap_or("refused").to_owned())
        }
    }

    /// Creates a namespace, e.g. `admin` or `admin/team` (each level by itself).
    pub fn create_namespace(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.admin_in(
            parent,
            "POST",
            &format!("sys/namespaces/{name}"),
            &Value::Null,
        )
        .0 == 200
    }

    /// Enables an auth method at a path, e.g. (`approle`, `approle`).
    pub fn enable_auth(&self, path: &str, kind: &str) -> bool {
        self.admin(
            "POST",
            &format!("sys/auth/{path}"),
            &json!({ "type": kind }),
        )
        .0 == 204
    }

    /// Makes an AppRole with a secret id, enabling the method first where needed. `settings` are the role's fields, e.g. `token_ttl`.
    /// Gives role id and secret id; both empty if the settings were refused.
    pub fn approle(&self, mount: &str, role: &str, settings: &Value) -> (String, String) {
        self.enable_auth(mount, "approle");
        self.admin("POST", &format!("auth/{mount}/role/{role}"), settings);
        let id = self
            .admin(
                "GET",
                &format!("auth/{mount}/role/{role}/role-id"),
                &Value::Null,
            )
            .1;
        (
            id["data"]["role_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            self.secret_id(mount, role),
        )
    }

    /// One more secret id for a role; empty if there is no such role.
    pub fn secret_id(&self, mount: &str, role: &str) -> String {
        let secret = self.post(
            "",
            &format!("auth/{mount}/role/{role}/secret-id"),
            json!({}),
        );
        secret["data"]["secret_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Makes a user, enabling the method first where needed. `settings` are the user's fields, e.g. `token_policies`.
    pub fn userpass(&self, mount: &str, user: &str, password: &str, settings: &Value) -> bool {
        self.enable_auth(mount, "userpass");
        let mut body: Map<String, Value> = settings.as_object().cloned().unwrap_or_default();
        body.insert("password".to_owned(), password.into());
        self.admin(
            "POST",
            &format!("auth/{mount}/users/{user}"),
            &Value::Object(body),
        )
        .0 == 204
    }

    /// Makes a token; empty if the settings were refused.
    pub fn create_token(&self, settings: &TokenSettings) -> String {
        let mut body =
            json!({ "policies": settings.policies, "renewable": !settings.not_renewable });
        if settings.no_default_policy {
            body["no_default_policy"] = true.into();
        }
        for (name, value) in [
            ("ttl", settings.ttl),
            ("explicit_max_ttl", settings.explicit_max_ttl),
            ("period", settings.period),
        ] {
            if !value.is_zero() {
                body[name] = value.as_secs().into();
            }
        }
        if settings.num_uses > 0 {
            body["num_uses"] = settings.num_uses.into();
        }
        if settings.batch {
            body["type"] = "batch".into();
        }
        let made = self.post(&settings.namespace, "auth/token/create", body);
        made["auth"]["client_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Revokes a token with its children; true if it lived.
    pub fn revoke_token(&self, token: &str) -> bool {
        self.core(|core| core.kill_token(token))
    }

    /// Revokes all service tokens an auth mount issued, e.g. `approle` or `token`; how many. The initial root token is spared.
    pub fn revoke_all_tokens_of(&self, mount: &str) -> usize {
        self.core(|core| core.kill_tokens_of(mount))
    }

    /// Makes a token run out now.
    pub fn expire_token(&self, token: &str) -> bool {
        self.revoke_token(token)
    }

    /// Living tokens of a role or user, batch tokens included.
    pub fn live_tokens(&self, owner: &str) -> usize {
        let now = self.now();
        self.core(|core| core.living_tokens(owner, now))
    }
}
