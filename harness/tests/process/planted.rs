//! Agreement of the arms: a planted bug breaks the same invariant between real processes as in the simulation, from the
//! same scenario file; and without one everything holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::subject::Subject;
use kms_harness::commands::chaos::runs::{self, Job, Place};
use kms_harness::commands::chaos::show::explained;
use kms_harness::subject::file::SubjectFile;
use kms_planted::{SCENARIO, Variant};
use kms_scenario::verdict::Verdict;

/// The plugin with a bug, which `cargo test` builds with the examples.
fn program() -> Result<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_kms-harness"))
        .with_file_name("examples")
        .join("planted_plugin");
    ensure!(
        program.is_file(),
        "no {}: build the examples first (cargo build --examples -p kms-harness)",
        program.display()
    );
    Ok(program)
}

fn subject(bug: &str, binary: &Path) -> Result<SubjectFile> {
    let program = program()?;
    SubjectFile::parse(&format!(
        r#"
name = "planted-{bug}"
command = [
    {program:?}, "--bug={bug}", "--socket={{socket}}", "--vault={{vault}}", "--",
    {binary:?}, "-listen-address=unix://@socket", "-vault-address=@vault", "-vault-key-path={{mount}}/keys/{{key}}",
    "-approle-role-id={{role_id}}", "-approle-secret-id-path={{secret_id_file}}", "-health-port=0", "-metrics-port=0",
]
"#
    ))
}

async fn ran(bug: &str, parts: Parts) -> Result<runs::Ran> {
    let Subject::Own(binary) = &parts.subject else {
        bail!("our binary is the honest one");
    };
    let parts = Parts {
        subject: Subject::Described(Box::new(subject(bug, binary)?)),
        ..parts
    };
    let job = runs::job_of(SCENARIO, 1, String::new()).map_err(anyhow::Error::msg)?;
    let place = Place::Process(Arc::new(parts));
    let job = Job { place, ..job };
    #[expect(clippy::disallowed_methods, reason = "a run has a runtime of its own")]
    let ran = tokio::task::spawn_blocking(move || runs::one(&job));
    ran.await.context("the run panicked")
}

/// What the simulation sees is seen here.
pub async fn breaks_the_same(bug: Variant, parts: Parts) -> Result<()> {
    let ran = ran(bug.name(), parts).await?;
    let outcome = ran.outcome.as_ref();
    let mut broken = outcome.into_iter().flat_map(|outcome| outcome.broken());
    ensure!(
        broken.any(|broken| broken.id == bug.breaks()),
        "{} is not broken: {}",
        bug.breaks(),
        explained(&ran)
    );
    Ok(())
}

/// The middlemen themselves do no harm.
pub async fn without_a_bug_everything_holds(parts: Parts) -> Result<()> {
    let ran = ran("none", parts).await?;
    if ran.verdict != Verdict::Pass {
        bail!("{}", explained(&ran));
    }
    Ok(())
}
