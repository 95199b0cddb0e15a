/* A raft room with its engine, one of a region of three, with a disk in memory. The input plays the
 * two other nodes, which are configured and authenticated and say whatever they like; the room's
 * own lock and disk are honest.
 *
 * Promises: the actor never ends; its lock gets entries without a gap, none twice and none changed;
 * the disk's own checks (terms never go back, one vote in a term) hold. */
#include <raft.h>
#include <string.h>

#include "fuzz_raw.h"
#include "fuzz_target.h"
#include "raft_fake_disk.h"
#include "raft_framed.h"
#include "raft_room.h"
#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

enum { STEPS_MAX = 96, NODES = 3, DELIVERED_MAX = 4096 };

static const char *const names[NODES] = {"n1", "n2", "n3"};
static const char cluster_id[] = "0123456789abcdef0123456789abcdef";
static const char history_id[] = "fedcba9876543210fedcba9876543210";

typedef struct {
    fuzz_input_t in;
    uint32_t self;
    uint64_t chance, now_us, epoch[NODES];
    lm_raft_room_t *room;
    lm_test_host_t *host;
    lm_fake_disk_t *disk;
    lm_arena_t *arena;
    bool slow_disk;
    /* the lock */
    bool attached, attaching;
    uint32_t lock_counter, role;
    uint64_t term, commit, attach_call, applied, applied_term, attach_commit;
    uint64_t hashes[DELIVERED_MAX]; /* of applied entries, by index */
    /* what the room last said to each node */
    uint64_t asked_term[NODES], append_term[NODES], append_last[NODES], nonce, round;
    bool asked_pre_vote[NODES];
} story_t;

static lm_bytes_t b(const char *text) { return lm_bytes_of(text); }

static uint64_t id_of(uint32_t node) { return 101 * (node + 1); }

static void draw(void *arg, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)lm_fake_chance(arg, 256);
}

/* ---- what the room says ---------------------------------------------------------------------- */

static void on_committed(story_t *s, const lm_bus_committed_t *body)
{
    if (!s->attached) return;
    LM_CHECK(body->prev_index == s->applied && body->prev_term == s->applied_term,
             "entries behind %llu come to a lock at %llu", (unsigned long long)body->prev_index,
             (unsigned long long)s->applied);
    for (size_t i = 0; i < body->n_entries; i++) {
        const lm_bus_committed_entry_t *entry = &body->entries[i];
        uint64_t hash = lm_bytes_hash(entry->data, entry->term);
        LM_CHECK(entry->index == s->applied + 1, "a gap");
        LM_CHECK(entry->index <= body->commit_index, "delivered before it is committed");
        if (entry->index < DELIVERED_MAX) {
            LM_CHECK(s->hashes[entry->index] == 0 || s->hashes[entry->index] == hash,
                     "entry %llu has changed", (unsigned long long)entry->index);
            s->hashes[entry->index] = hash;
        }
        s->applied = entry->index;
        s->applied_term = entry->term;
    }
}

static void on_attached(story_t *s, const lm_test_sent_t *sent)
{
    const lm_bus_attached_t *body = sent->body;
    if (sent->correlation != s->attach_call) return;
    s->attached = true;
    s->attaching = false;
    s->attach_commit = body->commit_index;
    if (!body->reset) return;
    s->applied = body->image ? body->image->index : 0;
    s->applied_term = body->image ? body->image->term : 0;
}

static void on_peer_send(story_t *s, const lm_bus_peer_send_t *body)
{
    void *decoded = NULL;
    uint32_t to = 0;
    while (to < NODES && !lm_bytes_equal(b(names[to]), body->node)) to++;
    lm_rc_t rc = lm_wire_decode(&lm_peer_frame_type, body->frame, s->arena, &decoded, NULL);
    LM_CHECK(rc == LM_RC_OK && to < NODES && to != s->self, "a bad frame or receiver");
    const lm_peer_frame_t *frame = decoded;
    if (frame->body_case == LM_PEER_FRAME_BODY_REQUEST_VOTE) {
        s->asked_term[to] = frame->request_vote->term;
        s->asked_pre_vote[to] = frame->request_vote->pre_vote;
    } else if (frame->body_case == LM_PEER_FRAME_BODY_APPEND_ENTRIES) {
        s->append_term[to] = frame->append_entries->term;
        s->append_last[to] =
            frame->append_entries->prev_log_index + frame->append_entries->n_entries;
    } else if (frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_STATE) {
        s->nonce = frame->bootstrap_state->nonce;
    } else if (frame->body_case == LM_PEER_FRAME_BODY_READ_PROBE) {
        s->round = frame->read_probe->round;
    }
}

