/* One room on the virtual bus. What a room wishes in a turn leaves as one bundle for each receiver,
 * as in the process host, and what a full pipe or a receiver that is gone makes of it is decided by
 * the same rules (act_post.c). Pipes lead to one start of their receiver: what is on its way when
 * that dies is lost, or, as ZeroMQ may do it, comes to the successor, who must not listen to it. */
#include <stdlib.h>
#include <utlist.h>

#include "base_check.h"
#include "sim.h"
#include "wire_bus.h"

enum { PACKED_MAX = 256 };

uint64_t sim_room_clock(const sim_room_t *room) { return sim_node_clock(room->node); }

static lm_generation_t generation_of(const sim_node_t *node, uint32_t counter)
{
    return (lm_generation_t){.boot_id = node->boot_id, .counter = counter};
}

static bool is_consumer_of(const sim_room_t *room, lm_participant_t to)
{
    return to == LM_SUPERVISOR || (room->d.definition->connects & 1u << to);
}

/* ---- packing --------------------------------------------------------------------------------- */

static void add_bytes(sim_room_t *room, const void *bytes, size_t size)
{
    if (room->packed_bytes + size > room->packing_room) {
        room->packing_room = 2 * (room->packed_bytes + size) + 1024;
        room->packing = lm_realloc(room->packing, room->packing_room);
    }
    if (size) memcpy(room->packing + room->packed_bytes, bytes, size);
    room->packed_bytes += size;
}

static void pack(sim_room_t *room, const lm_wish_t *wish)
{
    lm_generation_t to = room->d.out.peers[wish->to].generation;
    lm_bytes_t envelope = lm_outbox_envelope(&room->d.out, wish, to, room->d.arena);
    uint32_t sizes[2] = {(uint32_t)envelope.size, (uint32_t)wish->body.size};
    add_bytes(room, sizes, sizeof sizes);
    add_bytes(room, envelope.data, envelope.size);
    add_bytes(room, wish->body.data, wish->body.size);
    room->packed[room->n_packed++] = wish;
}

static void arrive(sim_t *sim, void *what, uint64_t number);

static sim_bundle_t *bundle_of(sim_room_t *room, lm_participant_t to, uint32_t counter)
{
    sim_bundle_t *bundle = lm_alloc(sizeof *bundle + room->packed_bytes);
    bundle->node = room->node;
    bundle->from = room->who;
    bundle->to = to;
    bundle->from_generation = room->d.out.generation;
    bundle->to_counter = counter;
    bundle->from_consumer = is_consumer_of(room, to);
    bundle->n = (uint32_t)room->n_packed;
    bundle->size = (uint32_t)room->packed_bytes;
    if (bundle->size) memcpy(bundle->bytes, room->packing, bundle->size);
    if (room->sim->record)
        sim_record_bytes(room->sim->record, lm_bytes(bundle->bytes, bundle->size));
    room->n_packed = room->packed_bytes = 0;
    return bundle;
}

static void put_on_bus(sim_room_t *room, sim_bundle_t *bundle)
{
    sim_t *sim = room->sim;
    uint64_t *last = &room->arrive_us[bundle->to];
    uint64_t at_us = sim->now_us + 10 + sim_draw(sim, sim->bus_us_max);
    if (at_us < *last) at_us = *last;
    *last = at_us;
    sim_at(sim, at_us, arrive, bundle, 0);
}

/* Sends what is packed. False: there is nobody at the other end. */
static bool send_packed(sim_room_t *room, lm_participant_t to)
{
    uint32_t counter = 0;
    if (to == LM_SUPERVISOR) {
        counter = (uint32_t)room->node->boots;
    } else if (is_consumer_of(room, to)) {
        counter = room->link_counter[to];
    } else {
        const sim_room_t *there = &room->node->rooms[to];
        counter = room->d.out.peers[to].generation.counter;
        bool gone = !there->alive || there->d.out.generation.counter != counter;
        if (gone) return false;
    }
    put_on_bus(room, bundle_of(room, to, counter));
    return true;
}

/* ---- messages that cannot be sent now -------------------------------------------------------- */

static void keep(sim_room_t *room, const lm_wish_t *wish)
{
    sim_kept_t *kept = lm_alloc(sizeof *kept);
    uint8_t *body = lm_alloc(wish->body.size);
    if (wish->body.size) memcpy(body, wish->body.data, wish->body.size);
    kept->wish = *wish;
    kept->wish.body.data = body;
    DL_APPEND(room->kept[wish->to], kept);
    room->d.out.peers[wish->to].full = true;
}

