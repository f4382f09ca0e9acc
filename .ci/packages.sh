# Sourced by ./package: archive, Debian package, list of components, book and checksums.

# The manual pages and completions of the program, by itself, once.
make_generated() {
  generated=$scratch/generated
  [ ! -d "$generated" ] || return 0
  [ -x "$into/tidegate" ] || {
    echo "package: there is no $into/tidegate: run ./package without --only, or with --program" >&2
    return 1
  }
  local program
  program=$(realpath "$into/tidegate") && mkdir -p "$generated/man1" &&
    "$program" man --into "$generated/man1" &&
    "$program" completions bash >"$generated/tidegate.bash" &&
    "$program" completions zsh >"$generated/_tidegate" &&
    "$program" completions fish >"$generated/tidegate.fish"
}

make_archive() {
  make_generated || return 1
  local name=tidegate-$version-$(uname -m)-linux folder
  folder=$scratch/$name
  mkdir -p "$folder/completions" &&
    install -m 755 "$into/tidegate" "$folder/" &&
    install -m 644 LICENSE README.md CHANGELOG.md packaging/tidegate.service packaging/tidegate.toml "$folder/" &&
    cp -r "$generated/man1" "$folder/" &&
    cp "$generated/tidegate.bash" "$generated/_tidegate" "$generated/tidegate.fish" "$folder/completions/" &&
    packed "$scratch" "$name" | gzip -n9 >"$into/$name.tar.gz" &&
    echo "$into/$name.tar.gz"
}

# Writes a folder as tar to standard output, the same at any time, for any user and on any file system.
packed() {
  tar --create --directory "$1" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
    --mode=go-w --mtime="@$SOURCE_DATE_EPOCH" "$2"
}

make_deb() {
  command -v dpkg-deb >/dev/null || {
    not_run+=("deb: dpkg-deb is not installed")
    return 0
  }
  make_generated || return 1
  local root=$scratch/deb share=$scratch/deb/usr/share architecture deb page
  architecture=$(dpkg --print-architecture) || return 1
  rm -rf "$root" && mkdir -p "$root/DEBIAN" "$share/doc/tidegate/examples" "$share/man/man1" || return 1
  install -D -m 755 "$into/tidegate" "$root/usr/bin/tidegate" &&
    install -D -m 644 packaging/tidegate.service "$root/usr/lib/systemd/system/tidegate.service" &&
    install -D -m 644 packaging/tidegate.toml "$root/etc/tidegate/tidegate.toml" &&
    install -D -m 644 "$generated/tidegate.bash" "$share/bash-completion/completions/tidegate" &&
    install -D -m 644 "$generated/_tidegate" "$share/zsh/vendor-completions/_tidegate" &&
    install -D -m 644 "$generated/tidegate.fish" "$share/fish/vendor_completions.d/tidegate.fish" &&
    install -m 644 packaging/debian/copyright "$share/doc/tidegate/copyright" &&
    install -m 644 docs/*.md "$share/doc/tidegate/" &&
    cp -r docs/runbooks "$share/doc/tidegate/" &&
    install -m 644 examples/tidegate.toml "$share/doc/tidegate/examples/" || return 1
  gzip -n9 <CHANGELOG.md >"$share/doc/tidegate/changelog.gz" || return 1
  [ ! -e "$into/components.cdx.json" ] || install -m 644 "$into/components.cdx.json" "$share/doc/tidegate/"
  for page in "$generated"/man1/*.1; do
    gzip -n9 <"$page" >"$share/man/man1/${page##*/}.gz" || return 1
  done
  sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$(du -sk "$root" | cut -f 1)/" \
    -e "s/@MAINTAINER@/${DEBFULLNAME:-Tidegate} <${DEBEMAIL:-tidegate@localhost}>/" \
    packaging/debian/control >"$root/DEBIAN/control" &&
    install -m 644 packaging/debian/conffiles "$root/DEBIAN/" &&
    install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/" || return 1
  (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums) || return 1
  deb=$into/tidegate_${version}_$architecture.deb
  # xz: dpkg before Debian 12 reads nothing newer. One thread, since several write another file.
  DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$root" "$deb"
}

make_components() {
  command -v python3 >/dev/null || {
    not_run+=("components: python3 is not installed")
    return 0
  }
  .ci/sbom.py "$into/components.cdx.json"
}

# The sources of the book have the folders of the repository, so that each link is the same.
make_book() {
  command -v python3 >/dev/null || {
    not_run+=("book: python3 is not installed")
    return 0
  }
  rm -rf "$into/book" && .ci/book.py "$into/book" || return 1
  if command -v mdbook >/dev/null; then
    mdbook build "$into/book"
  else
    not_run+=("mdbook is not installed (cargo install --locked mdbook): $into/book has the sources only")
  fi
}

make_checksums() {
  (cd "$into" && rm -f SHA256SUMS && find . -maxdepth 1 -type f \
    \( -name tidegate -o -name '*.tar.gz' -o -name '*.deb' -o -name '*.json' \) -printf '%P\0' |
    sort -z | xargs -0r sha256sum >SHA256SUMS)
}
