/* etcd as a target: its lock service under a lease per worker, and its lease service.
 *
 * A worker's names are new in every run, and its lease is revoked at the end: a name under a lease
 * of an earlier run would block, or be taken without a wait. Two waiters on one name hang in etcd
 * 3.4, so there is no workload with shared names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_arena.h"
#include "bench_etcd.pb-c.h"
#include "bench_route.h"
#include "bench_rpc.h"
#include "bench_targets.h"
#include "client.h"

enum { ASK_WAIT_US = 2000000, REQUEST_MAX = 512, KEY_MAX = 256, LEASE_TTL_S = 600 };

typedef struct {
    char name[96];
    int64_t lease;
    uint8_t key[KEY_MAX]; /* as Lock gave it */
    size_t key_size;
    bench_step_t step;
} worker_t;

typedef struct {
    const bench_plan_t *plan;
    bench_rpc_t *rpc;
    worker_t workers[];
} etcd_t;

/** A kind of call: how its request is made and what is kept of its answer. */
typedef struct {
    const char *step;
    const char *path;
    bool streams;
    size_t (*pack)(const worker_t *w, uint8_t *out);
    bool (*keep)(worker_t *w, lm_bytes_t response);
} call_t;

static const bench_plan_t plans[] = {
    {"cycles", {"lease", "acquire", "release", "revoke"}},
    {"renew", {[BENCH_PREPARE] = "lease", [BENCH_FIRST] = "renew", [BENCH_CLEAN] = "revoke"}},
    {0},
};

/* ---- messages -------------------------------------------------------------------------------- */

static size_t pack_grant(const worker_t *w, uint8_t *out)
{
    BenchEtcd__LeaseGrantRequest m = BENCH_ETCD__LEASE_GRANT_REQUEST__INIT;
    (void)w;
    m.ttl = LEASE_TTL_S;
    return bench_etcd__lease_grant_request__pack(&m, out);
}

static bool keep_grant(worker_t *w, lm_bytes_t response)
{
    BenchEtcd__LeaseGrantResponse *m =
        bench_etcd__lease_grant_response__unpack(NULL, response.size, response.data);
    if (!m) return false;
    w->lease = m->id;
    bench_etcd__lease_grant_response__free_unpacked(m, NULL);
    return true;
}

static size_t pack_lock(const worker_t *w, uint8_t *out)
{
    BenchEtcd__LockRequest m = BENCH_ETCD__LOCK_REQUEST__INIT;
    m.name = (ProtobufCBinaryData){.len = strlen(w->name), .data = (uint8_t *)(uintptr_t)w->name};
    m.lease = w->lease;
    return bench_etcd__lock_request__pack(&m, out);
}

static bool keep_lock(worker_t *w, lm_bytes_t response)
{
    BenchEtcd__LockResponse *m =
        bench_etcd__lock_response__unpack(NULL, response.size, response.data);
    bool good = m && m->key.len > 0 && m->key.len <= sizeof w->key;
    if (good) {
        memcpy(w->key, m->key.data, m->key.len);
        w->key_size = m->key.len;
    }
    if (m) bench_etcd__lock_response__free_unpacked(m, NULL);
    return good;
}

static size_t pack_unlock(const worker_t *w, uint8_t *out)
{
    BenchEtcd__UnlockRequest m = BENCH_ETCD__UNLOCK_REQUEST__INIT;
    m.key = (ProtobufCBinaryData){.len = w->key_size, .data = (uint8_t *)(uintptr_t)w->key};
    return bench_etcd__unlock_request__pack(&m, out);
}

static size_t pack_keep_alive(const worker_t *w, uint8_t *out)
{
    BenchEtcd__LeaseKeepAliveRequest m = BENCH_ETCD__LEASE_KEEP_ALIVE_REQUEST__INIT;
    m.id = w->lease;
    return bench_etcd__lease_keep_alive_request__pack(&m, out);
}

static bool keep_keep_alive(worker_t *w, lm_bytes_t response)
{
    BenchEtcd__LeaseKeepAliveResponse *m =
        bench_etcd__lease_keep_alive_response__unpack(NULL, response.size, response.data);
    bool good = m && m->id == w->lease && m->ttl > 0;
    if (m) bench_etcd__lease_keep_alive_response__free_unpacked(m, NULL);
    return good;
}

static size_t pack_revoke(const worker_t *w, uint8_t *out)
{
    BenchEtcd__LeaseRevokeRequest m = BENCH_ETCD__LEASE_REVOKE_REQUEST__INIT;
    m.id = w->lease;
    return bench_etcd__lease_revoke_request__pack(&m, out);
}

