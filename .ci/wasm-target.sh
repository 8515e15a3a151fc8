#!/usr/bin/env bash
# .ci/wasm-target.sh [TARGET...]      (default: wasm32-wasip2)
#
# Makes plain `cargo build --target TARGET` work with the toolchain that rust-toolchain.toml pins.
# Knows wasm32-wasip2, wasm32-wasip1 and wasm32-unknown-unknown. For each target:
#   1. the toolchain already has it                        -> nothing to do
#   2. `rustup target add` delivers it within 20 s         -> done
#   3. Debian only: std is built once from Debian's rust-src of exactly rustc's version, with
#      Debian's wasi-libc, and laid out in the sysroot as rustup would lay it out. Both packages
#      are downloaded (never installed) from the archive this machine is already set up for.
# Safe to run again. Needs no root unless the sysroot is root's.
#
# WASM_TARGET_NO_RUSTUP=1   skip step 2 (to exercise step 3)
# WASM_TARGET_SUITES="..."  Debian suites to look in, in order
# RUSTC, CARGO              the toolchain to extend (default: rustc and cargo on PATH)
# RUSTUP_TIMEOUT            seconds for step 2 (default 20)
set -euo pipefail
cd "$(dirname "$0")/.." # where rust-toolchain.toml chooses the toolchain

RUSTC=${RUSTC:-rustc}
CARGO=${CARGO:-cargo}
say() { printf 'wasm-target: %s\n' "$*"; }
die() { printf 'wasm-target: error: %s\n' "$*" >&2; exit 1; }

targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(wasm32-wasip2)
for t in "${targets[@]}"; do
    case $t in
    wasm32-wasip2 | wasm32-wasip1 | wasm32-unknown-unknown) ;;
    *) die "unknown target '$t' (wasm32-wasip2, wasm32-wasip1 or wasm32-unknown-unknown)" ;;
    esac
done

command -v "$RUSTC" >/dev/null || die "no rustc ('$RUSTC')"
command -v "$CARGO" >/dev/null || die "no cargo ('$CARGO')"
version=$("$RUSTC" -vV | sed -n 's/^release: //p')
commit=$("$RUSTC" -vV | sed -n 's/^commit-hash: //p')
sysroot=$("$RUSTC" --print sysroot)

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

have() { compgen -G "$sysroot/lib/rustlib/$1/lib/libstd-*.rlib" >/dev/null; }

try_rustup() {
    [ -z "${WASM_TARGET_NO_RUSTUP:-}" ] || return 1
    command -v rustup >/dev/null || return 1
    say "$1: trying rustup"
    timeout "${RUSTUP_TIMEOUT:-20}" rustup target add "$1" >/dev/null 2>&1 </dev/null || true
    have "$1"
}

# --- Debian ---------------------------------------------------------------------------------
apt_get() {
    apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@"
}

apt_cache() {
    apt-cache -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" "$@"
}

# The archive that this machine's own main Debian entry names.
own_archive() {
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(CREATED_BY)|$(RELEASE)|$(REPO_URI)' |
        awk -F'|' -v c="$codename" '
            $1 != "Packages" || $2 ~ /security|updates|backports/ { next }
            $2 == c || !uri { uri = $3 }
            END { print uri }'
}

# fetch PACKAGE VERSION-PREFIX SUITE: downloads the newest matching .deb into $work/debs
fetch() {
    local v
    v=$(apt_cache madison "$1" |
        awk -F'|' -v p="$2" '{ gsub(/ /, "", $2) } index($2, p) == 1 { print $2 }' | sort -V | tail -1)
    [ -n "$v" ] || return 1
    say "downloading Debian's $1 $v ($3)"
    (cd "$work/debs" && apt_get download "$1=$v" >"$work/log" 2>&1) || {
        tail -5 "$work/log" >&2
        return 1
    }
}

