//! `job`: the swarm as an Indexed Job of Kubernetes. Each pod takes its share of the seeds by its index, and leaves a report
//! in a folder of its own on one volume; `kms-harness report merge` makes one of them.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::manifest;
use super::swarm::INDEX;
use crate::cli::JobArgs;
use crate::exit::{Failure, OrUsage};

/// Where the volume is mounted in a pod.
const RESULTS: &str = "/results";

/// Prints the manifest.
pub fn job(args: &JobArgs) -> Result<u8, Failure> {
    if args.workers > args.seeds {
        let why = "there are more workers than seeds, so some of them had nothing to do";
        return Err(anyhow!(
            "--workers {} --seeds {}: {why}",
            args.workers,
            args.seeds
        ))
        .or_usage();
    }
    let comment = format!(
        "{0} seeds by {1} workers. When the Job is done, with the volume at hand:\n\
         kms-harness report merge RESULTS/*/report.json && kms-harness report digest MERGED",
        args.seeds, args.workers
    );
    manifest::print(&comment, &[claim(args), manifest_of(args)], args.format)
}

fn claim(args: &JobArgs) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": args.name, "namespace": args.namespace},
        "spec": {
            // pods of several nodes write to it
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    })
}

fn manifest_of(args: &JobArgs) -> Value {
    let words = [
        "swarm".to_owned(),
        format!("--seed={}", args.seed),
        format!("--seeds={}", args.seeds),
        format!("--workers={}", args.workers),
        "--jobs=1".to_owned(),
        "--format=json".to_owned(),
        format!("--out={RESULTS}"),
    ];
    let index = json!({"fieldRef": {
        "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
    }});
    let container = json!({
        "name": "swarm",
        "image": args.image,
        "args": words,
        "env": [{"name": INDEX, "valueFrom": index}],
        "resources": {
            "requests": {"cpu": args.cpu, "memory": args.memory},
            "limits": {"memory": args.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{
            "name": "results",
            "mountPath": RESULTS,
            "subPathExpr": format!("$({INDEX})"),
        }],
    });
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": args.name,
            "namespace": args.namespace,
            "labels": {"app.kubernetes.io/managed-by": "kms-harness"},
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": args.workers,
            "parallelism": args.parallelism.unwrap_or(args.workers).min(args.workers),
            "backoffLimitPerIndex": 1,
            // A finding, or a mistake in the options, is the same a second time.
            "podFailurePolicy": {"rules": [{
                "action": "FailIndex",
                "onExitCodes": {"containerName": "swarm", "operator": "In", "values": [1, 2]},
            }]},
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/managed-by": "kms-harness"}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                    "volumes": [{
                        "name": "results",
                        "persistentVolumeClaim": {"claimName": args.name},
                    }],
                },
            },
        },
    })
}
