//! What came of cells, for people and as data.

use kms_apiserver_api::Trouble;
use serde::Serialize;

use super::trial::Outcome;
use super::{Cell, explained};

/// A cell that was played.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    /// Which.
    #[serde(flatten)]
    pub cell: Cell,
    /// Whether it is as it must be.
    pub verdict: Verdict,
    /// What is wrong.
    pub wrong: Vec<String>,
    /// Why it shows what it shows.
    pub explained: Vec<&'static str>,
    /// Objects that nobody can read any more.
    pub lost: usize,
    /// Reads that failed on a ready node while the fault lasted.
    pub barred: usize,
    /// Writes that were acknowledged.
    pub written: u64,
    /// Writes that were refused.
    pub refused: u64,
    /// Seconds on the cluster's clock.
    pub simulated_seconds: u64,
    /// The command that plays it alone.
    pub replay: String,
}

/// A cell's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is lost, and the path completes.
    Green,
    /// What it shows has to be so.
    Explained,
    /// It is not as it must be.
    Failed,
}

impl Played {
    /// Judges an outcome. A trial that could not go on has failed.
    pub fn of(cell: Cell, outcome: Result<Outcome, Trouble>) -> Self {
        let (outcome, trouble) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(trouble) => (Outcome::default(), Some(trouble.to_string())),
        };
        let (wrong, explained) = match trouble {
            Some(text) => (vec![text], Vec::new()),
            None => explained::judge(&cell, &outcome),
        };
        Self {
            cell,
            verdict: match (wrong.is_empty(), explained.is_empty()) {
                (false, _) => Verdict::Failed,
                (true, false) => Verdict::Explained,
                (true, true) => Verdict::Green,
            },
            wrong,
            explained,
            lost: outcome.lost,
            barred: outcome.barred.len(),
            written: outcome.answered.0,
            refused: outcome.answered.1,
            simulated_seconds: outcome.seconds,
            replay: cell.replay(),
        }
    }
}

/// Cells that were played together.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Whether none has failed.
    pub held: bool,
    /// Cells by verdict: green, explained, failed.
    pub counts: [usize; 3],
    /// Explanations that no cell shows, though all of theirs were played.
    pub unshown: Vec<String>,
    /// The cells, in order.
    pub cells: Vec<Played>,
}

impl Sweep {
    /// Puts them together.
    pub fn of(cells: Vec<Played>) -> Self {
        let verdicts = [Verdict::Green, Verdict::Explained, Verdict::Failed];
        let counts =
            verdicts.map(|verdict| cells.iter().filter(|cell| cell.verdict == verdict).count());
        let shown: Vec<_> = cells
            .iter()
            .map(|cell| (cell.cell, cell.explained.clone()))
            .collect();
        let unshown = explained::unshown(&shown);
        Self {
            held: counts[2] == 0 && unshown.is_empty(),
            counts,
            unshown,
            cells,
        }
    }

    /// The page: a line for each fault of a path with a sign for each phase, then what failed.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut row = String::new();
        for played in &self.cells {
            let head = format!(
                "{:18}{:24}",
                super::word(played.cell.path),
                super::word(played.cell.fault)
            );
            if head != row {
                let seed = played.cell.seed;
                let end = if row.is_empty() {
                    format!("seed {seed}\n")
                } else {
                    "\n".to_owned()
                };
                out.push_str(&format!("{end}{head}"));
                row = head;
            }
            out.push(match played.verdict {
                Verdict::Green => '.',
                Verdict::Explained => 'e',
                Verdict::Failed => 'F',
            });
        }
        let phases: Vec<&str> = <super::phase::Phase as crate::options::Words>::ALL
            .iter()
            .map(|(word, _)| *word)
            .collect();
        out.push_str(&format!(
            "\n\nphases, from left to right: {}\n",
            phases.join(", ")
        ));
        let mut reasons: Vec<&str> = self
            .cells
            .iter()
            .flat_map(|cell| cell.explained.clone())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        for reason in reasons {
            let cells = self
                .cells
                .iter()
                .filter(|cell| cell.explained.contains(&reason));
            out.push_str(&format!("explained ({} cells): {reason}\n", cells.count()));
        }
        for failed in self
            .cells
            .iter()
            .filter(|cell| cell.verdict == Verdict::Failed)
        {
            out.push_str(&format!("\nFAILED {}\n", failed.cell));
            for text in &failed.wrong {
                out.push_str(&format!("  {text}\n"));
            }
            out.push_str(&format!("  again: {}\n", failed.replay));
        }
        for text in &self.unshown {
            out.push_str(&format!("FAILED {text}\n"));
        }
        let [green, explained, failed] = self.counts;
        let seconds: u64 = self.cells.iter().map(|cell| cell.simulated_seconds).sum();
        out.push_str(&format!(
            "{} cells: {green} green, {explained} explained, {failed} failed; {} on the clusters' clocks\n",
            self.cells.len(),
            crate::report::span(seconds)
        ));
        out
    }
}
