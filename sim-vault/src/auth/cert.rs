//! The TLS certificate method.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use x509_parser::{
    certificate::X509Certificate, extensions::ParsedExtension, pem::parse_x509_pem,
    prelude::FromDer,
};

use super::{
    Login, TokenParams,
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
    common_names: Vec<String>,
    params: TokenParams,
}

const CERT: [Field; 14] = roles::fields([
    ("certificate", Kind::Text),
    ("allowed_common_names", Kind::Texts),
    ("display_name", Kind::Text),
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
        if let Some(names) = args.opt_texts("allowed_common_names") {
            self.common_names = names;
        }
        self.params.update(args, Self::OLD)?;
        let sound = parse_x509_pem(self.pem.as_bytes())
            .is_ok_and(|(_, pem)| pem.label == "CERTIFICATE" && pem.parse_x509().is_ok());
        if !sound {
            return Err(Refused::bad("failed to parse certificate"));
        }
        let most = crate::mounts::SYSTEM_TTL;
        let long = [("ttl", self.params.ttl), ("max_ttl", self.params.max_ttl)];
        let warnings = long.iter().filter(|(_, d)| *d > most).map(|(name, d)| {
            format!(
                "Given {name} of {} seconds is greater than current mount/system default of {} seconds",
                d.as_secs(),
                most.as_secs()
            )
        });
        Ok(warnings.collect())
    }

    fn describe(&self, _: &Core) -> Value {
        json!({
            "allowed_common_names": self.common_names,
            "certificate": self.pem,
        })
    }
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
        let fits = trusted.common_names.is_empty()
            || trusted
                .common_names
                .iter()
                .any(|n| glob(n, &owner.common_name));
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
        display_name: &name,
        metadata: owner.metadata,
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
