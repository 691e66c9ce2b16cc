#!/usr/bin/env bash
# Builds Rust's std for wasm32-wasip2 from Debian's rust-src, for machines where `rustup target add` cannot download.
# Nothing of the system or of the toolchain is changed.
#
# usage: sysroot.sh DEST
# then:  CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="--sysroot=DEST" cargo build --target wasm32-wasip2
#
# It takes about 75 s of CPU and 82 MB, once for each version of rustc. Exit 2: Debian has no source of that version.
set -euo pipefail
target=wasm32-wasip2
dest=$(realpath -m "$1")
version=$(rustc --version | awk '{print $2}')
lib=$dest/lib/rustlib/$target/lib

if [[ -d $lib && $(cat "$dest/version" 2>/dev/null) == "$version" ]]; then exit 0; fi
command -v apt-get >/dev/null || { echo "sysroot.sh: no apt-get here, use: rustup target add $target" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An apt of our own beside the system's, for two newer suites of the mirror that the system already uses.
sources=(/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list)
mirror=$(awk '/^URIs:/ {print $2; exit} /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' \
  "${sources[@]}" 2>/dev/null || true)
[[ $mirror ]] || { echo "sysroot.sh: no Debian mirror is configured" >&2; exit 2; }
mkdir -p "$work"/apt/{etc/apt.conf.d,etc/preferences.d,etc/sources.list.d,state/lists/partial,cache/archives/partial}
mkdir -p "$work"/{debs,files,empty/src}
for suite in trixie trixie-backports; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$work/apt/etc/sources.list"
cat >"$work/apt.conf" <<CONF
Dir::Etc "$work/apt/etc";
Dir::State "$work/apt/state";
Dir::Cache "$work/apt/cache";
Dir::State::status "/var/lib/dpkg/status";
APT::Sandbox::User "root";
Acquire::Languages "none";
CONF
export APT_CONFIG=$work/apt.conf
apt-get -qq update
source_version=$(apt-cache madison rust-src | awk -v v="$version" '$3 ~ "^" v "\\+" {print $3; exit}')
[[ $source_version ]] || { echo "sysroot.sh: Debian has no rust-src $version" >&2; exit 2; }
libc_version=$(apt-cache madison wasi-libc | awk '{print $3; exit}')
(cd "$work/debs" && apt-get -qq download "rust-src=$source_version" "wasi-libc=$libc_version")
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/files"; done

# std comes out of a build of an empty crate. The bitcode in it lets guests use LTO.
echo '#![no_std]' >"$work/empty/src/lib.rs"
printf '[package]\nname = "stdbuild"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$work/empty/Cargo.toml"
(
  cd "$work/empty"
  export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cembed-bitcode=yes" CARGO_TARGET_DIR="$work/target"
  export __CARGO_TESTS_ONLY_SRC_ROOT="$work/files/usr/src/rustc-$version/library"
  cargo build -q --release -Zbuild-std=core,alloc,std,panic_abort,panic_unwind,proc_macro --target "$target"
)
rm -rf "$lib"
mkdir -p "$lib/self-contained"
cp "$work/target/$target"/release/deps/*.rlib "$lib/"
rm -f "$lib"/libstdbuild-*
cp "$work/files/usr/lib/$target"/{crt1-command.o,crt1-reactor.o,libc.a} "$lib/self-contained/"
# Written last: without it the directory counts as not built.
echo "$version" >"$dest/version"
