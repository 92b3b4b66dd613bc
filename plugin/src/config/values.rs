//! Parsers of single values: pure, total, each error with its fix. Addresses of Vault and the proxy
//! are in
//! [`super::address`], names of things in Vault in [`super::places`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Bad, quoted};
use super::{Adopt, LogFormat, LogLevel, StatusVersion};

/// Longest path of a unix socket: `sun_path` has 108 bytes, the last of them zero (BUG-119).
pub const MAX_SOCKET_PATH: usize = 107;
/// `true`, `false` and what else Go's flags know.
pub fn switch(value: &str) -> Result<bool, Bad> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Bad::new(
            format!("{} is neither true nor false", quoted(value)),
            "write true or false",
        )),
    }
}

/// Only decimal digits, without a sign; `None` when it is anything else or too large.
pub fn digits<T: std::str::FromStr>(value: &str) -> Option<T> {
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()))
        .then(|| value.parse().ok())
        .flatten()
}

/// A whole number between two limits.
pub fn number(value: &str, min: usize, max: usize) -> Result<usize, Bad> {
    digits::<usize>(value)
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| {
            Bad::new(
                format!("{} is not a number from {min} to {max}", quoted(value)),
                format!("write a whole number from {min} to {max}"),
            )
        })
}

/// A TCP port; 0 is off.
pub fn port(value: &str) -> Result<u16, Bad> {
    digits(value).ok_or_else(|| {
        let fix = if value.contains(':') {
            "write the number alone, or use the option that ends in -address"
        } else {
            "write a number from 1 to 65535, or 0 to turn it off"
        };
        Bad::new(format!("{} is not a port", quoted(value)), fix)
    })
}

/// A duration as Go writes it: `5s`, `1m30s`, `1.5h`, `250ms`.
pub fn duration(value: &str) -> Result<Duration, Bad> {
    let bad = |problem: String| {
        Bad::new(
            problem,
            "write a number with its unit, such as 5s, 250ms or 1m30s",
        )
    };
    let not = || bad(format!("{} is not a duration", quoted(value)));
    if digits::<u128>(value).is_some() {
        return Err(bad(format!("{} has no unit", quoted(value))));
    }
    if value.starts_with('-') {
        return Err(bad(format!("{} is negative", quoted(value))));
    }
    if value.is_empty() {
        return Err(not());
    }
    let mut rest = value;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let split = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|at| *at > 0)
            .ok_or_else(not)?;
        let (amount, tail) = rest.split_at(split);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(not()),
        };
        let part = scaled(amount, unit_nanos).ok_or_else(not)?;
        nanos = nanos.checked_add(part).ok_or_else(not)?;
        rest = tail;
    }
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| not())
}

