//! A made-up run to report on.

use kms_contract::{Level, Profile};
use kms_judge::{CheckResult, CheckStatus};
use kms_report::Inputs;
use kms_report::model::{
    Arm, Artifact, ArtifactDigest, ArtifactKind, Backend, Calibration, Contract, DeterminismCheck,
    Environment, LatencyKey, LatencySeries, Launch, LaunchKind, ModelConformance, Observed, Origin,
    Phase, Plan, PlanEntry, Property, Subject, Suite, Trust, VaultModel,
};

/// A check result with nothing remarkable in it.
pub fn result(requirement: &str, check: &str, status: CheckStatus) -> CheckResult {
    CheckResult {
        check_id: check.to_owned(),
        requirement: requirement.to_owned(),
        status,
        assertions: 3,
        expected: vec!["what is written".to_owned()],
        observed: match status {
            CheckStatus::Pass => String::new(),
            _ => "something else".to_owned(),
        },
        explanation: String::new(),
        evidence: vec![],
        duration_ns: 1_234_567,
    }
}

/// A pass of everything that a profile requires.
pub fn all_pass(profile: Profile) -> Vec<CheckResult> {
    kms_contract::all()
        .filter(|one| one.profile().is_some_and(|smallest| smallest <= profile))
        .filter(|one| one.level != Level::May && one.reason.is_none())
        .map(|one| result(one.id, "holds", CheckStatus::Pass))
        .collect()
}

/// Replaces the results on one requirement.
pub fn with(mut results: Vec<CheckResult>, replacement: CheckResult) -> Vec<CheckResult> {
    results.retain(|one| one.requirement != replacement.requirement);
    results.push(replacement);
    results
}

/// A run of the process arm with these results, in which nothing was done for trust.
pub fn inputs(profile: Profile, checks: Vec<CheckResult>) -> Inputs {
    Inputs {
        report_id: "3b0e6d3a-8f1c-4d7e-9a55-0c9f3f2d1e10".into(),
        run_id: "run-7f3a".into(),
        created_at: "2026-10-02T11:20:05Z".into(),
        generated_by: "kms-harness 0.1.0".into(),
        derived_from: None,
        suite: Suite {
            name: "kms-harness".into(),
            version: "0.1.0".into(),
            git_commit: Some("0123456789abcdef".into()),
            dirty: Some(false),
            build_profile: "release".into(),
            rustc: None,
            target: None,
            features: vec![],
            // Not the current one: golden files would change with each sentence of the registry.
            contract: Contract {
                name: "kms/v2".into(),
                version: "v1.37".into(),
                registry_digest: "sha256:00".into(),
            },
            scenarios_digest: None,
        },
        trust: Trust::default(),
        subject: Subject {
            organization: Some("Acme".into()),
            project: "acme-kms".into(),
            version: Some("v1.3.0".into()),
            artifacts: vec![Artifact {
                kind: ArtifactKind::Binary,
                name: "acme-kms".into(),
                digest: ArtifactDigest {
                    sha256: "ab".repeat(32),
                },
            }],
            launch: Some(Launch {
                how: LaunchKind::Spawned,
                endpoint: "unix:///run/acme/kms.sock".into(),
            }),
            observed: Observed {
                status_version: Some("v2".into()),
                key_id_hash: Some("sha256:cd".into()),
                peer_pid: Some(4711),
                start_times: vec!["2026-10-02T11:20:06Z".into()],
                ..Observed::default()
            },
            ..Subject::default()
        },
        environment: Environment {
            arm: Arm::Process,
            os: "linux".into(),
            kernel: Some("6.12".into()),
            arch: "x86_64".into(),
            cpu: None,
            memory_bytes: Some(8 << 30),
            container_runtime: None,
            clock_source: "CLOCK_MONOTONIC".into(),
            time_scale: 1,
            load_before: None,
            load_after: None,
            kubernetes: None,
            backend: Some(Backend {
                product: "sim-vault".into(),
                version: "0.1.0".into(),
                model_digest: None,
            }),
        },
        plan: Plan {
            command: Some("kms-harness run --plugin acme-kms --profile core".into()),
            entries: vec![
                PlanEntry {
                    name: "seed".into(),
                    value: "42".into(),
                    origin: Origin::Default,
                },
                PlanEntry {
                    name: "profile".into(),
                    value: "core".into(),
                    origin: Origin::Flag,
                },
            ],
            budget_ns: Some(120_000_000_000),
        },
        profile,
        server: None,
        checks,
        scenarios: vec![],
        latency: vec![],
        properties: vec![],
        findings: vec![],
        limits: vec![],
        attachments: vec![],
    }
}

/// The same run with every optional part filled in.
pub fn full(profile: Profile, checks: Vec<CheckResult>) -> Inputs {
    let mut inputs = inputs(profile, checks);
    inputs.trust = Trust {
        calibration: Some(Calibration {
            zoo_version: "3".into(),
            mutants: 61,
            killed: 60,
            survived: vec!["echoes-seed".into()],
            digest: "sha256:ef".into(),
            at: "2026-10-01T00:00:00Z".into(),
        }),
        reference_subjects: vec![],
        model_conformance: ModelConformance {
            apiserver: None,
            vault: Some(VaultModel {
                product: "OpenBao".into(),
                version: "2.7.2".into(),
                cases: 1780,
                digest: "sha256:12".into(),
            }),
        },
        determinism: Some(DeterminismCheck {
            checked: true,
            seed: 42,
            runs: 2,
            trace_digests_equal: true,
            first_divergence: None,
        }),
    };
    let samples = (1..=1000).map(|n| n * 10_000).collect();
    let key = LatencyKey {
        op: "encrypt".into(),
        arm: Arm::Process,
        phase: Phase::Baseline,
        outcome: "ok".into(),
    };
    inputs
        .latency
        .extend(LatencySeries::from_samples(key, samples, None));
    inputs.properties.push(Property {
        id: "round-trip".into(),
        cases: 10_000,
        discarded: 0,
        distribution: [("32 bytes".to_owned(), 10_000)].into(),
        seed: 42,
        shrinks: 0,
        minimal: None,
    });
    inputs.limits.push("no restart command was given".into());
    inputs
}
