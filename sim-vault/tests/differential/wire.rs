//! The way to a live server: calls over loopback, and what brings the server back to how it was born.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use sim_vault::Flavour;
use tokio::{net::TcpSocket, runtime::Runtime};

use crate::{
    call::Call,
    client::{self, Answer},
    memory::{Filled, Memory},
    shape::{self, Said},
    surface,
};

/// Nobody listens.
pub const REFUSED: &str = "refused";

/// Calls to one address, which may change.
pub struct Wire {
    pub runtime: Runtime,
    pub to: Cell<SocketAddr>,
    /// The root token, where calls say `root`.
    pub root: RefCell<String>,
    /// The policy `default` as it was: calls may overwrite it, and it cannot be deleted.
    default_policy: OnceCell<Value>,
    /// Calls of the test's own so far.
    own: Cell<u32>,
}

impl Wire {
    /// To a server whose root token is `root`.
    pub fn new(to: SocketAddr) -> std::io::Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            to: Cell::new(to),
            root: RefCell::new("root".to_owned()),
            default_policy: OnceCell::new(),
            own: Cell::new(0),
        })
    }

    /// Waits.
    pub fn sleep(&self, milliseconds: u64) {
        let pause = Duration::from_millis(milliseconds);
        self.runtime
            .block_on(async { tokio::time::sleep(pause).await });
    }

    /// Keeps the policy `default`, as a new server has it.
    pub fn keep_default_policy(&self) {
        let default = self.ask("GET", "sys/policies/acl/default");
        let text = default.body["data"]["policy"].clone();
        self.default_policy.get_or_init(|| text);
    }

    /// A call of the test's own, each from another address: quotas count by address, and would keep the test from removing them.
    pub fn ask(&self, method: &str, path: &str) -> Said {
        self.tell(method, path, Value::Null)
    }

    pub fn tell(&self, method: &str, path: &str, body: Value) -> Said {
        let n = self.own.get() + 1;
        self.own.set(n);
        let [_, a, b, c] = n.to_be_bytes();
        self.say(
            &Call::new(method, path, body),
            Ipv4Addr::new(127, a | 1, b, c),
            &mut Memory::default(),
        )
    }

    /// A call, and what the answer gives kept.
    pub fn say(&self, call: &Call, from: Ipv4Addr, memory: &mut Memory) -> Said {
        let (path, answer) = self.exchange(call, from, memory);
        let said = shape::of_wire(&path, answer);
        memory.keep(&path, &said.body);
        said
    }

    /// The path that was asked, and the answer as it came; an error is a connection that was refused or closed without one.
    pub fn exchange(
        &self,
        call: &Call,
        from: Ipv4Addr,
        memory: &Memory,
    ) -> (String, Result<Answer, &'static str>) {
        let filled = memory.fill(call);
        let mut headers = vec![("Connection".to_owned(), "close".to_owned())];
        let token = match filled.token.as_str() {
            "root" => self.root.borrow().clone(),
            _ => filled.token,
        };
        if !token.is_empty() {
            headers.push(("X-Vault-Token".to_owned(), token));
        }
        headers.extend(call.headers.iter().cloned());
        let path = format!("/v1/{}", filled.path);
        let body = filled.body.as_deref().map(str::as_bytes);
        let answer = self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().map_err(|_| "no socket")?;
            socket
                .bind((from, 0).into())
                .map_err(|_| "no address to call from")?;
            let stream = socket.connect(self.to.get()).await.map_err(|_| REFUSED)?;
            let exchange = client::exchange(stream, &call.method, &path, &headers, body);
            tokio::time::timeout(Duration::from_secs(60), exchange)
                .await
                .map_err(|_| "no answer within 60 s")?
        });
        (path, answer)
    }

    /// Removes what a new server does not have.
    pub fn clean(&self, flavour: Flavour) {
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
            // aliases of the token method would outlive their sequence
            ("identity/entity/id", "identity/entity/id"),
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
        }
        for path in ["x", "y", "x/y", "none", "t"] {
            self.ask("DELETE", &format!("secret/metadata/{path}"));
        }
        let rules = json!({
            "max_versions": 0,
            "cas_required": false,
            "delete_version_after": "0s",
            "metadata_cas_required": false,
        });
        self.tell("POST", "secret/config", rules);
        self.tell(
            "POST",
            "sys/quotas/config",
            json!({ "rate_limit_exempt_paths": surface::EXEMPT }),
        );
        if flavour.is_openbao() {
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
            self.sleep(10);
        }
    }

    /// [`Wire::await_end_of`] the tokens that a call may use up: its caller's, and one that it names.
    pub fn await_ends(&self, call: &Filled) {
        self.await_end_of(&call.token);
        let body = call.body.as_deref().unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        self.await_end_of(body["token"].as_str().unwrap_or_default());
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
            self.sleep(5);
        }
    }
}
