#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"
#include "raft_cluster_state.h"
#include "raft_framed.h"

static const char *const names[LM_CLUSTER_MAX] = {"n1", "n2", "n3", "n4", "n5"};

uint64_t lm_cluster_chance(lm_cluster_t *c, uint64_t bound)
{
    return lm_fake_chance(&c->chance, bound);
}

static void draw(void *arg, void *bytes, size_t size)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) at[i] = (uint8_t)lm_cluster_chance(arg, 256);
}

/* ---- the network ----------------------------------------------------------------------------- */

static void drop_link(lm_cluster_t *c, uint32_t from, uint32_t to)
{
    while (c->links[from][to]) {
        packet_t *packet = c->links[from][to];
        c->links[from][to] = packet->next;
        free(packet->bytes);
        free(packet);
    }
    c->link_ends[from][to] = &c->links[from][to];
}

static void send_packet(lm_cluster_t *c, uint32_t from, const lm_bus_peer_send_t *body)
{
    uint32_t to = 0;
    while (to < c->options.nodes && !lm_bytes_equal(lm_bytes_of(names[to]), body->node)) to++;
    LM_CHECK(to < c->options.nodes && to != from, "a frame to nobody");
    if (c->cut[from][to] || !c->nodes[to].up) return;
    if (c->options.loss_percent && lm_cluster_chance(c, 100) < c->options.loss_percent) return;
    packet_t *packet = lm_alloc(sizeof *packet);
    packet->due_us = c->now_us + 200 + lm_cluster_chance(c, c->options.latency_us_max + 1);
    packet->from = from;
    packet->to = to;
    packet->epoch = c->nodes[to].epoch[from];
    packet->size = body->frame.size;
    packet->bytes = lm_alloc(packet->size);
    memcpy(packet->bytes, body->frame.data, packet->size);
    *c->link_ends[from][to] = packet;
    c->link_ends[from][to] = &packet->next;
}

static void drain(lm_cluster_t *c, uint32_t node);

static void deliver(lm_cluster_t *c, packet_t *packet)
{
    lm_bus_peer_receive_t body = {.node = lm_bytes_of(names[packet->from]),
                                  .epoch = packet->epoch,
                                  .frame = lm_bytes(packet->bytes, packet->size)};
    lm_test_deliver(c->nodes[packet->to].host, LM_PEERS, LM_MSG_PEER_RECEIVE, &body, 0);
    drain(c, packet->to);
}

static void deliver_link(lm_cluster_t *c, uint32_t from, uint32_t to)
{
    while (c->links[from][to] && c->links[from][to]->due_us <= c->now_us && c->nodes[to].up &&
           !c->nodes[to].paused) {
        packet_t *packet = c->links[from][to];
        c->links[from][to] = packet->next;
        if (!c->links[from][to]) c->link_ends[from][to] = &c->links[from][to];
        deliver(c, packet);
        free(packet->bytes);
        free(packet);
    }
}

void lm_cluster_reconnect(lm_cluster_t *c, uint32_t a, uint32_t b)
{
    c->nodes[a].epoch[b]++;
    c->nodes[b].epoch[a]++;
}

void lm_cluster_cut(lm_cluster_t *c, uint32_t a, uint32_t b, bool cut)
{
    if (c->cut[a][b] == cut) return;
    c->cut[a][b] = c->cut[b][a] = cut;
    if (!cut) lm_cluster_reconnect(c, a, b);
    for (uint32_t side = 0; side < 2; side++) {
        node_t *node = &c->nodes[side ? b : a];
        lm_bus_peer_link_t body = {.node = lm_bytes_of(names[side ? a : b]), .up = !cut};
        if (node->up) lm_test_deliver(node->host, LM_PEERS, LM_MSG_PEER_LINK, &body, 0);
    }
}

/* ---- the lock's side ------------------------------------------------------------------------- */

static lm_bus_generation_t generation_of(const lock_t *lock)
{
    return (lm_bus_generation_t){.boot_id = 1, .counter = lock->counter};
}

void lm_cluster_attach(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    lm_bus_attach_t body = {.cluster_id = lm_bytes_of(lock->cluster_id),
                            .history_id = lm_bytes_of(lock->history_id),
                            .applied_index = lock->applied,
                            .applied_term = lock->applied_term,
                            .state_hash = lock->hash};
    lock->attached = lock->ready = lock->taking = lock->serving = false;
    lm_cluster_image_end(&lock->taken);
    lm_cluster_image_end(&lock->loaded);
    lock->attach_call = lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_ATTACH, &body, 0);
    lock->attaching = lm_test_refused(c->nodes[n].host) == LM_RC_OK;
    lock->retry_us = c->now_us + 50 * MS;
}

