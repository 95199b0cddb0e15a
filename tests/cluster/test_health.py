"""The health pages of real nodes in every state that they tell apart, each held against the schema in
docs/schema: serving, before the first leader, without a majority, about to stop, with a disk that
fails. Room tests have the states that cannot be brought about here: a full disk, a silent actor."""

import json
import os
import re
import signal

import jsonschema

from cluster_case import ClusterCase, main, needs_processes
from region import ROOT, Region, Trouble, wait_for

SCHEMA = os.path.join(ROOT, "docs", "schema", "actuator-health.schema.json")
PAGES = {"/actuator/health": "root", "/actuator/health/liveness": "liveness", "/livez": "liveness",
         "/actuator/health/readiness": "readiness", "/readyz": "readiness",
         "/actuator/health/raft": "raft"}
CODES = {"UP": 200, "UNKNOWN": 200, "DOWN": 503, "OUT_OF_SERVICE": 503}
V3 = "application/vnd.spring-boot.actuator.v3+json"

# What the root, liveness, readiness and raft say in each state.
SERVING = ("UP", "UP", "UP", "UP")
NO_LEADER_YET = ("UP", "UP", "OUT_OF_SERVICE", "UNKNOWN")
NO_MAJORITY = ("UP", "UP", "UP", "UNKNOWN")
STOPPING = ("UP", "UP", "OUT_OF_SERVICE", "UP")
BROKEN_DISK = ("DOWN", "DOWN", "DOWN", "DOWN")


def read_schema():
    with open(SCHEMA, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


class HealthCase(ClusterCase):
    SCHEMA = read_schema()

    def validate(self, page, kind):
        """Against one definition of the schema, and the order that a schema cannot ask for."""
        jsonschema.Draft202012Validator({**self.SCHEMA, "$ref": "#/$defs/" + kind}).validate(page)
        self.sorted_below(page)

    def sorted_below(self, page):
        inner = page.get("components", {})
        self.assertEqual(list(inner), sorted(inner))
        for one in inner.values():
            self.sorted_below(one)

    def look(self, node):
        """What the pages say, validated; with their codes as the statuses ask for them."""
        pages = {}
        for path, kind in PAGES.items():
            code, headers, body = node.http(path)
            page = pages[path] = json.loads(body)
            self.validate(page, kind)
            if kind != "raft":
                self.assertIn("components", page)
            self.assertEqual(code, CODES[page["status"]], (path, page))
            self.assertEqual(headers["Content-Type"], V3)
        return pages

    def expect(self, node, statuses, seconds=20):
        """Waits until all pages say so; returns them. Until then they are valid too."""
        wanted = dict(zip(("root", "liveness", "readiness", "raft"), statuses))

        def seen():
            pages = self.look(node)
            said = all(page["status"] == wanted[PAGES[path]] for path, page in pages.items())
            return said and {PAGES[path]: page for path, page in pages.items()}
        return wait_for("%s says %s" % (node.name, statuses), seen, seconds)

    def reason(self, pages, kind, component):
        return pages[kind]["components"][component]["details"]["reason"]


class States(HealthCase):
    def test_no_leader_yet_then_up_then_no_majority(self):
        with Region(3, start=False) as region:
            first = region.node(1)
            first.start()
            wait_for("the actuator", lambda: answers(first), 20)
            pages = self.expect(first, NO_LEADER_YET)
            self.assertIn("no leader", self.reason(pages, "readiness", "readinessState"))
            region.start()
            region.wait_serving()
            for node in region.nodes:
                pages = self.expect(node, SERVING)
                self.assertEqual(pages["raft"]["details"]["voters"], 3)
            region.kill_node(2)
            region.kill_node(3)
            pages = self.expect(first, NO_MAJORITY)
            self.assertEqual(pages["raft"]["details"]["leader"], "")

    def test_about_to_stop(self):
        with Region(1, settings={"stop_delay_ms": 4000}) as region:
            region.wait_serving()
            node = region.node(1)
            self.expect(node, SERVING)
            node.process.send_signal(signal.SIGTERM)
            pages = self.expect(node, STOPPING, 3)
            self.assertIn("stop", self.reason(pages, "readiness", "readinessState"))
            self.assertEqual(node.wait_exit(15), 0)

    @needs_processes
    def test_a_disk_that_fails(self):
        """A follower's directory gives way to one whose files cannot be opened: its vote at the next
        election cannot be written, and raft cannot begin anew. As threads the node ends with it, and
        nobody is left to ask."""
        with Region(3) as region:
            region.wait_serving()
            leader = region.leader()
            broken = region.followers()[0]
            self.expect(broken, SERVING)
            os.rename(broken.data_dir, broken.data_dir + ".gone")
            os.makedirs(broken.data_dir)
            for name in "identity", "metadata1", "metadata2":
                os.symlink(name, os.path.join(broken.data_dir, name))
            leader.kill()
            pages = self.expect(broken, BROKEN_DISK)
            self.assertIn("disk", self.reason(pages, "liveness", "livenessState"))
            self.excuse(broken)

    def excuse(self, broken):
        """Region fails for the ends of actors that were not meant: these were, and no others."""
        wait_for("its end is in the log", lambda: "raft ended" in broken.log(), 10)
        broken.kill()
        ends = [line for line in broken.log().splitlines() if re.search(r"exit status \d+", line)]
        for line in ends:
            self.assertRegex(line, r" raft ended: .* exit status 71\b")
        os.truncate(broken.log_path, 0)


class Schema(HealthCase):
    """That it refuses what it has to."""

    def test_what_is_no_page(self):
        state = {"status": "UP"}
        parts = {"diskSpace": {"status": "UNKNOWN"}, "livenessState": state, "raft": state,
                 "readinessState": state, "region": state}
        root = {"status": "UP", "components": parts, "groups": ["liveness", "readiness"]}
        self.validate(root, "root")
        self.validate({"status": "UP", "groups": ["liveness", "readiness"]}, "root")
        wrong = [("root", {**root, "status": "UNWELL"}), ("root", {**root, "more": 1}),
                 ("root", {**root, "groups": []}), ("root", {"status": "UP"}),
                 ("root", {**root, "components": {**parts, "more": state}}),
                 ("root", {**root, "components": {**parts, "raft": {"status": "OUT_OF_SERVICE"}}}),
                 ("liveness", {"status": "UP", "components": {"livenessState": state},
                               "groups": ["liveness"]}),
                 ("liveness", {"status": "OUT_OF_SERVICE"}),
                 ("readiness", {"status": "UP", "components": {"readinessState": state}}),
                 ("livenessState", {"status": "DOWN"}),
                 ("readinessState", {"status": "UP", "details": {"reason": "none"}}),
                 ("raft", {"status": "UP", "details": {"role": "leader"}})]
        for kind, page in wrong:
            with self.assertRaises(jsonschema.ValidationError, msg=(kind, page)):
                self.validate(page, kind)
        with self.assertRaises(AssertionError):
            self.validate({**root, "components": dict(reversed(parts.items()))}, "root")


def answers(node):
    if not node.runs():
        raise Trouble("%s has ended" % node.name)
    try:
        return node.http("/livez", timeout=2)
    except OSError:
        return None


if __name__ == "__main__":
    main()
