// A placeholder for what `cargo xtask page` builds.
export default async function init() {
  throw new Error("This sidecar was built without the rewriter. Run `cargo xtask page`, then build the sidecar again.");
}

export function preview() {}
