//! One run of the suite on one plugin, from the first stimulus to the sealed bundle.
//!
//! The bundle grows as the run goes: a valid report in which nothing was judged comes first, the
//! transcript line by line, the final report last. So a run that is cut off claims nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use kms_conformance::{BoxFuture, Options, Progress, Recorder, Target};
use kms_history::file::Writer;
use kms_history::{Header, History};
use kms_report::model::{
    Attachment, Environment, Finding, Origin, Report, Severity, Subject, Trust,
};
use kms_report::{Form, Inputs, exit_code};
use tokio::time::timeout;
use uuid::Uuid;

use super::library::Seen;
use super::{calibrate, list};
use crate::bundle::{Bundle, Unusable, WholeLines, holds};
use crate::cli::{Format, Output, Suite};
use crate::exit::{self, Failure};
use crate::interrupt::Interrupt;
use crate::plan::Planned;
use crate::subject::own;
use crate::{console, environment, evidence};

/// Name of the transcript in a bundle.
pub const HISTORY: &str = "history.jsonl";
/// Name of the report in a bundle.
pub const REPORT: &str = "report.json";
/// Name of the plugin's log in a bundle.
pub const LOG: &str = "plugin.log";

/// Limit for the last look at the socket.
const CONNECTS: Duration = Duration::from_secs(3);
/// A plugin that was there and ended.
const GONE: &str = "the plugin was gone when the run ended";
/// Name of the log of a second node in a bundle.
pub const OTHER_LOG: &str = "other-node.log";
/// Name of the log of all processes that were started for one question each.
pub const SPARES_LOG: &str = "spares.log";

/// What was judged, and where.
pub struct Judged {
    /// The plugin.
    pub subject: Subject,
    /// The machine.
    pub environment: Environment,
    /// Credentials of the run: no file of the bundle may hold one.
    pub secrets: Vec<String>,
}

/// A run in progress.
pub struct Session {
    bundle: Bundle,
    plan: Planned,
    options: Options,
    format: Format,
    profile: kms_contract::Profile,
    server: Option<kms_contract::Minor>,
    run_id: String,
    last: Option<Last>,
}

/// What is done after all stimuli, into the same transcript.
pub type Last = Box<dyn FnOnce(Recorder) -> BoxFuture<'static, ()>>;

/// A run that has sent what it had to send.
pub struct Sent {
    history: History,
    interrupted: bool,
    gone: bool,
    unwritten: Option<anyhow::Error>,
}

impl Sent {
    /// A signal ended it after all stimuli.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Whether a signal ended it.
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }
}

impl Session {
    /// Opens the bundle of a run on the plugin called `subject`.
    pub fn start(
        suite: &Suite,
        output: &Output,
        mut plan: Planned,
        subject: &str,
    ) -> Result<Self, Failure> {
        plan.option("profile", suite.profile.as_str());
        let version = suite
            .server_version
            .map_or("every supported one".to_owned(), |v| v.to_string());
        plan.option("server-version", version);
        plan.option("seed", suite.seed);
        let run_id = run_id();
        let bundle = open_bundle(output, subject, suite.profile.as_str(), &run_id)?;
        let options = Options {
            profile: suite.profile.as_str().to_owned(),
            server_version: suite.server_version.map(|minor| u32::from(minor.0)),
            seed: suite.seed,
            progress: Some(Arc::new(shower())),
            ..Options::default()
        };
        options
            .validate()
            .map_err(|error| Failure::Usage(error.into()))?;
        plan.set("round-trips", options.round_trips, Origin::Default);
        plan.set(
            "call-timeout",
            format!("{} ms", options.timeout.as_millis()),
            Origin::Default,
        );
        Ok(Self {
            bundle,
            plan,
            options,
            format: output.format,
            profile: suite.profile,
            server: suite.server_version,
            run_id,
            last: None,
        })
    }

    /// Has something done after all stimuli.
    pub fn at_last(&mut self, last: Last) {
        self.last = Some(last);
    }

    /// The folder being filled.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Sends all stimuli, until they end or a signal comes.
    pub async fn send(
        &mut self,
        target: &Target,
        judged: &Judged,
        interrupt: &Interrupt,
    ) -> Result<Sent, Failure> {
        let header = self.options.header();
        self.write_report(&self.report(
            &empty(&header),
            judged,
            Vec::new(),
            Seen {
                limits: vec!["the run has not ended".to_owned()],
                ..Seen::default()
            },
        )?)?;
        let trouble = Arc::new(Mutex::new(None));
        let recorder = self.recorder(header, Arc::clone(&trouble))?;
        let last = self.last.take();
        let work = async {
            let ended = kms_conformance::run(target, &self.options, &recorder).await;
            if let (Ok(_), Some(last)) = (&ended, last) {
                last(recorder.clone()).await;
            }
            ended
        };
        let ran = interrupt.or(work).await;
        console::clear();
        let interrupted = match ran {
            Ok(ended) => ended
                .map(|_| false)
                .map_err(|error| Failure::Usage(error.into()))?,
            Err(_) => true,
        };
        // It may have died after the last call that a smaller profile asks for, and held until then.
        let history = recorder.history();
        let was_there = history.calls().any(|call| call.answer().is_some());
        let there = async { timeout(CONNECTS, target.connect.connect()).await };
        let gone = !interrupted && was_there && !matches!(there.await, Ok(Ok(_)));
        let unwritten = trouble
            .lock()
            .expect("no code panics while it holds this lock")
            .take();
        Ok(Sent {
            history,
            interrupted,
            gone,
            unwritten,
        })
    }

