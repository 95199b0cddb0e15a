/* Every event changes what is known, then decide() looks whether the next stage is reached. */
#include "raft_bootstrap.h"

#include <stdio.h>

#include "base_check.h"
#include "base_fault.h"

uint64_t lm_raft_bootstrap_hash(const char *region, const char *const *names, uint32_t n)
{
    uint64_t hash = lm_bytes_hash(lm_bytes(region, strlen(region) + 1), LM_HASH_START);
    for (uint32_t i = 0; i < n; i++)
        hash = lm_bytes_hash(lm_bytes(names[i], strlen(names[i]) + 1), hash);
    return hash;
}

static void draw_text(lm_raft_bootstrap_t *m, char text[LM_RAFT_ID_SIZE])
{
    uint8_t bytes[(LM_RAFT_ID_SIZE - 1) / 2];
    m->random(m->random_arg, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static uint64_t draw_number(lm_raft_bootstrap_t *m)
{
    uint64_t number;
    do m->random(m->random_arg, &number, sizeof number);
    while ((number >>= 1) == 0);
    return number;
}

void lm_raft_bootstrap_begin(lm_raft_bootstrap_t *m, const char *const *names, uint32_t n,
                             uint32_t self, const lm_raft_identity_t *identity,
                             lm_raft_random_t *random, void *random_arg)
{
    LM_CHECK(n >= 1 && n <= LM_RAFT_SERVERS_MAX && self < n, "node %u of %u", self, n);
    *m = (lm_raft_bootstrap_t){.self = self, .n = n, .random = random, .random_arg = random_arg};
    m->identity = *identity;
    m->config_hash = lm_raft_bootstrap_hash(identity->region, names, n);
    for (uint32_t i = 0; i < n; i++) snprintf(m->names[i], sizeof m->names[i], "%s", names[i]);
    m->nonce = draw_number(m);
    lm_raft_bootstrap_tick(m);
}

/* ---- deciding -------------------------------------------------------------------------------- */

static bool is_first(const lm_raft_bootstrap_t *m) { return m->self == 0; }

static bool is_mine(const lm_raft_bootstrap_t *m, lm_bytes_t cluster_id)
{
    return m->identity.stage != LM_RAFT_EMPTY &&
           lm_bytes_equal(cluster_id, lm_bytes_of(m->identity.cluster_id));
}

static void save(lm_raft_bootstrap_t *m, lm_raft_stage_t stage)
{
    m->draft.stage = stage;
    m->saving = true;
    m->wish.save = true;
}

static void draw_identity(lm_raft_bootstrap_t *m)
{
    m->draft = m->identity;
    draw_text(m, m->draft.cluster_id);
    draw_text(m, m->draft.history_id);
    m->draft.epoch = 0;
    m->draft.n_servers = m->n;
    for (uint32_t i = 0; i < m->n; i++) {
        m->draft.servers[i].id = draw_number(m);
        memcpy(m->draft.servers[i].name, m->names[i], sizeof m->names[i]);
    }
    save(m, LM_RAFT_ACCEPTED);
}

static bool are_enough(const lm_raft_bootstrap_t *m, uint32_t n)
{
    return n == m->n || (LM_FAULT(FORM_BY_MAJORITY) && n > m->n / 2);
}

static bool all_empty(const lm_raft_bootstrap_t *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        const lm_raft_bootstrap_peer_t *peer = &m->peers[i];
        n += i == m->self || (peer->answered && peer->empty && peer->same_config);
    }
    return are_enough(m, n);
}

static bool all_accepted(const lm_raft_bootstrap_t *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) n += i == m->self || m->peers[i].accepted;
    return are_enough(m, n);
}

static void run(lm_raft_bootstrap_t *m)
{
    if (m->running || m->saving || m->identity.stage == LM_RAFT_EMPTY) return;
    /* The first node alone can know that all have accepted: nobody tells it to start before. */
    if (is_first(m) && m->identity.stage == LM_RAFT_ACCEPTED) return;
    m->running = true;
    m->wish.run = m->identity.stage != LM_RAFT_STARTED;
}

