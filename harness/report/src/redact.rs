//! Helpers for what must not get into a report. They work by allow-lists: what is not known to be
//! harmless is left out.
//!
//! Calling them is the duty of whoever fills a report in.

/// Folders whose paths say nothing about a person or a customer.
pub const PUBLIC_FOLDERS: &[&str] = &[
    "/etc/kubernetes/",
    "/run/",
    "/tmp/",
    "/usr/bin/",
    "/usr/local/bin/",
    "/var/lib/kubelet/",
    "/var/run/",
];

/// What stands for anything left out.
pub const REDACTED: &str = "[redacted]";

/// A path in full below [`PUBLIC_FOLDERS`], else only its last part.
pub fn path(path: &str) -> String {
    let goes_up = path.split('/').any(|part| part == "..");
    if !goes_up && PUBLIC_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        return path.to_owned();
    }
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((_, name)) => format!("{REDACTED}/{name}"),
        None => path.to_owned(),
    }
}

/// An endpoint `unix://PATH`, its path as [`path`] shows it. Anything else is shown as [`url`]
/// does.
pub fn endpoint(endpoint: &str) -> String {
    match endpoint.strip_prefix("unix://") {
        Some(abstract_name) if abstract_name.starts_with("/@") => endpoint.to_owned(),
        Some(socket) => format!("unix://{}", path(socket)),
        None => url(endpoint),
    }
}

/// Scheme, host and port of a URL; without credentials, path, query and fragment.
pub fn url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return REDACTED.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let plain = |text: &str, others: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    if plain(scheme, "+-.") && plain(host, ".-:[]") {
        format!("{scheme}://{host}")
    } else {
        REDACTED.to_owned()
    }
}

/// The value of an option whose name is in `allowed`, else [`REDACTED`].
pub fn value<'a>(allowed: &[&str], name: &str, value: &'a str) -> &'a str {
    if allowed.contains(&name) {
        value
    } else {
        REDACTED
    }
}

/// Which of the run's planted secrets occur in `bytes`: their positions in `markers`, never the
/// secrets. A hit in a file of ours must stop its writing.
pub fn leaks(bytes: &[u8], markers: &[impl AsRef<[u8]>]) -> Vec<usize> {
    let occurs = |marker: &[u8]| {
        !marker.is_empty() && bytes.windows(marker.len()).any(|window| window == marker)
    };
    let indices = markers.iter().enumerate();
    indices
        .filter(|(_, marker)| occurs(marker.as_ref()))
        .map(|(index, _)| index)
        .collect()
}
