#include "lock_world.h"

#include "base_log.h"
#include "lock_world_state.h"

static const char *const node_names[NODES] = {"n1", "n2"};
static const char *const names[NAMES] = {"x", "y"};

/* ---- nodes ----------------------------------------------------------------------------------- */

static void draw_bytes(void *arg, void *bytes, size_t size)
{
    (void)arg;
    memset(bytes, 7, size);
}

static void start_lock(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    node->counter++;
    node->room = lm_lock_room_new((lm_generation_t){.boot_id = 1, .counter = node->counter},
                                  draw_bytes, NULL);
    node->host = lm_test_host_new(lm_lock_room_definition(), node->room);
    node->attached = node->taken = false;
    node->delivered = 0;
    world_images_forget(node);
    lm_lock_room_set_piece(node->room, PIECE);
    lm_bus_node_config_t config = {.node = lm_bytes_of(node_names[n]),
                                   .region = lm_bytes_of("east"),
                                   .lock_default_timeout_ms = 2000,
                                   .lock_min_timeout_ms = 500,
                                   .lock_max_timeout_ms = 4000,
                                   .waiters_per_lock_max = 100,
                                   .locks_max = 100,
                                   .holds_per_owner_max = 100,
                                   .record_ring_size = 200,
                                   .sessions_max = 100,
                                   .session_window = 4};
    lm_test_deliver(node->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
}

static void stop_lock(node_t *node)
{
    lm_test_host_destroy(&node->host);
    lm_lock_room_destroy(&node->room);
}

static void tell_role(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    bool leads = w->leader == n;
    if (node->told_term != w->term || node->told_leads != leads) node->taken = false;
    node->told_term = w->term;
    node->told_leads = leads;
    node->ghosts = 0;
    lm_bus_raft_role_event_t body = {
        .role = leads ? LM_API_RAFT_ROLE_LEADER : LM_API_RAFT_ROLE_FOLLOWER,
        .term = w->term,
        .leader = lm_bytes_of(w->leader == NOBODY ? "" : node_names[w->leader]),
        .commit_index = w->commit,
        .last_index = w->n_log,
        .cluster_id = lm_bytes_of("c"),
        .history_id = lm_bytes_of("h")};
    lm_test_deliver(node->host, LM_RAFT, LM_MSG_RAFT_ROLE, &body, 0);
}

static void attach(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    const lm_test_sent_t *sent, *last = NULL;
    while ((sent = lm_test_take(node->host, LM_MSG_ATTACH))) last = sent;
    if (!last) return;
    const lm_bus_attach_t *attach = last->body;
    bool known = attach->cluster_id.size > 0;
    lm_bus_image_t image;
    bool begins = world_images_attach(w, n, attach->applied_index, known, &image);
    bool reset = begins || !known;
    node->delivered = begins ? image.index : reset ? 0 : attach->applied_index;
    node->attached = true;
    node->restoring = begins;
    node->taken = false;
    node->credit = 0;
    world_images_forget(node);
    while (lm_test_take(node->host, LM_MSG_CREDIT)) {
    }
    lm_bus_attached_t body = {.reset = reset,
                              .cluster_id = lm_bytes_of("c"),
                              .history_id = lm_bytes_of("h"),
                              .commit_index = w->commit,
                              .image = begins ? &image : NULL};
    lm_test_reply(node->host, LM_RAFT, LM_MSG_ATTACHED, last->correlation, &body);
    tell_role(w, n);
}

static void deliver(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    world_images_credit(w, n);
    if (!node->attached || node->delivered >= w->commit || node->delivered >= node->credit) return;
    lm_bus_committed_entry_t entries[3];
    uint64_t count = 1 + draw(w, 3), prev = node->delivered;
    if (count > w->commit - prev) count = w->commit - prev;
    for (uint64_t i = 0; i < count; i++)
        entries[i] = (lm_bus_committed_entry_t){.index = prev + 1 + i,
                                                .term = w->log[prev + 1 + i].term,
                                                .type = 1,
                                                .data = w->log[prev + 1 + i].data};
    lm_bus_committed_t body = {.prev_index = prev,
                               .prev_term = w->log[prev].term,
                               .n_entries = count,
                               .entries = entries,
                               .commit_index = w->commit};
    node->delivered += count;
    lm_test_deliver(node->host, LM_RAFT, LM_MSG_COMMITTED, &body, 0);
}

/* ---- proposals ------------------------------------------------------------------------------- */

static void append(world_t *w, lm_bytes_t data)
{
    if (w->n_log + 1 >= LOG_MAX) FAILED(w, "the log is full");
    uint8_t *copy = lm_alloc(data.size);
    memcpy(copy, data.data, data.size);
    w->log[++w->n_log].term = w->term;
    w->log[w->n_log].data = lm_bytes(copy, data.size);
}

static void truncate_log(world_t *w, uint64_t last)
{
    while (w->n_log > last) free((void *)w->log[w->n_log--].data.data);
}

/* What raft makes of one PROPOSE; code not OK: refused. */
static lm_bus_proposed_t propose(world_t *w, int n, const lm_bus_propose_t *body)
{
    node_t *node = &w->nodes[n];
    bool allowed = node->attached && node->told_leads && body->term == node->told_term &&
                   body->incarnation->counter == node->counter && (body->takeover || node->taken);
    if (!allowed) return (lm_bus_proposed_t){.code = LM_RC_NOT_LEADER};
    if (one_in(w, 25)) return (lm_bus_proposed_t){.code = LM_RC_OVERLOADED};
    if (body->takeover) node->taken = true;
    if (w->leader != n || w->term != node->told_term) /* it does not know yet that it is over */
        return (lm_bus_proposed_t){.index = w->n_log + ++node->ghosts, .term = body->term};
    append(w, body->entry);
    return (lm_bus_proposed_t){.index = w->n_log, .term = w->term};
}

static void take_proposals(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(node->host, LM_MSG_PROPOSE))) {
        lm_bus_proposed_t answer = propose(w, n, sent->body);
        lm_test_reply(node->host, LM_RAFT, LM_MSG_PROPOSED, sent->correlation, &answer);
    }
}

