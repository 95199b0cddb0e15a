"""Short words for histories written by hand. Times are milliseconds, counted from nothing."""

MS = 1_000_000


def _row(op, owner, inv, ret, outcome, fields):
    row = {"proc": owner, "op": op, "name": "l/1", "owner": owner, "inv": inv * MS,
           "ret": None if ret is None else ret * MS, "outcome": outcome}
    row.update(fields)
    return row


def granted(owner, inv, ret, token, **fields):
    """An acquire that was granted with 5 s of lease left."""
    fields = {"mode": "exclusive", "ttl_ms": 5000, "lease_remaining_ms": 5000,
              "result": "granted", "token": token, **fields}
    return _row("acquire", owner, inv, ret, "ok", fields)


def acquire(owner, inv, ret, outcome="info", **fields):
    """An acquire that was not granted, or of which nothing is known."""
    return _row("acquire", owner, inv, ret, outcome,
                {"mode": "exclusive", "ttl_ms": 5000, **fields})


def denied(owner, inv, ret, result="held", **fields):
    return acquire(owner, inv, ret, "ok", result=result, **fields)


def released(owner, inv, ret, token, outcome="ok", **fields):
    fields = {"token": token, "result": "released" if outcome == "ok" else None, **fields}
    return _row("release", owner, inv, ret, outcome, fields)


def renewed(owner, inv, ret, token, **fields):
    fields = {"token": token, "result": "renewed", "lease_remaining_ms": 5000, **fields}
    return _row("renew", owner, inv, ret, "ok", fields)


def cancel(owner, inv, ret, result, **fields):
    return _row("cancel", owner, inv, ret, "ok", {"result": result, **fields})


def listing(inv, ret, *holders, **fields):
    """A get; each holder is (owner, token) or (owner, token, mode)."""
    rows = [{"owner": one[0], "token": one[1], "mode": one[2] if len(one) > 2 else "exclusive"}
            for one in holders]
    return _row("get", None, inv, ret, "ok", {"holders": rows, **fields})


def final(inv, ret, *holders):
    return listing(inv, ret, *holders, event="final_get", proc=-1)
