//! Response wrapping: an answer put aside behind a token that can be used once.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    Core,
    call::Call,
    mounts::MountId,
    reply::{Outcome, Refused, Reply, ok},
    token::Entry,
};

impl Core {
    /// Puts an answer aside and gives the answer that says where.
    pub(crate) fn wrap(&mut self, reply: &Reply, ttl: Duration, mount: Option<MountId>) -> Reply {
        let body = self.envelope(reply, None);
        let path = mount
            .and_then(|id| self.mount(id))
            .map(|m| m.path.clone())
            .unwrap_or_default();
        self.wrap_text(
            &body,
            ttl,
            &path,
            reply.auth.as_ref().map(|a| a.accessor.clone()),
        )
    }

    fn wrap_text(
        &mut self,
        body: &str,
        ttl: Duration,
        path: &str,
        wrapped: Option<String>,
    ) -> Reply {
        let (id, accessor) = (self.service_token(""), self.base62(24));
        let mount = self.routes.get("auth/token/").copied().unwrap_or_default();
        self.tokens.insert(Entry {
            policies: vec!["response-wrapping".to_owned()],
            path: path.to_owned(),
            creation_ttl: ttl,
            explicit_max_ttl: ttl,
            num_uses: 1,
            orphan: true,
            expires: Some(self.now + ttl),
            wrapped: Some(Arc::from(body)),
            ..Entry::new(id.clone(), accessor.clone(), mount, self.now)
        });
        let mut info = json!({
            "token": id,
            "accessor": accessor,
            "ttl": ttl.as_secs(),
            "creation_time": self.rfc3339(self.now),
            "creation_path": path,
        });
        if let Some(wrapped) = wrapped {
            info["wrapped_accessor"] = wrapped.into();
        }
        Reply {
            wrap_info: Some(crate::reply::object(info)),
            ..Reply::default()
        }
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
        core.tokens.get(named).cloned()
    };
    entry.filter(|e| e.wrapped.is_some()).ok_or_else(invalid)
}

pub(super) fn unwrap(core: &mut Core, call: &Call) -> Outcome {
    let entry = wrapping_token(core, call)?;
    core.tokens.revoke(&entry.id, true);
    let text = entry.wrapped.as_deref().unwrap_or_default();
    match serde_json::from_str::<Value>(text) {
        Ok(body) => Ok(Some(Reply {
            raw: Some(body),
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
    core.tokens.revoke(&entry.id, true);
    let text = entry.wrapped.clone().unwrap_or_else(|| Arc::from(""));
    Ok(Some(core.wrap_text(
        &text,
        entry.creation_ttl,
        &entry.path,
        None,
    )))
}

/// The answer is the request's body; the header asks for the wrapping.
pub(super) fn wrap(_core: &mut Core, call: &Call) -> Outcome {
    ok(Value::Object(call.raw.clone()))
}
