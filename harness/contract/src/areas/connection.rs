//! How the API server connects to a plugin, waits, paces its dials and gives up.

use crate::requirement::Basis::{Caller, Docs};
use crate::requirement::Confidence::{Code, Derived, Doc, GrpcGo, Measured};
use crate::requirement::Level::{Must, Should};
use crate::requirement::{Requirement, apiserver, plugin};

/// Connection and transport of the API server.
pub static CONN: &[Requirement] = &[
    apiserver("KMS2-CONN-01", Must, Caller, &[Code, Measured])
        .title("Unix sockets only")
        .source("EP ParseEndpoint; VAL validateKMSEndpoint")
        .since(25)
        .says(
            "An endpoint is a URL whose scheme is `unix`; validation of the configuration and the \
             constructor of the client both refuse every other scheme and the empty string.",
        ),
    apiserver("KMS2-CONN-02", Must, Caller, &[Code, Measured])
        .title("How an endpoint becomes an address")
        .source("EP ParseEndpoint")
        .since(25)
        .says(
            "Only the percent-decoded path of the URL is dialled, with host, query and fragment \
             dropped; a path that starts with `/@` loses its slash and names an abstract socket; \
             an empty path or one over 107 bytes passes validation and then fails at each dial.",
        ),
    apiserver("KMS2-CONN-03", Must, Caller, &[Code])
        .title("No TLS, no credentials")
        .source("GRPC NewGRPCService")
        .since(25)
        .says(
            "The client connects without TLS and presents no credentials, so a plugin that insists \
             on TLS sees a handshake that fails.",
        ),
    apiserver("KMS2-CONN-04", Must, Caller, &[Code, Measured])
        .title("Authority is localhost")
        .source("GRPC")
        .since(32)
        .says(
            "From 1.32 on `:authority` is `localhost`, whatever the socket; before that it came \
             from the socket's path (as it is at 1.27, percent-encoded at 1.29 to 1.31, `@name` \
             for an abstract one throughout), which strict HTTP/2 servers refuse.",
        ),
    apiserver("KMS2-CONN-05", Must, Caller, &[Code, Measured])
        .title("Building the client needs no plugin")
        .source("GRPC")
        .says(
            "Constructing the client succeeds while no plugin is there; dialling starts at once, \
             in the background.",
        ),
    apiserver("KMS2-CONN-06", Must, Caller, &[Code, Measured])
        .title("Calls wait for a connection")
        .source("GRPC; GO picker_wrapper")
        .says(
            "Without a connection a call waits for one until its deadline, never failing early \
             with UNAVAILABLE, and ends in DEADLINE_EXCEEDED with the last dial's error as text, \
             or with that of an expired context while the first dial hangs; a plugin that appears \
             in between gets the call.",
        ),
    apiserver("KMS2-CONN-07", Must, Caller, &[Code, Measured])
        .title("Deadline of a call")
        .source("GRPC")
        .says(
            "A call ends at the earlier of its parent's deadline and now plus the configured \
             timeout; `grpc-timeout` tells the plugin what is left when the headers leave, in \
             microseconds (`u`) from 100 ms up and in nanoseconds (`n`) below.",
        ),
    apiserver("KMS2-CONN-08", Must, Caller, &[Code, GrpcGo, Measured])
        .title("One attempt a call")
        .source("GRPC NewGRPCService")
        .says(
            "No call is retried: a connection cut in mid-call gives UNAVAILABLE with `error \
             reading from server: EOF` after a single attempt and the next call reconnects at \
             once; grpc-go may only repeat what the server provably never began.",
        ),
    apiserver("KMS2-CONN-09", Must, Caller, &[Derived, Measured])
        .title("One connection a provider")
        .source("GRPC")
        .says(
            "Each configured provider has a single HTTP/2 connection for all three methods, \
             without keepalive, though with almost every answer followed by a WINDOW_UPDATE and a \
             PING of payload 02 04 10 10 09 0e 07 07; a plugin that hangs costs deadlines and not \
             the connection, which serves again without delay once the plugin does.",
        ),
    apiserver("KMS2-CONN-10", Must, Caller, &[GrpcGo, Derived, Measured])
        .title("Pauses between dials")
        .source("GO backoff.DefaultConfig, pickfirst")
        .says(
            "After a dial that failed the client pauses 1 s, then 1.6 times longer each time with \
             20 % jitter either way up to 120 s before jitter, dials again of its own accord, and \
             starts over after a success; neither calls nor health probes shorten a pause.",
        ),
    apiserver("KMS2-CONN-11", Must, Caller, &[GrpcGo, Measured])
        .title("A lost connection rests until used")
        .source("GO pickfirst idle picker")
        .says(
            "A connection that was up and breaks leaves the channel idle; the next call, at the \
             latest the next Status poll, makes the first dial.",
        ),
    apiserver("KMS2-CONN-12", Must, Caller, &[GrpcGo, Measured])
        .title("A silent listener costs 20 s")
        .source("GO clientconn")
        .says(
            "A listener that accepts and never sends its HTTP/2 preface holds one attempt for 20 s \
             before it counts as failed and the usual pause follows.",
        ),
    apiserver("KMS2-CONN-13", Must, Caller, &[Code, Measured])
        .title("Client ends with its context")
        .source("GRPC NewGRPCService; CFG DynamicTransformers.Set")
        .says(
            "When the server drains or its configuration is replaced the client sends GOAWAY \
             NO_ERROR and closes; calls in flight and later ones end in CANCELED with `grpc: the \
             client connection is closing`, polling stops, and cached reads and unexpired writes \
             go on.",
        ),
    apiserver("KMS2-CONN-14", Must, Caller, &[Code, Measured])
        .title("Dials in the log")
        .source("GRPC")
        .says("Each failed dial is logged as an error, each successful one at verbosity 4."),
    plugin("KMS2-CONN-15", Should, Docs, &[Doc])
        .title("Access to the socket")
        .source("EP; DOC")
        .says(
            "Nobody but the API server's user can write to the socket; guarding it is the plugin's \
             task, and an abstract socket, which has no permissions and belongs to the network \
             namespace, cannot be guarded.",
        ),
];
