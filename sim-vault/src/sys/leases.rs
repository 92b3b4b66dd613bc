//! Leases in bulk: all tokens that were issued at a path or below it. The engines here lease nothing else.

use crate::{
    Core,
    call::Call,
    reply::{Outcome, Reply, done},
};

/// Revokes everything whose lease lies below the path, segment by segment: `auth/x` ends what `auth/x/login/u` gave, and
/// `auth/x/log` nothing.
pub(super) fn revoke_prefix(core: &mut Core, call: &Call) -> Outcome {
    let prefix = format!("{}/", call.args.text("prefix").trim_end_matches('/'));
    let ns = call.ns.clone();
    // the token of `sys/init` has no lease
    core.tokens.revoke_where(|token| {
        token.ns == ns && token.has_issue_time && format!("{}/", token.path).starts_with(&prefix)
    });
    let forced = call.path.contains("revoke-force");
    if forced || call.args.opt_bool("sync").unwrap_or(true) {
        return done();
    }
    Ok(Some(Reply {
        status: Some(202),
        ..Reply::default()
    }))
}
