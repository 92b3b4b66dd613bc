//! Addresses of Vault and of a proxy before it. No message repeats user information or a query: a
//! password may stand there.

use std::net::{IpAddr, Ipv6Addr};

use zeroize::Zeroizing;

use super::error::{Bad, quoted};
use super::{Proxy, Secret, VaultAddress};
use crate::seam::HostPort;

/// More addresses than a cluster has members are a mistake.
const MAX_ADDRESSES: usize = 16;
const EXAMPLE: &str = "write https://host:port, for example https://vault.example.com:8200";

/// A list of addresses, separated by commas. Whether http may leave the host is
/// [`plaintext_beyond_loopback`]'s question.
pub fn vault_addresses(value: &str) -> Result<Vec<VaultAddress>, Bad> {
    // Before anything is taken apart, so that no part of a password is mistaken for a host or port.
    if value.contains('@') {
        return Err(Bad::new(
            "has a user name or password before the host",
            "take it out; credentials have options of their own",
        ));
    }
    let mut addresses: Vec<VaultAddress> = Vec::new();
    for part in value.split(',').map(str::trim) {
        let address = vault_address(part)?;
        if addresses.contains(&address) {
            return Err(Bad::new(
                format!("names {address} twice"),
                "name each address once",
            ));
        }
        addresses.push(address);
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(Bad::new(
            format!("has more than {MAX_ADDRESSES} addresses"),
            "name the members of one cluster, or their load balancer",
        ));
    }
    Ok(addresses)
}

/// The first address that would carry keys and tokens readable over a network.
pub fn plaintext_beyond_loopback(addresses: &[VaultAddress]) -> Option<&VaultAddress> {
    addresses
        .iter()
        .find(|address| !address.https && !is_loopback(&address.at.host))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn vault_address(value: &str) -> Result<VaultAddress, Bad> {
    if value.is_empty() {
        return Err(Bad::new("has an empty address", EXAMPLE));
    }
    let parts = split(value)?;
    let https = match parts.scheme.as_str() {
        "https" => true,
        "http" => false,
        "unix" => return Err(Bad::new("names a unix socket", EXAMPLE)),
        other => {
            return Err(Bad::new(
                format!("has the scheme {}", quoted(other)),
                EXAMPLE,
            ));
        }
    };
    let prefix = parts.path.trim_end_matches('/');
    if prefix == "/v1" || prefix.ends_with("/v1") || prefix.contains("/v1/") {
        return Err(Bad::new(
            "has the API's /v1 in its path",
            "end the address before /v1",
        ));
    }
    if prefix == "/ui" || prefix.starts_with("/ui/") {
        return Err(Bad::new(
            "is the address of the web interface",
            "end the address before /ui",
        ));
    }
    let odd = prefix
        .chars()
        .any(|c| !(c.is_ascii_alphanumeric() || "-_.~/".contains(c)))
        || prefix.contains("//")
        || prefix.split('/').any(|part| part == "." || part == "..");
    if odd {
        return Err(Bad::new(
            "has a path that is not plain",
            "leave the path out, or write it in letters, digits and -_.~",
        ));
    }
    let port = parts.port.unwrap_or(if https { 443 } else { 80 });
    Ok(VaultAddress {
        https,
        at: HostPort {
            host: parts.host,
            port,
        },
        prefix: prefix.to_owned(),
    })
}

/// A proxy as `HTTPS_PROXY` names it. Without a scheme it is http, as for other programs.
pub fn proxy(value: &str, no_proxy: &str) -> Result<Proxy, Bad> {
    let fix = "write http://host:port";
    let value = value.trim();
    let with_scheme = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let with_scheme = Zeroizing::new(with_scheme);
    let parts = split(&with_scheme).map_err(|bad| {
        // With credentials in it a misread part may be one of them.
        let secret = value.contains('@');
        Bad::new(
            if secret {
                "is no address of a proxy".to_owned()
            } else {
                bad.problem
            },
            fix,
        )
    })?;
    if parts.scheme != "http" {
        return Err(Bad::new(
            format!(
                "has the scheme {}; a proxy is spoken to by http CONNECT only",
                quoted(&parts.scheme)
            ),
            fix,
        ));
    }
    if !parts.path.trim_end_matches('/').is_empty() {
        return Err(Bad::new("has a path", fix));
    }
    let credentials = match parts.userinfo {
        Some(raw) => Some(Secret::new(percent_decoded(raw).ok_or_else(|| {
            Bad::new(
                "has a user name or password that is not percent-encoded UTF-8",
                "encode special characters as %XX",
            )
        })?)),
        None => None,
    };
    Ok(Proxy {
        at: HostPort {
            host: parts.host,
            port: parts.port.unwrap_or(80),
        },
        credentials,
        no_proxy: no_proxy.trim().to_owned(),
    })
}

/// A URL taken apart.
struct Parts<'a> {
    scheme: String,
    userinfo: Option<&'a str>,
    host: String,
    port: Option<u16>,
    path: &'a str,
}

