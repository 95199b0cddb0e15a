"""Faults to plant into legal histories, each of a kind that a wrong server would cause.

FAULTS maps a name to (planter, check that must find it). A planter takes a history (a list of
objects that it may change) and a random source, and returns True when it found a place; what it
plants is then a violation for certain. The planters look at the plain objects only, so that they do
not share a mistake with the checker.
"""

MS = 1_000_000


def _new(op, name, owner, inv, ret, **fields):
    row = {"proc": 99, "op": op, "name": name, "owner": owner, "inv": inv, "ret": ret,
           "outcome": "ok"}
    row.update(fields)
    return row


def _listing(name, inv, ret, *holders):
    rows = [{"owner": owner, "token": token, "mode": mode} for owner, token, mode in holders]
    return _new("get", name, None, inv, ret, holders=rows, result="held" if rows else "free")


def _ops(rows, **wanted):
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def _grants(rows, mode=None):
    found = [row for row in _ops(rows, op="acquire", outcome="ok", result="granted")]
    return [row for row in found if mode in (None, row["mode"])]


def _quiet_end(rows, grant):
    """Until when the hold of this grant is certain, with room to spare; 0 when nothing is."""
    end = grant["inv"] + grant["lease_remaining_ms"] * MS * 95 // 100 - 60 * MS
    for row in rows:
        if row.get("op") == "release" and (row["owner"], row["name"]) == (grant["owner"],
                                                                           grant["name"]):
            if row["inv"] >= grant["inv"]:
                end = min(end, row["inv"])
            elif row["outcome"] == "info" or row["ret"] > grant["inv"]:
                return 0
    return end


def _quiet(rows, rng, mode=None, grants=None, least_ms=40):
    """A grant and a stretch (start, end) in which it is certainly held, or None."""
    grants = _grants(rows, mode) if grants is None else grants
    rng.shuffle(grants)
    for grant in grants:
        end = _quiet_end(rows, grant)
        if end - grant["ret"] > least_ms * MS:
            return grant, grant["ret"] + MS, end - MS
    return None


def _highest(rows):
    return max([row.get("token") or 0 for row in rows]
               + [one["token"] for row in rows for one in row.get("holders") or ()])


def _intrude(rows, rng, mode):
    place = _quiet(rows, rng, "exclusive")
    if place is None:
        return False
    grant, start, _ = place
    rows.append(_new("acquire", grant["name"], "intruder", start, start + 10 * MS, mode=mode,
                     result="granted", token=_highest(rows) + 1, ttl_ms=5000, request_id="x",
                     lease_remaining_ms=5000, hold_id="x.1"))
    return True


def double_grant(rows, rng):
    return _intrude(rows, rng, "exclusive")


def reader_beside_writer(rows, rng):
    return _intrude(rows, rng, "shared")


def _succession(rows, rng):
    """Two exclusive grants of one name, different owners, one answered before the other is sent."""
    grants = _grants(rows, "exclusive")
    rng.shuffle(grants)
    for later in grants:
        for earlier in grants:
            if (earlier["name"] == later["name"] and earlier["owner"] != later["owner"]
                    and earlier["ret"] < later["inv"]):
                return earlier, later
    return None


def _retoken(rows, name, old, new):
    for row in rows:
        if row.get("name") == name:
            for one in [row] + (row.get("holders") or []):
                if one.get("token") == old:
                    one["token"] = new


def token_regress(rows, rng):
    pair = _succession(rows, rng)
    if pair is None:
        return False
    smaller = pair[0]["token"] * 1000 - 1
    for row in rows:
        for one in [row] + (row.get("holders") or []):
            if one.get("token"):
                one["token"] *= 1000
    _retoken(rows, pair[1]["name"], pair[1]["token"], smaller)
    return True


def token_reused(rows, rng):
    pair = _succession(rows, rng)
    if pair is None:
        return False
    _retoken(rows, pair[1]["name"], pair[1]["token"], pair[0]["token"])
    return True


def lost_at_final_get(rows, rng):
    finals = _ops(rows, event="final_get")
    rng.shuffle(finals)
    for final in finals:
        for grant in _grants(rows):
            if (grant["name"] == final["name"] and grant["ret"] < final["inv"]
                    and _quiet_end(rows, grant) > final["ret"]):
                final["holders"] = [one for one in final["holders"]
                                    if one["owner"] != grant["owner"]]
                return True
    return False


