//! The TLS certificate method.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use x509_parser::{
    certificate::X509Certificate, extensions::ParsedExtension, pem::parse_x509_pem,
    prelude::FromDer,
};

use super::{
    Login, OldNames, TokenParams,
    roles::{self, Roles},
};
use crate::{
    ClientCert, Core,
    call::{Call, Op},
    fields::{Args, Field, Kind},
    mounts::{Backend, MountId},
    reply::{Outcome, Refused},
    route::Endpoint,
    token::Entry,
};

/// The trusted certificates of one mount.
#[derive(Clone, Default)]
pub(crate) struct Cert {
    certs: Roles<Trusted>,
}

/// One trusted authority or certificate.
#[derive(Clone, Default)]
pub(crate) struct Trusted {
    pem: String,
    display_name: String,
    /// `None` until they are given, if only as an empty list: reading shows the difference.
    common_names: Option<Vec<String>>,
    params: TokenParams,
}

const CERT: [Field; 18] = roles::fields([
    ("certificate", Kind::Text),
    ("allowed_common_names", Kind::Texts),
    ("display_name", Kind::Text),
    ("ttl", Kind::Seconds),
    ("max_ttl", Kind::Seconds),
    ("period", Kind::Seconds),
    ("bound_cidrs", Kind::Texts),
]);

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login",
        fields: &[("name", Kind::Text)],
        ops: &[(Op::Update, login)],
        exists: None,
    },
    Endpoint {
        pattern: "certs?",
        fields: &[],
        ops: &[(Op::List, roles::list::<Trusted>)],
        exists: None,
    },
    Endpoint {
        pattern: "certs/{name}",
        fields: &CERT,
        ops: &[
            (Op::Update, roles::write::<Trusted>),
            (Op::Read, roles::read::<Trusted>),
            (Op::Delete, roles::delete::<Trusted>),
        ],
        exists: None,
    },
];

fn method<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Cert, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Cert(method)) => Ok(method),
        _ => Err(Refused::unsupported_path()),
    }
}

impl roles::Role for Trusted {
    const NAME: &'static str = "name";
    const LOWER: bool = true;
    const OLD: OldNames = &[
        ("policies", "token_policies"),
        ("ttl", "token_ttl"),
        ("max_ttl", "token_max_ttl"),
        ("period", "token_period"),
        ("bound_cidrs", "token_bound_cidrs"),
    ];

    fn all(backend: &Backend) -> Option<&Roles<Self>> {
        match backend {
            Backend::Cert(method) => Some(&method.certs),
            _ => None,
        }
    }

    fn all_mut(backend: &mut Backend) -> Option<&mut Roles<Self>> {
        match backend {
            Backend::Cert(method) => Some(&mut method.certs),
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
        if let Some(pem) = args.opt_text("certificate") {
            pem.clone_into(&mut self.pem);
        }
        if let Some(name) = args.opt_text("display_name") {
            name.clone_into(&mut self.display_name);
        }
        if let Some(names) = args.opt_texts("allowed_common_names") {
            self.common_names = Some(names);
        }
        self.params.update(args, Self::OLD)?;
        let most = crate::mounts::SYSTEM_TTL;
        let params = &self.params;
        if !params.max_ttl.is_zero() && params.ttl > params.max_ttl {
            return Err(Refused::bad("ttl should be shorter than max_ttl"));
        }
        let long = [
            ("ttl", params.ttl, "current mount/system default"),
            ("max_ttl", params.max_ttl, "current mount/system default"),
            ("period", params.period, "the backend's maximum TTL"),
        ];
        let warnings = long
            .iter()
            .filter(|(_, d, _)| *d > most)
            .map(|(name, d, what)| {
                format!(
                    "Given {name} of {} seconds is greater than {what} of {} seconds",
                    d.as_secs(),
                    most.as_secs()
                )
            });
        if self.display_name.is_empty() {
            args.text(Self::NAME)
                .to_lowercase()
                .clone_into(&mut self.display_name);
        }
        check_certificate(&self.pem)?;
        Ok(warnings.collect())
    }

    fn describe(&self, core: &Core) -> Value {
        let mut shown = json!({
            "allowed_common_names": self.common_names,
            "allowed_dns_sans": null,
            "allowed_email_sans": null,
            "allowed_metadata_extensions": null,
            "allowed_names": null,
            "allowed_organizational_units": null,
            "allowed_uri_sans": null,
            "certificate": self.pem,
            "display_name": self.display_name,
            "ocsp_ca_certificates": "",
            "ocsp_enabled": false,
            "ocsp_fail_open": false,
            "ocsp_query_all_servers": false,
            "ocsp_servers_override": null,
            "required_extensions": null,
        });
        if core.flavour.is_vault() {
            shown["ocsp_max_retries"] = 4.into();
            shown["ocsp_this_update_max_age"] = 0.into();
        }
        shown
    }
}

/// One certificate in PEM; one that is no authority must be meant for clients, if it says what it is meant for.
fn check_certificate(pem: &str) -> Result<(), Refused> {
    let unreadable = || Refused::bad("failed to parse certificate");
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|_| unreadable())?;
    if pem.label != "CERTIFICATE" {
        return Err(unreadable());
    }
    let certificate = pem.parse_x509().map_err(|_| unreadable())?;
    let uses = certificate.extended_key_usage().ok().flatten();
    let foreign = uses.is_some_and(|uses| !uses.value.client_auth && !uses.value.any);
    if foreign && !certificate.is_ca() {
        return Err(Refused::bad(
            "nonCA certificates should have TLS client authentication set as an extended key usage",
        ));
    }
    Ok(())
}