static void listen_to(story_t *s)
{
    const lm_test_sent_t *sent;
    lm_exit_t code = LM_EXIT_OK;
    while ((sent = lm_test_take(s->host, LM_MSG_NONE))) {
        if (sent->number == LM_MSG_COMMITTED) on_committed(s, sent->body);
        if (sent->number == LM_MSG_ATTACHED) on_attached(s, sent);
        if (sent->number == LM_MSG_ATTACH_AGAIN && sent->to == LM_LOCK) s->attached = false;
        if (sent->number == LM_MSG_PEER_SEND) on_peer_send(s, sent->body);
        if (sent->number == LM_MSG_RAFT_ROLE && sent->to == LM_LOCK) {
            const lm_bus_raft_role_event_t *role = sent->body;
            s->role = role->role;
            s->term = role->term;
            s->commit = role->commit_index;
        }
    }
    LM_CHECK(!lm_test_has_ended(s->host, &code), "the actor has ended with %d", (int)code);
}

/* ---- honest parts ---------------------------------------------------------------------------- */

static void serve_disk(story_t *s, unsigned n)
{
    lm_raft_done_t *done;
    lm_fake_disk_time(s->disk, s->now_us);
    while (n-- && (done = lm_fake_disk_take(s->disk, s->now_us))) lm_test_inlet(s->host, done);
    listen_to(s);
}

static void attach(story_t *s)
{
    lm_bus_attach_t body = {.cluster_id = b(s->applied ? cluster_id : ""),
                            .history_id = b(s->applied ? history_id : ""),
                            .applied_index = s->applied,
                            .applied_term = s->applied_term};
    s->attached = false;
    s->attach_call = lm_test_deliver(s->host, LM_LOCK, LM_MSG_ATTACH, &body, 0);
    s->attaching = lm_test_refused(s->host) == LM_RC_OK;
    listen_to(s);
}

static void live_lock(story_t *s)
{
    if (!s->attached) attach(s);
    if (!s->attached) return;
    lm_bus_credit_t credit = {.up_to_index = s->applied + 64};
    lm_bus_lock_state_t state = {.ready = s->applied >= s->attach_commit,
                                 .applied_index = s->applied};
    lm_test_feed(s->host, LM_LOCK, LM_MSG_CREDIT, &credit, 0);
    lm_test_deliver(s->host, LM_LOCK, LM_MSG_LOCK_STATE, &state, 0);
    listen_to(s);
}

static void pass_ms(story_t *s, uint64_t ms)
{
    s->now_us += ms * 1000;
    lm_fake_disk_time(s->disk, s->now_us);
    lm_test_advance(s->host, ms * 1000);
    listen_to(s);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static uint32_t other(story_t *s, uint8_t which) { return (s->self + 1 + (which & 1)) % NODES; }

static void deliver(story_t *s, uint32_t from, lm_bytes_t frame)
{
    lm_bus_peer_receive_t body = {.node = b(names[from]), .epoch = s->epoch[from], .frame = frame};
    lm_test_deliver(s->host, LM_PEERS, LM_MSG_PEER_RECEIVE, &body, 0);
    listen_to(s);
}

static lm_peer_frame_t head(story_t *s, uint32_t from)
{
    return (lm_peer_frame_t){
        .version = 1, .cluster_id = b(cluster_id), .from_id = id_of(from), .to_id = id_of(s->self)};
}

static void say(story_t *s, uint32_t from, const lm_peer_frame_t *frame)
{
    lm_arena_t *arena = lm_arena_new();
    deliver(s, from, lm_wire_encode(&lm_peer_frame_type, frame, arena));
    lm_arena_destroy(&arena);
}

/* A number near one that means something, or any. */
static uint64_t near(story_t *s, uint64_t here)
{
    static const int64_t steps[] = {0, 1, -1, 2, -2, 3, 8, 64};
    uint8_t how = fuzz_u8(&s->in);
    if (how < 0xe0) return here + (uint64_t)steps[how % 8];
    if (how < 0xf0) return how - 0xe0u;
    if (how < 0xf8) return UINT64_C(1) << 8 * (how - 0xf0);
    return fuzz_number(&s->in, 8);
}

static uint64_t a_term(story_t *s) { return near(s, lm_fake_disk_term(s->disk)); }

static uint64_t an_index(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in) % 4;
    uint64_t last = lm_fake_disk_entries(s->disk);
    return near(s, how == 0 ? s->commit : how == 1 ? s->applied : last);
}