def free_while_held(rows, rng):
    place = _quiet(rows, rng, "exclusive")
    if place is not None:
        rows.append(_listing(place[0]["name"], place[1], place[1] + 5 * MS))
    return place is not None


def reader_forgotten(rows, rng):
    place = _quiet(rows, rng, "shared")
    if place is None:
        return False
    grant, start, _ = place
    rows.append(_new("acquire", grant["name"], "reader", start, start + 2 * MS, mode="shared",
                     result="granted", token=grant["token"], ttl_ms=5000, request_id="x",
                     lease_remaining_ms=5000, hold_id="x.1"))
    rows.append(_listing(grant["name"], start + 10 * MS, start + 12 * MS,
                         ("reader", grant["token"], "shared")))
    return True


def ended_too_early(rows, rng):
    claims = {}
    for grant in _grants(rows):
        claims.setdefault((grant["owner"], grant["token"]), set()).add(grant["hold_id"])
    once = [grant for grant in _grants(rows) if len(claims[grant["owner"], grant["token"]]) == 1]
    place = _quiet(rows, rng, grants=once)
    if place is None:
        return False
    grant, start, _ = place
    rows.append(_new("renew", grant["name"], grant["owner"], start, start + 5 * MS,
                     token=grant["token"], hold_id=grant["hold_id"], result="ended"))
    return True


def _released(rows, rng):
    """An exclusive grant and its answered release, or None."""
    releases = _ops(rows, op="release", outcome="ok", result="released")
    rng.shuffle(releases)
    for release in releases:
        for grant in _grants(rows, "exclusive"):
            if grant["owner"] == release["owner"] and grant["hold_id"] == release["hold_id"]:
                return grant, release
    return None


def alive_after_release(rows, rng):
    place = _released(rows, rng)
    if place is None:
        return False
    grant, release = place
    at = release["ret"] + MS
    rows.append(_listing(grant["name"], at, at + MS, (grant["owner"], grant["token"],
                                                     "exclusive")))
    return True


def renewed_after_release(rows, rng):
    place = _released(rows, rng)
    if place is None:
        return False
    grant, release = place
    at = release["ret"] + MS
    rows.append(_new("renew", grant["name"], grant["owner"], at, at + MS, token=grant["token"],
                     hold_id=grant["hold_id"], result="renewed", lease_remaining_ms=1000))
    return True


def stale_read(rows, rng):
    pair = _succession(rows, rng)
    if pair is None:
        return False
    earlier, later = pair
    rows.append(_listing(later["name"], later["ret"] + MS, later["ret"] + 2 * MS,
                         (earlier["owner"], earlier["token"], "exclusive")))
    return True


def stale_renewal(rows, rng):
    """An old leader acknowledges a renewal although somebody else has the name."""
    pair = _succession(rows, rng)
    if pair is None:
        return False
    earlier, later = pair
    rows.append(_new("renew", later["name"], earlier["owner"], later["ret"] + MS,
                     later["ret"] + 2 * MS, token=earlier["token"], hold_id=earlier["hold_id"],
                     result="renewed", lease_remaining_ms=5000))
    return True


def expired_too_early(rows, rng):
    """The answer had promised more than the time after which the next owner was served."""
    grants = sorted(_grants(rows, "exclusive"), key=lambda row: row["token"])
    for earlier in grants:
        for later in grants:
            if (later["name"] != earlier["name"] or later["token"] <= earlier["token"]
                    or later["owner"] == earlier["owner"]):
                continue
            gone = [row for row in _ops(rows, op="release", name=earlier["name"],
                                        owner=earlier["owner"]) if row["inv"] < later["ret"]]
            if not gone and earlier["inv"] < later["ret"]:
                needed_ms = (later["ret"] - earlier["inv"]) // MS
                earlier["lease_remaining_ms"] = needed_ms * 11 // 10 + 200
                return True
    return False


def failed_release_applied(rows, rng):
    """A release that "failed", and yet the next owner is served before the lease is over."""
    del rng
    for grant in _grants(rows, "exclusive"):
        ends = [row for row in _ops(rows, op="release", name=grant["name"], owner=grant["owner"])
                if row["inv"] >= grant["inv"] and row.get("hold_id") == grant["hold_id"]]
        if len(ends) != 1 or ends[0]["outcome"] != "ok" or _quiet_end(rows, grant) == 0:
            continue
        floor = grant["inv"] + grant["lease_remaining_ms"] * MS * 95 // 100
        again = [row for row in _ops(rows, op="acquire", name=grant["name"],
                                     owner=grant["owner"]) if row["inv"] > grant["inv"]]
        for row in _grants(rows):
            if (row["name"] == grant["name"] and row["token"] > grant["token"] and not again
                    and row["owner"] != grant["owner"] and row["ret"] < floor):
                ends[0].update(outcome="fail", result="unavailable")
                return True
    return False


