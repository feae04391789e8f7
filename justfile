# A thin face on `cargo xtask`; everything works without just.

# List the recipes
default:
    @{{ just_executable() }} --list --unsorted

# Run everything: format, lints, module checks, tests, scenarios
test:
    cargo xtask test

# Run the scenarios on a real Envoy: all, or those with a name like `s03`
e2e *scenarios:
    cargo xtask e2e {{ scenarios }}

# Start a devnet and watch a tag resolve; `just demo --check` ends by itself
demo *arguments:
    cargo xtask demo {{ arguments }}

# Format the code
fmt *arguments:
    cargo xtask fmt {{ arguments }}

# Run clippy, rustdoc, typos and cargo-deny
lint:
    cargo xtask lint

# Write the tables of docs/configuration.md anew
docs:
    cargo xtask docs

# Check finality-core as others get it; `just package --write` records its public interface anew
package *arguments:
    cargo xtask package {{ arguments }}

# Build and check the module that Envoy loads
filter:
    cargo xtask filter

# Build the page that the sidecar serves
page:
    cargo xtask page

# Take the pictures of the status page in docs/images
pictures:
    cargo xtask pictures

# Check gateways, chart, images and workflows; `just manifests --write` renders anew
manifests *arguments:
    cargo xtask manifests {{ arguments }}

# Build the module a second time in another folder: it must be the same
reproduce:
    cargo xtask reproduce

# Set up Envoy, Anvil and the wasm compiler, and print what will be used
tools:
    cargo xtask tools

# Feed every decoder with arbitrary bytes: all, or the named targets
fuzz *arguments:
    cargo xtask fuzz {{ arguments }}

# Mutate the files that hold rules: all, or those with a name like `store`
mutants *files:
    cargo xtask mutants {{ files }}

# Run the benchmarks of the core, or those of the `filter` in Envoy, of the `propagation` of heads or of the `verifier`
bench *arguments:
    cargo xtask bench {{ arguments }}

# What the CI runs
ci:
    .ci/run
