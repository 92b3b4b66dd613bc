//! The ways to be wrong.
//!
//! Not for what a bug breaks and who has it: that is [`mod@crate::table`].

use std::fmt;

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal,)*) => {
        /// One way to be wrong; all else is right.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name: the id of the mutant that has it.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }
        }
    };
}

bugs! {
    // Messages and transport.
    /// Every service and package is served.
    AnyPackageServed = "any-package-served",
    /// Decrypt is not there.
    MethodMissing = "method-missing",
    /// Status refuses fields that it does not know.
    StatusStrict = "status-strict",
    /// Encrypt refuses fields that it does not know.
    EncryptStrict = "encrypt-strict",
    /// Decrypt refuses fields that it does not know.
    DecryptStrict = "decrypt-strict",
    /// Status answers with a number where a text belongs.
    StatusFieldTypes = "status-field-types",
    /// Status answers with a field that the API does not have.
    StatusFieldsUnknown = "status-fields-unknown",
    /// Encrypt answers with a number where a text belongs.
    EncryptFieldTypes = "encrypt-field-types",
    /// Decrypt's answer has a second field.
    DecryptFieldsOfTheDraft = "decrypt-fields-of-the-draft",
    /// key_id is no UTF-8.
    KeyIdNotUtf8 = "key-id-not-utf8",
    /// A client that names itself as the API server's does is refused.
    GrpcGoRefused = "grpc-go-refused",
    /// The tenth PING on a connection ends it.
    PingsAreAFlood = "pings-are-a-flood",
    /// A short deadline is not looked at.
    DeadlinesIgnored = "deadlines-ignored",
    /// A call that is given up spoils the next one.
    CancelPoisons = "cancel-poisons",
    /// A very large request is never answered.
    OversizedHangs = "oversized-hangs",
    /// Bytes that are no message are taken for one.
    NotProtobufServed = "not-protobuf-served",
    /// The content type is not looked at.
    AnyContentTypeServed = "any-content-type-served",
    /// Decrypt answers with bytes that are no message.
    DecryptAnswersNonsense = "decrypt-answers-nonsense",
    /// After its first few calls no call is answered.
    HangsAfterContact = "hangs-after-contact",

    // Status.
    /// A version that no server knows.
    VersionUnknown = "version-unknown",
    /// Two versions by turns.
    VersionFlips = "version-flips",
    /// Another version after a restart.
    VersionChangesWithRestart = "version-changes-with-restart",
    /// healthz is `OK`.
    HealthzUpperCase = "healthz-upper-case",
    /// Status is an error though all is well.
    StatusRefuses = "status-refuses",
    /// key_id has 1025 bytes.
    KeyIdTooLong = "key-id-too-long",
    /// key_id has 1024 bytes.
    KeyIdAtItsLimit = "key-id-at-its-limit",
    /// key_id is the resource name of a cloud account.
    KeyIdNames = "key-id-names",
    /// key_id is base64 of a text with the backend's address.
    KeyIdHoldsAddress = "key-id-holds-address",
    /// Two Status answers name a key that nobody made.
    KeyIdFlipFlops = "key-id-flip-flops",
    /// The second rotation goes back to the first key and its name.
    KeyIdComesBack = "key-id-comes-back",
    /// Until the backend was there once, Status names another key.
    KeyIdBeforeFirstContact = "key-id-before-first-contact",
    /// Status takes a while.
    StatusSlow = "status-slow",

    // Encrypt.
    /// An empty uid is an internal error.
    EmptyUidInternal = "empty-uid-internal",
    /// Encrypt takes a while.
    EncryptSlow = "encrypt-slow",
    /// Encrypt names another key than Status.
    EncryptKeyIdLags = "encrypt-key-id-lags",
    /// An annotation's key is no domain name.
    AnnotationKeyBare = "annotation-key-bare",
    /// Annotations of more than 32 KiB.
    AnnotationsTooLarge = "annotations-too-large",
    /// Annotations of 2 KiB.
    AnnotationsCostly = "annotations-costly",
    /// The plaintext stands in an annotation, in hexadecimal.
    PlaintextHexInAnnotation = "plaintext-hex-in-annotation",
    /// The plaintext stands behind the ciphertext.
    PlaintextEchoed = "plaintext-echoed",
    /// The ciphertext has 1025 bytes.
    CiphertextTooLong = "ciphertext-too-long",
    /// The ciphertext has 1024 bytes.
    CiphertextAtItsLimit = "ciphertext-at-its-limit",
    /// Where the backend fails Encrypt succeeds, with an empty ciphertext.
    EmptyCiphertextOnError = "empty-ciphertext-on-error",
    /// All plaintexts of one repeated byte get one ciphertext.
    SimpleSeedsShareAnAnswer = "simple-seeds-share-an-answer",
    /// Equal plaintexts get equal ciphertexts.
    Deterministic = "deterministic",

    // Decrypt.
    /// The last byte is lost.
    DecryptDropsLastByte = "decrypt-drops-last-byte",
    /// Line ends at the end are lost.
    DecryptTrimsLineEnds = "decrypt-trims-line-ends",
    /// What cannot be opened gives an empty plaintext.
    DamageGivesEmptySuccess = "damage-gives-empty-success",
    /// What cannot be opened gives other bytes.
    DamageGivesOtherBytes = "damage-gives-other-bytes",
    /// An empty ciphertext ends the process.
    EmptyCiphertextCrashes = "empty-ciphertext-crashes",
    /// Annotations are not authenticated.
    AnnotationsNotBound = "annotations-not-bound",
    /// The key_id of a request is not looked at.
    KeyIdIgnored = "key-id-ignored",
    /// Decrypt takes a while.
    DecryptSlow = "decrypt-slow",
    /// Of equal calls at once one is served.
    EqualCallsCollide = "equal-calls-collide",
    /// More than 40 Decrypts at once are refused.
    OverloadedByBurst = "overloaded-by-burst",

    // Keys, over rotations, restarts and nodes.
    /// Keys are lost with the process.
    RestartLosesKeys = "restart-loses-keys",
    /// All keys but the newest are lost with the process.
    RestartForgetsEarlierKeys = "restart-forgets-earlier-keys",
    /// Each start makes a key of its own.
    LocalKeyPerStart = "local-key-per-start",
    /// A rotation takes the keys before it away.
    RotationDropsOldKeys = "rotation-drops-old-keys",
    /// A rotation is never seen.
    RotationUnseen = "rotation-unseen",
    /// A rotation shows in Status, and Encrypt goes on with the first key.
    RotationByStatusOnly = "rotation-by-status-only",
    /// After a rotation the key that encrypts is one behind the key_id for some calls.
    KeyIdOfAnotherRequest = "key-id-of-another-request",
    /// key_id is the same for another key of the same name.
    NameIsTheKeyId = "name-is-the-key-id",
    /// A rotation that the backend refused is taken up.
    RefusedRotationTakenUp = "refused-rotation-taken-up",
    /// Each node has key_ids of its own.
    NodesNameKeysApart = "nodes-name-keys-apart",
    /// The other node does not read what was written after a rotation.
    OtherNodeLags = "other-node-lags",

    // Availability.
    /// Without its backend it does not start.
    NoStartWithoutBackend = "no-start-without-backend",
    /// While the backend is silent no call ends.
    SilentBackendHangs = "silent-backend-hangs",
    /// Status is good whatever the backend says.
    StatusKnowsNothing = "status-knows-nothing",
    /// A Status that says it is sick names a valid key.
    SickWithKeyId = "sick-with-key-id",
    /// After an object that cannot be decrypted Status is bad.
    OneBadObjectMakesSick = "one-bad-object-makes-sick",
    /// A socket that is left over keeps it from starting.
    OldSocketStopsStart = "old-socket-stops-start",
    /// SIGTERM cuts calls off.
    StopCutsCalls = "stop-cuts-calls",
    /// After SIGTERM calls are taken and not answered.
    StopLeavesCallsHanging = "stop-leaves-calls-hanging",
    /// Connections of before a freeze are dropped.
    FreezeDropsConnections = "freeze-drops-connections",

    // Secrets, observability, resources.
    /// Everybody may use the socket.
    SocketForEverybody = "socket-for-everybody",
    /// Decrypted bytes are logged.
    LogHoldsPlaintext = "log-holds-plaintext",
    /// The log line of a failed call holds the credential.
    CredentialInLog = "credential-in-log",
    /// The log line of a failed call lacks its uid.
    LogWithoutUid = "log-without-uid",
    /// An error text holds a plaintext.
    ErrorHoldsPlaintext = "error-holds-plaintext",
    /// A metric's label holds the credential.
    CredentialInMetrics = "credential-in-metrics",
    /// The command line holds the credential.
    CredentialInArguments = "credential-in-arguments",
    /// Whatever answers at the backend's address gets the credential.
    AnyBackendTrusted = "any-backend-trusted",
    /// Each error makes a metric series of its own.
    SeriesForEachError = "series-for-each-error",
    /// Each call keeps 20 kB.
    MemoryGrows = "memory-grows",
    /// Each version of the key keeps 1 MiB.
    VersionsAreKeptWhole = "versions-are-kept-whole",
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
