"""Helm 4 on the chart of the examples: install, upgrade, roll back, uninstall. Usage: helm.py KUBECONFIG CHART"""

import sys

import helm_python as helm
from kubernetes import client, config

kubeconfig, chart = sys.argv[1:]
config.load_kube_config(kubeconfig)
core, apps = client.CoreV1Api(), client.AppsV1Api()


def page():
    return core.read_namespaced_config_map("greet-page", "default").data["index.html"].strip()


def hook():
    return core.read_namespaced_config_map("greet-after", "default").data["revision"]


with helm.Config(kubeconfig_path=kubeconfig, namespace="default") as cluster:
    cluster.check_reachable()
    release = cluster.install(chart, "greet", {"greeting": "one"}, wait="watcher", timeout=60)
    assert (release["revision"], release["status"]) == (1, "deployed"), release
    assert (page(), hook()) == ("one", "1")
    assert core.read_namespaced_pod("greet-before", "default").status.phase == "Succeeded"
    assert apps.read_namespaced_deployment("greet", "default").status.ready_replicas == 1
    owners = apps.read_namespaced_deployment("greet", "default").metadata.managed_fields
    assert "Apply" in {owner.operation for owner in owners}, "Helm 4 applies on the server"

    try:
        cluster.install(chart, "greet")
        raise AssertionError("a release that is there was installed again")
    except helm.HelmError as error:
        assert "in use" in str(error), error

    release = cluster.upgrade(chart, "greet", {"greeting": "two", "replicas": 2}, wait="watcher", timeout=60)
    assert (release["revision"], page(), hook()) == (2, "two", "2")
    assert apps.read_namespaced_deployment("greet", "default").status.ready_replicas == 2
    assert [entry["status"] for entry in cluster.history("greet")] == ["superseded", "deployed"]
    assert cluster.get_values("greet") == {"greeting": "two", "replicas": 2}

    cluster.rollback("greet", version=1, wait="watcher", timeout=60)
    assert (page(), cluster.status("greet")["revision"]) == ("one", 3)
    assert apps.read_namespaced_deployment("greet", "default").spec.replicas == 1

    cluster.uninstall("greet", wait="watcher", timeout=60)
    assert cluster.list() == []
for found in (core.list_namespaced_secret, core.list_namespaced_service, apps.list_namespaced_deployment):
    assert [item.metadata.name for item in found("default").items if item.metadata.name != "kubernetes"] == []
