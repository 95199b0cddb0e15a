/* What others hear of this node: the role to the lock, the status to health. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "act_status.h"
#include "raft_state.h"

typedef unsigned long long ull_t;

#define DETAILS_MAX 12
#define METRICS_MAX 120

/* ---- the role -------------------------------------------------------------------------------- */

static uint32_t role_number(const lm_raft_room_t *room)
{
    static const uint32_t numbers[] = {
        [LM_RAFT_FOLLOWER_ROLE] = LM_API_RAFT_ROLE_FOLLOWER,
        [LM_RAFT_CANDIDATE_ROLE] = LM_API_RAFT_ROLE_CANDIDATE,
        [LM_RAFT_LEADER_ROLE] = LM_API_RAFT_ROLE_LEADER,
    };
    if (room->engine) return numbers[lm_raft_engine_role(room->engine)];
    return lm_raft_outside_is_surplus(room) ? LM_API_RAFT_ROLE_SURPLUS : LM_API_RAFT_ROLE_UNFORMED;
}

static const char *role_name(const lm_raft_room_t *room)
{
    static const char *const names[] = {
        [LM_RAFT_FOLLOWER_ROLE] = "follower",
        [LM_RAFT_CANDIDATE_ROLE] = "candidate",
        [LM_RAFT_LEADER_ROLE] = "leader",
    };
    if (room->engine) return names[lm_raft_engine_role(room->engine)];
    return lm_raft_outside_is_surplus(room) ? "surplus" : "unformed";
}

/* Name of the leader; empty if none is known. */
static const char *leader_name(const lm_raft_room_t *room)
{
    if (!room->engine) return lm_raft_outside_leader(room);
    uint64_t id = lm_raft_engine_leader(room->engine);
    for (uint32_t i = 0; id && i < room->n_nodes; i++)
        if (room->nodes[i].id == id) return room->nodes[i].name;
    return "";
}

static const char *cluster_id(const lm_raft_room_t *room)
{
    return room->outside.known ? room->outside.cluster_id : lm_raft_room_identity(room)->cluster_id;
}

static void find_problem(const lm_raft_room_t *room, char *text, size_t size)
{
    text[0] = 0;
    if (!room->engine) {
        lm_raft_outside_problem(room, text, size);
        if (room->phase >= LM_RAFT_FORMING && !*text)
            lm_raft_bootstrap_problem(&room->forming, text, size);
        return;
    }
    if (lm_raft_loss_is(room)) {
        lm_raft_loss_problem(room, text, size);
        return;
    }
    if (*leader_name(room)) return;
    int used = snprintf(text, size, "no node has been elected");
    for (uint32_t i = 0; i < room->n_nodes; i++)
        if (i != room->self && !room->nodes[i].link_up && (size_t)used < size)
            used += snprintf(text + used, size - (size_t)used, "; %s cannot be reached",
                             room->nodes[i].name);
}

/* The nodes that vote; before that is known, all that are configured. */
static uint32_t list_members(const lm_raft_room_t *room, lm_bus_raft_member_t *members)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < room->n_nodes; i++) {
        const lm_raft_node_t *node = &room->nodes[i];
        if (!lm_raft_outside_counts(room, node->name)) continue;
        members[n++] = (lm_bus_raft_member_t){.server_id = node->id,
                                              .name = lm_bytes_of(node->name),
                                              .address = lm_bytes_of(node->address)};
    }
    return n;
}

