"""What each value does, what is refused, and what an installation says."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

from api_server import ApiServer
from chart import (CHART, HELMS, ISTIO, ROOT, Objects, helm, main, problems, read_config, template)

sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
from region import Region, wait_for  # noqa: E402, it lies there

LOCKMGRD = os.path.join(os.environ.get("LM_BIN", "/nonexistent"), "lockmgrd")


def limits(objects):
    return objects.container["resources"]["limits"]


def requests(objects):
    return objects.container["resources"]["requests"]


def config(path):
    return lambda objects: objects.config[path]


def port(i):
    return lambda objects: objects.services[0]["spec"]["ports"][i]["port"]


# The user's table: parameter, default, another value (as with --set), what it is then, where it is seen.
PEER = "{regionId=us-west,host=lockmgr.b.svc,port=9091}"
ROWS = [
    ("replicaCount", 3, "5", 5, lambda o: o.stateful_set["spec"]["replicas"]),
    ("region.id", "us-east", "eu-1", "eu-1", config("region.id")),
    ("region.peers", [], None, None, config("region.peers")),
    ("image.repository", "lockmgr", "r.example/x", "r.example/x",
     lambda o: o.container["image"].rsplit(":", 1)[0]),
    ("image.tag", "latest", "1.2.3", "1.2.3", lambda o: o.container["image"].rsplit(":", 1)[1]),
    ("image.pullPolicy", "IfNotPresent", "Always", "Always",
     lambda o: o.container["imagePullPolicy"]),
    ("resources.limits.memory", "512Mi", "1Gi", "1Gi", lambda o: limits(o)["memory"]),
    ("resources.limits.cpu", "500m", "2", 2, lambda o: limits(o)["cpu"]),
    ("resources.requests.memory", "256Mi", "300Mi", "300Mi", lambda o: requests(o)["memory"]),
    ("resources.requests.cpu", "250m", "100m", "100m", lambda o: requests(o)["cpu"]),
    ("raft.electionTimeoutMs", 150, "300", 300, config("raft.election_timeout_ms")),
    ("raft.heartbeatIntervalMs", 50, "70", 70, config("raft.heartbeat_interval_ms")),
    ("lock.defaultTimeoutMs", 30000, "200000", 200000, config("lock.default_timeout_ms")),
    ("lock.maxTimeoutMs", 300000, "86400000", 86400000, config("lock.max_timeout_ms")),
    ("lock.minTimeoutMs", 1000, "2000", 2000, config("lock.min_timeout_ms")),
    ("service.grpcPort", 9090, "7001", 7001, port(0)),
    ("service.regionPort", 9091, "7002", 7002, port(1)),
    ("service.actuatorPort", 8080, "7003", 7003, port(2)),
]


class Rows(unittest.TestCase):
    """One test per row of the user's table: test_row_... are made below."""

    def test_the_readme_has_every_row(self):
        with open(CHART + "/README.md", encoding="utf-8") as file:
            rows = {cells[1].strip(" `"): cells[-2].strip(" `") for cells in
                    (re.split(r"(?<!\\)\|", line) for line in file) if len(cells) == 5}
        for name, default, *_ in ROWS:
            self.assertEqual(rows[name], "[]" if default == [] else str(default), name)

    def test_numbers_of_any_kind_stay_whole(self):
        for words in ("--set", "--set-json"):
            text = Objects(words, "lock.maxTimeoutMs=86400000",
                           values={"lock": {"defaultTimeoutMs": 3600000.0}}).config_text
            self.assertIn("max_timeout_ms = 86400000;", text)
            self.assertIn("default_timeout_ms = 3600000;", text)

    def test_a_tag_may_be_a_number(self):
        for how in ({"values": {"image": {"tag": 20240101}}}, {"values": {"image": {"tag": "1.20"}}}):
            self.assertTrue(Objects(**how).container["image"].endswith(
                ":%s" % how["values"]["image"]["tag"]))

    def test_a_limit_can_be_taken_away(self):
        self.assertEqual(limits(Objects("--set", "resources.limits.cpu=null")), {"memory": "512Mi"})


def add_row(name, default, text, value, look):
    def test(self):
        self.assertEqual(look(Objects()), default)
        if text is None:
            changed = Objects(values={"region": {"peers": [
                {"regionId": "us-west", "host": "lockmgr.b.svc", "port": 9091}]}})
            value_now = [{"region_id": "us-west", "host": "lockmgr.b.svc", "port": 9091}]
        else:
            changed, value_now = Objects("--set", "%s=%s" % (name, text)), value
        self.assertEqual(look(changed), value_now)
    setattr(Rows, "test_row_" + name.replace(".", "_"), test)


for row in ROWS:
    add_row(*row)