static lm_bytes_t a_configuration(story_t *s)
{
    struct raft_configuration c;
    struct raft_buffer bytes;
    uint8_t how = fuzz_u8(&s->in);
    raft_configuration_init(&c);
    for (uint32_t i = 0; i < NODES; i++)
        if (!(how >> i & 1)) raft_configuration_add(&c, id_of(i), names[i], how >> 6 & 1);
    if (how & 8) raft_configuration_add(&c, fuzz_number(&s->in, 8) | 1, "stranger", RAFT_VOTER);
    if (how & 16) raft_configuration_add(&c, 7, "seven", RAFT_SPARE);
    int rv = c.n ? raft_configuration_encode(&c, &bytes) : 1;
    raft_configuration_close(&c);
    if (rv != 0) return lm_bytes("", 0);
    lm_bytes_t copy = lm_arena_copy(s->arena, lm_bytes(bytes.base, bytes.len));
    raft_free(bytes.base);
    return copy;
}

static lm_bytes_t a_payload(story_t *s, uint32_t *type)
{
    static uint8_t framed[3][24];
    uint8_t how = fuzz_u8(&s->in);
    *type = how % 16 == 15 ? fuzz_u8(&s->in) : how % 16 < 10 ? 1 : how % 16 < 12 ? 2 : 3;
    if (*type == 3 && how < 0xc0) return a_configuration(s);
    size_t size = 8 + how / 64 * 8u;
    if (how < 0xc0) return lm_bytes(raft_framed(framed[how / 64], size), size);
    return fuzz_block(&s->in);
}

/* ---- steps: what the others say -------------------------------------------------------------- */

/* A good head, and any bytes behind it. */
static void on_raw(story_t *s)
{
    uint32_t from = other(s, fuzz_u8(&s->in));
    lm_bytes_t tail = fuzz_block(&s->in);
    lm_peer_frame_t frame = head(s, from);
    lm_bytes_t start = lm_wire_encode(&lm_peer_frame_type, &frame, s->arena);
    uint8_t *bytes = lm_arena_alloc(s->arena, start.size + tail.size);
    memcpy(bytes, start.data, start.size);
    if (tail.size) memcpy(bytes + start.size, tail.data, tail.size);
    deliver(s, from, lm_bytes(bytes, start.size + tail.size));
}

static void on_request_vote(story_t *s)
{
    uint32_t from = other(s, fuzz_u8(&s->in));
    uint8_t how = fuzz_u8(&s->in);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_request_vote_t body = {.version = how & 8 ? how : 2,
                                   .term = a_term(s),
                                   .candidate_id = id_of(from),
                                   .last_log_index = an_index(s),
                                   .last_log_term = a_term(s),
                                   .disrupt_leader = how & 1,
                                   .pre_vote = how & 2};
    frame.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE;
    frame.request_vote = &body;
    say(s, from, &frame);
}

static void on_vote_result(story_t *s)
{
    uint32_t from = other(s, fuzz_u8(&s->in));
    uint8_t how = fuzz_u8(&s->in);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_request_vote_result_t body = {.version = how & 8 ? how : 2,
                                          .term = a_term(s),
                                          .vote_granted = how & 1,
                                          .pre_vote = how & 2,
                                          .features = how >> 4};
    frame.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT;
    frame.request_vote_result = &body;
    say(s, from, &frame);
}

static void on_append(story_t *s)
{
    lm_peer_entry_t entries[8];
    uint32_t from = other(s, fuzz_u8(&s->in));
    uint8_t n = fuzz_u8(&s->in);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_append_entries_t body = {.version = n & 64 ? n : 0,
                                     .term = a_term(s),
                                     .prev_log_index = an_index(s),
                                     .prev_log_term = a_term(s),
                                     .leader_commit = an_index(s),
                                     .n_entries = n % 6,
                                     .entries = entries};
    for (size_t i = 0; i < body.n_entries; i++) {
        entries[i].term = a_term(s);
        entries[i].data = a_payload(s, &entries[i].type);
    }
    frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES;
    frame.append_entries = &body;
    say(s, from, &frame);
}

