/* The logs of all nodes against each other, after every turn of a raft room.
 *
 * Every entry of every log is hashed together with all before it: two logs that have an entry of
 * the same index and term must have the same hash there.
 *
 * Invariants
 *   G1  Log matching: one index and term, one history.
 *   G2  Election safety: a term has at most one leader.
 *   G3  Leader completeness: whoever becomes leader has every entry that was committed before.
 *   G4  State-machine safety: what was committed anywhere is committed everywhere and for ever.
 *   G5  What is committed for the first time is on the disks of a majority, or was there until a
 *       fault took it from a disk.
 *   G6  Nobody campaigns without a lock that lives (S21).
 *   G7  Streams never go back: no frame of an older one comes to raft behind one of a newer (S24).
 *   G8  Nobody takes part before every node holds the region's identity, nor after it has lost its
 *       volume (S18).
 *   G9  The commit index of a node does not go back. */
#include <stdlib.h>

#include "base_check.h"
#include "raft_state.h"
#include "sim.h"

typedef unsigned long long ull_t;

typedef struct variant {
    struct variant *next;
    uint64_t term, chain;
    uint32_t lost_on; /* bits of nodes whose disks had it before a fault took it */
} variant_t;

typedef struct {
    uint64_t term, chain;
    uint64_t in_term; /* of whoever committed it first */
    uint32_t type;
    lm_bytes_t data; /* own */
} committed_t;

typedef struct {
    uint64_t serial, chain;
} seen_t;

typedef struct {
    seen_t *seen; /* by index */
    uint64_t n, room;
    uint64_t before; /* the log begins behind this one */
    uint64_t commit; /* compared up to here */
    uint64_t led_term, elections;
    uint64_t fit_us; /* when its lock was last fit to lead with */
    lm_raft_figures_t figures;
    uint64_t fetching; /* length of the image that is being fetched */
    bool loses, wants, choked;
} node_log_t;

struct sim_log_check {
    variant_t **variants; /* by index */
    uint64_t variants_room;
    committed_t *committed; /* by index - 1 */
    uint64_t n_committed, committed_room;
    int *leaders; /* by term: node + 1 */
    uint64_t leaders_room;
    node_log_t nodes[SIM_NODES_MAX];
};

/* ---- hashing --------------------------------------------------------------------------------- */

static uint64_t chain_on(uint64_t chain, const lm_raft_record_t *record)
{
    uint64_t head[3] = {chain, record->term, record->type};
    uint64_t hash = lm_bytes_hash(lm_bytes(head, sizeof head), LM_HASH_START);
    return lm_bytes_hash(record->data, hash);
}

static uint64_t grown(uint64_t needed) { return 2 * needed + 64; }

static variant_t **variants_at(sim_log_check_t *check, uint64_t index)
{
    if (index >= check->variants_room) {
        uint64_t room = grown(index);
        check->variants = lm_realloc(check->variants, room * sizeof *check->variants);
        memset(check->variants + check->variants_room, 0,
               (room - check->variants_room) * sizeof *check->variants);
        check->variants_room = room;
    }
    return &check->variants[index];
}

static void compare_variant(sim_t *sim, const sim_node_t *node, uint64_t index, uint64_t term,
                            uint64_t chain)
{
    variant_t **at = variants_at(sim->logs, index);
    for (; *at; at = &(*at)->next) {
        if ((*at)->term != term) continue;
        if ((*at)->chain != chain)
            sim_fail(sim, "LOG-MATCHING", "entry %llu of term %llu has another history on %s",
                     (ull_t)index, (ull_t)term, node->name);
        return;
    }
    *at = lm_alloc(sizeof **at);
    **at = (variant_t){.term = term, .chain = chain};
}

static void make_room(node_log_t *mine, uint64_t last)
{
    if (last < mine->room) return;
    mine->room = grown(last);
    mine->seen = lm_realloc(mine->seen, mine->room * sizeof *mine->seen);
}

/* What lies before the first entry of a log is in a snapshot, and committed. */
static void read_beginning(sim_t *sim, node_log_t *mine, uint64_t before)
{
    LM_CHECK(before <= sim->logs->n_committed, "a log begins behind %llu", (ull_t)before);
    while (mine->before < before) {
        uint64_t index = ++mine->before;
        mine->seen[index] = (seen_t){.chain = sim->logs->committed[index - 1].chain};
    }
}

