//! The JWT method with static keys.

use std::collections::BTreeMap;

use rsa::{RsaPublicKey, pkcs8::DecodePublicKey};
use serde_json::{Map, Value, json};

use super::{
    Login, TokenParams,
    roles::{self, Roles},
};
use crate::{
    Core,
    call::{Call, Op},
    duration,
    fields::{Args, Field, Kind},
    mounts::{Backend, MountId},
    pipeline::within,
    reply::{Outcome, Refused, done, ok},
    route::Endpoint,
    token::Entry,
};

pub(super) mod claims;

use claims::{check_audience, check_bound, listed, signed_by, split};

/// Configuration and roles of one mount.
#[derive(Clone, Default)]
pub(crate) struct Jwt {
    pub config: Option<Config>,
    pub roles: Roles<Role>,
}

/// Static keys and issuer.
#[derive(Clone, Default)]
pub(crate) struct Config {
    pubkeys: Vec<String>,
    bound_issuer: String,
    default_role: String,
}

/// What a role demands of the claims.
#[derive(Clone, Default)]
pub(crate) struct Role {
    bound_audiences: Vec<String>,
    bound_subject: String,
    bound_claims: Option<Map<String, Value>>,
    bound_claims_type: String,
    claim_mappings: Option<BTreeMap<String, String>>,
    role_type: String,
    groups_claim: String,
    expiration_leeway: i64,
    clock_skew_leeway: i64,
    user_claim: String,
    params: TokenParams,
}

const ROLE: [Field; 27] = roles::fields_with_old([
    ("role_type", Kind::Text),
    ("bound_audiences", Kind::Texts),
    ("bound_subject", Kind::Text),
    ("bound_claims", Kind::Object),
    ("bound_claims_type", Kind::Text),
    ("user_claim", Kind::Text),
    ("claim_mappings", Kind::Pairs),
    ("groups_claim", Kind::Text),
    ("clock_skew_leeway", Kind::Leeway),
    ("expiration_leeway", Kind::Leeway),
    ("verbose_oidc_logging", Kind::Bool),
]);

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login",
        fields: &[("role", Kind::Text), ("jwt", Kind::Text)],
        ops: &[(Op::Update, login)],
        exists: None,
    },
    Endpoint {
        pattern: "config",
        fields: &[
            ("jwt_validation_pubkeys", Kind::Texts),
            ("bound_issuer", Kind::Text),
            ("default_role", Kind::Text),
            ("jwt_supported_algs", Kind::Texts),
        ],
        ops: &[(Op::Update, configure), (Op::Read, read_config)],
        exists: None,
    },
    Endpoint {
        pattern: "role?",
        fields: &[],
        ops: &[(Op::List, roles::list::<Role>)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{name}",
        fields: &ROLE,
        ops: &[
            (Op::Create, roles::write::<Role>),
            (Op::Update, roles::write::<Role>),
            (Op::Read, roles::read::<Role>),
            (Op::Delete, roles::delete::<Role>),
        ],
        exists: Some(roles::exists::<Role>),
    },
];

fn method<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Jwt, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Jwt(method)) => Ok(method),
        _ => Err(Refused::unsupported_path()),
    }
}

fn configure(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let pubkeys = args.texts("jwt_validation_pubkeys");
    if pubkeys.is_empty() {
        return Err(Refused::bad(if core.flavour.is_openbao() {
            "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', 'oidc_discovery_url', or 'provider_config' must be set"
        } else {
            "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set"
        }));
    }
    if pubkeys
        .iter()
        .any(|pem| RsaPublicKey::from_public_key_pem(pem).is_err())
    {
        return Err(Refused::bad(
            "error parsing public key: data does not contain any valid public keys",
        ));
    }
    let bound_issuer = args.text("bound_issuer").to_owned();
    let default_role = args.text("default_role").to_owned();
    method(core, call)?.config = Some(Config {
        pubkeys,
        bound_issuer,
        default_role,
    });
    done()
}

fn read_config(core: &mut Core, call: &Call) -> Outcome {
    match &method(core, call)?.config {
        Some(config) => ok(json!({
            "bound_issuer": config.bound_issuer,
            "default_role": config.default_role,
            "jwt_validation_pubkeys": config.pubkeys,
        })),
        None => Err(Refused::nothing()),
    }
}

impl roles::Role for Role {
    const NAME: &'static str = "name";

    fn all(backend: &Backend) -> Option<&Roles<Self>> {
        match backend {
            Backend::Jwt(method) => Some(&method.roles),
            _ => None,
        }
    }

    fn all_mut(backend: &mut Backend) -> Option<&mut Roles<Self>> {
        match backend {
            Backend::Jwt(method) => Some(&mut method.roles),
            _ => None,
        }
    }

    fn fresh(_: &mut Core) -> Self {
        Self::default()
    }

    fn params(&mut self) -> &mut TokenParams {
        &mut self.params
    }

