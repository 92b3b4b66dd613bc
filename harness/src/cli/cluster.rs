//! What is said of a staging cluster: the cluster arm of `chaos`, its rights, the relay beside a plugin, and the swarm as a
//! Job.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// Options of the cluster arm of `chaos`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cluster arm")]
pub struct ClusterArgs {
    /// How the cluster is reached
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context that is a staging cluster; nothing starts unless it is the kubeconfig's current one
    #[arg(long, value_name = "CONTEXT")]
    pub staging: Option<String>,
    /// The Transit key that faults may touch, if it carries the mark: a key beside it, KEY-kms-harness-staging
    #[arg(long, value_name = "[MOUNT/]KEY")]
    pub staging_vault_key: Option<String>,
    /// How the plugin logs in, for faults on logins: auth/MOUNT/role/NAME or auth/MOUNT/users/NAME
    #[arg(long, value_name = "PATH")]
    pub staging_vault_role: Option<String>,
    /// File with the key that unseals the staging Vault, for sealing it
    #[arg(long, value_name = "FILE")]
    pub staging_vault_unseal_key_path: Option<PathBuf>,
    /// Control address of a `kms-harness relay` beside a plugin; may be given several times
    #[arg(long, value_name = "URL", requires = "relay_token_path")]
    pub relay: Vec<String>,
    /// File with the relays' token
    #[arg(long, value_name = "FILE")]
    pub relay_token_path: Option<PathBuf>,
    /// The plugin's pods, where a controller keeps them: namespace and labels
    #[arg(long, value_name = "NAMESPACE/NAME=VALUE")]
    pub plugin_pods: Option<String>,
    /// Pods of the plugin whose logs and events are kept, static ones, too; those of --plugin-pods are anyway
    #[arg(long, value_name = "NAMESPACE/NAME=VALUE")]
    pub plugin_logs: Option<String>,
    /// The cluster's etcd, http or https, with its port: there the run's own Secrets are looked at, whether they are
    /// encrypted as they should be; nothing is written
    #[arg(long, value_name = "ENDPOINT")]
    pub etcd: Option<String>,
    /// What its certificate is verified by
    #[arg(long, value_name = "FILE", requires = "etcd")]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate that is shown to it
    #[arg(long, value_name = "FILE", requires_all = ["etcd", "etcd_key"])]
    pub etcd_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, value_name = "FILE", requires_all = ["etcd", "etcd_cert"])]
    pub etcd_key: Option<PathBuf>,
    /// Allow faults of the plugin's process, made by a relay on its node that allows them, too
    #[arg(long)]
    pub allow_node_faults: bool,
    /// Allow faults that nothing undoes: deleting or trimming the key, sealing Vault
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "cleanup")]
    pub dry_run: bool,
    /// Undo what a run that was killed left behind, and take its objects away
    #[arg(long)]
    pub cleanup: bool,
    /// Folder of undo files [default: kms-harness/undo in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    pub undo: Option<PathBuf>,
}

/// Options of `rbac`.
#[derive(Debug, Args)]
pub struct RbacArgs {
    /// Also what is needed for faults on the plugin's pods, in this namespace
    #[arg(long, value_name = "NAMESPACE")]
    pub plugin_pods: Option<String>,
    /// Also what is needed to keep logs and events of the plugin's pods, in this namespace
    #[arg(long, value_name = "NAMESPACE")]
    pub plugin_logs: Option<String>,
    /// YAML for kubectl, or one JSON list
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Options of `job`.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// First seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub seeds: u64,
    /// Pods that share them
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub workers: u64,
    /// Pods at a time [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub parallelism: Option<u64>,
    /// Image whose entry point is kms-harness
    #[arg(long, value_name = "NAME:TAG")]
    pub image: String,
    /// Name of the Job, and of the claim of the volume with the results
    #[arg(long, value_name = "NAME", default_value = "kms-swarm")]
    pub name: String,
    /// Where both lie
    #[arg(long, value_name = "NAMESPACE", default_value = "kms-harness")]
    pub namespace: String,
    /// What a pod asks of a processor
    #[arg(long, value_name = "QUANTITY", default_value = "1")]
    pub cpu: String,
    /// A pod's memory
    #[arg(long, value_name = "QUANTITY", default_value = "512Mi")]
    pub memory: String,
    /// YAML for kubectl, or one JSON list
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Options of `relay`.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Where the plugin finds its Vault: its -vault-address names this (with -tls-sni=VAULT'S NAME for https)
    #[arg(long, value_name = "IP:PORT", requires = "vault")]
    pub listen: Option<std::net::SocketAddr>,
    /// The Vault; requests to one with https:// are not counted
    #[arg(long, value_name = "http[s]://HOST:PORT", requires = "listen")]
    pub vault: Option<String>,
    /// Where the API server finds the plugin: its EncryptionConfiguration names this
    #[arg(long, value_name = "unix:///PATH", requires = "plugin_socket")]
    pub socket: Option<String>,
    /// Where the plugin itself listens
    #[arg(long, value_name = "unix:///PATH", requires = "socket")]
    pub plugin_socket: Option<String>,
    /// The plugin's executable, as its process shows it: that one process may be killed, stopped and frozen, for as long as
    /// the order says. Needs the same user, or root
    #[arg(long, value_name = "/PATH", requires = "allow_node_faults")]
    pub plugin_executable: Option<PathBuf>,
    /// Say that it may be
    #[arg(long, requires = "plugin_executable")]
    pub allow_node_faults: bool,
    /// Where it is told what to do: a loopback address, port 0 for any
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8299")]
    pub control: std::net::SocketAddr,
    /// File with the token that whoever tells it must show, at least 16 characters
    #[arg(long, value_name = "FILE")]
    pub control_token_path: PathBuf,
}
