/* What others hear of this node: the role to the lock, the status to health. */
#include <stdio.h>

#include "raft_state.h"

typedef unsigned long long ull_t;

#define DETAILS_MAX 12
#define METRICS_MAX 80

/* ---- the role -------------------------------------------------------------------------------- */

static uint32_t role_number(const lm_raft_room_t *room)
{
    static const uint32_t numbers[] = {
        [LM_RAFT_FOLLOWER_ROLE] = LM_API_RAFT_ROLE_FOLLOWER,
        [LM_RAFT_CANDIDATE_ROLE] = LM_API_RAFT_ROLE_CANDIDATE,
        [LM_RAFT_LEADER_ROLE] = LM_API_RAFT_ROLE_LEADER,
    };
    return room->engine ? numbers[lm_raft_engine_role(room->engine)] : LM_API_RAFT_ROLE_UNFORMED;
}

static const char *role_name(const lm_raft_room_t *room)
{
    static const char *const names[] = {
        [LM_RAFT_FOLLOWER_ROLE] = "follower",
        [LM_RAFT_CANDIDATE_ROLE] = "candidate",
        [LM_RAFT_LEADER_ROLE] = "leader",
    };
    return room->engine ? names[lm_raft_engine_role(room->engine)] : "unformed";
}

/* Name of the leader; empty if none is known. */
static const char *leader_name(const lm_raft_room_t *room)
{
    uint64_t id = room->engine ? lm_raft_engine_leader(room->engine) : 0;
    for (uint32_t i = 0; id && i < room->n_nodes; i++)
        if (room->nodes[i].id == id) return room->nodes[i].name;
    return "";
}

static void find_problem(const lm_raft_room_t *room, char *text, size_t size)
{
    text[0] = 0;
    if (!room->engine) {
        if (room->phase >= LM_RAFT_FORMING) lm_raft_bootstrap_problem(&room->forming, text, size);
        return;
    }
    if (*leader_name(room)) return;
    int used = snprintf(text, size, "no node has been elected");
    for (uint32_t i = 0; i < room->n_nodes; i++)
        if (i != room->self && !room->nodes[i].link_up && (size_t)used < size)
            used += snprintf(text + used, size - (size_t)used, "; %s cannot be reached",
                             room->nodes[i].name);
}

void lm_raft_report_role(lm_raft_room_t *room, lm_participant_t to)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    lm_bus_raft_member_t members[LM_RAFT_SERVERS_MAX] = {0};
    char problem[512];
    find_problem(room, problem, sizeof problem);
    for (uint32_t i = 0; i < room->n_nodes; i++)
        members[i] = (lm_bus_raft_member_t){.server_id = room->nodes[i].id,
                                            .name = lm_bytes_of(room->nodes[i].name),
                                            .address = lm_bytes_of(room->nodes[i].address)};
    lm_bus_raft_role_event_t body = {
        .role = role_number(room),
        .leader = lm_bytes_of(leader_name(room)),
        .cluster_id = lm_bytes_of(identity->cluster_id),
        .history_id = lm_bytes_of(identity->history_id),
        .n_members = room->n_nodes,
        .members = members,
        .problem = lm_bytes_of(problem),
    };
    if (room->engine) {
        body.term = lm_raft_engine_term(room->engine);
        body.commit_index = lm_raft_engine_commit(room->engine);
        body.last_index = lm_raft_log_last_index(lm_raft_engine_log(room->engine));
    }
    lm_outbox_send(room->out, to, LM_MSG_RAFT_ROLE, &body);
}

/* ---- the status ------------------------------------------------------------------------------ */

typedef struct {
    lm_arena_t *arena;
    lm_bus_detail_t details[DETAILS_MAX];
    lm_bus_metric_t metrics[METRICS_MAX];
    size_t n_details, n_metrics;
} status_t;

static void add_text(status_t *s, const char *key, const char *value)
{
    s->details[s->n_details++] =
        (lm_bus_detail_t){.key = lm_bytes_of(key), .value = lm_bytes_of(value)};
}

static void add_number(status_t *s, const char *key, uint64_t value)
{
    s->details[s->n_details++] =
        (lm_bus_detail_t){.key = lm_bytes_of(key),
                          .value = lm_arena_print(s->arena, "%llu", (ull_t)value),
                          .plain = true};
}

