"""Callers inside of the cluster: a pod of the image, each container of which is a `lockctl ping` of its own, by way
of a region's ClusterIP or of the addresses of its headless Service. What it has seen stands in its logs: nothing
but the region and the network between is in the times."""

import json

from kube import Failed, get, kubectl, until
from lock_traffic import Traffic

USER = 65532


class TrafficPod:
    """callers: (name of the container, endpoints, name of the lock, further words of lockctl)."""

    def __init__(self, namespace, name, options, callers):
        self.namespace, self.name, self.options, self.callers = namespace, name, options, callers

    def start(self):
        kubectl("apply", "-n", self.namespace, "-f", "-", text=json.dumps(self.pod()))
        until("the pod %s runs" % self.name, lambda: self.running(), 120)

    def running(self):
        states = get("pod", self.name, "-n", self.namespace)["status"].get("containerStatuses", [])
        return len(states) == len(self.callers) and all("running" in one["state"] for one in states)

    def pod(self):
        return {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": self.name, "labels": {"app": self.name}},
                "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False,
                         "terminationGracePeriodSeconds": 5, "enableServiceLinks": False,
                         "securityContext": {"runAsNonRoot": True, "runAsUser": USER,
                                             "seccompProfile": {"type": "RuntimeDefault"}},
                         "containers": [self.container(*caller) for caller in self.callers]}}

    def container(self, caller, endpoints, lock, words):
        return {"name": caller, "image": self.options.image, "imagePullPolicy": self.options.pull,
                "command": ["lockctl", "--endpoints", endpoints, "ping", lock, "--ttl", "60s",
                            *words],
                "securityContext": {"allowPrivilegeEscalation": False,
                                    "readOnlyRootFilesystem": True,
                                    "capabilities": {"drop": ["ALL"]}}}

    def seen(self):
        """What its callers have written until now."""
        traffic = Traffic()
        for caller in self.callers:
            traffic.read(caller[0], kubectl("logs", "-n", self.namespace, self.name, "-c",
                                            caller[0]).stdout)
        silent = [caller[0] for caller in self.callers if not traffic.grants.get(caller[0])]
        if silent:
            raise Failed("callers without any grant: %s" % " ".join(silent))
        return traffic

    def remove(self):
        kubectl("delete", "pod", self.name, "-n", self.namespace, "--ignore-not-found",
                "--grace-period=1", check=False)


def callers_of(region):
    """By way of the ClusterIP, each with a lock of its own and two with one between them; and one that
    knows the addresses of all pods."""
    service = "lockmgr.%s.svc.cluster.local:9090" % region.namespace
    headless = "dns:///lockmgr-headless.%s.svc.cluster.local:9090" % region.namespace
    how = ("-i", "50ms", "-w", "5s", "-o", "json")
    return [("own-%d" % i, service, "kubernetes/own-%d" % i, how) for i in range(3)] + \
        [("shared-%d" % i, service, "kubernetes/shared", how) for i in range(2)] + \
        [("addresses", headless, "kubernetes/addresses", how)]
