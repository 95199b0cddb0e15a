"""The actuator of a real node: every page, and what hostile visitors of its port can do."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time

import stubs
from calls import refusal_of
from cluster_case import ClusterCase, main, needs_processes
from promtool import promtool
from region import HOST, Region, wait_for

V3 = "application/vnd.spring-boot.actuator.v3+json"
V2 = "application/vnd.spring-boot.actuator.v2+json"
ACTORS = {"raft", "lock", "gateway", "frontend", "health"}


def families(text):
    """Name -> type, of an exposition."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


class Pages(ClusterCase):
    N_NODES = 1

    def setUp(self):
        self.node = self.region.node(1)
        granted = self.node.client.acquire("pages", "a")
        self.node.client.release("pages", "a", granted.hold_id)
        wait_for("readiness", lambda: self.node.http("/readyz")[0] == 200, 20)
        wait_for("a look at the system",
                 lambda: self.node.metric("process_resident_memory_bytes"), 20)
        wait_for("a report of raft that leads", lambda: self.node.metric("lockmgr_raft_term"), 20)

    def test_every_link_leads_somewhere(self):
        status, page = self.node.json("/actuator")
        self.assertEqual(status, 200)
        for name, link in page["_links"].items():
            self.assertEqual("{" in link["href"], link["templated"], name)
            path = re.sub(r"/\{\*path\}", "/raft", link["href"])
            path = path.replace("{requiredMetricName}", "lockmgr.raft.term")
            path = path.replace("{name}", "ROOT")
            self.assertEqual(self.node.http(path)[0], 200, path)

    def test_health(self):
        status, page = self.node.json("/actuator/health")
        self.assertEqual((status, page["status"]), (200, "UP"), page)
        self.assertEqual(list(page["components"]),
                         ["diskSpace", "livenessState", "raft", "readinessState", "region"])
        self.assertEqual(page["groups"], ["liveness", "readiness"])
        raft = page["components"]["raft"]["details"]
        for key in ("role", "term", "leader", "commitIndex", "appliedIndex"):
            self.assertIn(key, raft)
        disk = page["components"]["diskSpace"]["details"]
        self.assertGreaterEqual(disk["total"], disk["free"])
        self.assertEqual(disk["path"], self.node.data_dir)
        for group, shown in (("liveness", ["livenessState"]),
                             ("readiness", ["raft", "readinessState"])):
            status, page = self.node.json("/actuator/health/" + group)
            self.assertEqual((status, page["status"]), (200, "UP"))
            self.assertEqual(list(page["components"]), shown)
            self.assertNotIn("groups", page)

    def test_info(self):
        page = self.node.json("/actuator/info")[1]
        self.assertEqual(page["build"]["name"], "lockmgr")
        self.assertEqual(page["build"]["time"], page["git"]["commit"]["time"])
        self.assertRegex(page["git"]["commit"]["id"], r"^([0-9a-f]{40}|unknown)$")
        self.assertGreaterEqual(page["process"]["cpus"], 1)
        self.assertGreater(page["process"]["memory"]["residentBytes"], 1 << 20)
        self.assertEqual(page["lockmgr"]["nodeId"], "n1")
        self.assertEqual(len(page["lockmgr"]["clusterId"]), 32)

    def test_loggers_are_read_only(self):
        page = self.node.json("/actuator/loggers")[1]
        self.assertEqual(page["levels"], ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"])
        self.assertEqual(set(page["loggers"]), {"ROOT", "supervisor"} | ACTORS)
        root = page["loggers"]["ROOT"]
        self.assertEqual(root["configuredLevel"], root["effectiveLevel"])
        self.assertEqual(self.node.json("/actuator/loggers/raft")[1],
                         {"effectiveLevel": root["effectiveLevel"]})
        status, headers, _ = self.node.http("/actuator/loggers/raft", method="POST")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))

    def test_metrics_as_json_agree_with_the_exposition(self):
        names = self.node.json("/actuator/metrics")[1]["names"]
        self.assertEqual(len(names), len(set(names)))
        text = self.node.http("/actuator/prometheus")[2]
        stems = {re.sub("_total$", "", name) if kind == "counter" else name
                 for name, kind in families(text).items()}
        self.assertEqual(set(names), {stem.replace("_", ".") for stem in stems})
        for name in names:
            status, page = self.node.json("/actuator/metrics/" + name)
            self.assertEqual((status, page["name"]), (200, name))
            statistics = [one["statistic"] for one in page["measurements"]]
            self.assertIn(statistics, (["COUNT"], ["VALUE"], ["COUNT", "TOTAL_TIME"]))

    def test_metric_by_tags(self):
        path = "/actuator/metrics/lockmgr.lock.acquires?tag=mode:exclusive"
        page = self.node.json(path)[1]
        tags, = page["availableTags"]
        self.assertEqual(tags["tag"], "result")
        self.assertIn("granted", tags["values"])
        page = self.node.json(path + "&tag=result:granted")[1]
        self.assertGreaterEqual(page["measurements"][0]["value"], 1)
        self.assertEqual(page["availableTags"], [])
        self.assertEqual(self.node.json(path + "&tag=result:none")[0], 404)
        self.assertEqual(self.node.json(path + "&tag=nonsense")[0], 400)
        self.assertEqual(self.node.json(path + "&tag=a:b" * 9)[0], 400)

    def test_types_of_content(self):
        for accept, given in ((None, V3), ("*/*", V3), (V3, V3), (V2, V2),
                              ("application/json", "application/json"), ("text/html", V3)):
            headers = {"Accept": accept} if accept else {}
            _, answered, _ = self.node.http("/actuator/health", headers=headers)
            self.assertEqual(answered["Content-Type"], given, accept)

    def test_head_and_both_versions_of_http(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.actuator_port, timeout=5)
        for method in ("HEAD", "GET"):  # on one connection
            connection.request(method, "/actuator/info")
            answer = connection.getresponse()
            body = answer.read()
            self.assertEqual((answer.status, bool(body)), (200, method == "GET"))
        connection.close()
        with socket.create_connection(("127.0.0.1", self.node.actuator_port)) as old:
            old.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            self.assertIn(b" 200 OK", old.makefile("rb").read())

    def test_processes(self):
        found = {}
        for line in self.node.http("/actuator/prometheus")[2].splitlines():
            match = re.match(r'process_(\w+)\{actor="([\w-]+)"\} (\S+)$', line)
            if match:
                found.setdefault(match.group(2), {})[match.group(1)] = float(match.group(3))
        self.assertEqual(set(found),
                         {"node"} if HOST == "threads" else ACTORS | {"supervisor"})
        for actor, values in found.items():
            self.assertGreater(values["resident_memory_bytes"], 1 << 18, actor)
            self.assertGreater(values["open_fds"], 2, actor)
            self.assertGreaterEqual(values["max_fds"], values["open_fds"], actor)
            self.assertLess(abs(values["start_time_seconds"] - time.time()), 3600, actor)

    def test_handling_times_are_counted(self):
        for name, labels in (("grpc_server_handling_seconds", {"grpc_method": "Acquire"}),
                             ("lockmgr_lock_wait_seconds", {}),
                             ("lockmgr_lock_hold_seconds", {}),
                             ("lockmgr_raft_wal_fsync_seconds", {}),
                             ("lockmgr_raft_tick_lateness_seconds", {})):
            wait_for(name, lambda: self.node.metric(name + "_count", **labels), 10)
            self.assertGreater(self.node.metric(name + "_sum", **labels), 0)


