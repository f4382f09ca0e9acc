# Sourced by ./package: the program, linked statically.

make_binary() {
  if [ -n "$program" ]; then
    [ "$program" -ef "$into/tidegate" ] || install -m 755 "$program" "$into/tidegate"
    return
  fi
  build_static "$PWD" target || return 1
  install -m 755 "$built" "$into/tidegate"
  describe_program "$into/tidegate"
}

# Builds in a folder with a copy of this repository, and sets `built`. Flags that differ between folders would make
# another program: the object is named by its relative path.
build_static() {
  local folder=$1 target=$2 host object=target/package/static_names.o cargo_home=${CARGO_HOME:-$HOME/.cargo} flags
  host=$(rustc -vV | sed -n 's/^host: //p')
  case $host in
    *-linux-gnu) ;;
    *) missing "a Rust toolchain for Linux with the GNU C library (this one is for $host)" "rustup, on such a system" ;;
  esac
  command -v cc >/dev/null || missing "cc" "apt-get install gcc libc6-dev"
  echo 'int main(void) { return 0; }' | cc -static-pie -x c -o "$scratch/static" - 2>/dev/null ||
    missing "the static C library" "apt-get install libc6-dev (Fedora: dnf install glibc-static)"
  mkdir -p "$folder/target/package" && cc -O2 -c packaging/static_names.c -o "$folder/$object" || return 1
  flags=(-C target-feature=+crt-static -C "link-arg=$object"
    "--remap-path-prefix=$cargo_home=/cargo" "--remap-path-prefix=$folder=/src")
  (
    cd "$folder" || exit 1
    export CARGO_ENCODED_RUSTFLAGS CARGO_INCREMENTAL=0
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}")
    # The C code of components has paths only in assertions and debug information.
    export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$folder=/src"
    # With --target, build scripts and macros of the build are not linked so.
    CARGO_TARGET_DIR=$target nice cargo build --locked --profile dist --package tidegate --target "$host"
  ) || return 1
  built=$folder/$target/$host/dist/tidegate
}

# Says on which systems a program runs, and fails if it is not static.
describe_program() {
  local size
  size=$(stat -c %s "$1")
  echo "$1: $((size >> 20)) MiB, $(uname -m)"
  if [ -n "$(needed "$1")" ]; then
    echo "package: $1 is not static; it needs: $(needed "$1" | tr '\n' ' ')" >&2
    echo "package: the newest symbol: $(newest_symbol "$1")" >&2
    return 1
  fi
  echo "static: it runs on every Linux from 3.2 on, of any distribution"
}

needed() {
  readelf --dynamic --wide "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

newest_symbol() {
  readelf --dyn-syms --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1
}

# Builds a copy of the files of this commit in another folder, and compares the programs.
build_again() {
  local copy=$scratch/copy first second
  mkdir "$copy" && git ls-files -z | tar --null --files-from=- -cf - | tar -xf - -C "$copy" || return 1
  build_static "$copy" target || return 1
  first=$(sha256sum <"$into/tidegate") second=$(sha256sum <"$built")
  echo "here: $first, in another folder: $second"
  [ "$first" = "$second" ]
}
