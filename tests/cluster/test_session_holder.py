"""Sessions by the C library and real regions: a session that holds many locks while leaders and
frontends are killed."""

import os
import subprocess
import time

from calls import HELD
from cluster_case import ClusterCase, main, needs_processes
from holder import Holder
from region import BIN, FULL, Region, clean_environment, wait_for

LOCKS = 100
KILLS = 20 if FULL else int(os.environ.get("LM_SESSION_KILLS", "2"))
TTL_MS = 8000


class Sessions(ClusterCase):
    N_NODES = 3

    def begin(self, prefix, ttl_ms=TTL_MS, way="thread", locks=LOCKS):
        holder = Holder(self.region.addresses(), prefix, locks, ttl_ms, way)
        self.addCleanup(holder.kill)
        return holder

    def tokens(self, prefix, client=None):
        """Name -> tokens of its holders, of the names that are numbered."""
        client = client or self.region.leader().client
        names = ["%s%d" % (prefix, i) for i in range(LOCKS)]
        return {name: [holder.token for holder in client.get(name).holders] for name in names}

    def judge(self, holder, prefix, before):
        self.assertEqual(self.tokens(prefix), before)
        code, report = holder.end()
        print(report, holder.seen(), flush=True)
        self.assertEqual((code, report["held"], report["losses"]), (0, LOCKS, 0), report)
        self.assertTrue(0 < report["gap_ms"] < TTL_MS, "between acknowledged keep-alives")
        self.assertEqual(report["failures"], 0, holder.errors)
        self.assertGreater(report["cycles"], 0)
        wait_for("nothing is held any more",
                 lambda: not any(self.tokens(prefix).values()), 10)

    @needs_processes
    def test_100_locks_survive_killed_leaders_and_frontends(self):
        for way in ("thread", "loop"):
            with self.subTest(way):
                prefix = "kills/%s/" % way
                holder = self.begin(prefix, way=way)
                holder.ready(90)
                before = self.tokens(prefix)
                self.assertTrue(all(len(one) == 1 for one in before.values()), before)
                for kill in range(KILLS):
                    leader = self.region.leader()
                    leader.kill()
                    self.region.leader(among=[n for n in self.region.nodes if n is not leader])
                    leader.start()
                    self.region.wait_serving()
                    self.region.nodes[kill % 3].kill_actor("frontend")
                    time.sleep(0.3)
                    self.region.wait_serving()
                time.sleep(TTL_MS / 2000)  # one keep-alive more, at least
                self.judge(holder, prefix, before)

    def test_nobody_else_gets_what_a_session_has_until_it_ends(self):
        holder = self.begin("ends/", ttl_ms=4000)
        holder.ready()
        client = self.region.leader().client
        self.assertEqual(client.acquire("ends/0", "other").result, HELD)
        holder.process.kill()
        begin = time.monotonic()
        self.assert_granted(client.acquire("ends/0", "other", timeout=20, wait_ms=15000))
        waited = time.monotonic() - begin
        print("granted %.1f s after the session's client was killed" % waited, flush=True)
        self.assertLess(waited, 12)

    def test_a_wait_at_a_node_that_falls_silent_goes_on_at_another(self):
        client = self.region.leader().client
        held = self.assert_granted(client.acquire("silent", "other", ttl_ms=60000))
        silent = self.region.followers()[0]
        others = [node for node in self.region.nodes if node is not silent]
        waiting = subprocess.Popen(
            [os.path.join(BIN, "lockctl"), "run", "silent", "--ttl", "6s", "--endpoints",
             ",".join(node.address for node in (silent, *others)), "--", "echo", "got it"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
        self.addCleanup(waiting.kill)
        wait_for("a waiter", lambda: client.get("silent").waiter_count == 1)
        silent.pause()
        try:
            time.sleep(4)  # a keep-alive has had no answer
            client.release("silent", "other", held.hold_id)
            self.assertEqual(waiting.communicate(timeout=20)[0], "got it\n")
        finally:
            silent.resume()
            waiting.communicate()
            self.region.wait_serving()
        self.assertEqual(waiting.returncode, 0)

    def test_a_region_that_goes_away_is_jeopardy_then_the_end(self):
        with Region(1) as region:
            region.wait_serving()
            holder = Holder(region.addresses(), "away/", 3, 4000)
            self.addCleanup(holder.kill)
            holder.ready()
            region.kill_node(1)
            holder.wait_line("jeopardy", 10)
            holder.wait_line("lost", 20)
            code, report = holder.end()
            self.assertEqual((code, report["held"]), (1, 0), report)


if __name__ == "__main__":
    main()
