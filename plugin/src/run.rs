//! A run of the program: from arguments to an exit code.

use std::cell::OnceCell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{interval, sleep};

use crate::config::{self, Command, Config, DoctorArgs, Findings, Invocation, Resolved};
use crate::doctor;
use crate::event::Event;
use crate::http::{Listeners, Pages};
use crate::log::Log;
use crate::log::sink::Sink;
use crate::metrics::Metrics;
use crate::plugin::Plugin;
use crate::process::notify::Notifier;
use crate::process::world::{self, FileSecrets, SystemClock};
use crate::process::{Asked, Signals, Tee, harden};
use crate::seam::Observer;
use crate::socket::{self, Handle, SocketOptions};

/// Stopped by a signal.
pub const STOPPED: u8 = 0;
/// Could not go on: the socket belongs to somebody else, or the system refused something.
pub const FAILED: u8 = 1;
/// The configuration is wrong.
pub const CONFIGURATION: u8 = 2;

/// The plugin finishes within 5.5 s by itself; whatever may hang then is left behind.
const STOP_LIMIT: Duration = Duration::from_secs(7);
/// For the last lines of the log.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// The whole program.
pub fn main_impl() -> ExitCode {
    // Before any secret is read.
    let hardened = harden();
    match config::resolve_from_process(&FileSecrets) {
        Err(errors) => {
            let lines = errors.iter().map(ToString::to_string);
            print_lines(io::stderr(), lines);
            ExitCode::from(CONFIGURATION)
        }
        Ok(Invocation::Print { text, warnings }) => {
            print_lines(
                io::stderr(),
                warnings.iter().map(|text| format!("warning: {text}")),
            );
            print_lines(io::stdout(), [text.trim_end().to_owned()].into_iter());
            ExitCode::from(STOPPED)
        }
        Ok(Invocation::Run(resolved)) => match resolved.command {
            Command::Serve => serve(*resolved, hardened),
            Command::Doctor(args) => {
                ExitCode::from(examine(&resolved.config, &args, &resolved.warnings))
            }
        },
    }
}

/// The `doctor` subcommand.
fn examine(config: &Config, args: &DoctorArgs, warnings: &[String]) -> u8 {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_lines(io::stderr(), [error.to_string()].into_iter());
            return doctor::BLIND;
        }
    };
    let env = world::env(Arc::new(Tee::new(Vec::new())));
    let rows = runtime.block_on(Box::pin(doctor::examine(config, args, warnings, &env)));
    runtime.shutdown_background();
    let text = match args.format {
        Findings::Text => doctor::text(&rows),
        Findings::Json => doctor::json(&rows),
    };
    print_lines(io::stdout(), [text.trim_end().to_owned()].into_iter());
    doctor::exit_code(&rows)
}

/// A reader that has gone away, such as `head`, is no failure.
fn print_lines(mut to: impl Write, lines: impl Iterator<Item = String>) {
    for line in lines {
        if writeln!(to, "{line}").is_err() {
            return;
        }
    }
}

/// Serves until a signal or a lost socket.
fn serve(resolved: Resolved, hardened: io::Result<()>) -> ExitCode {
    let Resolved {
        config,
        warnings,
        settings,
        ..
    } = resolved;
    let sink = match Sink::start(io::stderr()) {
        Ok(sink) => sink,
        Err(_) => return ExitCode::from(FAILED),
    };
    let log = Arc::new(Log::new(
        config.log_level,
        config.log_format,
        Arc::new(SystemClock),
        sink.clone(),
    ));
    let metrics = Arc::new(Metrics::new(&config));
    let observer: Arc<dyn Observer> = Arc::new(Tee::new(vec![log.clone(), metrics.clone()]));
    crate::log::panic::install(observer.clone());
    if let Err(error) = hardened {
        warn(
            &*observer,
            &format!("cannot forbid core dumps and tracing of this process: {error}"),
        );
    }
    note(
        &*observer,
        &format!(
            "starting version {}: {}",
            env!("CARGO_PKG_VERSION"),
            config::settings_line(&settings)
        ),
    );
    for text in &warnings {
        warn(&*observer, text);
    }

    // A panic outside of any task has been logged by the hook.
    let code = catch_unwind(AssertUnwindSafe(|| {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let code = runtime.block_on(Box::pin(run(config, metrics, observer.clone())));
                // A name lookup that hangs has a thread, and must not hold up the end.
                runtime.shutdown_background();
                code
            }
            Err(error) => {
                warn(&*observer, &format!("cannot start the runtime: {error}"));
                FAILED
            }
        }
    }))
    .unwrap_or(FAILED);
    log.flush();
    sink.flush(FLUSH_LIMIT);
    ExitCode::from(code)
}

