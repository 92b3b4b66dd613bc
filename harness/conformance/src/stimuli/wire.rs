//! The API by field numbers and paths, and HTTP/2 exactly as the API server's client speaks it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kms_history::{Request, What};
use kms_judge::stimuli::AFTERWARDS;
use kms_v2_api::SERVICE;
use tokio::time::Instant;

use crate::facts;
use crate::lab::{Material, Plan, Scene};
use crate::proto;
use crate::raw::conn::RawCall;
use crate::raw::{Conn, frame};

/// Fields that no version of the API has: bytes, a number, a fixed 64-bit value.
const UNKNOWN: &[u8] = &[
    0x7a, 3, b'n', b'e', b'w', 0x80, 0x01, 7, 0x89, 0x01, 1, 2, 3, 4, 5, 6, 7, 8,
];

/// Requests encoded in every way that proto3 allows, and paths that are not the API's
/// (KMS2-WIRE-01..07).
pub(crate) async fn messages(scene: Scene<'_>) {
    for case in ["", "unknown-field"] {
        let body = if case.is_empty() {
            Bytes::new()
        } else {
            Bytes::from_static(UNKNOWN)
        };
        scene
            .send(Plan {
                method: "Status".into(),
                case: case.into(),
                uid: String::new(),
                request: Request::Status,
                body,
                of: None,
                secret: Bytes::new(),
            })
            .await;
    }
    for case in ["unknown-field", "reversed", "repeated"] {
        let (plaintext, uid) = (scene.seed(case), scene.uid(case));
        let mut plan = scene.encrypt_plan(case, &plaintext, uid);
        let mut body = BytesMut::new();
        match case {
            "unknown-field" => {
                body.extend_from_slice(UNKNOWN);
                body.extend_from_slice(&plan.body);
                body.extend_from_slice(UNKNOWN);
            }
            "reversed" => {
                proto::put_field(&mut body, 2, plan.uid.as_bytes());
                proto::put_field(&mut body, 1, &plaintext);
            }
            _ => {
                proto::put_field(&mut body, 1, b"the last of a field counts");
                body.extend_from_slice(&plan.body);
            }
        }
        plan.body = body.freeze();
        let reply = scene.send(plan).await;
        if let Some(sealed) = reply.sealed {
            let material = Material {
                of: reply.seq,
                plaintext,
                sealed,
            };
            decrypts(scene, case, &material).await;
        }
    }
    for path in [
        "/v3.KeyManagementService/Status",
        "/v2.KeyManagementService/Reencrypt",
    ] {
        scene
            .send(Plan {
                method: path.into(),
                case: "foreign-path".into(),
                uid: String::new(),
                request: Request::Bytes(facts::blob(b"")),
                body: Bytes::new(),
                of: None,
                secret: Bytes::new(),
            })
            .await;
    }
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

/// The same material, encoded by the book and against its grain.
async fn decrypts(scene: Scene<'_>, label: &str, material: &Material) {
    for case in ["", "unknown-field", "reversed"] {
        let uid = scene.uid(format_args!("{label}/{case}"));
        let mut plan = scene.decrypt_plan(case, material, uid);
        let mut body = BytesMut::new();
        match case {
            "unknown-field" => {
                body.extend_from_slice(&plan.body);
                body.extend_from_slice(UNKNOWN);
            }
            "reversed" => {
                for (key, value) in &material.sealed.annotations {
                    let mut entry = BytesMut::new();
                    proto::put_field(&mut entry, 2, value);
                    proto::put_field(&mut entry, 1, key);
                    proto::put_field(&mut body, 4, &entry);
                }
                proto::put_field(&mut body, 3, &material.sealed.key_id);
                proto::put_field(&mut body, 2, plan.uid.as_bytes());
                proto::put_field(&mut body, 1, &material.sealed.ciphertext);
            }
            _ => body.extend_from_slice(&plan.body),
        }
        plan.body = body.freeze();
        scene.send(plan).await;
    }
}

/// The header fields of a call, as the API server's client orders them (KMS2-WIRE-12).
pub(crate) fn grpc_go_fields<'c>(
    path: &'c str,
    authority: &'c str,
    timeout: &'c str,
) -> Vec<(&'c str, &'c str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.82.1"),
        ("te", "trailers"),
        ("grpc-accept-encoding", "gzip"),
        ("grpc-timeout", timeout),
    ]
}

