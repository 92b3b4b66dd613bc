//! A child process that never outlives its owner.
//!
//! Whatever ends the harness (a normal end, an error, a panic, Ctrl-C), dropping a [`Child`] kills
//! its whole process group and reaps it. Where the system has `setpriv`, the kernel also kills the
//! child when the harness itself is killed outright. Not for: knowing what the child is or when it
//! is ready.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// How often a child that was asked to stop is looked at. The kernel tells nobody without a
/// SIGCHLD handler, and one wait this long decides nothing.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How many lines of its log a message about its end shows.
const LAST_WORDS: usize = 15;

/// Variables that a child gets from the harness's own environment. Everything else is stated in
/// its [`Launch`], so that a run does not depend on the `VAULT_*` of whoever started it.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Name for messages, such as `plugin`.
    pub name: String,
    /// The program; looked up on PATH when it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, besides PATH, HOME, TMPDIR and LANG.
    pub environment: BTreeMap<String, String>,
    /// File that its output is appended to.
    pub log: PathBuf,
}

impl Launch {
    /// A program with its log, and HOME, in `folder`: half of what is started would write into the
    /// user's home otherwise.
    pub fn new(name: &str, program: &Path, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            args: Vec::new(),
            environment: BTreeMap::from([("HOME".to_owned(), folder.display().to_string())]),
            log: folder.join(format!("{name}.log")),
        }
    }
}

/// How a child ended that was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// By itself, inside the time it was given.
    Itself(ExitStatus),
    /// It did not stop and was killed.
    Killed,
}

/// A running child process.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: PathBuf,
    inner: std::process::Child,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts `launch` in a process group of its own, so that a Ctrl-C in the terminal reaches the
    /// harness alone and children stop in the right order.
    pub fn spawn(launch: &Launch) -> Result<Self> {
        let program = find_program(&launch.program).with_context(|| {
            format!(
                "start {}: no program {}",
                launch.name,
                launch.program.display()
            )
        })?;
        let log = File::options()
            .append(true)
            .create(true)
            .open(&launch.log)
            .with_context(|| format!("open the log {}", launch.log.display()))?;
        let mut command = match find_program(Path::new("setpriv")) {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command
            .args(&launch.args)
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs(&launch.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log)
            .process_group(0);
        let inner = command
            .spawn()
            .with_context(|| format!("start {}: {}", launch.name, program.display()))?;
        Ok(Self {
            name: launch.name.clone(),
            log: launch.log.clone(),
            inner,
            ended: None,
        })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        // Looked at without reaping: as long as the leader is a zombie its group id is ours, so
        // what it left behind can still be killed safely.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if self.ended.is_none()
            && !matches!(
                waitid(Id::Pid(self.pid()), look),
                Ok(WaitStatus::StillAlive)
            )
        {
            self.kill();
        }
        self.ended
    }

    /// Sends a signal to the process itself; nothing when it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited().is_some() {
            return Ok(());
        }
        kill(self.pid(), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// An error that shows the end of the log if the process has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.exited() {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended early ({}); its last words:\n{}",
                self.name,
                describe(status),
                self.last_words()
            ),
        }
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        log_tail(&self.log, LAST_WORDS)
    }

    /// Waits for its end, at most `within`.
    pub async fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Asks it to stop by `signal`; kills it when it has not ended `within`.
    pub async fn stop(&mut self, signal: Signal, within: Duration) -> Result<Stopped> {
        self.signal(signal)?;
        if let Some(status) = self.wait(within).await {
            return Ok(Stopped::Itself(status));
        }
        self.kill();
        Ok(Stopped::Killed)
    }

    /// Kills the whole group and reaps the child; nothing when that was done before.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            self.ended = self.inner.wait().ok();
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.inner.id().cast_signed())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An exit status in words: `exit code 2`, `signal SIGKILL`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => Signal::try_from(number).map_or_else(
            |_| format!("signal {number}"),
            |name| format!("signal {name}"),
        ),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// The file that a program name means: itself when it has a slash, else the first on PATH.