void lm_cluster_tell(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    if (!lock->attached || lock->silent || lock->loaded.on) return;
    lock->ready = lock->ready || lock->applied >= lock->attach_commit;
    lm_bus_credit_t credit = {.up_to_index = lock->applied + (lock->stalled ? 0 : 64)};
    lm_bus_lock_state_t state = {
        .ready = lock->ready, .applied_index = lock->applied, .state_hash = lock->hash};
    lm_test_feed(c->nodes[n].host, LM_LOCK, LM_MSG_CREDIT, &credit, 0);
    lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_LOCK_STATE, &state, 0);
}

static void lock_propose(lm_cluster_t *c, uint32_t n, bool takeover)
{
    lock_t *lock = &c->nodes[n].lock;
    uint64_t command = ++c->next_command;
    size_t size = c->payload ? c->payload : 16 + 8 * lm_cluster_chance(c, 7);
    uint8_t *bytes = raft_framed(lm_alloc(size), size);
    memcpy(bytes + RAFT_FRAMED_HEAD, &command, 8);
    lm_bus_generation_t generation = generation_of(lock);
    lm_bus_propose_t body = {.term = lock->term,
                             .incarnation = &generation,
                             .takeover = takeover,
                             .entry = lm_bytes(bytes, size)};
    flight_t *flight = &lock->flight[lock->n_flight++];
    *flight = (flight_t){.hash = lm_bytes_hash(body.entry, LM_HASH_START)};
    flight->correlation = lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_PROPOSE, &body, 0);
    free(bytes);
}

static void lock_read(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    lm_bus_read_index_t body = {0};
    lock->read_floor = c->floor;
    lock->read_us = c->now_us;
    lock->read_call =
        lm_test_deliver(c->nodes[n].host, LM_LOCK, LM_MSG_READ_INDEX, &body, c->now_us + 300 * MS);
}

static void lock_lead(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    bool leads = lock->attached && lock->role == LM_API_RAFT_ROLE_LEADER;
    if (!leads) lock->taking = lock->serving = false;
    if (!leads || lock->silent) return;
    if (!lock->taking && !lock->serving) {
        lock->taking = true;
        lock->taking_index = 0;
        lock->n_flight = 0;
        lock_propose(c, n, true);
    }
}

static void lock_work(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    if (lock->silent || c->load_ms == 0 || c->now_us < lock->load_us) return;
    lock->load_us = c->now_us + c->load_ms * MS;
    while (lock->serving && lock->n_flight < FLIGHT_MAX && lm_cluster_chance(c, 3))
        lock_propose(c, n, false);
    /* Reads begin before the Takeover is applied: raft alone must get them right. */
    bool leads = lock->attached && lock->role == LM_API_RAFT_ROLE_LEADER;
    bool over = c->now_us > lock->read_us + 300 * MS;
    if (leads && (!lock->read_call || over)) lock_read(c, n);
}

/* ---- what raft says to the lock -------------------------------------------------------------- */

static void note_id(lm_cluster_t *c, lm_bytes_t id)
{
    if (id.size == 0 || id.size >= sizeof c->ids[0]) return;
    for (uint32_t i = 0; i < c->n_ids; i++)
        if (lm_bytes_equal(lm_bytes_of(c->ids[i]), id)) return;
    LM_CHECK(c->n_ids < 8, "too many clusters");
    memcpy(c->ids[c->n_ids++], id.data, id.size);
}

static void on_role(lm_cluster_t *c, uint32_t n, const lm_bus_raft_role_event_t *body)
{
    lock_t *lock = &c->nodes[n].lock;
    if (body->role != LM_API_RAFT_ROLE_LEADER || body->term != lock->term)
        lock->taking = lock->serving = false;
    lock->role = body->role;
    lock->term = body->term;
    snprintf(lock->problem, sizeof lock->problem, "%.*s", LM_BYTES_ARG(body->problem));
    note_id(c, body->cluster_id);
    if (lock->silent) return;
    lm_cluster_tell(c, n);
    lock_lead(c, n);
}