class Places(unittest.TestCase):
    """Values beside the user's table."""

    def test_the_default_has_these_objects(self):
        self.assertEqual(Objects().kinds(), [
            "ConfigMap", "PodDisruptionBudget", "Secret", "Service", "Service", "ServiceAccount",
            "StatefulSet"])

    def test_probes_are_as_documented(self):
        container = Objects().container
        self.assertEqual(container["livenessProbe"], {
            "httpGet": {"path": "/actuator/health", "port": 8080}, "periodSeconds": 10,
            "timeoutSeconds": 5, "failureThreshold": 6})
        self.assertEqual(container["readinessProbe"], {
            "tcpSocket": {"port": 9090}, "periodSeconds": 5, "timeoutSeconds": 5,
            "failureThreshold": 3})
        self.assertEqual(container["startupProbe"], {
            "httpGet": {"path": "/actuator/health", "port": 8080}, "periodSeconds": 2,
            "timeoutSeconds": 5, "failureThreshold": 60})

    def test_probes_can_ask_otherwise(self):
        for settings, wanted in (
                ("readinessProbe.type=http", {"httpGet": {"path": "/actuator/health/readiness", "port": 8080}}),
                ("readinessProbe.type=grpc", {"grpc": {"port": 9090}}),
                ("readinessProbe.type=http,readinessProbe.path=/readyz",
                 {"httpGet": {"path": "/readyz", "port": 8080}}),
                ("livenessProbe.path=/livez", {"httpGet": {"path": "/livez", "port": 8080}}),
                ("livenessProbe.type=tcp", {"tcpSocket": {"port": 9090}}),
                ("startupProbe.type=tcp", {"tcpSocket": {"port": 9090}}),
                ("startupProbe.path=/actuator/health/liveness",
                 {"httpGet": {"path": "/actuator/health/liveness", "port": 8080}})):
            probe = Objects("--set", settings).container[settings.split(".")[0]]
            self.assertLessEqual(wanted.items(), probe.items(), settings)
            self.assertEqual(set(probe) - set(wanted), {"periodSeconds", "timeoutSeconds", "failureThreshold"})

    def test_more_ports_are_let_through(self):
        extra = [{"name": "beside", "port": 7070}, {"name": "udp", "port": 7071, "targetPort": "u", "protocol": "UDP"}]
        objects = Objects(files=[CHART + "/values-us-east.yaml"], values={"service": {"extraPorts": extra}})
        balanced, headless = objects.services
        self.assertEqual(balanced["spec"]["ports"][3:], [
            {"name": "beside", "port": 7070, "targetPort": 7070, "protocol": "TCP"},
            {"name": "udp", "port": 7071, "targetPort": "u", "protocol": "UDP"}])
        self.assertEqual(len(headless["spec"]["ports"]), 3)
        ports = [port for rule in objects.of("NetworkPolicy")["spec"]["ingress"] if "from" not in rule
                 for port in rule["ports"]]
        self.assertIn({"port": 7070, "protocol": "TCP"}, ports)
        self.assertIn({"port": "u", "protocol": "UDP"}, ports)

    def test_pods_may_do_nothing(self):
        objects = Objects()
        for pod in [objects.pod] + [one["spec"] for one in objects.all if one["kind"] == "Pod"]:
            self.assertFalse(pod["automountServiceAccountToken"])
            self.assertFalse(pod["enableServiceLinks"])
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(pod["securityContext"]["runAsUser"], 65532)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            for container in pod["containers"] + pod.get("initContainers", []):
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]}})

    def test_a_node_writes_to_its_volumes_alone(self):
        objects = Objects()
        mounts = {one["mountPath"]: one for one in objects.container["volumeMounts"]}
        self.assertEqual({path for path, one in mounts.items() if not one.get("readOnly")},
                         {"/var/lib/lockmgr", "/run"})
        for key in ("data_dir", "run_dir", "peer_key"):
            path = objects.config[key]
            self.assertTrue([one for one in mounts if path.startswith(one + "/")], path)

    def test_everything_arrives(self):
        """ci/everything-values.yaml: every text in it is somewhere in the manifests."""
        with open(CHART + "/ci/everything-values.yaml", encoding="utf-8") as file:
            values = yaml.safe_load(file)
        objects = Objects(files=[CHART + "/ci/everything-values.yaml"])
        text = json.dumps(objects.all)

        def leaves(value):
            if isinstance(value, dict):
                for key, one in value.items():
                    yield from leaves(one)
            elif isinstance(value, list):
                for one in value:
                    yield from leaves(one)
            elif isinstance(value, str) and "{{" not in value:
                yield value
        for leaf in leaves({key: one for key, one in values.items() if key != "readinessProbe"}):
            self.assertIn(leaf, text)
        for one in objects.all:
            if one["metadata"]["name"] not in ("extra-map", "lockmgr-locks-text"):
                self.assertEqual(one["metadata"]["labels"]["team"], "platform")
                self.assertEqual(one["metadata"]["annotations"]["contact"], "platform@example.com")
        self.assertEqual(objects.container["image"], "registry.example:5000/base/lockmgr@sha256:" +
                         "0123456789abcdef" * 4)
        self.assertEqual(objects.of("ConfigMap", "extra-map")["data"], {"region": "us-east"})

    def test_whoever_scrapes_has_the_token_of_the_actuator(self):
        for kind, key, value in (("PodMonitor", "podMetricsEndpoints", "podMonitor"),
                                 ("ServiceMonitor", "endpoints", "serviceMonitor")):
            objects = Objects(values={"actuator": {"token": {"existingSecret": "tokens"}},
                                      "metrics": {value: {"enabled": True}}})
            scrape = objects.of(kind)["spec"][key]
            self.assertEqual([one["authorization"] for one in scrape],
                             [{"credentials": {"name": "tokens", "key": "token"}}])
            self.assertEqual(problems(objects.all), [])
            self.assertEqual(objects.config["actuator.token"], "/etc/lockmgr-actuator/tokens")
            mounts = {one["name"]: one["mountPath"] for one in objects.container["volumeMounts"]}
            self.assertEqual(mounts["actuator"], "/etc/lockmgr-actuator")

    def test_what_others_go_by_cannot_be_relabelled(self):
        words = {"podLabels": {"app.kubernetes.io/name": "x", "app.kubernetes.io/version": "7"},
                 "commonLabels": {"app.kubernetes.io/instance": "x", "helm.sh/chart": "x", "part": "of"},
                 "podAnnotations": {"checksum/config": "x", "kubectl.kubernetes.io/default-container": "beside",
                                    "sidecar.istio.io/rewriteAppHTTPProbers": "false"}, "istio": {"enabled": True}}
        objects = Objects(values=words)
        template_of_pods = objects.stateful_set["spec"]["template"]["metadata"]
        self.assertEqual(template_of_pods["labels"], {
            "app.kubernetes.io/name": "lockmgr", "app.kubernetes.io/instance": "lockmgr",
            "app.kubernetes.io/version": "7", "helm.sh/chart": "x", "part": "of"})
        self.assertRegex(template_of_pods["annotations"]["checksum/config"], "^[0-9a-f]{64}$")
        self.assertEqual(template_of_pods["annotations"]["kubectl.kubernetes.io/default-container"], "beside")
        self.assertEqual(template_of_pods["annotations"]["sidecar.istio.io/rewriteAppHTTPProbers"], "false")
        for one in objects.all:
            labels = one["metadata"]["labels"]
            self.assertEqual((labels["app.kubernetes.io/instance"], labels["part"]), ("lockmgr", "of"))
            self.assertTrue(labels["helm.sh/chart"].startswith("lockmgr-"))
        text = template(values=words)[1]
        for key in ("kubectl.kubernetes.io/default-container", "checksum/config"):
            self.assertEqual(text.count(key + ":"), 1)

    def test_names(self):
        for release, words, name in (
                ("lockmgr", (), "lockmgr"), ("east", (), "east-lockmgr"),
                ("my-lockmgr", (), "my-lockmgr"), ("a", ("--set", "nameOverride=b"), "a-b"),
                ("a", ("--set", "fullnameOverride=c"), "c"), ("x" * 53, (), "x" * 52)):
            objects = Objects(*words, release=release)
            self.assertEqual(objects.stateful_set["metadata"]["name"], name)
            for one in objects.all:
                self.assertLessEqual(len(one["metadata"]["name"]), 63 + 10 * (one["kind"] == "Pod"))

    def test_a_node_has_stopped_before_it_is_killed(self):
        for grace, wanted in ((30, 26000), (12, 8000), (3600, 600000)):
            objects = Objects("--set", "terminationGracePeriodSeconds=%d" % grace)
            self.assertEqual(objects.pod["terminationGracePeriodSeconds"], grace)
            self.assertEqual(objects.config["stop_timeout_ms"], wanted)

    def test_a_node_takes_calls_until_services_know_that_it_stops(self):
        for words, wanted in (((), 3000), (("--set", "stopDelaySeconds=0"), 0),
                              (("--set", "stopDelaySeconds=13"), 13000)):
            self.assertEqual(Objects(*words).config["stop_delay_ms"], wanted)

    def test_a_node_goes_on_for_a_while_where_that_is_wanted(self):
        self.assertNotIn("lifecycle", Objects().container)
        words = ("--set", "lifecycle.preStop.enabled=true,lifecycle.preStop.seconds=7")
        objects = Objects(*words)
        self.assertEqual(objects.container["lifecycle"], {"preStop": {"sleep": {"seconds": 7}}})
        self.assertEqual(objects.config["stop_timeout_ms"], 19000)
        self.assertEqual(problems(objects.all), [])
        status, _, errors = template(*words, kube="1.29.9")
        self.assertNotEqual(status, 0)
        self.assertIn("lifecycle.preStop needs Kubernetes 1.30", errors)

    def test_production_has_what_it_uses_and_a_machine_for_each(self):
        objects = Objects(files=[CHART + "/values-production.yaml"])
        self.assertEqual(limits(objects), requests(objects), "the class of the pods is Guaranteed")
        self.assertEqual(float(limits(objects)["cpu"]), 1)
        self.assertEqual((objects.config["raft.heartbeat_interval_ms"], objects.config["raft.election_timeout_ms"]),
                         (100, 1000))
        self.assertIn("requiredDuringSchedulingIgnoredDuringExecution", objects.pod["affinity"]["podAntiAffinity"])

    def test_replicas_stand_apart_if_they_can(self):
        objects = Objects()
        self.assertEqual([one["podAffinityTerm"]["topologyKey"] for one in objects.pod["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"]], ["kubernetes.io/hostname"])
        self.assertEqual([(one["topologyKey"], one["whenUnsatisfiable"]) for one in
                          objects.pod["topologySpreadConstraints"]],
                         [("topology.kubernetes.io/zone", "ScheduleAnyway")])

    def test_lockctl_finds_its_node_in_every_pod(self):
        """kubectl exec NAME-0 -- lockctl status, whatever the port and with TLS."""
        with open(ROOT + "/tools/lockctl/ctl_options.c", encoding="utf-8") as file:
            known = set(re.findall(r'getenv\("(LOCKCTL_\w+)"\)', file.read()))
        plain = {one["name"]: one.get("value") for one in Objects("--set", "service.grpcPort=7001").container["env"]}
        self.assertEqual(plain["LOCKCTL_ENDPOINTS"], "127.0.0.1:7001")
        self.assertEqual(sum(name.startswith("LOCKCTL_") for name in plain), 1)
        objects = Objects(files=[CHART + "/ci/tls-values.yaml"])
        mounts = [one["mountPath"] for one in objects.container["volumeMounts"]]
        env = {one["name"]: one.get("value") for one in objects.container["env"]}
        self.assertEqual(env["LOCKCTL_SERVER_NAME"], "$(LOCKMGR_NODE)")
        names = [one["name"] for one in objects.container["env"]]
        self.assertLess(names.index("LOCKMGR_NODE"), names.index("LOCKCTL_SERVER_NAME"), "else it is not replaced")
        for key in ("CACERT", "CERT", "KEY"):
            self.assertIn(os.path.dirname(env["LOCKCTL_" + key]), mounts)
        self.assertEqual({name for name in env if name.startswith("LOCKCTL_")} - known, set())
        self.assertEqual(objects.stateful_set["spec"]["template"]["metadata"]["annotations"][
            "kubectl.kubernetes.io/default-container"], objects.container["name"])

    def test_a_test_may_have_an_image_of_its_own(self):
        objects = Objects("--set", "tests.image=r.example/lockctl:1")
        images = {container["image"] for one in objects.all if one["kind"] == "Pod"
                  for container in one["spec"]["containers"] + one["spec"].get("initContainers", [])}
        self.assertEqual(images, {"r.example/lockctl:1"})
        self.assertEqual(objects.container["image"], "lockmgr:latest")
        self.assertNotIn("Pod", {one["kind"] for one in Objects("--set", "tests.enabled=false").all})

    def test_a_change_of_the_configuration_replaces_pods(self):
        def annotation(*words):
            return Objects(*words).stateful_set["spec"]["template"]["metadata"]["annotations"][
                "checksum/config"]
        self.assertEqual(annotation(), annotation("--set", "image.tag=2"))
        self.assertNotEqual(annotation(), annotation("--set", "lock.minTimeoutMs=1001"))

    def test_one_node_has_no_budget_and_all_ways_to_stand_apart(self):
        self.assertNotIn("PodDisruptionBudget", Objects("--set", "replicaCount=1").kinds())
        hard = Objects("--set", "antiAffinity=hard").pod["affinity"]["podAntiAffinity"]
        self.assertEqual(list(hard), ["requiredDuringSchedulingIgnoredDuringExecution"])
        self.assertNotIn("affinity", Objects("--set", "antiAffinity=none").pod)
        self.assertNotIn("topologySpreadConstraints",
                         Objects("--set-json", "topologySpreadConstraints=[]").pod)

    def test_values_schema_and_readme_have_the_same_keys(self):
        def paths(tree, prefix=()):
            for key, one in tree.items():
                yield ".".join(prefix + (key,))
                if isinstance(one, dict):
                    yield from paths(one, prefix + (key,))

        def schema_paths(schema, prefix=()):
            for key, one in schema.get("properties", {}).items():
                yield ".".join(prefix + (key,))
                yield from schema_paths(one, prefix + (key,))
        with open(CHART + "/values.yaml", encoding="utf-8") as file:
            values = yaml.safe_load(file)
        with open(CHART + "/values.schema.json", encoding="utf-8") as file:
            allowed = set(schema_paths(json.load(file)))
        given = set(paths(values))
        free = {"resources.limits.cpu", "resources.limits.memory", "resources.requests.cpu",
                "resources.requests.memory", "metrics.dashboard.labels.grafana_dashboard"}
        self.assertEqual(given - free - allowed, set())
        self.assertEqual(allowed - given, {"global", "resources.claims"})

    def test_endpoints_that_can_be_chosen_are_those_of_the_node(self):
        with open(ROOT + "/supervisor/sup_config_rows.c", encoding="utf-8") as file:
            there = re.search(r"endpoints\[\] = \{([^}]*)\}", file.read()).group(1)
        with open(CHART + "/values.schema.json", encoding="utf-8") as file:
            actuator = json.load(file)["properties"]["actuator"]["properties"]
        offered = actuator["exposure"]["properties"]["include"]["items"]["enum"]
        self.assertLessEqual(set(offered), set(re.findall(r'"(\w+)"', there)))

    def test_what_is_set_are_keys_of_the_node(self):
        with open(ROOT + "/deploy/lockmgr.cfg", encoding="utf-8") as file:
            text = re.sub(r"(?m)^# ( *(tls = \{|ca =|peer_ca =|cert =|key =|client_auth =|\};|access =|peer_key =|token =))",
                          r"\1", file.read())
        wanted = set(read_config(text)) | {"region.peer_key", "region.peer_auth"}
        found = set()
        for file in ("ci/tls-values.yaml", "ci/netpol-values.yaml", "values-us-east.yaml"):
            found |= set(Objects(files=[os.path.join(CHART, file)]).config)
        self.assertEqual(found - wanted, set())
        # The name comes from the pod; nodes always have a key or certificates. What the chart has no value for
        # can be set by a variable (extraEnv).
        for missing in sorted(wanted - found - {"node", "peer_auth"}):
            print("no value of the chart sets %s" % missing)

    def test_the_configuration_can_have_keys_that_no_value_has(self):
        objects = Objects(values={"config": {
            "limits": {"connections_per_address_max": 0, "locks_max": 3000000000, "sessions_max": None},
            "log": {"level": "debug"}, "more": {"list": ["a", "b"], "groups": [{"x": 1}], "no": False, "text": ""}}})
        text, plain = objects.config_text, Objects().config
        for words in ("connections_per_address_max = 0;", "locks_max = 3000000000L;", 'level = "debug";', "no = false;",
                      'text = "";'):
            self.assertIn(words, text)
        self.assertNotIn("sessions_max", text)
        changed = read_config(text.replace("3000000000L", "3000000000").replace("false", "0"))
        self.assertEqual((changed["more.list"], changed["more.groups"]), (["a", "b"], [{"x": 1}]))
        for key, value in plain.items():
            if key not in ("limits.connections_per_address_max", "limits.locks_max", "limits.sessions_max",
                           "log.level"):
                self.assertEqual(changed[key], value, key)
        status, _, errors = template(values={"config": {"raft": {"election_timeout_ms": 0.5}}})
        self.assertNotEqual(status, 0)
        self.assertIn("0.5 is not a whole number", errors)

    def test_connections_have_an_age_and_reflection_is_a_choice(self):
        plain = {"max_connection_age_ms": 600000, "max_connection_age_grace_ms": 30000, "keepalive_time_ms": 30000,
                 "keepalive_timeout_ms": 10000, "keepalive_min_interval_ms": 10000, "reflection": "on"}
        other = {"maxConnectionAgeMs": 3600000.0, "maxConnectionAgeGraceMs": 5000, "keepaliveTimeMs": 6000,
                 "keepaliveTimeoutMs": 7000, "keepaliveMinIntervalMs": 8000, "reflection": False}
        changed = Objects(values={"grpc": other}).config
        for (key, value), there in zip(plain.items(), (3600000, 5000, 6000, 7000, 8000, "off")):
            self.assertEqual(Objects().config["grpc." + key], value)
            self.assertEqual(changed["grpc." + key], there)

    def test_sidecars_make_all_clients_come_from_one_address(self):
        key = "limits.connections_per_address_max"
        self.assertEqual(Objects().config[key], 1000)
        self.assertEqual(Objects("--set", "istio.enabled=true").config[key], 0)
        self.assertEqual(Objects("--set", "istio.enabled=true,limits.connectionsPerAddressMax=9")
                         .config[key], 9)

    def test_calls_through_the_mesh_are_neither_repeated_nor_cut(self):
        objects = Objects("--set", "istio.enabled=true", apis=ISTIO)
        routes = [route for one in objects.all if one["kind"] == "VirtualService"
                  for route in one["spec"]["http"] if route["match"][0]["port"] != 8080]
        self.assertEqual(len(routes), 4)
        for route in routes:
            self.assertEqual((route["retries"], route["timeout"]), ({"attempts": 0}, "0s"))
        for name in ("lockmgr", "lockmgr-headless"):
            rule = objects.of("DestinationRule", name)["spec"]
            self.assertEqual(rule["host"], name + ".locks.svc.cluster.local")
            self.assertEqual(rule["trafficPolicy"]["tls"], {"mode": "ISTIO_MUTUAL"})
            self.assertNotIn("outlierDetection", json.dumps(rule))
        self.assertEqual(objects.of("PeerAuthentication")["spec"]["mtls"], {"mode": "STRICT"})
        annotations = objects.stateful_set["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual(json.loads(annotations["proxy.istio.io/config"]), {
            "holdApplicationUntilProxyStarts": True, "terminationDrainDuration": "20s"})

        self.assertEqual(annotations["sidecar.istio.io/rewriteAppHTTPProbers"], "true")

    STRICT = CHART + "/ci/istio-strict-values.yaml"

    def test_reads_alone_may_be_repeated_by_the_mesh(self):
        """And only where no node has taken them."""
        for one in Objects(files=[self.STRICT], apis=ISTIO).all:
            if one["kind"] != "VirtualService":
                continue
            reads, calls, regions, actuator = one["spec"]["http"]
            self.assertEqual((reads["retries"], reads["timeout"]), (
                {"attempts": 2, "retryOn": "connect-failure,refused-stream"}, "0s"))
            self.assertEqual([part["uri"]["exact"].rsplit("/", 1)[1] for part in reads["match"]],
                             ["Get", "List", "GetSession", "ListSessions", "GetStatus"])
            self.assertEqual({part["port"] for part in reads["match"]}, {9090})
            for path in (part["uri"]["exact"] for part in reads["match"]):
                service, method = path[1:].rsplit(".", 1)[1].split("/")
                with open("%s/proto/lockmgr/v1/%s.proto" % (ROOT, service.replace("S", "_s").lower()),
                          encoding="utf-8") as proto:
                    self.assertIn("rpc %s(" % method, proto.read())
            for route in (calls, regions):
                self.assertEqual(route["retries"], {"attempts": 0})
            self.assertNotIn("retries", actuator)

    def test_how_the_mesh_spreads_calls_can_be_chosen(self):
        def rule(*words, apis=ISTIO, name="lockmgr", **how):
            return Objects("--set", "istio.enabled=true", *words, apis=apis, **how).of(
                "DestinationRule", name)["spec"]["trafficPolicy"]
        self.assertNotIn("loadBalancer", rule())
        newer = ISTIO + ("networking.istio.io/v1",)
        self.assertEqual(rule(apis=newer)["loadBalancer"], {"simple": "LEAST_REQUEST"})
        self.assertNotIn("loadBalancer", rule(apis=newer, name="lockmgr-headless"))
        strict = rule(files=[self.STRICT])
        self.assertEqual(strict["loadBalancer"], {"simple": "RANDOM"})
        port, = strict["portLevelSettings"]
        self.assertEqual(port["port"], {"number": 9091})
        self.assertEqual(port["outlierDetection"]["maxEjectionPercent"], 34)
        for key in ("tls", "connectionPool", "loadBalancer"):
            self.assertEqual(port[key], strict[key])
        self.assertNotIn("portLevelSettings", rule(files=[self.STRICT], name="lockmgr-headless"))

    def test_who_may_use_which_port_of_the_mesh(self):
        denied = Objects(files=[self.STRICT], apis=ISTIO).of("AuthorizationPolicy")["spec"]["rules"]
        self.assertEqual([(rule["to"][0]["operation"]["ports"], rule["from"]) for rule in denied], [
            (["9091"], [{"source": {"notPrincipals": ["cluster.local/ns/lockmgr-eu/sa/lockmgr"]}}]),
            (["9090"], [{"source": {"notNamespaces": ["locks", "shop", "billing"],
                                    "notPrincipals": ["cluster.local/ns/mixed/sa/worker"]}}]),
            (["8080"], [{"source": {"notNamespaces": ["locks", "monitoring"]}}])])

    def test_a_sidecar_may_wait_for_its_connections(self):
        found = Objects(files=[self.STRICT]).stateful_set["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual(json.loads(found["proxy.istio.io/config"])["proxyMetadata"],
                         {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"})

    def test_prometheus_is_let_in_by_one_of_three_ways(self):
        merged = Objects(files=[self.STRICT], apis=ISTIO)
        found = merged.stateful_set["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual([found["prometheus.io/" + key] for key in ("scrape", "port", "path")],
                         ["true", "8080", "/actuator/prometheus"])
        endpoint, = merged.of("PodMonitor")["spec"]["podMetricsEndpoints"]
        self.assertEqual((endpoint["path"], endpoint["relabelings"][-1]["replacement"]),
                         ("/stats/prometheus", "$1:15020"))
        opened = Objects("--set", "istio.enabled=true,istio.peerAuthentication.actuatorPermissive=true", apis=ISTIO)
        self.assertEqual(opened.of("PeerAuthentication")["spec"]["portLevelMtls"], {8080: {"mode": "PERMISSIVE"}})

    def test_a_network_policy_lets_in_who_is_meant(self):
        """P11: the region's own pods and labelled clients, the other regions, monitoring; with Istio its ports."""
        how = {"istio": {"enabled": True}, "region": {"peers": [
            {"regionId": "b", "host": "lockmgr.b.svc", "port": 9091}]},
               "networkPolicy": {"enabled": True, "egress": True, "monitoring": [{"podSelector": {}}],
                                 "regions": [{"podSelector": {"matchLabels": {"istio": "eastwestgateway"}}}],
                                 "extraIngress": [{"ports": [{"port": 1}]}],
                                 "extraEgress": [{"ports": [{"port": 2}]}]}}
        policy = Objects(values=how).of("NetworkPolicy")["spec"]
        self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
        own = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "lockmgr",
                                               "app.kubernetes.io/instance": "lockmgr"}}}
        other = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}}
        self.assertEqual([([port["port"] for port in rule["ports"]], rule.get("from")) for rule in policy["ingress"]], [
            ([9090], [own, {"namespaceSelector": {}, "podSelector": {"matchLabels": {"lockmgr-client": "true"}}}]),
            ([9091], [other, {"podSelector": {"matchLabels": {"istio": "eastwestgateway"}}}]),
            ([8080], [{"podSelector": {}}]), ([15008, 15020, 15021, 15090], None), ([1], None)])
        self.assertEqual([([port["port"] for port in rule["ports"]], rule.get("to")) for rule in policy["egress"]], [
            ([53, 53], None), ([9090], [own]), ([9091], [other]), ([15012, 15008], None), ([2], None)])

    def test_regions_of_other_clusters_have_service_entries(self):
        objects = Objects(files=[CHART + "/ci/two-regions-values.yaml"], apis=ISTIO)
        entries = [one for one in objects.all if one["kind"] == "ServiceEntry"]
        self.assertEqual([one["spec"]["hosts"] for one in entries],
                         [["lockmgr.lockmgr-eu.mesh.internal"], ["lockmgr.asia.example"]])
        self.assertEqual([one["spec"]["location"] for one in entries],
                         ["MESH_INTERNAL", "MESH_EXTERNAL"])
        self.assertEqual(entries[0]["spec"]["endpoints"], [
            {"address": "gateway.eu.example", "ports": {"grpc-region": 15443}}])


