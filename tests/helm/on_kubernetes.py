"""What scripts/test-kubernetes does."""

import argparse
import json
import os
import random
import subprocess
import sys
import time

from chart import ROOT, program
from kube import Failed, find, get, kubectl, run, times_of, until
from soak import soak
from traffic_pod import TrafficPod, callers_of

REGIONS = ("us-east", "us-west")
NODES = 3
# The longest that a caller may be without a lock while a pod is replaced, and a region without a leader.
STEP_SECONDS = float(os.environ.get("LOCKMGR_STEP_SECONDS", "1"))
KEPT = "kubernetes/kept/"
STORAGE = "lockmgr-test-%06x" % random.randrange(1 << 24)


class Report:
    def __init__(self):
        self.started, self.passed, self.failed = time.monotonic(), 0, 0

    def say(self, words):
        print("[%4ds] %s" % (time.monotonic() - self.started, words), flush=True)

    def step(self, what, do, *arguments):
        """One of the things that must be seen; what it returns is said."""
        try:
            seen = do(*arguments)
        except (Failed, subprocess.TimeoutExpired) as error:
            self.failed += 1
            self.say("FAILED  %s: %s" % (what, error))
            return False
        self.passed += 1
        self.say("passed  %s%s" % (what, ": %s" % seen if seen else ""))
        return True


class Storage:
    """Where there is no default StorageClass: one of local volumes, on one node of the cluster."""

    PATH = "/var/tmp/" + STORAGE

    def __init__(self, image, pull):
        self.image, self.pull, self.made = image, pull, False

    @staticmethod
    def has_default():
        names = ("storageclass.kubernetes.io/is-default-class",
                 "storageclass.beta.kubernetes.io/is-default-class")
        return any(one["metadata"].get("annotations", {}).get(name) == "true"
                   for one in get("storageclass")["items"] for name in names)

    def make(self):
        if self.has_default():
            return "the default one is used"
        node = get("nodes")["items"][0]["metadata"]
        host = node["labels"].get("kubernetes.io/hostname", node["name"])
        count = NODES * len(REGIONS)
        self.made = True
        kubectl("apply", "-f", "-", text=json.dumps(self.pod(node["name"], count)))
        until("the folders of volumes are there", lambda: get(
            "pod", STORAGE, "-n", "default")["status"]["phase"] == "Succeeded")
        kubectl("delete", "pod", STORAGE, "-n", "default", "--wait=false")
        objects = [{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                    "metadata": {"name": STORAGE, "annotations": {
                        "storageclass.kubernetes.io/is-default-class": "true"}},
                    "provisioner": "kubernetes.io/no-provisioner",
                    "volumeBindingMode": "WaitForFirstConsumer"}]
        objects += [self.volume(i, host) for i in range(count)]
        kubectl("apply", "-f", "-", text=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": objects}))
        return "made %s, of folders in %s on %s" % (STORAGE, self.PATH, node["name"])

    def pod(self, node, count):
        """The kubelet makes the folders of a pod's volumes; the pod itself has nothing to do."""
        return {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": STORAGE, "namespace": "default"},
                "spec": {"nodeName": node, "restartPolicy": "Never",
                         "automountServiceAccountToken": False,
                         "containers": [{
                             "name": "folders", "image": self.image, "imagePullPolicy": self.pull,
                             "command": ["lockctl", "version"], "volumeMounts": [
                                 {"name": "v%d" % i, "mountPath": "/mnt/%d" % i}
                                 for i in range(count)]}],
                         "volumes": [{"name": "v%d" % i, "hostPath": {
                             "path": "%s/%d" % (self.PATH, i), "type": "DirectoryOrCreate"}}
                             for i in range(count)]}}

    def volume(self, i, host):
        return {"apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": "%s-%d" % (STORAGE, i)},
                "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
                         "storageClassName": STORAGE, "persistentVolumeReclaimPolicy": "Retain",
                         "local": {"path": "%s/%d" % (self.PATH, i)},
                         "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                             {"key": "kubernetes.io/hostname", "operator": "In",
                              "values": [host]}]}]}}}}

    def remove(self):
        if not self.made:
            return
        kubectl("delete", "pod", STORAGE, "-n", "default", "--ignore-not-found", check=False)
        kubectl("delete", "storageclass", STORAGE, check=False)
        kubectl("delete", "pv", *("%s-%d" % (STORAGE, i) for i in range(NODES * len(REGIONS))),
                check=False)


