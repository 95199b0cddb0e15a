/* What this node says of itself: GetStatus, and the report to health. */
#include <inttypes.h>
#include <stdio.h>

#include "act_status.h"
#include "lock_state.h"

void lm_lock_status_on_regions(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    room->regions =
        lm_lock_room_keep(room, &lm_bus_region_table_type, message->body, room->region_texts);
}

/* What is in the way of serving, as a sentence; empty if nothing is. */
static lm_bytes_t problem(const lm_lock_room_t *room)
{
    if (lm_lock_restore_is_on(room)) return lm_bytes_of("the last snapshot is being loaded");
    const lm_bus_raft_role_event_t *role = room->role_event;
    if (lm_lock_lead_is_outside(room) && role->problem.size) return role->problem;
    if (!room->attached) return lm_bytes_of("the raft actor is away");
    if (!role) return lm_bytes_of("the raft actor has not said yet where it stands");
    if (role->problem.size) return role->problem;
    if (!role->leader.size) return lm_bytes_of("the region has no leader");
    if (!room->current) return lm_bytes_of("this node has not applied the whole log yet");
    if (room->role == LM_API_RAFT_ROLE_LEADER && !room->serving)
        return lm_bytes_of("this node leads and has not taken over yet");
    return (lm_bytes_t){0};
}

/* ---- GetStatus ------------------------------------------------------------------------------- */

static void fill_members(lm_lock_room_t *room, lm_api_get_status_response_t *status)
{
    const lm_bus_raft_role_event_t *role = room->role_event;
    if (!role) return;
    status->n_members = role->n_members;
    status->members = lm_arena_alloc(room->scratch, role->n_members * sizeof *status->members);
    for (size_t i = 0; i < role->n_members; i++) {
        const lm_bus_raft_member_t *member = &role->members[i];
        status->members[i] = (lm_api_member_t){
            .name = member->name,
            .server_id = lm_arena_print(room->scratch, "%016" PRIx64, member->server_id),
            .address = member->address,
            .leader = role->leader.size && lm_bytes_equal(member->name, role->leader)};
    }
}

static void fill_regions(lm_lock_room_t *room, lm_api_get_status_response_t *status)
{
    const lm_bus_region_table_t *table = room->regions;
    if (!table) return;
    status->n_regions = table->n_regions;
    status->regions = lm_arena_alloc(room->scratch, table->n_regions * sizeof *status->regions);
    for (size_t i = 0; i < table->n_regions; i++) {
        const lm_bus_region_peer_status_t *region = &table->regions[i];
        status->regions[i] = (lm_api_region_status_t){.region = region->region,
                                                      .address = region->address,
                                                      .reachable = region->reachable,
                                                      .round_trip_us = region->round_trip_us,
                                                      .cluster_id = region->cluster_id,
                                                      .version = region->version};
    }
}

/** raft tells its last index once a second; what is committed has come since. */
static uint64_t last_index(const lm_lock_room_t *room)
{
    uint64_t told = room->role_event ? room->role_event->last_index : 0;
    return told > room->commit_index ? told : room->commit_index;
}

void lm_lock_status_on_query(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    lm_lock_room_t *room = lm_lock_room_enter(self, message, out);
    const lm_bus_node_config_t *config = room->config;
    lm_table_counts_t counts = lm_table_counts(room->table);
    lm_api_get_status_response_t status = {
        .header = lm_lock_answer_header(room, 0),
        .role = (int32_t)room->role,
        .leader = room->role_event ? room->role_event->leader : (lm_bytes_t){0},
        .commit_index = room->commit_index,
        .applied_index = room->applied_index,
        .last_index = last_index(room),
        .state_hash = lm_arena_print(room->scratch, "%016" PRIx64, lm_table_hash(room->table)),
        .version = config->version,
        .locks = counts.locks,
        .holds = counts.holds,
        .waiters = counts.waiters,
        .sessions = counts.sessions,
        .problem = problem(room),
        .ttl_default_ms = config->lock_default_timeout_ms,
        .ttl_min_ms = config->lock_min_timeout_ms,
        .ttl_max_ms = config->lock_max_timeout_ms};
    fill_members(room, &status);
    fill_regions(room, &status);
    lm_outbox_reply(out, &message->from, LM_MSG_STATUS_ANSWER, &status);
}