class Refusals(unittest.TestCase):
    """(what is set, words of the refusal)"""

    SCHEMA = [
        ("replicaCount=0", "replicaCount"), ("replicaCount=10", "replicaCount"),
        ("replicaCount=many", "replicaCount"), ("replicas=3", "replicas"),
        ("raft.electionTimeout=1", "electionTimeout"), ("raft.electionTimeoutMs=5", "electionTimeoutMs"),
        ("region.id=US_East", "region"), ("region.id=", "region"),
        ("region.peers[0].regionId=b", "peers"), ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("service.grpcPort=70000", "grpcPort"), ("service.grpcPort=http", "grpcPort"),
        ("lock.maxTimeoutMs=86400001", "maxTimeoutMs"), ("logging.level=loud", "level"),
        ("actuator.exposure.include={info}", "include"), ("tls.clientAuth=maybe", "clientAuth"),
        ("actuator.healthDetails=often", "healthDetails"),
        ("livenessProbe.path=/x", "path"), ("persistence.enabled=false", "persistence"),
        ("istio.peerAuthentication.mode=DISABLE", "mode"), ("listen=here", "listen"),
        ("image.digest=latest", "digest"),
        # A readiness that says that a leader is missing would restart all nodes at once.
        ("livenessProbe.type=grpc", "type"), ("livenessProbe.path=/readyz", "path"),
        ("startupProbe.path=/readyz", "path"), ("readinessProbe.path=/livez", "path"),
        ("service.extraPorts[0].port=1", "extraPorts"),
        ("config.Raft.x=1", "Raft"), ("config=text", "config"),
        ("istio.virtualService.readRetries=11", "readRetries"),
        ("grpc.maxConnectionAgeMs=86400001", "maxConnectionAgeMs"), ("grpc.keepaliveTimeMs=999", "keepaliveTimeMs"),
        ("grpc.maxConnectionAgeGraceMs=0", "maxConnectionAgeGraceMs"), ("grpc.reflection=on", "reflection"),
        ("istio.destinationRule.loadBalancer=LEAST_CONN", "loadBalancer"),
    ]
    RULES = [
        ("raft.heartbeatIntervalMs=100", "must be at most half of raft.electionTimeoutMs (150)"),
        ("stopDelaySeconds=14", "must be at most half of the time for a stop, here 26 s"),
        ("pdb.maxUnavailable=2", "of 3 nodes that vote at most 1 may be missing"),
        ("lock.minTimeoutMs=40000", "must not be above lock.defaultTimeoutMs (30000)"),
        ("lock.defaultTimeoutMs=400000", "must not be above lock.maxTimeoutMs (300000)"),
        ("service.regionPort=9090", "service.regionPort: port 9090 is used twice"),
        ("service.actuatorPort=15021", "belong to Istio's sidecar"),
        ("grpc.maxConnectionAgeMs=999", "grpc.maxConnectionAgeMs (999) must be 0 (never) or at least 1000"),
        ("raft.port=9091", "raft.port: port 9091 is used twice"),
        ("raft.port=15001", "raft.port: ports 15000 to 15090 belong to Istio's sidecar"),
        ("raft.port=92", "is not root and cannot listen on port 92"),
        ("service.grpcPort=443", "is not root and cannot listen on port 443"),
        ("region.peers[0].regionId=us-east,region.peers[0].host=h.n.svc,region.peers[0].port=1",
         '"us-east" is region.id, this region itself'),
        ("region.peers[0].regionId=b,region.peers[0].host=h.n.svc,region.peers[0].port=1,"
         "region.peers[1].regionId=b,region.peers[1].host=i.n.svc,region.peers[1].port=1",
         'the region "b" is there twice'),
        ("region.peers[0].regionId=b,region.peers[0].host=b.example,region.peers[0].port=1",
         '"b.example" is not a Service of this cluster'),
        ("tls.enabled=true", "tls.enabled needs tls.existingSecret"),
        ("istio.authorizationPolicy.enabled=true,istio.authorizationPolicy.monitoringNamespaces={m},"
         "istio.peerAuthentication.actuatorPermissive=true", "who is outside the mesh has no namespace"),
        ("service.extraPorts[0].name=a,service.extraPorts[0].port=9091", "9091 is a port of the node"),
        ("config.service.grpc_port=7001", "config.service: other objects depend on it"),
        ("config.peers=none", "config.peers: other objects depend on it"),
        ("lifecycle.preStop.enabled=true,lifecycle.preStop.seconds=19",
         "lifecycle.preStop.seconds leave 11; stopping needs 12"),
        ("actuator.token.existingSecret=a,istio.enabled=true,istio.metricsMerge=true", "has no token"),
        ("access.existingSecret=a", "tokens are not taken in plaintext"),
        ("tls.enabled=true,tls.existingSecret=t,readinessProbe.type=grpc", "does not speak TLS"),
        ("securityContext.runAsUser=1337", "1337 is the user of Istio's sidecar"),
        ("metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true", "enable one of them"),
    ]

    def check(self, cases):
        for settings, words in cases:
            for version in HELMS:
                status, _, errors = template("--set", settings, version=version)
                self.assertNotEqual(status, 0, settings)
                self.assertIn(words, errors, settings)

    def test_what_the_schema_refuses(self):
        self.check(self.SCHEMA)

    def test_what_does_not_go_together(self):
        self.check(self.RULES)

    def test_a_grpc_probe_needs_its_kubernetes(self):
        status, _, errors = template("--set", "readinessProbe.type=grpc", kube="1.23.0")
        self.assertNotEqual(status, 0)
        self.assertIn("needs Kubernetes 1.24", errors)

    def test_a_global_of_a_parent_chart_is_let_through(self):
        self.assertTrue(Objects(values={"global": {"region": "x"}}).all)


