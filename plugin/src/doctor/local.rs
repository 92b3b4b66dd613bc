//! What can be found out on this machine: the socket's place, its mode, the ports.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::{Row, Verdict};
use crate::config::Config;
use crate::socket::{self, SocketOptions, State};

pub(super) async fn rows(config: &Config) -> Vec<Row> {
    let options = SocketOptions {
        path: config.socket.clone(),
        mode: config.socket_mode,
        group: config.socket_group.clone(),
    };
    let mut rows: Vec<Row> = socket::warnings(&options)
        .into_iter()
        .map(|text| Row::new("socket-access", Verdict::Warning, text, ""))
        .collect();
    let mut served = false;
    rows.push(match socket::examine(&options).await {
        Err(error) => Row::new("socket", Verdict::Failed, error.to_string(), ""),
        Ok(state) => {
            let path = options.path.display();
            let meaning = match state {
                State::Free => format!("{path} is free and can be made"),
                State::Dead => format!("{path} is left over from before and will be replaced"),
                State::Served { owner } => {
                    served = true;
                    format!("{path} is being served{owner}")
                }
            };
            Row::good("socket", meaning)
        }
    });
    rows.extend(label(&options.path));
    let mut ports = [config.health, config.metrics].map(|at| at.filter(|_| !served));
    if ports[0] == ports[1] {
        ports[1] = None;
    }
    rows.extend(ports.into_iter().flatten().map(port));
    rows
}

fn port(at: SocketAddr) -> Row {
    match TcpListener::bind(at) {
        Ok(_) => Row::good("port", format!("{at} is free")),
        Err(error) => Row::new(
            "port",
            Verdict::Warning,
            format!("health and metrics cannot be served on {at}: {error}"),
            "choose another with -health-port and -metrics-port; the KMS socket does not need it",
        ),
    }
}

/// SELinux labels of the folder and of ourselves, where there are any.
fn label(socket: &Path) -> Option<Row> {
    let domain = std::fs::read_to_string("/proc/self/attr/current").ok()?;
    let mut buffer = [0_u8; 256];
    let length = rustix::fs::getxattr(socket.parent()?, "security.selinux", &mut buffer).ok()?;
    let folder = String::from_utf8_lossy(&buffer[..length]).into_owned();
    judge_label(domain.trim_end_matches('\0'), folder.trim_end_matches('\0'))
}

/// Containers may make sockets in folders with their own type alone.
fn judge_label(domain: &str, folder: &str) -> Option<Row> {
    let kind = |label: &str| label.split(':').nth(2).map(str::to_owned);
    let (domain, folder) = (kind(domain)?, kind(folder)?);
    let check = "selinux";
    Some(if domain == "container_t" && folder != "container_file_t" {
        Row::new(
            check,
            Verdict::Failed,
            format!("{domain} may not make a socket in a folder labelled {folder}"),
            "run it with seLinuxOptions type spc_t, or label the folder container_file_t",
        )
    } else {
        Row::good(
            check,
            format!("we are {domain}, the socket's folder is {folder}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bug_119_a_container_needs_a_folder_of_its_type() {
        let check = |domain: &str, folder: &str| {
            let domain = format!("system_u:system_r:{domain}:s0:c1,c2");
            judge_label(&domain, &format!("system_u:object_r:{folder}:s0")).map(|row| row.result)
        };
        assert_eq!(check("container_t", "var_run_t"), Some(Verdict::Failed));
        assert_eq!(
            check("container_t", "container_file_t"),
            Some(Verdict::Good)
        );
        assert_eq!(check("spc_t", "var_run_t"), Some(Verdict::Good));
        // No SELinux: other security modules write here, too.
        assert_eq!(
            judge_label("unconfined", "system_u:object_r:tmp_t:s0"),
            None
        );
    }
}