/* ---- the report ------------------------------------------------------------------------------ */

enum { LM_METRICS_MAX = 80, LM_DETAILS_MAX = 8 };

typedef struct {
    lm_arena_t *arena;
    lm_bus_metric_t metrics[LM_METRICS_MAX];
    size_t n_metrics;
    lm_bus_detail_t details[LM_DETAILS_MAX];
    size_t n_details;
} lm_report_t;

static lm_bus_metric_t *metric(lm_report_t *report, lm_bus_metric_kind_t kind, const char *name,
                               const char *help, uint64_t value)
{
    lm_bus_metric_t *metric = &report->metrics[report->n_metrics++];
    *metric = (lm_bus_metric_t){
        .name = lm_bytes_of(name), .help = lm_bytes_of(help), .kind = kind, .value = (double)value};
    return metric;
}

static void detail(lm_report_t *report, const char *key, lm_bytes_t value, bool plain)
{
    report->details[report->n_details++] =
        (lm_bus_detail_t){.key = lm_bytes_of(key), .value = value, .plain = plain};
}

static void acquire_metrics(const lm_lock_room_t *room, lm_report_t *report)
{
    static const char *const modes[] = {
        [LM_MODE_EXCLUSIVE] = "exclusive", [LM_MODE_SHARED] = "shared"};
    static const char *const results[] = {"error",     "granted", "held",
                                          "timed_out", "ended",   "cancelled"};
    for (size_t mode = LM_MODE_EXCLUSIVE; mode <= LM_MODE_SHARED; mode++) {
        for (size_t result = 0; result < sizeof results / sizeof *results; result++) {
            lm_bus_metric_t *one =
                metric(report, LM_BUS_METRIC_KIND_COUNTER, "lockmgr_lock_acquires_total",
                       "Acquires that this node answered.", room->figures.acquires[mode][result]);
            one->n_labels = 2;
            one->labels = lm_arena_alloc(report->arena, 2 * sizeof *one->labels);
            one->labels[0] =
                (lm_bus_detail_t){.key = lm_bytes_of("mode"), .value = lm_bytes_of(modes[mode])};
            one->labels[1] = (lm_bus_detail_t){.key = lm_bytes_of("result"),
                                               .value = lm_bytes_of(results[result])};
        }
    }
}

static void gauges(const lm_lock_room_t *room, lm_report_t *report)
{
    lm_table_counts_t counts = lm_table_counts(room->table);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"lockmgr_locks", "Lock names that are held or waited for.", counts.locks},
        {"lockmgr_locks_held", "Holds, shared ones each for itself.", counts.holds},
        {"lockmgr_lock_waiters", "Requests that wait in queues.", counts.waiters},
        {"lockmgr_sessions", "Sessions that are open.", counts.sessions},
        {"lockmgr_lock_records", "Requests that are remembered.", counts.records},
        {"lockmgr_lock_calls_open", "Calls without an answer.", room->calls.n},
        {"lockmgr_lock_leading", "1 while this lock actor serves as leader.", room->serving},
        {"lockmgr_lock_applied_index", "Last log index applied.", room->applied_index},
        {"lockmgr_lock_proposals_queued", "Commands that wait for a place in an entry.",
         room->n_queue},
        {"lockmgr_lock_entries_in_flight", "Entries on their way through Raft.", room->n_flight},
        {"lockmgr_lock_snapshot_running", "1 while a snapshot is being taken.",
         room->snapshot.mark.index != 0},
        {"lockmgr_lock_snapshot_ahead_bytes", "Bytes of it that were written ahead.",
         lm_image_ahead(room->table)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        metric(report, LM_BUS_METRIC_KIND_GAUGE, rows[i].name, rows[i].help, rows[i].value);
}

