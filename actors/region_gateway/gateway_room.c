#include "gateway_room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_status.h"
#include "base_arena.h"
#include "base_log.h"
#include "wire_bus.h"

enum {
    HELLO_EVERY_US = 1000000,
    HELLO_LOST_US = 4000000, /* the frontend gives up after 2 s; then another one is sent */
    STALE_US = 5000000,
    REPORT_EVERY_US = 1000000,
    REGIONS_MAX = 64,
    PROTOCOL = 1,
};

enum { STATE_NEW = 1, STATE_RUNNING = 2 };

typedef struct {
    char *region, *host, *address;
    uint32_t port;
    char cluster_id[64]; /* the first that was seen; empty until then */
    char version[32];
    bool reachable;
    bool under_way;
    uint64_t sent_us, answered_us;
    uint64_t round_trip_us;
    char problem[160];
} region_t;

struct gateway {
    uint32_t state;
    char *region, *node, *version;
    char cluster_id[64];
    region_t regions[REGIONS_MAX];
    size_t n_regions;
    uint64_t hello_at_us, report_at_us;
    uint64_t refused; /* hellos of regions that are not configured or have changed their cluster */
    bool changed;
};

static char *text_of(lm_bytes_t bytes) { return strndup((const char *)bytes.data, bytes.size); }

static region_t *find(gateway_t *g, lm_bytes_t region)
{
    for (size_t i = 0; i < g->n_regions; i++)
        if (lm_bytes_equal(region, lm_bytes_of(g->regions[i].region))) return &g->regions[i];
    return NULL;
}

static lm_bus_region_self_t self_of(const gateway_t *g)
{
    return (lm_bus_region_self_t){
        .region = lm_bytes_of(g->region),
        .cluster_id = lm_bytes_of(g->cluster_id),
        .version = lm_bytes_of(g->version),
        .protocol = PROTOCOL,
        .node = lm_bytes_of(g->node),
    };
}

/** Checks what a region says of itself against what is known (G3); NULL if it is fine. */
static const char *judge(const region_t *r, const lm_bus_region_self_t *self)
{
    if (!self || !lm_bytes_equal(self->region, lm_bytes_of(r->region)))
        return "another region answers there";
    if (r->cluster_id[0] && self->cluster_id.size &&
        !lm_bytes_equal(self->cluster_id, lm_bytes_of(r->cluster_id)))
        return "it belongs to another cluster than before";
    if (self->cluster_id.size >= sizeof r->cluster_id || self->version.size >= sizeof r->version)
        return "what it says of itself is too long";
    return NULL;
}

static void remember(region_t *r, const lm_bus_region_self_t *self)
{
    if (self->cluster_id.size)
        snprintf(r->cluster_id, sizeof r->cluster_id, "%.*s", LM_BYTES_ARG(self->cluster_id));
    snprintf(r->version, sizeof r->version, "%.*s", LM_BYTES_ARG(self->version));
}

static void set_reachable(gateway_t *g, region_t *r, bool reachable, const char *problem)
{
    if (r->reachable != reachable) {
        g->changed = true;
        if (reachable)
            lm_info("region %s at %s is reachable", r->region, r->address);
        else
            lm_warn("region %s at %s is not reachable: %s", r->region, r->address, problem);
    }
    r->reachable = reachable;
    snprintf(r->problem, sizeof r->problem, "%s", problem);
}

/* ---- what it tells --------------------------------------------------------------------------- */

static void tell_lock(const gateway_t *g, lm_outbox_t *out)
{
    lm_bus_region_peer_status_t rows[REGIONS_MAX];
    for (size_t i = 0; i < g->n_regions; i++) {
        const region_t *r = &g->regions[i];
        rows[i] = (lm_bus_region_peer_status_t){
            .region = lm_bytes_of(r->region),
            .address = lm_bytes_of(r->address),
            .reachable = r->reachable,
            .round_trip_us = r->round_trip_us,
            .cluster_id = lm_bytes_of(r->cluster_id),
            .version = lm_bytes_of(r->version),
        };
    }
    lm_bus_region_table_t table = {.n_regions = g->n_regions, .regions = rows};
    lm_outbox_send(out, LM_LOCK, LM_MSG_REGION_TABLE, &table);
}