pub(crate) fn path_of(method: &str) -> String {
    format!("/{SERVICE}/{method}")
}

/// One raw call of a plan, shaped as grpc-go shapes it.
pub(crate) async fn raw_call<'a>(
    conn: &mut Conn<'a>,
    plan: Plan,
    case: &'static str,
    authority: &str,
    limit: Duration,
) -> crate::lab::Reply {
    let path = path_of(&plan.method);
    let timeout = format!("{}u", limit.as_micros());
    let call = RawCall {
        method: &plan.method,
        case,
        fields: grpc_go_fields(&path, authority, &timeout),
        data: frame::message(0, &plan.body),
        open: false,
        request: plan.request,
        uid: plan.uid,
        of: plan.of,
        deadline: Some(limit),
        limit,
    };
    let start = Instant::now();
    let sent = conn.start(&call).await;
    let (outcome, decoded) = conn.finish(&call, sent, start).await;
    let (sealed, plaintext, key_id) = match decoded {
        Some(d) => (d.sealed, d.plaintext, d.key_id),
        None => (None, None, Bytes::new()),
    };
    crate::lab::Reply {
        seq: sent.1,
        outcome,
        sealed,
        plaintext,
        key_id,
    }
}

pub(super) fn status_plan() -> Plan {
    Plan {
        method: "Status".into(),
        case: "".into(),
        uid: String::new(),
        request: Request::Status,
        body: Bytes::new(),
        of: None,
        secret: Bytes::new(),
    }
}

/// Grants what was read and measures the bandwidth, as grpc-go does after an answer.
async fn bdp(conn: &mut Conn<'_>, bytes: u32) {
    conn.send(frame::Frame::window(0, bytes)).await;
    conn.send(frame::Frame::bdp_ping()).await;
}

/// A raw connection, or a note why there is none.
pub(super) async fn open<'a>(scene: Scene<'a>) -> Option<Conn<'a>> {
    match Conn::open(scene).await {
        Ok(conn) => Some(conn),
        Err(reason) => {
            scene.not_run(format!("no-connection: {reason}"));
            None
        }
    }
}

/// The three methods on one connection, then GOAWAY (KMS2-WIRE-12).
pub(crate) async fn grpc_go(scene: Scene<'_>) {
    let limit = scene.lab.options.timeout;
    let Some(mut conn) = open(scene).await else {
        return;
    };
    raw_call(&mut conn, status_plan(), "", "localhost", limit).await;
    bdp(&mut conn, 20).await;
    let plaintext = scene.seed("raw");
    let plan = scene.encrypt_plan("", &plaintext, scene.uid("encrypt"));
    let reply = raw_call(&mut conn, plan, "", "localhost", limit).await;
    bdp(&mut conn, 55).await;
    if let Some(sealed) = reply.sealed {
        let material = Material {
            of: reply.seq,
            plaintext,
            sealed,
        };
        let plan = scene.decrypt_plan("", &material, scene.uid("decrypt"));
        raw_call(&mut conn, plan, "", "localhost", limit).await;
        bdp(&mut conn, 39).await;
    }
    let mut goaway = vec![0; 8];
    goaway.extend_from_slice(b"client transport shutdown");
    conn.send(frame::Frame::new(frame::GOAWAY, 0, 0, goaway))
        .await;
    conn.drain(Duration::from_millis(50)).await;
}

/// A long series of small calls, with grpc-go's PING and WINDOW_UPDATE after each
/// (KMS2-CONN-09, AVAIL-09).
pub(crate) async fn pings(scene: Scene<'_>) {
    let total = scene.lab.options.pings;
    let Some(mut conn) = open(scene).await else {
        return;
    };
    for done in 0..total {
        raw_call(
            &mut conn,
            status_plan(),
            "",
            "localhost",
            scene.lab.options.timeout,
        )
        .await;
        bdp(&mut conn, 20).await;
        if conn.is_over() {
            return;
        }
        scene.progress(done.into(), total.into());
    }
    // The acknowledgements of the last PINGs.
    let deadline = Instant::now() + Duration::from_secs(1);
    while conn.ping_acks < total && conn.next(deadline).await.is_some() {}
}

