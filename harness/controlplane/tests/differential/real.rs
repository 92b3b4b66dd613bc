//! The real controllers: a process that takes one story after the other.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use kms_controlplane::generation::Generation;
use kms_process::child::log_tail;
use kms_process::parts::OPENSHIFT_CONTROLLERS;
use serde_json::Value;

use crate::program;
use crate::story::{Story, Told};

/// After so many stories another process takes over: controllers that are never run leave their queues behind.
const STORIES: u32 = 100;

/// The real controllers of one generation.
pub struct Real {
    program: PathBuf,
    process: Option<Process>,
}

/// It ends when its input does, so it cannot outlive us; a step that hangs ends it, too.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    played: u32,
}

impl Real {
    /// `part` is the program without the KMS mode.
    pub fn new(generation: Generation, part: &Path) -> Self {
        Self {
            program: program(generation, part),
            process: None,
        }
    }

    /// Plays a story. What goes wrong with the process is how the story broke off.
    pub fn play(&mut self, story: &Story) -> Told {
        let mut told = Told::default();
        let process = self.process.take().filter(|p| p.played < STORIES);
        match process.map_or_else(|| Process::start(&self.program), Ok) {
            Err(why) => told.broke = Some(format!("{why:#}")),
            Ok(mut process) => match process.play(story, &mut told) {
                Ok(()) => self.process = Some(process),
                Err(why) => {
                    told.broke = Some(format!("{why:#}\n{}", log_tail(&process.log, 15)));
                }
            },
        }
        told.blunt();
        told
    }
}

impl Process {
    fn start(program: &Path) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("openshift-controllers-{number}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let input = child.stdin.take().context("its input is a pipe")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
            log,
            played: 0,
        })
    }

    fn play(&mut self, story: &Story, told: &mut Told) -> Result<()> {
        // A story is shorter than what a pipe holds, so writing it whole waits for nobody.
        let text = format!("{story}.\n");
        ensure!(text.len() < 60_000, "a story of {} bytes", text.len());
        self.input.write_all(text.as_bytes()).context("its input")?;
        self.played += 1;
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).context("its output")? == 0 {
                let status = self.child.wait().context("its end")?;
                bail!("the real controllers' process ended: {status}");
            }
            if line == ".\n" {
                return Ok(());
            }
            let mut line: Value =
                serde_json::from_str(&line).with_context(|| format!("its line {line:?}"))?;
            if line["what"] == "text" {
                let name = line["name"].as_str().unwrap_or_default().to_owned();
                told.texts.insert(name, line["data"].take());
            } else {
                told.lines.push(line);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// The script and what it builds from.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ci/openshift-controllers")
}

/// What the script builds is what is looked for.
pub fn is_looked_for_where_the_script_puts_it() -> Result<()> {
    let word = |file: &str, before: &str| -> Result<String> {
        let text = std::fs::read_to_string(sources().join(file))?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(before));
        let line = line.with_context(|| format!("{file} has no line {before:?}"))?;
        Ok(line.split(' ').next().unwrap_or_default().to_owned())
    };
    let module = word("go.mod", "github.com/openshift/library-go ")?;
    let date = module
        .split('-')
        .nth(1)
        .context("the module's version has a date")?;
    let made = format!(
        "openshift-controllers-{date}-{}",
        word("install", "recipe=")?
    );
    let looked_for = OPENSHIFT_CONTROLLERS.cached;
    ensure!(made == looked_for, "made: {made}, looked for: {looked_for}");
    Ok(())
}

/// A program that was built of older sources would judge by them.
pub fn was_made_of_the_sources_here(part: &Path) -> Result<()> {
    let folder = sources();
    let mut names: Vec<String> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.retain(|name| name.ends_with(".go") || name == "go.mod" || name == "kms.patch");
    names.sort();
    let mut here = String::new();
    for name in names {
        here += &format!(
            "== {name}\n{}",
            std::fs::read_to_string(folder.join(&name))?
        );
    }
    for generation in [Generation::Generic, Generation::V1] {
        let program = program(generation, part);
        let output = Command::new(&program).arg("sources").output()?;
        ensure!(
            output.stdout == here.as_bytes(),
            "{} was built of other sources: raise the recipe in ci/openshift-controllers/install, and in kms_process::parts",
            program.display()
        );
    }
    Ok(())
}