static void read_log(sim_t *sim, const sim_node_t *node, const lm_raft_log_t *log)
{
    node_log_t *mine = &sim->logs->nodes[node->number];
    uint64_t last = lm_raft_log_last_index(log), before = lm_raft_log_first_index(log) - 1;
    uint64_t same = last < mine->n ? last : mine->n;
    make_room(mine, last);
    read_beginning(sim, mine, before);
    while (same > before && lm_raft_log_get(log, same)->serial != mine->seen[same].serial) same--;
    if (mine->n > same && mine->n > before) sim_probe(sim, SIM_PROBE_TRUNCATED);
    if (same < before) same = before;
    uint64_t chain = same ? mine->seen[same].chain : 0;
    for (uint64_t i = same + 1; i <= last; i++) {
        const lm_raft_record_t *record = lm_raft_log_get(log, i);
        chain = chain_on(chain, record);
        mine->seen[i] = (seen_t){.serial = record->serial, .chain = chain};
        compare_variant(sim, node, i, record->term, chain);
    }
    mine->n = last;
}

/* ---- committed ------------------------------------------------------------------------------- */

static uint32_t lost_on(sim_t *sim, uint64_t index, uint64_t term)
{
    for (const variant_t *at = *variants_at(sim->logs, index); at; at = at->next)
        if (at->term == term) return at->lost_on;
    return 0;
}

/* G5. The first entry is the configuration, which every node writes by itself when all have agreed
 * on it.
 *
 * A node may have stored an entry, acknowledged it, and lost it to a fault before the leader has
 * counted its word. That counts: such a node votes for nobody until all that it acknowledged is
 * committed and here again (S19), or never (S18), so that every later majority has in it one of the
 * others that stored the entry. But only this very entry counts, and only if it was durable when
 * the fault struck: what was still being written was never acknowledged. */
static void check_majority(sim_t *sim, uint64_t index, uint64_t term)
{
    int n = 0;
    if (index == 1) return;
    for (int i = 0; i < sim->n_nodes; i++) {
        const lm_fake_disk_t *disk = sim->nodes[i].disk;
        if (lm_fake_disk_image(disk)->index >= index)
            sim_fail(sim, "S16", "%s has a snapshot of entry %llu, committed is %llu",
                     sim->nodes[i].name, (ull_t)lm_fake_disk_image(disk)->index, (ull_t)index - 1);
        n += lm_fake_disk_has(disk, index, term) || (lost_on(sim, index, term) >> i & 1);
    }
    if (n <= sim->n_nodes / 2)
        sim_fail(sim, "MAJORITY", "entry %llu of term %llu is committed and on %d of %d disks",
                 (ull_t)index, (ull_t)term, n, sim->n_nodes);
}

void sim_log_check_loses(sim_t *sim, const sim_node_t *node)
{
    sim_log_check_t *check = sim->logs;
    for (uint64_t i = check->n_committed + 1; i < check->variants_room; i++)
        for (variant_t *at = check->variants[i]; at; at = at->next)
            if (lm_fake_disk_has(node->disk, i, at->term)) at->lost_on |= 1u << node->number;
}

static void commit_first(sim_t *sim, uint64_t index, uint64_t in_term,
                         const lm_raft_record_t *record, uint64_t chain)
{
    sim_log_check_t *check = sim->logs;
    check_majority(sim, index, record->term);
    if (check->n_committed == check->committed_room) {
        check->committed_room = grown(check->committed_room);
        check->committed =
            lm_realloc(check->committed, check->committed_room * sizeof *check->committed);
    }
    uint8_t *copy = lm_alloc(record->data.size);
    memcpy(copy, record->data.data, record->data.size);
    check->committed[check->n_committed++] =
        (committed_t){.term = record->term,
                      .in_term = in_term,
                      .chain = chain,
                      .type = record->type,
                      .data = lm_bytes(copy, record->data.size)};
    sim_note(sim, -1, LM_NOBODY, "entry %llu of term %llu is committed, %llu bytes", index,
             record->term, record->data.size, 0);
    sim_oracle_committed(sim, index, record->term, record->type, record->data);
}

static void read_commits(sim_t *sim, const sim_node_t *node, const lm_raft_room_t *room)
{
    sim_log_check_t *check = sim->logs;
    node_log_t *mine = &check->nodes[node->number];
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    uint64_t commit = lm_raft_engine_commit(room->engine);
    if (commit < mine->commit)
        sim_fail(sim, "COMMIT", "the commit index of %s goes back from %llu to %llu", node->name,
                 (ull_t)mine->commit, (ull_t)commit);
    for (uint64_t i = mine->commit + 1; i <= commit; i++) {
        const lm_raft_record_t *record = lm_raft_log_get(log, i);
        if (!record) continue; /* behind a snapshot, whose hash its lock will show */
        if (i > check->n_committed)
            commit_first(sim, i, lm_raft_engine_term(room->engine), record, mine->seen[i].chain);
        else if (check->committed[i - 1].chain != mine->seen[i].chain)
            sim_fail(sim, "STATE-MACHINE-SAFETY",
                     "%s commits entry %llu of term %llu, but that of term %llu was committed",
                     node->name, (ull_t)i, (ull_t)record->term,
                     (ull_t)check->committed[i - 1].term);
    }
    if (commit > mine->commit) mine->commit = commit;
}