static void decide(lm_raft_bootstrap_t *m)
{
    if (m->saving) return;
    switch (m->identity.stage) {
    case LM_RAFT_EMPTY:
        if (is_first(m) && all_empty(m)) draw_identity(m);
        break;
    case LM_RAFT_ACCEPTED:
        if (is_first(m) && all_accepted(m)) {
            m->draft = m->identity;
            save(m, LM_RAFT_FORMED);
        }
        break;
    case LM_RAFT_FORMED: run(m); break;
    case LM_RAFT_STARTED: break;
    }
}

static void say(lm_raft_bootstrap_t *m, uint32_t i, unsigned what)
{
    if (i != m->self) m->wish.say[i] |= (uint8_t)what;
}

/* What node i should hear, given what is known of it. */
static void answer(lm_raft_bootstrap_t *m, uint32_t i)
{
    const lm_raft_bootstrap_peer_t *peer = &m->peers[i];
    bool mine = is_mine(m, lm_bytes_of(peer->cluster_id));
    bool forms = m->identity.stage == LM_RAFT_ACCEPTED ||
                 (LM_FAULT(OFFER_AGAIN) && m->identity.stage != LM_RAFT_EMPTY);
    if (forms && is_first(m) && peer->answered && peer->empty && peer->same_config)
        say(m, i, LM_RAFT_SAY_OFFER);
    if (m->identity.stage >= LM_RAFT_FORMED && mine && !peer->started) say(m, i, LM_RAFT_SAY_START);
}

/* ---- events ---------------------------------------------------------------------------------- */

void lm_raft_bootstrap_state(lm_raft_bootstrap_t *m, uint32_t i,
                             const lm_peer_bootstrap_state_t *state)
{
    lm_raft_bootstrap_peer_t *peer = &m->peers[i];
    if (i >= m->n || i == m->self || state->cluster_id.size >= LM_RAFT_ID_SIZE) return;
    bool news = !peer->heard || peer->nonce != state->nonce;
    peer->heard = true;
    peer->nonce = state->nonce;
    peer->empty = state->empty;
    peer->started = state->started;
    peer->same_config = state->config_hash == m->config_hash;
    peer->answered = state->echo == m->nonce;
    memset(peer->cluster_id, 0, sizeof peer->cluster_id);
    if (state->cluster_id.size)
        memcpy(peer->cluster_id, state->cluster_id.data, state->cluster_id.size);
    bool mine = is_mine(m, state->cluster_id);
    if (peer->answered) peer->accepted = !peer->empty && mine;
    if (m->identity.stage == LM_RAFT_STARTED ? !peer->started : news) say(m, i, LM_RAFT_SAY_STATE);
    if (mine && peer->started) run(m);
    answer(m, i);
    decide(m);
}

/* An id as draw_text makes it; anything else could spoil the file it is written to. */
static bool is_id(lm_bytes_t text)
{
    if (text.size != LM_RAFT_ID_SIZE - 1) return false;
    for (size_t i = 0; i < text.size; i++)
        if (!strchr("0123456789abcdef", text.data[i]) || text.data[i] == 0) return false;
    return true;
}

static bool take_servers(lm_raft_bootstrap_t *m, const lm_peer_bootstrap_offer_t *offer)
{
    if (offer->n_servers != m->n || !is_id(offer->cluster_id) || !is_id(offer->history_id))
        return false;
    m->draft = m->identity;
    m->draft.n_servers = m->n;
    m->draft.epoch = 0;
    memcpy(m->draft.cluster_id, offer->cluster_id.data, LM_RAFT_ID_SIZE - 1);
    memcpy(m->draft.history_id, offer->history_id.data, LM_RAFT_ID_SIZE - 1);
    for (uint32_t i = 0; i < m->n; i++) {
        const lm_peer_bootstrap_server_t *server = &offer->servers[i];
        if (server->id == 0 || !lm_bytes_equal(server->name, lm_bytes_of(m->names[i])))
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (m->draft.servers[j].id == server->id) return false;
        m->draft.servers[i].id = server->id;
        memcpy(m->draft.servers[i].name, m->names[i], sizeof m->names[i]);
    }
    return true;
}

