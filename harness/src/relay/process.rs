//! The plugin's process on the node where a relay runs: found by its executable, and broken by signals.
//!
//! Nothing is started here: whoever keeps the plugin there (the kubelet, systemd) starts again what ended. A process is
//! told from a later one with its number by the time of its start. Not for: processes of the harness's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Harm;

/// One process, and no other since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct One {
    id: i32,
    /// In the kernel's clock ticks after the machine's start.
    began: u64,
}

/// What is kept up until it is ended.
enum Kept {
    Frozen(One),
    /// Each process gets the signal once, whenever it appears.
    Away(Signal, BTreeSet<One>),
}

/// A plugin's process, whichever has its executable at a time. Dropped, nothing of it stands still any more.
pub struct Process {
    executable: PathBuf,
    kept: Mutex<BTreeMap<String, Kept>>,
}

impl Process {
    /// The process of this executable, running or not. What a relay before this one froze, and did not come to thaw, goes on.
    ///
    /// # Errors
    /// The path is not absolute, there is no `/proc` to look into, or this user may not signal the process.
    pub fn of(executable: &Path) -> Result<Self> {
        ensure!(
            executable.is_absolute(),
            "--plugin-executable {}: it must be an absolute path, as the process shows it",
            executable.display()
        );
        let process = Self {
            executable: executable.to_owned(),
            kept: Mutex::default(),
        };
        for one in process.all()? {
            send(one, None)?;
            if stat(one.id).is_some_and(|(_, state)| state == 'T') {
                send(one, Signal::SIGCONT)?;
            }
        }
        Ok(process)
    }

    /// Does harm to the one process; what lasts has this name.
    ///
    /// # Errors
    /// None or several run, or this user may not.
    pub fn make(&self, id: &str, harm: Harm) -> Result<()> {
        let one = self.one()?;
        let mut kept = self.kept();
        match harm {
            Harm::Kill => send(one, Signal::SIGKILL)?,
            Harm::Freeze => {
                send(one, Signal::SIGSTOP)?;
                kept.insert(id.to_owned(), Kept::Frozen(one));
            }
            Harm::KeepKilled | Harm::KeepEnded => {
                let signal = if harm == Harm::KeepKilled {
                    Signal::SIGKILL
                } else {
                    Signal::SIGTERM
                };
                send(one, signal)?;
                kept.insert(id.to_owned(), Kept::Away(signal, BTreeSet::from([one])));
            }
        }
        Ok(())
    }

    /// Ends what has this name.
    pub fn end(&self, id: &str) {
        let mut kept = self.kept();
        if let Some(Kept::Frozen(one)) = kept.remove(id) {
            let still = |other: &Kept| matches!(other, Kept::Frozen(other) if *other == one);
            if !kept.values().any(still) {
                // one that is gone needs no thawing, and who was allowed to stop it may let it go on
                let _ = send(one, Signal::SIGCONT);
            }
        }
    }

    /// Sends what is kept away its signal, if it is there again; whether anything is kept away.
    pub fn again(&self) -> bool {
        let mut kept = self.kept();
        let mut any = false;
        for kept in kept.values_mut() {
            if let Kept::Away(signal, seen) = kept {
                any = true;
                // one that cannot be seen now is there the next time
                for one in self.all().unwrap_or_default() {
                    if seen.insert(one) {
                        let _ = send(one, *signal);
                    }
                }
            }
        }
        any
    }

    fn one(&self) -> Result<One> {
        let all = self.all()?;
        let shown = self.executable.display();
        ensure!(
            all.len() <= 1,
            "{} processes run {shown}: which one is the plugin is not known",
            all.len()
        );
        let one = all.first().copied();
        one.with_context(|| {
            format!(
                "no process runs {shown}; a relay in a pod sees those of its node with hostPID alone"
            )
        })
    }