/* ---- leaders --------------------------------------------------------------------------------- */

static void check_leader(sim_t *sim, const sim_node_t *node, const lm_raft_room_t *room,
                         uint64_t term)
{
    sim_log_check_t *check = sim->logs;
    if (term >= check->leaders_room) {
        uint64_t bigger = grown(term);
        check->leaders = lm_realloc(check->leaders, bigger * sizeof *check->leaders);
        memset(check->leaders + check->leaders_room, 0,
               (bigger - check->leaders_room) * sizeof *check->leaders);
        check->leaders_room = bigger;
    }
    if (check->leaders[term] && check->leaders[term] != node->number + 1)
        sim_fail(sim, "ELECTION-SAFETY", "%s leads in term %llu, and n%d did", node->name,
                 (ull_t)term, check->leaders[term]);
    check->leaders[term] = node->number + 1;
    const lm_raft_log_t *log = lm_raft_engine_log(room->engine);
    const node_log_t *mine = &check->nodes[node->number];
    uint64_t n = check->n_committed;
    /* One that has stood still may win an election that is history: what was committed in later
     * terms, entries of earlier ones too, is not its own. */
    while (n > 0 && check->committed[n - 1].in_term >= term) n--;
    bool has = n == 0 ||
               (lm_raft_log_last_index(log) >= n &&
                (!lm_raft_log_get(log, n) || mine->seen[n].chain == check->committed[n - 1].chain));
    if (!has)
        sim_fail(sim, "LEADER-COMPLETENESS",
                 "%s leads in term %llu and has not what was committed as entry %llu", node->name,
                 (ull_t)term, (ull_t)n);
    sim_note(sim, node->number, LM_RAFT, "leads in term %llu, its log ends at %llu", term,
             lm_raft_log_last_index(log), 0, 0);
    sim_probe(sim, SIM_PROBE_LEADER);
}

/* S21. An election that was begun with a lock may be won without one, and both may have stood still
 * on the way. */
static void check_candidate(sim_t *sim, const sim_node_t *node)
{
    uint64_t unfit_us = sim->now_us - sim->logs->nodes[node->number].fit_us;
    if (unfit_us > 5 * SIM_S)
        sim_fail(sim, "S21", "%s campaigns, and has had no lock to lead with for %llu us",
                 node->name, (ull_t)unfit_us);
}

static void check_forming(sim_t *sim, const sim_node_t *node)
{
    if (node->wiped)
        sim_fail(sim, "S18", "%s has lost its volume and takes part again", node->name);
    for (int i = 0; i < sim->n_nodes; i++)
        if (!sim->nodes[i].wiped &&
            lm_fake_disk_identity(sim->nodes[i].disk)->stage == LM_RAFT_EMPTY)
            sim_fail(sim, "S18", "%s takes part in a region that %s does not know of", node->name,
                     sim->nodes[i].name);
}

/* ---- rare places ----------------------------------------------------------------------------- */

static void read_figures(sim_t *sim, const sim_node_t *node, node_log_t *mine,
                         const lm_raft_room_t *room)
{
    const lm_raft_figures_t *now = &room->figures, *then = &mine->figures;
    if (now->refused[LM_RAFT_REFUSED_OLD_EPOCH] > then->refused[LM_RAFT_REFUSED_OLD_EPOCH])
        sim_fail(sim, "S24", "a frame of an older stream came to %s behind one of a newer",
                 node->name);
    const struct {
        uint64_t now, then;
        sim_probe_t probe;
    } rows[] = {
        {now->refused[LM_RAFT_REFUSED_STAGE], then->refused[LM_RAFT_REFUSED_STAGE],
         SIM_PROBE_FRAME_TOO_EARLY},
        {now->refused[LM_RAFT_REFUSED_LOSS], then->refused[LM_RAFT_REFUSED_LOSS],
         SIM_PROBE_VOTE_WITHHELD},
        {now->transfers, then->transfers, SIM_PROBE_TRANSFER},
        {now->snapshots_taken, then->snapshots_taken, SIM_PROBE_SNAPSHOT_TAKEN},
        {now->snapshots_dropped, then->snapshots_dropped, SIM_PROBE_MARK_DROPPED},
        {now->snapshots_installed, then->snapshots_installed, SIM_PROBE_SNAPSHOT_INSTALLED},
        {now->fetches_dropped, then->fetches_dropped, SIM_PROBE_FETCH_DROPPED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].now > rows[i].then) sim_probe(sim, rows[i].probe);
    if (now->snapshots_fetched > then->snapshots_fetched && mine->fetching > room->piece_bytes)
        sim_probe(sim, SIM_PROBE_IMAGE_IN_PIECES);
    mine->fetching = room->fetch.on ? room->fetch.image.length : 0;
    mine->figures = *now;
}

