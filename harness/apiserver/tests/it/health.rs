//! Health checks, logs and metrics (KMS2-HEALTH, LOG, MET).

use kms_apiserver::grpc::{Code, Method};
use kms_apiserver::health::{Check, Query};
use kms_apiserver::version::Version;

use crate::lab::{CONFIG, Lab, Mode, Plugin, field, millis, options, seconds};

const TWO: &str = "/run/kms/two.sock";
const ID: &str =
    "apiserver_id_hash=\"sha256:a51146d38077ff992eba84cf1d5e9b249073503eb74868699016153b031a38f7\"";
const KEY_1: &str =
    "key_id_hash=\"sha256:be2974546978e3739e6d6da85c4be9f334ce32df2b9fd4b6ff1b55c0d57e9d44\"";

fn two() -> (Lab, String) {
    let mut lab = Lab::new();
    lab.plugins.insert(TWO.to_owned(), Plugin::default());
    let config = CONFIG.replace(
        "      - identity",
        &format!(
            "      - kms: {{apiVersion: v2, name: two, endpoint: 'unix://{TWO}'}}\n      - identity"
        ),
    );
    (lab, config)
}

fn checks(result: Result<(), &str>) -> [Check; 2] {
    let check = |name: &str, result: Result<(), &str>| Check {
        name: name.to_owned(),
        result: result.map_err(str::to_owned),
    };
    [check("ping", Ok(())), check("kms-providers", result)]
}

#[test]
fn kms2_health_01_a_probe_never_decrypts() {
    let mut lab = Lab::started();
    for _ in 0..10 {
        lab.run(seconds(21));
        lab.probe().unwrap();
    }
    assert_eq!(lab.count(Method::Decrypt), 0);
    assert_eq!(lab.count(Method::Encrypt), 1);
}

#[test]
fn kms2_health_02_the_names_of_the_checks() {
    let v2 = "      - kms: {apiVersion: v2, name: NAME, endpoint: 'unix:///run/kms/plugin.sock', timeout: 100ms}\n";
    let v1 = v2.replace("v2", "v1");
    let head = CONFIG.split("      - kms:").next().unwrap();
    let config = |kinds: &[&str]| {
        let entries: Vec<String> = kinds
            .iter()
            .enumerate()
            .map(|(at, kind)| kind.replace("NAME", &format!("n{at}")))
            .collect();
        format!("{head}{}      - identity: {{}}\n", entries.concat())
    };
    let both = ["kms-provider-0", "kms-provider-1"];
    for (kinds, reload, names) in [
        (vec![], false, vec![]),
        (vec![], true, vec!["kms-providers"]),
        (vec![v2], false, vec!["kms-providers"]),
        (vec![v2, v2], true, vec!["kms-providers"]),
        (vec![v1.as_str()], false, vec!["kms-provider-0"]),
        (vec![v1.as_str(), v2], false, both.to_vec()),
        (vec![v2, v1.as_str()], true, vec!["kms-providers"]),
    ] {
        let mut with_v1 = options(37);
        with_v1.kms_v1 = Some(true);
        with_v1.reload = reload;
        let mut lab = Lab::new();
        lab.ready(&config(&kinds), with_v1);
        assert_eq!(lab.server().check_names(), names);
    }
}

#[test]
fn kms2_health_03_livez_by_version() {
    let kms_on_livez = |minor| Version::new(minor).unwrap().kms_checks_on_livez();
    let readiness = |minor| Version::new(minor).unwrap().storage_readiness_on_livez();
    assert_eq!(
        [27, 28, 29, 37].map(kms_on_livez),
        [true, true, false, false]
    );
    assert_eq!([34, 36, 37].map(readiness), [false, true, true]);
}

#[test]
fn kms2_health_04_what_the_endpoints_say() {
    let say = |target: &str, result: Result<(), &str>| {
        let answer = Query::parse(target).answer(&checks(result));
        (answer.status, answer.body)
    };
    let bad = Err("kms-provider-0: sick");
    assert_eq!(
        say("/healthz/kms-providers", Ok(())),
        (200, "ok".to_owned())
    );
    assert_eq!(
        say("/readyz/kms-providers", bad),
        (
            500,
            "internal server error: kms-provider-0: sick\n".to_owned()
        )
    );
    assert_eq!(say("/healthz", Ok(())), (200, "ok".to_owned()));
    let failed = "[+]ping ok\n[-]kms-providers failed: reason withheld\nhealthz check failed\n";
    assert_eq!(say("/healthz", bad), (500, failed.to_owned()));
    let listed = "[+]ping ok\n[+]kms-providers ok\nreadyz check passed\n";
    assert_eq!(say("/readyz?verbose", Ok(())), (200, listed.to_owned()));
    let excluded = "[+]ping ok\n[+]kms-providers excluded: ok\nreadyz check passed\n";
    assert_eq!(
        say("/readyz?verbose&exclude=kms-providers", bad),
        (200, excluded.to_owned())
    );
    assert!(!Query::parse("/readyz?exclude=kms-providers").wants("kms-providers"));
    let warned = say("/healthz?exclude=nothing&verbose", Ok(())).1;
    assert!(
        warned
            .contains("warn: some health checks cannot be excluded: no matches for \"nothing\"\n")
    );
    assert_eq!(say("/healthz/nothing", Ok(())).0, 404);
}

