#!/usr/bin/env bash
# Run by ./package --test as root: .ci/service.sh PACKAGE. Installs a Debian package on a copy of this system's root
# that is kept in memory and thrown away, under a systemd of its own in namespaces, and lives the service's life.
# Exit codes: 0 passed, 1 failed, 3 no systemd can be started here.
set -u
package=$1
copy=$(mktemp -d) || exit 3
group=/sys/fs/cgroup
[ -d "$group/unified" ] && group=$group/unified
group=$group/tidegate-package-$$
systemd=
cleanup() {
  [ -z "$systemd" ] || kill -KILL "$systemd" 2>/dev/null
  wait 2>/dev/null
  umount -R "$copy" 2>/dev/null
  rm -rf "$copy"
  rmdir "$group"/*/* "$group"/* "$group" 2>/dev/null
}
trap cleanup EXIT

mount -t tmpfs tmpfs "$copy" && mkdir "$copy/upper" "$copy/work" "$copy/root" &&
  mount -t overlay overlay -o "lowerdir=/,upperdir=$copy/upper,workdir=$copy/work" "$copy/root" &&
  mkdir -p "$group" || exit 3
root=$copy/root
cp "$package" "$root/package.deb" && mkdir -p "$root/etc/systemd/system" || exit 3
cat >"$root/etc/systemd/system/test.target" <<'UNIT'
[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service
UNIT

# shellcheck disable=SC2016
boot='
root=$0
ip link set lo up
mount -t proc proc $root/proc && mount -t sysfs -o ro sysfs $root/sys && mount -t tmpfs tmpfs $root/sys/fs/cgroup &&
  mount -t cgroup2 cgroup2 $root/sys/fs/cgroup && mount -t tmpfs tmpfs $root/dev || exit 3
for device in null zero full random urandom tty; do
  touch $root/dev/$device && mount --bind /dev/$device $root/dev/$device
done
mkdir $root/dev/pts $root/dev/shm && ln -s pts/ptmx $root/dev/ptmx
mount -t tmpfs tmpfs $root/run && mount -t tmpfs tmpfs $root/tmp || exit 3
mkdir -p $root/mnt/old && cd $root && pivot_root . mnt/old || exit 3
umount -l /mnt/old
exec /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=test.target --log-target=journal --show-status=no
'
(
  sh -c 'echo $PPID' >"$group/cgroup.procs" 2>/dev/null || exit 3
  exec unshare --mount --pid --fork --uts --ipc --cgroup --net --propagation private sh -c "$boot" "$root"
) >/dev/null 2>&1 &
parent=$!

inside() { nsenter --target "$systemd" --mount --pid --uts --ipc --net --cgroup --root --wd -- env -i PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
for _ in $(seq 300); do
  systemd=$(cat "/proc/$parent/task/$parent/children" 2>/dev/null | tr -d ' ')
  [ -z "$systemd" ] || ! inside systemctl is-active --quiet systemd-journald.service 2>/dev/null || break
  kill -0 "$parent" 2>/dev/null || exit 3
  sleep 0.1
done
inside systemctl is-active --quiet systemd-journald.service || exit 3

fail() {
  echo "service: $1"
  inside journalctl --no-pager -u tidegate -n 40
  exit 1
}
property() { inside systemctl show tidegate --property "$1" --value; }
within() {
  local seconds=$1
  shift
  for _ in $(seq $((seconds * 10))); do
    ! "$@" || return 0
    sleep 0.1
  done
  return 1
}
serving() { [ "$(property StatusText)" = serving ]; }
names_typo() { [[ $(property StatusText) == *max_tgas* ]]; }
replaced() { [[ $(property MainPID) != "$first" && $(property MainPID) != 0 ]]; }
ready() { inside runuser -u nobody -- tidegate health >/dev/null 2>&1; }
installed() { inside env DEBIAN_FRONTEND=noninteractive dpkg "$@" 2>&1; }

# Installed, and not started without a configuration.
output=$(installed --install /package.deb) || fail "it can't be installed: $output"
[[ $output == *"not started yet"* ]] || fail "the installation does not name the next steps: $output"
[ "$(property ActiveState)" = inactive ] || fail "it was started"
[ "$(inside stat -c '%U:%G %a' /etc/tidegate /etc/tidegate/tidegate.toml | tr '\n' ' ')" = "root:tidegate 750 root:tidegate 640 " ] ||
  fail "rights: $(inside stat -c '%n %U:%G %a' /etc/tidegate /etc/tidegate/tidegate.toml)"
inside bash -c 'man -w tidegate-serve && tidegate --version' >/dev/null || fail "no manual pages, or the program does not run"

# A configuration with a secret, by the unit's credentials, and the gateway on a port below 1024.
inside sh -c 'cd /var/lib/tidegate 2>/dev/null || install -d -o tidegate -g tidegate -m 750 /var/lib/tidegate
  mkdir -p /etc/tidegate/credentials /etc/systemd/system/tidegate.service.d
  printf %s sqlite:shop.db >/etc/tidegate/credentials/unused && chmod 600 /etc/tidegate/credentials/unused
  runuser -u tidegate -- python3 -c "import sqlite3; sqlite3.connect(\"/var/lib/tidegate/shop.db\").execute(\"create table products(id integer primary key, name text)\")"
  printf "SHOP_URL=sqlite:/var/lib/tidegate/shop.db\n" >/etc/tidegate/environment
  printf "[Service]\nLoadCredential=application:/etc/tidegate/credentials/unused\n" >/etc/systemd/system/tidegate.service.d/credentials.conf
  cat >>/etc/tidegate/tidegate.toml <<TOML
[node]
stop_delay = "2s"
[source.shop]
url = "\$SHOP_URL"
[upstream]
url = "http://127.0.0.1:3000"
[access]
audit_log = { file = "/var/lib/tidegate/audit.log" }
TOML
  sed -i "s/^gateway = .*/gateway = \"127.0.0.1:80\"/" /etc/tidegate/tidegate.toml
  systemctl daemon-reload' || fail "it can't be configured"
inside systemctl start tidegate || fail "it does not start"
ready || fail "systemd says that it is started, and it is not ready"
[ "$(property StatusText)" = serving ] || fail "its state is $(property StatusText)"
[ "$(inside ps -o user= -C tidegate)" = tidegate ] || fail "it runs as $(inside ps -o user= -C tidegate)"
inside test -s /var/lib/tidegate/audit.log || fail "the state has no audit log"
first=$(property MainPID)

# A reload, and one that is refused: the same process serves on, and says why.
inside sh -c 'printf "\n[edge]\nmax_tags = 100\n" >>/etc/tidegate/tidegate.toml; systemctl reload tidegate' || fail "it does not reload"
within 20 serving || fail "after a reload it is $(property StatusText)"
inside sh -c 'sed -i "s/max_tags/max_tgas/" /etc/tidegate/tidegate.toml; systemctl reload tidegate'
within 20 names_typo ||
  fail "after a refused reload it says: $(property StatusText)"
ready && [ "$(property MainPID)" = "$first" ] || fail "a refused reload ended it"
inside sed -i 's/max_tgas/max_tags/' /etc/tidegate/tidegate.toml

# A process that stands still is ended and started again; one that was killed, too.
inside sh -c 'mkdir -p /run/systemd/system/tidegate.service.d; printf "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n" >/run/systemd/system/tidegate.service.d/quick.conf; systemctl daemon-reload; systemctl restart tidegate' ||
  fail "it does not start again"
first=$(property MainPID)
sleep 3
[ "$(property MainPID)" = "$first" ] || fail "it sends no signs of life"
inside kill -STOP "$first"
within 30 replaced ||
  fail "the watchdog does not start it again"
within 20 ready || fail "it is not ready after the watchdog"

# An upgrade: the running node, the changed configuration and its rights stay.
first=$(property MainPID)
before=$(inside sha256sum /etc/tidegate/tidegate.toml)
inside chmod 600 /etc/tidegate/tidegate.toml
output=$(installed --install /package.deb) || fail "it can't be upgraded: $output"
[[ $output == *"systemctl restart tidegate"* ]] || fail "an upgrade does not say how the new version starts: $output"
[ "$(property MainPID)" = "$first" ] && ready || fail "an upgrade ended it"
[ "$before" = "$(inside sha256sum /etc/tidegate/tidegate.toml)" ] || fail "an upgrade changed the configuration"
[ "$(inside stat -c %a /etc/tidegate/tidegate.toml)" = 600 ] || fail "an upgrade changed the configuration's rights"

# A stop takes the announced time, and no kill.
begun=$SECONDS
inside systemctl stop tidegate || fail "it does not stop"
[ $((SECONDS - begun)) -ge 1 ] || fail "it did not wait for node.stop_delay"
[ "$(property Result)" = success ] || fail "its stop ended with $(property Result)"

# A wrong configuration is not started again and again.
inside sh -c 'sed -i "s/^\[node\]/[data.x]\nkey = \"v1:a:b:{id}\"\n[node]/" /etc/tidegate/tidegate.toml'
! inside systemctl start tidegate 2>/dev/null || fail "it starts with a contract that is no contract"

# Removed, and purged: what is not the package's stays.
output=$(installed --remove tidegate) || fail "it can't be removed: $output"
[[ $output == *pg_drop_replication_slot* ]] || fail "the removal does not name the slot: $output"
inside test -s /etc/tidegate/tidegate.toml || fail "a removal lost the configuration"
output=$(installed --purge tidegate) || fail "it can't be purged: $output"
inside test -s /var/lib/tidegate/audit.log && inside test -s /etc/tidegate/credentials/unused || fail "a purge lost the audit log or secrets"
echo "installed, started, reloaded, refused, watched, upgraded, stopped, removed and purged"
