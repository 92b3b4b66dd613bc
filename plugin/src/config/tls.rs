//! TLS towards Vault: what verifies it and what it may verify. Files are looked at by [`super::pem`].

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::{Bad, ConfigError, quoted};
use super::picks::Picks;
use super::{Tls, address, pem, values};
use crate::seam::SecretSource;

/// Resolves TLS. `skip_verify` is the Vault client's variable of that name, if set: it is refused.
pub fn resolve(
    picks: &mut Picks,
    skip_verify: Option<&str>,
    files: &dyn SecretSource,
    any_https: bool,
) -> Tls {
    if let Some(name) = skip_verify {
        picks.errors.push(ConfigError::new(
            name,
            "is refused: an inherited variable does not switch verification off",
            "unset it, and name the authority with -tls-ca-file (or pass -tls-skip-verify knowingly)",
        ));
    }
    let skip_verify = picks
        .take("tls-skip-verify", values::switch)
        .unwrap_or(false);
    if skip_verify {
        picks.warnings.push(
            "-tls-skip-verify: the server is not verified, anyone on the way can pose as Vault"
                .to_owned(),
        );
    }
    let mut unreadable = 0;
    let ca_file = picks.take("tls-ca-file", |value| {
        let (path, bytes) = pem_file(value, files)?;
        (_, unreadable) = pem::authorities(&bytes).map_err(|bad| in_file(&path, bad))?;
        Ok(path)
    });
    if let (1.., Some(path)) = (unreadable, &ca_file) {
        picks.warnings.push(format!(
            "{}: {unreadable} of its certificates cannot be read and vouch for nothing",
            path.display()
        ));
    }
    let sni = picks.take("tls-sni", |value| {
        if address::is_dns_name(value) || value.parse::<std::net::IpAddr>().is_ok() {
            return Ok(value.to_ascii_lowercase());
        }
        Err(Bad::new(
            format!("{} is no host name", quoted(value)),
            "write the name that stands in Vault's certificate, without scheme and port",
        ))
    });
    let client = client_pair(picks, files);
    if !any_https {
        for name in [
            "tls-ca-file",
            "tls-sni",
            "tls-client-cert",
            "tls-skip-verify",
        ] {
            if let Some(given) = picks.given(name) {
                let warning = format!("{} has no effect: no address is https", given.written);
                picks.warnings.push(warning);
            }
        }
    }
    Tls {
        ca_file,
        sni,
        client,
        skip_verify,
    }
}

fn client_pair(picks: &mut Picks, files: &dyn SecretSource) -> Option<(PathBuf, PathBuf)> {
    const CERT: &str = "tls-client-cert";
    const KEY: &str = "tls-client-key";
    let written = |picks: &Picks, name| picks.given(name).map(|given| given.written.clone());
    match (written(picks, CERT), written(picks, KEY)) {
        (Some(cert), None) if !picks.is_spoiled(KEY) => {
            picks.errors.push(ConfigError::new(
                cert,
                "is given without its key",
                "add -tls-client-key=FILE",
            ));
            return None;
        }
        (None, Some(key)) if !picks.is_spoiled(CERT) => {
            picks.errors.push(ConfigError::new(
                key,
                "is given without its certificate",
                "add -tls-client-cert=FILE",
            ));
            return None;
        }
        _ => {}
    }
    let cert = picks.take(CERT, |value| pem_file(value, files));
    let key = picks.take(KEY, |value| pem_file(value, files));
    let ((cert, cert_bytes), (key, key_bytes)) = (cert?, key?);
    match pem::client_pair(&cert_bytes, &key_bytes) {
        Ok(()) => Some((cert, key)),
        Err((is_key, bad)) => {
            let (name, path) = if is_key { (KEY, &key) } else { (CERT, &cert) };
            let field = written(picks, name).unwrap_or_default();
            picks.errors.push(in_file(path, bad).at(field));
            None
        }
    }
}

fn pem_file(value: &str, files: &dyn SecretSource) -> Result<(PathBuf, Zeroizing<Vec<u8>>), Bad> {
    let path = values::file_path(value)?;
    let bytes = pem::read(files, &path).map_err(|bad| in_file(&path, bad))?;
    Ok((path, bytes))
}

fn in_file(path: &Path, bad: Bad) -> Bad {
    Bad::new(
        format!("{}: the file {}", path.display(), bad.problem),
        bad.fix,
    )
}