class Installation(unittest.TestCase):
    """Against an API server that only knows what it is told: lookup, versions, groups."""

    def dry_run(self, *words, version="3", **server):
        with ApiServer(**server) as api:
            status, said, errors = helm(
                "upgrade", "--install", "lockmgr", CHART, "-n", "locks", "--dry-run=server",
                "--disable-openapi-validation", "--kube-apiserver", api.url, *words, version=version)
        self.assertEqual(status, 0, errors)
        manifest, notes = said.split("\nNOTES:\n")
        objects = Objects.__new__(Objects)
        objects.all = [one for one in yaml.safe_load_all(manifest.split("MANIFEST:\n")[1]) if one]
        return objects, notes

    OWNED = {"namespace": "locks", "labels": {"app.kubernetes.io/managed-by": "Helm"},
             "annotations": {"meta.helm.sh/release-name": "lockmgr",
                             "meta.helm.sh/release-namespace": "locks"}}
    SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lockmgr-peer-key", **OWNED},
              "data": {"peer.key": "a2VwdA=="}}

    def test_the_key_is_made_once_and_kept(self):
        for version in HELMS:
            made, _ = self.dry_run(version=version)
            again, _ = self.dry_run(version=version)
            keys = [one.of("Secret")["data"]["peer.key"] for one in (made, again)]
            self.assertNotEqual(keys[0], keys[1])
            self.assertEqual(len(keys[0]), 88)
            kept, _ = self.dry_run(version=version, objects=[self.SECRET])
            self.assertEqual(kept.of("Secret")["data"], {"peer.key": "a2VwdA=="})

    def test_the_key_of_the_release_is_not_named_as_somebody_elses(self):
        words = ("--set", "peerKey.existingSecret=lockmgr-peer-key")
        with self.assertRaisesRegex(AssertionError, "is of this release, which would remove it"):
            self.dry_run(*words, objects=[self.SECRET])
        self.assertNotIn("Secret", Objects(*words).kinds())

    def test_no_key_is_made_where_none_is_used(self):
        for words in (("--set", "peerKey.existingSecret=own"),
                      ("-f", CHART + "/ci/tls-values.yaml")):
            self.assertNotIn("Secret", Objects(*words).kinds())
        volume = Objects("--set", "peerKey.existingSecret=own").pod["volumes"][-1]
        self.assertEqual(volume["secret"], {"secretName": "own", "defaultMode": 0o440})

    def test_the_notes_say_how_to_reach_it(self):
        for version in HELMS:
            _, notes = self.dry_run(version=version)
            for words in ("lockmgr.locks.svc.cluster.local:9090", "grpcurl -plaintext",
                          "/actuator/health", "lockctl status", "helm test lockmgr -n locks",
                          "forms when all 3 nodes run"):
                self.assertIn(words, notes)

    # (what is set, Kubernetes, groups that are served) -> words of a warning, and words of none
    WARNINGS = [
        ((), 30, (), ["image.tag latest", "CPU limit of 500m with an election timeout of 150",
                      "not encrypted"], ["Istio is off", "survive no more"]),
        (("--set", "image.tag=1,resources.limits.cpu=1,istio.enabled=true"), 30, ISTIO, [],
         ["WARNING"]),
        (("--set", "image.tag=1,resources.limits.cpu=null"), 30, (), [], ["CPU limit", "image.tag"]),
        (("--set", "resources.limits.cpu=999m,raft.electionTimeoutMs=499"), 30, (), ["CPU limit of 999m"], []),
        (("--set", "resources.limits.cpu=0.5,raft.electionTimeoutMs=500"), 30, (), [], ["CPU limit"]),
        (("--set", "antiAffinity=none"), 30, (), ["may share a machine"], ["share a zone"]),
        (("--set-json", "topologySpreadConstraints=[]"), 30, (), ["may share a zone"], ["share a machine"]),
        (("-f", CHART + "/values-minimal.yaml"), 30, (), [], ["may share"]),
        (("-f", CHART + "/ci/tls-values.yaml", "--set", "tls.clientAuth=require"), 30, (),
         ["grpcurl -cacert", "-servername", "-cert client.crt"], ["-plaintext", "not encrypted"]),
        ((), 30, ISTIO, ["has Istio, and istio.enabled is off"], ["Sidecars:"]),
        (("--set", "istio.enabled=true"), 30, ISTIO, ["kubectl get namespace locks -L istio-injection"],
         ["istio.enabled is off"]),
        (("--set", "replicaCount=4"), 30, (), ["4 replicas survive no more losses than 3"], []),
        (("--set", "replicaCount=1"), 30, (), ["every restart is an outage"], []),
        (("--set", "persistence.retentionPolicy.whenScaled=Delete"), 30, (), ["Set it to Retain before"], []),
        (("-f", CHART + "/values-us-east.yaml"), 30, ISTIO,
         ["us-west at lockmgr.lockmgr-us-west.svc.cluster.local:9091"], ["act as a region"]),
        (("-f", CHART + "/values-us-east.yaml"), 30, (),
         ["does not serve Istio's API", "act as a region"], ["no NetworkPolicy"]),
        (("-f", CHART + "/values-us-east.yaml"), 20, (), ["no NetworkPolicy"], []),
        (("-f", CHART + "/values-us-east.yaml", "--set", "istio.enabled=false"), 30, ISTIO,
         ["Istio is off", "act as a region"], []),
        (("-f", CHART + "/values-us-east.yaml", "--set", "region.keySecret=k"), 30, (), [],
         ["act as a region"]),
    ]

    def test_warnings(self):
        for words, minor, groups, there, missing in self.WARNINGS:
            _, notes = self.dry_run(*words, minor=minor, groups=groups)
            for one in there:
                self.assertIn(one, notes, words)
            for one in missing:
                self.assertNotIn(one, notes, words)

    def test_who_formed_the_region_votes(self):
        there = {"apiVersion": "apps/v1", "kind": "StatefulSet",
                 "metadata": {"name": "lockmgr", **self.OWNED}, "spec": {"replicas": 3}}
        there["metadata"]["annotations"] = {**self.OWNED["annotations"], "lockmgr/voters": "3"}
        for replicas in (3, 5):
            objects, notes = self.dry_run("--set", "replicaCount=%d" % replicas, objects=[there])
            self.assertEqual("they alone vote. The 2 others pass" in notes, replicas == 5)
            self.assertEqual(objects.stateful_set["metadata"]["annotations"]["lockmgr/voters"], "3")
        with self.assertRaisesRegex(AssertionError, "3 nodes formed this region and vote; 2 of them"):
            self.dry_run("--set", "replicaCount=2", objects=[there])
        self.assertEqual(Objects("--set", "replicaCount=7").stateful_set["metadata"]["annotations"],
                         {"lockmgr/voters": "7"})