static void fill_metrics(const region_t *r, lm_bus_detail_t *label, lm_bus_metric_t metrics[2])
{
    *label = (lm_bus_detail_t){.key = lm_bytes_of("region"), .value = lm_bytes_of(r->region)};
    metrics[0] = (lm_bus_metric_t){
        .name = lm_bytes_of("lockmgr_region_peer_up"),
        .help = lm_bytes_of("1 if the region answered its last hello."),
        .n_labels = 1,
        .labels = label,
        .value = r->reachable,
    };
    metrics[1] = (lm_bus_metric_t){
        .name = lm_bytes_of("lockmgr_region_rtt_seconds"),
        .help = lm_bytes_of("Round trip of the last answered hello."),
        .n_labels = 1,
        .labels = label,
        .value = (double)r->round_trip_us / 1e6,
    };
}

static void tell_health(const gateway_t *g, lm_outbox_t *out)
{
    lm_bus_detail_t details[REGIONS_MAX], labels[REGIONS_MAX];
    lm_bus_metric_t metrics[2 * REGIONS_MAX + 1];
    bool all = true;
    for (size_t i = 0; i < g->n_regions; i++) {
        const region_t *r = &g->regions[i];
        all = all && r->reachable;
        details[i] = (lm_bus_detail_t){
            .key = lm_bytes_of(r->region),
            .value = lm_bytes_of(r->reachable ? "reachable" : "unreachable"),
        };
        fill_metrics(r, &labels[i], &metrics[2 * i]);
    }
    size_t n = 2 * g->n_regions;
    metrics[n++] = (lm_bus_metric_t){
        .name = lm_bytes_of("lockmgr_region_hellos_refused_total"),
        .help = lm_bytes_of("Hellos of regions that are not configured or changed their cluster."),
        .kind = LM_BUS_METRIC_KIND_COUNTER,
        .value = (double)g->refused,
    };
    /* An unreachable region is not this node's fault: UNKNOWN, never DOWN. */
    lm_bus_status_report_t report = {
        .state = lm_bytes_of(all ? "UP" : "UNKNOWN"),
        .reason = lm_bytes_of(all ? "" : "a region cannot be reached"),
        .n_details = g->n_regions,
        .details = details,
        .n_metrics = n,
        .metrics = metrics,
        .ready = true,
    };
    lm_status_send(out, &report);
}

static void report(gateway_t *g, uint64_t now_us, lm_outbox_t *out)
{
    tell_lock(g, out);
    tell_health(g, out);
    g->changed = false;
    g->report_at_us = now_us + REPORT_EVERY_US;
}

/* ---- what it asks ---------------------------------------------------------------------------- */

static void send_hello(gateway_t *g, region_t *r, uint64_t now_us, lm_outbox_t *out)
{
    lm_bus_region_self_t self = self_of(g);
    lm_bus_region_hello_out_t hello = {
        .region = lm_bytes_of(r->region),
        .host = lm_bytes_of(r->host),
        .port = r->port,
        .self = &self,
    };
    r->under_way = true;
    r->sent_us = now_us;
    lm_outbox_send(out, LM_PEERS, LM_MSG_REGION_HELLO_OUT, &hello);
}

static void send_hellos(gateway_t *g, uint64_t now_us, lm_outbox_t *out)
{
    for (size_t i = 0; i < g->n_regions; i++) {
        region_t *r = &g->regions[i];
        if (r->reachable && now_us - r->answered_us > STALE_US)
            set_reachable(g, r, false, "it has not answered for some time");
        if (!r->under_way || now_us - r->sent_us > HELLO_LOST_US) send_hello(g, r, now_us, out);
    }
    g->hello_at_us = now_us + HELLO_EVERY_US;
}

/* ---- handlers -------------------------------------------------------------------------------- */

static void add_region(gateway_t *g, const lm_bus_region_peer_config_t *config)
{
    region_t *r = &g->regions[g->n_regions++];
    char address[320];
    r->region = text_of(config->region);
    r->host = text_of(config->host);
    r->port = config->port;
    snprintf(address, sizeof address, "%s:%u", r->host, r->port);
    r->address = strdup(address);
    snprintf(r->problem, sizeof r->problem, "it has not answered yet");
}

static void on_start(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    gateway_t *g = room;
    const lm_bus_node_config_t *config = m->body;
    g->region = text_of(config->region);
    g->node = text_of(config->node);
    g->version = text_of(config->version);
    for (size_t i = 0; i < config->n_region_peers && g->n_regions < REGIONS_MAX; i++)
        add_region(g, &config->region_peers[i]);
    g->state = STATE_RUNNING;
    g->hello_at_us = g->report_at_us = m->now_us;
    lm_outbox_wake(out, m->now_us);
    lm_outbox_ready(out);
}

