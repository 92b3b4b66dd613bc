//! The forms in which a report is written beside its JSON.

use crate::intoto::{Unattested, report_statement, test_result_statement};
use crate::model::Report;
use crate::{ctrf, html, junit, markdown, summary};

/// One rendering. Each is a pure function of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// For a README or a pull request.
    Markdown,
    /// One page that needs nothing else.
    Html,
    /// For whatever shows test results.
    Junit,
    /// The Common Test Report Format.
    Ctrf,
    /// For a public folder of reports.
    Summary,
    /// An unsigned in-toto statement with the predicate for test results.
    InToto,
    /// The same with our own predicate: profiles, trust, digests of the report.
    InTotoReport,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Markdown,
        Self::Html,
        Self::Junit,
        Self::Ctrf,
        Self::Summary,
        Self::InToto,
        Self::InTotoReport,
    ];

    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Junit => "junit",
            Self::Ctrf => "ctrf",
            Self::Summary => "summary",
            Self::InToto => "in-toto",
            Self::InTotoReport => "in-toto-report",
        }
    }

    /// The file in a bundle.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Markdown => "report.md",
            Self::Html => "report.html",
            Self::Junit => "junit.xml",
            Self::Ctrf => "ctrf.json",
            Self::Summary => "summary.yaml",
            Self::InToto => "attestation.intoto.json",
            Self::InTotoReport => "attestation-report.intoto.json",
        }
    }

    /// Renders a report.
    ///
    /// # Errors
    /// It is a statement, and the run must not be attested.
    pub fn render(self, report: &Report) -> Result<String, Unattested> {
        Ok(match self {
            Self::Markdown => markdown(report),
            Self::Html => html(report),
            Self::Junit => junit(report),
            Self::Ctrf => ctrf(report),
            Self::Summary => summary(report),
            Self::InToto => return test_result_statement(report),
            Self::InTotoReport => return report_statement(report),
        })
    }
}