void lm_raft_bootstrap_offer(lm_raft_bootstrap_t *m, uint32_t i,
                             const lm_peer_bootstrap_offer_t *offer)
{
    if (i != 0 || i == m->self || m->saving) return;
    if (is_mine(m, offer->cluster_id)) {
        say(m, i, LM_RAFT_SAY_ACCEPT);
        return;
    }
    bool fresh = m->identity.stage == LM_RAFT_EMPTY && offer->nonce == m->nonce;
    if (fresh && offer->config_hash == m->config_hash && take_servers(m, offer))
        save(m, LM_RAFT_ACCEPTED);
}

void lm_raft_bootstrap_accept(lm_raft_bootstrap_t *m, uint32_t i,
                              const lm_peer_bootstrap_accept_t *accept)
{
    if (i >= m->n || i == m->self || !is_mine(m, accept->cluster_id)) return;
    lm_raft_bootstrap_peer_t *peer = &m->peers[i];
    /* Else it is from before that node lost its data again, or this one was started again. */
    if (peer->offered_nonce == 0 || peer->offered_nonce != peer->nonce) return;
    peer->accepted = true;
    decide(m);
}

void lm_raft_bootstrap_start(lm_raft_bootstrap_t *m, uint32_t i,
                             const lm_peer_bootstrap_start_t *start)
{
    if (i < m->n && is_mine(m, start->cluster_id)) run(m);
}

void lm_raft_bootstrap_member(lm_raft_bootstrap_t *m) { run(m); }

void lm_raft_bootstrap_saved(lm_raft_bootstrap_t *m)
{
    LM_CHECK(m->saving, "an identity was saved that nobody wanted saved");
    m->saving = false;
    m->identity = m->draft;
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->identity.stage == LM_RAFT_ACCEPTED && i == 0) say(m, i, LM_RAFT_SAY_ACCEPT);
        if (m->identity.stage != LM_RAFT_EMPTY) say(m, i, LM_RAFT_SAY_STATE);
        answer(m, i);
    }
    decide(m);
}

void lm_raft_bootstrap_written(lm_raft_bootstrap_t *m)
{
    LM_CHECK(m->running && !m->saving, "a log was written that nobody wanted written");
    m->draft = m->identity;
    save(m, LM_RAFT_STARTED);
}