class Counted(ClusterCase):
    """Every call and stream is counted as it begins and as it ends, and timed, refused or not."""

    N_NODES = 1
    ROWS = {"ServerReflectionInfo": ("bidi_stream", "OK"), "GetStatus": ("unary", "OK"),
            "Get": ("unary", "InvalidArgument"), "unknown": ("unknown", "Unimplemented")}

    def figures(self, kind, **labels):
        return self.node.metric("grpc_server_" + kind, **labels) or 0

    def counts(self, method):
        code = self.ROWS[method][1]
        return (self.figures("started_total", grpc_method=method),
                self.figures("handled_total", grpc_method=method, grpc_code=code),
                self.figures("handling_seconds_count", grpc_method=method))

    def settled(self):
        """All counts, once they have not changed for three reports."""
        before = {method: self.counts(method) for method in self.ROWS}
        time.sleep(3)
        return before if before == {method: self.counts(method) for method in self.ROWS} else None

    def test_each_end_of_a_call(self):
        self.node = self.region.node(1)
        before = wait_for("figures of all that was before", self.settled, 30)
        self.node.client.status()
        refusal_of(lambda: self.node.client.get(""))
        channel = self.node.client.channel
        for path in ("/lockmgr.v1.LockService/None", "/made.up.Service/Method"):
            refusal_of(lambda: channel.unary_unary(path)(b"", timeout=5))
        reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda message: message.SerializeToString())
        question = stubs.reflection_pb2.ServerReflectionRequest(list_services="")
        self.assertEqual(len(list(reflect(iter([question]), timeout=5))), 1)
        added = {"unknown": 2}
        for method, was in before.items():
            want = tuple(n + added.get(method, 1) for n in was)
            wait_for("%s is counted: %s" % (method, want), lambda: self.counts(method) == want, 10)
            self.assertTrue(self.figures("started_total", grpc_method=method,
                                         grpc_type=self.ROWS[method][0]))
        self.assertNotIn("made.up", self.node.http("/actuator/prometheus")[2])


