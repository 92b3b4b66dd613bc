//! The report's page in a real browser: it loads, says nothing on the console, filters, and fits on a phone. The other
//! forms in the hands of programs that others wrote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_contract::Profile;
use kms_harness::child::find_program;
use kms_judge::CheckStatus;
use kms_report::model::{LatencySeries, Phase, PhaseSpan, Violation};
use kms_report::{Report, build, html};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::tier::{self, Tier};
use crate::fixture;

mod readers;

/// Limit for the browser to start and to end, on a machine that does much else.
const BROWSES: Duration = Duration::from_secs(180);
/// A second in nanoseconds.
const S: u64 = 1_000_000_000;

/// All of them.
pub fn tier() -> Tier {
    let browser = Browser::find().map_err(|error| format!("{error:#}"));
    let mut trials = vec![
        tier::test(
            "page::it_is_silent_and_filters",
            browser.clone(),
            it_is_silent_and_filters,
        ),
        tier::test(
            "page::it_fits_wherever_it_is_read",
            browser,
            it_fits_wherever_it_is_read,
        ),
    ];
    trials.extend(readers::trials());
    (trials, 2)
}

#[derive(Clone)]
struct Browser(PathBuf);

impl Browser {
    /// As `ci/chromium --find` does.
    fn find() -> Result<Self> {
        let named = std::env::var_os("CHROMIUM").filter(|value| !value.is_empty());
        let names = match named {
            Some(named) => vec![PathBuf::from(named)],
            None => ["chromium", "chromium-browser", "google-chrome"]
                .map(PathBuf::from)
                .to_vec(),
        };
        let found = names.iter().find_map(|name| find_program(name));
        found
            .map(Self)
            .context("no Chromium found: set $CHROMIUM, put chromium on PATH, or run ci/chromium")
    }

    /// Opens a page of a folder, this wide; what it printed on its standard output, and what the page said on the console.
    async fn open(
        &self,
        folder: &Path,
        page: &str,
        width: u32,
        wanted: &[String],
    ) -> Result<(String, Vec<String>)> {
        let profile = tempfile::tempdir()?;
        let browsing = Command::new(&self.0)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--hide-scrollbars",
                // nobody is to be reached
                "--proxy-server=127.0.0.1:9",
                "--enable-logging=stderr",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},2400"))
            .args(wanted)
            .arg(format!("file://{}/{page}", folder.display()))
            .kill_on_drop(true)
            .output();
        let output = timeout(BROWSES, browsing)
            .await
            .with_context(|| format!("{} did not end", self.0.display()))?
            .with_context(|| format!("run {}", self.0.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", output.status);
        let console = said.lines().filter(|line| line.contains("CONSOLE"));
        let console = console.map(str::to_owned).collect();
        Ok((String::from_utf8(output.stdout)?, console))
    }
}

/// Every status, a failed scenario run with overlapping faults, and latencies of all phases.
fn report() -> Report {
    let mut inputs = fixture::full(Profile::Production, fixture::every_status());
    let mut run = fixture::scenario("vault-sealed", 42, CheckStatus::Fail);
    let names = ["settle", "baseline", "fault", "heal", "liveness"];
    run.phases = (0..)
        .zip(names)
        .map(|(number, name)| PhaseSpan {
            name: name.into(),
            start_ns: number * 18 * S,
            end_ns: (number + 1) * 18 * S,
        })
        .collect();
    run.invariants[0].first_violation = Some(Violation {
        at_ns: 41 * S,
        event: 7,
        excerpt: "Status said ok while Encrypt failed".into(),
    });
    let mut rotated = run.faults[0].clone();
    rotated.id = "rotate".into();
    rotated.injected_at_ns = Some(30 * S);
    rotated.recovered_at_ns = Some(60 * S);
    run.faults.push(rotated);
    inputs.scenarios.push(run);
    let key = inputs.latency[0].key();
    for (phase, slower) in [(Phase::Fault, 9), (Phase::Heal, 2)] {
        let samples = (1..=1000).map(|n| n * 10_000 * slower).collect();
        let mut key = key.clone();
        key.phase = phase;
        let series = LatencySeries::from_samples(key, samples, None);
        inputs.latency.extend(series);
    }
    build(inputs).expect("the fixture is a report")
}

fn page(change: impl FnOnce(String) -> String) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("report.html"), change(html(&report())))?;
    Ok(folder)
}

/// What the filter says of itself, such as `1 of 61`.
fn filtered(page: &str) -> Option<&str> {
    page.split_once("<output>")?
        .1
        .split_once("</output>")
        .map(|(text, _)| text)
}

async fn it_is_silent_and_filters(browser: Browser) -> Result<()> {
    let folder = page(|page| page)?;
    let all = report().requirements.len();
    let dump = ["--dump-dom".to_owned()];
    for (query, hits) in [("", all), ("?enc-05", 1), ("?no-such-thing", 0)] {
        let name = format!("report.html{query}");
        let (shown, console) = browser.open(folder.path(), &name, 1280, &dump).await?;
        ensure!(console.is_empty(), "{console:?}");
        let expected = format!("{hits} of {all}");
        ensure!(
            filtered(&shown) == Some(&expected),
            "{query}: {:?} and not {expected}",
            filtered(&shown)
        );
        let rows = shown.split("<details ").skip(1);
        let hidden = rows
            .filter_map(|row| row.split_once('>'))
            .filter(|(row, _)| row.contains("hidden"));
        ensure!(
            hidden.count() == all - hits,
            "{query}: other rows are hidden"
        );
    }
    Ok(())
}

/// The page is no wider than the window; pictures of it are kept beside the test's other files.
async fn it_fits_wherever_it_is_read(browser: Browser) -> Result<()> {
    const MEASURE: &str = "<script>document.title = \
        `${document.documentElement.scrollWidth} of ${innerWidth}`;</script></body>";
    let folder = page(|page| page.replace("</body>", MEASURE))?;
    for width in [1280, 390] {
        let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{width}.png"));
        let _ = std::fs::remove_file(&picture); // of an earlier run
        let wanted = [format!("--screenshot={}", picture.display())];
        browser
            .open(folder.path(), "report.html", width, &wanted)
            .await?;
        let size = std::fs::metadata(&picture)
            .context("no picture was made")?
            .len();
        ensure!(size > 20_000, "an empty picture of {size} bytes");
        let dump = ["--dump-dom".to_owned()];
        let (shown, _) = browser
            .open(folder.path(), "report.html", width, &dump)
            .await?;
        let title = shown.split_once("<title>").context("no title")?.1;
        let title = title.split_once("</title>").context("no title")?.0;
        let (page, window) = title.split_once(" of ").with_context(|| title.to_owned())?;
        let (page, window): (u32, u32) = (page.parse()?, window.parse()?);
        ensure!(
            window <= width.max(500),
            "the window is {window} wide, not {width}"
        );
        ensure!(page <= window, "{page} wide in a window of {window}");
    }
    Ok(())
}