class Region:
    def __init__(self, name, options):
        self.name = self.namespace = "lockmgr-" + name
        self.id, self.options = name, options
        self.hold = None

    def helm(self, *words, **how):
        return run(program(self.options.helm), *words, "-n", self.namespace, **how)

    def install(self):
        """As in the README; for the image of this test, --set of its tag and of how it is pulled."""
        if kubectl("get", "namespace", self.namespace, check=False).returncode != 0:
            kubectl("create", "namespace", self.namespace)
            kubectl("label", "namespace", self.namespace, "istio-injection=enabled")
        self.helm("install", self.name, "./helm/lockmgr", "-f",
                  "./helm/lockmgr/values-%s.yaml" % self.id, *self.image_settings())

    def image_settings(self):
        repository, tag = self.options.image.rsplit(":", 1)
        return ("--set", "image.repository=" + repository, "--set-string", "image.tag=" + tag,
                "--set", "image.pullPolicy=" + self.options.pull)

    # ---- what lockctl says, in one of the pods ----

    def lockctl(self, *words, pod=0, **how):
        return kubectl("exec", "-n", self.namespace, "lockmgr-%d" % pod, "-c", "lockmgr", "--",
                       "lockctl", *words, **how)

    def through_service(self, *words, **how):
        """By way of the ClusterIP."""
        return self.lockctl(words[0], "--endpoints",
                            "lockmgr.%s.svc.cluster.local:9090" % self.namespace, *words[1:], **how)

    def keep(self):
        """Locks that are held while pods are replaced: name -> token."""
        return {KEPT + str(i): str(find(json.loads(self.through_service(
            "acquire", KEPT + str(i), "--owner", "kept", "--ttl", "300s", "-n", "-o", "json",
            "--timeout", "20s").stdout), "token")) for i in range(5)}

    def kept(self):
        return {one["name"]: str(one["holders"][0]["token"]) for one in json.loads(
            self.through_service("list", KEPT, "-o", "json", "--timeout", "20s").stdout)
            if one.get("holders")}

    def log(self, pod):
        return kubectl("logs", "-n", self.namespace, "lockmgr-%d" % pod, "-c", "lockmgr").stdout

    def leader(self):
        """Number of the leader's pod; asks those that answer."""
        for pod in range(NODES):
            done = self.lockctl("status", "-o", "json", "--timeout", "2s", pod=pod, check=False)
            if done.returncode == 0:
                name = find(json.loads(done.stdout), "leader")
                if name:
                    return int(name.rsplit("-", 1)[1])
        return None

    # ---- pods ----

    def pods(self):
        return {one["metadata"]["name"]: one for one in get(
            "pods", "-n", self.namespace, "-l", "app.kubernetes.io/name=lockmgr")["items"]}

    def wait_ready(self):
        kubectl("rollout", "status", "statefulset/lockmgr", "-n", self.namespace,
                "--timeout=300s")
        until("all pods are ready", lambda: sum(
            is_ready(one) for one in self.pods().values()) == NODES)
        return until("the region has a leader", lambda: self.leader() is not None) and None

    def wait_restarted(self, before):
        until("pods are replaced", lambda: all(
            self.pods()[name]["metadata"]["uid"] != uid for name, uid in before.items()))
        self.wait_ready()

    def uids(self, *names):
        pods = self.pods()
        return {name: pods[name]["metadata"]["uid"] for name in names or pods}

    # ---- the lock that is held all the time ----

    def take(self):
        said = json.loads(self.through_service(
            "acquire", "kubernetes/held", "--owner", "test", "--ttl", "300s", "-n", "-o", "json",
            "--timeout", "20s").stdout)
        self.hold = find(said, "token"), find(said, "holdId")
        return "token %s" % self.hold[0]

    def is_held(self):
        """By the same hold, with the same token; and nobody else can have it."""
        said = json.loads(until("the lock can be read", lambda: self.through_service(
            "get", "kubernetes/held", "-o", "json", "--timeout", "5s").stdout, 60))
        if str(find(said, "token")) != str(self.hold[0]):
            raise Failed("token %s has become %s" % (self.hold[0], said))
        other = self.through_service("acquire", "kubernetes/held", "--owner", "other", "-n",
                                     "--timeout", "10s", check=False)
        if other.returncode != 1:
            raise Failed("another owner's acquire ends with %d" % other.returncode)
        self.through_service("renew", "kubernetes/held", "--owner", "test", "--hold-id",
                             self.hold[1], "--ttl", "300s")


def is_ready(pod):
    return "deletionTimestamp" not in pod["metadata"] and any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in pod["status"].get("conditions", []))


# ---- what must be seen -----------------------------------------------------------------------------

def regions_meet(one, other):
    def look():
        for pod in range(NODES):
            said = json.loads(one.lockctl("regions", "-o", "json", "--timeout", "5s", pod=pod).stdout)
            if other.id in json.dumps(said) and find(said, "reachable") is True:
                return True
        return False
    until("%s reaches %s" % (one.id, other.id), look, 60)


