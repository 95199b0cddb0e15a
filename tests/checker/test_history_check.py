#!/usr/bin/python3
"""Histories written by hand: legal ones that look wrong, and wrong ones with the check that must
object; then the command line, the reader and the recorder."""

import contextlib
import io
import json
import os
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import history_check
from history_dsl import (MS, acquire, cancel, denied, final, granted, listing, released, renewed)
from history_generator import generate
from history_model import HistoryError, from_dicts
from recorder import Recorder

SHARED = {"mode": "shared"}


class Legal(unittest.TestCase):
    def clean(self, *rows):
        self.assertEqual([], history_check.check(rows))

    def test_one_after_the_other(self):
        self.clean(granted("a", 0, 10, 5), released("a", 20, 30, 5),
                   granted("b", 40, 50, 6), released("b", 60, 70, 6))

    def test_release_and_next_acquire_at_the_same_time(self):
        self.clean(granted("a", 0, 10, 5), released("a", 20, 90, 5), granted("b", 15, 80, 6))

    def test_wait_then_grant_counts_from_the_grant(self):
        self.clean(granted("a", 0, 10, 5), granted("b", 5, 3010, 6, lease_remaining_ms=5000),
                   released("a", 3000, 3020, 5), renewed("b", 3500, 3510, 6))

    def test_wait_longer_than_the_ttl_is_no_belief(self):
        self.clean(granted("a", 0, 10, 5, ttl_ms=1000, lease_remaining_ms=1000),
                   granted("b", 5, 2000, 6, ttl_ms=1000, lease_remaining_ms=1000),
                   granted("c", 6, 3100, 7, ttl_ms=1000, lease_remaining_ms=1000))

    def test_expiry_then_next_grant(self):
        self.clean(granted("a", 0, 10, 5), granted("b", 20, 5010, 6), listing(5020, 5030, ("b", 6)))

    def test_unknown_acquire_took_effect_late(self):
        self.clean(acquire("a", 0, None, request_id="1"), granted("b", 10, 20, 5),
                   released("b", 30, 40, 5), listing(500, 510, ("a", 6)),
                   denied("c", 520, 530), listing(6000, 6010))

    def test_unknown_acquire_never_took_effect(self):
        self.clean(acquire("a", 0, 50), granted("b", 60, 70, 5), final(80, 90, ("b", 5)))

    def test_unknown_acquire_explains_a_refusal(self):
        self.clean(acquire("a", 0, None), denied("b", 100, 110), denied("b", 200, 210))

    def test_unknown_release_may_have_ended_it(self):
        self.clean(granted("a", 0, 10, 5), released("a", 20, None, 5, "info"),
                   granted("b", 40, 50, 6), final(60, 70, ("b", 6)))

    def test_unknown_release_may_not_have_ended_it(self):
        self.clean(granted("a", 0, 10, 5), released("a", 20, None, 5, "info"),
                   denied("b", 40, 50), final(60, 70, ("a", 5)))

    def test_release_repeated_under_its_id(self):
        self.clean(granted("a", 0, 10, 5), released("a", 20, None, 5, "info", request_id="r"),
                   granted("b", 40, 50, 6), released("a", 60, 70, 5, request_id="r"))

    def test_reader_that_came_again_repeats_the_request_of_its_former_part(self):
        old = {"request_id": "1", "hold_id": "5-0", **SHARED}
        new = {"request_id": "2", "hold_id": "7-0", **SHARED}
        self.clean(granted("b", 0, 5, 5, **SHARED), granted("a", 10, 20, 5, **old),
                   released("a", 30, 40, 5, hold_id="5-0"), granted("a", 50, 60, 5, **new),
                   denied("a", 70, 80, "ended", token=5, request_id="1", **SHARED))

    def test_s3_shared_group_has_one_token(self):
        self.clean(granted("a", 0, 10, 5, **SHARED), granted("b", 20, 30, 5, **SHARED),
                   released("a", 40, 50, 5), granted("a", 60, 70, 5, **SHARED),
                   released("b", 80, 90, 5), released("a", 100, 110, 5),
                   granted("c", 120, 130, 9))

    def test_s3_writer_waits_for_all_readers(self):
        self.clean(granted("a", 0, 10, 5, **SHARED), granted("b", 20, 30, 5, **SHARED),
                   granted("c", 35, 120, 7), released("a", 40, 50, 5), released("b", 100, 110, 5))

    def test_s6_repeat_returns_what_is_left_of_the_lease(self):
        self.clean(acquire("a", 0, None, request_id="1"),
                   granted("a", 3000, 3010, 5, request_id="1", lease_remaining_ms=2000),
                   granted("b", 3020, 5050, 6))

    def test_s6_repeat_hears_that_the_hold_has_ended(self):
        self.clean(acquire("a", 0, None, request_id="1"), granted("b", 10, 5100, 6),
                   denied("a", 5200, 5210, "ended", request_id="1", token=5))

    def test_s7_renewals_keep_the_hold(self):
        self.clean(granted("a", 0, 10, 5), renewed("a", 4000, 4010, 5),
                   renewed("a", 8000, 8010, 5), denied("b", 12900, 12910),
                   granted("b", 12920, 13010, 6))

    def test_s8_lease_may_last_longer_after_a_change_of_leader(self):
        self.clean(granted("a", 0, 10, 5), listing(7000, 7010, ("a", 5)),
                   denied("b", 7020, 7030), granted("b", 9000, 9010, 6))

    def test_s10a_abandoned_grant_is_seen_and_then_made_again(self):
        self.clean(acquire("a", 0, None, request_id="1"), listing(100, 110, ("a", 5)),
                   granted("a", 400, 410, 7, request_id="1"))

    def test_s10d_cancel_of_a_granted_request(self):
        self.clean(acquire("a", 0, None, request_id="1"),
                   cancel("a", 50, 60, "granted", request_id="1", token=5,
                          lease_remaining_ms=4950), released("a", 70, 80, 5),
                   granted("b", 90, 100, 6))

    def test_s11b_hold_is_given_back_and_the_old_release_is_void(self):
        self.clean(granted("a", 0, 10, 5, hold_id="5.1"),
                   released("a", 20, None, 5, "info", hold_id="5.1"),
                   granted("a", 30, 40, 5, hold_id="5.2", lease_remaining_ms=4970),
                   denied("b", 1000, 1010), final(2000, 2010, ("a", 5)))

    def test_failed_attempt_then_success_under_one_id(self):
        self.clean(acquire("a", 0, 10, "fail", request_id="1"),
                   granted("a", 20, 30, 5, request_id="1"), final(40, 50, ("a", 5)))

    def test_refusal_repeated_after_the_name_is_free(self):
        self.clean(granted("b", 0, 10, 5), acquire("a", 20, None, request_id="1"),
                   released("b", 30, 40, 5), denied("a", 100, 110, request_id="1"))

    def test_names_have_nothing_to_do_with_each_other(self):
        self.clean(granted("a", 0, 10, 9), granted("b", 20, 30, 5, name="l/2"))

    def test_s1_op_seq_of_a_repeat_is_that_of_its_request(self):
        self.clean(acquire("a", 0, None, request_id="1"),
                   granted("b", 10, 20, 6, name="l/2", op_seq=6),
                   granted("a", 1000, 1010, 5, request_id="1", op_seq=5,
                           lease_remaining_ms=4000))

    def test_numbers_may_be_decimal_strings(self):
        self.clean(granted("a", 0, 10, "9007199254740993", op_seq="7"),
                   listing(20, 30, ("a", "9007199254740993")))