debian_sources() {
    [ -z "$work" ] || return 0
    [ -r /etc/os-release ] && grep -qE '^ID(_LIKE)?=.*debian' /etc/os-release ||
        die "rustup could not add the target and this is not Debian: install it by hand"
    command -v apt-get >/dev/null || die "no apt-get"
    local uri suite opt='' rust_src='' libc='' key=/usr/share/keyrings/debian-archive-keyring.gpg
    uri=$(own_archive)
    [ -n "$uri" ] || die "no main Debian entry among this machine's own apt sources"
    [ ! -r "$key" ] || opt="[signed-by=$key] "
    work=$(mktemp -d)
    mkdir -p "$work"/{lists/partial,cache/archives/partial,debs,unpacked}
    for suite in ${WASM_TARGET_SUITES:-stable-backports trixie-backports stable oldstable-backports testing unstable}; do
        printf 'deb %s%s %s main\n' "$opt" "$uri" "$suite" >"$work/sources.list"
        rm -rf "$work"/lists/* "$work"/cache/*.bin && mkdir -p "$work/lists/partial"
        say "looking in Debian $suite"
        if ! apt_get update >"$work/log" 2>&1; then
            say "  not readable: $(grep -m1 '^[EW]:' "$work/log" | sed -E 's#[a-z]+://[^/ ]+#ARCHIVE#g')"
            continue
        fi
        # wasi-libc from the suite that has the right rust-src, or from the next one that has it
        [ -n "$rust_src" ] || { fetch rust-src "$version+" "$suite" && rust_src=1; } || true
        [ -z "$rust_src" ] || [ -n "$libc" ] || { fetch wasi-libc "" "$suite" && libc=1; } || true
        [ -z "$libc" ] || break
    done
    [ -n "$rust_src" ] || die "no suite has rust-src $version, the version of $RUSTC"
    [ -n "$libc" ] || die "no suite has wasi-libc"
    local d
    for d in "$work"/debs/*.deb; do dpkg-deb -x "$d" "$work/unpacked"; done
    library=$(cd "$work"/unpacked/usr/src/rustc-*/library && pwd) || die "rust-src has no library folder"
}

from_debian() {
    local target=$1 stage out libc_dir='' o
    debian_sources
    stage="$work/stage/$target"
    mkdir -p "$stage/lib" "$work/seed-$target/src"
    case $target in
    wasm32-wasip2) libc_dir=$work/unpacked/usr/lib/wasm32-wasip2 ;;
    wasm32-wasip1) libc_dir=$work/unpacked/usr/lib/wasm32-wasi ;;
    esac
    if [ -n "$libc_dir" ]; then
        mkdir -p "$stage/lib/self-contained"
        for o in crt1-command.o crt1-reactor.o libc.a; do
            cp -L "$libc_dir/$o" "$stage/lib/self-contained/" || die "wasi-libc has no $o"
        done
    fi
    cat >"$work/seed-$target/Cargo.toml" <<TOML
[package]
name = "seed"
version = "0.0.0"
edition = "2021"
[profile.release]
debug = 0
codegen-units = 1
TOML
    printf '' >"$work/seed-$target/src/lib.rs"
    say "$target: building std $version (one to three minutes)"
    # embed-bitcode: crates that link this std may use LTO, as they may with rustup's.
    (
        cd "$work/seed-$target"
        env -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET -u CARGO_BUILD_RUSTFLAGS \
            RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$library" \
            CARGO_TARGET_DIR="$work/target" RUSTC="$(command -v "$RUSTC")" \
            RUSTFLAGS="-C embed-bitcode=yes --remap-path-prefix=$library=/rustc/$commit/library" \
            "$CARGO" build --release --target "$target" \
            -Zbuild-std=std,panic_abort,proc_macro,test >"$work/log" 2>&1
    ) || {
        tail -20 "$work/log" >&2
        die "building std failed"
    }
    out=$work/target/$target/release/deps
    for o in "$out"/*.rlib; do
        case ${o##*/} in libseed-*) ;; *) cp "$o" "$stage/lib/" ;; esac
    done
    compgen -G "$stage/lib/libstd-*.rlib" >/dev/null || die "the build left no libstd rlib"
    rm -rf "$sysroot/lib/rustlib/$target"
    mv "$stage" "$sysroot/lib/rustlib/$target" || die "cannot write to $sysroot/lib/rustlib"
    say "$target: installed into $sysroot/lib/rustlib ($(du -sh "$sysroot/lib/rustlib/$target" | cut -f1))"
}

for t in "${targets[@]}"; do
    if have "$t"; then
        say "$t: already there (rustc $version)"
    elif try_rustup "$t"; then
        say "$t: added by rustup (rustc $version)"
    else
        from_debian "$t"
    fi
done