void lm_raft_report_role(lm_raft_room_t *room, lm_participant_t to)
{
    const lm_raft_identity_t *identity = lm_raft_room_identity(room);
    lm_bus_raft_member_t members[LM_RAFT_SERVERS_MAX] = {0};
    char problem[512];
    find_problem(room, problem, sizeof problem);
    uint32_t n = list_members(room, members);
    lm_bus_raft_role_event_t body = {
        .role = role_number(room),
        .leader = lm_bytes_of(leader_name(room)),
        .cluster_id = lm_bytes_of(cluster_id(room)),
        .history_id = lm_bytes_of(identity->history_id),
        .n_members = n,
        .members = members,
        .problem = lm_bytes_of(problem),
        .term = room->outside.term,
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

static void histogram(status_t *s, const char *name, const char *help, const lm_histogram_t *all)
{
    if (s->n_metrics < METRICS_MAX)
        s->metrics[s->n_metrics++] = lm_status_histogram(name, help, all, s->arena);
}

static void add_details(const lm_raft_room_t *room, status_t *s)
{
    const lm_raft_engine_t *engine = room->engine;
    add_text(s, "role", role_name(room));
    add_number(s, "term", engine ? lm_raft_engine_term(engine) : room->outside.term);
    add_text(s, "leader", leader_name(room));
    add_number(s, "commitIndex", engine ? lm_raft_engine_commit(engine) : 0);
    add_number(s, "appliedIndex", room->lock.applied_index);
    add_number(s, "lastIndex", engine ? lm_raft_log_last_index(lm_raft_engine_log(engine)) : 0);
    add_text(s, "clusterId", cluster_id(room));
    add_number(s, "voters", room->outside.known ? room->outside.n_voters : room->n_nodes);
}

static void add_elections(const lm_raft_engine_t *engine, status_t *s)
{
    static const char *const reasons[LM_RAFT_ELECTIONS_N] = {
        [LM_RAFT_ELECTION_TIMEOUT] = "timeout",
        [LM_RAFT_ELECTION_TRANSFER] = "transfer",
    };
    for (int i = 0; i < LM_RAFT_ELECTIONS_N; i++)
        add_metric(s, "lockmgr_raft_elections_started_total", "Elections that this node has begun",
                   LM_BUS_METRIC_KIND_COUNTER, "reason", reasons[i],
                   (double)lm_raft_engine_elections_of(engine, (lm_raft_election_t)i));
    counter(s, "lockmgr_raft_prevotes_rejected_total",
            "Soundings of other nodes before an election that this node answered with no",
            lm_raft_engine_prevotes_rejected(engine));
}

static void add_engine_metrics(const lm_raft_room_t *room, status_t *s)
{
    const lm_raft_engine_t *engine = room->engine;
    bool leads = lm_raft_room_leads(room);
    gauge(s, "lockmgr_raft_has_leader", "1 if this node knows a leader", *leader_name(room) != 0);
    gauge(s, "lockmgr_raft_is_leader", "1 if this node leads", leads);
    gauge(s, "lockmgr_raft_surplus",
          "1 if the region was formed without this node, which has no vote",
          lm_raft_outside_is_surplus(room));
    if (!engine) return;
    gauge(s, "lockmgr_raft_term", "Current term", lm_raft_engine_term(engine));
    gauge(s, "lockmgr_raft_commit_index", "Last index that is known to be committed",
          lm_raft_engine_commit(engine));
    gauge(s, "lockmgr_raft_last_index", "Last index of the log",
          lm_raft_log_last_index(lm_raft_engine_log(engine)));
    gauge(s, "lockmgr_raft_first_index", "First index of the log in memory",
          lm_raft_log_first_index(lm_raft_engine_log(engine)));
    gauge(s, "lockmgr_raft_log_memory_bytes", "Memory that the log takes",
          lm_raft_log_memory(lm_raft_engine_log(engine)));
    gauge(s, "lockmgr_raft_snapshot_index", "Last index that is in the snapshot",
          lm_raft_engine_image(engine)->index);
    gauge(s, "lockmgr_raft_snapshot_bytes", "Size of the snapshot",
          lm_raft_engine_image(engine)->length);
    gauge(s, "lockmgr_raft_log_lost", "1 if acknowledged entries of this node's log are lost",
          lm_raft_loss_is(room));
    gauge(s, "lockmgr_raft_fetch_bytes", "Bytes of the snapshot being fetched that are here",
          room->fetch.next);
    gauge(s, "lockmgr_raft_fetch_size_bytes", "Size of the snapshot being fetched",
          room->fetch.image.length);
    counter(s, "lockmgr_raft_appends_stripped_total",
            "Appends of a leader that were not taken because too much waits to be stored",
            lm_raft_engine_stripped(engine));
    gauge(s, "lockmgr_raft_delivered_index", "Last index that the lock actor was given",
          room->lock.delivered);
    add_elections(engine, s);
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
        [LM_RAFT_REFUSED_LOSS] = "log_lost",
    };
    for (int i = 0; i < LM_RAFT_REFUSED_N; i++) {
        uint64_t n = room->figures.refused[i];
        if (i == LM_RAFT_REFUSED_INVALID && room->engine)
            n += lm_raft_engine_unacceptable(room->engine);
        add_metric(s, "lockmgr_raft_frames_refused_total", "Frames of peers that were not handled",
                   LM_BUS_METRIC_KIND_COUNTER, "reason", reasons[i], (double)n);
    }
}

/* Those of a leadership that is over stay: they are counts. */
static void add_round_trips(const lm_raft_room_t *room, status_t *s)
{
    for (uint32_t i = 0; i < room->n_nodes && s->n_metrics < METRICS_MAX; i++) {
        if (!room->nodes[i].was_timed) continue;
        histogram(s, "lockmgr_raft_peer_rtt_seconds",
                  "From a leader's question for linearizable reads to the answer of a peer",
                  &room->nodes[i].round_trips);
        lm_bus_metric_t *metric = &s->metrics[s->n_metrics - 1];
        metric->n_labels = 1;
        metric->labels = lm_arena_alloc(s->arena, sizeof *metric->labels);
        *metric->labels = (lm_bus_detail_t){.key = lm_bytes_of("peer"),
                                            .value = lm_bytes_of(room->nodes[i].name)};
    }
}

/* Counters that the files of the room keep. */
static const struct {
    const char *name, *help;
    size_t offset; /* in the figures */
} figures[] = {
#define FIGURE(member, name, help)                      \
    {                                                   \
        name, help, offsetof(lm_raft_figures_t, member) \
    }
    FIGURE(leader_changes, "lockmgr_raft_leader_changes_total",
           "Changes of the leader that this node has seen"),
    FIGURE(proposals_committed, "lockmgr_raft_proposals_committed_total",
           "Proposals of this node that were committed"),
    FIGURE(proposals_failed, "lockmgr_raft_proposals_failed_total",
           "Proposals of this node that were refused"),
    FIGURE(reads, "lockmgr_raft_reads_total", "Linearizable reads that were asked for"),
    FIGURE(read_rounds, "lockmgr_raft_read_rounds_total", "Rounds of questions for reads"),
    FIGURE(transfers, "lockmgr_raft_transfers_total", "Attempts to give leadership away"),
    FIGURE(snapshots_taken, "lockmgr_raft_snapshots_taken_total", "Snapshots of the lock's state"),
    FIGURE(snapshots_dropped, "lockmgr_raft_snapshots_dropped_total",
           "Snapshots that were begun and given up"),
    FIGURE(snapshots_fetched, "lockmgr_raft_snapshots_fetched_total",
           "Snapshots that came from another node"),
    FIGURE(snapshots_installed, "lockmgr_raft_snapshots_installed_total",
           "Snapshots that took the place of this node's log"),
    FIGURE(fetches_dropped, "lockmgr_raft_fetches_dropped_total",
           "Snapshots of another node that were given up"),
    FIGURE(bytes_fetched, "lockmgr_raft_fetched_bytes_total", "Bytes of snapshots of other nodes"),
    FIGURE(pieces_served, "lockmgr_raft_snapshot_pieces_served_total",
           "Pieces of snapshots that other nodes were sent"),
    FIGURE(late_ticks, "lockmgr_raft_late_ticks_total",
           "Clock ticks that came later than a heartbeat"),
#undef FIGURE
};

static void add_figures(const lm_raft_room_t *room, status_t *s)
{
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&room->figures + figures[i].offset, sizeof value);
        counter(s, figures[i].name, figures[i].help, value);
    }
    histogram(s, "lockmgr_raft_tick_lateness_seconds", "How late this room was woken",
              &room->figures.lateness);
    if (room->writes)
        histogram(s, "lockmgr_raft_wal_fsync_seconds", "Synchronous writes of the log",
                  room->writes(room->disk));
}

