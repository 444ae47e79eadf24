#!/usr/bin/env bash
# Builds the binary as it ships, laid out by what it does under load: TARGET/pgo/cutover.
#
#     benches/pgo.sh                  # the profile `dist`; takes two builds from nothing and some minutes of training
#     PROFILE=release benches/pgo.sh  # quicker, to try it out
#
# 1. A build that counts how often each branch is taken.
# 2. Training: `cargo bench --bench compare -- scenarios --alone`, every kind of work, with that build.
# 3. The counts are merged; `llvm-profdata` has to be of the major version of LLVM that rustc has (`rustc -vV`). Debian
#    has it in `llvm-22`, and LLVM_PROFDATA names another one.
# 4. A build that uses them.
#
# What it brings: cargo bench --bench compare -- scenarios --cutover TARGET/pgo/cutover
# Once, on two virtual CPUs: 6 % less CPU for an answer of 1 KiB on a kept connection, 2 % for a WebSocket message, and
# nothing for a connection with one request, which is the kernel's work. The binary is 8 % smaller. So no package is
# built like that.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-dist}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=${LLVM_PROFDATA:-/usr/lib/llvm-$llvm/bin/llvm-profdata}
if ! [ -x "$profdata" ]; then
    echo "pgo.sh: there is no $profdata; install the package \`llvm-$llvm\`, or set LLVM_PROFDATA" >&2
    exit 1
fi

# With --target the flags are for the program alone, and not for what only runs during the build.
build() {
    CARGO_TARGET_DIR=$target/pgo/$1 RUSTFLAGS="${RUSTFLAGS:-} $2" \
        cargo build --profile "$profile" --bin cutover --target "$host"
}

counts=$target/pgo/counts
rm -rf "$counts"
build counting "-Cprofile-generate=$counts"
# What is measured is of no use here, and the bench itself may be built as it is quickest.
CARGO_TARGET_DIR=$target cargo bench --profile release --bench compare -- scenarios --alone --rounds 1 \
    --requests "${REQUESTS:-20000}" --cutover "$target/pgo/counting/$host/$profile/cutover"
"$profdata" merge -o "$target/pgo/merged.profdata" "$counts"
build using "-Cprofile-use=$target/pgo/merged.profdata"
cp "$target/pgo/using/$host/$profile/cutover" "$target/pgo/cutover"
echo "$target/pgo/cutover"
