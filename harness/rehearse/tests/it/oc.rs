//! The commands of the procedure that the simulated cluster answers.

use kms_rehearse::oc::ask::Ask;
use kms_rehearse::oc::shell::{grep, hexdump_line};
use kms_rehearse::procedure::REVISIONS;

#[test]
fn grep_knows_the_procedures_patterns() {
    let text = "a KMS line\npermission denied\nkms call: Error\nmigrating\n";
    assert_eq!(grep(text, "kms").len(), 2);
    assert_eq!(grep(text, "decrypt\\|kms.*error"), ["kms call: Error"]);
    assert_eq!(grep(text, "kms\\|permission\\|access denied").len(), 3);
    assert!(grep(text, "error.*kms").is_empty(), "the order counts");
}

#[test]
fn a_hexdump_line_is_that_of_hexdump() {
    assert_eq!(
        hexdump_line(b"k8s:enc:kms:v2:1_secrets:"),
        "00000000  6b 38 73 3a 65 6e 63 3a  6b 6d 73 3a 76 32 3a 31  |k8s:enc:kms:v2:1|"
    );
    assert_eq!(
        hexdump_line(b"k8s\0"),
        format!("00000000  {:48}  |k8s.|", "6b 38 73 00  ")
    );
}

#[test]
fn the_pages_commands_are_known_with_their_pipes() {
    for command in [
        r#"oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator | grep -i "kms\|validation\|error""#,
        "oc logs -n openshift-kube-apiserver -l apiserver=true --tail=200 | grep -i kms",
        r#"oc logs -n openshift-kube-apiserver -l apiserver=true | grep -i "decrypt\|kms.*error""#,
        "oc get pods -n kube-system -o wide | grep vault-kms",
        r#"oc get kubeapiserver cluster -o jsonpath='{.status.conditions[?(@.type=="Encrypted")]}' | jq ."#,
        "oc exec -n openshift-etcd etcd-{node} -- etcdctl get /kubernetes.io/secrets/default/test-secret --print-value-only | hexdump -C | head -1",
        "oc get apiserver cluster -o jsonpath='{.spec.encryption}' | jq",
        REVISIONS,
    ] {
        assert!(Ask::read(command).is_ok(), "{command}");
    }
    let ask =
        Ask::read("oc logs -n openshift-kube-apiserver -l apiserver=true --tail=200 | grep -i kms");
    let ask = ask.expect("it is one of them");
    assert!(!ask.of_a_node());
    let read = format!("{ask:?}");
    for part in ["ServerLog(200)", "patterns: [\"kms\"]"] {
        assert!(read.contains(part), "{read}");
    }
}

#[test]
fn what_nobody_answers_is_refused_with_what_is_answered() {
    for command in [
        "oc delete secret -A",
        "oc get clusteroperators",
        "oc get clusteroperator kube-apiserver | rm -r /",
        "oc logs -n openshift-kube-apiserver -l apiserver=true --tail=some",
    ] {
        let why = Ask::read(command).expect_err(command);
        assert!(why.contains("storageversionmigrations"), "{why}");
    }
}