    fn update(&mut self, _: &Core, args: &Args, _: bool) -> Result<Vec<String>, Refused> {
        let text = |fault: &str| Err(Refused::bad(fault));
        // what is not said is not kept but falls back
        self.role_type = match args.text("role_type") {
            "" => "oidc",
            kind => kind,
        }
        .to_owned();
        if !matches!(self.role_type.as_str(), "jwt" | "oidc") {
            return text(&format!("invalid 'role_type': {}", self.role_type));
        }
        self.params.update(args, Self::OLD)?;
        let most = crate::mounts::SYSTEM_TTL;
        if self.params.period > most {
            return text(&format!(
                "'period' of '{:?}' is greater than the backend's maximum lease TTL of '{:?}'",
                duration::long(self.params.period),
                duration::long(most)
            ));
        }
        for (name, to) in [
            ("expiration_leeway", &mut self.expiration_leeway),
            ("clock_skew_leeway", &mut self.clock_skew_leeway),
        ] {
            if let Some(n) = args.opt_int(name) {
                *to = n;
            }
        }
        if let Some(list) = args.opt_texts("bound_audiences") {
            self.bound_audiences = list;
        }
        if let Some(subject) = args.opt_text("bound_subject") {
            subject.clone_into(&mut self.bound_subject);
        }
        self.bound_claims_type = args
            .opt_text("bound_claims_type")
            .unwrap_or("string")
            .to_owned();
        if !matches!(self.bound_claims_type.as_str(), "string" | "glob") {
            return text(&format!(
                "invalid 'bound_claims_type': {}",
                self.bound_claims_type
            ));
        }
        if let Some(Value::Object(claims)) = args.get("bound_claims") {
            self.bound_claims = Some(claims.clone());
            let texts = |v: &Value| {
                v.is_string() || v.as_array().is_some_and(|l| l.iter().all(Value::is_string))
            };
            if self.bound_claims_type == "glob"
                && let Some(bad) = claims.values().find(|v| !texts(v))
            {
                return text(&format!("claim is not a string: {bad}"));
            }
        }
        if let Some(claims) = args.pairs("claim_mappings") {
            let mut targets = std::collections::BTreeSet::new();
            for target in claims.values() {
                if target == "role" {
                    return text(&format!(
                        "metadata key {target:?} is reserved and may not be a mapping destination"
                    ));
                }
                if !targets.insert(target) {
                    return text(&format!(
                        "multiple keys are mapped to metadata key {target:?}"
                    ));
                }
            }
            self.claim_mappings = Some(claims);
        }
        if let Some(claim) = args.opt_text("user_claim") {
            claim.clone_into(&mut self.user_claim);
        }
        if self.user_claim.is_empty() {
            return text("a user claim must be defined on the role");
        }
        if let Some(claim) = args.opt_text("groups_claim") {
            claim.clone_into(&mut self.groups_claim);
        }
        if self.role_type == "oidc" {
            return text(
                "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
            );
        }
        let unbound = self.bound_audiences.is_empty()
            && self.bound_subject.is_empty()
            && self.bound_claims.as_ref().is_none_or(Map::is_empty)
            && self.params.bound_cidrs.is_empty();
        if unbound {
            return text("must have at least one bound constraint when creating/updating a role");
        }
        let params = &self.params;
        if !params.max_ttl.is_zero() && params.ttl > params.max_ttl {
            return text("ttl should not be greater than max ttl");
        }
        let mut warnings = Vec::new();
        if params.max_ttl > most {
            warnings.push("token max ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL value will be truncated".to_owned());
        }
        Ok(warnings)
    }

    fn describe(&self, core: &Core) -> Value {
        let mut data = json!({
            "allowed_redirect_uris": null,
            "bound_audiences": (!self.bound_audiences.is_empty()).then_some(&self.bound_audiences),
            "bound_claims": self.bound_claims,
            "bound_claims_type": self.bound_claims_type,
            "bound_subject": self.bound_subject,
            "claim_mappings": self.claim_mappings,
            "clock_skew_leeway": self.clock_skew_leeway,
            "expiration_leeway": self.expiration_leeway,
            "groups_claim": self.groups_claim,
            "max_age": 0,
            "not_before_leeway": 0,
            "oidc_scopes": null,
            "role_type": self.role_type,
            "user_claim": self.user_claim,
            "user_claim_json_pointer": false,
            "verbose_oidc_logging": false,
        });
        if core.flavour.is_openbao() {
            data["callback_mode"] = "client".into();
            data["oauth2_metadata"] = Value::Null;
            data["oidc_disable_confirmation"] = false.into();
            data["token_policies_template_claims"] = false.into();
        }
        data
    }
}