class Chosen(ClusterCase):
    """A node that exposes two endpoints and no more, one of them without details."""

    N_NODES = 1
    SETTINGS = {"actuator": {"exposure": {"include": ["info", "health"]},
                             "health_details": "never"}}

    def test_only_these_answer(self):
        node = self.region.node(1)
        links = node.json("/actuator")[1]["_links"]
        self.assertEqual(set(links), {"self", "health", "health-path", "info"})
        for path in ("/actuator/info", "/actuator/health/liveness", "/livez"):
            self.assertEqual(node.http(path)[0], 200, path)
        for path in ("/actuator/prometheus", "/actuator/metrics", "/actuator/loggers",
                     "/actuator/loggers/ROOT", "/actuator/metrics/lockmgr.raft.term"):
            for method in ("GET", "HEAD", "POST"):
                self.assertEqual(node.http(path, method=method)[0], 404, (method, path))

    def test_health_is_a_status(self):
        node = self.region.node(1)
        wait_for("readiness", lambda: node.http("/readyz")[0] == 200, 20)
        self.assertEqual(node.json("/actuator/health"),
                         (200, {"status": "UP", "groups": ["liveness", "readiness"]}))
        for path in ("/actuator/health/liveness", "/actuator/health/readiness", "/readyz"):
            self.assertEqual(node.json(path), (200, {"status": "UP"}), path)
        for path in ("/actuator/health/raft", "/actuator/health/diskSpace"):
            self.assertEqual(node.http(path)[0], 404, path)