    /// Judges, writes and seals the bundle, and prints the result. The plugin has stopped by now, so
    /// its log is whole. The exit code.
    pub fn finish(self, sent: Sent, mut judged: Judged, mut seen: Seen) -> Result<u8, Failure> {
        judged.environment.load_after = environment::load();
        judged.subject.observed.status_version = evidence::status_version(&sent.history);
        judged.subject.observed.key_id_hash = evidence::key_id_hash(&sent.history);
        judged.subject.capabilities.observed = evidence::capabilities(&sent.history);
        judged.subject.capabilities.method = Some("seen in the transcript".to_owned());
        let mut findings = Vec::new();
        for log in [LOG, OTHER_LOG, SPARES_LOG] {
            findings.extend(self.clean_log(log, &judged.secrets)?);
        }
        self.bundle
            .write("plan.toml", self.plan.to_toml().as_bytes())?;
        self.bundle
            .write("registry.json", list::registry()?.as_bytes())?;
        if sent.interrupted {
            let limit = "the run was interrupted by a signal";
            seen.limits.push(limit.to_owned());
        }
        if sent.gone {
            seen.limits.push(GONE.to_owned());
        }
        let report = self.report(&sent.history, &judged, findings, seen)?;
        self.write_report(&report)?;
        let secrets: Vec<&str> = judged.secrets.iter().map(String::as_str).collect();
        self.bundle.search(&secrets)?;
        self.bundle.seal()?;
        let code = match (sent.interrupted, &sent.unwritten) {
            (true, _) => exit::INTERRUPTED,
            (_, Some(_)) => exit::INCONCLUSIVE,
            _ => match exit_code(&report) {
                exit::HELD if sent.gone => exit::INCONCLUSIVE,
                code => code,
            },
        };
        let ended = match (sent.interrupted, sent.gone) {
            (true, _) => Some(format!("interrupted: exit code {code}")),
            (_, true) => Some(format!("{GONE}: exit code {code}")),
            _ => None,
        };
        print(&report, self.format, &self.bundle, ended)?;
        match sent.unwritten {
            Some(error) => Err(Failure::Harness(error)),
            None => Ok(code),
        }
    }

    fn recorder(
        &self,
        header: Header,
        trouble: Arc<Mutex<Option<anyhow::Error>>>,
    ) -> Result<Recorder, Failure> {
        let path = self.bundle.path(HISTORY);
        let file = File::create(&path).with_context(|| format!("write {}", path.display()))?;
        let mut writer = Writer::new(WholeLines::new(file), &header)
            .with_context(|| format!("write {}", path.display()))?;
        let sink = move |event: &kms_history::Event| {
            if let Err(error) = writer.event(event) {
                let error = anyhow!(error).context(format!("write {}", path.display()));
                trouble
                    .lock()
                    .expect("no code panics while it holds this lock")
                    .get_or_insert(error);
            }
        };
        Ok(Recorder::with_sink(header, Box::new(sink)))
    }

    fn report(
        &self,
        history: &History,
        judged: &Judged,
        findings: Vec<Finding>,
        seen: Seen,
    ) -> Result<Report, Failure> {
        let inputs = Inputs {
            report_id: Uuid::new_v4().to_string(),
            run_id: self.run_id.clone(),
            created_at: now(),
            generated_by: generated_by(),
            derived_from: None,
            suite: kms_report::model::Suite {
                scenarios_digest: seen.scenarios_digest(),
                ..environment::suite()
            },
            trust: Trust {
                calibration: calibrate::kept::trusted(),
                determinism: seen.determinism,
                ..Trust::default()
            },
            subject: judged.subject.clone(),
            environment: judged.environment.clone(),
            plan: self.plan.plan(),
            profile: self.profile,
            server: self.server,
            checks: [kms_judge::judge(history), seen.checks].concat(),
            scenarios: seen.rows,
            latency: [evidence::latency(history), evidence::series(seen.latency)].concat(),
            properties: evidence::properties(history),
            findings,
            limits: seen.limits,
            attachments: attachments(&self.bundle)?,
        };
        kms_report::build(inputs).map_err(|error| Failure::Harness(error.into()))
    }

    fn write_report(&self, report: &Report) -> Result<(), Failure> {
        write_report(&self.bundle, report)
    }