static void on_attached(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent)
{
    lock_t *lock = &c->nodes[n].lock;
    const lm_bus_attached_t *body = sent->body;
    if (sent->correlation != lock->attach_call) return;
    if (body->reset) lm_cluster_image_begin(c, lock, body->image);
    snprintf(lock->cluster_id, sizeof lock->cluster_id, "%.*s", LM_BYTES_ARG(body->cluster_id));
    snprintf(lock->history_id, sizeof lock->history_id, "%.*s", LM_BYTES_ARG(body->history_id));
    lock->attached = true;
    lock->attaching = false;
    lock->attach_commit = body->commit_index;
    lm_cluster_tell(c, n);
    lock_lead(c, n);
}

static void remember(lm_cluster_t *c, uint32_t n, const lm_bus_committed_entry_t *entry,
                     uint64_t hash)
{
    if (entry->index > c->n_history) {
        LM_CHECK(entry->index == c->n_history + 1, "history skips to %llu", (ull_t)entry->index);
        c->history = lm_realloc(c->history, (c->n_history + 1) * sizeof *c->history);
        c->history[c->n_history++] = (entry_t){.term = entry->term, .hash = hash};
    }
    const entry_t *known = &c->history[entry->index - 1];
    LM_CHECK(known->term == entry->term && known->hash == hash,
             "seed %llu: node %u applies %llu of term %llu, another applied term %llu",
             (ull_t)c->options.seed, n, (ull_t)entry->index, (ull_t)entry->term,
             (ull_t)known->term);
}

/* A command of this lock that comes back under the index and term it was given is acknowledged. */
static void settle_flight(lm_cluster_t *c, lock_t *lock, const lm_bus_committed_entry_t *entry,
                          uint64_t hash)
{
    for (uint32_t i = 0; i < lock->n_flight; i++) {
        flight_t flight = lock->flight[i];
        if (!flight.known || flight.index != entry->index || flight.term != entry->term) continue;
        LM_CHECK(flight.hash == hash, "another entry at the index and term that raft gave");
        lock->flight[i] = lock->flight[--lock->n_flight];
        c->acknowledged =
            lm_realloc(c->acknowledged, (c->n_acknowledged + 1) * sizeof *c->acknowledged);
        c->acknowledged[c->n_acknowledged++] = flight;
        if (entry->index > c->floor) c->floor = entry->index;
        if (lock->taking && lock->taking_index == entry->index) {
            lock->taking = false;
            lock->serving = true;
        }
        return;
    }
}

static void on_committed(lm_cluster_t *c, uint32_t n, const lm_bus_committed_t *body)
{
    lock_t *lock = &c->nodes[n].lock;
    if (!lock->attached) return;
    lock->n_deliveries++;
    LM_CHECK(body->prev_index == lock->applied && body->prev_term == lock->applied_term,
             "seed %llu: entries behind %llu^%llu come to %llu^%llu", (ull_t)c->options.seed,
             (ull_t)body->prev_index, (ull_t)body->prev_term, (ull_t)lock->applied,
             (ull_t)lock->applied_term);
    for (size_t i = 0; i < body->n_entries; i++) {
        const lm_bus_committed_entry_t *entry = &body->entries[i];
        uint64_t hash = lm_bytes_hash(entry->data, LM_HASH_START);
        LM_CHECK(entry->index == lock->applied + 1, "a gap before %llu", (ull_t)entry->index);
        LM_CHECK(entry->index <= body->commit_index, "delivered before it is committed");
        remember(c, n, entry, hash);
        lock->applied = entry->index;
        lock->applied_term = entry->term;
        lock->hash = lm_bytes_hash(lm_bytes(&hash, 8), lock->hash);
        settle_flight(c, lock, entry, hash);
    }
    lm_cluster_tell(c, n);
}

static void on_proposed(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent)
{
    lock_t *lock = &c->nodes[n].lock;
    const lm_bus_proposed_t *body = sent->body;
    for (uint32_t i = 0; i < lock->n_flight; i++) {
        if (lock->flight[i].correlation != sent->correlation) continue;
        if (body->code != LM_RC_OK) {
            lock->flight[i] = lock->flight[--lock->n_flight];
            if (lock->taking && lock->n_flight == 0) lock->taking = false;
            return;
        }
        lock->flight[i].known = true;
        lock->flight[i].index = body->index;
        lock->flight[i].term = body->term;
        if (lock->taking && lock->taking_index == 0) lock->taking_index = body->index;
        return;
    }
    (void)c;
}