class Planted(unittest.TestCase):
    def finds(self, check, kind, *rows):
        found = history_check.check(rows)
        pairs = {(violation.check, violation.kind) for violation in found}
        self.assertIn((check, kind), pairs, found)
        self.assertTrue(all(violation.lines for violation in found))

    def test_two_writers(self):
        self.finds("mutual_exclusion", "overlapping_beliefs",
                   granted("a", 0, 10, 5), granted("b", 20, 30, 6))

    def test_reader_beside_writer(self):
        self.finds("mutual_exclusion", "overlapping_beliefs",
                   granted("a", 0, 10, 5), granted("b", 20, 30, 6, **SHARED))

    def test_writer_beside_reader(self):
        self.finds("mutual_exclusion", "overlapping_beliefs", granted("a", 0, 10, 5, **SHARED),
                   granted("c", 12, 14, 5, **SHARED), granted("b", 20, 30, 6))

    def test_s7_old_leader_renews(self):
        self.finds("mutual_exclusion", "overlapping_beliefs", granted("a", 0, 10, 5),
                   renewed("a", 4900, 4910, 5), granted("b", 5000, 5010, 6))

    def test_s6_repeat_promises_a_full_lease(self):
        self.finds("mutual_exclusion", "overlapping_beliefs",
                   acquire("a", 0, None, request_id="1"),
                   granted("a", 4000, 4010, 5, request_id="1"), granted("b", 4020, 5100, 6))

    def test_s11b_late_release_kills_the_hold_that_was_given_back(self):
        rows = (granted("a", 0, 10, 5, hold_id="5.1"),
                released("a", 20, None, 5, "info", hold_id="5.1"),
                granted("a", 30, 40, 5, hold_id="5.2", lease_remaining_ms=4970),
                granted("b", 100, 110, 6))
        self.finds("mutual_exclusion", "overlapping_beliefs", *rows)
        self.finds("walk", "early_end", *rows)

    def test_s1_two_owners_of_one_token(self):
        self.finds("tokens", "two_owners", granted("a", 0, 10, 5), released("a", 20, 30, 5),
                   granted("b", 40, 50, 5))

    def test_s5_token_goes_back(self):
        self.finds("tokens", "not_above_other_owner", granted("a", 0, 10, 8),
                   granted("b", 6000, 6010, 7))

    def test_s3_writer_gets_the_token_of_the_readers(self):
        self.finds("tokens", "not_above_other_owner", granted("a", 0, 10, 5, **SHARED),
                   released("a", 20, 30, 5), granted("b", 40, 50, 5))

    def test_released_token_is_used_again(self):
        self.finds("tokens", "not_above_released", granted("a", 0, 10, 5),
                   released("a", 20, 30, 5), granted("a", 40, 50, 5))

    def test_token_of_one_owner_goes_back(self):
        self.finds("tokens", "regress", granted("a", 0, 10, 8, **SHARED),
                   granted("a", 6000, 6010, 7, **SHARED))

    def test_token_names_another_owner_in_a_get(self):
        self.finds("tokens", "two_owners", granted("a", 0, 10, 5), acquire("b", 0, None),
                   listing(20, 30, ("b", 5)))

    def test_expiry_before_its_time(self):
        self.finds("walk", "early_end", granted("a", 0, 10, 5), granted("b", 20, 4800, 6))

    def test_expiry_before_the_ttl_although_the_answer_said_less(self):
        self.finds("walk", "early_end", granted("a", 0, 10, 5, lease_remaining_ms=100),
                   granted("b", 20, 4800, 6))

    def test_grants_in_wrong_order(self):
        self.finds("walk", "order", granted("a", 100, 110, 5), released("a", 120, 130, 5),
                   granted("b", 0, 10, 6), released("b", 20, 30, 6))

    def test_hold_outlives_its_release(self):
        self.finds("walk", "alive_after_end", granted("a", 0, 10, 5), released("a", 20, 30, 5),
                   listing(40, 50, ("a", 5)))

    def test_reader_outlives_its_release(self):
        self.finds("walk", "alive_after_end", granted("a", 0, 10, 5, **SHARED),
                   granted("b", 0, 10, 5, **SHARED), released("a", 20, 30, 5),
                   listing(40, 50, ("a", 5, "shared"), ("b", 5, "shared")))

    def test_s22_stale_read(self):
        self.finds("walk", "order", granted("a", 0, 10, 5), released("a", 20, None, 5, "info"),
                   granted("b", 40, 50, 6), listing(60, 70, ("a", 5)))

    def test_free_inside_a_hold(self):
        self.finds("walk", "free_while_held", granted("a", 0, 10, 5), listing(20, 30))

    def test_free_with_a_last_token_that_was_not_the_last(self):
        self.finds("walk", "stale_free", acquire("c", 0, None), listing(0, 5, ("c", 4)),
                   granted("a", 10, 20, 5, ttl_ms=0, lease_remaining_ms=10),
                   listing(30, 40, last_token=4))

    def test_refused_although_nobody_holds_it(self):
        self.finds("walk", "held_by_nobody", granted("a", 0, 10, 5), released("a", 20, 30, 5),
                   denied("b", 40, 50))

    def test_timed_out_although_nobody_holds_it(self):
        self.finds("walk", "held_by_nobody", denied("b", 40, 540, "timed_out", wait_ms=500))

    def test_failed_release_took_effect(self):
        self.finds("walk", "early_end", granted("a", 0, 10, 5),
                   released("a", 20, 30, 5, "fail"), granted("b", 40, 50, 6))

    def test_reader_expires_before_its_time(self):
        self.finds("walk", "early_end", granted("a", 0, 10, 5, **SHARED),
                   granted("b", 2000, 2010, 5, **SHARED), granted("c", 20, 5500, 6))

    def test_grant_is_lost_at_the_end(self):
        self.finds("lost_grant", "missing_at_final_get", granted("a", 0, 10, 5), final(100, 110))

    def test_grant_is_replaced_at_the_end(self):
        self.finds("lost_grant", "missing_at_final_get", granted("a", 0, 10, 5),
                   acquire("a", 20, None), final(100, 110, ("a", 6)))

    def test_renewed_hold_is_lost(self):
        self.finds("lost_grant", "missing_at_final_get", granted("a", 0, 10, 5),
                   renewed("a", 4000, 4010, 5), final(8000, 8010))

    def test_one_of_two_readers_is_lost(self):
        self.finds("lost_grant", "missing_at_get", granted("a", 0, 10, 5, **SHARED),
                   granted("b", 20, 30, 5, **SHARED), listing(40, 50, ("b", 5, "shared")))

    def test_reader_hears_too_early_that_its_request_is_over(self):
        part = {"request_id": "1", "hold_id": "5-0", **SHARED}
        self.finds("lost_grant", "ended_too_early", granted("a", 0, 10, 5, **part),
                   denied("a", 20, 30, "ended", token=5, request_id="1", **SHARED))

    def test_renewal_hears_too_early_that_it_is_over(self):
        row = renewed("a", 100, 110, 5, result="ended", lease_remaining_ms=None)
        self.finds("lost_grant", "ended_too_early", granted("a", 0, 10, 5), row)

    def test_order_of_op_seq_against_time(self):
        self.finds("witness", "order_against_time", granted("a", 0, 10, 9, op_seq=9),
                   granted("b", 20, 30, 8, op_seq=8, name="l/2"))

    def test_failed_acquire_holds(self):
        self.finds("honesty", "failed_but_applied", acquire("a", 0, 10, "fail"),
                   listing(20, 30, ("a", 5)))

    def test_failed_acquire_holds_before_its_repeat_is_sent(self):
        self.finds("honesty", "failed_but_applied", acquire("a", 0, 10, "fail", request_id="1"),
                   listing(20, 30, ("a", 5)), granted("a", 40, 50, 5, request_id="1"))

    def test_failed_request_is_named_by_the_holder(self):
        get = listing(20, 30, ("a", 5))
        get["holders"][0]["request_id"] = "1"
        self.finds("honesty", "failed_but_applied", acquire("a", 0, 10, "fail", request_id="1"),
                   acquire("a", 12, None, request_id="2"), get)

    def test_holder_that_nobody_asked_for(self):
        self.finds("honesty", "unasked_hold", denied("a", 0, 10), listing(20, 30, ("a", 5)))

    def test_two_effects_of_one_request(self):
        self.finds("request_id", "two_effects", granted("a", 0, 10, 5, request_id="1"),
                   released("a", 20, 30, 5), granted("a", 40, 50, 6, request_id="1"))

    def test_s10d_cancelled_request_is_granted(self):
        self.finds("request_id", "granted_after_cancel",
                   cancel("a", 0, 10, "cancelled", request_id="1"),
                   granted("a", 20, 30, 5, request_id="1"))