static void take_reads(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    bool leads = w->leader == n && node->told_leads && node->told_term == w->term;
    bool complete = w->commit > 0 && w->log[w->commit].term == w->term;
    if (leads && !complete) return;
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(node->host, LM_MSG_READ_INDEX))) {
        lm_bus_read_index_done_t body = {.code = leads ? LM_RC_OK : LM_RC_NOT_LEADER,
                                         .index = w->commit};
        lm_test_reply(node->host, LM_RAFT, LM_MSG_READ_INDEX_DONE, sent->correlation, &body);
    }
}

static void change_leader(world_t *w)
{
    truncate_log(w, w->commit + draw(w, w->n_log - w->commit + 1));
    w->term++;
    w->leader = (int)draw(w, NODES);
    w->figures.leader_changes++;
}

static void commit_some(world_t *w)
{
    if (w->leader == NOBODY || w->commit == w->n_log) return;
    if (w->log[w->n_log].term != w->term) return; /* only behind an entry of its own term */
    w->commit += 1 + draw(w, w->n_log - w->commit);
}

/* ---- copies: one attempt on its way through edges -------------------------------------------- */

static copy_t *new_copy(world_t *w, int c, int kind)
{
    for (int i = 0; i < COPIES; i++) {
        copy_t *copy = &w->copies[i];
        if (copy->used) continue;
        client_t *client = &w->clients[c];
        *copy = (copy_t){.used = true,
                         .open = true,
                         .client = c,
                         .op = client->op,
                         .kind = kind,
                         .edge = (int)draw(w, NODES),
                         .at = NOBODY,
                         .sent_us = w->now_us,
                         .again_us = w->now_us + draw(w, 30000),
                         .deadline_us = w->now_us + 2000000 + draw(w, 6000000)};
        copy->to = copy->edge;
        memcpy(copy->hold_id, client->hold_id, sizeof copy->hold_id);
        return copy;
    }
    return NULL;
}