static void on_read_done(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent)
{
    lock_t *lock = &c->nodes[n].lock;
    const lm_bus_read_index_done_t *body = sent->body;
    if (sent->correlation != lock->read_call) return;
    lock->read_call = 0;
    if (body->code != LM_RC_OK) return;
    LM_CHECK(body->index >= lock->read_floor,
             "seed %llu: read index %llu, but %llu was acknowledged", (ull_t)c->options.seed,
             (ull_t)body->index, (ull_t)lock->read_floor);
    c->reads++;
}

static void to_lock(lm_cluster_t *c, uint32_t n, const lm_test_sent_t *sent)
{
    if (sent->number == LM_MSG_RAFT_ROLE) on_role(c, n, sent->body);
    if (sent->number == LM_MSG_ATTACHED) on_attached(c, n, sent);
    if (sent->number == LM_MSG_COMMITTED) on_committed(c, n, sent->body);
    if (sent->number == LM_MSG_PROPOSED) on_proposed(c, n, sent);
    if (sent->number == LM_MSG_READ_INDEX_DONE) on_read_done(c, n, sent);
    lm_cluster_image_hear(c, n, sent);
    if (sent->number == LM_MSG_ATTACH_AGAIN) c->nodes[n].lock.attached = false;
}

/* Works off what a room has said. */
static void drain(lm_cluster_t *c, uint32_t n)
{
    const lm_test_sent_t *sent;
    lm_exit_t code;
    while ((sent = lm_test_take(c->nodes[n].host, LM_MSG_NONE))) {
        if (sent->to == LM_LOCK)
            to_lock(c, n, sent);
        else if (sent->number == LM_MSG_PEER_SEND)
            send_packet(c, n, sent->body);
        else if (sent->number == LM_MSG_STATUS_REPORT)
            c->nodes[n].status = sent->body;
        else if (sent->number == LM_MSG_DRAINED)
            c->nodes[n].drained = ((const lm_bus_drained_t *)sent->body)->done;
    }
    if (!lm_test_has_ended(c->nodes[n].host, &code)) return;
    LM_CHECK(c->options.may_end, "seed %llu: node %u ended with %d", (ull_t)c->options.seed, n,
             (int)code);
    c->nodes[n].exit = code;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

void lm_cluster_start(lm_cluster_t *c, uint32_t n)
{
    node_t *node = &c->nodes[n];
    lm_bus_peer_config_t peers[LM_CLUSTER_MAX];
    if (node->up) return;
    node->up = true;
    node->exit = LM_EXIT_OK;
    node->drained = -1;
    node->room = lm_raft_room_new(draw, c);
    lm_raft_room_set_disk(node->room, lm_fake_disk_raft(node->disk));
    node->host = lm_test_host_new(&lm_raft_room, node->room);
    if (c->now_us > START_US) lm_test_advance(node->host, c->now_us - START_US);
    for (uint32_t i = 0; i < c->options.nodes; i++)
        peers[i] = (lm_bus_peer_config_t){
            .name = lm_bytes_of(names[i]), .host = lm_bytes_of("localhost"), .grpc_port = 9090};
    lm_bus_node_config_t config = {
        .node = lm_bytes_of(names[n]),
        .region = lm_bytes_of("test"),
        .data_dir = lm_bytes_of("/nowhere"),
        .n_peers = c->options.nodes,
        .peers = peers,
        .election_timeout_ms = 150,
        .heartbeat_interval_ms = 50,
        .snapshot_bytes = c->options.snapshot_bytes,
        .trailing_entries = c->options.trailing_entries,
    };
    lm_fake_disk_time(node->disk, c->now_us);
    lm_test_deliver(node->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        c->nodes[n].epoch[i]++;
        c->nodes[i].epoch[n]++;
        if (!c->cut[n][i]) continue;
        lm_bus_peer_link_t body = {.node = lm_bytes_of(names[i]), .up = false};
        lm_test_deliver(node->host, LM_PEERS, LM_MSG_PEER_LINK, &body, 0);
    }
    for (uint32_t i = 1; i < node->lock.counter; i++) lm_test_restart_peer(node->host, LM_LOCK);
    drain(c, n);
}

static void new_lock(lm_cluster_t *c, uint32_t n)
{
    lock_t *lock = &c->nodes[n].lock;
    uint32_t counter = lock->counter + 1;
    lm_cluster_image_end(&lock->taken);
    lm_cluster_image_end(&lock->loaded);
    *lock = (lock_t){.counter = counter, .hash = LM_HASH_START};
}

void lm_cluster_kill(lm_cluster_t *c, uint32_t n, bool keep_lock)
{
    node_t *node = &c->nodes[n];
    if (!node->up) return;
    node->up = node->paused = false;
    lm_test_host_destroy(&node->host);
    lm_raft_room_destroy(&node->room);
    lm_fake_disk_crash(node->disk);
    node->status = NULL;
    for (uint32_t i = 0; i < c->options.nodes; i++) drop_link(c, i, n);
    lock_t *lock = &node->lock;
    lock->attached = lock->attaching = lock->taking = lock->serving = lock->ready = false;
    lm_cluster_image_end(&lock->taken);
    lm_cluster_image_end(&lock->loaded);
    lock->read_call = 0;
    lock->n_flight = 0;
    lock->role = LM_API_RAFT_ROLE_AWAY;
    if (!keep_lock) {
        new_lock(c, n);
        lock->counter = 1;
    }
}

bool lm_cluster_kill_at(lm_cluster_t *c, uint32_t n, bool keep_lock, unsigned steps)
{
    bool were_there = lm_fake_disk_crash_after(c->nodes[n].disk, steps);
    lm_cluster_kill(c, n, keep_lock);
    return were_there;
}

void lm_cluster_restart_lock(lm_cluster_t *c, uint32_t n)
{
    new_lock(c, n);
    if (!c->nodes[n].up) return;
    lm_test_restart_peer(c->nodes[n].host, LM_LOCK);
    drain(c, n);
}

void lm_cluster_silence_lock(lm_cluster_t *c, uint32_t n, bool silent)
{
    c->nodes[n].lock.silent = silent;
}

void lm_cluster_stall_lock(lm_cluster_t *c, uint32_t n, bool stalled)
{
    c->nodes[n].lock.stalled = stalled;
}

void lm_cluster_stop_parts(lm_cluster_t *c, uint32_t n, bool stopped)
{
    c->nodes[n].lock.stopped = stopped;
}

void lm_cluster_pause(lm_cluster_t *c, uint32_t n, bool paused) { c->nodes[n].paused = paused; }
void lm_cluster_loss(lm_cluster_t *c, uint32_t percent) { c->options.loss_percent = percent; }
void lm_cluster_load(lm_cluster_t *c, uint32_t every_ms) { c->load_ms = every_ms; }
void lm_cluster_payload(lm_cluster_t *c, size_t bytes) { c->payload = bytes; }

lm_cluster_t *lm_cluster_new(const lm_cluster_options_t *options)
{
    lm_cluster_t *c = lm_alloc(sizeof *c);
    c->options = *options;
    c->chance = options->seed;
    c->now_us = START_US;
    for (uint32_t i = 0; i < options->nodes; i++) {
        for (uint32_t j = 0; j < options->nodes; j++) c->link_ends[i][j] = &c->links[i][j];
        c->nodes[i].disk = lm_fake_disk_new();
        lm_fake_disk_delay(c->nodes[i].disk, options->disk_us_max, &c->chance);
        c->nodes[i].lock = (lock_t){.counter = 1, .hash = LM_HASH_START};
    }
    for (uint32_t i = 0; i < options->nodes; i++) lm_cluster_start(c, i);
    return c;
}

void lm_cluster_destroy(lm_cluster_t **cluster)
{
    lm_cluster_t *c = *cluster;
    for (uint32_t i = 0; i < c->options.nodes; i++) {
        lm_cluster_kill(c, i, false);
        lm_fake_disk_destroy(&c->nodes[i].disk);
        for (uint32_t j = 0; j < c->options.nodes; j++) drop_link(c, i, j);
    }
    free(c->history);
    free(c->acknowledged);
    free(c);
    *cluster = NULL;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void step_node(lm_cluster_t *c, uint32_t n)
{
    node_t *node = &c->nodes[n];
    lm_raft_done_t *done;
    lm_fake_disk_time(node->disk, c->now_us);
    if (node->up && node->exit != LM_EXIT_OK) lm_cluster_kill(c, n, true);
    if (!node->up) return;
    if (node->paused) {
        lm_test_freeze(node->host, MS);
        return;
    }
    while ((done = lm_fake_disk_take(node->disk, c->now_us))) {
        lm_test_inlet(node->host, done);
        drain(c, n);
    }
    for (uint32_t i = 0; i < c->options.nodes; i++) deliver_link(c, i, n);
    lm_test_advance(node->host, MS);
    drain(c, n);
    lock_t *lock = &node->lock;
    bool waits = lock->attached || (lock->attaching && c->now_us < lock->retry_us);
    if (!waits && c->now_us >= lock->retry_us && !lock->silent) {
        lm_cluster_attach(c, n);
        drain(c, n);
    }
    if (lock->attached && !lock->taking && !lock->serving) lock_lead(c, n);
    lm_cluster_image_work(c, n);
    lock_work(c, n);
    drain(c, n);
}

void lm_cluster_run(lm_cluster_t *c, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        for (uint32_t n = 0; n < c->options.nodes; n++) step_node(c, n);
        c->now_us += MS;
    }
}

int lm_cluster_elect(lm_cluster_t *c, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        for (uint32_t n = 0; n < c->options.nodes; n++)
            if (lm_cluster_leads(c, n)) return (int)n;
        lm_cluster_run(c, 1);
    }
    return -1;
}

