//! The command line. Names, values and defaults here are what people script against.

mod cluster;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use kms_contract::{Minor, Profile, Who};
use kms_report::Form;

use crate::vault::image::Image;

pub use cluster::{ClusterArgs, JobArgs, RbacArgs, RelayArgs};

/// `kms-harness`.
#[derive(Debug, Parser)]
#[command(
    name = "kms-harness",
    version,
    about = "Conformance checks for any Kubernetes KMS v2 plugin",
    after_help = "Exit codes: 0 all held · 1 the subject failed · 2 wrong usage or configuration · \
                  3 the harness could not do its job, or nothing ran · 130 interrupted",
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line; ends the program with exit code 2 when it cannot be meant. Beside it
    /// the names of the options that stand there, as opposed to those left at their defaults.
    pub fn read() -> (Self, BTreeSet<String>) {
        let matches = Self::command().get_matches();
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let given = matches
            .subcommand()
            .map(|(_, matches)| given(matches))
            .unwrap_or_default();
        (cli, given)
    }
}

fn given(matches: &ArgMatches) -> BTreeSet<String> {
    matches
        .ids()
        .map(clap::Id::as_str)
        .filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
        .map(|id| id.replace('_', "-"))
        .collect()
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The main job: start a plugin on a Vault, check it, write the bundle
    Run(RunArgs),
    /// Judge a plugin that is already running
    Check(CheckArgs),
    /// Judge the recorded transcript of a bundle again, into a new report
    Judge(JudgeArgs),
    /// Renderings of stored reports, and what can be said of several
    #[command(subcommand)]
    Report(ReportCommand),
    /// The requirements, one row each
    List(ListArgs),
    /// One requirement: sentence, grounds, checks
    Explain(ExplainArgs),
    /// Scenarios: something breaks, and what must hold is judged
    Chaos(Box<ChaosArgs>),
    /// Scenarios drawn whole from seeds, in search of what breaks
    Swarm(SwarmArgs),
    /// Run one scenario again with one seed and print what happened, event by event
    Replay(ReplayArgs),
    /// Make a failing scenario as small as it gets
    Shrink(ShrinkArgs),
    /// The suite over a zoo of broken plugins: is each one caught, by the right requirement
    Calibrate(CalibrateArgs),
    /// Serve one plugin of that zoo
    Zoo(ZooArgs),
    /// The scenario language
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// The operators' procedure on a simulated OpenShift cluster, step by step, with everything that can go wrong
    Rehearse(RehearseArgs),
    /// Find what is wrong with a cluster's KMS encryption: what was seen, what it means, what to do
    Doctor(Box<DoctorArgs>),
    /// Gather the evidence that the doctor looks at, redacted, into a folder that may be handed on
    Collect(Box<CollectArgs>),
    /// The rights that the cluster arm needs, as manifests
    Rbac(RbacArgs),
    /// The swarm as an Indexed Job, as manifests
    Job(JobArgs),
    /// Fault proxies beside a plugin in a cluster, told what to do by a harness elsewhere
    Relay(RelayArgs),
    /// A simulated kube-apiserver, with the real one's flags
    #[command(name = "apiserver")]
    ApiServer(Box<ApiServerArgs>),
}