/// `amount` (digits with at most one point) times `unit`, in nanoseconds, cut downwards.
fn scaled(amount: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    // 18 digits are beyond a nanosecond in every unit.
    if whole.len() > 18 || fraction.len() > 18 || fraction.contains('.') || amount == "." {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { digits(whole)? };
    let part: u128 = if fraction.is_empty() {
        0
    } else {
        digits(fraction)?
    };
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    whole
        .checked_mul(unit)?
        .checked_add(part.checked_mul(unit)? / scale)
}

/// A duration between two limits.
pub fn duration_between(value: &str, min: Duration, max: Duration) -> Result<Duration, Bad> {
    let parsed = duration(value)?;
    if (min..=max).contains(&parsed) {
        return Ok(parsed);
    }
    Err(Bad::new(
        format!("{} is not between {min:?} and {max:?}", quoted(value)),
        format!("write a duration from {min:?} to {max:?}"),
    ))
}

/// The path in `unix:///path`.
pub fn socket_path(value: &str) -> Result<PathBuf, Bad> {
    let fix = "write unix:///path, for example unix:///var/run/kmsplugin/kms.sock";
    let Some(rest) = value.strip_prefix("unix:") else {
        return Err(if value.starts_with('/') {
            Bad::new(
                "is a path without its scheme",
                format!("write unix://{}", value.trim_end_matches('/')),
            )
        } else if value.starts_with('@') {
            abstract_socket()
        } else if let Some((scheme, _)) = value.split_once("://") {
            Bad::new(
                format!(
                    "has the scheme {}: API servers reach a KMS plugin by a unix socket only",
                    quoted(scheme)
                ),
                fix,
            )
        } else {
            Bad::new(
                format!("{} is no address of a unix socket", quoted(value)),
                fix,
            )
        });
    };
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.starts_with('@') || path.starts_with('\0') || path.starts_with("/@") {
        return Err(abstract_socket());
    }
    if path.is_empty() {
        return Err(Bad::new("has no path", fix));
    }
    if !path.starts_with('/') {
        return Err(Bad::new(
            format!("{} is not an absolute path", quoted(path)),
            fix,
        ));
    }
    if !rest.starts_with("///") {
        return Err(Bad::new(
            "has not three slashes after unix:, which API servers ask for",
            format!("write unix://{path}"),
        ));
    }
    if path.ends_with('/') {
        return Err(Bad::new(
            "ends in a slash, so it names a folder",
            "add the file's name, for example kms.sock",
        ));
    }
    if path.ends_with("/.") || path.split('/').any(|part| part == "..") {
        return Err(Bad::new(
            "leads through . or .. parts",
            "write the path without them",
        ));
    }
    if path.chars().any(char::is_control) {
        return Err(Bad::new("holds control characters", fix));
    }
    if path.len() > MAX_SOCKET_PATH {
        return Err(Bad::new(
            format!(
                "has a path of {} bytes, and the system allows {MAX_SOCKET_PATH} for a socket",
                path.len()
            ),
            "use a shorter path",
        ));
    }
    Ok(PathBuf::from(path))
}

fn abstract_socket() -> Bad {
    Bad::new(
        "names an abstract socket: those have no permissions, so every process of the host could decrypt",
        "write unix:///path of a socket file",
    )
}

/// Octal permissions of the socket.
pub fn mode(value: &str) -> Result<u32, Bad> {
    let fix = "write octal permissions, such as 0600 or 0660";
    let octal = value.strip_prefix("0o").unwrap_or(value);
    let fits = (1..=4).contains(&octal.len()) && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = fits
        .then(|| u32::from_str_radix(octal, 8).ok())
        .flatten()
        .ok_or_else(|| Bad::new(format!("{} is not an octal mode", quoted(value)), fix))?;
    if mode > 0o777 {
        return Err(Bad::new(
            format!("{} has bits beyond 0777", quoted(value)),
            fix,
        ));
    }
    if mode & 0o222 == 0 {
        return Err(Bad::new(
            format!(
                "{} lets nobody connect: a client needs write permission on a socket",
                quoted(value)
            ),
            fix,
        ));
    }
    Ok(mode)
}

/// A group by name or number.
pub fn group(value: &str) -> Result<String, Bad> {
    let fix = "write the name or number of a group, such as 0 or root";
    let bad = || {
        Bad::new(
            format!("{} is no name or number of a group", quoted(value)),
            fix,
        )
    };
    if value.bytes().all(|b| b.is_ascii_digit()) {
        // 4294967295 stands for "no change" in the system call.
        digits::<u32>(value)
            .filter(|gid| *gid != u32::MAX)
            .ok_or_else(bad)?;
        return Ok(value.to_owned());
    }
    let fits = value.len() <= 32
        && !value.starts_with('-')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.$".contains(&b));
    if fits {
        Ok(value.to_owned())
    } else {
        Err(bad())
    }
}

/// A listener: `host:port`, `:port` for all IPv4 addresses, or `off`.
pub fn listener(value: &str) -> Result<Option<SocketAddr>, Bad> {
    let fix = "write address:port, such as 127.0.0.1:8081 or [::1]:8081, or off";
    if value == "off" {
        return Ok(None);
    }
    let bad = |problem: &str| Err(Bad::new(format!("{} {problem}", quoted(value)), fix));
    if value.contains("://") {
        return bad("has a scheme");
    }
    let Some((host, port)) = value.rsplit_once(':') else {
        return bad("has no port");
    };
    if host.contains(':') && !host.starts_with('[') {
        return bad("is an IPv6 address without brackets");
    }
    let ip = match host {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => {
            let inner = host
                .strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .unwrap_or(host);
            match inner.parse() {
                Ok(ip) => ip,
                Err(_) => return bad("has no IP address before its port"),
            }
        }
    };
    match digits::<u16>(port) {
        Some(0) => bad("has port 0, which would be another one on each start"),
        Some(port) => Ok(Some(SocketAddr::new(ip, port))),
        None => bad("has no valid port"),
    }
}

/// Whom to take over from, and how far that has gone.
pub fn adopt(value: &str) -> Result<Adopt, Bad> {
    let all = [
        Adopt::Community,
        Adopt::CommunityFinal,
        Adopt::HashiCorp,
        Adopt::HashiCorpFinal,
    ];
    all.into_iter()
        .find(|adopt| adopt.word() == value)
        .ok_or_else(|| {
            Bad::new(
                format!("{} is no plugin that can be taken over from", quoted(value)),
                "write community or hashicorp, and community,final or hashicorp,final once everything stored has been written anew",
            )
        })
}

/// What Status calls its version.
pub fn status_version(value: &str) -> Result<StatusVersion, Bad> {
    match value {
        "v2" => Ok(StatusVersion::V2),
        "v2beta1" => Ok(StatusVersion::V2Beta1),
        _ => Err(Bad::new(
            format!("{} is no version that Status can report", quoted(value)),
            "write v2, or v2beta1 for API servers before Kubernetes 1.29",
        )),
    }
}

/// A log level, with the words of the other products' loggers.
pub fn log_level(value: &str) -> Result<LogLevel, Bad> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "error" | "dpanic" | "panic" | "fatal" => LogLevel::Error,
        "warn" | "warning" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        "trace" | "debug-extended" => LogLevel::Trace,
        // zap takes numbers for verbosity.
        other => match digits::<u32>(other) {
            Some(0) => LogLevel::Info,
            Some(1) => LogLevel::Debug,
            Some(_) => LogLevel::Trace,
            None => {
                return Err(Bad::new(
                    format!("{} is no log level", quoted(value)),
                    "write error, warn, info, debug or trace",
                ));
            }
        },
    })
}

/// A log format.
pub fn log_format(value: &str) -> Result<LogFormat, Bad> {
    match value {
        "json" => Ok(LogFormat::Json),
        "text" | "console" => Ok(LogFormat::Text),
        _ => Err(Bad::new(
            format!("{} is no log format", quoted(value)),
            "write json or text",
        )),
    }
}

/// A file's path.
pub fn file_path(value: &str) -> Result<PathBuf, Bad> {
    if value.chars().any(char::is_control) {
        return Err(Bad::new(
            "holds control characters",
            "write the path of a file",
        ));
    }
    if value.contains("://") {
        return Err(Bad::new(
            format!("{} is a URL, not a path", quoted(value)),
            "write the path of a file",
        ));
    }
    if value.contains("-----BEGIN") {
        return Err(Bad::new(
            "holds the certificate or key itself",
            "write it to a file and name that",
        ));
    }
    Ok(PathBuf::from(value))
}