async fn run(config: Config, metrics: Arc<Metrics>, observer: Arc<dyn Observer>) -> u8 {
    // First of all, so that a stop during the start is one.
    let mut signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => {
            warn(&*observer, &format!("cannot listen for signals: {error}"));
            return FAILED;
        }
    };
    let notifier = Notifier::from_environment().unwrap_or_else(|error| {
        warn(&*observer, &format!("cannot notify systemd: {error}"));
        Notifier::silent()
    });
    let options = SocketOptions {
        path: config.socket.clone(),
        mode: config.socket_mode,
        group: config.socket_group.clone(),
    };
    let opened = tokio::select! {
        biased;
        () = stop_asked(&mut signals) => return STOPPED,
        opened = socket::open(options, observer.clone()) => opened,
    };
    let (incoming, mut socket) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            warn(&*observer, &format!("cannot open the socket: {error}"));
            return if error.is_configuration() {
                CONFIGURATION
            } else {
                FAILED
            };
        }
    };
    note(
        &*observer,
        &format!("serving at {}", config.socket.display()),
    );

    // The socket first: nothing about these ports is worth holding it up (BUG-073).
    let (health, metrics_at) = (config.health, config.metrics);
    let plugin = Plugin::new(config, world::env(observer.clone()));
    let asked = plugin.clone();
    let pages = Pages {
        readiness: Arc::new(move || asked.readiness()),
        metrics,
    };
    let listeners = Listeners::start(health, metrics_at, &pages, &observer);
    notifier.ready();

    let outcome = OnceCell::new();
    let (stop, stopped) = oneshot::channel();
    let mind = async {
        match control(&mut signals, &mut socket, &notifier, &plugin, &outcome).await {
            None => note(
                &*observer,
                "asked to stop: the socket is free, finishing calls",
            ),
            Some(reason) => warn(&*observer, &format!("{reason}: finishing and giving up")),
        }
        notifier.stopping();
        // A successor may want the ports as well.
        drop(listeners);
        // Fails when the end of its stream has told the server already.
        let _ = stop.send(());
        sleep(STOP_LIMIT).await;
        warn(&*observer, "calls in flight did not end in time");
    };
    let served = plugin.clone().serve(incoming, async {
        // The sender lives as long as this future's owner.
        let _ = stopped.await;
    });
    tokio::select! {
        biased;
        () = mind => {}
        () = served => {}
    }
    outcome.get().copied().unwrap_or_else(|| {
        warn(&*observer, "the server ended without being asked to");
        FAILED
    })
}

/// Minds signals, the socket and the supervisor's watchdog until it is time to stop, and sets the
/// exit code. With a signal the path has been handed over then; otherwise the answer says how it
/// was lost.
async fn control(
    signals: &mut Signals,
    socket: &mut Handle,
    notifier: &Notifier,
    plugin: &Plugin,
    outcome: &OnceCell<u8>,
) -> Option<String> {
    let mut lost = std::pin::pin!(socket.lost());
    let mut alive = std::pin::pin!(keep_alive(notifier));
    loop {
        tokio::select! {
            biased;
            asked = signals.next() => match asked {
                Asked::Reload => plugin.reload(),
                Asked::Stop => {
                    // Before the hand-over, which may end the server.
                    outcome.set(STOPPED).expect("set once, here or below");
                    socket.release().await;
                    return None;
                }
            },
            reason = &mut lost => {
                outcome.set(FAILED).expect("set once, here or above");
                return Some(reason);
            }
            () = &mut alive => {}
        }
    }
}

/// Tells the supervisor that the runtime turns, for ever.
async fn keep_alive(notifier: &Notifier) {
    let Some(period) = notifier.alive_every() else {
        return std::future::pending().await;
    };
    let mut due = interval(period);
    loop {
        due.tick().await;
        notifier.alive();
    }
}

async fn stop_asked(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

fn warn(observer: &dyn Observer, text: &str) {
    observer.event(&Event::Notice { warn: true, text });
}

fn note(observer: &dyn Observer, text: &str) {
    observer.event(&Event::Notice { warn: false, text });
}