/* label may be NULL */
static void add_metric(status_t *s, const char *name, const char *help, int32_t kind,
                       const char *label, const char *label_value, double value)
{
    if (s->n_metrics == METRICS_MAX) return;
    lm_bus_metric_t *metric = &s->metrics[s->n_metrics++];
    *metric = (lm_bus_metric_t){
        .name = lm_bytes_of(name), .help = lm_bytes_of(help), .kind = kind, .value = value};
    if (!label) return;
    metric->n_labels = 1;
    metric->labels = lm_arena_alloc(s->arena, sizeof *metric->labels);
    metric->labels->key = lm_bytes_of(label);
    metric->labels->value = lm_bytes_of(label_value);
}

static void gauge(status_t *s, const char *name, const char *help, uint64_t value)
{
    add_metric(s, name, help, LM_BUS_METRIC_KIND_GAUGE, NULL, NULL, (double)value);
}

static void counter(status_t *s, const char *name, const char *help, uint64_t value)
{
    add_metric(s, name, help, LM_BUS_METRIC_KIND_COUNTER, NULL, NULL, (double)value);
}

static void add_details(const lm_raft_room_t *room, status_t *s)
{
    const lm_raft_engine_t *engine = room->engine;
    add_text(s, "role", role_name(room));
    add_number(s, "term", engine ? lm_raft_engine_term(engine) : 0);
    add_text(s, "leader", leader_name(room));
    add_number(s, "commitIndex", engine ? lm_raft_engine_commit(engine) : 0);
    add_number(s, "appliedIndex", room->lock.applied_index);
    add_number(s, "lastIndex", engine ? lm_raft_log_last_index(lm_raft_engine_log(engine)) : 0);
    add_text(s, "clusterId", lm_raft_room_identity(room)->cluster_id);
    add_number(s, "voters", room->n_nodes);
}

static void add_engine_metrics(const lm_raft_room_t *room, status_t *s)
{
    const lm_raft_engine_t *engine = room->engine;
    bool leads = lm_raft_room_leads(room);
    gauge(s, "lockmgr_raft_has_leader", "1 if this node knows a leader", *leader_name(room) != 0);
    gauge(s, "lockmgr_raft_is_leader", "1 if this node leads", leads);
    if (!engine) return;
    gauge(s, "lockmgr_raft_term", "Current term", lm_raft_engine_term(engine));
    gauge(s, "lockmgr_raft_commit_index", "Last index that is known to be committed",
          lm_raft_engine_commit(engine));
    gauge(s, "lockmgr_raft_last_index", "Last index of the log",
          lm_raft_log_last_index(lm_raft_engine_log(engine)));
    gauge(s, "lockmgr_raft_delivered_index", "Last index that the lock actor was given",
          room->lock.delivered);
    counter(s, "lockmgr_raft_elections_started_total", "Elections that this node has begun",
            lm_raft_engine_elections(engine));
    gauge(s, "lockmgr_raft_proposals_pending", "Proposals that are not committed yet",
          room->n_proposals);
    if (!leads) return;
    for (uint32_t i = 0; i < room->n_nodes; i++) {
        if (i == room->self) continue;
        uint64_t last = lm_raft_log_last_index(lm_raft_engine_log(engine));
        uint64_t match = lm_raft_engine_match(engine, room->nodes[i].id);
        add_metric(s, "lockmgr_raft_peer_lag_entries", "Entries that a peer has not stored yet",
                   LM_BUS_METRIC_KIND_GAUGE, "peer", room->nodes[i].name,
                   (double)(last > match ? last - match : 0));
    }
}

static void add_refused(const lm_raft_room_t *room, status_t *s)
{
    static const char *const reasons[LM_RAFT_REFUSED_N] = {
        [LM_RAFT_REFUSED_UNDECODABLE] = "undecodable",
        [LM_RAFT_REFUSED_UNKNOWN_NODE] = "unknown_node",
        [LM_RAFT_REFUSED_OLD_EPOCH] = "old_epoch",
        [LM_RAFT_REFUSED_CLUSTER] = "other_cluster",
        [LM_RAFT_REFUSED_SENDER] = "wrong_sender",
        [LM_RAFT_REFUSED_RECEIVER] = "wrong_receiver",
        [LM_RAFT_REFUSED_STAGE] = "too_early",
        [LM_RAFT_REFUSED_INVALID] = "invalid",
    };
    for (int i = 0; i < LM_RAFT_REFUSED_N; i++)
        add_metric(s, "lockmgr_raft_frames_refused_total", "Frames of peers that were not handled",
                   LM_BUS_METRIC_KIND_COUNTER, "reason", reasons[i],
                   (double)room->figures.refused[i]);
}