/* ---- looking --------------------------------------------------------------------------------- */

bool lm_cluster_leads(const lm_cluster_t *c, uint32_t n)
{
    return c->nodes[n].up && c->nodes[n].lock.serving;
}
lm_exit_t lm_cluster_exit(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].exit; }
bool lm_cluster_is_up(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].up; }
lm_test_host_t *lm_cluster_host(lm_cluster_t *c, uint32_t n) { return c->nodes[n].host; }
lm_fake_disk_t *lm_cluster_disk(lm_cluster_t *c, uint32_t n) { return c->nodes[n].disk; }
const char *lm_cluster_name(const lm_cluster_t *c, uint32_t n) { return (void)c, names[n]; }
uint64_t lm_cluster_applied(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].lock.applied; }

uint64_t lm_cluster_deliveries(const lm_cluster_t *c, uint32_t n)
{
    return c->nodes[n].lock.n_deliveries;
}
uint64_t lm_cluster_hash(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].lock.hash; }
uint64_t lm_cluster_term(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].lock.term; }
const char *lm_cluster_problem(const lm_cluster_t *c, uint32_t n)
{
    return c->nodes[n].lock.problem;
}
int lm_cluster_drained(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].drained; }
uint64_t lm_cluster_acknowledged(const lm_cluster_t *c) { return c->n_acknowledged; }
uint64_t lm_cluster_reads(const lm_cluster_t *c) { return c->reads; }
uint64_t lm_cluster_resets(const lm_cluster_t *c) { return c->resets; }
uint64_t lm_cluster_restores(const lm_cluster_t *c) { return c->restores; }
uint64_t lm_cluster_images(const lm_cluster_t *c) { return c->images; }
bool lm_cluster_is_taking(const lm_cluster_t *c, uint32_t n) { return c->nodes[n].lock.taken.on; }

