//! `sim-vault`: the simulated Vault or OpenBao as a process.

use std::{fs, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use sim_vault::{Flavour, InitFile, Options, SimVault, server::Tls};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// A simulated Vault or OpenBao for tests. Prints one JSON line when it serves; SIGTERM ends it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address of the API; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8200")]
    listen: SocketAddr,
    /// Address of the control API (faults, manipulations).
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// The root token.
    #[arg(
        long,
        default_value = "root",
        env = "SIM_VAULT_ROOT_TOKEN",
        hide_env_values = true
    )]
    root_token: String,
    /// Whose answers to give.
    #[arg(long, value_enum, default_value = "openbao")]
    flavour: FlavourName,
    /// Vault Enterprise (namespaces, performance standbys, licence) as its documents describe it; with `--flavour vault`.
    #[arg(long)]
    enterprise: bool,
    /// Serve HTTPS with a certificate of an own authority, whose PEM file the JSON line names.
    #[arg(long)]
    tls: bool,
    /// TOML with policies, mounts, keys, roles, users, tokens, namespaces to begin with.
    #[arg(long)]
    init_file: Option<PathBuf>,
    /// Seed of all randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum FlavourName {
    Openbao,
    Vault,
}

#[expect(
    clippy::print_stderr,
    reason = "a command line tool tells its user what went wrong"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime
        .context("cannot start the runtime")
        .and_then(|r| r.block_on(run(arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim-vault: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let flavour = match arguments.flavour {
        FlavourName::Openbao => Flavour::OpenBao,
        FlavourName::Vault => Flavour::Vault,
    };
    anyhow::ensure!(
        !arguments.enterprise || flavour == Flavour::Vault,
        "--enterprise needs --flavour vault: OpenBao has no such edition"
    );
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("--listen {}", arguments.listen))?;
    let control = TcpListener::bind(arguments.control)
        .await
        .with_context(|| format!("--control {}", arguments.control))?;
    let address = listener.local_addr()?;
    let scheme = if arguments.tls { "https" } else { "http" };
    let started = wall_clock();
    let vault = SimVault::new(Options {
        flavour,
        enterprise: arguments.enterprise,
        root_token: arguments.root_token.clone(),
        seed: arguments.seed,
        start_unix: started.as_secs(),
        api_addr: format!("{scheme}://{address}"),
        ..Options::default()
    });
    // whole seconds of the model are whole seconds of the wall clock
    vault.advance(Duration::from_nanos(u64::from(started.subsec_nanos())));
    if let Some(path) = &arguments.init_file {
        let text =
            fs::read_to_string(path).with_context(|| format!("--init-file {}", path.display()))?;
        let file =
            InitFile::parse(&text).with_context(|| format!("--init-file {}", path.display()))?;
        vault
            .load(&file)
            .with_context(|| format!("--init-file {}", path.display()))?;
    }
    let mut line = serde_json::json!({
        "address": format!("{scheme}://{address}"),
        "control": format!("http://{}", control.local_addr()?),
        "root_token": arguments.root_token,
        "unseal_keys": vault.core(|core| core.unseal_keys()),
    });
    let mut ca_file = None;
    let tls = if arguments.tls {
        let tls = Tls::new(vec![address.ip().to_string(), "localhost".to_owned()])?;
        let path = std::env::temp_dir().join(format!("sim-vault-ca-{}.pem", address.port()));
        fs::write(&path, &tls.ca_pem)
            .with_context(|| format!("cannot write {}", path.display()))?;
        line["ca_file"] = path.display().to_string().into();
        ca_file = Some(path);
        Some(tls)
    } else {
        None
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    drop(stdout);
    let served = tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        served = vault.listen(listener, tls.as_ref()) => served.context("the API listener failed"),
        served = vault.listen_control(control) => served.context("the control listener failed"),
    };
    if let Some(path) = ca_file {
        // it may be gone already: nothing is lost
        let _ = fs::remove_file(path);
    }
    served
}

/// The model's clock starts at the real time: clients compare token times with their own clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the process is the outermost arm: it owns the wall clock"
)]
fn wall_clock() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