impl Role {
    /// Whom the claims name, and what of them the token keeps.
    fn identity(&self, claims: &Value) -> Result<(String, BTreeMap<String, String>), String> {
        let claim = |name: &str| claims.get(name).filter(|c| !c.is_null());
        let name = &self.user_claim;
        let user = claim(name).ok_or_else(|| format!("claim {name:?} not found in token"))?;
        let user = user.as_str().map(str::to_owned);
        let user =
            user.ok_or_else(|| format!("claim {name:?} could not be converted to string"))?;
        let mut metadata = BTreeMap::new();
        for (source, target) in self.claim_mappings.iter().flatten() {
            if let Some(value) = claim(source) {
                let text = value.as_str();
                let text =
                    text.ok_or_else(|| format!("error converting claim '{source}' to string"))?;
                metadata.insert(target.clone(), text.to_owned());
            }
        }
        let name = &self.groups_claim;
        if !name.is_empty() {
            let groups = claim(name).ok_or_else(|| {
                format!("failed to fetch groups: {name:?} claim not found in token")
            })?;
            let groups = listed(groups)
                .ok_or_else(|| format!("{name:?} claim could not be converted to string list"))?;
            if let Some(bad) = groups.iter().find(|g| !g.is_string()) {
                let shown = crate::fields::go_value(bad);
                return Err(format!(
                    "value {shown} in groups claim could not be parsed as string"
                ));
            }
        }
        Ok((user, metadata))
    }

    /// The times of a token with leeway, and those that it lacks derived from the others.
    fn check_times(&self, claims: &Value, now: u64) -> Result<(), &'static str> {
        let time = |name: &str| claims.get(name).and_then(Value::as_i64);
        // nothing said means a default, a negative leeway none
        let leeway = |said: i64, default: i64| match said {
            0 => default,
            said => said.max(0),
        };
        let (issued, start) = (time("iat"), time("nbf"));
        let end = time("exp").unwrap_or_else(|| {
            let latest = issued.max(start).unwrap_or_default();
            latest + leeway(self.expiration_leeway, 150)
        });
        let start = start.or(issued).unwrap_or(end - 150);
        let skew = leeway(self.clock_skew_leeway, 60);
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if now + skew < start {
            return Err("invalid not before (nbf) claim: token not yet valid");
        }
        if now - skew >= end {
            return Err("invalid expiration time (exp) claim: token is expired");
        }
        Ok(())
    }
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let now = core.unix();
    let jwt = method(core, call)?;
    let Some(config) = jwt.config.clone() else {
        return Err(Refused::bad("could not load configuration"));
    };
    let name = match call.args.text("role") {
        "" => config.default_role.clone(),
        name => name.to_owned(),
    };
    if name.is_empty() {
        return Err(Refused::bad("missing role"));
    }
    let Some(role) = jwt.roles.get(&name).cloned() else {
        return Err(Refused::bad(format!("role {name:?} could not be found")));
    };
    let token = call.args.text("jwt");
    if token.is_empty() {
        return Err(Refused::bad("missing token"));
    }
    if !within(call.peer, &role.params.bound_cidrs) {
        return Err(Refused::denied());
    }
    let invalid = |text: &str| Refused::bad(format!("error validating token: {text}"));
    let Some((signed, claims, signature)) = split(token) else {
        return Err(invalid(
            "error verifying token signature: go-jose/go-jose: compact JWS format must have three parts",
        ));
    };
    if !config
        .pubkeys
        .iter()
        .any(|pem| signed_by(pem, signed, &signature))
    {
        return Err(invalid(
            "error verifying token signature: no known key successfully validated the token signature",
        ));
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if !config.bound_issuer.is_empty() && text("iss") != config.bound_issuer {
        return Err(invalid("invalid issuer (iss) claim"));
    }
    if !role.bound_subject.is_empty() && text("sub") != role.bound_subject {
        return Err(invalid("invalid subject (sub) claim"));
    }
    let bound = !role.bound_audiences.is_empty();
    if bound {
        check_audience(&claims, &role.bound_audiences).map_err(invalid)?;
    }
    if ["exp", "nbf", "iat"]
        .iter()
        .all(|n| claims.get(*n).is_none_or(Value::is_null))
    {
        return Err(invalid(
            "no issued at (iat), not before (nbf), or expiration time (exp) claims in token",
        ));
    }
    role.check_times(&claims, now).map_err(invalid)?;
    let named = |aud: &Value| aud.is_string() || aud.as_array().is_some_and(|l| !l.is_empty());
    if !bound && claims.get("aud").is_some_and(named) {
        return Err(Refused::bad(
            "audience claim found in JWT but no audiences bound to the role",
        ));
    }
    let (alias, mut metadata) = role.identity(&claims).map_err(Refused::bad)?;
    metadata.insert("role".to_owned(), name.clone());
    let globs = role.bound_claims_type == "glob";
    for (claim, wanted) in role.bound_claims.iter().flatten() {
        check_bound(claim, wanted, &claims, globs)
            .map_err(|fault| Refused::bad(format!("error validating claims: {fault}")))?;
    }
    core.issue(
        call,
        Login {
            params: &role.params,
            alias: &alias,
            owner: &name,
            display_name: &alias,
            metadata,
            alias_keeps: true,
        },
    )
}

/// Renewal needs the role, not the JWT.
pub(crate) fn renewal(
    core: &Core,
    mount: MountId,
    entry: &Entry,
) -> Result<Option<TokenParams>, Refused> {
    match roles::behind::<Role>(core, mount, entry) {
        Some(role) => Ok(Some(role.params)),
        None => Err(Refused::internal(format!(
            "failed to renew entry: role {} does not exist during renewal",
            entry.owner
        ))),
    }
}
