//! Response wrapping: an answer put aside behind a token that can be used once.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Map, Value, json};

use crate::{
    Core, Request,
    call::Call,
    pipeline::Wrap,
    reply::{Outcome, Refused, Reply, ok},
    token::Entry,
};

impl Core {
    /// Puts an answer aside and gives the answer that says where.
    pub(crate) fn wrap(&mut self, reply: &Reply, wrap: &Wrap, mount_type: String) -> Reply {
        let aside = Reply {
            top_level: false,
            ..reply.clone()
        };
        let body = self.envelope(&aside, self.flavour.is_vault().then_some(mount_type));
        let of_data = reply
            .data
            .as_ref()
            .and_then(|d| d.get("secret_id_accessor"))
            .and_then(Value::as_str);
        let wrapped = reply
            .auth
            .as_ref()
            .map(|a| a.accessor.as_str())
            .or(of_data)
            .map(str::to_owned);
        let of_login = reply.auth.as_ref().map(|a| a.client_token.as_str());
        let by = match of_login.and_then(|id| self.tokens.get(id)) {
            Some(made) if wrap.by.is_empty() => made.display_name.clone(),
            _ => wrap.by.clone(),
        };
        self.wrap_text(&body, wrap, wrapped, &by)
    }

    fn wrap_text(&mut self, body: &str, wrap: &Wrap, wrapped: Option<String>, by: &str) -> Reply {
        let (id, accessor) = (self.service_token("", false), self.base62(24));
        // Vault gives these tokens no name
        let name = if self.flavour.is_openbao() { by } else { "" };
        let mount = self.routes.get("auth/token/").copied().unwrap_or_default();
        self.tokens.insert(Entry {
            policies: vec!["response-wrapping".to_owned()],
            display_name: name.to_owned(),
            path: wrap.path.clone(),
            creation_ttl: wrap.ttl,
            explicit_max_ttl: wrap.ttl,
            num_uses: 1,
            orphan: true,
            expires: Some(self.now + wrap.ttl),
            wrapped: Some(Arc::from(body)),
            ..Entry::new(id.clone(), accessor.clone(), mount, self.now)
        });
        let shown = if wrap.jwt {
            self.wrapping_jwt(&id, &accessor)
        } else {
            id
        };
        let mut info = json!({
            "token": shown,
            "accessor": accessor,
            "ttl": wrap.ttl.as_secs(),
            "creation_time": self.rfc3339(self.now),
            "creation_path": wrap.path,
        });
        if let Some(wrapped) = wrapped {
            info["wrapped_accessor"] = wrapped.into();
        }
        Reply {
            wrap_info: Some(crate::reply::object(info)),
            ..Reply::default()
        }
    }

    /// The token as the `jti` of a JWT signed with the cluster's own key.
    fn wrapping_jwt(&mut self, id: &str, accessor: &str) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "HS512", "typ": "JWT" }));
        let claims = json!({ "accessor": accessor, "addr": self.options.api_addr, "iat": self.unix(), "jti": id, "type": "wrapping" });
        let signed = format!("{header}.{}", part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA512, self.cluster_id.as_bytes());
        let tag = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    /// The wrapping endpoints look at their token before anything else.
    pub(crate) fn check_wrapping_token(
        &self,
        request: &Request,
        path: &str,
        raw: &Map<String, Value>,
    ) -> Result<(), Refused> {
        if !matches!(
            path,
            "sys/wrapping/unwrap" | "sys/wrapping/lookup" | "sys/wrapping/rewrap"
        ) {
            return Ok(());
        }
        let empty =
            |text: &str| Refused::Plain(403, format!("error validating wrapping token: {text}"));
        match raw.get("token") {
            Some(Value::String(text)) if text.is_empty() => {
                return Err(empty("empty token in request body"));
            }
            Some(Value::String(_) | Value::Null) | None => {}
            Some(_) => return Err(empty("could not decode token in request body")),
        }
        let named = raw.get("token").and_then(Value::as_str).unwrap_or_default();
        let text = if named.is_empty() {
            request.get("X-Vault-Token").unwrap_or_default().trim()
        } else {
            named
        };
        if text.is_empty() {
            return Err(empty("token is empty"));
        }
        let known = self
            .tokens
            .get(&unpacked(text))
            .is_some_and(|t| t.wrapped.is_some() && t.num_uses >= 0);
        if known { Ok(()) } else { Err(invalid()) }
    }
}