#[test]
fn kms2_health_05_providers_one_after_another() {
    let (mut lab, config) = two();
    lab.ready(&config, options(37));
    lab.run(seconds(21));
    lab.plugins.get_mut(TWO).unwrap().status = Mode::Hangs;
    lab.plugin().status = Mode::Hangs;
    let probe = lab.begin_probe(None);
    lab.run(seconds(7));
    let (at, result) = lab.probed(probe).unwrap();
    assert_eq!(at, seconds(27), "each waits for its timeout");
    let text = result.unwrap_err();
    assert!(text.starts_with("[kms-provider-0: failed to perform status section of the healthz check for KMS Provider lab, error: "), "{text}");
    assert!(
        text.contains(", kms-provider-1: failed to perform") && text.ends_with(']'),
        "{text}"
    );
    // One alone stands without brackets, under its index in the file.
    lab.plugin().status = Mode::Well;
    lab.run(seconds(4));
    let text = lab.probe().unwrap_err();
    assert!(
        text.starts_with("kms-provider-1: ") && !text.ends_with(']'),
        "{text}"
    );
}

#[test]
fn kms2_health_06_the_wrapper_is_not_remembered() {
    let mut lab = Lab::started();
    lab.run(seconds(21));
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    let bare = "rpc error: code = Unavailable desc = told to fail";
    let wrapped = format!(
        "kms-provider-0: failed to perform status section of the healthz check for KMS Provider lab, error: {bare}"
    );
    assert_eq!(lab.probe().unwrap_err(), wrapped);
    assert_eq!(lab.probe().unwrap_err(), format!("kms-provider-0: {bare}"));
    // A fault of the answer keeps its wrapper.
    lab.plugin().status = Mode::Well;
    "sick".clone_into(&mut lab.plugin().healthz);
    lab.run(seconds(4));
    let first = lab.probe().unwrap_err();
    assert_eq!(lab.probe().unwrap_err(), first);
}

#[test]
fn kms2_health_07_an_unhealthy_plugin_and_cached_reads_at_one_moment() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.run(seconds(61));
    lab.plugin().status = Mode::Fails(Code::UNAVAILABLE);
    lab.run(seconds(60));
    assert!(lab.probe().is_err());
    assert!(lab.read(&stored).is_ok() && lab.write(b"y").is_ok());
}

#[test]
fn kms2_log_01_uids_at_verbosity_6() {
    let mut loud = options(37);
    loud.verbosity = 6;
    let mut lab = Lab::new();
    lab.ready(CONFIG, loud.clone());
    let stored = lab.write(b"x").unwrap();
    lab.ready(CONFIG, loud);
    lab.read(&stored).unwrap();
    let uid = |at: usize| String::from_utf8(field(&lab.calls[at].request, 2)).unwrap();
    let (encrypt, decrypt) = (uid(1), uid(4));
    let lines = lab.logs.join("\n");
    let place =
        "key=\"/registry/secrets/default/demo\" group=\"\" version=\"\" resource=\"secrets\"";
    for line in [
        format!("\"encrypting content using envelope service\" uid=\"{encrypt}\""),
        format!("\"encrypting content using DEK\" uid=\"{encrypt}\" {place}"),
        format!("\"decrypting content using envelope service\" uid=\"{decrypt}\" {place}"),
    ] {
        assert!(lines.contains(&line), "{line}\n{lines}");
    }
    let mut lab = Lab::started();
    lab.write(b"x").unwrap();
    assert!(
        lab.logs.iter().all(|line| !line.contains("uid=")),
        "not below it"
    );
}

#[test]
fn kms2_log_02_failed_probes_are_logged_and_key_ids_only_as_hashes() {
    let mut loud = options(37);
    loud.verbosity = 10;
    let mut lab = Lab::new();
    "plain-key-id".clone_into(&mut lab.plugin().key_id);
    lab.ready(CONFIG, loud);
    lab.write(b"x").unwrap();
    "other-key-id".clone_into(&mut lab.plugin().key_id);
    lab.plugin().encrypt = Mode::Fails(Code::INTERNAL);
    lab.run(seconds(100));
    let failed = lab
        .logs
        .iter()
        .filter(|line| line.contains("\"kms plugin failed health check probe\""));
    assert_eq!(failed.count(), 5);
    assert!(
        lab.logs.iter().all(|line| !line.contains("-key-id")),
        "{:?}",
        lab.logs
    );
}

