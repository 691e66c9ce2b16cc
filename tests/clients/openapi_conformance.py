"""schemathesis against the API: what the documents of OpenAPI v3 describe is asked for, well and badly; no answer may be a
server error, and each must fit its schema: that of the operation, or a Status.

Arguments: a kubeconfig, how many requests to make up for each operation beside the systematic ones, and the documents (as
api/v1); all without any. Instead of documents `some`: of each a few operations, chosen by chance that is always the same, whose
bodies are of few types; for these together a minute suffices."""

import json
import os
import random
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
# What `some` takes of each document, and of how many types a body may be made: those of pods take minutes.
READS, WRITES, TYPES = 1, 1, 20


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


def types(document, value, found):
    """The names of all types that a part of a document leads to."""
    if isinstance(value, dict):
        # A field of a schema's schema is called so too.
        name = value.get("$ref")
        name = name.removeprefix("#/components/schemas/") if isinstance(name, str) else ""
        if name and name not in found:
            found.add(name)
            types(document, document["components"]["schemas"].get(name), found)
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            types(document, part, found)
    return found


def chosen(document, chance):
    """Some of a document's operations, as pairs of path and method."""
    reads, writes = [], []
    for path, item in document["paths"].items():
        for method in (method for method in METHODS if method in item):
            if "requestBody" not in item[method]:
                reads.append((path, method))
            elif len(types(document, item[method]["requestBody"], set())) <= TYPES:
                writes.append((path, method))
    few = lambda of, count: chance.sample(of, min(count, len(of)))
    return few(reads, READS) + few(writes, WRITES)


def some(documents):
    """One document of some operations of each."""
    chance, paths, schemas = random.Random(1), {}, {}
    for document in documents:
        for path, method in chosen(document, chance):
            item = document["paths"][path]
            place = paths.setdefault(path, {"parameters": item["parameters"]})
            place[method] = item[method]
            for name in types(document, item[method], {STATUS}):
                schemas[name] = document["components"]["schemas"][name]
    return {**documents[0], "paths": paths, "components": {"schemas": schemas}}


def main():
    kubeconfig, examples, *wanted = sys.argv[1:]
    config.load_kube_config(kubeconfig)
    api = client.ApiClient()
    access = api.configuration

    def read(path):
        return json.loads(api.rest_client.pool_manager.request("GET", access.host + path).data)

    described = read("/openapi/v3")["paths"]
    document = lambda name: prepare(read(described[name]["serverRelativeURL"]))
    if wanted == ["some"]:
        runs = {"some": lambda: some([document(name) for name in described])}
    else:
        runs = {name: lambda name=name: document(name) for name in wanted or described}
    failed = []
    for name, made in runs.items():
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "document.json"
            file.write_text(json.dumps(made()))
            words = [sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", access.host]
            words += ["--request-cert", access.cert_file, "--request-cert-key", access.key_file]
            words += ["--tls-verify", access.ssl_ca_cert, "--checks", CHECKS, "--request-timeout", "20"]
            # The systematic phase makes hundreds of requests for an operation.
            phases = "examples,fuzzing,stateful" if name == "some" else "examples,coverage,fuzzing,stateful"
            words += ["--phases", phases, "--max-examples", examples, "--seed", "1"]
            words += ["--suppress-health-check", "all", "--generation-database", "none", "--no-color", "--warnings", "off"]
            ran = subprocess.run(words, cwd=directory, env={**os.environ, "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True)
        print(f"== {name}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        if ran.returncode != 0 or " passed" not in ran.stdout:
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


main()