static lm_bytes_t owner_of(world_t *w, const copy_t *copy)
{
    (void)w;
    static char text[CLIENTS][8];
    snprintf(text[copy->client], sizeof text[copy->client], "c%d", copy->client);
    return lm_bytes_of(text[copy->client]);
}

static void send_copy(world_t *w, copy_t *copy)
{
    client_t *client = &w->clients[copy->client];
    node_t *node = &w->nodes[copy->to];
    lm_bytes_t name = lm_bytes_of(names[client->name]), owner = owner_of(w, copy);
    lm_peer_call_context_t context = {.stamped = copy->stamped,
                                      .stamp = copy->stamp,
                                      .seen = copy->seen,
                                      .forwarded = copy->to != copy->edge,
                                      .remaining_ms = (copy->deadline_us - w->now_us) / 1000};
    lm_api_acquire_request_t acquire = {.name = name,
                                        .owner = owner,
                                        .request_id = lm_bytes_of(copy->id),
                                        .mode = client->mode,
                                        .ttl_ms = client->ttl_ms,
                                        .wait_ms = client->wait_ms};
    lm_api_release_request_t release = {.name = name,
                                        .owner = owner,
                                        .hold_id = lm_bytes_of(copy->hold_id),
                                        .request_id = lm_bytes_of(copy->id)};
    lm_api_renew_request_t renew = {
        .name = name, .owner = owner, .hold_id = lm_bytes_of(copy->hold_id)};
    lm_peer_lock_call_t body = {.context = &context,
                                .request_case = copy->kind,
                                .acquire = &acquire,
                                .release = &release,
                                .renew = &renew};
    copy->at = copy->to;
    copy->correlation = lm_test_deliver(node->host, LM_CLIENTS, LM_MSG_LOCK_CALL, &body,
                                        lm_test_now(node->host) + (copy->deadline_us - w->now_us));
}

static void report_undelivered(world_t *w, int n, uint64_t correlation)
{
    lm_bus_answer_undelivered_t body = {.correlation = correlation};
    w->figures.undelivered++;
    lm_test_deliver(w->nodes[n].host, LM_CLIENTS, LM_MSG_ANSWER_UNDELIVERED, &body, 0);
}

/* The edge notices that nobody hears this copy any more. */
static void drop_copy(world_t *w, copy_t *copy)
{
    if (copy->at != NOBODY) {
        lm_bus_listener_gone_t body = {.correlation = copy->correlation};
        lm_test_deliver(w->nodes[copy->at].host, LM_CLIENTS, LM_MSG_LISTENER_GONE, &body, 0);
    } else if (copy->answer && copy->answer->acquire) {
        report_undelivered(w, copy->answered_by, copy->correlation);
    }
    copy->used = false;
}

static void take_forward(world_t *w, copy_t *copy, const lm_peer_lock_answer_t *answer)
{
    w->figures.forwards++;
    copy->at = NOBODY;
    copy->stamped = true;
    copy->stamp = answer->stamp;
    copy->seen = answer->seen;
    copy->to = copy->edge;
    for (int n = 0; n < NODES; n++)
        if (lm_bytes_equal(answer->leader, lm_bytes_of(node_names[n]))) copy->to = n;
    copy->again_us = w->now_us + 5000 + draw(w, 60000);
}

static const lm_peer_lock_answer_t *keep_answer(world_t *w, const lm_peer_lock_answer_t *answer)
{
    void *kept = NULL;
    lm_bytes_t bytes = lm_wire_encode(&lm_peer_lock_answer_type, answer, w->arena);
    cr_assert_eq(lm_wire_decode(&lm_peer_lock_answer_type, bytes, w->arena, &kept, NULL), LM_RC_OK);
    return kept;
}

