#!/usr/bin/env bash
# Run by ./package --test in namespaces: .ci/container.sh ROOT. The life of the program as the first process of a
# container: another user, a read-only root, a health check, a stop during the start, and a stop.
set -u
root=$1

ip link set lo up || exit 1
mount --bind "$root" "$root" && mount -t tmpfs tmpfs "$root/var/lib/tidegate" && mount -t proc proc "$root/proc" || exit 1
# The devices that engines give; the program needs these.
for device in null random urandom; do
  touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device" || exit 1
done
cat >"$root/etc/tidegate/tidegate.toml" <<'TOML'
[listen]
data  = "127.0.0.1:9170"
admin = "127.0.0.1:9180"
[source.shop]
url = "sqlite:/var/lib/tidegate/shop.db"
TOML
sed 's,^url.*,url = "postgres://shop@127.0.0.1:5432/shop",' "$root/etc/tidegate/tidegate.toml" >"$root/etc/tidegate/silent.toml"
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("create table products(id integer primary key)")' \
  "$root/var/lib/tidegate/shop.db" || exit 1
chmod -R a+rwX "$root/var/lib/tidegate"
mount -o remount,bind,ro "$root" || exit 1

fail() {
  echo "container: $1"
  exit 1
}
# In namespaces of processes of their own, so that it is the first process.
start() {
  # shellcheck disable=SC2086
  unshare --pid --fork --kill-child chroot $user "$root" /usr/bin/tidegate serve "/etc/tidegate/$1" &
  parent=$!
}
first_process() { cat "$root/proc/$parent/task/$parent/children" 2>/dev/null; }
healthy() { chroot "$root" /usr/bin/tidegate health "$@" >/dev/null 2>&1; }
user=
# Within a user namespace there may be no other user.
! chroot --userspec=65532:65532 "$root" /usr/bin/tidegate --version >/dev/null 2>&1 || user=--userspec=65532:65532

! healthy --live || fail "a node is alive before it was started"
start tidegate.toml
for _ in $(seq 200); do
  ! healthy || break
  sleep 0.1
done
healthy --live || fail "it is not alive"
healthy || fail "it is not ready"
kill -TERM $(first_process) || fail "there is no first process"
wait "$parent" || fail "SIGTERM ended it with $?"
! healthy --live || fail "it is alive after its end"

# A database that accepts and says nothing.
python3 -c 'import socket, sys, time
server = socket.create_server(("127.0.0.1", 5432))
open(sys.argv[1], "w").close()
time.sleep(600)' "$root/var/lib/tidegate/listens" &
silent=$!
until [ -e "$root/var/lib/tidegate/listens" ]; do
  kill -0 "$silent" 2>/dev/null || fail "no silent database"
  sleep 0.05
done
start silent.toml
sleep 2
kill -TERM $(first_process) || fail "it did not wait for its database"
for _ in $(seq 50); do
  kill -0 "$parent" 2>/dev/null || break
  sleep 0.1
done
! kill -0 "$parent" 2>/dev/null || fail "SIGTERM during the start is ignored"
wait "$parent" || fail "SIGTERM during the start ended it with $?"
kill "$silent"
echo "as the first process${user:+, as user 65532}, on a read-only root: ready, stopped, stopped during the start"
