# Sourced by ./test: runs of cargo-nextest that take more than one command. They repeat failed
# integration tests, repeat one test many times, and list the slowest tests.

# The packages whose integration tests depend on servers and on the load of the machine. A failure
# of any other test is not repeated: it would be a bug that depends on chance. Neither is one of the
# property tests among them, whose next run has other inputs.
repeated_packages='cache feed edge sale tidegate'
property_tests='differential::|propert'
repeats=2
# No repeat starts after this time, so that many tests that hang don't take hours.
repeat_limit_seconds=600

junit=$target/nextest/default/junit.xml
junit_again=$target/nextest/again/junit.xml
flaky_file=$target/flaky.txt
again_file=$target/again.txt
flaky_tests=()

# Has the tests keep their files, those of their servers included, in memory where there is enough of
# it. On ext4 the kernel spends a fifth of the run on finding inodes for a hundred thousand short-lived
# files. Needs about half a GiB at once.
keep_files_in_memory() {
  local kib
  kib=$(df --type=tmpfs --output=avail /dev/shm 2>/dev/null | tail -n 1)
  [ "${kib:-0}" -ge $((6 << 20)) ] || return
  kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
  [ "${kib:-0}" -ge $((10 << 20)) ] || return
  test_files=$(mktemp -d /dev/shm/tidegate-XXXXXX) || return
  # PostgreSQL runs as another user when the tests run as root.
  chmod 755 "$test_files"
}

nextest() {
  TMPDIR=${test_files:-${TMPDIR:-/tmp}} cargo nextest run --locked --workspace --no-fail-fast --no-tests fail "$@"
}

# --- repeats of failed integration tests ---------------------------------------------------------

# Repeats the failed integration tests of the last run one at a time, after all others.
#
# nextest's own `retries` run beside the other tests. A test that fails there and passes alone
# depends on the load of the machine: it is flaky, listed, and does not fail the run.
repeat_failed() {
  local deadline=$((SECONDS + repeat_limit_seconds)) result seconds binary name
  while read -r result seconds binary name; do
    if [ "$result" = failed ] && is_repeated "$binary" "$name"; then
      repeat_one "$binary" "$name" "$deadline"
    fi
  done < <(junit_results "$junit")
}