/* Entries as a real leader of that term would send them, behind the end of the log here. */
static void on_good_append(story_t *s)
{
    static uint8_t data[16] = "sixteen bytes...";
    raft_framed(data, sizeof data);
    uint32_t from = other(s, fuzz_u8(&s->in));
    uint8_t n = fuzz_u8(&s->in), back = n >> 4;
    uint64_t term = lm_fake_disk_term(s->disk), last = lm_fake_disk_entries(s->disk);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_entry_t entries[4];
    lm_peer_append_entries_t body = {.term = term + (n >> 2 & 1),
                                     .prev_log_index = last > back ? last - back : 1,
                                     .leader_commit = last + (n & 8 ? 2 : 0),
                                     .n_entries = n % 4,
                                     .entries = entries};
    body.prev_log_term = near(s, body.prev_log_index == 1 ? 1 : s->append_term[from]);
    for (size_t i = 0; i < body.n_entries; i++)
        entries[i] = (lm_peer_entry_t){body.term, 1, lm_bytes(data, 16)};
    frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES;
    frame.append_entries = &body;
    s->append_term[from] = body.term;
    say(s, from, &frame);
}

static void on_append_result(story_t *s)
{
    uint32_t from = other(s, fuzz_u8(&s->in));
    uint8_t how = fuzz_u8(&s->in);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_append_entries_result_t body = {.version = how & 8 ? how : 2,
                                            .term = a_term(s),
                                            .rejected = how & 1 ? an_index(s) : 0,
                                            .last_log_index = an_index(s),
                                            .features = how >> 4};
    frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT;
    frame.append_entries_result = &body;
    say(s, from, &frame);
}

static void on_timeout_now(story_t *s)
{
    uint32_t from = other(s, fuzz_u8(&s->in));
    lm_peer_frame_t frame = head(s, from);
    lm_peer_timeout_now_t body = {
        .term = a_term(s), .last_log_index = an_index(s), .last_log_term = a_term(s)};
    frame.body_case = LM_PEER_FRAME_BODY_TIMEOUT_NOW;
    frame.timeout_now = &body;
    say(s, from, &frame);
}

static void on_probe(story_t *s)
{
    uint32_t from = other(s, fuzz_u8(&s->in));
    uint8_t how = fuzz_u8(&s->in);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_read_probe_t probe = {.term = a_term(s), .round = near(s, s->round)};
    lm_peer_read_probe_result_t result = {.term = probe.term, .round = probe.round};
    lm_peer_node_state_t state = {.lock_ready = how & 4, .applied_index = an_index(s)};
    frame.body_case = how % 3 == 0   ? LM_PEER_FRAME_BODY_READ_PROBE
                      : how % 3 == 1 ? LM_PEER_FRAME_BODY_READ_PROBE_RESULT
                                     : LM_PEER_FRAME_BODY_NODE_STATE;
    frame.read_probe = how % 3 == 0 ? &probe : NULL;
    frame.read_probe_result = how % 3 == 1 ? &result : NULL;
    frame.node_state = how % 3 == 2 ? &state : NULL;
    say(s, from, &frame);
}

static uint64_t configured_hash(void) { return lm_raft_bootstrap_hash("test", names, NODES); }

static void on_bootstrap(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in), odd = fuzz_u8(&s->in);
    uint32_t from = other(s, how);
    const char *id = odd & 1 ? lm_fake_disk_identity(s->disk)->cluster_id : cluster_id;
    lm_peer_frame_t frame = head(s, from);
    lm_peer_bootstrap_server_t servers[NODES];
    for (uint32_t i = 0; i < NODES; i++)
        servers[i] = (lm_peer_bootstrap_server_t){id_of(i), b(names[i])};
    if (odd & 64) servers[how % 3].id = near(s, 101);
    lm_peer_bootstrap_state_t state = {.node = b(names[from]),
                                       .config_hash = configured_hash() ^ (odd & 2),
                                       .empty = odd & 4,
                                       .started = odd & 8,
                                       .cluster_id = odd & 16 ? b(id) : fuzz_block(&s->in),
                                       .nonce = odd & 32 ? 5 : fuzz_u8(&s->in),
                                       .echo = s->nonce};
    lm_peer_bootstrap_offer_t offer = {.cluster_id = b(id),
                                       .history_id = b(history_id),
                                       .config_hash = configured_hash() ^ (odd & 2),
                                       .n_servers = NODES,
                                       .servers = servers,
                                       .nonce = s->nonce};
    lm_peer_bootstrap_accept_t accept = {.cluster_id = b(id), .node = b(names[from])};
    lm_peer_bootstrap_start_t start = {.cluster_id = b(id)};
    frame.cluster_id = b(odd & 128 ? id : "");
    frame.body_case = LM_PEER_FRAME_BODY_BOOTSTRAP_STATE + (how >> 1) % 4;
    frame.bootstrap_state = &state;
    if ((how >> 1) % 4 == 1) frame.bootstrap_offer = &offer;
    if ((how >> 1) % 4 == 2) frame.bootstrap_accept = &accept;
    if ((how >> 1) % 4 == 3) frame.bootstrap_start = &start;
    say(s, from, &frame);
}