class Reading(unittest.TestCase):
    def run_main(self, text, *options):
        out = io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "history.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = history_check.main([path, *options])
        return code, out.getvalue()

    @staticmethod
    def lines(*rows):
        return "".join(json.dumps(row) + "\n" for row in rows)

    def test_exit_codes(self):
        good = (granted("a", 0, 10, 5), {"event": "kill", "node": "n1", "at": 5}, final(20, 30,
                ("a", 5)))
        self.assertEqual(0, self.run_main(self.lines(*good))[0])
        code, text = self.run_main(self.lines(granted("a", 0, 10, 5), granted("b", 20, 30, 6)))
        self.assertEqual(1, code)
        self.assertIn("mutual_exclusion", text)
        self.assertIn("line 2: {", text)

    def test_json(self):
        code, text = self.run_main(self.lines(granted("a", 0, 10, 5), final(20, 30)), "--json")
        report = json.loads(text)
        self.assertEqual((1, 2), (code, report["operations"]))
        self.assertEqual([1, 2], report["found"][0]["lines"])

    def test_drift_is_taken_off_the_deadline(self):
        text = self.lines(granted("a", 0, 10, 5), granted("b", 20, 4960, 6))
        self.assertEqual(0, self.run_main(text)[0])
        self.assertEqual(1, self.run_main(text, "--drift-ms", "10")[0])

    def test_what_cannot_be_read_is_not_called_clean(self):
        good = self.lines(granted("a", 0, 10, 5))
        for bad in ("", "\n", "{", good + '{"op":"acqu', "[]\n", '{"event":"kill","at":1}\n',
                    self.lines(granted("a", 10, 0, 5)), self.lines(granted("a", 0, 10, None)),
                    self.lines({**granted("a", 0, 10, 5), "op": "steal"}),
                    self.lines({**granted("a", 0, 10, 5), "outcome": "maybe"}),
                    self.lines(granted("a", 0, 10, 1.5)),
                    self.lines(granted("a", 0, None, 5)),
                    self.lines(granted("", 0, 10, 5)),
                    self.lines(released("a", 0, 10, None))):
            self.assertEqual(2, self.run_main(bad)[0], bad)

    def test_missing_file(self):
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(2, history_check.main(["/nonexistent/history"]))

    def test_dicts_that_cannot_be_read(self):
        self.assertRaises(HistoryError, from_dicts, [{"op": "acquire"}])

    def test_speed(self):
        rows = generate(1, clients=32, names=20, seconds=200, kills=4)
        start = time.process_time()
        self.assertEqual([], history_check.check(rows))
        seconds = (time.process_time() - start) * 100_000 / len(rows)
        self.assertLess(seconds, 10, "seconds for 100,000 operations")


