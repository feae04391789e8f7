# Shortcuts for `cargo xtask`; everything works without just.

# List the recipes
default:
    @{{ just_executable() }} --list --unsorted

# Run the gate: format, lints, module checks, tests, scenarios
test:
    cargo xtask test

# Run scenarios on a real Envoy: all, or those whose names contain `s03`
e2e *scenarios:
    cargo xtask e2e {{ scenarios }}

# Let everything fail under replicas on a real etcd; `just chaos --minutes 10 --seed 1`
chaos *arguments:
    cargo xtask chaos {{ arguments }}

# Start a devnet and watch a tag resolve; `just demo --check` exits on its own
demo *arguments:
    cargo xtask demo {{ arguments }}

# Format the code
fmt *arguments:
    cargo xtask fmt {{ arguments }}

# Run clippy, rustdoc, typos and cargo-deny
lint:
    cargo xtask lint

# Regenerate the tables of docs/configuration.md
docs:
    cargo xtask docs

# Check the packages of the crates; `just package --write` records their public APIs
package *arguments:
    cargo xtask package {{ arguments }}

# Build and check the module that Envoy loads
filter:
    cargo xtask filter

# Build the WebAssembly of the status page
page:
    cargo xtask page

# Take the screenshots in docs/images
pictures:
    cargo xtask pictures

# Check gateways, chart, images and workflows; `just manifests --write` renders again
manifests *arguments:
    cargo xtask manifests {{ arguments }}

# Build the module a second time and compare it byte for byte
reproduce:
    cargo xtask reproduce

# Build what a release has into target/dist
dist *arguments:
    cargo xtask dist {{ arguments }}

# Set up the tools, and print which ones are used
tools:
    cargo xtask tools

# Fuzz the decoders and the rewriter: all targets, or the named ones
fuzz *arguments:
    cargo xtask fuzz {{ arguments }}

# Mutate the files that hold rules: all, or those whose names contain `store`
mutants *files:
    cargo xtask mutants {{ files }}

# Run the benchmarks of the core, of the `filter`, of `propagation` or of the `verifier`
bench *arguments:
    cargo xtask bench {{ arguments }}

# Run what the CI runs
ci:
    .ci/run