static void on_snapshot(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in), odd = fuzz_u8(&s->in);
    uint32_t from = other(s, how);
    lm_peer_frame_t frame = head(s, from);
    lm_peer_snapshot_offer_t offer = {.last_index = an_index(s),
                                      .last_term = a_term(s),
                                      .configuration_index = near(s, 1),
                                      .length = near(s, 8),
                                      .crc32c = (uint32_t)fuzz_number(&s->in, 4),
                                      .state_hash = odd};
    offer.configuration = odd & 1 ? fuzz_block(&s->in) : a_configuration(s);
    lm_peer_install_snapshot_t install = {
        .version = 0, .term = a_term(s), .offer = odd & 2 ? NULL : &offer};
    lm_peer_snapshot_query_t query = {.above_index = an_index(s)};
    lm_peer_snapshot_read_t read = {
        .last_index = offer.last_index, .last_term = offer.last_term, .offset = near(s, 0)};
    lm_peer_snapshot_data_t piece = {.last_index = offer.last_index,
                                     .last_term = offer.last_term,
                                     .offset = read.offset,
                                     .data = fuzz_block(&s->in),
                                     .crc32c = offer.crc32c};
    frame.body_case = LM_PEER_FRAME_BODY_INSTALL_SNAPSHOT + (how >> 1) % 5;
    switch ((how >> 1) % 5) {
    case 0: frame.install_snapshot = &install; break;
    case 1: frame.snapshot_query = &query; break;
    case 2: frame.snapshot_offer = &offer; break;
    case 3: frame.snapshot_read = &read; break;
    default: frame.snapshot_data = &piece; break;
    }
    say(s, from, &frame);
}

/* Both others do what correct followers would do about what they heard last. */
static void on_honest(story_t *s)
{
    for (uint32_t i = 0; i < NODES; i++) {
        lm_peer_frame_t frame = head(s, i);
        lm_peer_request_vote_result_t vote = {.version = 2,
                                              .term = s->asked_term[i],
                                              .vote_granted = true,
                                              .pre_vote = s->asked_pre_vote[i]};
        lm_peer_append_entries_result_t stored = {
            .version = 2, .term = s->append_term[i], .last_log_index = s->append_last[i]};
        if (i == s->self) continue;
        if (s->asked_term[i]) {
            s->asked_term[i] = 0;
            frame.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT;
            frame.request_vote_result = &vote;
            say(s, i, &frame);
        } else if (s->append_term[i]) {
            frame.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT;
            frame.append_entries_result = &stored;
            say(s, i, &frame);
        }
    }
}

/* ---- steps: this node ------------------------------------------------------------------------ */

static void on_advance(story_t *s) { pass_ms(s, fuzz_u8(&s->in)); }

static void on_disk(story_t *s) { serve_disk(s, 1); }

static void on_propose(story_t *s)
{
    static uint8_t entry[16] = "proposed entries";
    uint8_t how = fuzz_u8(&s->in);
    size_t size = 8 + (how >> 1 & 8u);
    raft_framed(entry, how & 32 ? sizeof entry : size); /* a wrong frame now and then */
    lm_bus_generation_t generation = {.boot_id = 1, .counter = s->lock_counter};
    lm_bus_propose_t body = {.term = s->term,
                             .incarnation = &generation,
                             .takeover = how & 1,
                             .entry = lm_bytes(entry, size)};
    lm_test_deliver(s->host, LM_LOCK, LM_MSG_PROPOSE, &body, 0);
    listen_to(s);
}

static void on_read(story_t *s)
{
    lm_bus_read_index_t body = {0};
    lm_test_deliver(s->host, LM_LOCK, LM_MSG_READ_INDEX, &body, s->now_us + 300000);
    listen_to(s);
}