#[test]
fn kms2_met_01_latencies_by_method_and_code() {
    let mut lab = Lab::new();
    lab.plugin().delay.insert("Status", millis(250));
    lab.load(CONFIG, options(37));
    lab.run(seconds(1));
    lab.plugin().status = Mode::Fails(Code(99));
    lab.run(seconds(60));
    let name = "apiserver_envelope_encryption_kms_operations_latency_seconds";
    let labels = |code: &str, method: &str| {
        format!(
            "grpc_status_code=\"{code}\",method_name=\"/v2.KeyManagementService/{method}\",provider_name=\"lab\""
        )
    };
    let ok = labels("OK", "Status");
    assert_eq!(lab.metric(&format!("{name}_sum{{{ok}}}")), Some(0.25));
    assert_eq!(
        lab.metric(&format!("{name}_bucket{{{ok},le=\"0.2048\"}}")),
        Some(0.0)
    );
    assert_eq!(
        lab.metric(&format!("{name}_bucket{{{ok},le=\"0.4096\"}}")),
        Some(1.0)
    );
    let odd = labels("Code(99)", "Status");
    assert_eq!(lab.metric(&format!("{name}_count{{{odd}}}")), Some(1.0));
    let page = lab.server().metrics();
    let buckets = page
        .lines()
        .filter(|line| line.contains("_bucket") && line.contains(&ok))
        .count();
    assert_eq!(buckets, 21);
}

#[test]
fn kms2_met_02_key_ids_are_counted_by_hash() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.read(&stored).unwrap();
    let mut damaged = stored.clone();
    damaged[60] ^= 1;
    lab.read(&damaged).unwrap_err();
    let name = "apiserver_envelope_encryption_key_id_hash_total";
    let series = |way: &str| {
        format!("{name}{{{ID},{KEY_1},provider_name=\"lab\",transformation_type=\"{way}\"}}")
    };
    assert_eq!(lab.metric(&series("to_storage")), Some(1.0));
    assert_eq!(
        lab.metric(&series("from_storage")),
        Some(2.0),
        "also what did not open"
    );
}

#[test]
fn kms2_met_03_when_a_key_id_was_last_used() {
    let mut lab = Lab::started();
    lab.run(seconds(5));
    lab.write(b"x").unwrap();
    let series = format!(
        "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{{{ID},{KEY_1},provider_name=\"lab\",transformation_type=\"to_storage\"}}"
    );
    assert_eq!(lab.metric(&series), Some(1_800_000_005.0));
}

#[test]
fn kms2_met_04_when_status_last_said_a_key_id() {
    let mut lab = Lab::started();
    "sick".clone_into(&mut lab.plugin().healthz);
    lab.run(seconds(61));
    let series = format!(
        "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{{{ID},{KEY_1},provider_name=\"lab\"}}"
    );
    assert_eq!(lab.metric(&series), Some(1_800_000_060.0), "healthy or not");
}

#[test]
fn kms2_met_05_invalid_key_ids_are_counted() {
    let mut lab = Lab::started();
    lab.plugin().key_id.clear();
    lab.run(seconds(70));
    let series = "apiserver_envelope_encryption_invalid_key_id_from_status_total{error=\"empty\",provider_name=\"lab\"}";
    assert_eq!(lab.metric(series), Some(2.0));
}

#[test]
fn kms2_met_06_the_size_of_the_seed_cache() {
    let mut lab = Lab::started();
    let size = "apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"lab\"}";
    assert_eq!(lab.metric(size), None, "set on an insert only");
    lab.write(b"x").unwrap();
    assert_eq!(lab.metric(size), Some(1.0));
    let mut lab = Lab::new();
    "v2beta1".clone_into(&mut lab.plugin().version);
    lab.ready(CONFIG, options(28));
    lab.write(b"x").unwrap();
    assert_eq!(lab.metric(size), None, "not before 1.29");
}

#[test]
fn kms2_met_07_at_most_100_key_ids() {
    let mut lab = Lab::new();
    let mut stored = Vec::new();
    for at in 0..120 {
        lab.plugin().key_id = format!("key-{at:03}");
        lab.ready(CONFIG, options(37));
        stored.push(lab.write(b"x").unwrap());
    }
    lab.ready(CONFIG, options(37));
    for value in &stored {
        lab.read(value).unwrap();
    }
    let count = |lab: &mut Lab, way: &str| {
        let page = lab.server().metrics();
        let lines = page
            .lines()
            .filter(|line| line.starts_with("apiserver_envelope_encryption_key_id_hash_total{"));
        lines.filter(|line| line.contains(way)).count()
    };
    assert_eq!(count(&mut lab, "from_storage"), 100);
    lab.write(b"x").unwrap();
    assert_eq!(
        count(&mut lab, "from_storage"),
        99,
        "both ways share one limit"
    );
    assert_eq!(count(&mut lab, "to_storage"), 1);
}

