"""What the chart renders: every file of values, every version of Kubernetes, both Helms."""

import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

from chart import (CHART, HELMS, ISTIO, KUBES, ROOT, Objects, helm, main, problems, read_config,
                   render, values_files)

GOLDEN = os.path.join(ROOT, "tests", "helm", "golden")
# Of a StatefulSet all but replicas, template, updateStrategy, minReadySeconds and retention.
FIXED = ("serviceName", "podManagementPolicy", "selector", "volumeClaimTemplates")


def short(file):
    return os.path.basename(file).replace("-values", "").replace("values-", "").replace(".yaml", "")


def minor(kube):
    return int(kube.split(".")[1])


class Dumper(yaml.SafeDumper):
    """Texts of more lines stay that, so that a difference can be read."""


Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


def masked(objects):
    """Without what is drawn anew at each rendering, and whole files that other tests compare."""
    for one in objects:
        if one["kind"] == "PrometheusRule":
            one["spec"] = "alerts"
        if "lockmgr.json" in one.get("data", {}):
            one["data"] = "dashboard"
        if one["kind"] == "Secret":
            one["data"] = {key: "drawn" for key in one["data"]}
    return objects


def fixed_part(stateful_set):
    return {key: stateful_set["spec"][key] for key in FIXED}


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """(file, Kubernetes, Istio is there) -> objects"""
        cls.rendered = {}
        for file in values_files():
            for kube in KUBES:
                cls.rendered[short(file), kube, True] = render(files=[file], kube=kube, apis=ISTIO)
            cls.rendered[short(file), "1.20.0", False] = render(files=[file], kube="1.20.0")

    def test_every_object_fits_its_model(self):
        distinct = {json.dumps(one, sort_keys=True): one for objects in self.rendered.values()
                    for one in objects}
        kinds = {one["kind"] for one in distinct.values()}
        self.assertLessEqual(
            {"StatefulSet", "Service", "ConfigMap", "Secret", "ServiceAccount", "NetworkPolicy",
             "PodDisruptionBudget", "PodMonitor", "ServiceMonitor", "PrometheusRule", "Pod",
             "VirtualService", "DestinationRule", "PeerAuthentication", "AuthorizationPolicy",
             "ServiceEntry"}, kinds)
        self.assertEqual(problems(list(distinct.values())), [])

    def test_the_models_find_planted_mistakes(self):
        objects = self.rendered["istio-strict", "1.34.0", True]
        by_kind = {one["kind"]: json.loads(json.dumps(one)) for one in objects}
        by_kind["StatefulSet"]["spec"]["replicas"] = "3"
        by_kind["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
        by_kind["PeerAuthentication"]["spec"]["mtls"]["mode"] = "STRIKT"
        by_kind["VirtualService"]["spec"]["http"][0]["retry"] = {}
        by_kind["Service"]["apiVersion"] = "v2"
        found = "\n".join(problems(list(by_kind.values())))
        for words in ("replicas must be integer", "readynessProbe: there is no", "mode must be",
                      "http/0/retry: there is no", "no model of v2"):
            self.assertIn(words, found)
        self.assertEqual(len(found.splitlines()), 5, found)

    def test_what_a_kubernetes_does_not_know_is_not_rendered(self):
        for (file, kube, _), objects in self.rendered.items():
            text = json.dumps(objects)
            for since, words in ((21, '"policy/v1"'), (25, "minReadySeconds"),
                                 (27, "persistentVolumeClaimRetentionPolicy"),
                                 (20, "fsGroupChangePolicy"), (31, "trafficDistribution")):
                if minor(kube) < since:
                    self.assertNotIn(words, text, (file, kube))
            if minor(kube) >= 21:
                self.assertNotIn("policy/v1beta1", text, (file, kube))
        self.assertIn("minReadySeconds", json.dumps(self.rendered["default", "1.25.0", True]))

    def test_versions_of_those_who_sell_it_count_like_any(self):
        for kube, there in (("v1.26.15-eks-59bf375", False), ("v1.27.9-gke.1092000", True)):
            text = json.dumps(render(kube=kube))
            self.assertEqual("persistentVolumeClaimRetentionPolicy" in text, there, kube)
            self.assertIn('"policy/v1"', text)

    def test_objects_of_istio_are_left_out_where_it_is_not_served(self):
        kinds = [one["apiVersion"] for one in self.rendered["us-east", "1.20.0", False]]
        self.assertFalse([one for one in kinds if "istio" in one])
        self.assertTrue([one["kind"] for one in self.rendered["us-east", "1.20.0", True]
                         if one["kind"] == "AuthorizationPolicy"])

    def test_both_helms_render_the_same(self):
        for file in values_files():
            for kube in ("1.19.0", "1.34.0"):
                four = render(files=[file], kube=kube, apis=ISTIO, version="4")
                three = json.loads(json.dumps(self.rendered[short(file), kube, True]))
                self.assertEqual(self.sorted(four), self.sorted(three), (file, kube))

    @staticmethod
    def sorted(objects):
        return sorted((json.dumps(one, sort_keys=True) for one in masked(objects)))

    def test_golden(self):
        """LM_GOLDEN_UPDATE=1 writes them anew; look at what changes."""
        os.makedirs(GOLDEN, exist_ok=True)
        for file in values_files():
            for kube in ("1.34.0",) + (("1.19.0",) if short(file) in ("default", "us-east") else ()):
                objects = json.loads(json.dumps(self.rendered[short(file), kube, True]))
                text = yaml.dump_all(masked(objects), Dumper=Dumper, sort_keys=True, width=200)
                path = os.path.join(GOLDEN, "%s-%s.yaml" % (short(file), kube[:-2]))
                if os.environ.get("LM_GOLDEN_UPDATE"):
                    with open(path, "w", encoding="utf-8") as out:
                        out.write(text)
                with open(path, encoding="utf-8") as golden:
                    self.assertEqual(golden.read(), text, path)

    def test_selectors_choose_the_nodes_and_nobody_else(self):
        for key, objects in self.rendered.items():
            labels = [one["spec"]["template"]["metadata"]["labels"] for one in objects
                      if one["kind"] == "StatefulSet"][0]
            tests = [one["metadata"]["labels"] for one in objects if one["kind"] == "Pod"]
            selectors = [one["spec"]["selector"] for one in objects
                         if one["kind"] in ("Service", "StatefulSet", "PodDisruptionBudget",
                                            "PodMonitor")]
            self.assertTrue(tests, key)
            for selector in selectors:
                selector = selector.get("matchLabels", selector)
                self.assertLessEqual(selector.items(), labels.items(), key)
                for test in tests:
                    self.assertFalse(selector.items() <= test.items(), key)

    def test_a_monitor_of_services_finds_one_of_the_two(self):
        objects = self.rendered["monitoring", "1.34.0", True]
        wanted = [one for one in objects if one["kind"] == "ServiceMonitor"][0]["spec"]["selector"]
        found = [one for one in objects if one["kind"] == "Service" and
                 wanted["matchLabels"].items() <= one["metadata"]["labels"].items()]
        self.assertEqual(len(found), 1)

    def test_ports_agree(self):
        how = {"service": {"grpcPort": 7001, "regionPort": 7002, "actuatorPort": 7003},
               "region": {"peers": [{"regionId": "b", "host": "b.b.svc", "port": 7004}]},
               "istio": {"enabled": True, "authorizationPolicy": {"enabled": True}},
               "networkPolicy": {"enabled": True}}
        objects = Objects(values=how, apis=ISTIO)
        wanted = [7001, 7002, 7003]
        config = objects.config
        self.assertEqual([config["service." + key] for key in
                          ("grpc_port", "region_port", "actuator_port")], wanted)
        for service in objects.services:
            self.assertEqual([one["port"] for one in service["spec"]["ports"]], wanted)
            self.assertEqual([one["targetPort"] for one in service["spec"]["ports"]], wanted)
            self.assertEqual([(one["name"], one["appProtocol"]) for one in service["spec"]["ports"]],
                             [("grpc", "grpc"), ("grpc-region", "grpc"), ("http-actuator", "http")])
        container = objects.container
        self.assertEqual([one["containerPort"] for one in container["ports"]], wanted)
        self.assertEqual(container["livenessProbe"]["httpGet"]["port"], 7003)
        self.assertEqual(container["startupProbe"]["httpGet"]["port"], 7003)
        self.assertEqual(container["readinessProbe"]["tcpSocket"]["port"], 7001)
        self.assertEqual({one["grpc_port"] for one in config["peers"]}, {7001})
        self.assertEqual(config["region.peers"], [{"region_id": "b", "host": "b.b.svc", "port": 7004}])
        rules = objects.of("NetworkPolicy")["spec"]["ingress"]
        self.assertEqual([rule["ports"][0]["port"] for rule in rules[:3]], wanted)
        denied = objects.of("AuthorizationPolicy")["spec"]["rules"]
        self.assertEqual([rule["to"][0]["operation"]["ports"] for rule in denied], [["7002"], ["7001"]])
        for one in objects.all:
            if one["kind"] == "VirtualService":
                self.assertEqual([part["match"][0]["port"] for part in one["spec"]["http"]], wanted)
            if one["kind"] == "Pod":
                self.assertIn(":7001", json.dumps(one))
        self.assertFalse(re.search(r"\b(9090|9091|8080)\b", json.dumps(objects.all)))

    def test_nodes_may_have_a_port_of_their_own(self):
        how = {"raft": {"port": 7004.0}, "tls": {"enabled": True, "existingSecret": "tls"},
               "istio": {"enabled": True, "authorizationPolicy": {"enabled": True, "clientNamespaces": ["shop"]}},
               "networkPolicy": {"enabled": True, "egress": True}}
        objects, without = Objects(values=how, apis=ISTIO), Objects(values={**how, "raft": {}}, apis=ISTIO)
        self.assertEqual(objects.config["service.raft_port"], 7004)
        self.assertEqual(objects.config["peers"], without.config["peers"], "all nodes have the same")
        self.assertNotIn("service.raft_port", without.config)
        balanced, headless = objects.services
        self.assertEqual(balanced["spec"], without.services[0]["spec"])
        self.assertEqual(headless["spec"]["clusterIP"], "None")
        self.assertEqual(headless["spec"]["ports"], without.services[1]["spec"]["ports"] + [
            {"name": "tcp-raft", "port": 7004, "targetPort": 7004, "protocol": "TCP", "appProtocol": "tcp"}])
        self.assertEqual(objects.container["ports"][3:],
                         [{"name": "tcp-raft", "containerPort": 7004, "protocol": "TCP"}])
        policy, nodes = objects.of("NetworkPolicy")["spec"], [{"podSelector": objects.stateful_set["spec"]["selector"]}]
        port = {"port": 7004, "protocol": "TCP"}
        self.assertEqual([rule["from"] for rule in policy["ingress"] if port in rule["ports"]], [nodes])
        self.assertEqual([rule["to"] for rule in policy["egress"] if port in rule["ports"]], [nodes])
        denied = [rule for rule in objects.of("AuthorizationPolicy")["spec"]["rules"]
                  if rule["to"] == [{"operation": {"ports": ["7004"]}}]]
        self.assertEqual([rule["from"] for rule in denied], [[{"source": {"notNamespaces": ["locks"]}}]])
        self.assertNotIn("7004", json.dumps([one for one in objects.all if one["kind"] == "VirtualService"]))
        regions = Objects("--set", "raft.port=7004", files=[CHART + "/values-us-east.yaml"])
        rules = regions.of("NetworkPolicy")["spec"]["ingress"]
        self.assertEqual([rule["from"] for rule in rules if port in rule["ports"]],
                         [[{"podSelector": regions.stateful_set["spec"]["selector"]}]])

    def test_nodes_are_named_as_kubernetes_names_them(self):
        for file, count in (("default", 3), ("five-replicas", 5), ("everything", 3)):
            objects = self.rendered[file, "1.34.0", True]
            config = read_config([one for one in objects if one["kind"] == "ConfigMap" and
                                  "lockmgr.cfg" in one.get("data", {})][0]["data"]["lockmgr.cfg"])
            found = [one for one in objects if one["kind"] == "StatefulSet"][0]
            name, behind = found["metadata"]["name"], found["spec"]["serviceName"]
            domain = "example" if file == "everything" else "local"
            self.assertEqual(config["replica_count"], count)
            self.assertEqual([(one["name"], one["host"]) for one in config["peers"]], [
                ("%s-%d" % (name, i), "%s-%d.%s.locks.svc.cluster.%s" % (name, i, behind, domain))
                for i in range(count)])
            headless = [one for one in objects if one["kind"] == "Service" and
                        one["metadata"]["name"] == behind][0]
            self.assertEqual(headless["spec"]["clusterIP"], "None")
            self.assertTrue(headless["spec"]["publishNotReadyAddresses"])


class Regions(unittest.TestCase):
    """The two files of the user's document."""

    def setUp(self):
        self.sides = {name: Objects(
            "--set", "image.repository=your-registry/lockmgr", release="lockmgr-" + name,
            namespace="lockmgr-" + name, files=["%s/values-%s.yaml" % (CHART, name)], apis=ISTIO)
            for name in ("us-east", "us-west")}

    def test_each_names_the_service_of_the_other(self):
        for name, objects in self.sides.items():
            other = next(one for key, one in self.sides.items() if key != name)
            service = other.services[0]
            host = "%s.%s.svc.cluster.local" % (service["metadata"]["name"],
                                                service["metadata"]["namespace"])
            self.assertEqual(objects.config["region.id"], name)
            self.assertEqual(objects.config["region.peers"], [
                {"region_id": other.config["region.id"], "host": host,
                 "port": service["spec"]["ports"][1]["port"]}])
            self.assertEqual(objects.container["image"], "your-registry/lockmgr:latest")

    def test_nodes_have_a_key_and_the_mesh_vouches_for_regions(self):
        for objects in self.sides.values():
            config = objects.config
            self.assertEqual(config["peer_key"], "/etc/lockmgr-keys/peer.key")
            self.assertEqual(config["region.peer_auth"], "trusted")
            self.assertNotIn("peer_auth", config)
            self.assertNotIn("region.peer_key", config)

    def test_nobody_but_the_other_region_may_use_the_region_port(self):
        for name, objects in self.sides.items():
            other = "lockmgr-us-west" if name == "us-east" else "lockmgr-us-east"
            denied = objects.of("AuthorizationPolicy")["spec"]
            self.assertEqual(denied["action"], "DENY")
            self.assertEqual(denied["rules"], [{
                "from": [{"source": {"notNamespaces": [other]}}],
                "to": [{"operation": {"ports": ["9091"]}}]}])
            rules = objects.of("NetworkPolicy")["spec"]
            self.assertEqual(rules["policyTypes"], ["Ingress"])
            with_sender = [rule for rule in rules["ingress"] if "from" in rule]
            self.assertEqual(with_sender, [{
                "ports": [{"port": 9091, "protocol": "TCP"}],
                "from": [{"namespaceSelector": {"matchLabels": {
                    "kubernetes.io/metadata.name": other}}}]}])
            without = [port["port"] for rule in rules["ingress"] if "from" not in rule
                       for port in rule["ports"]]
            self.assertEqual(without, [9090, 8080, 15008, 15020, 15021, 15090])

    def test_a_key_of_regions_takes_the_place_of_trust(self):
        objects = Objects("--set", "region.keySecret=all", apis=ISTIO,
                          files=[CHART + "/values-us-east.yaml"])
        self.assertEqual(objects.config["region.peer_key"], "/etc/lockmgr-region/region.key")
        self.assertNotIn("region.peer_auth", objects.config)
        self.assertNotIn("AuthorizationPolicy", objects.kinds())
        self.assertNotIn("NetworkPolicy", objects.kinds())
        self.assertIn("all", [one.get("secret", {}).get("secretName")
                              for one in objects.pod["volumes"]])

    def test_certificates_take_the_place_of_trust_and_of_keys(self):
        objects = Objects("--set", "tls.enabled=true,tls.existingSecret=pki", apis=ISTIO,
                          files=[CHART + "/values-us-east.yaml"])
        for key in ("peer_key", "region.peer_key", "region.peer_auth"):
            self.assertNotIn(key, objects.config)
        self.assertEqual(objects.config["tls.cert"], "/etc/lockmgr-tls/tls.crt")
        for kind in ("AuthorizationPolicy", "NetworkPolicy", "Secret", "VirtualService"):
            self.assertNotIn(kind, objects.kinds())
        for service in objects.services:
            self.assertEqual([one["appProtocol"] for one in service["spec"]["ports"]], ["tls", "tls", "http"])

    def test_namespaces_without_names_have_no_policy(self):
        for kube, there in (("1.20.0", False), ("1.21.0", True)):
            kinds = Objects(files=[CHART + "/values-us-east.yaml"], kube=kube).kinds()
            self.assertEqual("NetworkPolicy" in kinds, there)


class Immutable(unittest.TestCase):
    """What Kubernetes does not let an upgrade change."""

    def test_another_version_of_the_chart_changes_no_fixed_field(self):
        with tempfile.TemporaryDirectory() as folder:
            newer = os.path.join(folder, "lockmgr")
            shutil.copytree(CHART, newer)
            with open(newer + "/Chart.yaml", encoding="utf-8") as file:
                text = re.sub(r"(?m)^(version|appVersion): .*", r"\1: 9.9.9", file.read())
            with open(newer + "/Chart.yaml", "w", encoding="utf-8") as file:
                file.write(text)
            for values in values_files():
                old = Objects(files=[values])
                new = Objects(files=[values], chart=newer)
                self.assertEqual(fixed_part(new.stateful_set), fixed_part(old.stateful_set), values)
                for before, after in zip(old.services, new.services):
                    self.assertEqual(before["spec"], after["spec"])
                self.assertIn("9.9.9", json.dumps(new.stateful_set))

    def test_the_first_version_can_be_upgraded(self):
        """fixed-0.1.0.yaml is what was fixed then. It never changes, and no later file of its kind."""
        path = os.path.join(GOLDEN, "fixed-0.1.0.yaml")
        os.makedirs(GOLDEN, exist_ok=True)
        now = {short(file): fixed_part(Objects(files=[file]).stateful_set)
               for file in values_files()}
        if os.environ.get("LM_GOLDEN_UPDATE") and not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                yaml.safe_dump(now, file)
        with open(path, encoding="utf-8") as file:
            then = yaml.safe_load(file)
        for name, fixed in then.items():
            self.assertEqual(now[name], fixed, name)


class Files(unittest.TestCase):
    def test_the_helms_are_those_that_are_meant(self):
        for version, wanted in (("3", "v3.17.2"), ("4", "v4.1.4")):
            self.assertEqual(helm("version", "--template", "{{.Version}}", version=version)[1], wanted)

    def test_no_function_is_too_new(self):
        """Helm 3.1 has all that is used: the lists of JSON and YAML came with 3.2, others later."""
        for file in glob.glob(CHART + "/templates/**/*", recursive=True):
            if os.path.isfile(file):
                with open(file, encoding="utf-8") as text:
                    found = re.findall(r"fromJsonArray|fromYamlArray|\bdig\b|\bmustToJson\b|toYamlPretty", text.read())
                self.assertEqual(found, [], file)

    def test_lint(self):
        for version in HELMS:
            for file in values_files():
                status, said, errors = helm("lint", "--strict", CHART, "-f", file, version=version)
                self.assertEqual(status, 0, said + errors)

    def test_alerts_and_dashboard_arrive_unchanged(self):
        objects = Objects(files=[CHART + "/ci/monitoring-values.yaml"])
        with open(CHART + "/alerts/lockmgr.rules.yaml", encoding="utf-8") as file:
            self.assertEqual(objects.of("PrometheusRule")["spec"], yaml.safe_load(file))
        with open(CHART + "/dashboards/lockmgr.json", encoding="utf-8") as file:
            board = objects.of("ConfigMap", "lockmgr-dashboard")["data"]["lockmgr.json"]
            self.assertEqual(json.loads(board), json.load(file))

    def test_a_package_has_what_it_needs_and_no_more(self):
        with tempfile.TemporaryDirectory() as folder:
            status, said, errors = helm("package", CHART, "-d", folder)
            self.assertEqual(status, 0, said + errors)
            package = said.strip().rsplit(" ", 1)[1]
            listed = subprocess.run(["tar", "tzf", package], capture_output=True, text=True,
                                    check=True).stdout
        for name in ("README.md", "values.schema.json", "LICENSE", "UPGRADING.md", "CHANGELOG.md",
                     "values-us-east.yaml", "dashboards/lockmgr.json", "alerts/lockmgr.rules.yaml"):
            self.assertIn("lockmgr/%s\n" % name, listed)
        for name in ("ci/", "gotmpl"):
            self.assertNotIn(name, listed)

    def test_what_comes_from_elsewhere_is_current(self):
        """README, alerts, dashboard, licence: scripts/chart-docs writes them."""
        done = subprocess.run([ROOT + "/scripts/chart-docs", "--check"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    main()
