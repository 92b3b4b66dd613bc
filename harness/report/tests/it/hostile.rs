//! What others can word in a report, all of it worded badly.

use kms_contract::Profile;
use kms_judge::{CheckResult, CheckStatus};
use kms_report::Inputs;

use crate::fixture::{all_pass, inputs, result, with};

/// A run in which everything that somebody else can word is this text.
pub fn hostile(text: &str) -> Inputs {
    let mut inputs = inputs(
        Profile::Core,
        with(
            all_pass(Profile::Core),
            CheckResult {
                expected: vec![text.into()],
                observed: text.into(),
                explanation: text.into(),
                ..result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Fail)
            },
        ),
    );
    inputs.subject.project = text.into();
    inputs.subject.contact = vec![text.into()];
    inputs.subject.artifacts[0].name = text.into();
    inputs.subject.observed.status_version = Some(text.into());
    inputs.plan.entries[0].value = text.into();
    inputs.plan.command = Some(text.into());
    inputs
}