static void on_cluster_id(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    gateway_t *g = room;
    const lm_bus_attached_t *attached = m->body;
    (void)out;
    if (attached->cluster_id.size < sizeof g->cluster_id)
        snprintf(g->cluster_id, sizeof g->cluster_id, "%.*s", LM_BYTES_ARG(attached->cluster_id));
}

static void on_region_hello_result(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    gateway_t *g = room;
    const lm_bus_region_hello_result_t *result = m->body;
    region_t *r = find(g, result->region);
    (void)out;
    if (!r) return;
    r->under_way = false;
    const char *problem = NULL;
    char words[160];
    if (!result->reachable) {
        snprintf(words, sizeof words, "%.*s", LM_BYTES_ARG(result->problem));
        problem = words;
    } else {
        problem = judge(r, result->peer);
        if (problem) g->refused++;
    }
    if (!problem) {
        remember(r, result->peer);
        r->answered_us = m->now_us;
        r->round_trip_us = result->round_trip_us;
    }
    set_reachable(g, r, !problem, problem ? problem : "");
}

static void on_region_hello_in(void *room, const lm_message_t *m, lm_outbox_t *out)
{
    gateway_t *g = room;
    const lm_bus_region_hello_in_t *hello = m->body;
    region_t *r = hello->peer ? find(g, hello->peer->region) : NULL;
    lm_bus_region_self_t self = self_of(g);
    lm_bus_region_hello_answer_t answer = {.code = LM_RC_OK, .self = &self};
    if (!r)
        answer = (lm_bus_region_hello_answer_t){.code = LM_RC_UNKNOWN_PEER};
    else if (judge(r, hello->peer))
        answer = (lm_bus_region_hello_answer_t){.code = LM_RC_WRONG_CLUSTER};
    else
        remember(r, hello->peer);
    if (answer.code != LM_RC_OK) g->refused++;
    lm_outbox_reply(out, &m->from, LM_MSG_REGION_HELLO_ANSWER, &answer);
}

static void on_peer_up(void *room, lm_participant_t peer, lm_generation_t generation,
                       uint64_t now_us, lm_outbox_t *out)
{
    const gateway_t *g = room;
    (void)generation;
    (void)now_us;
    if (peer == LM_HEALTH && g->state == STATE_RUNNING) tell_health(g, out);
}

static void on_wake(void *room, uint64_t now_us, uint64_t late_us, lm_outbox_t *out)
{
    gateway_t *g = room;
    (void)late_us;
    if (g->state != STATE_RUNNING) return;
    if (now_us >= g->hello_at_us) send_hellos(g, now_us, out);
    if (now_us >= g->report_at_us) report(g, now_us, out);
    lm_outbox_wake(out, g->hello_at_us < g->report_at_us ? g->hello_at_us : g->report_at_us);
}

static void on_turn_end(void *room, uint64_t now_us, lm_outbox_t *out)
{
    gateway_t *g = room;
    if (g->changed) report(g, now_us, out);
}

static uint32_t state_of(const void *room) { return ((const gateway_t *)room)->state; }

static const lm_room_row_t rows[] = {
    {LM_MSG_START, on_start, STATE_NEW},
    {LM_MSG_CLUSTER_ID, on_cluster_id, STATE_RUNNING},
    {LM_MSG_REGION_HELLO_RESULT, on_region_hello_result, STATE_RUNNING},
    {LM_MSG_REGION_HELLO_IN, on_region_hello_in, STATE_RUNNING},
};

const lm_room_t *gateway_room_definition(void)
{
    static const lm_room_t definition = {
        .self = LM_GATEWAY,
        .binds = true,
        .connects = 1u << LM_LOCK,
        .rows = rows,
        .n_rows = sizeof rows / sizeof *rows,
        .state = state_of,
        .on_peer_up = on_peer_up,
        .on_wake = on_wake,
        .on_turn_end = on_turn_end,
    };
    return &definition;
}

gateway_t *gateway_room_new(void)
{
    gateway_t *g = lm_alloc(sizeof *g);
    g->state = STATE_NEW;
    return g;
}

void gateway_room_destroy(gateway_t **gateway)
{
    gateway_t *g = *gateway;
    if (!g) return;
    for (size_t i = 0; i < g->n_regions; i++) {
        free(g->regions[i].region);
        free(g->regions[i].host);
        free(g->regions[i].address);
    }
    free(g->region);
    free(g->node);
    free(g->version);
    free(g);
    *gateway = NULL;
}
