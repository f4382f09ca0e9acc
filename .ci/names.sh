#!/usr/bin/env bash
# Run by ./package --test in namespaces: .ci/names.sh ROOT. Does the program in ROOT resolve names of hosts and of DNS?
set -u
root=$1
rm -f "$root/bound"

ip link set lo up || exit 1
# As container engines do.
mkdir -p "$root/dev" || exit 1
for device in random urandom; do
  touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device" || exit 1
done
python3 - "$root/bound" <<'PYTHON' &
# A name server that knows one name: dns.shop.internal is 127.0.0.1.
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
open(sys.argv[1], "w").close()
while True:
    query, client = server.recvfrom(512)
    end = query.index(b"\0", 12) + 5
    kind = struct.unpack("!H", query[end - 4:end - 2])[0]
    known = query[12:end - 4].lower() == b"\3dns\4shop\10internal\0"
    found = known and kind == 1
    head = query[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, int(found), 0, 0)
    answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if found else b""
    server.sendto(head + query[12:end] + answer, client)
PYTHON
server=$!
until [ -e "$root/bound" ]; do
  kill -0 "$server" 2>/dev/null || exit 1
  sleep 0.05
done

# Nothing listens: a name that is known is refused by its address, another one is not found.
failed=0
expect() {
  local name=$1 part=$2 output status
  printf '[source.shop]\nurl = "postgres://shop@%s:1/shop"\n' "$name" >"$root/tidegate.toml"
  output=$(chroot "$root" /tidegate check --connect /tidegate.toml 2>&1)
  status=$?
  if [ "$status" -eq 3 ] && [[ $output == *"$part"* ]]; then
    echo "$name: $part"
  else
    echo "$name: exit $status, without \"$part\": $output"
    failed=1
  fi
}
expect localhost "refused"
expect shop.internal "refused"
expect dns.shop.internal "refused"
expect unknown.shop.internal "lookup address"
exit "$failed"
