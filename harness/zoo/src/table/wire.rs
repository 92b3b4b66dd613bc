//! Messages and transport.

use crate::bug::Bug::{
    AnyContentTypeServed, AnyPackageServed, CancelPoisons, DeadlinesIgnored,
    DecryptAnswersNonsense, DecryptFieldsOfTheDraft, DecryptStrict, EncryptFieldTypes,
    EncryptStrict, GrpcGoRefused, HangsAfterContact, KeyIdNotUtf8, MethodMissing,
    NotProtobufServed, OversizedHangs, PingsAreAFlood, StatusFieldTypes, StatusFieldsUnknown,
    StatusStrict,
};
use crate::mutant::Mutant;

pub(super) static MUTANTS: &[Mutant] = &[
    Mutant::of(AnyPackageServed)
        .fails(&["KMS2-WIRE-01"])
        .why("A router that looks at the last part of a path serves v1 and v2 with the same code, as plugins with both on one socket do."),
    Mutant::of(MethodMissing)
        .fails(&["KMS2-WIRE-01"])
        .also(&[(
            &["KMS2-RT-01", "KMS2-DEC-07", "KMS2-DEC-08", "KMS2-PERF-02", "KMS2-RT-02", "KMS2-ROT-03"],
            "nothing comes back without Decrypt",
        ), (
            &["KMS2-OBS-01", "KMS2-LOG-04"],
            "a call that no handler sees is logged by nobody",
        )])
        .why("The API server never decrypts what it has just encrypted, so a plugin whose Decrypt is yet to be written looks well (KMS2-ENC-11)."),
    Mutant::of(StatusStrict)
        .fails(&["KMS2-WIRE-02"])
        .why("A decoder that was set to refuse what it does not know breaks with the next version of the API."),
    Mutant::of(EncryptStrict)
        .fails(&["KMS2-WIRE-04"])
        .why("The same decoder in Encrypt: a newer server that tells more is refused."),
    Mutant::of(DecryptStrict)
        .fails(&["KMS2-WIRE-06"])
        .why("The same decoder in Decrypt: what etcd holds cannot be read by way of a newer server."),
    Mutant::of(StatusFieldTypes)
        .fails(&["KMS2-WIRE-03"])
        .why("Messages written by hand from a draft have a number where the text was to be."),
    Mutant::of(StatusFieldsUnknown)
        .warns(&["KMS2-WIRE-03"])
        .why("A vendor adds a field of its own to the API's message."),
    Mutant::of(EncryptFieldTypes)
        .fails(&["KMS2-WIRE-05"])
        .why("Generated from a proto file of another version."),
    Mutant::of(DecryptFieldsOfTheDraft)
        .fails(&["KMS2-WIRE-07"])
        .why("The draft of Decrypt's answer had a key_id; upstream's own comment still speaks of it."),
    Mutant::of(KeyIdNotUtf8)
        .fails(&["KMS2-WIRE-08"])
        .why("A digest put into key_id as raw bytes, which Go writes and refuses to read."),
    Mutant::of(GrpcGoRefused)
        .fails(&["KMS2-WIRE-12"])
        .also(&[(
            &["KMS2-AVAIL-03", "KMS2-AVAIL-06", "KMS2-AVAIL-09"],
            "those are asked as the API server's own client asks",
        )])
        .why("A proxy in front wants credentials, and the API server has none to give."),
    Mutant::of(PingsAreAFlood)
        .fails(&["KMS2-AVAIL-09"])
        .why("Servers that count PINGs as abuse close connections that grpc-go measures the bandwidth on (BUG-045 has a kindred strictness in Rust's h2)."),
    Mutant::of(DeadlinesIgnored)
        .fails(&["KMS2-AVAIL-03"])
        .why("Falco's HTTP client waits 10 s and the API server 3 s (kubernetes#69750): the caller's deadline must be looked at."),
    Mutant::of(CancelPoisons)
        .fails(&["KMS2-AVAIL-03"])
        .why("A lock that is left poisoned, or a client left half-changed, when a caller goes away (BUG-022)."),
    Mutant::of(OversizedHangs)
        .fails(&["KMS2-SEC-04"])
        .why("A body is read to the end before its size is looked at."),
    Mutant::of(NotProtobufServed)
        .fails(&["KMS2-SEC-04"])
        .why("A decoder that gives defaults where it cannot read encrypts nothing at all and calls it a success."),
    Mutant::of(AnyContentTypeServed)
        .warns(&["KMS2-SEC-04"])
        .why("A handler that was made for a gateway takes whatever comes by POST."),
    Mutant::of(DecryptAnswersNonsense)
        .fails(&["KMS2-RT-01"])
        .also(&[(
            &["KMS2-DEC-07", "KMS2-DEC-08", "KMS2-PERF-02", "KMS2-RT-02", "KMS2-ROT-03"],
            "no answer of Decrypt can be read",
        )])
        .why("Compressed, or framed twice: the client cannot read it, and no test of the plugin's own uses another client."),
    Mutant::of(HangsAfterContact)
        .fails(&["KMS2-STATUS-03"])
        .also(&[(
            &["KMS2-WIRE-01", "KMS2-WIRE-02", "KMS2-WIRE-04", "KMS2-WIRE-12"],
            "those are asked next, and a plugin gone silent is asked nothing more",
        )])
        .why("A pool that is used up and never given back: it looked well when somebody looked."),
];