static void on_lock(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in);
    if (how % 4 == 0) {
        lm_test_restart_peer(s->host, LM_LOCK);
        s->lock_counter++;
        s->attached = false;
        if (how & 4) s->applied = s->applied_term = 0;
        listen_to(s);
    }
    live_lock(s);
}

static void on_link(story_t *s)
{
    uint8_t how = fuzz_u8(&s->in);
    uint32_t node = other(s, how);
    lm_bus_peer_link_t body = {.node = b(names[node]), .up = how & 2};
    if (how & 4) s->epoch[node]++;
    lm_test_deliver(s->host, LM_PEERS, LM_MSG_PEER_LINK, &body, 0);
    listen_to(s);
}

static void on_drain(story_t *s)
{
    lm_bus_drain_t body = {0};
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_DRAIN, &body, 0);
    listen_to(s);
}

static void (*const steps[])(story_t *) = {
    on_raw,     on_request_vote, on_vote_result, on_append,        on_append_result, on_timeout_now,
    on_probe,   on_bootstrap,    on_snapshot,    on_honest,        on_advance,       on_disk,
    on_propose, on_read,         on_lock,        on_link,          on_drain,         on_good_append,
    on_append,  on_advance,      on_honest,      on_append_result, on_snapshot,      on_good_append,
};

/* ---- the beginning --------------------------------------------------------------------------- */

/* As after a first start that was completed long ago. */
static void form(story_t *s)
{
    lm_raft_identity_t identity = {.stage = LM_RAFT_STARTED, .region = "test", .n_servers = NODES};
    lm_raft_disk_t *disk = lm_fake_disk_raft(s->disk);
    memcpy(identity.node, names[s->self], 3);
    memcpy(identity.cluster_id, cluster_id, sizeof cluster_id);
    memcpy(identity.history_id, history_id, sizeof history_id);
    for (uint32_t i = 0; i < NODES; i++) {
        identity.servers[i].id = id_of(i);
        memcpy(identity.servers[i].name, names[i], 3);
    }
    disk->save_identity(disk, &identity);
    disk->load(disk, &identity, true);
    lm_raft_done_t *done;
    while ((done = lm_fake_disk_take(s->disk, s->now_us))) lm_raft_done_destroy(&done);
}

static void start(story_t *s)
{
    lm_bus_peer_config_t peers[NODES];
    for (uint32_t i = 0; i < NODES; i++)
        peers[i] = (lm_bus_peer_config_t){b(names[i]), b("localhost"), 9090, 9090};
    lm_bus_node_config_t config = {.node = b(names[s->self]),
                                   .region = b("test"),
                                   .data_dir = b("/nowhere"),
                                   .n_peers = NODES,
                                   .peers = peers,
                                   .election_timeout_ms = 150,
                                   .heartbeat_interval_ms = 50};
    s->room = lm_raft_room_new(draw, &s->chance);
    lm_raft_room_set_disk(s->room, lm_fake_disk_raft(s->disk));
    s->host = lm_test_host_new(&lm_raft_room, s->room);
    s->now_us = lm_test_now(s->host);
    lm_fake_disk_time(s->disk, s->now_us);
    lm_test_deliver(s->host, LM_SUPERVISOR, LM_MSG_START, &config, 0);
    serve_disk(s, 8);
    live_lock(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static story_t s; /* large; made anew each time */
    memset(&s, 0, sizeof s);
    s.in.left = lm_bytes(data, size);
    uint8_t how = fuzz_u8(&s.in);
    s.self = how & 1;
    s.slow_disk = how & 2;
    s.lock_counter = s.chance = 1;
    s.arena = lm_arena_new();
    s.disk = lm_fake_disk_new();
    for (uint32_t i = 0; i < NODES; i++) s.epoch[i] = 1;
    if (!(how & 4)) form(&s);
    start(&s);
    for (int i = 0; i < STEPS_MAX && s.in.left.size; i++) {
        steps[fuzz_u8(&s.in) % (sizeof steps / sizeof *steps)](&s);
        if (!s.slow_disk) serve_disk(&s, 16);
        if (!(how & 8)) live_lock(&s);
    }
    serve_disk(&s, 64);
    pass_ms(&s, 500);
    lm_test_host_destroy(&s.host);
    lm_raft_room_destroy(&s.room);
    lm_fake_disk_destroy(&s.disk);
    lm_arena_destroy(&s.arena);
    return 0;
}
