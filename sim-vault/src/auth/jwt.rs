//! The JWT method with static keys, and the reading of JWTs that the kubernetes method shares.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{
    RsaPublicKey,
    pkcs1v15::{Signature, VerifyingKey},
    pkcs8::DecodePublicKey,
    sha2::Sha256,
    signature::Verifier,
};
use serde_json::{Value, json};

use super::{Login, TOKEN_FIELDS, TokenParams};
use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::{Backend, MountId},
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
    token::Entry,
};

/// Configuration and roles of one mount.
#[derive(Default)]
pub(crate) struct Jwt {
    pub config: Option<Config>,
    pub roles: BTreeMap<String, Role>,
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
    bound_claims: serde_json::Map<String, Value>,
    user_claim: String,
    params: TokenParams,
}

const ROLE: [Field; 17] = {
    let t = TOKEN_FIELDS;
    [
        t[0],
        t[1],
        t[2],
        t[3],
        t[4],
        t[5],
        t[6],
        t[7],
        t[8],
        t[9],
        ("role_type", Kind::Text),
        ("bound_audiences", Kind::Texts),
        ("bound_subject", Kind::Text),
        ("bound_claims", Kind::Object),
        ("user_claim", Kind::Text),
        ("policies", Kind::Texts),
        ("verbose_oidc_logging", Kind::Bool),
    ]
};

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login?",
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
        ops: &[(Op::List, list)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{name}",
        fields: &ROLE,
        ops: &[
            (Op::Create, write),
            (Op::Update, write),
            (Op::Read, read),
            (Op::Delete, delete),
        ],
        exists: Some(|core, call| {
            Ok(method(core, call)?
                .roles
                .contains_key(call.args.text("name")))
        }),
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
        return Err(Refused::bad(
            "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set",
        ));
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

fn list(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(method(core, call)?.roles.keys().cloned().collect())
}

fn write(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let roles = &mut method(core, call)?.roles;
    let name = args.text("name").to_owned();
    let mut role = roles.get(&name).cloned().unwrap_or_default();
    if let Some(list) = args.opt_texts("bound_audiences") {
        role.bound_audiences = list;
    }
    if let Some(subject) = args.opt_text("bound_subject") {
        subject.clone_into(&mut role.bound_subject);
    }
    if let Some(claim) = args.opt_text("user_claim") {
        claim.clone_into(&mut role.user_claim);
    }
    if let Some(Value::Object(claims)) = args.get("bound_claims") {
        role.bound_claims.clone_from(claims);
    }
    role.params.update(args)?;
    roles.insert(name, role);
    done()
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    let Some(role) = method(core, call)?
        .roles
        .get(call.args.text("name"))
        .cloned()
    else {
        return Err(Refused::nothing());
    };
    let mut data = role.params.describe(core);
    data.extend(crate::reply::object(json!({
        "bound_audiences": role.bound_audiences,
        "bound_claims": role.bound_claims,
        "bound_subject": role.bound_subject,
        "role_type": "jwt",
        "user_claim": role.user_claim,
    })));
    Ok(Some(Reply::data(Value::Object(data))))
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    method(core, call)?.roles.remove(call.args.text("name"));
    done()
}

/// The three parts of a compact JWT: what is signed, the claims, the signature.
pub(super) fn split(jwt: &str) -> Option<(&str, Value, Vec<u8>)> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (_, claims) = signed.split_once('.').filter(|(_, c)| !c.contains('.'))?;
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some((signed, claims, URL_SAFE_NO_PAD.decode(signature).ok()?))
}

fn signed_by(pem: &str, signed: &str, signature: &[u8]) -> bool {
    let Ok(key) = RsaPublicKey::from_public_key_pem(pem) else {
        return false;
    };
    let Ok(signature) = Signature::try_from(signature) else {
        return false;
    };
    VerifyingKey::<Sha256>::new(key)
        .verify(signed.as_bytes(), &signature)
        .is_ok()
}

/// `exp` and `nbf` without leeway.
pub(super) fn check_times(claims: &Value, now: u64) -> Result<(), &'static str> {
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    if time("exp").is_some_and(|exp| now > exp) {
        return Err("invalid expiration time (exp) claim: token is expired");
    }
    if time("nbf").is_some_and(|nbf| now < nbf) {
        return Err("invalid not before (nbf) claim: token not yet valid");
    }
    Ok(())
}

/// At least one audience of the token is among the expected ones.
pub(super) fn check_audience(claims: &Value, expected: &[String]) -> Result<(), &'static str> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if expected.iter().any(|e| audiences.contains(&e.as_str())) {
        return Ok(());
    }
    if expected.is_empty() && audiences.is_empty() {
        return Ok(());
    }
    Err("invalid audience (aud) claim: audience claim does not match any expected audience")
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
    check_times(&claims, now).map_err(invalid)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if !config.bound_issuer.is_empty() && text("iss") != config.bound_issuer {
        return Err(invalid("invalid issuer (iss) claim"));
    }
    check_audience(&claims, &role.bound_audiences).map_err(invalid)?;
    if !role.bound_subject.is_empty() && text("sub") != role.bound_subject {
        return Err(invalid("invalid subject (sub) claim"));
    }
    for (claim, wanted) in &role.bound_claims {
        let fits = |w: &Value| claims.get(claim) == Some(w);
        if !fits(wanted) && !wanted.as_array().is_some_and(|list| list.iter().any(fits)) {
            return Err(Refused::bad(format!(
                "error validating claims: claim {claim:?} does not match any associated bound claim values"
            )));
        }
    }
    let alias = text(&role.user_claim).to_owned();
    if alias.is_empty() {
        return Err(Refused::bad(format!(
            "claim {:?} not found in token",
            role.user_claim
        )));
    }
    let metadata = BTreeMap::from([("role".to_owned(), name.clone())]);
    core.issue(
        call,
        Login {
            params: &role.params,
            alias: &alias,
            owner: &name,
            display_name: &alias,
            metadata,
        },
    )
}

/// Renewal needs the role, not the JWT.
pub(crate) fn renewal(
    core: &Core,
    mount: MountId,
    entry: &Entry,
) -> Result<Option<TokenParams>, Refused> {
    let Some(Backend::Jwt(method)) = core.mount(mount).map(|m| &m.backend) else {
        return Ok(None);
    };
    match method.roles.get(&entry.owner) {
        Some(role) => Ok(Some(role.params.clone())),
        None => {
            let text = format!(
                "failed to renew entry: role {} does not exist during renewal",
                entry.owner
            );
            Err(Refused::internal(text))
        }
    }
}
