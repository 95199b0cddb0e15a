"""deploy/: the alert rules and the dashboard, compared with what nodes really tell."""

import json
import os
import re
import tempfile
import unittest

from certs import Certs
from cluster_case import ClusterCase, main
from promtool import promtool
from region import ROOT, Region, wait_for

RULES = os.path.join(ROOT, "deploy", "prometheus", "lockmgr.rules.yaml")
UNIT_TESTS = os.path.join(ROOT, "deploy", "prometheus", "lockmgr.test.yaml")
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "lockmgr.json")
OPERATIONS = os.path.join(ROOT, "docs", "OPERATIONS.md")

# Words of PromQL that these expressions use; every other word is the name of a metric.
PROMQL = {"absent", "and", "by", "count", "delta", "floor", "histogram_quantile", "increase", "max",
          "offset", "on", "or", "rate", "sum", "time", "unless"}
# Labels that Prometheus adds when it scrapes.
OF_THE_TARGET = {"job", "instance"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rules():
    """(alert, expression) of every rule. Folded scalars of YAML are the only form of more lines."""
    found = []
    for part in re.split(r"^ +- alert: ", read(RULES), flags=re.M)[1:]:
        expr = re.search(r"^ +expr: (?:>-\n((?: {10,}.*\n)+)|(.*)\n)", part, re.M)
        found.append((part.split("\n")[0], " ".join((expr.group(1) or expr.group(2)).split())))
    return found


def dashboard_expressions():
    return [(panel["title"], target["expr"]) for panel in json.loads(read(DASHBOARD))["panels"]
            for target in panel.get("targets", ())]


def metrics_of(expr):
    """Name of each metric -> the labels that are asked of it."""
    found = {}
    bare = re.sub(r"\b(by|on) *\([^)]*\)", " ", expr)
    bare = re.sub(r"\[[^]]*\]|offset \w+", " ", bare)
    for name, matchers in re.findall(r"\b([a-zA-Z_]\w*)\b(\{[^}]*\})?", outside_quotes(bare)):
        if name not in PROMQL and not name.startswith("$"):
            found.setdefault(name, set()).update(re.findall(r"(\w+) *[=!]", matchers))
    return found


def outside_quotes(text):
    return re.sub(r'"[^"]*"', '""', text)


def grouped_by(expr):
    return {label.strip() for group in re.findall(r"\b(?:by|on) *\(([^)]*)\)", expr)
            for label in group.split(",")} - OF_THE_TARGET - {""}


class Files(unittest.TestCase):
    """What can be seen without a node."""

    def test_rules_are_well_formed(self):
        status, said, errors = promtool("check", "rules", RULES)
        self.assertEqual(status, 0, said + errors)
        self.assertIn("%d rules found" % len(rules()), said)

    def test_rules_fire_when_they_should(self):
        status, said, errors = promtool("test", "rules", UNIT_TESTS)
        self.assertEqual(status, 0, said + errors)

    def test_every_alert_has_a_case_in_which_it_fires(self):
        fires = re.findall(r"alertname: (\w+)\n +exp_alerts:\n", read(UNIT_TESTS))
        self.assertEqual(set(fires), {alert for alert, _ in rules()})

    def test_every_alert_says_what_to_do(self):
        told = re.findall(r"^\| `(Lockmgr\w+)` \|", read(OPERATIONS), re.M)
        self.assertEqual(sorted(told), sorted(alert for alert, _ in rules()))
        for alert, _ in rules():
            self.assertIn("runbook: docs/OPERATIONS.md, %s\n" % alert, read(RULES))

    def test_dashboard_is_promql(self):
        lines = ["groups:", "  - name: dashboard", "    rules:"]
        for i, (_, expr) in enumerate(dashboard_expressions()):
            plain = expr.replace("$__rate_interval", "5m")
            lines += ["      - record: panel:%d" % i, "        expr: %s" % json.dumps(plain)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            status, said, errors = promtool("check", "rules", file.name)
        self.assertEqual(status, 0, said + errors)

    def test_panels_have_places_of_their_own(self):
        page = json.loads(read(DASHBOARD))
        panels = page["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        variables = {one["name"] for one in page["templating"]["list"]} | {"__rate_interval"}
        used = set(re.findall(r"\$\{?(\w+)", read(DASHBOARD)))
        self.assertEqual(used - variables, set())


class Names(ClusterCase):
    """A region with TLS and another region that cannot be reached: every metric there is."""

    SETTINGS = {"region": {"peers": [{"region_id": "elsewhere", "host": "127.0.0.1", "port": 1}]}}

    @classmethod
    def setUpClass(cls):
        cls.certs = Certs()
        cls.region = Region(3, certs=cls.certs, settings=cls.SETTINGS)
        cls.wait_serving()
        leader = cls.region.leader()
        granted = leader.client.acquire("names", "a")
        leader.client.renew("names", "a", granted.hold_id)
        leader.client.release("names", "a", granted.hold_id)
        wait_for("figures of processes and calls", lambda: all(
            node.metric("process_open_fds") for node in cls.region.nodes) and
            leader.metric("grpc_server_handling_seconds_count", grpc_method="Release"))
        cls.told = {}
        for node in cls.region.nodes:
            for line in node.http("/actuator/prometheus")[2].splitlines():
                if line and line[0] != "#":
                    name = re.match(r"\w+", line).group()
                    labels = re.findall(r'[{,](\w+)="', line)
                    cls.told.setdefault(name, set()).update(labels)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.certs.close()

    def check(self, title, expr):
        names = metrics_of(expr)
        self.assertTrue(names, title)
        for name, labels in names.items():
            self.assertIn(name, self.told, "%s: no node tells this metric" % title)
            self.assertLessEqual(labels - OF_THE_TARGET, self.told[name], "%s: %s" % (title, name))
        known = set().union(*(self.told[name] for name in names))
        self.assertLessEqual(grouped_by(expr), known, title)

    def test_alerts_name_what_exists(self):
        for alert, expr in rules():
            self.check(alert, expr)

    def test_alerts_show_labels_that_exist(self):
        for part in re.split(r"^ +- alert: ", read(RULES), flags=re.M)[1:]:
            alert = part.split("\n")[0]
            shown = set(re.findall(r"\$labels\.(\w+)", part)) - OF_THE_TARGET
            names = metrics_of(dict(rules())[alert])
            self.assertLessEqual(shown, set().union(*(self.told[name] for name in names)), alert)

    def test_panels_name_what_exists(self):
        for title, expr in dashboard_expressions():
            self.check(title, expr)

    def test_the_check_finds_what_does_not_exist(self):
        for expr in ("lockmgr_raft_nothing == 0", 'lockmgr_raft_term{colour="red"}',
                     "sum by (colour) (lockmgr_raft_term)", "rate(process_nothing_total[5m])"):
            with self.assertRaises(AssertionError, msg=expr):
                self.check("planted", expr)


if __name__ == "__main__":
    main()