static void counters(const lm_lock_room_t *room, lm_report_t *report)
{
    const lm_lock_figures_t *figures = &room->figures;
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"lockmgr_lock_commands_total", "Commands applied in the region's history (op_seq).",
         lm_table_op_seq(room->table)},
        {"lockmgr_lock_releases_total", "Holds given back.", figures->releases},
        {"lockmgr_lock_renewals_total", "Leases renewed.", figures->renewals},
        {"lockmgr_lock_expirations_total", "Holds whose lease ran out.", figures->expirations},
        {"lockmgr_lock_sessions_opened_total", "Sessions opened.", figures->sessions_opened},
        {"lockmgr_lock_sessions_closed_total", "Sessions closed by their clients.",
         figures->sessions_closed},
        {"lockmgr_lock_sessions_expired_total", "Sessions whose lease ran out.",
         figures->sessions_expired},
        {"lockmgr_lock_keep_alives_total", "Leases of sessions started again.",
         figures->keep_alives},
        {"lockmgr_lock_abandoned_total", "Grants undone because nobody received them.",
         figures->abandoned},
        {"lockmgr_lock_waits_left_total", "Waits ended because nobody listened.", figures->left},
        {"lockmgr_lock_waits_timed_out_total", "Waits whose time was over.", figures->timed_out},
        {"lockmgr_lock_answers_undelivered_total", "Answers that found nobody.",
         figures->undelivered},
        {"lockmgr_lock_fencing_rejections_total",
         "Releases and renewals refused because their hold is not the newest or has ended.",
         figures->stale_holds},
        {"lockmgr_lock_proposals_refused_total", "Entries that Raft refused.",
         figures->proposals_refused},
        {"lockmgr_raft_proposals_applied_total", "Entries that this node proposed and applied.",
         figures->proposals_applied},
        {"lockmgr_lock_takeovers_total", "Times this lock actor began to lead.",
         figures->takeovers},
        {"lockmgr_lock_snapshots_taken_total", "Snapshots that this lock actor completed.",
         figures->snapshots_taken},
        {"lockmgr_lock_snapshots_dropped_total", "Snapshots that were given up or did not fit.",
         figures->snapshots_dropped},
        {"lockmgr_lock_snapshot_bytes_total", "Bytes of snapshots handed to Raft.",
         figures->snapshot_bytes},
        {"lockmgr_lock_snapshots_restored_total", "Snapshots that this lock actor began with.",
         figures->restores},
        {"lockmgr_lock_restored_bytes_total", "Bytes of snapshots loaded.",
         figures->restored_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        metric(report, LM_BUS_METRIC_KIND_COUNTER, rows[i].name, rows[i].help, rows[i].value);
    report->metrics[report->n_metrics++] = lm_status_histogram(
        "lockmgr_lock_hold_seconds",
        "How long locks were held whose hold has ended; not of those from before this lock actor.",
        &figures->holds, report->arena);
    report->metrics[report->n_metrics++] = lm_status_histogram(
        "lockmgr_lock_wait_seconds", "From the arrival of an Acquire to the answer that grants it.",
        &figures->waits, report->arena);
}

void lm_lock_status_report(lm_lock_room_t *room)
{
    lm_report_t *report = lm_arena_alloc(room->scratch, sizeof *report);
    report->arena = room->scratch;
    acquire_metrics(room, report);
    gauges(room, report);
    counters(room, report);
    detail(report, "serving", lm_bytes_of(room->serving ? "true" : "false"), true);
    detail(report, "appliedIndex", lm_arena_print(room->scratch, "%" PRIu64, room->applied_index),
           true);
    detail(report, "opSeq", lm_arena_print(room->scratch, "%" PRIu64, lm_table_op_seq(room->table)),
           true);
    lm_bytes_t why = problem(room);
    bool near = room->commit_index <= room->applied_index + LM_LOCK_NEAR_ENTRIES;
    /* A surplus node has nothing to catch up with; one that lost its data is not ready, so that
     * nobody stops a further node now. */
    bool surplus = room->role == LM_API_RAFT_ROLE_SURPLUS && lm_lock_lead_name(room).size;
    bool ready = surplus || (room->attached && room->current && near);
    const char *state = !room->attached && !surplus ? "OUT_OF_SERVICE"
                        : why.size                  ? "UNKNOWN"
                                                    : "UP";
    lm_bus_status_report_t body = {.state = lm_bytes_of(state),
                                   .reason = why,
                                   .n_details = report->n_details,
                                   .details = report->details,
                                   .n_metrics = report->n_metrics,
                                   .metrics = report->metrics,
                                   .queues = lm_lock_queues_report(room),
                                   .ready = ready && !room->draining};
    lm_status_send(room->out, &body);
}