/// `:authority` as servers of 1.27 to 1.31 send it (KMS2-CONN-04).
pub(crate) async fn authorities(scene: Scene<'_>) {
    for (case, authority) in [
        ("localhost", "localhost"),
        ("path", "/run/kmsplugin/socket.sock"),
        ("escaped-path", "%2Frun%2Fkmsplugin%2Fsocket.sock"),
        ("abstract", "@kms"),
    ] {
        let Some(mut conn) = open(scene).await else {
            return;
        };
        raw_call(
            &mut conn,
            status_plan(),
            case,
            authority,
            scene.lab.options.timeout,
        )
        .await;
    }
}

/// Deadlines that the subject itself has to keep (KMS2-AVAIL-03).
pub(crate) async fn deadlines(scene: Scene<'_>) {
    /// Enough for a healthy plugin, and far from the harness's own limit.
    const SHORT: Duration = Duration::from_millis(250);
    let limit = scene.lab.options.timeout;
    let Some(mut conn) = open(scene).await else {
        return;
    };
    let (mut material, plaintext) = (None, scene.seed("short"));
    for (i, (case, timeout)) in [
        ("short", "250m"),
        ("short", "250m"),
        ("tiny", "1m"),
        ("tiny", "1n"),
    ]
    .into_iter()
    .enumerate()
    {
        for method in ["Status", "Encrypt", "Decrypt"] {
            let uid = scene.uid(format_args!("{method}/{i}"));
            let plan = match (method, &material) {
                ("Status", _) => status_plan(),
                ("Encrypt", _) => scene.encrypt_plan(case, &plaintext, uid),
                (_, Some(material)) => scene.decrypt_plan(case, material, uid),
                (_, None) => continue,
            };
            let path = path_of(method);
            let call = RawCall {
                method,
                case,
                fields: grpc_go_fields(&path, "localhost", timeout),
                data: frame::message(0, &plan.body),
                open: false,
                request: plan.request,
                uid: plan.uid,
                of: plan.of,
                deadline: (case == "short").then_some(SHORT),
                limit,
            };
            let start = Instant::now();
            let sent = conn.start(&call).await;
            let (_, decoded) = conn.finish(&call, sent, start).await;
            if let Some(sealed) = decoded.and_then(|d| d.sealed) {
                material = Some(Material {
                    of: sent.1,
                    plaintext: plaintext.clone(),
                    sealed,
                });
            }
            if conn.is_over() {
                let Some(next) = open(scene).await else {
                    return;
                };
                conn = next;
            }
        }
    }
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

/// Calls given up half-way; the connection and the subject go on (KMS2-AVAIL-03).
pub(crate) async fn cancelled(scene: Scene<'_>) {
    /// Few enough to be no reset flood.
    const AT_ONCE: u32 = 8;
    const CANCEL: u32 = 8;
    let Some(mut conn) = open(scene).await else {
        return;
    };
    for round in 0..4u32 {
        for i in 0..AT_ONCE {
            let label = format!("{round}/{i}");
            let plan = scene.encrypt_plan("cancelled", &scene.seed(&label), scene.uid(&label));
            let path = path_of("Encrypt");
            let call = RawCall {
                method: "Encrypt",
                case: "cancelled",
                fields: grpc_go_fields(&path, "localhost", "3000000u"),
                data: frame::message(0, &plan.body),
                open: i % 2 == 1,
                request: plan.request,
                uid: plan.uid,
                of: None,
                deadline: Some(Duration::from_secs(3)),
                limit: Duration::from_secs(3),
            };
            let start = Instant::now();
            let (stream, seq) = conn.start(&call).await;
            conn.send(frame::Frame::reset(stream, CANCEL)).await;
            scene.record(What::Answered(kms_history::Answered {
                call: seq,
                elapsed_ns: crate::recorder::nanos(start.elapsed()),
                outcome: kms_history::Outcome::Cancelled,
                leaks: Vec::new(),
            }));
        }
        let limit = scene.lab.options.timeout;
        raw_call(&mut conn, status_plan(), AFTERWARDS, "localhost", limit).await;
    }
    scene.round_trip(AFTERWARDS, "afterwards").await;
}