/// How a result is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Options of everything that makes a report.
#[derive(Debug, Args)]
pub struct Output {
    /// Folder for the bundle; must not be there yet, or be empty [default: a new one under target/kms-harness, or in the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Options of everything that sends stimuli.
#[derive(Debug, Args)]
pub struct Suite {
    /// Whose verdict decides the exit code; every requirement that can be judged gets a row in any case
    #[arg(long, default_value = "core", value_parser = profile)]
    pub profile: Profile,
    /// Judge for an API server of this version only, such as 1.31 [default: every supported one]
    #[arg(long, value_name = "1.NN")]
    pub server_version: Option<Minor>,
    /// Root of all randomness of the run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The Vault behind the plugin: `sim` (built in), `wiremock` (the same one behind a wiremock server),
    /// `openbao` or `vault` (a real server: $BAO or $VAULT, on PATH, or made by ci/openbao or
    /// ci/hashicorp-vault), `container` (see --vault-image), or addresses of a running one; those need an
    /// administrator's token in --vault-token-path or VAULT_TOKEN
    #[arg(long, value_name = "sim|wiremock|openbao|vault|container|ADDRESS", num_args = 1.., value_delimiter = ',', default_value = "sim")]
    pub vault: Vec<String>,
    /// Image of either real server for --vault container, such as openbao/openbao:2 or
    /// hashicorp/vault:1.19; the daemon is found by DOCKER_HOST
    #[arg(long, value_name = "NAME:TAG")]
    pub vault_image: Option<Image>,
    /// File with an administrator's token, for --vault ADDRESS
    #[arg(long, value_name = "FILE")]
    pub vault_token_path: Option<PathBuf>,
    /// The vault-kubernetes-kms binary to judge [default: built alone from the checkout]
    #[arg(long, value_name = "PATH", conflicts_with = "subject")]
    pub plugin: Option<PathBuf>,
    /// Any other plugin: a TOML that says how it is started, told and stopped
    #[arg(long, value_name = "FILE")]
    pub subject: Option<PathBuf>,
    /// The container image that --subject starts, as an OCI archive (see `check`)
    #[arg(long, value_name = "FILE", requires = "subject")]
    pub image: Option<PathBuf>,
    /// Also put an API server in front of the plugin, write, read and list Secrets through it, rotate the key, rewrite
    /// them, restart both and read again: `sim` (built in), `real` (a kube-apiserver: $KUBE_APISERVER, on PATH, or made
    /// by ci/kube-apiserver/install), the path of one, or the kubeconfig of a cluster made for this (see --socket); the
    /// latter three need a build with --features kube
    #[arg(long, value_name = "sim|real|PATH|KUBECONFIG")]
    pub apiserver: Option<String>,
    /// For --apiserver KUBECONFIG: the socket that the cluster's EncryptionConfiguration names; the plugin is served there
    #[arg(long, value_name = "unix:///PATH", requires = "apiserver")]
    pub socket: Option<String>,
    /// Scenario files, or folders of them, that belong to the run; `none` for no scenario [default: the folder
    /// `scenarios` here or above]
    #[arg(long, value_name = "PATH|none", num_args = 1..)]
    pub scenarios: Vec<PathBuf>,
    /// What is sent and how it is judged.
    #[command(flatten)]
    pub suite: Suite,
    /// Where results go.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Socket of the plugin, unix:///PATH
    #[arg(long, value_name = "URL", required_unless_present = "subject")]
    pub socket: Option<String>,
    /// A plugin that is started instead, by a TOML that says how; the same as run --subject FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["socket", "restart_command"])]
    pub subject: Option<PathBuf>,
    /// Shell command that restarts the plugin and ends with exit code 0; without it nothing is
    /// known about old data after a restart
    #[arg(long, value_name = "COMMAND")]
    pub restart_command: Option<String>,
    /// Where the plugin shows its metrics, such as http://127.0.0.1:8080/metrics; without it nothing
    /// is known about them
    #[arg(long, value_name = "URL", requires = "socket")]
    pub metrics_url: Option<String>,
    /// Socket of the same plugin on another node, with the same remote key; without it nothing is
    /// known about reading what another node wrote
    #[arg(long, value_name = "URL", requires = "socket")]
    pub other_socket: Option<String>,
    /// The container image that runs there, as an OCI archive (ci/image, `docker save`): the report and its statement are
    /// about it, if the process behind the socket is its program. Looking needs root
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// What is sent and how it is judged.
    #[command(flatten)]
    pub suite: Suite,
    /// Where results go.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// Folder that `run`, `check`, or `chaos` with `--out` wrote
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Where results go.
    #[command(flatten)]
    pub output: Output,
}

/// `report render`, `merge`, `compare`, `badge`, `table` and `digest`. A report is its file, or the folder of its bundle.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Render a report: one form to standard output, or all of them into a folder
    Render {
        /// The report
        #[arg(value_name = "REPORT")]
        report: PathBuf,
        /// Which form
        #[arg(long = "as", value_name = "FORM", value_parser = form())]
        form: Option<Form>,
        /// Folder for the rendered files; must not be there yet, or be empty
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Make one report of several on parts of one run; exits as that run would have
    Merge {
        /// The parts
        #[arg(value_name = "REPORT", required = true)]
        reports: Vec<PathBuf>,
        /// Where results go.
        #[command(flatten)]
        output: Output,
    },
    /// What became better or worse; exit code 1 if anything became worse
    Compare {
        /// The older report
        #[arg(value_name = "OLDER")]
        older: PathBuf,
        /// The newer one
        #[arg(value_name = "NEWER")]
        newer: PathBuf,
        /// What standard output gets
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// The badge that a report earns, as JSON for a badge service, or why there is none
    Badge {
        /// The report
        #[arg(value_name = "REPORT")]
        report: PathBuf,
    },
    /// A Markdown table of several reports, one line each
    Table {
        /// The reports
        #[arg(value_name = "REPORT", required = true)]
        reports: Vec<PathBuf>,
    },
    /// Digests of what reports say; equal ones say the same, whenever and wherever they were made
    Digest {
        /// The reports
        #[arg(value_name = "REPORT", required = true)]
        reports: Vec<PathBuf>,
    },
}

/// The words for the forms of a report.
fn form() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(Form::ALL.map(Form::name)).map(|word| {
        let mut forms = Form::ALL.into_iter();
        forms
            .find(|form| form.name() == word)
            .expect("the words are those of the forms")
    })
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only what binds this side
    #[arg(long, value_name = "plugin|apiserver", value_parser = side)]
    pub who: Option<Who>,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Such as KMS2-ENC-05; in any case, and without KMS2- as well
    #[arg(value_name = "ID")]
    pub id: String,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Where a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arm {
    /// Everything simulated, in virtual time; the plugin's source.
    Sim,
    /// Real processes, in real time.
    Process,
    /// A staging cluster, in real time.
    Cluster,
}

/// Options of `chaos`.
#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// Scenario files, or folders of them [default: the folder `scenarios` here or above]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Where they run
    #[arg(long, value_enum, default_value = "sim")]
    pub arm: Arm,
    /// The Vault of the process arm, as `run` has it: `sim` (built in), `openbao` or `vault` (a real server), `container`,
    /// or somebody's at these addresses, with a comma between them [default: sim]; of the cluster arm: the staging Vault's
    /// address
    #[arg(long, value_name = "sim|openbao|vault|container|ADDRESS")]
    pub vault: Option<String>,
    /// The image of `--vault container`
    #[arg(long, value_name = "NAME:TAG")]
    pub vault_image: Option<Image>,
    /// File with the administrator's token of `--vault ADDRESS` [default: VAULT_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub vault_token_path: Option<PathBuf>,
    /// The vault-kubernetes-kms binary of the process arm [default: built alone from the checkout]
    #[arg(long, value_name = "PATH")]
    pub plugin: Option<PathBuf>,
    /// Any other plugin, by a file that says how it is run
    #[arg(long, value_name = "FILE", conflicts_with = "plugin")]
    pub subject: Option<PathBuf>,
    /// A plugin that runs already: what happens to calls on its socket and in API servers, nothing else
    #[arg(long, value_name = "URL", conflicts_with_all = ["plugin", "subject"])]
    pub socket: Option<String>,
    /// The API servers of the process arm: `sim`, `real` or the path of a kube-apiserver (with the feature `kube`)
    /// [default: sim]
    #[arg(long, value_name = "sim|real|PATH")]
    pub apiserver: Option<String>,
    /// First seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Seeds for each scenario
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seeds: u64,
    /// Runs at a time [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub jobs: Option<u16>,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Folder for the result and the histories; must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The staging cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Options of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Only these [default: all]
    #[arg(value_name = "MUTANT", conflicts_with = "out")]
    pub mutants: Vec<String>,
    /// Plugins at a time [default: four per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub jobs: Option<u16>,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Folder for calibration.json, the result of the whole zoo; an older one there is replaced
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Options of `zoo`.
#[derive(Debug, Args)]
pub struct ZooArgs {
    /// Its id, as `calibrate` prints it
    #[arg(long, value_name = "ID", default_value = "honest")]
    pub mutant: String,
    /// Where it serves, unix:///PATH
    #[arg(long, value_name = "URL")]
    pub socket: String,
    /// Folder for its keys; the next one there goes on with them
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Port on 127.0.0.1 where it shows its metrics
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// A credential, which it has no use for: something to be kept from others
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The same in plain view
    #[arg(long, value_name = "TOKEN", hide = true)]
    pub token: Option<String>,
}

/// Options of `swarm`.
#[derive(Debug, Args)]
pub struct SwarmArgs {
    /// First seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub seeds: u64,
    /// Workers that share the seeds, each on its own
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub workers: Option<u64>,
    /// Which of them this is, from 0 on [default: JOB_COMPLETION_INDEX]
    #[arg(long, value_name = "N")]
    pub worker: Option<u64>,
    /// Runs at a time [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub jobs: Option<u16>,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Folder for the result, the report, and scenario and history of what is not a pass; must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Scenario file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Options of `shrink`.
#[derive(Debug, Args)]
pub struct ShrinkArgs {
    /// Scenario file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The seed with which it fails
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Runs at most
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub runs: u32,
}

/// `scenario check` and `scenario schema`.
#[derive(Debug, Subcommand)]
pub enum ScenarioCommand {
    /// Explain everything that is wrong with scenario files
    Check {
        /// Scenario files, or folders of them
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON schema of a scenario file
    Schema,
}

/// Options of `rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// enable, verify, rotate, migrate-from-local, back-to-local, disable, backup, restore, monitor, troubleshoot or
    /// collect; matrix (every fault at every phase of every migration path) or swarm (all of it drawn)
    #[arg(value_name = "PROCEDURE")]
    pub procedure: String,
    /// Of troubleshoot: invalid-config, permissions, key, degraded or migration
    #[arg(value_name = "CATEGORY")]
    pub category: Option<String>,
    /// What goes wrong: OCP-FAULT-01 to -29, OCP-TRAP-01 to -12; of matrix: key-rotated and the like [default: all]
    #[arg(long, value_name = "ID")]
    pub fault: Option<String>,
    /// Before which step it does [default: where it shows best]
    #[arg(long, value_name = "STEP")]
    pub at: Option<String>,
    /// The operators: those of the procedure (`seed`), their successors (`v2`), or those that rewrite everything after a
    /// rotation (`newest`) [default: seed, or what the fault needs]
    #[arg(long, value_name = "seed|v2|newest")]
    pub mode: Option<String>,
    /// Control plane nodes [default: 3, or what the fault needs]
    #[arg(long, value_name = "N")]
    pub nodes: Option<usize>,
    /// Objects that are stored before anything is encrypted [default: 500]
    #[arg(long, value_name = "N")]
    pub objects: Option<u64>,
    /// Of matrix: identity-to-kms, aescbc-to-kms, kms-to-kms or kms-to-identity [default: all]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Of matrix: when the fault happens, such as migration-middle [default: all]
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<String>,
    /// Of swarm: how many seeds, from --seed on [default: 100]
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// Of matrix and swarm: so many at a time [default: one for each core]
    #[arg(long, value_name = "N")]
    pub jobs: Option<u16>,
    /// Root of all randomness
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Where `doctor` and `collect` look. What is not named is not asked for, and said so.
#[derive(Debug, Args)]
pub struct GatherArgs {
    /// A cluster, by its kubeconfig; needs a build with --features kube. Rights, less of them are less that is seen: get
    /// and list on the objects of OpenShift's operators and on clusteroperators, on pods, their logs, events and secrets in the namespaces of API
    /// servers and operators, on storageversionmigrations, and get on /readyz and /metrics
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A plugin's socket on this machine
    #[arg(long, value_name = "unix:///PATH")]
    pub socket: Option<String>,
    /// The log of that plugin: a file, such as journalctl or crictl gives
    #[arg(long, value_name = "FILE")]
    pub plugin_log: Option<PathBuf>,
    /// Vault's address; its CA is VAULT_CACERT. Without a token only sys/health is asked
    #[arg(long, value_name = "ADDRESS")]
    pub vault: Option<String>,
    /// File with a token that may read the key [default: VAULT_TOKEN]
    #[arg(long, value_name = "FILE", requires = "vault")]
    pub vault_token_path: Option<PathBuf>,
    /// File with the plugin's own token: what a plugin does is tried with it, an encryption of a text of the doctor's own
    /// included
    #[arg(long, value_name = "FILE", requires = "vault")]
    pub plugin_token_path: Option<PathBuf>,
    /// The Transit key
    #[arg(
        long,
        value_name = "MOUNT/keys/NAME",
        default_value = "transit/keys/kms-key",
        requires = "vault"
    )]
    pub vault_key: String,
    /// Its namespace
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "",
        hide_default_value = true,
        requires = "vault"
    )]
    pub vault_namespace: String,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Where to look.
    #[command(flatten)]
    pub gather: GatherArgs,
    /// What was gathered before: a folder of `collect`, the folder of a run, or one with the documents that collect --help
    /// names
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "socket", "plugin_log", "vault"])]
    pub bundle: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Options of `collect`.
