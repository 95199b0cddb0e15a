"""Ten minutes and more of load at about half of what a region can do within the limits of its pods: whether being
throttled makes leaders change.

1. Saturated is what CALLERS reach that leave no time between two locks.
2. The term at the end is that of the beginning, with the same leader, and no hold was lost."""

import time

from kube import Failed, kubectl, metric
from traffic_pod import TrafficPod

CALLERS, SATURATED_S, SETTLED_S = 12, 20, 10


def pages(region):
    """The metrics of every node, through the API server."""
    return [kubectl("get", "--raw", "/api/v1/namespaces/%s/pods/lockmgr-%d:8080/proxy/actuator/prometheus"
                    % (region.namespace, pod)).stdout for pod in range(3)]


def taken(texts):
    return sum(metric(text, "grpc_server_handled_total", grpc_method="Acquire", grpc_code="OK",
                      grpc_service="lockmgr.v1.LockService") for text in texts)


def facts(texts):
    def each(name, **labels):
        return [metric(text, name, **labels) for text in texts]
    periods, throttled = each("lockmgr_cgroup_cpu_periods_total"), each(
        "lockmgr_cgroup_cpu_throttled_periods_total")
    return {"term": each("lockmgr_raft_term"), "leads": each("lockmgr_raft_is_leader"),
            "periods": periods, "throttled": throttled,
            "seconds": each("lockmgr_cgroup_cpu_throttled_seconds_total"),
            "ticks": each("lockmgr_raft_tick_lateness_seconds_count"),
            "in_50": each("lockmgr_raft_tick_lateness_seconds_bucket", le="0.05")}


def load(region, options, interval_ms):
    service = "lockmgr.%s.svc.cluster.local:9090" % region.namespace
    return TrafficPod(region.namespace, "lockmgr-load-%d" % interval_ms, options, [
        ("load-%d" % i, service, "kubernetes/load-%d" % i, ("-q", "-i", "%dms" % interval_ms))
        for i in range(CALLERS)])


def rate_over(region, seconds):
    before, begin = taken(pages(region)), time.monotonic()
    time.sleep(seconds)
    return (taken(pages(region)) - before) / (time.monotonic() - begin)


def saturate(region, options):
    pod = load(region, options, 0)
    pod.start()
    try:
        time.sleep(SETTLED_S)
        return rate_over(region, SATURATED_S)
    finally:
        pod.remove()


def soak(region, options, say):
    full = saturate(region, options)
    if full <= 0:
        raise Failed("no lock was taken")
    interval_ms = max(1, round(1.6 * 1000 * CALLERS / full))
    say("saturated: %.0f locks/s by %d callers; now one every %d ms each" % (
        full, CALLERS, interval_ms))
    time.sleep(SETTLED_S)
    pod = load(region, options, interval_ms)
    pod.start()
    try:
        time.sleep(SETTLED_S)
        before = facts(pages(region))
        rate = rate_over(region, options.soak * 60)
        after = facts(pages(region))
    finally:
        pod.remove()
    said = "%.0f of %.0f locks/s for %g min; term %d before, %d after; " % (
        rate, full, options.soak, max(before["term"]), max(after["term"])) + differences(before, after)
    if before["term"] != after["term"] or before["leads"] != after["leads"]:
        raise Failed("the leader has changed: " + said)
    return said


def differences(before, after):
    def grown(name):
        return [now - then for then, now in zip(before[name], after[name])]
    def list_of(numbers, form="%d"):
        return " ".join(form % one for one in numbers)
    late = [all_of - in_time for all_of, in_time in zip(grown("ticks"), grown("in_50"))]
    return "per pod: throttled periods %s of %s, for %s s; wake-ups more than 50 ms late %s of %s" % (
        list_of(grown("throttled")), list_of(grown("periods")), list_of(grown("seconds"), "%.1f"),
        list_of(late), list_of(grown("ticks")))
