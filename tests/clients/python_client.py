"""The Python client as its users have it. Usage: python_client.py KUBECONFIG"""

import json
import sys
import threading

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
NS = "python"

assert client.VersionApi().get_code().git_version.startswith("v1.36.")
core.create_namespace({"metadata": {"name": NS}})


def refused(code, reason, call, *args, **more):
    try:
        call(*args, **more)
    except ApiException as error:
        body = json.loads(error.body)
        assert (error.status, body["reason"]) == (code, reason), error
        return
    raise AssertionError(f"{call.__name__} was not refused")


# Objects, by every verb.
made = core.create_namespaced_config_map(NS, {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "1"}})
refused(409, "AlreadyExists", core.create_namespaced_config_map, NS, {"metadata": {"name": "a"}})
refused(404, "NotFound", core.read_namespaced_config_map, "b", NS)
refused(422, "Invalid", core.create_namespaced_config_map, NS, {"metadata": {"name": "B_"}})
core.patch_namespaced_config_map("a", NS, {"data": {"l": "2"}})
core.patch_namespaced_config_map("a", NS, [{"op": "replace", "path": "/data/k", "value": "3"}])
refused(409, "Conflict", core.replace_namespaced_config_map, "a", NS, made)
fresh = core.read_namespaced_config_map("a", NS)
assert fresh.data == {"k": "3", "l": "2"}, fresh.data
fresh.data["m"] = "4"
core.replace_namespaced_config_map("a", NS, fresh)
dry = core.create_namespaced_config_map(NS, {"metadata": {"generateName": "d-"}}, dry_run="All")
assert dry.metadata.name.startswith("d-") and len(dry.metadata.name) == 7
assert len(core.list_namespaced_config_map(NS, label_selector="x=y").items) == 1

# Pages, and a watch that begins where a list ended.
for number in range(5):
    core.create_namespaced_secret(NS, {"metadata": {"name": f"s{number}"}, "stringData": {"a": "b"}})
first = core.list_namespaced_secret(NS, limit=2)
rest = core.list_namespaced_secret(NS, limit=10, _continue=first.metadata._continue)
assert [len(first.items), first.metadata.remaining_item_count, len(rest.items)] == [2, 3, 3]
changes = threading.Timer(0.2, lambda: core.delete_collection_namespaced_secret(NS))
changes.start()
seen = []
watcher = watch.Watch()
version = rest.metadata.resource_version
for event in watcher.stream(core.list_namespaced_secret, NS, resource_version=version, timeout_seconds=20):
    seen.append((event["type"], event["object"].metadata.name))
    if len(seen) == 5:
        watcher.stop()
assert sorted(seen) == [("DELETED", f"s{number}") for number in range(5)], seen
changes.join()

# The dynamic client, which reads discovery; and server-side apply through it.
dynamic_client = dynamic.DynamicClient(client.ApiClient())
deployments = dynamic_client.resources.get(api_version="apps/v1", kind="Deployment")
pod = {"containers": [{"name": "web", "image": "nginx"}]}
template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
applied = deployments.server_side_apply(body=body, namespace=NS, name="web", field_manager="python")
assert applied.metadata.managedFields[0].manager == "python"
body["spec"]["replicas"] = 1
try:
    deployments.server_side_apply(body=body, namespace=NS, name="web", field_manager="other")
    raise AssertionError("another manager took a field over")
except dynamic.exceptions.ConflictError as error:
    assert 'conflict with "python"' in error.summary(), error.summary()
apps = client.AppsV1Api()
scaled = apps.patch_namespaced_deployment_scale("web", NS, {"spec": {"replicas": 2}})
assert scaled.spec.replicas == 2 and apps.read_namespaced_deployment("web", NS).spec.replicas == 2

# Manifests; access reviews; tokens.
account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": NS}}
utils.create_from_dict(client.ApiClient(), account)
asked = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
assert client.AuthorizationV1Api().create_self_subject_access_review(asked).status.allowed
token = core.create_namespaced_service_account_token("sa", NS, {"spec": {"expirationSeconds": 600}}).status.token
review = client.AuthenticationV1Api().create_token_review({"spec": {"token": token}})
assert review.status.user.username == f"system:serviceaccount:{NS}:sa", review
core.delete_namespace(NS)