/// What a certificate says of its owner.
struct Owner {
    common_name: String,
    metadata: BTreeMap<String, String>,
}

/// How a certificate fails.
enum Mismatch {
    Absent,
    /// No trusted certificate signed it.
    Untrusted,
    /// Signed, but the role wants another name.
    Constraints,
}

impl Mismatch {
    fn refusal(&self, core: &Core) -> Refused {
        Refused::bad(match (core.flavour.is_openbao(), self) {
            (true, Self::Absent) => "no client certificate found",
            (true, Self::Untrusted) => "invalid certificate or no client certificate supplied",
            (true, Self::Constraints) => {
                "no chain matching all constraints could be found for this login certificate"
            }
            (false, Self::Absent) => "client certificate must be supplied",
            (false, _) => "failed to match all constraints for this login certificate",
        })
    }
}

/// The first role that the certificate fits.
fn fitting(
    method: &Cert,
    cert: Option<&ClientCert>,
    wanted: &str,
    now: u64,
) -> Result<(String, Trusted, Owner), Mismatch> {
    let leaf = cert.and_then(|c| c.chain.first()).ok_or(Mismatch::Absent)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| Mismatch::Untrusted)?;
    let mut found = Mismatch::Untrusted;
    for (name, trusted) in method
        .certs
        .iter()
        .filter(|(n, _)| wanted.is_empty() || *n == wanted)
    {
        let Ok((_, pem)) = parse_x509_pem(trusted.pem.as_bytes()) else {
            continue;
        };
        let Ok(authority) = pem.parse_x509() else {
            continue;
        };
        let time = i64::try_from(now).unwrap_or(i64::MAX);
        let valid = (leaf.validity().not_before.timestamp()
            ..=leaf.validity().not_after.timestamp())
            .contains(&time);
        if !valid || leaf.verify_signature(Some(authority.public_key())).is_err() {
            continue;
        }
        let owner = describe(&leaf, name);
        let names = trusted.common_names.as_deref().unwrap_or_default();
        let fits = names.is_empty() || names.iter().any(|n| glob(n, &owner.common_name));
        if fits {
            return Ok((name.clone(), trusted.clone(), owner));
        }
        found = Mismatch::Constraints;
    }
    Err(found)
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => text
            .strip_prefix(head)
            .is_some_and(|rest| rest.ends_with(tail)),
        None => pattern == text,
    }
}

fn describe(leaf: &X509Certificate<'_>, name: &str) -> Owner {
    let common_name = leaf
        .subject()
        .iter_common_name()
        .find_map(|cn| cn.as_str().ok())
        .unwrap_or_default()
        .to_owned();
    let colons = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<Vec<_>>()
            .join(":")
    };
    let (mut authority, mut subject) = (String::new(), String::new());
    for extension in leaf.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority = id
                    .key_identifier
                    .as_ref()
                    .map(|k| colons(k.0))
                    .unwrap_or_default();
            }
            ParsedExtension::SubjectKeyIdentifier(id) => subject = colons(id.0),
            _ => {}
        }
    }
    let metadata = BTreeMap::from([
        ("authority_key_id".to_owned(), authority),
        ("cert_name".to_owned(), name.to_owned()),
        ("common_name".to_owned(), common_name.clone()),
        ("serial_number".to_owned(), leaf.serial.to_string()),
        ("subject_key_id".to_owned(), subject),
    ]);
    Owner {
        common_name,
        metadata,
    }
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let now = core.unix();
    let found = fitting(
        method(core, call)?,
        call.cert.as_ref(),
        call.args.text("name"),
        now,
    );
    let (name, trusted, owner) = found.map_err(|m| m.refusal(core))?;
    let login = Login {
        params: &trusted.params,
        alias: &owner.common_name,
        owner: &name,
        display_name: &trusted.display_name,
        metadata: owner.metadata,
        alias_keeps: false,
    };
    core.issue(call, login)
}

/// Renewal wants the certificate again. OpenBao renews nothing, silently, once the role is gone.
pub(crate) fn renewal(
    core: &Core,
    mount: MountId,
    entry: &Entry,
    cert: Option<&ClientCert>,
) -> Result<Option<TokenParams>, Refused> {
    let Some(Backend::Cert(method)) = core.mount(mount).map(|m| &m.backend) else {
        return Ok(None);
    };
    if !method.certs.contains_key(&entry.owner) && core.flavour.is_openbao() {
        return Ok(None);
    }
    match fitting(method, cert, &entry.owner, core.unix()) {
        Ok((_, trusted, _)) => {
            trusted.params.still_grants(core.flavour, entry)?;
            Ok(Some(trusted.params))
        }
        Err(mismatch) => Err(mismatch.refusal(core)),
    }
}