static void add_figures(const lm_raft_room_t *room, status_t *s)
{
    const lm_raft_figures_t *f = &room->figures;
    counter(s, "lockmgr_raft_leader_changes_total", "Changes of the leader that this node has seen",
            f->leader_changes);
    counter(s, "lockmgr_raft_proposals_committed_total",
            "Proposals of this node that were committed", f->proposals_committed);
    counter(s, "lockmgr_raft_proposals_failed_total", "Proposals of this node that were refused",
            f->proposals_failed);
    counter(s, "lockmgr_raft_reads_total", "Linearizable reads that were asked for", f->reads);
    counter(s, "lockmgr_raft_read_rounds_total", "Rounds of questions for reads", f->read_rounds);
    counter(s, "lockmgr_raft_transfers_total", "Attempts to give leadership away", f->transfers);
    counter(s, "lockmgr_raft_late_ticks_total", "Clock ticks that came later than a heartbeat",
            f->late_ticks);
    if (!room->writes) return;
    uint64_t count, microseconds;
    room->writes(room->disk, &count, &microseconds);
    add_metric(s, "lockmgr_raft_wal_fsync_seconds_sum",
               "Time spent in synchronous writes of the log", LM_BUS_METRIC_KIND_COUNTER, NULL,
               NULL, (double)microseconds / 1e6);
    counter(s, "lockmgr_raft_wal_fsync_seconds_count", "Synchronous writes of the log", count);
}

static void add_runtime(const lm_raft_room_t *room, status_t *s)
{
    const lm_host_counter_t *counters;
    size_t n = lm_outbox_counters(room->out, &counters);
    for (size_t i = 0; i < n; i++)
        add_metric(s, counters[i].name, counters[i].help, LM_BUS_METRIC_KIND_COUNTER, "actor",
                   "raft", (double)counters[i].value);
}

static void tell_status(lm_raft_room_t *room)
{
    char problem[512];
    bool led = *leader_name(room) != 0;
    status_t *s = lm_arena_alloc(room->scratch, sizeof *s);
    s->arena = room->scratch;
    find_problem(room, problem, sizeof problem);
    add_details(room, s);
    add_engine_metrics(room, s);
    add_figures(room, s);
    add_refused(room, s);
    add_runtime(room, s);
    bool failed = room->phase == LM_RAFT_ENDED;
    lm_bus_status_report_t body = {
        .state = lm_bytes_of(failed ? "DOWN"
                             : led  ? "UP"
                                    : "UNKNOWN"),
        .reason = lm_bytes_of(problem),
        .n_details = s->n_details,
        .details = s->details,
        .n_metrics = s->n_metrics,
        .metrics = s->metrics,
        .ready = led && !room->draining,
    };
    lm_outbox_send(room->out, LM_HEALTH, LM_MSG_STATUS_REPORT, &body);
    lm_arena_reset(room->scratch);
}

/* ---- when ------------------------------------------------------------------------------------ */

void lm_raft_report_settle(lm_raft_room_t *room)
{
    lm_raft_role_t role = room->engine ? lm_raft_engine_role(room->engine) : LM_RAFT_FOLLOWER_ROLE;
    uint64_t term = room->engine ? lm_raft_engine_term(room->engine) : 0;
    uint64_t leader = room->engine ? lm_raft_engine_leader(room->engine) : 0;
    bool news = room->phase != room->said_phase || role != room->said_role ||
                term != room->said_term || leader != room->said_leader;
    if (!news && room->now_us < room->said_us + LM_RAFT_SECOND_US) return;
    if (leader && leader != room->last_leader) room->figures.leader_changes++;
    if (leader) room->last_leader = leader;
    room->said_phase = room->phase;
    room->said_role = role;
    room->said_term = term;
    room->said_leader = leader;
    room->said_us = room->now_us;
    if (room->phase >= LM_RAFT_FORMING) {
        lm_raft_report_role(room, LM_LOCK);
        lm_raft_report_role(room, LM_HEALTH);
    }
    tell_status(room);
}