/// The token inside a wrapping JWT, or the text itself.
fn unpacked(text: &str) -> String {
    let claims = text
        .split('.')
        .nth(1)
        .and_then(|p| URL_SAFE_NO_PAD.decode(p).ok());
    let claims = claims.and_then(|c| serde_json::from_slice::<Value>(&c).ok());
    match claims
        .as_ref()
        .and_then(|c| c.get("jti"))
        .and_then(Value::as_str)
    {
        Some(id) if text.starts_with("eyJ") => id.to_owned(),
        _ => text.to_owned(),
    }
}

fn invalid() -> Refused {
    Refused::bad("wrapping token is not valid or does not exist")
}

fn wrapping_token(core: &Core, call: &Call) -> Result<Arc<Entry>, Refused> {
    let named = call.args.text("token");
    let entry = if named.is_empty() {
        call.token.clone()
    } else {
        core.tokens.get(&unpacked(named)).cloned()
    };
    entry.filter(|e| e.wrapped.is_some()).ok_or_else(invalid)
}

pub(super) fn unwrap(core: &mut Core, call: &Call) -> Outcome {
    let entry = wrapping_token(core, call)?;
    let spent = call.token.as_ref().is_some_and(|t| t.id == entry.id);
    if spent && !call.args.text("token").is_empty() {
        // asking with it has used it up
        return Err(Refused::internal(
            "error decrementing wrapping token's use-count: invalid token entry provided for use count decrementing",
        ));
    }
    core.tokens.revoke(&entry.id, true);
    let text = entry.wrapped.as_deref().unwrap_or_default();
    match serde_json::from_str::<Value>(text) {
        Ok(body) => Ok(Some(Reply {
            raw: Some(body),
            no_line_end: true,
            ..Reply::default()
        })),
        Err(_) => Err(invalid()),
    }
}

pub(super) fn look_up(core: &mut Core, call: &Call) -> Outcome {
    let entry = wrapping_token(core, call)?;
    ok(json!({
        "creation_path": entry.path,
        "creation_time": core.rfc3339(entry.issued),
        "creation_ttl": entry.creation_ttl.as_secs(),
    }))
}

pub(super) fn rewrap(core: &mut Core, call: &Call) -> Outcome {
    let entry = wrapping_token(core, call)?;
    let of_caller = call.token.as_ref().is_some_and(|t| t.id == entry.id);
    if core.flavour.is_vault() && !of_caller {
        // its use is counted and nobody revokes it: it cannot be used, and shows until its end
        core.tokens.update(&entry.id, |e| {
            e.num_uses = -1;
            e.wrapped = None;
        });
    } else {
        core.tokens.revoke(&entry.id, true);
    }
    let text = entry.wrapped.clone().unwrap_or_else(|| Arc::from(""));
    {
        let wrap = Wrap {
            ttl: entry.creation_ttl,
            jwt: false,
            path: entry.path.clone(),
            by: call
                .token
                .as_ref()
                .map(|t| t.display_name.clone())
                .unwrap_or_default(),
        };
        Ok(Some(core.wrap_text(&text, &wrap, None, &wrap.by)))
    }
}

/// The answer is the request's body; the header asks for the wrapping.
pub(super) fn wrap(_core: &mut Core, call: &Call) -> Outcome {
    if !call.wraps {
        return Err(Refused::bad(
            "endpoint requires response wrapping to be used",
        ));
    }
    ok(Value::Object(call.raw.clone()))
}
