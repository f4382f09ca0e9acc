# Sourced by ./test: fuzz tests of the parsers, by libFuzzer on the stable compiler.

# The engine's counters, in the crates of this workspace alone.
fuzz_flags='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks'

# Runs the given targets, or all, for a number of seconds each. The corpus stays in target/fuzz, so that a later
# run continues it.
fuzz_tests() {
  local seconds=$1 name
  shift
  if ! command -v c++ >/dev/null; then
    not_run+=("fuzz tests: a C++ compiler is missing (apt-get install g++)")
    return
  fi
  check "build of the fuzz tests" build_fuzz || return
  [ $# -gt 0 ] || set -- $(fuzz_targets)
  for name in "$@"; do
    check "fuzz test $name, $seconds s" fuzz_target "$name" "$seconds"
  done
}

build_fuzz() {
  local wrapper=$PWD/.ci/fuzz-rustc
  RUSTC_WORKSPACE_WRAPPER=$wrapper TIDEGATE_FUZZ_FLAGS=$fuzz_flags \
    cargo build --locked --package fuzz --features libfuzzer --bin fuzz
}

# The names of the targets, as the crate lists them.
fuzz_targets() {
  sed -n 's/.*name: "\([a-z_]*\)".*/\1/p' crates/fuzz/src/targets.rs
}

fuzz_target() {
  local folder=$target/fuzz/$1 found log=$scratch/fuzz-$1
  mkdir -p "$folder/corpus" "$folder/found"
  TIDEGATE_FUZZ_TARGET=$1 TIDEGATE_FUZZ_SEEDS=$folder/corpus "$target/debug/fuzz" \
    -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$folder/found/" "$folder/corpus" >"$log" 2>&1
  found=$?
  grep -E '^stat::number_of_executed_units|cov: ' "$log" | tail -n 2
  [ "$found" -eq 0 ] && return
  tail -n 30 "$log"
  echo "fuzz: the input is in $folder/found; keep it as a seed in crates/fuzz/src/seeds.rs"
  return 1
}
