# What people run. CI runs the same through .ci/run.

# List the recipes.
default:
    @just --list

# Formatting, lints and documentation as errors.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
    "$(ci/tools cargo-deny)" --all-features check bans licenses sources

# Everything a machine can run: tests, the main job, the real tiers that are there.
test:
    ci/test

# The main job: build the plugin alone, start it on an embedded Vault, judge it.
run *ARGS:
    cargo run --release --locked -p kms-harness -- run {{ ARGS }}

# The plugin's tests on every kind of Vault that is here, or on one: NAME such as `vault::` or `container::`.
vaults *NAME:
    cargo test --locked -p kms-harness --features container --test tiers -- vaults::{{ NAME }}

# Short-lived tokens, revocations and rotations under steady load on a real OpenBao: no call may fail.
soak *ARGS:
    BAO="$(ci/openbao)" cargo run --release --locked -p kms-bench -- soak {{ ARGS }}

# Latency, CPU, memory and start beside direct calls to the same OpenBao, interleaved in one run.
bench-real *ARGS:
    BAO="$(ci/openbao)" cargo run --release --locked -p kms-bench -- real {{ ARGS }}

# What the simulation costs beside its goals, and where the time goes; `--quick` leaves the library out.
bench-sim *ARGS:
    cargo run --release --locked -p kms-sim --example bench -- {{ ARGS }}

# Criterion's benchmarks: values of the API server's model, the simulated Vault, a hop of the simulated network.
bench *ARGS:
    cargo bench --locked -p kms-apiserver -p sim-vault -p kms-sim-net --features kms-apiserver/bench,sim-vault/bench,kms-sim-net/bench {{ ARGS }}

# The simulated kube-apiserver beside the real one: random stories of some minutes each, three at a time.
differential-apiserver N="3":
    KUBE_APISERVER="$(ci/kube-apiserver/install)" KMS_STORIES={{ N }} cargo test --locked -p kms-harness --features kube --test apiserver

# The plugin killed N times at random moments under load on a real OpenBao: each time it serves again within a second.
kills N="1000":
    BAO="$(ci/openbao)" KMS_KILLS={{ N }} cargo test --locked -p kms-harness --test tiers

# What takes longer than three minutes: the soak until 400 logins, 1,000 kills, and every tier again.
deep: soak kills test

# So many random calls on each live server found, compared with the simulation, and 3 for every 40 of them on clusters.
differential N="20000":
    BAO="$(ci/openbao)" DIFFERENTIAL_CALLS={{ N }} DIFFERENTIAL_CLUSTER_CALLS="$(({{ N }} * 3 / 40))" cargo test --locked -p sim-vault --test differential