class Guarded(ClusterCase):
    """A node that asks for a token wherever an orchestrator does not ask."""

    OPEN = ("/actuator/health", "/actuator/health/liveness", "/actuator/health/readiness", "/livez", "/readyz")
    CLOSED = ("/actuator", "/actuator/info", "/actuator/prometheus", "/actuator/health/raft", "/made/up")
    ONE, TWO = "1" * 32, "two-" * 10

    def setUp(self):
        self.region = Region(1, start=False)
        self.addCleanup(self.region.close)
        self.path = os.path.join(self.region.root, "actuator.token")
        self.write(self.ONE)
        self.region.settings["actuator"] = {"token": self.path}
        self.region.start()
        self.region.wait_serving()
        self.node = self.region.node(1)
        wait_for("the node is ready", lambda: self.node.http("/readyz")[0] == 200, 20)

    def write(self, *tokens):
        with open(self.path + ".new", "w", opener=lambda path, flags: os.open(path, flags, 0o600),
                  encoding="ascii") as file:
            file.write("\n".join(tokens) + "\n")
        os.replace(self.path + ".new", self.path)

    def code(self, path, header, method="GET"):
        return self.node.http(path, method, {"Authorization": header} if header else {})[0]

    def test_without_the_token_there_is_health_alone(self):
        for header in (None, "Bearer", "Bearer ", "Bearer " + self.ONE[1:], "Bearer %s0" % self.ONE,
                       "Basic " + self.ONE, self.ONE, "Bearer " + "\xff" * 40):
            for path in self.OPEN:
                self.assertEqual(self.code(path, header), 200, (path, header))
            for path in self.CLOSED:
                for method in ("GET", "HEAD", "POST"):
                    self.assertEqual(self.code(path, header, method), 401, (path, header, method))
        status, headers, body = self.node.http("/actuator/info")
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, 'Bearer realm="lockmgr"'))
        self.assertEqual(json.loads(body)["status"], 401)

    def test_with_the_token_everything_is_as_without_one(self):
        for header in ("Bearer " + self.ONE, "bearer  " + self.ONE):
            for path in (*self.OPEN, *self.CLOSED[:-1]):
                self.assertEqual(self.code(path, header), 200, path)
            self.assertEqual(self.code("/made/up", header), 404)
            self.assertEqual(self.code("/actuator/info", header, "POST"), 405)
        before = self.refusals()
        self.code("/actuator/info", None)
        wait_for("it is counted", lambda: self.refusals() > before, 10)

    def refusals(self):
        page = self.node.http("/actuator/prometheus", "GET", {"Authorization": "Bearer " + self.ONE})[2]
        return float(re.search(r"(?m)^lockmgr_actuator_unauthorized_total\S* (\S+)$", page).group(1))

    def test_tokens_are_changed_without_a_restart(self):
        one, two = "Bearer " + self.ONE, "Bearer " + self.TWO
        self.assertEqual(self.code("/actuator/info", two), 401)
        self.write(self.ONE, self.TWO)
        wait_for("both count", lambda: self.code("/actuator/info", two) == 200, 10)
        self.assertEqual(self.code("/actuator/info", one), 200)
        self.write("short")
        wait_for("the log says so", lambda: "fewer than 32 characters" in self.node.log(), 10)
        self.assertEqual((self.code("/actuator/info", one), self.code("/actuator/info", two)), (200, 200))
        self.write(self.TWO)
        wait_for("the old one has gone", lambda: self.code("/actuator/info", one) == 401, 10)
        self.assertEqual(self.code("/actuator/info", two), 200)


