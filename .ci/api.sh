# Sourced by ./test: schemathesis on the APIs of a running node, by their descriptions.

# A package of Python's index, without the versions of what it needs in turn.
schemathesis_version=4.32.5

# Runs it on each API for a number of seconds.
api_tests() {
  local folder=$PWD/$target/api
  [[ $target != /* ]] || folder=$target/api
  install_schemathesis "$folder" || return
  export TIDEGATE_SCHEMATHESIS=$folder/venv/bin/schemathesis TIDEGATE_API_SECONDS=$1
  check "APIs by their descriptions, $1 s each" \
    cargo test --locked --package tidegate --test serve -- --ignored --exact --nocapture \
    sale::described::apis_hold_their_descriptions
}

install_schemathesis() {
  local program=$1/venv/bin/schemathesis
  case $("$program" --version 2>/dev/null) in
    *" $schemathesis_version") return ;;
  esac
  heading "installing schemathesis $schemathesis_version into $1, by pip"
  python3 -m venv "$1/venv" && "$1/venv/bin/pip" install -q "schemathesis==$schemathesis_version" && return
  not_run+=("APIs by their descriptions: schemathesis can't be installed (Debian: python3-venv, and an index for pip)")
  return 1
}
