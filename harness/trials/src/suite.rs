//! The one run that all tests look at.

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use kms_conformance::{Options, Recorder};
use kms_report::model::RequirementReport;

use crate::Subject;

/// Makes the subject.
type Make = Box<dyn FnOnce() -> Subject + Send>;

/// A run that is made when somebody needs it.
pub(crate) struct Suite {
    subject: Mutex<Option<Make>>,
    rows: OnceLock<Result<Vec<RequirementReport>, String>>,
}

impl Suite {
    pub fn new(subject: Make) -> Self {
        Self {
            subject: Mutex::new(Some(subject)),
            rows: OnceLock::new(),
        }
    }

    /// What it says of each requirement, or why it could not be made. Whoever comes while it is under way waits.
    pub fn rows(&self) -> &Result<Vec<RequirementReport>, String> {
        self.rows.get_or_init(|| {
            let mut subject = self.subject.lock().unwrap_or_else(PoisonError::into_inner);
            let subject = subject.take().ok_or("the run broke off")?;
            run(subject()).map_err(|error| format!("{error:#}"))
        })
    }
}

fn run(subject: Subject) -> Result<Vec<RequirementReport>> {
    // A short path: a socket's may have 107 bytes.
    let folder = tempfile::Builder::new()
        .prefix("kms-")
        .tempdir()
        .context("make a folder for the run")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let history = runtime.block_on(async {
        let target = subject.start(folder.path()).await?;
        let options = Options::default();
        let recorder = Recorder::new(options.header());
        let history = kms_conformance::run(&target, &options, &recorder).await;
        history.context("run the suite")
    })?;
    let results = kms_judge::judge(&history);
    kms_report::requirements(results, None).context("sum the results up")
}