def refused_for_nothing(rows, rng):
    del rng
    rows.append(_new("acquire", "l/0", "early", 500 * MS, 501 * MS, mode="exclusive",
                     result="held", wait_ms=0, request_id="x"))
    return True


def failed_acquire_applied(rows, rng):
    at = max(row["ret"] or 0 for row in _ops(rows, event="final_get")) + 400_000 * MS
    name = "l/%d" % rng.randrange(3)
    rows.append(_new("acquire", name, "unlucky", at, at + MS, mode="exclusive", ttl_ms=5000,
                     outcome="fail", request_id="x"))
    rows.append(_listing(name, at + 2 * MS, at + 3 * MS,
                         ("unlucky", _highest(rows) + 1, "exclusive")))
    return True


def holder_from_nowhere(rows, rng):
    at = max(row["ret"] or 0 for row in _ops(rows, event="final_get")) + 400_000 * MS
    rows.append(_listing("l/%d" % rng.randrange(3), at, at + MS,
                         ("ghost", _highest(rows) + 1, "exclusive")))
    return True


def two_effects(rows, rng):
    grant = rng.choice(_grants(rows) or [None])
    if grant is None:
        return False
    at = max(row["ret"] or 0 for row in rows if "op" in row) + 10 * MS
    rows.append(dict(grant, inv=at, ret=at + MS, token=_highest(rows) + 1, hold_id="x.1"))
    return True


def granted_after_cancel(rows, rng):
    grant = rng.choice(_grants(rows) or [None])
    if grant is None:
        return False
    at = grant["inv"] - 5 * MS
    rows.append(_new("cancel", grant["name"], grant["owner"], at, at + MS, result="cancelled",
                     request_id=grant["request_id"]))
    return True


def order_against_time(rows, rng):
    """Two commands that followed each other in real time change places."""
    ops = [row for row in rows if row.get("op") in ("release", "renew", "acquire")
           and row["outcome"] == "ok" and row.get("op_seq")]
    ids = [(row["op"], row["owner"], row.get("request_id")) for row in ops]
    ops = [row for row in ops
           if ids.count((row["op"], row["owner"], row.get("request_id"))) == 1
           and not any(other.get("request_id") == row.get("request_id") and other is not row
                       and other.get("owner") == row["owner"] for other in rows)]
    seqs = [row["op_seq"] for row in rows if row.get("op_seq") and row.get("op") != "get"]
    ops = [row for row in ops if seqs.count(row["op_seq"]) == 1]
    rng.shuffle(ops)
    for first in ops:
        for second in ops:
            if first["ret"] < second["inv"]:
                first["op_seq"], second["op_seq"] = second["op_seq"], first["op_seq"]
                return True
    return False


FAULTS = {
    "double_grant": (double_grant, "mutual_exclusion"),
    "reader_beside_writer": (reader_beside_writer, "mutual_exclusion"),
    "token_regress": (token_regress, "tokens"),
    "token_reused": (token_reused, "tokens"),
    "lost_at_final_get": (lost_at_final_get, "lost_grant"),
    "free_while_held": (free_while_held, "lost_grant"),
    "reader_forgotten": (reader_forgotten, "lost_grant"),
    "ended_too_early": (ended_too_early, "lost_grant"),
    "alive_after_release": (alive_after_release, "walk"),
    "renewed_after_release": (renewed_after_release, "walk"),
    "stale_read": (stale_read, "walk"),
    "stale_renewal": (stale_renewal, "walk"),
    "expired_too_early": (expired_too_early, "walk"),
    "failed_release_applied": (failed_release_applied, "walk"),
    "refused_for_nothing": (refused_for_nothing, "walk"),
    "failed_acquire_applied": (failed_acquire_applied, "honesty"),
    "holder_from_nowhere": (holder_from_nowhere, "honesty"),
    "two_effects": (two_effects, "request_id"),
    "granted_after_cancel": (granted_after_cancel, "request_id"),
    "order_against_time": (order_against_time, "witness"),
}