@unittest.skipUnless(os.path.exists(LOCKMGRD), "LM_BIN has no lockmgrd")
class Accepted(unittest.TestCase):
    """lockmgrd reads what the chart writes."""

    def check(self, *words, **how):
        objects = Objects(*words, **how)
        text = objects.config_text
        with tempfile.TemporaryDirectory() as folder:
            for mount in objects.container["volumeMounts"]:
                text = text.replace('"%s/' % mount["mountPath"], '"%s%s/' % (folder, mount["mountPath"]))
            for path in re.findall(r'"(/[^"]*(?:\.key|/tokens))"', text):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write("k" * 64)
                os.chmod(path, 0o440)
            with open(folder + "/lockmgr.cfg", "w", encoding="utf-8") as file:
                file.write(text)
            name = objects.stateful_set["metadata"]["name"] + "-0"
            done = subprocess.run([LOCKMGRD, "--config", folder + "/lockmgr.cfg", "--check"],
                                  env={"LOCKMGR_NODE": name}, capture_output=True, text=True,
                                  check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)

    def test_what_the_chart_writes(self):
        self.check()
        for file in ("values-us-east.yaml", "values-us-west.yaml", "values-production.yaml",
                     "values-minimal.yaml", "ci/everything-values.yaml", "ci/netpol-values.yaml",
                     "ci/two-regions-values.yaml", "ci/five-replicas-values.yaml"):
            self.check(files=[os.path.join(CHART, file)])
        self.check(values={"config": {"raft": {"election_timeout_ms": 600}, "actuator": {"exposure": {
            "include": ["health"]}}, "limits": {"connections_per_address_max": 0, "sessions_max": None}}})
        self.check("--set", "replicaCount=9,raft.electionTimeoutMs=60000,lock.maxTimeoutMs=86400000")


