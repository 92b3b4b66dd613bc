//! What random stories are made of: a table of steps, and how often each is taken.
//!
//! `<a|b>` stands for one of the alternatives, a word with `$` for something that only shows while the story is told: see
//! [`crate::plan`]. `$CONFIG` is one of [`CONFIGS`].

/// How often, and the step.
#[rustfmt::skip]
pub const TABLE: &[(u32, &str)] = &[
    // the spec, and time for it
    (14, "spec <aescbc|aesgcm|identity|KMS>"),
    (2, "spec <-|secretbox|bogus|AESCBC>"),
    (14, "complete"),
    (4, "settle"),
    // roll-outs, well and badly
    (16, "rollout"),
    (5, "rollout <1|2>"),
    (6, "node <1|2|3> <ready|unready|pending|failed|succeeded|unknown|gone>"),
    (4, "node <1|2|3> revision <$REVISION|$BEFORE|$AFTER>"),
    (2, "extrapod <1|2> <$REVISION|$BEFORE|$AFTER> <ready|failed|succeeded|pending>"),
    // migrations
    (12, "migrator succeeds <$FIRST|$LAST>"),
    (3, "migrator <runs|loses> <$FIRST|$LAST>"),
    (4, "migrator fails <$FIRST|$LAST> <60s|600s> etcdserver: no space"),
    // key secrets: age, loss, return, damage
    (4, "key $NEWEST age <167h|169h|2000h>"),
    (4, "key <$NEWEST|$OLDER> force-delete"),
    (3, "key <$NEWEST|$OLDER> <delete|strip>"),
    (2, "key <$NEWEST|$OLDER> save"),
    (3, "key <$NEWEST|$OLDER> restore"),
    (2, "key <$NEWEST|$OLDER> set mode <bogus|aesgcm|identity|KMS>"),
    (1, "key <$NEWEST|$OLDER> unset <mode|internal-reason|external-reason|migrated-timestamp|migrated-resources|kms-config>"),
    (1, "key <$NEWEST|$OLDER> set <migrated-timestamp yesterday|migrated-resources []|migrated-resources {|external-reason by hand>"),
    (1, r#"key <$NEWEST|$OLDER> set migrated-resources <{"resources":[{"Group":"","Resource":"secrets"}]}|{"resources":[{"resource":"configmaps"}]}|{"resources":null}|{}|null|{"resources":[5]}>"#),
    (1, r#"key $NEWEST set kms-config {"apiVersion":"v2","name":"9","endpoint":"unix:///var/run/kmsplugin/other.sock","timeout":"3s"}"#),
    (1, "key $NEWEST set kms-config <{|[]>"),
    (2, "key $NEXT create <aescbc|identity|KMS|bogus>"),
    (1, "key $NEXT create-v1"),
    (1, "key <x|0|07|18446744073709551615> create <aescbc|identity>"),
    // config secrets
    (3, "target <delete|strip|force-delete>"),
    (2, "copy <delete|strip|force-delete>"),
    (3, "deployed <delete|force-delete|corrupt>"),
    (4, "<target|deployed> create-config $CONFIG"),
    // what else moves an operator
    (4, "external <yes|no|error dependency is away>"),
    (4, "managed <Managed|Unmanaged|Removed|Force>"),
    (4, "reason <one|two>"),
    (1, r#"rawoverride <{}|null|not json|{"encryption":{"reason":5}}|{"Encryption":{"REASON":"raw"}}|{"encryption":5}|{"encryption":"x"}|[]>"#),
    (3, "resources <$FIRST|$FIRST,$LAST|$LAST,$FIRST|secrets,configmaps,routes.route.openshift.io|secrets,widgets.example.com>"),
    // an API that refuses
    (3, "fail <list|get|create|update|delete> secrets etcdserver: request timed out"),
    (1, "fail list pods etcdserver: leader changed"),
    (1, "fail get apiservers etcdserver: leader changed"),
    (2, "fail <create|delete> storageversionmigrations etcdserver: leader changed"),
    (6, "fail off"),
    // one controller before the others
    (2, "auto off"),
    (5, "auto on"),
    (6, "only <key|state|prune|migration|condition|sync>"),
    // looks
    (2, "config at-$STEP"),
    (2, "dump <$NEWEST|target|copy>"),
    (1, "observe"),
    (1, "union"),
];

/// Config texts that no controller wrote.
#[rustfmt::skip]
pub const CONFIGS: &[&str] = &[
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"1","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"x","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"secretbox":{"keys":[{"name":"3","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"identity":{}},{"aesgcm":{"keys":[{"name":"2","secret":"AAAAAAAAAAAAAAAAAAAAAA=="}]}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aesgcm":{"keys":[{"name":"9","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets","configmaps"],"providers":[{"aescbc":{"keys":[{"name":"1","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"1","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="},{"name":"2","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"kms":{"apiVersion":"v2","name":"1_secrets","endpoint":"unix:///var/run/kmsplugin/kms.sock","timeout":"10s"}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"kms":{"apiVersion":"v2","name":"plain","endpoint":"unix:///var/run/kmsplugin/kms.sock","timeout":"10s"}},{"identity":{}}]}]}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"new":{}},{"aescbc":{"keys":[{"name":"1","secret":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}]}},{}]}]}"#,
    "{}",
    "null",
    "[]",
    r#"{"kind":"EncryptionConfiguration"}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"v1","resources":[]}"#,
    r#"{"kind":"Other","apiVersion":"apiserver.config.k8s.io/v1"}"#,
    r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1"}"#,
];

/// Steps that come before all others, sometimes: most of what can go wrong does so once there is a key.
pub const OPENINGS: &[&[&str]] = &[
    &[],
    &["spec aescbc", "complete"],
    &["spec aesgcm", "complete", "spec aescbc", "complete"],
    &["spec KMS", "complete"],
    &["spec aescbc", "complete", "spec KMS", "complete"],
    &["spec KMS", "complete", "spec identity", "complete"],
    &["spec aescbc", "rollout", "rollout"],
];

/// Every step of the table with its alternatives taken apart, and how often it is taken: no alternative more than another.
pub fn all() -> Vec<(u32, String)> {
    let one = |(weight, text): &(u32, &str)| {
        let all = spread(text);
        let each = (weight * 1000).div_ceil(u32::try_from(all.len()).expect("a few"));
        all.into_iter().map(move |text| (each, text))
    };
    TABLE.iter().flat_map(one).collect()
}

fn spread(text: &str) -> Vec<String> {
    if let Some((before, "")) = text.split_once("$CONFIG") {
        let befores = spread(before);
        let one = |config| {
            befores
                .iter()
                .map(move |before| format!("{before}{config}"))
        };
        return CONFIGS.iter().flat_map(one).collect();
    }
    let Some((before, rest)) = text.split_once('<') else {
        return vec![text.to_owned()];
    };
    let (alternatives, after) = rest
        .split_once('>')
        .expect("the table closes what it opens");
    let tails = spread(after);
    alternatives
        .split('|')
        .flat_map(|one| tails.iter().map(move |tail| format!("{before}{one}{tail}")))
        .collect()
}