static void take_answers(world_t *w, int n)
{
    const lm_test_sent_t *sent;
    while ((sent = lm_test_take(w->nodes[n].host, LM_MSG_LOCK_ANSWER))) {
        const lm_peer_lock_answer_t *answer = sent->body;
        copy_t *copy = NULL;
        for (int i = 0; i < COPIES; i++)
            if (w->copies[i].used && w->copies[i].at == n &&
                w->copies[i].correlation == sent->correlation)
                copy = &w->copies[i];
        if (!copy) continue; /* the edge has dropped it */
        if (answer->kind == LM_PEER_ANSWER_KIND_FORWARD) {
            take_forward(w, copy, answer);
            continue;
        }
        copy->at = NOBODY;
        copy->answer = keep_answer(w, answer);
        copy->answered_by = n;
        copy->answer_us = w->now_us + draw(w, w->faults ? 100000 : 1000);
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

/* A belief outlives its hold nowhere, least of all where most is known. */
static void check_hold(world_t *w, int c)
{
    const node_t *node = &w->nodes[w->nodes[1].delivered > w->nodes[0].delivered];
    if (node->restoring) return;
    char owner[8];
    int size = snprintf(owner, sizeof owner, "c%d", c);
    const lm_record_t *record =
        lm_table_of_owner(lm_lock_room_table(node->room), lm_bytes_of(names[w->clients[c].name]),
                          (lm_bytes_t){0}, lm_bytes(owner, (size_t)size));
    if (node->delivered < w->clients[c].told_index) return;
    if (!record || record->state != LM_RECORD_HOLDING)
        FAILED(w, "client %d believes in %s, which it does not hold", c, names[w->clients[c].name]);
}

static void check_beliefs(world_t *w)
{
    for (int c = 0; c < CLIENTS; c++)
        if (w->clients[c].belief_us > w->now_us) check_hold(w, c);
    for (int name = 0; name < NAMES; name++) {
        int believers = 0, exclusive = 0;
        for (int c = 0; c < CLIENTS; c++) {
            const client_t *client = &w->clients[c];
            if (client->name != name || client->belief_us <= w->now_us) continue;
            believers++;
            exclusive += client->mode == LM_API_LOCK_MODE_EXCLUSIVE;
        }
        if (exclusive && believers > 1) FAILED(w, "%d believe in %s", believers, names[name]);
    }
}

static void believe(world_t *w, int c, const copy_t *copy)
{
    client_t *client = &w->clients[c];
    const lm_api_acquire_response_t *granted = copy->answer->acquire;
    client->state = HOLDING;
    client->op++;
    client->token = granted->token;
    client->told_index = granted->header->raft_index;
    snprintf(client->hold_id, sizeof client->hold_id, "%.*s", LM_BYTES_ARG(granted->hold_id));
    client->belief_us = copy->sent_us + (uint64_t)granted->lease_remaining_ms * 1000;
    w->figures.grants++;
    if (client->belief_us <= w->now_us) return;
    int64_t best = w->best_token[client->name];
    bool same = client->mode == LM_API_LOCK_MODE_SHARED || w->best_owner[client->name] == c;
    if (granted->token < best || (granted->token == best && !same))
        FAILED(w, "token %" PRId64 " after %" PRId64, granted->token, best);
    w->best_token[client->name] = granted->token;
    w->best_owner[client->name] = c;
    check_beliefs(w);
}

static void count_result(world_t *w, const lm_peer_lock_answer_t *answer)
{
    if (answer->kind == LM_PEER_ANSWER_KIND_ERROR) {
        w->figures.unknown += answer->code == LM_RC_OUTCOME_UNKNOWN;
    } else if (answer->acquire) {
        w->figures.ended += answer->acquire->result == LM_API_ACQUIRE_RESULT_ENDED;
        w->figures.timed_out += answer->acquire->result == LM_API_ACQUIRE_RESULT_TIMED_OUT;
        w->figures.held += answer->acquire->result == LM_API_ACQUIRE_RESULT_HELD;
    }
}

static bool grants(const copy_t *copy)
{
    return copy->answer->kind == LM_PEER_ANSWER_KIND_RESULT && copy->answer->acquire &&
           copy->answer->acquire->result == LM_API_ACQUIRE_RESULT_GRANTED;
}

static void hear_acquire(world_t *w, copy_t *copy)
{
    client_t *client = &w->clients[copy->client];
    bool wanted = copy->open && client->state == ASKING && client->op == copy->op;
    bool lost = one_in(w, 8);
    if (!wanted || lost) {
        /* Nobody may ever know that it was lost. */
        if (grants(copy) && !one_in(w, 2))
            report_undelivered(w, copy->answered_by, copy->correlation);
    } else if (grants(copy)) {
        believe(w, copy->client, copy);
    } else {
        client->state = IDLE;
        client->op++;
    }
}

static void hear_renew(world_t *w, copy_t *copy)
{
    client_t *client = &w->clients[copy->client];
    if (client->state != HOLDING || client->op != copy->op) return;
    if (copy->answer->kind != LM_PEER_ANSWER_KIND_RESULT) {
        if (copy->answer->code != LM_RC_STALE_HOLD) return;
        client->state = IDLE;
        client->belief_us = 0;
        client->op++;
        return;
    }
    uint64_t until = copy->sent_us + (uint64_t)copy->answer->renew->lease_remaining_ms * 1000;
    if (until > client->belief_us) client->belief_us = until;
    w->figures.renewals++;
    check_beliefs(w);
}

static void hear(world_t *w, copy_t *copy)
{
    count_result(w, copy->answer);
    if (copy->kind == LM_PEER_LOCK_CALL_REQUEST_ACQUIRE) hear_acquire(w, copy);
    if (copy->kind == LM_PEER_LOCK_CALL_REQUEST_RENEW) hear_renew(w, copy);
    copy->used = false;
}

static bool has_copies(const world_t *w, int c)
{
    for (int i = 0; i < COPIES; i++)
        if (w->copies[i].used && w->copies[i].client == c) return true;
    return false;
}

static void ask(world_t *w, int c)
{
    client_t *client = &w->clients[c];
    bool gives_up_others = draw(w, 3) > 0;
    for (int i = 0; i < COPIES && gives_up_others; i++)
        if (w->copies[i].client == c) w->copies[i].open = false;
    copy_t *copy = new_copy(w, c, LM_PEER_LOCK_CALL_REQUEST_ACQUIRE);
    if (!copy) return;
    client->attempts++;
    if (client->generic)
        snprintf(copy->id, sizeof copy->id, "%" PRIu64 ".%" PRIu64, client->op, client->attempts);
    else
        snprintf(copy->id, sizeof copy->id, "%" PRIu64, client->op);
}

static void begin_op(world_t *w, int c)
{
    static const int64_t waits[] = {0, -1, 700, 3000};
    client_t *client = &w->clients[c];
    /* Names and modes change only when nothing old can arrive, so that a body belongs to an id. */
    if (!has_copies(w, c)) {
        client->name = (int)draw(w, NAMES);
        client->mode =
            client->name == 1 && draw(w, 2) ? LM_API_LOCK_MODE_SHARED : LM_API_LOCK_MODE_EXCLUSIVE;
        client->ttl_ms = 500 + (int64_t)draw(w, w->lagging ? 300 : 2500);
        client->wait_ms = w->lagging ? -1 : waits[draw(w, 4)];
    }
    client->state = ASKING;
    client->attempts = 0;
    ask(w, c);
}

static void let_go(world_t *w, int c)
{
    client_t *client = &w->clients[c];
    copy_t *copy = new_copy(w, c, LM_PEER_LOCK_CALL_REQUEST_RELEASE);
    client->state = IDLE;
    client->belief_us = 0;
    client->op++;
    if (!copy) return;
    snprintf(copy->id, sizeof copy->id, "r%" PRIu64, client->op);
    if (one_in(w, 4)) copy->again_us += draw(w, 2000000); /* late */
    if (one_in(w, 8)) copy->used = false;                 /* lost */
}

static void act(world_t *w, int c)
{
    client_t *client = &w->clients[c];
    uint64_t dice = draw(w, 10);
    if (client->state == IDLE && (w->faults && dice < 6)) {
        begin_op(w, c);
    } else if (client->state == ASKING && !has_copies(w, c)) {
        if (w->faults && dice < 7) {
            ask(w, c);
        } else {
            client->state = IDLE;
            client->op++;
        }
    } else if (client->state == ASKING && dice < (w->lagging ? 4 : 1) &&
               client->attempts < (w->lagging ? 40 : 4)) {
        ask(w, c); /* a second attempt beside the first */
    } else if (client->state == HOLDING && client->belief_us <= w->now_us && dice < 2) {
        client->state = IDLE;
        client->belief_us = 0;
        client->op++;
    } else if (client->state == HOLDING && dice < 3) {
        let_go(w, c);
    } else if (client->state == HOLDING && dice < 6) {
        new_copy(w, c, LM_PEER_LOCK_CALL_REQUEST_RENEW);
    }
}

static void move_copy(world_t *w, copy_t *copy)
{
    if (!copy->used) return;
    if (copy->answer) {
        if (copy->answer_us <= w->now_us) hear(w, copy);
        return;
    }
    if (copy->open && one_in(w, 60)) copy->open = false; /* the stream breaks */
    bool late = w->now_us + 1000 >= copy->deadline_us;
    if (late || (!copy->open && draw(w, 3) == 0))
        drop_copy(w, copy);
    else if (copy->at == NOBODY && copy->again_us <= w->now_us)
        send_copy(w, copy);
}

/* ---- faults of processes --------------------------------------------------------------------- */

/* The edge's runtime sends its calls again, as they came, to the next start of the lock. */
static void restart_lock(world_t *w, int n)
{
    w->figures.lock_restarts++;
    stop_lock(&w->nodes[n]);
    start_lock(w, n);
    for (int i = 0; i < COPIES; i++) {
        copy_t *copy = &w->copies[i];
        if (!copy->used || copy->at != n) continue;
        copy->at = NOBODY;
        copy->to = copy->edge;
        copy->again_us = w->now_us + draw(w, 50000);
    }
}

static void restart_raft(world_t *w, int n)
{
    node_t *node = &w->nodes[n];
    w->figures.raft_restarts++;
    while (lm_test_take(node->host, LM_MSG_PROPOSE)) {
    }
    while (lm_test_take(node->host, LM_MSG_READ_INDEX)) {
    }
    if (w->leader == n) w->leader = NOBODY;
    node->attached = node->told_leads = node->taken = false;
    world_images_forget(node);
    lm_test_restart_peer(node->host, LM_RAFT);
}

static void pass_time(world_t *w, uint64_t us)
{
    w->now_us += us;
    for (int n = 0; n < NODES; n++) lm_test_advance(w->nodes[n].host, us);
}

/* What nobody here reads only makes the search for the rest long. */
static void throw_away(node_t *node)
{
    const lm_message_number_t unread[] = {LM_MSG_LOCK_STATE, LM_MSG_STATUS_REPORT,
                                          LM_MSG_CLUSTER_ID};
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        while (lm_test_take(node->host, unread[i])) {
        }
}

static void check_nodes(world_t *w)
{
    for (int n = 0; n < NODES; n++) throw_away(&w->nodes[n]);
    for (int n = 0; n < NODES; n++) {
        lm_lock_room_verify(w->nodes[n].room);
        if (w->nodes[n].restoring) return;
    }
    if (w->nodes[0].delivered == w->nodes[1].delivered &&
        lm_table_hash(lm_lock_room_table(w->nodes[0].room)) !=
            lm_table_hash(lm_lock_room_table(w->nodes[1].room)))
        FAILED(w, "the replicas differ at %" PRIu64, w->nodes[0].delivered);
}

/* What happens all the time, and what a fault may come between. */
static void step_raft(world_t *w)
{
    int n = (int)draw(w, NODES);
    if (w->nodes[n].mute_until_us > w->now_us) {
        commit_some(w);
        return;
    }
    switch (draw(w, 9)) {
    case 0:
    case 1: deliver(w, n); break;
    case 2: commit_some(w); break;
    case 3:
    case 4: take_proposals(w, n); break;
    case 5: take_reads(w, n); break;
    case 6: attach(w, n); break;
    case 7: world_images_step(w, n); break;
    default:
        if (w->nodes[n].attached) tell_role(w, n);
    }
}

/* What raft tells this lock lies unread for longer than a lease, while calls reach it; meanwhile
 * the other node leads. */
static void mute(world_t *w, int n)
{
    if (w->nodes[NODES - 1 - n].mute_until_us > w->now_us) return; /* somebody has to go on */
    if (w->lagging && (w->leader != n || w->nodes[n].delivered == w->commit)) return;
    w->nodes[n].mute_until_us = w->now_us + 800000 + draw(w, 1500000);
    commit_some(w);
    if (w->leader == n) change_leader(w);
    if (w->leader == n) w->leader = NODES - 1 - n;
}

static void step_fault(world_t *w)
{
    int n = (int)draw(w, NODES);
    switch (draw(w, 4)) {
    case 0:
        if (one_in(w, w->leader == NOBODY ? 2 : 10)) change_leader(w);
        break;
    case 1:
        if (one_in(w, 20)) restart_lock(w, n);
        break;
    case 2:
        if (one_in(w, w->lagging ? 1 : 20)) mute(w, n);
        break;
    default:
        if (one_in(w, 20)) restart_raft(w, n);
    }
}

static void step(world_t *w)
{
    step_raft(w);
    uint64_t dice = draw(w, 64);
    if (dice < 16)
        act(w, (int)draw(w, CLIENTS));
    else if (dice < 22)
        pass_time(w, draw(w, 40000));
    else if (dice < 23)
        step_fault(w);
    for (int i = 0; i < COPIES; i++) move_copy(w, &w->copies[i]);
    for (int i = 0; i < NODES; i++) take_answers(w, i);
    w->figures.steps++;
    check_beliefs(w);
    if (w->figures.steps % 16 == 0) check_nodes(w);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void run_out(world_t *w)
{
    w->faults = false;
    change_leader(w);
    for (int n = 0; n < NODES; n++) w->nodes[n].mute_until_us = 0;
    for (int i = 0; i < 3000; i++) {
        for (int n = 0; n < NODES; n++) {
            attach(w, n);
            if (w->nodes[n].told_term != w->term) tell_role(w, n);
            take_proposals(w, n);
            take_reads(w, n);
            world_images_answer(w, n);
        }
        commit_some(w);
        for (int n = 0; n < NODES; n++) deliver(w, n);
        act(w, i % CLIENTS);
        for (int k = 0; k < COPIES; k++) move_copy(w, &w->copies[k]);
        for (int n = 0; n < NODES; n++) take_answers(w, n);
        pass_time(w, 7000);
        check_beliefs(w);
    }
    check_nodes(w);
    for (int c = 0; c < CLIENTS; c++) {
        if (has_copies(w, c)) FAILED(w, "client %d still waits for an answer", c);
        if (w->clients[c].state == ASKING) FAILED(w, "client %d still asks", c);
    }
    for (int n = 0; n < NODES; n++) {
        lm_table_counts_t counts = lm_table_counts(lm_lock_room_table(w->nodes[n].room));
        if (counts.locks)
            FAILED(w, "%" PRIu64 " locks are left on %s", counts.locks, node_names[n]);
        if (lm_lock_room_calls(w->nodes[n].room)) FAILED(w, "a call is left on %s", node_names[n]);
        lm_table_verify(lm_lock_room_table(w->nodes[n].room));
    }
}

world_figures_t world_run(uint64_t seed, int steps)
{
    world_t *w = lm_alloc(sizeof *w);
    memset(w, 0, sizeof *w);
    lm_log_setup("n", "lock", LM_LOG_ERROR, false);
    w->seed = seed;
    w->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w->faults = true;
    w->lagging = seed % 3 == 0;
    w->arena = lm_arena_new();
    w->leader = NOBODY;
    for (int c = 0; c < CLIENTS; c++) w->clients[c].generic = c >= 3;
    for (int n = 0; n < NODES; n++) start_lock(w, n);
    for (int i = 0; i < 8; i++) draw(w, 2);
    change_leader(w);
    for (int i = 0; i < steps; i++) step(w);
    run_out(w);
    for (int n = 0; n < NODES; n++) {
        world_images_forget(&w->nodes[n]);
        world_images_free(&w->nodes[n].image);
        stop_lock(&w->nodes[n]);
    }
    truncate_log(w, 0);
    lm_arena_destroy(&w->arena);
    world_figures_t figures = w->figures;
    free(w);
    return figures;
}
