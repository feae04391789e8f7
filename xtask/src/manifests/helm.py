"""Renders Helm charts with Helm's own library, without a cluster.

The library installs releases; it cannot only render them. So it is given a cluster on the loopback interface, which has every
kind and no object, takes the record of the release, where all that was rendered stands, and refuses everything else.

Standard input: {"library": PATH, "charts": [{"chart": PATH, "release": NAME, "namespace": NAME, "values": {…}}, …]}
Standard output: [{"manifest": TEXT} or {"error": TEXT}, …]
"""

import base64
import ctypes
import gzip
import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
# What the chart makes. Another kind is refused with "no matches for kind": it belongs here then.
KINDS = {
    "v1": ["ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["StatefulSet"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "monitoring.coreos.com/v1": ["PodMonitor", "PrometheusRule", "ServiceMonitor"],
    "extensions.istio.io/v1alpha1": ["WasmPlugin"],
    "networking.istio.io/v1alpha3": ["EnvoyFilter"],
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
    "gateway.envoyproxy.io/v1alpha1": ["ClientTrafficPolicy", "EnvoyExtensionPolicy", "EnvoyPatchPolicy"],
}
# Seconds for one chart.
LIMIT = 60


class Cluster(BaseHTTPRequestHandler):
    """The API of a cluster, as far as Helm asks before it creates anything."""

    protocol_version = "HTTP/1.1"
    release = None

    def do_GET(self):
        path = self.path.split("?")[0]
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if path == "/version":
            self.reply(200, VERSION)
        elif path == "/api":
            self.reply(200, {"kind": "APIVersions", "versions": ["v1"]})
        elif path == "/apis":
            self.reply(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})
        elif version in KINDS:
            self.reply(200, resources(version))
        elif path.endswith("/secrets"):
            self.reply(200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})
        else:
            self.refuse(404, "NotFound")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        # The record is a Secret in binary form; in it, base64 of gzip of JSON.
        record = re.search(rb"H4sI[A-Za-z0-9+/=]+", body)
        if record:
            Cluster.release = json.loads(gzip.decompress(base64.b64decode(record[0])))
        self.refuse(403, "Forbidden")

    do_PUT = do_PATCH = do_POST

    def refuse(self, code, reason):
        self.reply(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason})

    def reply(self, code, answer):
        answer = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def groups():
    found = {}
    for version in KINDS:
        if "/" in version:
            group, number = version.split("/")
            found.setdefault(group, []).append({"groupVersion": version, "version": number})
    return [{"name": group, "versions": versions, "preferredVersion": versions[0]} for group, versions in found.items()]


def resources(version):
    def resource(kind):
        plural = kind.lower()[:-1] + "ies" if kind.endswith("y") else kind.lower() + "s"
        return {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get", "create"]}

    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": [resource(kind) for kind in KINDS[version]],
    }


def text(value):
    return ctypes.c_char_p(value.encode())


class Helm:
    """The library, bound to one namespace of the cluster."""

    def __init__(self, library, cluster, namespace):
        self.library = library
        self.handle = ctypes.c_ulonglong()
        # Read when something is rendered, so it is kept until then.
        self.kubeconfig = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump(kubeconfig(cluster), self.kubeconfig)
        self.kubeconfig.flush()
        self.check(library.helm_sdkpy_config_create(
            text(namespace), text(self.kubeconfig.name), None, text("{}"), ctypes.byref(self.handle)))

    def check(self, code):
        if code != 0:
            raise RuntimeError(self.library.helm_sdkpy_last_error().decode())

    def render(self, chart, release, values):
        Cluster.release = None
        options = {"wait": False, "timeout_seconds": LIMIT, "server_side_apply": "false", "disable_openapi_validation": True}
        try:
            self.check(self.library.helm_sdkpy_install(
                self.handle, text(release), text(chart), text(json.dumps(values)), None, text(json.dumps(options)),
                ctypes.byref(ctypes.c_char_p())))
        except RuntimeError as error:
            if Cluster.release is None:
                return {"error": str(error)}
        record = Cluster.release
        hooks = [f"---\n# Source: {hook['path']}\n{hook['manifest'].strip()}\n" for hook in record.get("hooks") or []]
        return {"manifest": record["manifest"].strip() + "\n" + "".join(hooks)}


def kubeconfig(server):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": server}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "users": [{"name": "none", "user": {}}],
    }


def main():
    job = json.load(sys.stdin)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cluster)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    library = ctypes.CDLL(job["library"])
    library.helm_sdkpy_last_error.restype = ctypes.c_char_p
    rendered = []
    for chart in job["charts"]:
        helm = Helm(library, f"http://127.0.0.1:{server.server_port}", chart["namespace"])
        rendered.append(helm.render(chart["chart"], chart["release"], chart["values"]))
    json.dump(rendered, sys.stdout)


main()
