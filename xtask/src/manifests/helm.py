"""Renders charts with Helm's own library, as `helm template` does.

Standard input: {"library": FOLDER, "charts": [{"chart": FOLDER, "release": NAME, "namespace": NAME, "values": {…}}, …]}
Standard output: [{"manifest": TEXT} or {"error": TEXT}, …]
"""

import json
import sys

job = json.load(sys.stdin)
sys.path.insert(0, job["library"])

import helm_python as helm  # noqa: E402


def render(chart, release, namespace, values):
    try:
        with helm.Chart.load(chart) as loaded:
            templates = loaded.render(values, name=release, namespace=namespace, is_install=True)
    except helm.HelmError as error:
        return {"error": str(error)}
    manifests = {path: text for path, text in templates.items() if not path.endswith("NOTES.txt")}
    return {"manifest": "".join(f"---\n# Source: {path}\n{text}\n" for path, text in manifests.items())}


json.dump([render(**chart) for chart in job["charts"]], sys.stdout)
