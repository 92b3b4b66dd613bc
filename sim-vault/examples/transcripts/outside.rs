//! What the recorder brought along from outside: keys, certificates, signed tokens. Made anew here.

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};
use sim_vault::ClientCert;

use super::{
    Vars,
    signers::{jwt, public_pem, wrapped_key},
};

/// An authority and the certificates it signed.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.self_signed(&key).expect("a certificate");
        Self {
            pem: cert.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> ClientCert {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        // without its being an authority the library leaves the subject key id out
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_identifier_method = rcgen::KeyIdMethod::Sha256;
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        ClientCert {
            chain: vec![cert.der().to_vec()],
        }
    }
}

/// The outside world of one topic.
pub struct Outside {
    ca: Authority,
    other: Authority,
    /// The first version of the key that was exported last.
    exported: String,
}

impl Outside {
    pub fn new() -> Self {
        Self {
            ca: Authority::new("probe ca"),
            other: Authority::new("probe otherca"),
            exported: String::new(),
        }
    }

    /// A value that a step calls external.
    pub fn make(
        &mut self,
        topic: &str,
        step: &Value,
        now: u64,
        vars: &Vars,
    ) -> Result<String, String> {
        let get = |name: &str| {
            vars.iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.clone())
                .ok_or(format!("no value for {name}"))
        };
        let var = step["var"].as_str().unwrap_or_default();
        if let Some(claims) = step.get("claims_relative_to_now") {
            return Ok(jwt(claims, now, usize::from(step["signed_by"] == "evil")));
        }
        if let Some(claims) = step.get("claims") {
            let (ns, account) = (
                claims["namespace"].as_str().unwrap_or_default(),
                claims["serviceaccount"].as_str().unwrap_or_default(),
            );
            let full = json!({
                "iss": "kubernetes/serviceaccount",
                "sub": format!("system:serviceaccount:{ns}:{account}"),
                "aud": claims["aud"],
                "exp": claims["exp"],
                "iat": "now-5",
                "nbf": "now-5",
                "kubernetes.io": { "namespace": ns, "serviceaccount": { "name": account, "uid": claims["uid"] } },
            });
            return Ok(jwt(&full, now, 0));
        }
        match (topic, var) {
            (_, "ca_pem") => Ok(self.ca.pem.clone()),
            (_, "good_pub") => Ok(public_pem(0)),
            (_, "k8s_host") => Ok("http://127.0.0.1:6443".to_owned()),
            ("transit-backup", "imp") => {
                let key: Vec<u8> = (0..32).collect();
                wrapped_key(&get("wk")?, &key)
            }
            ("transit-format", "mine") => sealed_outside(&self.exported),
            _ => Err(format!("{var} comes from outside")),
        }
    }

    /// Keeps what an answer tells the outside world.
    pub fn seen(&mut self, path: &str, body: &Value) {
        if let Some(key) = body
            .pointer("/data/keys/1")
            .and_then(Value::as_str)
            .filter(|_| path.contains("/export/"))
        {
            key.clone_into(&mut self.exported);
        }
    }

    /// The certificate that a step shows.
    pub fn certificate(&self, name: &str) -> Option<ClientCert> {
        Some(match name {
            "client" => self.ca.sign("client"),
            "client2" => self.ca.sign("client2"),
            "stranger (other CA)" => self.other.sign("stranger"),
            _ => return None,
        })
    }
}

/// `made outside`, encrypted with the exported first version.
fn sealed_outside(key: &str) -> Result<String, String> {
    let key = STANDARD.decode(key).map_err(|e| e.to_string())?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).map_err(|e| e.to_string())?);
    let nonce = [7u8; 12];
    let mut body = b"made outside".to_vec();
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut body)
        .map_err(|e| e.to_string())?;
    Ok(format!(
        "vault:v1:{}",
        STANDARD.encode([&nonce[..], &body].concat())
    ))
}

/// Bodies that the recordings only describe.
pub fn described_body(note: &str) -> Option<Vec<u8>> {
    let nested = |depth: usize| {
        format!(
            "{{\"plaintext\":\"aGk=\",\"x\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
        .into_bytes()
    };
    match note {
        "deep nesting" => return Some(nested(2_000)),
        "very deep nesting" => return Some(nested(20_000)),
        "33 MiB of x" => return Some(vec![b'x'; 33 << 20]),
        _ => {}
    }
    let number = |head: &str, tail: &str| {
        note.strip_prefix(head)?
            .strip_suffix(tail)?
            .parse::<usize>()
            .ok()
    };
    if let Some(depth) = number("{\"plaintext\":\"aGk=\",\"x\":[[...]]} with ", " brackets") {
        return Some(nested(depth));
    }
    if let Some(members) = number(
        "{\"plaintext\":\"aGk=\",\"x\":{\"m0\":0,...}} with ",
        " members",
    ) {
        let list: Vec<String> = (0..members).map(|i| format!("\"m{i}\":0")).collect();
        return Some(
            format!("{{\"plaintext\":\"aGk=\",\"x\":{{{}}}}}", list.join(",")).into_bytes(),
        );
    }
    let size = number("{\"plaintext\":\"aGk=\",\"x\":\"yyy...\"} of ", " bytes")?;
    let frame = "{\"plaintext\": \"aGk=\", \"x\": \"\"}";
    let fill = size.checked_sub(frame.len())?;
    Some(
        frame
            .replacen("\"\"", &format!("\"{}\"", "y".repeat(fill)), 1)
            .into_bytes(),
    )
}