class All(ClusterCase):
    """A region whose nodes also expose what they do not by default."""

    N_NODES = 3
    SETTINGS = {"actuator": {"exposure": {"include": ["health", "raft", "locks", "env"]}}}

    def agreed(self):
        """The pages of all nodes, once they name one leader, which says so of itself."""
        pages = [node.json("/actuator/raft")[1] for node in self.region.nodes]
        leaders = {page.get("leader") for page in pages}
        leading = {page["node"] for page in pages if page.get("role") == "leader"}
        return pages if len(leaders) == 1 and leaders == leading else None

    def test_state_of_consensus(self):
        pages = wait_for("one leader on all pages", self.agreed, 20)
        self.assertEqual([page["node"] for page in pages], ["n1", "n2", "n3"])
        for page in pages:
            self.assertEqual(page["voters"], ["n1", "n2", "n3"])
            self.assertGreaterEqual(page["commitIndex"], page["appliedIndex"])
            self.assertGreaterEqual(page["term"], 1)

    def test_settings_and_where_they_come_from(self):
        node = self.region.node(1)
        status, page = node.json("/actuator/env")
        self.assertEqual(status, 200)
        self.assertEqual([one["name"] for one in page["propertySources"]],
                         ["environment", "file", "defaults"])
        _, of_file, defaults = (one["properties"] for one in page["propertySources"])
        self.assertEqual(of_file["node"]["value"], "n1")
        self.assertRegex(of_file["node"]["origin"], r"^/.*:\d+$")
        self.assertEqual(of_file["peers[2].name"]["value"], "n3")
        self.assertEqual(of_file["actuator.exposure.include"]["value"], "health,raft,locks,env")
        self.assertEqual(defaults["raft.snapshot_bytes"], {"value": "16777216"})
        one = node.json("/actuator/env/service.actuator_port")[1]
        self.assertEqual(one["property"], {"source": "file", "value": str(node.actuator_port)})
        self.assertEqual(one["propertySources"][2]["property"], {"value": "8080"})
        self.assertEqual(node.http("/actuator/env/none")[0], 404)

    def test_counts_of_locks_without_names(self):
        leader = self.region.leader()
        wait_for("all counts", lambda: set(leader.json("/actuator/locks")[1]) ==
                 {"held", "waiters", "sessions", "records", "contention"}, 20)
        granted = leader.client.acquire("a/secret/name", "somebody")
        for node in self.region.nodes:
            wait_for("the hold is counted on all nodes",
                     lambda: node.json("/actuator/locks")[1].get("held", 0) >= 1, 20)
            self.assertNotIn("secret", node.http("/actuator/locks")[2])
        leader.client.release("a/secret/name", "somebody", granted.hold_id)

    def queues(self, node):
        return node.json("/actuator/locks")[1].get("contention", {})

    def test_the_longest_queues_without_names(self):
        leader = self.region.leader()
        granted = [leader.client.acquire("a/secret/%d" % i, "holder") for i in range(2)]
        waits = [leader.client.acquire_later("a/secret/%d" % (i > 0), "w%d" % i, wait_ms=20000)
                 for i in range(3)]
        for node in self.region.nodes:
            queues = wait_for("both queues on all nodes", lambda: self.queues(node) if
                              len(self.queues(node).get("mostWaiters", ())) == 2 and
                              self.queues(node)["mostWaiters"][0]["waiters"] == 2 else None, 20)
            self.assertEqual([queue["waiters"] for queue in queues["mostWaiters"]], [2, 1])
            self.assertEqual(len(queues["longestWaits"]), 2)
            for queue in queues["mostWaiters"] + queues["longestWaits"]:
                self.assertEqual(set(queue), {"waiters", "holders", "longestWaitMs"})
                self.assertEqual(queue["holders"], 1)
                self.assertLess(queue["longestWaitMs"], 40000)
            self.assertNotIn("secret", node.http("/actuator/locks")[2])
        for i, one in enumerate(granted):
            leader.client.release("a/secret/%d" % i, "holder", one.hold_id)
        for i, wait in enumerate(waits[:2]):
            leader.client.release("a/secret/%d" % i, "w%d" % i, wait.result().hold_id)
        leader.client.release("a/secret/1", "w2", waits[2].result().hold_id)
        for node in self.region.nodes:
            wait_for("no queue on any node",
                     lambda: self.queues(node) == {"mostWaiters": [], "longestWaits": []}, 20)


class Named(ClusterCase):
    """A node that tells names of locks, because it was asked to."""

    N_NODES = 1
    SETTINGS = {"actuator": {"exposure": {"include": ["locks"]}, "lock_names": "shown"}}

    def test_a_queue_has_its_name(self):
        node = self.region.node(1)
        granted = node.client.acquire("a/name", "holder")
        wait = node.client.acquire_later("a/name", "waiter", wait_ms=20000)
        queues = wait_for("the queue", lambda: node.json("/actuator/locks")[1]
                          .get("contention", {}).get("longestWaits"), 20)
        self.assertEqual([(queue["name"], queue["waiters"]) for queue in queues], [("a/name", 1)])
        node.client.release("a/name", "holder", granted.hold_id)
        node.client.release("a/name", "waiter", wait.result().hold_id)