void lm_raft_bootstrap_tick(lm_raft_bootstrap_t *m)
{
    if (m->identity.stage == LM_RAFT_STARTED) return;
    for (uint32_t i = 0; i < m->n; i++) {
        say(m, i, LM_RAFT_SAY_STATE);
        if (m->peers[i].heard) answer(m, i);
    }
    decide(m);
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void frame_offer(lm_raft_bootstrap_t *m, uint32_t i, lm_peer_frame_t *frame,
                        lm_arena_t *arena)
{
    lm_peer_bootstrap_offer_t *offer = lm_arena_alloc(arena, sizeof *offer);
    *offer = (lm_peer_bootstrap_offer_t){
        .cluster_id = lm_bytes_of(m->identity.cluster_id),
        .history_id = lm_bytes_of(m->identity.history_id),
        .config_hash = m->config_hash,
        .n_servers = m->identity.n_servers,
        .nonce = m->peers[i].nonce,
    };
    m->peers[i].offered_nonce = m->peers[i].nonce;
    offer->servers = lm_arena_alloc(arena, offer->n_servers * sizeof *offer->servers);
    for (uint32_t s = 0; s < offer->n_servers; s++) {
        offer->servers[s].id = m->identity.servers[s].id;
        offer->servers[s].name = lm_bytes_of(m->identity.servers[s].name);
    }
    frame->body_case = LM_PEER_FRAME_BODY_BOOTSTRAP_OFFER;
    frame->bootstrap_offer = offer;
}

static void frame_state(const lm_raft_bootstrap_t *m, uint32_t i, lm_peer_frame_t *frame,
                        lm_arena_t *arena)
{
    lm_peer_bootstrap_state_t *state = lm_arena_alloc(arena, sizeof *state);
    *state = (lm_peer_bootstrap_state_t){
        .node = lm_bytes_of(m->names[m->self]),
        .config_hash = m->config_hash,
        .empty = m->identity.stage == LM_RAFT_EMPTY,
        .started = m->identity.stage == LM_RAFT_STARTED,
        .cluster_id = lm_bytes_of(m->identity.cluster_id),
        .nonce = m->nonce,
        .echo = m->peers[i].nonce,
    };
    frame->body_case = LM_PEER_FRAME_BODY_BOOTSTRAP_STATE;
    frame->bootstrap_state = state;
}

void lm_raft_bootstrap_frame(lm_raft_bootstrap_t *m, uint32_t i, unsigned what,
                             lm_peer_frame_t *frame, lm_arena_t *arena)
{
    lm_bytes_t cluster_id = lm_bytes_of(m->identity.cluster_id);
    frame->cluster_id = cluster_id;
    if (what == LM_RAFT_SAY_STATE) {
        frame_state(m, i, frame, arena);
    } else if (what == LM_RAFT_SAY_OFFER) {
        frame_offer(m, i, frame, arena);
    } else if (what == LM_RAFT_SAY_ACCEPT) {
        frame->body_case = LM_PEER_FRAME_BODY_BOOTSTRAP_ACCEPT;
        frame->bootstrap_accept = lm_arena_alloc(arena, sizeof *frame->bootstrap_accept);
        frame->bootstrap_accept->cluster_id = cluster_id;
        frame->bootstrap_accept->node = lm_bytes_of(m->names[m->self]);
    } else {
        frame->body_case = LM_PEER_FRAME_BODY_BOOTSTRAP_START;
        frame->bootstrap_start = lm_arena_alloc(arena, sizeof *frame->bootstrap_start);
        frame->bootstrap_start->cluster_id = cluster_id;
    }
}

/* ---- why it is not there yet ----------------------------------------------------------------- */

static const char *wrong_with(const lm_raft_bootstrap_t *m, const lm_raft_bootstrap_peer_t *peer)
{
    if (!peer->heard) return "has not been heard of";
    if (!peer->same_config) return "has another region or another list of nodes configured";
    if (m->identity.stage == LM_RAFT_EMPTY && !peer->empty)
        return peer->started ? "belongs to a region already, and this node's data is missing"
                             : "has data of a region that was never formed, and this node has none";
    if (m->identity.stage == LM_RAFT_ACCEPTED && !peer->accepted && is_first(m))
        return "has not yet agreed to form the region";
    return NULL;
}

void lm_raft_bootstrap_problem(const lm_raft_bootstrap_t *m, char *text, size_t size)
{
    text[0] = 0;
    if (m->identity.stage == LM_RAFT_STARTED || m->identity.stage == LM_RAFT_FORMED) return;
    for (uint32_t i = 0; i < m->n; i++) {
        const char *wrong = i == m->self ? NULL : wrong_with(m, &m->peers[i]);
        if (!wrong) continue;
        snprintf(text, size, "the region is not formed: node %s %s", m->names[i], wrong);
        return;
    }
    if (!is_first(m))
        snprintf(text, size, "the region is not formed: node %s has not said so yet", m->names[0]);
}