#[derive(Debug, Args)]
#[command(after_help = documents())]
pub struct CollectArgs {
    /// Where to look.
    #[command(flatten)]
    pub gather: GatherArgs,
    /// The folder of a run, or one with the documents below, instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "socket", "plugin_log", "vault"])]
    pub from: Option<PathBuf>,
    /// File with words that must not be in the bundle, one a line: it is searched for them, too
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// Folder for the bundle; must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What standard output gets
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// The documents of `collect --from`.
fn documents() -> String {
    let rows = kms_doctor::raw::DOCUMENTS.iter();
    let rows = rows.map(|(name, what)| format!("  {name:<40} {what}\n"));
    format!("Documents of --from:\n{}", rows.collect::<String>())
}

/// Options of `apiserver`. Those of the real server that have no meaning here are taken and ignored.
#[derive(Debug, Args)]
pub struct ApiServerArgs {
    /// The address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind_address: String,
    /// The port to listen on, 0 for any; HTTPS with --tls-cert-file, else plain HTTP
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub secure_port: u16,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_private_key_file: Option<PathBuf>,
    /// Bearer tokens, one a line in the first column; without it everybody may do everything
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// etcd to store in, http://HOST:PORT; in memory without it
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// What keys in the store begin with
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub etcd_prefix: String,
    /// The EncryptionConfiguration
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Take up changes of that file
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub encryption_provider_config_automatic_reload: bool,
    /// The version whose behaviour is shown, 1.27 to 1.37
    #[arg(long, value_name = "1.NN", default_value = "1.37", value_parser = emulated)]
    pub emulated_version: kms_apiserver::version::Version,
    /// ConcurrentWatchObjectDecode and AllowUnsafeMalformedObjectDeletion, each =true or =false
    #[arg(long, value_name = "NAME=BOOL", value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Answer lists of the newest state from the cache; never so on an etcd before 3.4.25 or 3.5.8
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub list_from_cache: bool,
    /// How much is logged
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 2)]
    pub verbosity: u8,
    /// Taken and ignored.
    #[command(flatten)]
    pub ignored: Ignored,
}