#[test]
fn kms2_met_08_a_v1_metric_that_nothing_feeds() {
    let mut lab = Lab::started();
    assert_eq!(
        lab.metric("apiserver_envelope_encryption_dek_cache_fill_percent"),
        Some(0.0)
    );
}

#[test]
fn kms2_met_09_transformations_by_prefix_and_outcome() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.ready(CONFIG, options(37));
    lab.plugin().decrypt = Mode::Fails(Code(9));
    lab.read(&stored).unwrap_err();
    lab.plugin().decrypt = Mode::Well;
    lab.plugin().delay.insert("Decrypt", millis(100));
    lab.read(&stored).unwrap();
    lab.read(b"plain").unwrap();
    lab.read(b"k8s:enc:other").unwrap_err();
    let name = "apiserver_storage_transformation_operations_total";
    let series = |status: &str, prefix: &str| {
        format!(
            "{name}{{resource=\"secrets\",status=\"{status}\",transformation_type=\"from_storage\",transformer_prefix=\"{prefix}\"}}"
        )
    };
    for (status, prefix) in [
        ("OK", "k8s:enc:kms:v2:lab:"),
        ("FailedPrecondition", "k8s:enc:kms:v2:lab:"),
        ("OK", "identity"),
        ("unknown-non-grpc", "unknown"),
    ] {
        assert_eq!(
            lab.metric(&series(status, prefix)),
            Some(1.0),
            "{status} {prefix}"
        );
    }
    let took = "apiserver_storage_transformation_duration_seconds_sum{transformation_type=\"from_storage\",transformer_prefix=\"k8s:enc:kms:v2:lab:\"}";
    assert_eq!(lab.metric(took), Some(0.1), "successes only");
    assert_eq!(
        lab.metric("apiserver_storage_envelope_transformation_cache_misses_total"),
        Some(2.0)
    );
    assert_eq!(
        lab.metric("apiserver_storage_data_key_generation_duration_seconds_count"),
        Some(1.0)
    );
    assert_eq!(
        lab.metric("apiserver_storage_data_key_generation_failures_total"),
        Some(0.0)
    );
    // Without the label before 1.32.
    lab.ready(CONFIG, options(31));
    lab.write(b"x").unwrap();
    assert!(
        lab.server()
            .metrics()
            .contains("operations_total{status=\"OK\"")
    );
}

#[test]
fn kms2_met_10_reloads_by_version() {
    let family = "apiserver_encryption_config_controller";
    for (minor, total, info) in [
        (
            29,
            format!("{family}_automatic_reload_success_total{{{ID}}}"),
            false,
        ),
        (
            30,
            format!("{family}_automatic_reloads_total{{{ID},status=\"success\"}}"),
            false,
        ),
        (
            37,
            format!("{family}_automatic_reloads_total{{{ID},status=\"success\"}}"),
            true,
        ),
    ] {
        let mut reloading = options(minor);
        reloading.reload = true;
        let mut lab = Lab::new();
        lab.ready(CONFIG, reloading);
        lab.files[0] = Ok(format!("{CONFIG}# changed"));
        lab.run(seconds(61));
        assert_eq!(lab.metric(&total), Some(1.0), "1.{minor}");
        let last =
            format!("{family}_automatic_reload_last_timestamp_seconds{{{ID},status=\"success\"}}");
        assert_eq!(lab.metric(&last), Some(1_800_000_060.0));
        let hash = lab.server().config_hash().unwrap().to_owned();
        let name = format!("{family}_last_config_info{{{ID},hash=\"{hash}\"}}");
        assert_eq!(lab.metric(&name).is_some(), info, "1.{minor}");
    }
}

#[test]
fn kms2_met_11_the_servers_id_from_1_29() {
    for (minor, there) in [(28, false), (29, true)] {
        let mut lab = Lab::new();
        "v2beta1".clone_into(&mut lab.plugin().version);
        lab.ready(CONFIG, options(minor));
        lab.write(b"x").unwrap();
        assert_eq!(lab.server().metrics().contains("apiserver_id_hash"), there);
    }
    let mut nameless = options(37);
    nameless.server_id.clear();
    let mut lab = Lab::new();
    lab.ready(CONFIG, nameless);
    assert!(lab.server().metrics().contains("apiserver_id_hash=\"\""));
}