    /// A credential in the plugin's log is a finding about the plugin, and is taken out of our copy.
    fn clean_log(&self, name: &str, secrets: &[String]) -> Result<Option<Finding>, Failure> {
        let Ok(log) = std::fs::read(self.bundle.path(name)) else {
            return Ok(None);
        };
        let wanted: Vec<&str> = secrets.iter().map(String::as_str).collect();
        if !holds(&log, &wanted) {
            return Ok(None);
        }
        let mut text = String::from_utf8_lossy(&log).into_owned();
        for secret in wanted.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[credential]");
        }
        self.bundle.write(name, text.as_bytes())?;
        Ok(Some(Finding {
            title: "the plugin's log holds a credential that it was given".to_owned(),
            severity: Severity::High,
            requirements: vec!["KMS2-SEC-01".to_owned()],
            scenario_runs: Vec::new(),
            evidence: vec![name.to_owned()],
        }))
    }
}

/// Prints a report's summary, with how the run ended where that decides the exit code; or the report itself.
pub fn print(
    report: &Report,
    format: Format,
    bundle: &Bundle,
    ended: Option<String>,
) -> Result<(), Failure> {
    let text = match format {
        Format::Json => kms_report::to_json(report),
        Format::Text => {
            let folder = bundle.folder().display().to_string();
            let mut lines = kms_report::console::summary(report, &folder);
            lines.extend(ended);
            lines.join("\n") + "\n"
        }
    };
    Ok(console::result(&text).context("print the report")?)
}

/// Writes a report and everything that is rendered from it. A run that must not be attested has no statement.
pub fn write_report(bundle: &Bundle, report: &Report) -> Result<(), Failure> {
    bundle.write(REPORT, kms_report::to_json(report).as_bytes())?;
    for form in Form::ALL {
        if let Ok(text) = form.render(report) {
            bundle.write(form.file(), text.as_bytes())?;
        }
    }
    write_latency(bundle, report)
}

/// Writes the report's latencies in a form of their own.
pub fn write_latency(bundle: &Bundle, report: &Report) -> Result<(), Failure> {
    for (name, text) in kms_report::latency_files(report) {
        bundle.write(&name, text.as_bytes())?;
    }
    Ok(())
}

/// Opens the folder that was asked for, or a fresh one.
pub fn open_bundle(
    output: &Output,
    subject: &str,
    profile: &str,
    run_id: &str,
) -> Result<Bundle, Failure> {
    let folder = match &output.out {
        Some(folder) => folder.clone(),
        None => default_parent().join(format!("{subject}-{profile}-{}", run_id.replace(':', ""))),
    };
    Bundle::create(&folder).map_err(|unusable| match unusable {
        Unusable::Taken(error) => Failure::Usage(error),
        Unusable::Unwritable(error) => Failure::Harness(error),
    })
}

/// Shared by all reports on one run: when it began, and something random.
pub fn run_id() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{}-{}", now(), &random[..4])
}

/// Now, RFC 3339 in UTC, whole seconds.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Program and version.
pub fn generated_by() -> String {
    format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// The files of a bundle besides the report and its renderings, with digests.
pub fn attachments(bundle: &Bundle) -> Result<Vec<Attachment>, Failure> {
    const KNOWN: [(&str, &str, &str, &str); 7] = [
        (
            HISTORY,
            "application/jsonl",
            "payloads as lengths and digests",
            "everything sent and answered",
        ),
        (
            LOG,
            "text/plain",
            "credentials of the run replaced",
            "what the plugin printed, over all its starts",
        ),
        (
            OTHER_LOG,
            "text/plain",
            "credentials of the run replaced",
            "what the same plugin printed as a second node",
        ),
        (
            SPARES_LOG,
            "text/plain",
            "credentials of the run replaced",
            "what it printed as the processes that were started for one question each",
        ),
        (
            "plan.toml",
            "application/toml",
            "options by name, paths shortened",
            "every value of the run and its origin",
        ),
        (
            "registry.json",
            "application/json",
            "none needed",
            "the requirements that were judged by",
        ),
        (
            "restart.log",
            "text/plain",
            "none",
            "what the restart command printed",
        ),
    ];
    let mut found = Vec::new();
    for (path, media_type, redaction, describes) in KNOWN {
        if bundle.path(path).is_file() {
            let (size, sha256) = bundle.digest(path)?;
            let text = |text: &str| text.to_owned();
            found.push(Attachment {
                path: text(path),
                media_type: text(media_type),
                sha256,
                size,
                redaction: text(redaction),
                describes: text(describes),
            });
        }
    }
    Ok(found)
}

fn default_parent() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(own::workspace()?.join("target")))
        .filter(|folder| folder.is_dir());
    target
        .unwrap_or_else(std::env::temp_dir)
        .join("kms-harness")
}

fn empty(header: &Header) -> History {
    History::new(header.clone(), Vec::new()).expect("no events cannot contradict")
}

/// Shows how far a stimulus is. Some begin twice, once as a stage and once with their own count.
fn shower() -> impl Fn(Progress) {
    let last = Mutex::new("");
    move |Progress {
              stimulus,
              done,
              total,
          }| {
        let mut last = last
            .lock()
            .expect("no code panics while it holds this lock");
        console::progress(stimulus, done, total, *last != stimulus);
        *last = stimulus;
    }
}