/// Flags of the real server that the simulated one has no use for.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "they mean nothing here")]
pub struct Ignored {
    #[arg(long, hide = true)]
    pub advertise_address: Option<String>,
    #[arg(long, hide = true)]
    pub authorization_mode: Option<String>,
    #[arg(long, hide = true)]
    pub cert_dir: Option<String>,
    #[arg(long, hide = true)]
    pub disable_admission_plugins: Option<String>,
    #[arg(long, hide = true)]
    pub endpoint_reconciler_type: Option<String>,
    #[arg(long, hide = true)]
    pub service_account_issuer: Option<String>,
    #[arg(long, hide = true)]
    pub service_account_key_file: Option<String>,
    #[arg(long, hide = true)]
    pub service_account_signing_key_file: Option<String>,
    #[arg(long, hide = true)]
    pub service_cluster_ip_range: Option<String>,
}

fn emulated(text: &str) -> Result<kms_apiserver::version::Version, String> {
    text.parse()
        .map_err(|error: kms_apiserver::version::UnknownVersion| error.to_string())
}

/// The longer profiles need scenarios.
fn profile(text: &str) -> Result<Profile, String> {
    let mut profiles = Profile::ALL.into_iter();
    let found = profiles.find(|profile| profile.as_str() == text);
    found.ok_or_else(|| format!("it is {}", Profile::ALL.map(Profile::as_str).join(", ")))
}

fn side(text: &str) -> Result<Who, String> {
    match text {
        "plugin" => Ok(Who::Plugin),
        "apiserver" => Ok(Who::ApiServer),
        _ => Err("plugin or apiserver".to_owned()),
    }
}