class Recording(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "history.jsonl")

    def rows(self):
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_every_line_is_there_at_once(self):
        with Recorder(self.path) as recorder:
            call = recorder.begin(proc=1, op="acquire", name="x", owner="a")
            self.assertEqual([], self.rows())
            recorder.end(call, "ok", result="granted", token=5, lease_remaining_ms=4990)
            recorder.event("kill", node="n1")
            rows = self.rows()
        self.assertEqual((5, "ok"), (rows[0]["token"], rows[0]["outcome"]))
        self.assertLessEqual(rows[0]["inv"], rows[0]["ret"])
        self.assertLessEqual(rows[0]["ret"], rows[1]["at"])

    def test_open_calls_end_as_unknown(self):
        recorder = Recorder(self.path)
        call = recorder.begin(proc=1, op="acquire", name="x", owner="a")
        recorder.close()
        recorder.end(call, "ok", result="granted", token=5)
        recorder.close()
        self.assertEqual([("info", None)], [(row["outcome"], row["ret"]) for row in self.rows()])

    def test_lines_of_threads_do_not_mix(self):
        recorder = Recorder(self.path)

        def work(number):
            for turn in range(200):
                call = recorder.begin(proc=number, op="get", name="l/%d" % number, owner="c")
                recorder.end(call, "ok" if turn % 3 else "info", result="free", holders=[])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.record(granted("a", 0, MS, 5))
        recorder.close()
        self.assertEqual(1601, len(self.rows()))
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(0, history_check.main([self.path]))


if __name__ == "__main__":
    unittest.main()