@unittest.skipUnless(os.path.exists(LOCKMGRD), "LM_BIN has no lockmgrd")
class Alive(unittest.TestCase):
    """What pods and probes would ask, asked of a node."""

    @classmethod
    def setUpClass(cls):
        cls.region = Region(1)
        cls.addClassCleanup(cls.region.close)
        cls.node = cls.region.node(1)
        wait_for("the node serves", lambda: cls.lockctl("-q", "--timeout", "2s", "health").returncode == 0, 60)

    @classmethod
    def lockctl(cls, *words):
        """As in a pod, but for where the node is."""
        words = [cls.node.address if before == "--endpoints" else word for before, word in zip(("",) + words, words)]
        bins = os.path.dirname(LOCKMGRD)
        return subprocess.run([os.path.join(bins, "lockctl"), *words], capture_output=True, text=True, check=False,
                              timeout=120, env={"PATH": bins, "LOCKCTL_ENDPOINTS": cls.node.address})

    def test_helm_test_passes(self):
        pods = [one for one in Objects().all if one["kind"] == "Pod"]
        self.assertEqual(len(pods), 3)
        for pod in pods:
            for step in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
                self.assertEqual(step["command"], ["lockctl"])
                done = self.lockctl(*step["args"])
                self.assertEqual(done.returncode, 0, (step["args"], done.stdout, done.stderr))

    def test_helm_test_fails_where_nothing_answers(self):
        step = [one for one in Objects().all if one["kind"] == "Pod"][0]["spec"]["containers"][0]
        lockctl = os.path.join(os.path.dirname(LOCKMGRD), "lockctl")
        done = subprocess.run([lockctl, *step["args"], "--timeout", "1s"], capture_output=True, text=True, check=False,
                              timeout=60, env={"LOCKCTL_ENDPOINTS": "127.0.0.1:1"})
        self.assertNotEqual(done.returncode, 0)

    def test_every_path_of_a_probe_is_there(self):
        with open(CHART + "/values.schema.json", encoding="utf-8") as file:
            schema = json.load(file)["properties"]
        paths = [path for probe in ("livenessProbe", "readinessProbe", "startupProbe")
                 for path in schema[probe]["properties"]["path"]["enum"]]
        self.assertGreater(len(paths), 5)
        for path in paths:
            wait_for(path, lambda path=path: self.node.http(path)[0] == 200, 20)


if __name__ == "__main__":
    main()
