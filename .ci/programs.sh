# Sourced by ./test: the programs that the checks need, and their installation on Debian.

# Installs missing programs; exits with 3 where that is impossible or --quick forbids it.
prepare() {
  local wanted=() components=()
  command -v cargo >/dev/null || missing "cargo" "Rust, from https://rustup.rs"
  command -v cc >/dev/null || wanted+=(gcc libc6-dev)
  command -v make >/dev/null || wanted+=(make)
  cargo fmt --version >/dev/null 2>&1 || components+=(rustfmt)
  cargo clippy --version >/dev/null 2>&1 || components+=(clippy)
  if [ -z "$quick" ]; then
    has_postgres || wanted+=(postgresql)
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null ||
      wanted+=(redis-server redis-tools)
    command -v openssl >/dev/null || wanted+=(openssl)
    has_mariadb || wanted+=(mariadb-server mariadb-client)
    [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || wanted+=(pgbouncer)
    # A certificate authority for the tests of ACME.
    command -v pebble >/dev/null && command -v curl >/dev/null || wanted+=(pebble curl)
    command -v setpriv >/dev/null || wanted+=(util-linux)
    has_faketime || wanted+=(libfaketime)
    # Of the clients' languages those that are small; Node, Java and Go are run where they are.
    command -v php >/dev/null && php -r 'curl_init();' 2>/dev/null || wanted+=(php-cli php-curl)
    command -v ruby >/dev/null || wanted+=(ruby)
  fi
  if [ ${#components[@]} -gt 0 ]; then
    heading "installing Rust components: ${components[*]}"
    command -v rustup >/dev/null && rustup component add "${components[@]}" ||
      missing "${components[*]}" "rustup component add ${components[*]}"
  fi
  if [ ${#wanted[@]} -gt 0 ]; then
    [ -z "$quick" ] || missing "${wanted[*]}" "apt-get install ${wanted[*]}"
    install "${wanted[@]}"
  fi
}

has_nextest() {
  cargo nextest --version >/dev/null 2>&1
}

has_deny() {
  cargo deny --version >/dev/null 2>&1
}

has_postgres() {
  local programs
  programs=(/usr/lib/postgresql/*/bin/initdb)
  [ -x "${programs[0]}" ] || { command -v initdb && command -v postgres; } >/dev/null
}

has_mariadb() {
  [ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null
}

# Tests that shift a server's wall clock preload this library.
has_faketime() {
  local libraries=(/usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1)
  [ -e "${libraries[0]}" ] || [ -e "${libraries[1]}" ]
}

missing() {
  echo "test: missing: $1; get it with: $2" >&2
  exit 3
}

install() {
  local by_hand="apt-get install $*" as_root=()
  command -v apt-get >/dev/null || missing "$*" "your system's package manager (Debian: $by_hand)"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || missing "$*" "$by_hand, as root"
    as_root=(sudo)
  fi
  heading "installing Debian packages: $*"
  keep_services_down "${as_root[@]+"${as_root[@]}"}"
  local apt=("${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
  "${apt[@]}" update || echo "test: the package lists can't be fetched; offline?" >&2
  "${apt[@]}" install --no-install-recommends "$@" || missing "$*" "$by_hand"
  $undo_install
  undo_install=:
}

# Debian starts the services that it installs. The tests need the programs only, so a policy
# forbids that during the installation.
keep_services_down() {
  local policy=/usr/sbin/policy-rc.d
  [ ! -e "$policy" ] || return 0
  printf '#!/bin/sh\nexit 101\n' | "$@" tee "$policy" >/dev/null && "$@" chmod 755 "$policy"
  undo_install="$* rm -f $policy"
}
