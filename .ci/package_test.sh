# Sourced by ./package: tests of the built files.

test_package() {
  local name
  for name in static_program names_in_empty_root container_root unit_checked service_of_debian_package; do
    step "test: $name" "test_$name"
  done
}

# Runs a command as root in namespaces of its own: mounts, processes and a network with nothing but the loopback.
isolated() {
  local mapped=(--map-root-user)
  [ "$(id -u)" -ne 0 ] || mapped=()
  unshare "${mapped[@]+"${mapped[@]}"}" --mount --pid --fork --kill-child --net --propagation private -- "$@"
}

can_isolate() {
  isolated true 2>/dev/null || {
    not_run+=("$1: this system lets us make no namespaces")
    return 1
  }
}

test_static_program() {
  describe_program "$into/tidegate"
}

# A root with nothing but the program, hosts and a name server, as in a container from scratch; and one whose
# nsswitch.conf names modules that crash a static C library.
test_names_in_empty_root() {
  can_isolate "names in an empty root" || return 0
  local root=$scratch/names library=$scratch/names/lib/$(uname -m)-linux-gnu
  mkdir -p "$root/etc" "$library" &&
    install -m 755 "$into/tidegate" "$root/" &&
    echo '127.0.0.1 localhost shop.internal' >"$root/etc/hosts" &&
    echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf" || return 1
  isolated bash .ci/names.sh "$root" || return 1
  command -v cc >/dev/null || {
    not_run+=("names beside modules of another system: cc is not installed")
    return 0
  }
  echo 'hosts: resolve files dns' >"$root/etc/nsswitch.conf"
  cp /lib/*/libc.so.6 /lib*/ld-linux*.so.* "$library" &&
    echo '__attribute__((constructor)) static void crash(void) { __builtin_trap(); }' |
    cc -shared -fPIC -x c -o "$library/libnss_resolve.so.2" - || return 1
  echo "with the modules of another system:"
  isolated bash .ci/names.sh "$root"
}

# The root of the image: the program as the first process, as another user, with a read-only root.
test_container_root() {
  can_isolate "the image's root" || return 0
  local root=$scratch/image
  mkdir -p "$root/etc/tidegate" "$root/usr/bin" "$root/var/lib/tidegate" "$root/proc" "$root/dev" &&
    install -m 755 "$into/tidegate" "$root/usr/bin/" &&
    cp packaging/container/passwd packaging/container/group "$root/etc/" || return 1
  isolated bash .ci/container.sh "$root"
}

test_unit_checked() {
  command -v systemd-analyze >/dev/null || {
    not_run+=("the unit's checks: systemd-analyze is not installed")
    return 0
  }
  local unit=$scratch/unit/tidegate.service output
  mkdir -p "$scratch/unit" && sed "s,/usr/bin/tidegate,$(realpath "$into/tidegate"),; /^Documentation=/d" packaging/tidegate.service >"$unit"
  output=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -F tidegate)
  [ -z "$output" ] || {
    echo "$output"
    return 1
  }
  systemd-analyze security --offline=true --threshold=25 "$unit" | grep -E '^✗|exposure'
  return "${PIPESTATUS[0]}"
}

# The whole life of the Debian package under a systemd of its own, on a copy of this system's root that is thrown away.
test_service_of_debian_package() {
  local deb name="the service of the Debian package"
  deb=$(realpath "$into"/tidegate_*.deb 2>/dev/null) && [ -e "$deb" ] || {
    not_run+=("$name: there is no such package")
    return 0
  }
  [ "$(id -u)" -eq 0 ] && [ -x /lib/systemd/systemd ] && command -v dpkg >/dev/null || {
    not_run+=("$name: needs root, dpkg and systemd")
    return 0
  }
  .ci/service.sh "$deb"
  case $? in
    0) ;;
    3) not_run+=("$name: this system starts no systemd in namespaces") ;;
    *) return 1 ;;
  esac
}