const lm_bus_metric_t *lm_cluster_sample(const lm_cluster_t *c, uint32_t n, const char *name,
                                         const char *label)
{
    const lm_bus_status_report_t *status = c->nodes[n].status;
    for (size_t i = 0; status && i < status->n_metrics; i++) {
        const lm_bus_metric_t *metric = &status->metrics[i];
        if (!lm_bytes_equal(metric->name, lm_bytes_of(name))) continue;
        if (!label ||
            (metric->n_labels == 1 && lm_bytes_equal(metric->labels->value, lm_bytes_of(label))))
            return metric;
    }
    return NULL;
}

double lm_cluster_metric(const lm_cluster_t *c, uint32_t n, const char *name)
{
    const lm_bus_metric_t *metric = lm_cluster_sample(c, n, name, NULL);
    return metric ? metric->value : 0;
}

uint32_t lm_cluster_ids(const lm_cluster_t *c) { return c->n_ids; }

bool lm_cluster_keeps_promises(const lm_cluster_t *c)
{
    for (size_t i = 0; i < c->n_acknowledged; i++) {
        const flight_t *flight = &c->acknowledged[i];
        if (flight->index > c->n_history || c->history[flight->index - 1].hash != flight->hash)
            return false;
    }
    return true;
}

void lm_cluster_forget(lm_cluster_t *c)
{
    c->n_history = c->n_acknowledged = 0;
    c->floor = 0;
}