fn split(value: &str) -> Result<Parts<'_>, Bad> {
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Bad::new("holds blanks or control characters", EXAMPLE));
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        let shown = value.split(['?', '#']).next().unwrap_or(value);
        return Err(Bad::new(
            format!("{} has no scheme", quoted(shown)),
            EXAMPLE,
        ));
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    if tail.contains('?') {
        return Err(Bad::new("has a query", "end the address before the ?"));
    }
    if tail.contains('#') {
        return Err(Bad::new("has a fragment", "end the address before the #"));
    }
    let (userinfo, at) = match authority.rsplit_once('@') {
        Some((userinfo, at)) => (Some(userinfo), at),
        None => (None, authority),
    };
    let (host, port) = host_and_port(at)?;
    Ok(Parts {
        scheme: scheme.to_ascii_lowercase(),
        userinfo,
        host,
        port,
        path: tail,
    })
}

fn host_and_port(at: &str) -> Result<(String, Option<u16>), Bad> {
    let (host, port) = if let Some(rest) = at.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or_else(|| {
            Bad::new(
                "has a [ without its ]",
                "write an IPv6 address as https://[2001:db8::1]:8200",
            )
        })?;
        if inner.parse::<Ipv6Addr>().is_err() {
            return Err(Bad::new(
                format!(
                    "has {} between brackets, which is no IPv6 address",
                    quoted(inner)
                ),
                "write an IPv6 address without a zone, as https://[2001:db8::1]:8200",
            ));
        }
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(Bad::new("has something between ] and the port", EXAMPLE)),
        };
        (inner, port)
    } else {
        match at.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(Bad::new(
                    "is an IPv6 address without brackets, or has two ports",
                    "write an IPv6 address as https://[2001:db8::1]:8200",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (at, None),
        }
    };
    let port = match port {
        Some(port) => Some(
            super::values::digits::<u16>(port)
                .filter(|p| *p > 0)
                .ok_or_else(|| {
                    Bad::new(
                        format!("has the port {}", quoted(port)),
                        "write a port from 1 to 65535",
                    )
                })?,
        ),
        None => None,
    };
    if host.is_empty() {
        return Err(Bad::new("has no host", EXAMPLE));
    }
    if host.parse::<IpAddr>().is_err() && !is_dns_name(host) {
        return Err(Bad::new(
            format!("has the host {}, which is no name or address", quoted(host)),
            EXAMPLE,
        ));
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// Whether this can be a DNS name; underscores are seen in the wild, a last dot is legal.
pub fn is_dns_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // Digits and dots alone are an address with a slip in it (10.0.0.256).
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= 253 && !numeric && name.split('.').all(label)
}

fn percent_decoded(raw: &str) -> Option<String> {
    let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut bytes = raw.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(b);
        }
    }
    let text = std::str::from_utf8(&out).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}
