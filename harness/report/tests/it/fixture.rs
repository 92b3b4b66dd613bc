//! A made-up run to report on.

use kms_contract::{Level, Profile};
use kms_judge::{CheckResult, CheckStatus};
use kms_report::Inputs;
use kms_report::model::{
    Arm, Artifact, ArtifactDigest, ArtifactKind, Backend, Calibration, Contract, Determinism,
    DeterminismCheck, Environment, Fault, Invariant, InvariantKind, LatencyKey, LatencySeries,
    Launch, LaunchKind, Load, ModelConformance, Observed, Origin, Phase, Plan, PlanEntry, Planned,
    Property, Replay, ScenarioReport, Subject, Suite, Trust, VaultModel,
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
        scenario_runs: vec![],
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
        // What is more than core is earned by scenarios on a binary as well.
        scenarios: if profile > Profile::Core {
            vec![scenario("vault-restarts", 1, CheckStatus::Pass)]
        } else {
            vec![]
        },
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

/// A scenario run of the process arm, with one fault and one invariant that came to the same.
pub fn scenario(id: &str, seed: u64, verdict: CheckStatus) -> ScenarioReport {
    ScenarioReport {
        run_id: format!("{id}#{seed}"),
        scenario_id: id.into(),
        spec_digest: "sha256:01".into(),
        arm: Arm::Process,
        determinism: Determinism::Schedule,
        seed,
        seed_tree_digest: "sha256:02".into(),
        verdict,
        reason: None,
        sim_duration_ns: None,
        wall_duration_ns: 90_000_000_000,
        phases: vec![],
        faults: vec![Fault {
            id: "seal".into(),
            target: "vault".into(),
            kind: "seal".into(),
            params: [].into(),
            planned: Planned {
                at_ns: 15_000_000_000,
                for_ns: None,
            },
            injected_at_ns: Some(15_000_000_000),
            recovered_at_ns: None,
            hits: 37,
            proof: None,
        }],
        load: Load::default(),
        invariants: vec![Invariant {
            id: "status-tells-truth".into(),
            kind: InvariantKind::Always,
            evaluations: 12,
            result: verdict,
            first_violation: None,
            deadline_ns: None,
            met_at_ns: None,
        }],
        trace_digest: "sha256:03".into(),
        history_ref: format!("runs/{id}#{seed}/history.jsonl"),
        replay: Replay {
            command: "kms-harness replay bundle".into(),
            needs: vec![],
        },
        shrunk: None,
    }
}

/// One requirement of each status; all else holds.
pub fn every_status() -> Vec<CheckResult> {
    let failed = CheckResult {
        expected: vec!["1 to 1024 bytes of ciphertext".into()],
        observed: "1025 bytes".into(),
        explanation: "The API server drops the answer.".into(),
        evidence: vec![12, 13],
        ..result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Fail)
    };
    let flaky = [CheckStatus::Pass, CheckStatus::Fail, CheckStatus::Pass]
        .map(|status| result("KMS2-DEC-08", "hundred-at-once", status));
    let others = [
        ("KMS2-STATUS-04", "key-id-size", CheckStatus::Warn),
        (
            "KMS2-AVAIL-01",
            "healthy-check-after-heal",
            CheckStatus::Inconclusive,
        ),
        (
            "KMS2-SEC-03",
            "refuses-wrong-name",
            CheckStatus::NotApplicable,
        ),
        (
            "KMS2-AVAIL-05",
            "starts-beside-old-socket",
            CheckStatus::Skipped,
        ),
        ("KMS2-RT-02", "decrypts-after-restart", CheckStatus::NotRun),
    ];
    let mut results = with(all_pass(Profile::Production), failed);
    results.retain(|one| one.requirement != "KMS2-DEC-08");
    results.extend(flaky);
    for (requirement, check, status) in others {
        let reason = CheckResult {
            explanation: "for-some-reason".into(),
            ..result(requirement, check, status)
        };
        results = with(results, reason);
    }
    results
}