class Threads(ClusterCase):
    """Stacks of a node that works meanwhile."""

    N_NODES = 1
    SETTINGS = {"actuator": {"exposure": {"include": ["health", "prometheus", "threaddump"]}}}

    def setUp(self):
        self.node = self.region.node(1)
        wait_for("processes", lambda: self.node.http("/actuator/threaddump")[0] == 200, 20)

    def fresh(self):
        """A dump that was taken after this call."""
        time.sleep(1.1)
        return self.node.json("/actuator/threaddump")[1]["threads"]

    def test_every_process_shows_its_threads(self):
        pids = {"node": self.node.process.pid} if HOST == "threads" else \
            dict(self.node.actor_pids(), supervisor=self.node.process.pid)
        threads = self.fresh()
        self.assertEqual({one["process"]: one["processId"] for one in threads}, pids)
        for one in threads:
            self.assertIn(one["threadState"], ("RUNNABLE", "WAITING", "BLOCKED"))
            self.assertTrue(one["threadName"])
            self.assertEqual(one["daemon"], one["threadId"] != one["processId"])
            self.assertNotEqual(bool(one["stackTrace"]), "stackMissing" in one, one)
            for frame in one["stackTrace"]:
                self.assertTrue(frame["methodName"] and frame["nativeMethod"])
                self.assertEqual(frame["lineNumber"], -2)
        for one in threads:
            if not one["daemon"]:
                files = {frame["fileName"] for frame in one["stackTrace"]}
                self.assertTrue(any(name.startswith("lockmgr") for name in files), one)
        functions = {frame["methodName"] for one in threads for frame in one["stackTrace"]}
        self.assertLessEqual({"poll", "epoll_wait"}, functions)

    def test_what_must_not_be_interrupted_is_not_asked(self):
        disks = [one for one in self.fresh() if one["threadName"] == "disk"]
        self.assertTrue(disks)
        for one in disks:
            self.assertEqual(one["stackMissing"], "it takes no signals")

    def test_text(self):
        _, headers, text = self.node.http("/actuator/threaddump", headers={"Accept": "text/plain"})
        self.assertEqual(headers["Content-Type"], "text/plain;charset=UTF-8")
        self.assertRegex(text, r'(?m)^"[^"]+" #\d+ prio=-?\d+ process=\w+ pid=\d+$')
        self.assertRegex(text, r"(?m)^\tat poll\(\S+\+0x[0-9a-f]+\)$")

    def test_calls_go_on_while_stacks_are_taken(self):
        before = self.node.metric("lockmgr_raft_term")
        pids = None if HOST == "threads" else self.node.actor_pids()
        stop, slowest, failures = threading.Event(), [0], []

        def work():
            while not stop.is_set():
                began = time.monotonic()
                try:
                    granted = self.node.client.acquire("dumped", "worker")
                    self.node.client.release("dumped", "worker", granted.hold_id)
                except Exception as error:  # pylint: disable=broad-except
                    failures.append(error)
                slowest[0] = max(slowest[0], time.monotonic() - began)

        worker = threading.Thread(target=work)
        worker.start()
        dumps = [self.fresh() for _ in range(4)]
        stop.set()
        worker.join()
        print("slowest acquire and release meanwhile: %.1f ms" % (slowest[0] * 1000))
        self.assertEqual(failures, [])
        self.assertTrue(all(len(dump) > 5 for dump in dumps))
        self.assertEqual(self.node.metric("lockmgr_raft_term"), before)
        if pids:
            self.assertEqual(self.node.actor_pids(), pids)

    @needs_processes
    def test_a_stopped_actor_is_named_as_such(self):
        time.sleep(1.1)
        pid = self.node.actor_pids()["gateway"]
        os.kill(pid, signal.SIGSTOP)
        try:
            threads = self.node.json("/actuator/threaddump")[1]["threads"]
        finally:
            os.kill(pid, signal.SIGCONT)
        main, = (one for one in threads if one["threadId"] == pid)
        self.assertEqual((main["threadState"], main["stackMissing"]),
                         ("BLOCKED", "it did not answer in time"))
        wait_for("the gateway", lambda: self.node.http("/readyz")[0] == 200, 20)