pub fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return is_program(name).then(|| name.to_owned());
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// The last lines of a child's log, for a message about why it did not come up.
pub fn log_tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let tail = &all[all.len().saturating_sub(lines)..];
    if tail.is_empty() {
        "(nothing was logged)".to_owned()
    } else {
        tail.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Child {
        let launch = Launch {
            name: "script".to_owned(),
            program: "sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]),
            log: folder.join("log"),
        };
        Child::spawn(&launch).unwrap()
    }

    async fn logged(folder: &Path, wanted: &str) -> String {
        for _ in 0..500 {
            let log = std::fs::read_to_string(folder.join("log")).unwrap();
            if log.contains(wanted) {
                return log;
            }
            sleep(LOOK_EVERY).await;
        }
        panic!("{wanted:?} was never logged");
    }

    fn alive(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn gone(pid: &str) -> bool {
        for _ in 0..500 {
            if !alive(pid) {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Dropped in a panic or ended by itself: what the child started goes with it.
    #[tokio::test]
    async fn grandchildren_do_not_stay() {
        for end in ["wait", "exit 3"] {
            let folder = tempfile::tempdir().unwrap();
            let mut child = shell(&format!("sleep 1000 & echo pid=$!.; {end}"), folder.path());
            let log = logged(folder.path(), ".").await;
            let grandchild = log
                .trim()
                .trim_start_matches("pid=")
                .trim_end_matches('.')
                .to_owned();
            if end == "wait" {
                assert!(alive(&grandchild) && child.exited().is_none());
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _child = child;
                    std::panic::resume_unwind(Box::new("the harness panics"));
                }));
                assert!(panicked.is_err());
            } else {
                let status = child.wait(Duration::from_secs(5)).await.unwrap();
                assert_eq!(describe(status), "exit code 3");
            }
            assert!(
                gone(&grandchild).await,
                "{end}: {grandchild} is still there"
            );
        }
    }

    #[tokio::test]
    async fn a_child_is_asked_first_and_killed_when_it_does_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let mut polite = shell(
            "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done",
            folder.path(),
        );
        logged(folder.path(), "ready").await;
        let stopped = polite
            .stop(Signal::SIGTERM, Duration::from_secs(5))
            .await
            .unwrap();
        assert!(
            matches!(stopped, Stopped::Itself(status) if status.success()),
            "{stopped:?}"
        );

        let folder = tempfile::tempdir().unwrap();
        let mut deaf = shell(
            "trap '' TERM; echo ready; while :; do sleep 0.01; done",
            folder.path(),
        );
        logged(folder.path(), "ready").await;
        let stopped = deaf
            .stop(Signal::SIGTERM, Duration::from_millis(50))
            .await
            .unwrap();
        assert_eq!(stopped, Stopped::Killed);
        assert_eq!(describe(deaf.exited().unwrap()), "signal SIGKILL");
    }

    /// A run must not depend on the `VAULT_*` of whoever started it.
    #[tokio::test]
    async fn the_environment_is_what_was_stated() {
        let folder = tempfile::tempdir().unwrap();
        let _child = shell("env; echo end.", folder.path());
        let log = logged(folder.path(), "end.").await;
        assert!(log.contains("GIVEN=yes") && log.contains("PATH="), "{log}");
        // cargo sets this one for every test.
        assert!(
            std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !log.contains("CARGO_MANIFEST_DIR"),
            "{log}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let launch = Launch {
            name: "plugin".to_owned(),
            program: "no-such-program-here".into(),
            args: Vec::new(),
            environment: BTreeMap::new(),
            log: "unused".into(),
        };
        let error = format!("{:#}", Child::spawn(&launch).unwrap_err());
        assert!(
            error.contains("start plugin") && error.contains("no-such-program-here"),
            "{error}"
        );
    }
}