static void probe_once(sim_t *sim, bool *was, bool is, sim_probe_t probe)
{
    if (is && !*was) sim_probe(sim, probe);
    *was = is;
}

static void read_state(sim_t *sim, node_log_t *mine, const lm_raft_room_t *room)
{
    if (room->phase != LM_RAFT_RUNNING) return;
    bool leads = lm_raft_room_leads(room);
    probe_once(sim, &mine->wants, !leads && lm_raft_fetch_is_wanted(room), SIM_PROBE_LOCK_BEHIND);
    probe_once(sim, &mine->choked, leads && lm_raft_propose_is_choked(room),
               SIM_PROBE_LEADER_CHOKED);
    if (mine->loses && room->lost_index == 0) sim_probe(sim, SIM_PROBE_LOSS_HEALED);
    mine->loses = room->lost_index != 0;
}

void sim_log_check_look(sim_t *sim, sim_node_t *node)
{
    const lm_raft_room_t *room = node->rooms[LM_RAFT].room;
    node_log_t *mine = &sim->logs->nodes[node->number];
    if (!room->engine) return;
    check_forming(sim, node);
    read_log(sim, node, lm_raft_engine_log(room->engine));
    uint64_t term = lm_raft_engine_term(room->engine);
    if (lm_raft_attach_is_fit(room) || mine->fit_us == 0) mine->fit_us = sim->now_us;
    if (lm_raft_engine_elections(room->engine) != mine->elections) check_candidate(sim, node);
    mine->elections = lm_raft_engine_elections(room->engine);
    if (lm_raft_engine_role(room->engine) == LM_RAFT_LEADER_ROLE && mine->led_term != term) {
        mine->led_term = term;
        check_leader(sim, node, room, term);
    }
    read_commits(sim, node, room);
    read_figures(sim, node, mine, room);
    read_state(sim, mine, room);
}

/* ---- for others ------------------------------------------------------------------------------ */

void sim_log_check_gone(sim_t *sim, int number)
{
    node_log_t *mine = &sim->logs->nodes[number];
    seen_t *seen = mine->seen;
    uint64_t room = mine->room;
    *mine = (node_log_t){.seen = seen, .room = room};
}

uint64_t sim_log_check_committed(const sim_t *sim) { return sim->logs->n_committed; }

int sim_log_check_leader(const sim_t *sim)
{
    int leader = -1;
    uint64_t best = 0;
    for (int i = 0; i < sim->n_nodes; i++) {
        const lm_raft_room_t *room = sim->nodes[i].rooms[LM_RAFT].room;
        if (!sim->nodes[i].process[SIM_RAFT].alive || !room->engine) continue;
        uint64_t term = lm_raft_engine_term(room->engine);
        if (lm_raft_engine_role(room->engine) != LM_RAFT_LEADER_ROLE || term <= best) continue;
        leader = i;
        best = term;
    }
    return leader;
}

sim_log_check_t *sim_log_check_new(sim_t *sim)
{
    (void)sim;
    return lm_alloc(sizeof(sim_log_check_t));
}

void sim_log_check_free(sim_log_check_t **check)
{
    sim_log_check_t *c = *check;
    if (!c) return;
    for (uint64_t i = 0; i < c->variants_room; i++) {
        while (c->variants[i]) {
            variant_t *variant = c->variants[i];
            c->variants[i] = variant->next;
            free(variant);
        }
    }
    for (uint64_t i = 0; i < c->n_committed; i++)
        free((void *)(uintptr_t)c->committed[i].data.data);
    for (int i = 0; i < SIM_NODES_MAX; i++) free(c->nodes[i].seen);
    free(c->variants);
    free(c->committed);
    free(c->leaders);
    free(c);
    *check = NULL;
}
