"""schemathesis against the API: what the documents of OpenAPI v3 describe is asked for, well and badly; no answer may be a
server error, and each must fit its schema: that of the operation, or a Status.

Arguments: a kubeconfig, how many requests to make up for each operation beside the systematic ones, and the documents (as
api/v1); all without any."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kubernetes import client, config

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# These speak other protocols, or pass on what a pod answers.
CONNECTS = ("/proxy", "/exec", "/attach", "/portforward")
STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
METHODS = ("get", "put", "post", "patch", "delete", "options", "head")


def prepare(document):
    """The document without streams. Kubernetes' documents tell of success alone: here every other answer is a Status."""
    failure = {"description": "failure", "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{STATUS}"}}}}
    for path in list(document["paths"]):
        if any(part in path for part in CONNECTS) or "/watch/" in path:
            del document["paths"][path]
            continue
        item = document["paths"][path]
        streams = lambda p: p.get("name") in ("watch", "follow")
        item["parameters"] = [p for p in item.get("parameters", []) if not streams(p)]
        for operation in (item[method] for method in METHODS if method in item):
            operation["parameters"] = [p for p in operation.get("parameters", []) if not streams(p)]
            operation["responses"]["default"] = failure
    document["components"]["schemas"].setdefault(STATUS, {"type": "object"})
    return document


def main():
    kubeconfig, examples, *wanted = sys.argv[1:]
    config.load_kube_config(kubeconfig)
    api = client.ApiClient()
    access = api.configuration

    def read(path):
        return json.loads(api.rest_client.pool_manager.request("GET", access.host + path).data)

    paths = read("/openapi/v3")["paths"]
    failed = []
    for name in wanted or paths:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "document.json"
            file.write_text(json.dumps(prepare(read(paths[name]["serverRelativeURL"]))))
            words = [sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", access.host]
            words += ["--request-cert", access.cert_file, "--request-cert-key", access.key_file]
            words += ["--tls-verify", access.ssl_ca_cert, "--checks", CHECKS, "--request-timeout", "20"]
            words += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", examples, "--seed", "1"]
            words += ["--suppress-health-check", "all", "--generation-database", "none", "--no-color", "--warnings", "off"]
            ran = subprocess.run(words, cwd=directory, env={**os.environ, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True)
        print(f"== {name}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        if ran.returncode != 0 or " passed" not in ran.stdout:
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


main()