class Exposition(ClusterCase):
    """Of three nodes and a region that cannot be reached, so that all metrics are there."""

    N_NODES = 3
    SETTINGS = {"region": {"peers": [{"region_id": "elsewhere", "host": "127.0.0.1", "port": 1}]}}

    def expositions(self):
        return [node.http("/actuator/prometheus")[2] for node in self.region.nodes]

    def test_promtool_finds_nothing(self):
        for text in self.expositions():
            self.assertEqual(promtool("check", "metrics", text=text), (0, "", ""))

    def test_labels_are_bounded(self):
        """Names of locks and owners, however many, add nothing."""
        node = self.region.leader()
        before = None
        for round_of in range(2):
            for i in range(50):
                node.client.acquire("bounded/%d/%d" % (round_of, i), "owner-%d" % i)
            time.sleep(2.5)
            text = node.http("/actuator/prometheus")[2]
            self.assertNotIn("bounded/", text)
            self.assertNotIn("owner-", text)
            series = {line.rsplit(" ", 1)[0] for line in text.splitlines() if line[0] != "#"}
            if before is not None:
                self.assertLess(len(series - before), 5, series - before)
            before = series
        keys = set(re.findall(r'[{,](\w+)="', text))
        self.assertLessEqual(keys, {"actor", "peer", "region", "mode", "result", "reason", "le",
                                    "version", "commit", "grpc_type", "grpc_service",
                                    "grpc_method", "grpc_code"})
        self.assertLess(len(series), 1500)

    def test_peers_are_components(self):
        node = self.region.node(1)
        wait_for("links to both", lambda: node.json("/actuator/health/raft/peers")[1]["status"]
                 == "UP", 20)
        page = node.json("/actuator/health/raft/peers")[1]
        self.assertEqual(set(page["components"]), {"n2", "n3"})
        self.assertEqual(node.json("/actuator/health/raft/peers/n3"), (200, {"status": "UP"}))
        self.assertEqual(node.json("/actuator/health/region/elsewhere"),
                         (200, {"status": "UNKNOWN"}))


class WithoutQuorum(ClusterCase):
    def test_root_and_liveness_stay_up(self):
        with Region(3) as region:
            region.wait_serving()
            node = region.node(1)
            region.kill_node(2)
            region.kill_node(3)
            wait_for("loss of the leader", lambda: node.metric("lockmgr_raft_has_leader") == 0, 30)
            for path in ("/actuator/health", "/actuator/health/liveness", "/livez"):
                status, page = node.json(path)
                self.assertEqual((status, page["status"]), (200, "UP"), path)
            self.assertEqual(node.json("/actuator/health/raft")[1]["status"], "UNKNOWN")
            self.assertEqual(node.http("/actuator/prometheus")[0], 200)
            wait_for("both links to be down",
                     lambda: node.metric("lockmgr_peer_link_up") == 0, 30)
            self.assertEqual(node.json("/actuator/health/raft/peers/n2")[1]["status"], "UNKNOWN")


