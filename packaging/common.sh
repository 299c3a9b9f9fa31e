# What the packaging scripts share; sourced, from the root of the source.

die() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# The version of the source.
version() { sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1; }

# Name and time of the commit: of the tarball that this was unpacked from, else of the working tree.
commit() { sed -n 's/^\([0-9a-f]\{7,\}\) [0-9]*$/\1/p' packaging/commit | grep . || git rev-parse HEAD; }
commit_time() {
    sed -n 's/^[0-9a-f]\{7,\} \([0-9]*\)$/\1/p' packaging/commit | grep . ||
        git show --no-patch --format=%ct HEAD 2>/dev/null || echo 0
}

# Everything that is dated gets this date, so that the same source makes the same bytes.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(commit_time)}"
export LC_ALL=C TZ=UTC
umask 022

# The program to package: one that is there already ($CATCHMENT_PROGRAM), else built with the
# profile `dist`, without the paths of this machine in it. Prints its path.
program() {
    if [ -n "${CATCHMENT_PROGRAM:-}" ]; then
        [ -x "$CATCHMENT_PROGRAM" ] || die "CATCHMENT_PROGRAM=$CATCHMENT_PROGRAM cannot be run"
        printf '%s\n' "$CATCHMENT_PROGRAM"
        return
    fi
    local target="${CARGO_TARGET_DIR:-target}" home="${CARGO_HOME:-$HOME/.cargo}"
    local maps="$PWD=/catchment $home=/cargo $(rustc --print sysroot)=/rust"
    local flag rust='' c=''
    for flag in $maps; do
        rust="$rust --remap-path-prefix=$flag"
        c="$c -ffile-prefix-map=$flag"
    done
    # Where rustc links with LLD, functions of equal code become one.
    if [ "$(rustc -vV | sed -n 's/^host: //p')" = x86_64-unknown-linux-gnu ]; then
        rust="$rust -Clink-arg=-Wl,--icf=all"
    fi
    RUSTFLAGS="${RUSTFLAGS:-}$rust" CFLAGS="${CFLAGS:-}$c" \
        nice -n 10 cargo build --locked --profile dist --bin catchment >&2
    printf '%s\n' "$target/dist/catchment"
}
