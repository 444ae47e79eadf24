# Format, lints and every test: what CI runs.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo clippy -- -D warnings
    tests/run

# The simulator, for longer.
sim seeds="100000":
    CUTOVER_SIM_SEEDS={{seeds}} cargo test --release --test sim

# Whether the judge of canaries keeps its promises on traffic as people have it; with words, the worlds that have them in their names.
worlds *which="all":
    cargo run --release --manifest-path tests/judge/Cargo.toml --target-dir target/judge -- worlds {{which}}

# What a request and a switch cost, beside others.
bench:
    cargo bench --bench snapshot
    cargo bench --bench compare

# The binary as it ships.
dist:
    cargo build --profile dist

# The documents as a book, in target/book/html.
book:
    docs/book/build

# The Debian package, in target/debian.
package:
    config/debian/build

# The image, by podman.
image:
    config/container/build

# Licenses, bans, sources, and known weaknesses of dependencies. Needs cargo-deny and the network.
audit:
    cargo deny check

# What is in the binary, as CycloneDX, in target/cutover.cdx.json. Needs cargo-cyclonedx.
sbom:
    cargo cyclonedx --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --no-build-deps --override-filename cutover.cdx
    mv cutover.cdx.json target/
