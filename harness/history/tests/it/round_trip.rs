//! Any history that can be recorded comes back from its file unchanged.

use kms_history::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn blob() -> impl Strategy<Value = Blob> {
    (
        any::<u64>(),
        any::<[u8; 32]>(),
        option::of(vec(any::<u8>(), 0..4)),
    )
        .prop_map(|(len, sha256, payload)| Blob {
            len,
            sha256: Digest(sha256),
            payload: payload.map(Hex),
        })
}

fn text() -> impl Strategy<Value = Text> {
    (any::<String>(), any::<u64>(), option::of(any::<[u8; 32]>())).prop_map(|(text, len, hash)| {
        Text {
            text,
            len,
            sha256: hash.map(Digest),
        }
    })
}

fn annotations() -> impl Strategy<Value = Vec<Annotation>> {
    vec(
        (text(), blob()).prop_map(|(key, value)| Annotation { key, value }),
        0..3,
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Status),
        blob().prop_map(|plaintext| Request::Encrypt { plaintext }),
        (blob(), text(), annotations()).prop_map(|(ciphertext, key_id, annotations)| {
            Request::Decrypt {
                ciphertext,
                key_id,
                annotations,
            }
        }),
        blob().prop_map(Request::Bytes),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (text(), text(), text()).prop_map(|(version, healthz, key_id)| Body::Status {
            version,
            healthz,
            key_id
        }),
        (blob(), text(), annotations()).prop_map(|(ciphertext, key_id, annotations)| {
            Body::Encrypt {
                ciphertext,
                key_id,
                annotations,
            }
        }),
        blob().prop_map(|plaintext| Body::Decrypt { plaintext }),
        blob().prop_map(Body::Bytes),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let answer = (
        vec(any::<(u32, u8)>(), 0..3),
        vec(any::<String>(), 0..2),
        body(),
    );
    prop_oneof![
        answer.prop_map(|(fields, bad_utf8, body)| Outcome::Ok(Answer {
            fields,
            bad_utf8,
            body
        })),
        (any::<u32>(), text()).prop_map(|(code, message)| Outcome::Error { code, message }),
        any::<u16>().prop_map(|status| Outcome::Http { status }),
        any::<u32>().prop_map(|code| Outcome::Reset { code }),
        (option::of(any::<u32>()), any::<String>())
            .prop_map(|(goaway, reason)| Outcome::Closed { goaway, reason }),
        Just(Outcome::TimedOut),
        Just(Outcome::Cancelled),
        any::<String>().prop_map(|reason| Outcome::NotConnected { reason }),
        any::<String>().prop_map(|reason| Outcome::Unreadable { reason }),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let detail = prop_oneof![
        vec(any::<(u16, u32)>(), 0..3).prop_map(FrameDetail::Settings),
        vec(any::<(String, String)>(), 0..3).prop_map(FrameDetail::Headers),
        any::<u32>().prop_map(FrameDetail::Reset),
        any::<(u32, String)>().prop_map(|(code, debug)| FrameDetail::GoAway(code, debug)),
        vec(any::<u8>(), 8).prop_map(|data| FrameDetail::Ping(Hex(data))),
        any::<u32>().prop_map(FrameDetail::Window),
    ];
    (any::<(u64, String, u8, u32, u64)>(), option::of(detail)).prop_map(
        |((conn, kind, flags, stream, len), detail)| Frame {
            conn,
            kind: kind.into(),
            flags,
            stream,
            len,
            detail,
        },
    )
}

/// Every kind of event but answers, which need their call.
fn what() -> impl Strategy<Value = What> {
    let socket = any::<(u32, u32, u32, bool)>().prop_map(|(mode, uid, gid, open)| {
        What::Socket(SocketFacts {
            mode,
            uid,
            gid,
            path_open_to_others: open,
        })
    });
    let hook = (
        any::<String>(),
        option::of(any::<String>()),
        option::of(any::<u64>()),
    )
        .prop_map(|(hook, error, effect_ns)| {
            What::Hook(HookStep {
                hook,
                error,
                effect_ns,
            })
        });
    let needle = (any::<(String, u64)>(), vec(any::<String>(), 0..2))
        .prop_map(|((kind, call), forms)| Needle { kind, call, forms });
    let log = (any::<u64>(), vec(needle, 0..3)).prop_map(|(searched_bytes, needles)| {
        What::Log(LogSearch {
            searched_bytes,
            needles,
        })
    });
    let minimal = (vec(any::<u8>(), 0..4), any::<String>(), any::<u64>()).prop_map(
        |(input, failure, steps)| {
            What::Minimal(Minimal {
                input: Hex(input),
                failure,
                steps,
            })
        },
    );
    let measured = any::<(String, u64)>().prop_map(|(name, value)| {
        What::Measured(Measure {
            name: name.into(),
            value,
        })
    });
    prop_oneof![
        Just(What::Opened),
        measured,
        any::<(u64, String)>().prop_map(|(conn, reason)| What::Ended { conn, reason }),
        frame().prop_map(What::FrameSent),
        frame().prop_map(What::FrameReceived),
        socket,
        hook,
        log,
        minimal,
        any::<String>().prop_map(What::NotRun),
        any::<String>().prop_map(What::Note),
    ]
}

type Exchange = (Sent, Option<(u64, Outcome, Vec<Leak>)>);

fn exchange() -> impl Strategy<Value = Exchange> {
    let sent = (
        any::<(String, String, String)>(),
        request(),
        option::of(any::<u64>()),
        option::of(any::<u64>()),
        option::of(any::<u64>()),
    )
        .prop_map(
            |((method, case, uid), request, of, deadline_ns, conn)| Sent {
                method: method.into(),
                case: case.into(),
                uid,
                request,
                of,
                deadline_ns,
                conn,
            },
        );
    let leaks = vec(
        any::<(String, String)>().prop_map(|(place, form)| Leak { place, form }),
        0..2,
    );
    (sent, option::of((any::<u64>(), outcome(), leaks)))
}

fn history() -> impl Strategy<Value = History> {
    let step = prop_oneof![
        exchange().prop_map(Ok::<Exchange, What>),
        what().prop_map(Err::<Exchange, What>),
    ];
    let header = (any::<(u64, String, u64, u64)>(), option::of(any::<u32>()));
    (header, vec((any::<(String, u32, u64)>(), step), 0..20)).prop_map(|(header, steps)| {
        let ((seed, profile, round_trips, timeout_ns), server_version) = header;
        let header = Header {
            server_version,
            ..Header::new(seed, &profile, round_trips, timeout_ns)
        };
        let mut history = History::new(header, Vec::new()).unwrap();
        let mut seq = 0;
        for ((stimulus, caller, at_ns), step) in steps {
            let mut push = |what| {
                let stimulus = stimulus.clone().into();
                history
                    .push(Event {
                        seq,
                        at_ns,
                        stimulus,
                        caller,
                        what,
                    })
                    .unwrap();
                seq += 3;
                seq - 3
            };
            match step {
                Err(what) => {
                    push(what);
                }
                Ok((sent, answer)) => {
                    let call = push(What::Sent(sent));
                    if let Some((elapsed_ns, outcome, leaks)) = answer {
                        push(What::Answered(Answered {
                            call,
                            elapsed_ns,
                            outcome,
                            leaks,
                        }));
                    }
                }
            }
        }
        history
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(history in history()) {
        let file = Writer::write(Vec::new(), &history).unwrap();
        let again = read(file.as_slice()).unwrap();
        prop_assert_eq!(&again, &history);
        prop_assert_eq!(Writer::write(Vec::new(), &again).unwrap(), file);
    }

    /// A file that was cut anywhere is read up to a whole line, or refused with that line's number.
    #[test]
    fn a_cut_file_never_says_more_than_was_written(history in history(), at in any::<prop::sample::Index>()) {
        let file = Writer::write(Vec::new(), &history).unwrap();
        let cut = &file[..at.index(file.len())];
        if let Ok(part) = read(cut) {
            prop_assert_eq!(part.events(), &history.events()[..part.events().len()]);
        }
    }
}