static const call_t calls[] = {
    {"lease", "/etcdserverpb.Lease/LeaseGrant", false, pack_grant, keep_grant},
    {"acquire", "/v3lockpb.Lock/Lock", false, pack_lock, keep_lock},
    {"release", "/v3lockpb.Lock/Unlock", false, pack_unlock, NULL},
    {"renew", "/etcdserverpb.Lease/LeaseKeepAlive", true, pack_keep_alive, keep_keep_alive},
    {"revoke", "/etcdserverpb.Lease/LeaseRevoke", false, pack_revoke, NULL},
};

static const call_t *call_of(const etcd_t *e, bench_step_t step)
{
    size_t i = 0;
    while (strcmp(calls[i].step, e->plan->steps[step]) != 0) i++;
    return &calls[i];
}

/* ---- opening --------------------------------------------------------------------------------- */

/** Whether an answer to Status comes from the member that leads. */
static bool says_it_leads(lm_bytes_t response)
{
    BenchEtcd__StatusResponse *m =
        bench_etcd__status_response__unpack(NULL, response.size, response.data);
    bool leads = m && m->header && m->leader != 0 && m->header->member_id == m->leader;
    if (m) bench_etcd__status_response__free_unpacked(m, NULL);
    return leads;
}

/** Index of the endpoint that leads; -1 if none says so. */
static int find_leader(const char *endpoints)
{
    size_t n = 0;
    int leader = -1;
    bench_rpc_end_t end;
    char *list = bench_route_make(endpoints, -1, 1, &n);
    if (!list) return -1;
    bench_rpc_t *rpc = bench_rpc_open(list, n);
    for (size_t i = 0; i < n; i++)
        bench_rpc_call(rpc, i, "/etcdserverpb.Maintenance/Status", lm_bytes("", 0));
    for (size_t i = 0; i < n && bench_rpc_next(rpc, ASK_WAIT_US, &end); i++)
        if (end.status == 0 && says_it_leads(end.response)) leader = (int)end.place;
    bench_rpc_close(rpc);
    free(list);
    return leader;
}

static void *open_target(const bench_aim_t *aim, const bench_plan_t *plan)
{
    size_t n = 0, size = sizeof(etcd_t) + aim->workers * sizeof(worker_t);
    char title[33];
    int leader = aim->leader ? find_leader(aim->endpoints) : -1;
    char *list = aim->leader && leader < 0
                     ? NULL
                     : bench_route_make(aim->endpoints, leader, aim->workers, &n);
    if (!list) {
        fprintf(stderr, "lockbench: no etcd to drive, or none that leads: %s\n", aim->endpoints);
        return NULL;
    }
    etcd_t *e = lm_alloc(size);
    memset(e, 0, size);
    e->plan = plan;
    e->rpc = bench_rpc_open(list, aim->workers);
    free(list);
    lm_client_make_id(title);
    for (size_t i = 0; i < aim->workers; i++)
        snprintf(e->workers[i].name, sizeof e->workers[i].name, "lockbench/%s/%zu", title, i);
    return e;
}

static void close_target(void *self)
{
    etcd_t *e = self;
    bench_rpc_close(e->rpc);
    free(e);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void begin(void *self, size_t at, bench_step_t step)
{
    etcd_t *e = self;
    uint8_t request[REQUEST_MAX];
    const call_t *call = call_of(e, step);
    lm_bytes_t bytes = lm_bytes(request, call->pack(&e->workers[at], request));
    e->workers[at].step = step;
    if (call->streams)
        bench_rpc_stream(e->rpc, at, call->path, bytes);
    else
        bench_rpc_call(e->rpc, at, call->path, bytes);
}

static bool next(void *self, uint64_t wait_us, bench_end_t *end)
{
    etcd_t *e = self;
    bench_rpc_end_t over;
    if (!bench_rpc_next(e->rpc, wait_us, &over)) return false;
    worker_t *w = &e->workers[over.place];
    const call_t *call = call_of(e, w->step);
    end->worker = over.place;
    end->good = over.status == 0;
    snprintf(end->error, sizeof end->error, "%s", end->good ? "not as expected" : over.text);
    if (end->good && call->keep) end->good = call->keep(w, over.response);
    return true;
}

const bench_target_t bench_etcd = {"etcd", plans, open_target, begin, next, close_target};