static void drop_kept(sim_room_t *room, lm_participant_t to, sim_kept_t *kept)
{
    DL_DELETE(room->kept[to], kept);
    free((void *)(uintptr_t)kept->wish.body.data);
    free(kept);
}

static void fail_call(sim_room_t *room, const lm_wish_t *wish, lm_rc_t why)
{
    lm_call_t *call = lm_calls_find(&room->d.calls, wish->correlation);
    if (call) lm_calls_fail(&room->d.calls, call, why);
}

static void meet_full_pipe(sim_room_t *room, const lm_wish_t *wish)
{
    sim_probe(room->sim, SIM_PROBE_PIPE_FULL);
    switch (wish->row->when_full) {
    case LM_FULL_REFUSE: fail_call(room, wish, LM_RC_OVERLOADED); break;
    case LM_FULL_MERGE: break;
    case LM_FULL_KEEP:
    case LM_FULL_STOP: keep(room, wish); break;
    }
}

static bool is_unaddressed(const lm_wish_t *wish) { return wish->to_generation.boot_id == 0; }

static bool is_void(const sim_room_t *room, const lm_wish_t *wish)
{
    lm_generation_t now = room->d.out.peers[wish->to].generation;
    return !is_unaddressed(wish) && lm_generation_compare(wish->to_generation, now) != 0;
}

