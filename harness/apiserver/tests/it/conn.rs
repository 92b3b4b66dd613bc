//! The connection (KMS2-CONN).

use std::time::Duration;

use kms_apiserver::config::Endpoint;
use kms_apiserver::grpc::{Code, Method};
use kms_apiserver::seam::{GOAWAY_TEXT, grpc_timeout};
use kms_apiserver::version::Version;

use crate::lab::{CONFIG, Lab, Mode, SOCKET, millis, options, seconds};

const ABSENT: &str = "code = DeadlineExceeded desc = latest balancer error: connection error: desc \
                      = \"transport: Error while dialing: dial unix /run/kms/plugin.sock: connect: \
                      no such file or directory\"";

#[test]
fn kms2_conn_01_only_unix_sockets() {
    for (endpoint, why) in [
        (
            "tcp://127.0.0.1:1",
            "unsupported scheme \"tcp\" for KMS provider",
        ),
        ("/run/kms.sock", "unsupported scheme \"\" for KMS provider"),
        ("\"\"", "endpoint is a mandatory field for a kms"),
    ] {
        let config = CONFIG.replace("unix:///run/kms/plugin.sock", endpoint);
        let error = Lab::new().try_load(&config, options(37)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn kms2_conn_02_what_is_dialled() {
    let table = [
        ("unix:///run/kms.sock", "/run/kms.sock"),
        ("unix:///@kms", "@kms"),
        ("unix:/run/kms.sock", "/run/kms.sock"),
        ("unix://host/run/kms.sock", "/run/kms.sock"),
        ("unix://u@host:80/run/kms.sock", "/run/kms.sock"),
        ("unix://@kms", ""),
        ("unix:@kms", ""),
        ("unix:kms.sock", ""),
        ("unix:/@kms", "@kms"),
        ("unix:///%40kms", "@kms"),
        ("unix:////@kms", "//@kms"),
        ("unix:///run/@kms", "/run/@kms"),
        ("unix:///a?x=1", "/a"),
        ("unix:///a#f", "/a"),
        ("unix:///a%20b.sock", "/a b.sock"),
        ("unix:///a b.sock", "/a b.sock"),
        ("UNIX:///x", "/x"),
    ];
    for (endpoint, dialled) in table {
        let parsed = Endpoint::parse(endpoint).unwrap();
        assert_eq!(
            (parsed.scheme.as_str(), parsed.address()),
            ("unix", dialled),
            "{endpoint}"
        );
    }
}

#[test]
fn kms2_conn_04_the_authority_by_version() {
    for (minor, path, abstract_socket) in [
        (27, "/run/kms/a b.sock", "@kms"),
        (29, "%2Frun%2Fkms%2Fa%20b.sock", "@kms"),
        (31, "%2Frun%2Fkms%2Fa%20b.sock", "@kms"),
        (32, "localhost", "localhost"),
        (37, "localhost", "localhost"),
    ] {
        let version = Version::new(minor).unwrap();
        assert_eq!(version.authority("/run/kms/a b.sock"), path, "1.{minor}");
        assert_eq!(version.authority("@kms"), abstract_socket, "1.{minor}");
    }
    assert_eq!(Lab::started().calls[0].authority, "localhost");
}

#[test]
fn kms2_conn_05_a_server_starts_without_its_plugin() {
    let mut lab = Lab::new();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    assert_eq!(lab.dials.len(), 1, "it dials at once");
    lab.run(seconds(4));
    assert_eq!(lab.started[&0], seconds(3));
}

#[test]
fn kms2_conn_06_calls_wait_for_a_connection() {
    // Absent: the whole timeout, then DEADLINE_EXCEEDED.
    let mut lab = Lab::new();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    lab.run(seconds(3));
    assert!(lab.probe().unwrap_err().contains(ABSENT));
    assert_eq!(lab.now, seconds(3), "from the cache");
    // Accepts and is silent: another text.
    let mut lab = Lab::new();
    lab.plugin().silent = true;
    lab.load(CONFIG, options(37));
    lab.run(seconds(3));
    let text = lab.probe().unwrap_err();
    assert!(
        text.ends_with(
            "desc = context deadline exceeded while waiting for connections to become ready"
        ),
        "{text}"
    );
    // Hangs on a live connection: a third.
    let mut lab = Lab::new();
    lab.plugin().status = Mode::Hangs;
    lab.load(CONFIG, options(37));
    lab.run(seconds(3));
    assert!(
        lab.probe()
            .unwrap_err()
            .ends_with("desc = context deadline exceeded")
    );
    // Appears in the middle: the call succeeds, with what is left of its deadline.
    let mut lab = Lab::new();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    lab.run(millis(1500));
    lab.revive(SOCKET);
    lab.run(seconds(2));
    assert_eq!(lab.started[&0], millis(2600));
    assert_eq!(lab.calls[0].timeout, millis(400));
}

#[test]
fn kms2_conn_07_the_deadline_of_a_call() {
    let mut lab = Lab::started();
    assert_eq!(lab.calls[0].timeout, seconds(3));
    lab.run(seconds(21));
    let probe = lab.begin_probe(Some(lab.now + millis(500)));
    lab.run(Duration::ZERO);
    assert_eq!(
        lab.calls.last().unwrap().timeout,
        millis(500),
        "the prober's is shorter"
    );
    assert!(lab.probed(probe).unwrap().1.is_ok());
    for (timeout, header) in [
        (seconds(3), "3000000u"),
        (Duration::from_micros(2_999_987), "2999987u"),
        (millis(100), "100000u"),
        (Duration::from_nanos(99_999_999), "99999999n"),
        (seconds(3600), "3600000m"),
    ] {
        assert_eq!(grpc_timeout(timeout), header);
    }
}

#[test]
fn kms2_conn_08_no_call_is_repeated() {
    let mut lab = Lab::started();
    let stored = lab.write(b"x").unwrap();
    lab.ready(CONFIG, options(37));
    lab.plugin().decrypt = Mode::Cuts;
    let error = lab.read(&stored).unwrap_err();
    assert_eq!(
        error,
        "failed to decrypt DEK, error: rpc error: code = Unavailable desc = error reading from server: EOF"
    );
    assert_eq!(lab.count(Method::Decrypt), 1);
    lab.plugin().decrypt = Mode::Well;
    let dials = lab.dials.len();
    assert!(
        lab.read(&stored).is_ok(),
        "the next call connects again, at once"
    );
    assert_eq!((lab.dials.len(), lab.now), (dials + 1, Duration::ZERO));
}

#[test]
fn kms2_conn_09_one_connection_that_outlives_hung_calls() {
    let mut lab = Lab::started();
    lab.plugin().status = Mode::Hangs;
    lab.run(seconds(100));
    lab.plugin().status = Mode::Well;
    lab.run(seconds(20));
    assert_eq!(lab.dials.len(), 1);
    assert!(lab.probe().is_ok());
}

#[test]
fn kms2_conn_10_the_pauses_between_dials() {
    let mut lab = Lab::new();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    lab.run(seconds(420));
    let times: Vec<f64> = lab.dials.iter().map(|(at, _)| at.as_secs_f64()).collect();
    // The laboratory's jitter is nothing.
    let expected = [
        0.0, 1.0, 2.6, 5.16, 9.256, 15.81, 26.295, 43.07, 69.9, 112.9, 181.6, 291.5, 411.5,
    ];
    assert_eq!(times.len(), expected.len(), "{times:?}");
    for (time, expected) in times.iter().zip(expected) {
        assert!((time - expected).abs() < 0.1, "{times:?}");
    }
    // A success resets it.
    lab.revive(SOCKET);
    lab.run(seconds(150));
    lab.kill(SOCKET);
    let dials = lab.dials.len();
    lab.run(seconds(62));
    let gap = lab.dials[dials + 1].0 - lab.dials[dials].0;
    assert_eq!(gap, seconds(1));
}

#[test]
fn kms2_conn_11_a_lost_connection_is_dialled_by_the_next_call() {
    let mut lab = Lab::started();
    lab.run(seconds(20));
    lab.cut(SOCKET);
    lab.run(millis(39_900));
    assert_eq!(lab.dials.len(), 1, "idle until somebody calls");
    lab.run(millis(200));
    assert_eq!(lab.dials[1].0, seconds(60), "the next poll");
    assert!(lab.probe().is_ok());
}

#[test]
fn kms2_conn_12_a_silent_listener_holds_an_attempt_for_20_s() {
    let mut lab = Lab::new();
    lab.plugin().silent = true;
    lab.load(CONFIG, options(37));
    lab.run(seconds(50));
    let times: Vec<Duration> = lab.dials.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [seconds(0), seconds(21), millis(42_600)]);
    lab.run(seconds(3));
    let text = lab.probe().unwrap_err();
    assert!(text.contains("error reading server preface: raw-read unix @->/run/kms/plugin.sock: use of closed network connection"), "{text}");
}

#[test]
fn kms2_conn_13_a_drained_server_ends_its_calls() {
    let mut lab = Lab::started();
    let old = lab.write(b"x").unwrap();
    lab.ready(CONFIG, options(37));
    let own = lab.write(b"y").unwrap();
    lab.plugin().status = Mode::Hangs;
    lab.run(seconds(21));
    let probe = lab.begin_probe(None);
    let now = lab.at();
    lab.server().drain(now);
    lab.pump(1);
    let (_, result) = lab.probed(probe).unwrap();
    let text = result.unwrap_err();
    assert!(
        text.ends_with("code = Canceled desc = grpc: the client connection is closing"),
        "{text}"
    );
    assert!(
        lab.read(&old)
            .unwrap_err()
            .ends_with("grpc: the client connection is closing")
    );
    assert_eq!(lab.read(&own).unwrap().bytes, b"y", "cached reads go on");
    assert!(lab.write(b"z").is_ok(), "and writes until expiry");
    let calls = lab.calls.iter().filter(|call| call.server == 1).count();
    lab.run(seconds(300));
    assert_eq!(
        lab.calls.iter().filter(|call| call.server == 1).count(),
        calls,
        "no more polls"
    );
    assert!(lab.write(b"z").unwrap_err().contains("expired"));
    assert_eq!(GOAWAY_TEXT, "client transport shutdown");
    assert_eq!(lab.closes, [seconds(21)]);
}

#[test]
fn kms2_conn_14_every_failed_dial_is_logged() {
    let mut lab = Lab::new();
    lab.plugin().up = false;
    lab.load(CONFIG, options(37));
    lab.run(seconds(30));
    let lines = lab.logs.iter().filter(|line| {
        line.starts_with("\"failed to create connection to unix socket\" err=\"dial unix")
    });
    assert_eq!(lines.count(), lab.dials.len());
}

/// A call that the server provably never saw goes out again, once.
#[test]
fn an_unprocessed_call_is_sent_again_once() {
    use kms_apiserver::seam::{Action, Event};
    let mut lab = Lab::started();
    lab.run(seconds(21));
    lab.plugin().status = Mode::Hangs;
    lab.begin_probe(None);
    let now = lab.at();
    let server = &mut lab.servers[0];
    let (provider, call) = (
        kms_apiserver::seam::ProviderId(1),
        kms_apiserver::seam::CallId(3),
    );
    server.unprocessed(now, provider, call);
    let again = server.poll(now);
    assert!(
        matches!(&again[..], [Action::Send { rpc, .. }] if rpc.call == call),
        "{again:?}"
    );
    server.unprocessed(now, provider, call);
    let failed = server.poll(now);
    let told = failed.iter().any(|action| matches!(action, Action::Event(Event::Probed { result: Err(text), .. }) if text.contains("Unavailable")));
    assert!(told, "{failed:?}");
    assert_eq!(Code::UNAVAILABLE.name(), "Unavailable");
}