# Whether a failed test (binary, name) is an integration test of the packages above and no property
# test. The binary of an integration test is `package::file`, of a unit test `package` or
# `package::bin/file`.
is_repeated() {
  local package=${1%%::*} file=${1#*::}
  [ "$package" != "$1" ] && [[ $file != */* ]] && [[ " $repeated_packages " == *" $package "* ]] &&
    [[ ! $2 =~ $property_tests ]]
}

repeat_one() {
  local binary=$1 name=$2 deadline=$3 outputs=$scratch/outputs try
  junit_outputs "$junit" "$binary" "$name" >"$outputs"
  for ((try = 1; try <= repeats; try++)); do
    if [ "$SECONDS" -ge "$deadline" ]; then
      echo "not repeated, the time for repeats is over: $binary::$name"
      return
    fi
    heading "$binary::$name failed; repeat $try of $repeats, alone"
    rm -f "$junit_again"
    if nextest --profile again -E "binary_id(=$binary) & test(=$name)" </dev/null; then
      flaky_tests+=("$binary::$name")
      {
        echo "=== $binary::$name: failed beside other tests, passed alone at repeat $try"
        cat "$outputs"
      } >>"$flaky_file"
      return
    fi
    [ ! -e "$junit_again" ] || junit_outputs "$junit_again" "$binary" "$name" >>"$outputs"
  done
}

# --- one test, many times ------------------------------------------------------------------------

# Runs the tests that a name or filter selects many times. Exits with 1 if a run has failed.
run_again() {
  local filter=$1 times=$2 busy=$3
  has_nextest || missing "cargo-nextest" "https://nexte.st"
  prepare
  keep_files_in_memory
  heading "building"
  cargo nextest run --locked --workspace --no-run || exit 1
  rm -f "$junit_again" "$again_file"
  [ -z "$busy" ] || start_busy_loops
  heading "$times times: $(again_filter "$filter")"
  # A frequent failure's output fills the screen; it is in the file.
  nextest --profile again --stress-count "$times" --failure-output never --status-level fail \
    --final-status-level none -E "$(again_filter "$filter")"
  stop_busy_loops
  if [ ! -e "$junit_again" ] || [ -z "$(junit_results "$junit_again")" ]; then
    echo "test: no test has run" >&2
    exit 1
  fi
  heading "$filter, $times times${busy:+, beside $(nproc) busy loops}"
  junit_results "$junit_again" | awk '
    { count[$1]++; sum += $2; test = $3 "::" $4 }
    $1 == "failed" { failures[test]++ }
    $2 + 0 >= slowest { slowest = $2 + 0; slowest_test = test }
    END {
      for (test in failures) printf "failed %d times: %s\n", failures[test], test | "sort"
      close("sort")
      printf "slowest run: %.3f s (%s); mean: %.3f s\n", slowest, slowest_test, sum / NR
      printf "%d passed, %d failed\n", count["passed"], count["failed"]
    }' | tee "$scratch/again"
  if ! grep -q ', 0 failed$' "$scratch/again"; then
    junit_outputs "$junit_again" >"$again_file"
    echo "outputs of the failures: $again_file"
    exit 1
  fi
  exit 0
}

# A nextest filter: as it is, if it has parentheses; else for a test's name, or a part of it, or
# `crate::path::name` as SEMANTICS.md has it.
again_filter() {
  case $1 in
    *\(*) echo "$1" ;;
    *::*) echo "package(=${1%%::*}) & test(/(^|::)${1##*::}\$/)" ;;
    *) echo "test($1)" ;;
  esac
}

busy_loops=()

# As many as the machine has cores: each test competes for its core.
start_busy_loops() {
  local n
  for ((n = $(nproc); n > 0; n--)); do
    while :; do :; done &
    busy_loops+=($!)
  done
}

stop_busy_loops() {
  [ ${#busy_loops[@]} -eq 0 ] || kill "${busy_loops[@]}" 2>/dev/null
  busy_loops=()
}

# --- JUnit files ---------------------------------------------------------------------------------

slowest_tests() {
  junit_results "$junit" | sort -k2,2 -rn | head -n 10 |
    awk '{ printf "%8.1f s  %s::%s\n", $2, $3, $4 }'
}

# Prints `passed|failed SECONDS BINARY NAME` for each test.
junit_results() {
  awk "$junit_functions"'
    starts_test() { result = "passed"; seconds = attribute("time"); id = test_id() }
    /^ *<(failure|error)[ >]/ { result = "failed" }
    ends_test() { print result, seconds, id }' "$1"
}

# Prints the outputs of the failed runs of one test (binary, name), or of all tests.
junit_outputs() {
  awk -v wanted="${2-} ${3-}" "$junit_functions"'
    starts_test() {
      id = test_id()
      inside = (wanted == " " || wanted == id) && !ends_test()
      if (inside) print "--- " id ": " attribute("time") " s, from " attribute("timestamp")
      next
    }
    ends_test() { inside = 0 }
    inside {
      # The text of the failure repeats the output.
      if (/^ *<(failure|error)[ >]/) { print attribute("type"); skipped = 1 }
      if (/<\/(failure|error)>$|^ *<(failure|error) .*\/>$/) { skipped = 0; next }
      if (skipped) next
      gsub(/^ *<system-(out|err)>|<[^>]*>/, "")
      gsub(/&lt;/, "<"); gsub(/&gt;/, ">"); gsub(/&quot;/, "\""); gsub(/&apos;/, "\047")
      gsub(/&amp;/, "\\&")
      print
    }' "$1"
}

# nextest writes one element a line and escapes `<` in outputs.
junit_functions='
  function starts_test() { return /^ *<testcase / }
  function ends_test() { return /^ *<testcase .*\/>$/ || /<\/testcase>$/ }
  function attribute(name) {
    match($0, " " name "=\"[^\"]*\"")
    return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
  }
  function test_id() { return attribute("classname") " " attribute("name") }
'