class Hostile(ClusterCase):
    """A well-behaved visitor is served throughout, and no actor dies."""

    N_NODES = 1

    def setUp(self):
        self.node = self.region.node(1)
        self.pids = self.node.actor_pids()

    def tearDown(self):
        self.assertEqual(self.node.http("/livez")[0], 200)
        self.assertEqual(self.node.actor_pids(), self.pids, "an actor has died")

    def visit(self, request, seconds=15, source="127.0.0.2"):
        """All that comes back for these bytes."""
        with socket.create_connection(("127.0.0.1", self.node.actuator_port), timeout=seconds,
                                      source_address=(source, 0)) as one:
            try:
                one.sendall(request)
                one.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: one.recv(65536), b""))
            except OSError:  # cut off in the middle
                return b""

    def test_methods(self):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get",
                       "X" * 1000):
            for path, code in (("/actuator/health", b" 405 "), ("/none", b" 404 ")):
                answer = self.visit(b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                                    % (method.encode(), path.encode()))
                self.assertIn(code, answer.split(b"\r\n")[0], (method[:10], path))

    def test_paths(self):
        for path in ("/" + "a" * 8000, "/" + "a" * 100000, "/actuator/health/" + "raft/" * 1000,
                     "/actuator/metrics/" + "%41" * 2000, "/actuator/../../etc/passwd", "/%00",
                     "/actuator/health/%ff%fe", "//actuator", "/actuator/health%2fraft/%2e%2e",
                     "/actuator/metrics/x?" + "tag=a:b&" * 1000, "*", "http://elsewhere/", "",
                     "/actuator/prometheus?includedNames=" + "," * 5000):
            answer = self.visit(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                                % path.encode())
            first = answer.split(b"\r\n")[0]
            if answer:
                self.assertRegex(first, rb"^HTTP/1\.[01] (200|400|404|413|414|431|501|505) ", path[:60])
            self.assertNotIn(b"root:", answer)

    def test_heads_and_bodies(self):
        head = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
        for request in (head + b"X: " + b"y" * 100000 + b"\r\n\r\n", head + b"X: y\r\n" * 20000,
                        head + b"Content-Length: 99999999999\r\n\r\nx", b"\x16\x03\x01" * 100,
                        head + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\nx",
                        head + b"Content-Length: -1\r\n\r\n", b"\0" * 5000, b"GET\r\n\r\n"):
            self.visit(request)
        short = head + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello"
        self.assertIn(b" 200 OK", self.visit(short))

    def test_an_endless_body_is_cut_off(self):
        with socket.create_connection(("127.0.0.1", self.node.actuator_port), timeout=10) as one:
            one.sendall(b"POST /actuator/health HTTP/1.1\r\nHost: x\r\n"
                        b"Content-Length: 100000000\r\n\r\n")
            sent = 0
            with self.assertRaises(OSError):
                while sent < 50 << 20:
                    sent += one.send(b"x" * 65536)
        self.assertLess(sent, 20 << 20)

    def test_many_connections(self):
        """One address may fill its share; others are served, fast, all the while."""
        crowd = []
        for _ in range(150):
            one = socket.socket()
            one.settimeout(2)
            one.bind(("127.0.0.2", 0))
            try:
                one.connect(("127.0.0.1", self.node.actuator_port))
                one.sendall(b"GET /livez HTTP/1.1\r\nHo")
            except OSError:
                pass
            crowd.append(one)
        try:
            slowest = 0
            for _ in range(20):
                began = time.monotonic()
                self.assertEqual(self.node.http("/actuator/health/liveness")[0], 200)
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.05)
            print("slowest answer beside 150 hanging connections: %.1f ms" % (slowest * 1000))
            self.assertLess(slowest, 3)
        finally:
            for one in crowd:
                one.close()
        wait_for("the crowd's address is served again",
                 lambda: b" 200 OK" in self.visit(b"GET /livez HTTP/1.0\r\n\r\n"), 20)

    def test_a_flood_of_requests(self):
        stop, failures = time.monotonic() + 3, []

        def flood():
            while time.monotonic() < stop:
                self.visit(b"GET /actuator/prometheus HTTP/1.1\r\nHost: x\r\n\r\n" * 20, 10)

        threads = [threading.Thread(target=flood) for _ in range(4)]
        for one in threads:
            one.start()
        while time.monotonic() < stop:
            if self.node.http("/livez", timeout=5)[0] != 200:
                failures.append(time.monotonic())
            self.node.client.status()
            time.sleep(0.1)
        for one in threads:
            one.join()
        self.assertEqual(failures, [])


if __name__ == "__main__":
    main()
