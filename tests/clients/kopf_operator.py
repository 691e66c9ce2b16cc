"""A kopf operator as its users write them, on a custom resource. Usage: kopf_operator.py KUBECONFIG"""

import asyncio
import os
import sys
import threading

import kopf
from kubernetes import client, config
from kubernetes.client.rest import ApiException

# Where kopf looks too.
os.environ["KUBECONFIG"] = sys.argv[1]
config.load_kube_config(sys.argv[1])
GROUP, VERSION, PLURAL, NS = "example.org", "v1", "greetings", "default"
core, custom, extensions = client.CoreV1Api(), client.CustomObjectsApi(), client.ApiextensionsV1Api()


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.scanning.disabled = False
    settings.persistence.finalizer = "example.org/finalizer"


@kopf.on.login()
def login(**more):
    return kopf.login_with_kubeconfig(**more)


@kopf.on.create(GROUP, VERSION, PLURAL)
def created(spec, name, namespace, **_):
    body = {"metadata": {"name": name}, "data": {"text": spec["text"]}}
    kopf.adopt(body)
    core.create_namespaced_config_map(namespace, body)
    return {"made": name}


@kopf.on.field(GROUP, VERSION, PLURAL, field="spec.text")
def changed(old, new, name, namespace, **_):
    if old is not None:
        core.patch_namespaced_config_map(name, namespace, {"data": {"text": new}})


@kopf.on.delete(GROUP, VERSION, PLURAL)
def deleted(name, namespace, **_):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-gone"}})


schema = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
extensions.create_custom_resource_definition(
    {
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": "Greeting", "plural": PLURAL},
            "versions": [{"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
)
# The operator looks once at what is served when it starts; who was told that a definition is made finds it there.
place = (GROUP, VERSION, NS, PLURAL)
assert custom.list_namespaced_custom_object(*place)["items"] == []


def until(what, look):
    for _ in range(600):
        try:
            if look():
                return
        except ApiException as error:
            if error.status != 404:
                raise
        stop.wait(0.1)
    raise AssertionError(f"not in time: {what}")


def text(name):
    return (core.read_namespaced_config_map(name, NS).data or {}).get("text")


ready, stop = threading.Event(), threading.Event()
operator = threading.Thread(
    target=lambda: asyncio.run(kopf.operator(standalone=True, namespaces=[NS], ready_flag=ready, stop_flag=stop))
)
operator.start()
try:
    assert ready.wait(60), "the operator is not ready"
    greeting = {"metadata": {"name": "hi"}, "spec": {"text": "one"}}
    greeting.update(apiVersion=f"{GROUP}/{VERSION}", kind="Greeting")
    custom.create_namespaced_custom_object(*place, greeting)
    until("the operator made its object", lambda: text("hi") == "one")

    def told():
        return custom.get_namespaced_custom_object(*place, "hi").get("status", {}).get("created")

    until("it tells so", lambda: told() == {"made": "hi"})
    assert custom.get_namespaced_custom_object(*place, "hi")["metadata"]["finalizers"] == ["example.org/finalizer"]
    owner = core.read_namespaced_config_map("hi", NS).metadata.owner_references[0]
    assert (owner.kind, owner.controller) == ("Greeting", True)
    custom.patch_namespaced_custom_object(*place, "hi", {"spec": {"text": "two"}})
    until("it saw the change", lambda: text("hi") == "two")
    custom.delete_namespaced_custom_object(*place, "hi")
    until("it saw the end", lambda: core.read_namespaced_config_map("hi-gone", NS) is not None)

    def gone(call):
        try:
            call()
        except ApiException as error:
            return error.status == 404

    until("the object is gone", lambda: gone(lambda: custom.get_namespaced_custom_object(*place, "hi")))
    until("what it owned is gone too", lambda: gone(lambda: core.read_namespaced_config_map("hi", NS)))
finally:
    stop.set()
    operator.join(30)