static void meet_nobody(sim_room_t *room, const lm_wish_t *wish)
{
    if (wish->row->kind == LM_CALL) {
        if (!wish->row->repeated) fail_call(room, wish, LM_RC_NOT_READY);
    } else if (wish->row->when_full != LM_FULL_MERGE && wish->row->kind != LM_REPLY &&
               is_unaddressed(wish)) {
        keep(room, wish);
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool is_full(const sim_room_t *room, lm_participant_t to)
{
    return room->sim->now_us < room->full_until_us[to];
}

static void send_kept(sim_room_t *room, lm_participant_t to)
{
    sim_kept_t *kept, *next;
    if (is_full(room, to) || !room->d.out.peers[to].there) return;
    DL_FOREACH_SAFE(room->kept[to], kept, next)
    {
        if (room->n_packed == PACKED_MAX) break;
        if (!is_void(room, &kept->wish)) pack(room, &kept->wish);
        drop_kept(room, to, kept);
    }
    if (room->n_packed && !send_packed(room, to)) {
        room->d.out.peers[to].there = false;
        room->n_packed = room->packed_bytes = 0;
    }
}

static void send_wishes(sim_room_t *room, lm_participant_t to)
{
    if (!room->n_packed || send_packed(room, to)) return;
    size_t n = room->n_packed;
    room->n_packed = room->packed_bytes = 0;
    room->d.out.peers[to].there = false;
    for (size_t i = 0; i < n; i++) meet_nobody(room, room->packed[i]);
}

static void flush_to(sim_room_t *room, lm_participant_t to)
{
    lm_outbox_t *out = &room->d.out;
    lm_wish_t *wish;
    while ((wish = lm_outbox_take(out, to))) {
        if (is_void(room, wish)) continue;
        sim_said_t said = {.number = wish->row->number,
                           .from_counter = room->d.out.generation.counter,
                           .to_counter = wish->to_generation.counter,
                           .correlation = wish->correlation,
                           .body = wish->body};
        if (room->who == LM_RAFT || room->who == LM_LOCK)
            sim_watch_says(room->sim, room->node, &said);
        bool full = room->kept[to] || is_full(room, to);
        if (out->peers[to].there && !full) {
            if (room->n_packed == PACKED_MAX) send_wishes(room, to);
            pack(room, wish);
            continue;
        }
        if (!out->peers[to].there)
            meet_nobody(room, wish);
        else
            meet_full_pipe(room, wish);
        if (is_full(room, to)) out->peers[to].full = true;
    }
    send_wishes(room, to);
}

/* Health and gateway are no part of this world: what is meant for them goes nowhere. */
static void drop_wishes(sim_room_t *room, lm_participant_t to)
{
    lm_wish_t *wish;
    while ((wish = lm_outbox_take(&room->d.out, to)))
        if (wish->row->kind == LM_CALL) fail_call(room, wish, LM_RC_NOT_READY);
}

static void flush(sim_room_t *room)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        lm_participant_t to = (lm_participant_t)p;
        if (to == LM_HEALTH || to == LM_GATEWAY) {
            drop_wishes(room, to);
            continue;
        }
        while (room->kept[p] && !is_full(room, to) && room->d.out.peers[p].there)
            send_kept(room, to);
        if (room->d.out.peers[p].first) flush_to(room, to);
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void turn(sim_t *sim, void *what, uint64_t ticket);

void sim_room_poke(sim_room_t *room, uint64_t at_us)
{
    if (!room->alive) return;
    if (at_us < room->busy_until_us) at_us = room->busy_until_us;
    if (at_us < room->sim->now_us) at_us = room->sim->now_us;
    if (room->turn_at_us <= at_us) return;
    room->turn_at_us = at_us;
    sim_at(room->sim, at_us, turn, room, ++room->turn_ticket);
}

static uint64_t soon(sim_t *sim) { return sim->now_us + 2 + sim_draw(sim, sim->turn_us_max); }

void sim_room_put(sim_room_t *room, void *item)
{
    sim_item_t *put = lm_alloc(sizeof *put);
    put->item = item;
    put->next = NULL;
    *room->items_end = put;
    room->items_end = &put->next;
    sim_room_poke(room, soon(room->sim));
}

static bool adopt(sim_room_t *room, const sim_bundle_t *bundle)
{
    lm_generation_t known = room->d.out.peers[bundle->from].generation;
    int order = lm_generation_compare(bundle->from_generation, known);
    if (order <= 0) return order == 0;
    if (!bundle->from_consumer && bundle->from != LM_SUPERVISOR) return false;
    lm_dispatch_peer_up(&room->d, bundle->from, bundle->from_generation);
    return true;
}

static void note_message(sim_room_t *room, const sim_bundle_t *bundle, lm_bytes_t envelope,
                         lm_bytes_t body)
{
    sim_t *sim = room->sim;
    /* The number of the message is the second field of its envelope. */
    uint64_t number = envelope.size > 3 ? envelope.data[3] : 0;
    const lm_register_row_t *row = lm_register_find((uint32_t)number);
    bool dull = !row || number == LM_MSG_PING || number == LM_MSG_PONG;
    if (dull) return;
    sim_note_text(sim, room->node->number, room->who, "%s from %llu, %llu bytes", row->name,
                  bundle->from, body.size);
    if (number == LM_MSG_ATTACH_AGAIN) sim_probe(sim, SIM_PROBE_ATTACH_AGAIN);
    if (number == LM_MSG_LOCK_CALL) sim_oracle_lock_call(sim, room->node, body);
    void *decoded = NULL;
    lm_rc_t rc = lm_wire_decode(&lm_bus_envelope_type, envelope, sim->scratch, &decoded, NULL);
    const lm_bus_envelope_t *head = decoded;
    sim_said_t said = {.number = (lm_message_number_t)number,
                       .from_counter = bundle->from_generation.counter,
                       .to_counter = room->d.out.generation.counter,
                       .correlation = rc == LM_RC_OK ? head->correlation : 0,
                       .body = body};
    sim_watch_said(sim, room->node, &said);
}

static void read_bundle(sim_room_t *room, const sim_bundle_t *bundle)
{
    const uint8_t *at = bundle->bytes;
    if (!adopt(room, bundle)) {
        sim_probe(room->sim, SIM_PROBE_STALE_GENERATION);
        return;
    }
    for (uint32_t i = 0; i < bundle->n; i++) {
        uint32_t sizes[2];
        memcpy(sizes, at, sizeof sizes);
        at += sizeof sizes;
        lm_bytes_t envelope = lm_bytes(at, sizes[0]), body = lm_bytes(at + sizes[0], sizes[1]);
        at += sizes[0] + sizes[1];
        note_message(room, bundle, envelope, body);
        lm_dispatch_message(&room->d, bundle->from, envelope, body);
    }
}

static void read_all(sim_room_t *room)
{
    while (room->inbox) {
        sim_bundle_t *bundle = room->inbox;
        room->inbox = bundle->next;
        if (!room->inbox) room->inbox_end = &room->inbox;
        read_bundle(room, bundle);
        free(bundle);
    }
    while (room->items) {
        sim_item_t *item = room->items;
        room->items = item->next;
        if (!room->items) room->items_end = &room->items;
        void *what = item->item;
        free(item);
        lm_dispatch_inlet(&room->d, what);
    }
}

static void notice_room_again(sim_room_t *room)
{
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++)
        if (room->d.out.peers[p].full && !room->kept[p] && !is_full(room, (lm_participant_t)p))
            lm_dispatch_room_again(&room->d, (lm_participant_t)p);
}

static void say_ready(sim_room_t *room)
{
    if (!room->d.out.ready || room->said_ready) return;
    room->said_ready = true;
    lm_bus_actor_ready_t ready = {.endpoint = lm_bytes_of("virtual")};
    lm_outbox_send(&room->d.out, LM_SUPERVISOR, LM_MSG_ACTOR_READY, &ready);
}

static void plan_next(sim_room_t *room)
{
    sim_t *sim = room->sim;
    uint64_t next_us = lm_dispatch_next_us(&room->d);
    if (next_us == 0)
        sim_room_poke(room, sim->now_us + 1);
    else if (next_us != UINT64_MAX)
        sim_room_poke(room, (uint64_t)((int64_t)next_us - room->node->skew_us));
    for (int p = LM_SUPERVISOR; p < LM_PARTICIPANTS; p++) {
        if (!room->d.out.peers[p].full) continue;
        bool waits = is_full(room, (lm_participant_t)p);
        if (waits) sim_room_poke(room, room->full_until_us[p]);
        if (!waits && !room->kept[p]) sim_room_poke(room, sim->now_us + 1);
        if (!waits && room->kept[p] && room->d.out.peers[p].there)
            sim_room_poke(room, sim->now_us + 2 * SIM_MS);
    }
}

static void look(sim_room_t *room)
{
    if (room->who == LM_RAFT) {
        sim_node_look_at_disk(room->node);
        sim_log_check_look(room->sim, room->node);
    } else if (room->who == LM_LOCK) {
        sim_oracle_look(room->sim, room->node);
    }
    sim_watch_look(room->sim, room);
}

static void turn(sim_t *sim, void *what, uint64_t ticket)
{
    sim_room_t *room = what;
    if (!room->alive || ticket != room->turn_ticket) return;
    room->turn_at_us = UINT64_MAX;
    if (!sim_node_runs(room->node, sim_node_actor_of(room->who))) return;
    lm_dispatch_t *d = &room->d;
    if (room->who == LM_RAFT) lm_fake_disk_time(room->node->disk, sim->now_us);
    lm_dispatch_begin(d, sim_room_clock(room));
    notice_room_again(room);
    read_all(room);
    lm_dispatch_wake(d);
    lm_dispatch_end(d);
    say_ready(room);
    flush(room);
    lm_dispatch_clear(d);
    look(room);
    room->busy_until_us = sim->now_us + 1 + sim_draw(sim, 1 + sim->turn_us_max / 4);
    if (d->out.ended)
        sim_node_exit(room->node, sim_node_actor_of(room->who), d->out.exit_code, d->out.words);
    else
        plan_next(room);
}

/* ---- what comes in --------------------------------------------------------------------------- */

static void put_in(sim_room_t *room, sim_bundle_t *bundle)
{
    bundle->next = NULL;
    *room->inbox_end = bundle;
    room->inbox_end = &bundle->next;
    sim_room_poke(room, soon(room->sim));
}

static void arrive(sim_t *sim, void *what, uint64_t number)
{
    (void)number;
    sim_bundle_t *bundle = what;
    sim_room_t *room = &bundle->node->rooms[bundle->to];
    if (bundle->to == LM_SUPERVISOR) {
        sim_node_to_supervisor(bundle->node, bundle);
        return;
    }
    bool meant = room->alive && room->d.out.generation.boot_id == bundle->node->boot_id &&
                 room->d.out.generation.counter == bundle->to_counter;
    bool strays = !meant && room->alive && sim->stale_bus && sim_one_in(sim, 2);
    if (meant || strays)
        put_in(room, bundle);
    else
        free(bundle);
}

void sim_room_tell(sim_room_t *room, lm_message_number_t number, const void *body,
                   uint64_t correlation, uint64_t deadline_us)
{
    const lm_register_row_t *row = lm_register_find(number);
    const sim_node_t *node = room->node;
    if (!room->alive) return;
    lm_arena_t *arena = room->sim->scratch;
    lm_bus_generation_t from = {.boot_id = node->boot_id, .counter = (uint32_t)node->boots};
    lm_bus_generation_t to = {.boot_id = node->boot_id, .counter = room->d.out.generation.counter};
    lm_bus_envelope_t envelope = {.version = 1,
                                  .number = number,
                                  .from = LM_SUPERVISOR,
                                  .to = room->who,
                                  .from_generation = &from,
                                  .to_generation = &to,
                                  .correlation = correlation,
                                  .deadline_us = deadline_us};
    lm_bytes_t head = lm_wire_encode(&lm_bus_envelope_type, &envelope, arena);
    lm_bytes_t bytes = lm_wire_encode(row->body, body, arena);
    uint32_t sizes[2] = {(uint32_t)head.size, (uint32_t)bytes.size};
    sim_bundle_t *bundle = lm_alloc(sizeof *bundle + sizeof sizes + head.size + bytes.size);
    bundle->node = room->node;
    bundle->from = LM_SUPERVISOR;
    bundle->to = room->who;
    bundle->from_generation = generation_of(node, (uint32_t)node->boots);
    bundle->to_counter = to.counter;
    bundle->n = 1;
    memcpy(bundle->bytes, sizes, sizeof sizes);
    memcpy(bundle->bytes + sizeof sizes, head.data, head.size);
    if (bytes.size) memcpy(bundle->bytes + sizeof sizes + head.size, bytes.data, bytes.size);
    uint64_t at_us = room->sim->now_us + 10 + sim_draw(room->sim, room->sim->bus_us_max);
    uint64_t *last = &room->arrive_us[LM_NOBODY]; /* the way from the supervisor */
    if (at_us < *last) at_us = *last;
    *last = at_us;
    sim_at(room->sim, at_us, arrive, bundle, 0);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* PEER_UP: a new start of somebody this room speaks to. Connecting shows the other side at once who
 * this is. */
static void connect_to(void *host, lm_participant_t peer, lm_generation_t generation,
                       lm_bytes_t endpoint)
{
    (void)endpoint;
    sim_room_t *room = host;
    room->links |= 1u << peer;
    room->link_counter[peer] = generation.counter;
    room->n_packed = room->packed_bytes = 0;
    put_on_bus(room, bundle_of(room, peer, generation.counter));
}

static const lm_dispatch_host_t functions = {.connect = connect_to};

void sim_room_start(sim_room_t *room, const lm_room_t *definition, void *state, uint32_t counter)
{
    sim_node_t *node = room->node;
    lm_generation_t supervisor = generation_of(node, (uint32_t)node->boots);
    room->room = state;
    room->alive = true;
    room->said_ready = false;
    room->links = 0;
    room->inbox = NULL;
    room->inbox_end = &room->inbox;
    room->items = NULL;
    room->items_end = &room->items;
    room->turn_at_us = UINT64_MAX;
    room->busy_until_us = 0;
    memset(room->full_until_us, 0, sizeof room->full_until_us);
    lm_dispatch_init(&room->d, definition, state, generation_of(node, counter), &functions, room);
    lm_dispatch_begin(&room->d, sim_room_clock(room));
    room->d.out.peers[LM_SUPERVISOR].generation = supervisor;
    room->d.out.peers[LM_SUPERVISOR].there = true;
    lm_bus_actor_hello_t hello = {.pid = 1};
    lm_outbox_send(&room->d.out, LM_SUPERVISOR, LM_MSG_ACTOR_HELLO, &hello);
    flush(room);
    lm_dispatch_clear(&room->d);
}

static void free_item(const sim_room_t *room, void *item)
{
    lm_raft_done_t *done = item;
    if (room->who == LM_RAFT)
        lm_raft_done_destroy(&done);
    else
        lm_frontend_event_free(item);
}

void sim_room_stop(sim_room_t *room)
{
    if (!room->alive) return;
    room->alive = false;
    room->turn_ticket++;
    while (room->inbox) {
        sim_bundle_t *bundle = room->inbox;
        room->inbox = bundle->next;
        free(bundle);
    }
    while (room->items) {
        sim_item_t *item = room->items;
        room->items = item->next;
        free_item(room, item->item);
        free(item);
    }
    for (int p = 0; p < LM_PARTICIPANTS; p++)
        while (room->kept[p]) drop_kept(room, (lm_participant_t)p, room->kept[p]);
    lm_dispatch_destroy(&room->d);
    free(room->packing);
    room->packing = NULL;
    room->packing_room = room->packed_bytes = room->n_packed = 0;
}

void sim_room_forget(const sim_event_t *event)
{
    if (event->act == arrive) free(event->what);
}