    fn all(&self) -> Result<Vec<One>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc").context("look for processes in /proc")? {
            let Ok(entry) = entry else { continue };
            let Some(id) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if !self.runs_in(&entry.path()) {
                continue;
            }
            // one that ended a moment ago has no times any more
            if let Some((began, state)) = stat(id)
                && !matches!(state, 'Z' | 'X')
            {
                all.push(One { id, began });
            }
        }
        Ok(all)
    }

    /// Whether this is the executable of a process, or the first word that it was started with.
    fn runs_in(&self, place: &Path) -> bool {
        let wanted = self.executable.as_os_str().as_encoded_bytes();
        let linked = fs::read_link(place.join("exe")).is_ok_and(|linked| {
            let linked = linked.as_os_str().as_encoded_bytes();
            // replaced on the disk while it runs
            linked.strip_suffix(b" (deleted)").unwrap_or(linked) == wanted
        });
        let named = || {
            let words = fs::read(place.join("cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).next() == Some(wanted)
        };
        linked || named()
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let all: Vec<String> = self.kept().keys().cloned().collect();
        for id in all {
            self.end(&id);
        }
    }
}

/// Sends a signal, or without one looks whether that is allowed. A process that is gone is fine.
fn send(one: One, signal: impl Into<Option<Signal>>) -> Result<()> {
    if stat(one.id).is_none_or(|(began, _)| began != one.began) {
        return Ok(());
    }
    match kill(Pid::from_raw(one.id), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(why) => Err(why).with_context(|| {
            format!(
                "signal the plugin's process {}: a relay that may do that runs as its user, or has CAP_KILL",
                one.id
            )
        }),
    }
}

/// When a process began, and its state as the kernel has it: `T` stands still, `Z` has ended.
fn stat(id: i32) -> Option<(u64, char)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // the name before it may hold anything
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    // the 22nd of all, of which the state is the third
    let began = fields.nth(18)?.parse().ok()?;
    Some((began, state))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use kms_process::child::{Child, Launch};

    use super::*;

    /// A copy of `sleep` under a name that no other process has, and so many processes of it.
    fn sleepers(folder: &Path, count: usize) -> (PathBuf, Vec<Child>) {
        let program = folder.join("plugin of a test");
        // Not by this process: what another test starts at that moment would hold it open for writing, and it could not run.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status();
        assert!(copied.unwrap().success());
        let launch = Launch {
            args: vec!["300".to_owned()],
            ..Launch::new("sleeper", &program, folder)
        };
        let children = (0..count).map(|_| Child::spawn(&launch).unwrap()).collect();
        (program, children)
    }

    async fn until(mut seen: impl FnMut() -> bool) {
        let wait = async {
            while !seen() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("it comes soon");
    }

    fn state(child: &Child) -> Option<char> {
        stat(i32::try_from(child.id()).unwrap()).map(|(_, state)| state)
    }

    /// Two faults hold the same process: it goes on when both are over, and whatever becomes of the relay.
    #[tokio::test]
    async fn what_stands_still_goes_on_again() {
        let folder = tempfile::tempdir().unwrap();
        let (program, children) = sleepers(folder.path(), 1);
        let process = Process::of(&program).unwrap();
        until(|| process.all().unwrap().len() == 1).await;
        process.make("a", Harm::Freeze).unwrap();
        process.make("b", Harm::Freeze).unwrap();
        until(|| state(&children[0]) == Some('T')).await;
        process.end("a");
        assert_eq!(state(&children[0]), Some('T'), "b goes on");
        drop(process);
        until(|| state(&children[0]) != Some('T')).await;

        // A relay that was killed thaws nothing: the next one does.
        kill(
            Pid::from_raw(i32::try_from(children[0].id()).unwrap()),
            Signal::SIGSTOP,
        )
        .unwrap();
        until(|| state(&children[0]) == Some('T')).await;
        let _next = Process::of(&program).unwrap();
        until(|| state(&children[0]) != Some('T')).await;
    }

    /// No process, and more than one: nothing is done to any of them.
    #[tokio::test]
    async fn only_a_single_process_is_the_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let (program, mut children) = sleepers(folder.path(), 2);
        let process = Process::of(&program).unwrap();
        until(|| process.all().unwrap().len() == 2).await;
        let error = process.make("a", Harm::Kill).unwrap_err().to_string();
        assert!(error.contains("2 processes"), "{error}");
        children[0].kill();
        process.make("a", Harm::Kill).unwrap();
        until(|| children[1].exited().is_some()).await;
        let error = process.make("a", Harm::Kill).unwrap_err().to_string();
        assert!(error.contains("no process runs"), "{error}");
        assert!(Process::of(Path::new("sleep")).is_err());
    }

    /// One that is started again meanwhile is killed again, until the fault is over.
    #[tokio::test]
    async fn what_is_kept_away_is_killed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (program, mut children) = sleepers(folder.path(), 1);
        let process = Process::of(&program).unwrap();
        until(|| process.all().unwrap().len() == 1).await;
        process.make("gone", Harm::KeepKilled).unwrap();
        until(|| children[0].exited().is_some()).await;
        let launch = Launch {
            args: vec!["300".to_owned()],
            ..Launch::new("sleeper", &program, folder.path())
        };
        let mut second = Child::spawn(&launch).unwrap();
        until(|| {
            assert!(process.again(), "it is kept away");
            second.exited().is_some()
        })
        .await;
        process.end("gone");
        let _third = Child::spawn(&launch).unwrap();
        until(|| process.all().unwrap().len() == 1).await;
        assert!(!process.again(), "it is over");
        assert_eq!(process.all().unwrap().len(), 1);
    }
}
