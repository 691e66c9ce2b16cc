#!/usr/bin/env bash
# Builds all guests from source: the examples beside their sources, those of tests/guests beside theirs.
#
# usage: build.sh [--out DIR]      with --out into DIR, at the same paths below it, e.g. DIR/examples/hello/hello.wasm
#
# Rust guests need the target wasm32-wasip2: `rustup target add wasm32-wasip2`, or, where that cannot download, Debian's
# apt, from which sysroot.sh builds it. The C guest needs `python-zig` (pip install ziglang) or `zig`; without either it
# is left out, unless REQUIRE_ALL is set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
out=$root
if [[ ${1-} == --out ]]; then
  out=$(realpath -m "${2:?build.sh --out DIR}")
elif [[ $# -gt 0 ]]; then
  echo "usage: build.sh [--out DIR]" >&2
  exit 64
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/palinurus
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/wasm32-wasip2/lib ]]; then
  before=$(cat "$cache/sysroot/version" 2>/dev/null || true)
  "$here/sysroot.sh" "$cache/sysroot"
  # What was built against another std is of no use.
  [[ $(cat "$cache/sysroot/version") == "$before" ]] || rm -rf "$CARGO_TARGET_DIR/wasm32-wasip2"
  export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="--sysroot=$cache/sysroot"
fi

cd "$here"
cargo build --release --locked --target wasm32-wasip2
built=$CARGO_TARGET_DIR/wasm32-wasip2/release
while read -r file place; do
  mkdir -p "$out/$(dirname "$place")"
  cp "$built/$file" "$out/$place"
done <<'PLACES'
hello.wasm               examples/hello/hello.wasm
hello_p3.wasm            examples/hello-p3/hello-p3.wasm
ticker.wasm              examples/ticker/ticker.wasm
guestbook_frontend.wasm  examples/guestbook/frontend.wasm
guestbook_backend.wasm   examples/guestbook/backend.wasm
busybox.wasm             examples/images/busybox.wasm
nginx.wasm               examples/images/nginx.wasm
guest-command.wasm       tests/guests/command.wasm
guest_service.wasm       tests/guests/service.wasm
guest_service_p3.wasm    tests/guests/service-p3.wasm
guest_needs_import.wasm  tests/guests/needs-import.wasm
guest_start_trap.wasm    tests/guests/start-trap.wasm
PLACES

greeter=examples/greeter-c/greeter.wasm
if command -v python-zig >/dev/null; then
  cc=(python-zig cc)
elif command -v zig >/dev/null; then
  cc=(zig cc)
elif [[ ${REQUIRE_ALL-} ]]; then
  echo "build.sh: the C guest needs python-zig or zig" >&2
  exit 2
else
  echo "build.sh: no python-zig or zig here, $greeter is not built" >&2
  exit 0
fi
mkdir -p "$out/$(dirname "$greeter")"
"${cc[@]}" -target wasm32-wasi -Os -s -o "$out/$greeter" "$here/greeter-c/greeter.c"
chmod 644 "$out/$greeter"
