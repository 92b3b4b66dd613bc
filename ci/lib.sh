# Sourced by ci/test and .ci/run: runs steps, counts their tests, and says how long each took.
# shellcheck shell=bash
set -uo pipefail

# What CI compiles beyond the default build: the tiers that need more, and the generator of the API's code.
# shellcheck disable=SC2034
tier_features=kms-harness/container,kms-harness/kube,kms-v2-api/generate

passed=0 failed=0 ignored=0 steps= why=

# step NAME COMMAND...: runs it. What it prints goes through; the closing lines of its test binaries
# are counted; a command without tests counts as one. Never ends the script.
step() {
  local name=$1 log start seconds code=0 counts
  shift
  log=$(mktemp)
  start=$SECONDS
  echo "=== $name: $*"
  "$@" </dev/null 2>&1 | tee "$log" || code=$?
  seconds=$((SECONDS - start))
  # shellcheck disable=SC2016
  counts=$(awk '
    /^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i; if ($(i+1) ~ /^ignored/) g += $i } seen = 1 }
    /^[0-9]+ passed, [0-9]+ failed/ { nested = 1; p = $1; f = $3; g = ($5 ~ /^[0-9]+$/) ? $5 : 0 }
    END { print seen || nested ? p + 0 : "-", f + 0, g + 0 }' "$log")
  read -r p f g <<<"$counts"
  if [ "$p" = - ]; then
    p=$((code == 0)) f=$((code != 0))
  elif [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then
    f=1 # something other than a test: a build error, say
  fi
  # Hours of output may lie between a failure and the end, where people look.
  [ "$f" -eq 0 ] || why+="=== failed: $name"$'\n'$(sed -n '/^failures:$/,/^test result/p; /^error/p' "$log" | tail -n 120)$'\n'
  rm -f "$log"
  passed=$((passed + p)) failed=$((failed + f)) ignored=$((ignored + g))
  steps+=$(printf '%6d s  %-22s %s' "$seconds" "$name" "$([ "$f" -eq 0 ] && echo "$p passed" || echo "FAILED")")$'\n'
  return 0
}

# Prints the seconds of each step and the closing line; the exit code.
close() {
  echo
  printf '%s' "$why" "$steps"
  echo "$passed passed, $failed failed$([ "$ignored" -eq 0 ] || echo ", $ignored skipped")"
  [ "$failed" -eq 0 ]
}