def lose_leader(region, callers):
    """The time without a leader is that between two lines of logs: the old one is told to stop, a new one leads."""
    pod = region.leader()
    before, begin = region.uids("lockmgr-%d" % pod), time.time()
    old = subprocess.Popen(["kubectl", "logs", "-f", "--tail=5", "-n", region.namespace, "lockmgr-%d" % pod,
                            "-c", "lockmgr"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1)
    kubectl("delete", "pod", "lockmgr-%d" % pod, "-n", region.namespace, "--wait=false")
    until("another leader", lambda: region.leader() not in (None, pod), 30, 0.2)
    told = times_of(old.communicate(timeout=60)[0], "the node stops")
    if not told:
        raise Failed("the log of lockmgr-%d does not say that it stops" % pod)
    led = [when for other in range(NODES) if other != pod
           for when in times_of(region.log(other), "leads in term") if when > told[-1]]
    if not led:
        raise Failed("no other pod says that it leads")
    seconds = min(led) - told[-1]
    region.wait_restarted(before)
    region.is_held()
    said = "lockmgr-%d; another one leads after %.2f s, the lock is held; %s" % (
        pod, seconds, felt(callers, [("callers", begin, time.time())]))
    if seconds >= STEP_SECONDS:
        raise Failed(said)
    return said


def felt(callers, steps):
    """What the callers in the cluster saw of steps (name, begin, end); Failed if it was too much."""
    traffic = callers.seen()
    wrong, rows = traffic.judge(), []
    for name, begin, end in steps:
        seconds, caller, since = traffic.longest(begin, end)
        rows.append("%s at most %.2f s without a grant" % (name, seconds))
        if seconds >= STEP_SECONDS:
            wrong.append("%s of caller %s, %.1f s after it began" % (rows[-1], caller, since - begin))
    said = "%s; %d locks, %d calls without an answer for 5 s" % (
        ", ".join(rows), len(traffic.holds), len(traffic.unanswered))
    if wrong:
        raise Failed("%s; %s" % ("; ".join(wrong[:5]), said))
    return said


def roll(region, callers):
    before, kept, begin = region.uids(), region.keep(), time.time()
    steps = update(region, before)
    region.is_held()
    wanted = ["lockmgr-%d" % i for i in reversed(range(NODES))]
    order = [name for name, _ in steps]
    if order != wanted:
        raise Failed("the order was %s" % " ".join(order))
    if region.kept() != kept:
        raise Failed("of the locks %s these are held: %s" % (kept, region.kept()))
    time.sleep(2)
    times = [begin] + [when for _, when in steps[1:]] + [time.time()]
    return "%d locks are held; %s" % (1 + len(kept), felt(callers, list(zip(order, times, times[1:]))))


def update(region, before):
    """All pods are replaced; [(pod, when it was seen to go)], in that order."""
    region.helm("upgrade", region.name, "./helm/lockmgr", "-f",
                "./helm/lockmgr/values-%s.yaml" % region.id, *region.image_settings(),
                "--set-string", "podAnnotations.test=rolled")
    gone = {}
    def look():
        for name, pod in region.pods().items():
            if pod["metadata"]["uid"] != before.get(name) or "deletionTimestamp" in pod["metadata"]:
                gone.setdefault(name, time.time())
        return len(gone) == NODES
    until("all pods are replaced", look, 300, 0.3)
    region.wait_restarted(before)
    return sorted(gone.items(), key=lambda one: one[1])


def key_is_kept(region, before):
    if secret(region) != before:
        raise Failed("the upgrade has made another key")


def secret(region):
    return get("secret", "lockmgr-peer-key", "-n", region.namespace)["data"]["peer.key"]


def evict(region, minor):
    version = "policy/v1" if minor >= 22 else "policy/v1beta1"
    def one(name):
        return kubectl("create", "--raw", "/api/v1/namespaces/%s/pods/%s/eviction" % (
            region.namespace, name), "-f", "-", check=False, text=json.dumps({
                "apiVersion": version, "kind": "Eviction",
                "metadata": {"name": name, "namespace": region.namespace}}))
    before = region.uids("lockmgr-0")
    first, second = one("lockmgr-0"), one("lockmgr-1")
    if first.returncode != 0:
        raise Failed("the first eviction: " + first.stderr.strip())
    if second.returncode == 0 or "budget" not in second.stderr:
        raise Failed("the second eviction was not refused: %s" % second.stderr.strip())
    region.wait_restarted(before)
    region.is_held()
    return "the first is done, the second refused, the lock is held"


def lose_all(region):
    before = region.uids()
    kubectl("delete", "pods", "-n", region.namespace, "-l", "app.kubernetes.io/name=lockmgr")
    region.wait_restarted(before)
    region.is_held()
    return "the lock is held"


def helm_test(region):
    region.helm("test", region.name, "--timeout", "5m")


def uninstall(region):
    region.helm("uninstall", region.name)
    def left():
        said = kubectl("get", "all,configmap,secret,pvc,pdb,networkpolicy,serviceaccount", "-n",
                       region.namespace, "-o", "name").stdout.split()
        return [one for one in said if "kube-root-ca" not in one and "token" not in one and
                one != "serviceaccount/default"]
    until("everything has gone but claims", lambda: left() and all(
        one.startswith("persistentvolumeclaim/") for one in left()), 120)
    return "%d claims are left" % len(left())


def return_to(region):
    """An installation of the same name finds the volumes, and has made a key of its own."""
    region.install()
    region.wait_ready()
    region.is_held()
    return "the lock is held"


def clean_up(regions, storage):
    for region in regions:
        region.helm("uninstall", region.name, check=False)
        kubectl("delete", "namespace", region.namespace, "--ignore-not-found", "--timeout=120s",
                check=False)
    storage.remove()


def soak_it(report, region, storage):
    """Nothing but load on one region."""
    report.step("storage", storage.make)
    if report.step("helm install " + region.name, region.install) and \
            report.step("%s forms" % region.id, region.wait_ready):
        report.step("load within the limits of the pods", soak, region, region.options, report.say)
        report.step("helm uninstall " + region.name, uninstall, region)


def look_at_it(report, regions, storage, minor):
    east, west = regions
    report.step("storage", storage.make)
    for region in regions:
        if not report.step("helm install " + region.name, region.install):
            return
    for region in regions:
        if not report.step("%s forms" % region.id, region.wait_ready):
            return
    for region in regions:
        report.step("a lock through the ClusterIP of " + region.id, region.take)
    report.step("us-east reaches us-west", regions_meet, east, west)
    report.step("us-west reaches us-east", regions_meet, west, east)
    key = secret(east)
    callers = TrafficPod(west.namespace, "lockmgr-traffic", east.options, callers_of(east))
    if report.step("callers in the cluster", callers.start):
        report.step("the leader's pod is deleted", lose_leader, east, callers)
        report.step("rolling update", roll, east, callers)
        callers.remove()
    report.step("the key is kept", key_is_kept, east, key)
    report.step("evictions of two pods", evict, east, minor)
    report.step("all pods are deleted", lose_all, east)
    report.step("the other region was not concerned", west.is_held)
    for region in regions:
        report.step("helm test " + region.name, helm_test, region)
    for region in regions:
        report.step("helm uninstall " + region.name, uninstall, region)
    report.step("helm install %s again" % east.name, return_to, east)
    report.step("helm uninstall %s again" % east.name, uninstall, east)


def main():
    parser = argparse.ArgumentParser(prog="scripts/test-kubernetes")
    parser.add_argument("--image", default="lockmgr:latest")
    parser.add_argument("--pull", default="IfNotPresent", choices=("Always", "IfNotPresent", "Never"))
    parser.add_argument("--helm", default="3", choices=("3", "4"))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    options = parser.parse_args()
    if ":" not in options.image.rsplit("/", 1)[-1]:
        options.image += ":latest"
    os.chdir(ROOT)
    report = Report()
    regions = [Region(name, options) for name in REGIONS[:1 if options.soak else None]]
    version = json.loads(kubectl("get", "--raw", "/version").stdout)
    report.say("Kubernetes %s, %d nodes, Helm %s, image %s" % (
        version["gitVersion"], len(get("nodes")["items"]), options.helm, options.image))
    there = [one.namespace for one in regions if kubectl(
        "get", "namespace", one.namespace, check=False).returncode == 0]
    if there:
        sys.exit("these namespaces are there already: %s" % " ".join(there))
    storage = Storage(options.image, options.pull)
    if not options.soak:
        report.say("at most %g s without a leader and without a grant (LOCKMGR_STEP_SECONDS)" % STEP_SECONDS)
    try:
        if options.soak:
            soak_it(report, regions[0], storage)
        else:
            look_at_it(report, regions, storage, int(version["minor"].rstrip("+")))
    except Failed as error:
        report.failed += 1
        report.say("FAILED  %s" % error)
    finally:
        if report.failed:
            for region in regions:
                print(kubectl("get", "pods,pvc,events", "-n", region.namespace, check=False).stdout)
                for pod in range(NODES):
                    print(kubectl("logs", "-n", region.namespace, "lockmgr-%d" % pod, "--tail=30",
                                  check=False).stdout)
        if not options.keep:
            clean_up(regions, storage)
    print("%d passed, %d failed" % (report.passed, report.failed))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