void lm_raft_report_status(lm_raft_room_t *room)
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
    add_round_trips(room, s);
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
    lm_status_send(room->out, &body);
    lm_arena_reset(room->scratch);
}

/* ---- when ------------------------------------------------------------------------------------ */

void lm_raft_report_settle(lm_raft_room_t *room)
{
    lm_raft_role_t role = room->engine ? lm_raft_engine_role(room->engine) : LM_RAFT_FOLLOWER_ROLE;
    uint64_t term = room->engine ? lm_raft_engine_term(room->engine) : 0;
    uint64_t leader = room->engine ? lm_raft_engine_leader(room->engine) : 0;
    bool news = room->phase != room->said_phase || role != room->said_role ||
                term != room->said_term || leader != room->said_leader || room->outside.news;
    if (!news && room->now_us < room->said_us + LM_RAFT_SECOND_US) return;
    if (leader && leader != room->last_leader) room->figures.leader_changes++;
    if (leader) room->last_leader = leader;
    room->said_phase = room->phase;
    room->said_role = role;
    room->said_term = term;
    room->said_leader = leader;
    room->outside.news = false;
    room->said_us = room->now_us;
    lm_raft_report_status(room);
    if (room->phase < LM_RAFT_FORMING) return;
    lm_raft_report_role(room, LM_LOCK);
    lm_raft_report_role(room, LM_HEALTH);
}
