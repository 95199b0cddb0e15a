/* From an empty data directory to an engine that may vote: carries out what the bootstrap machine
 * wishes, and starts the engine when the last stage is durable. */
#include "base_log.h"
#include "raft_state.h"

static void start_engine(lm_raft_room_t *room)
{
    uint32_t seed;
    if (!lm_raft_loss_begin(room, room->loaded)) return;
    room->random(room->random_arg, &seed, sizeof seed);
    lm_raft_engine_options_t options = {
        .disk = room->disk,
        .send = lm_raft_peers_send_to,
        .arg = room,
        .election_timeout_ms = room->election_ms,
        .heartbeat_ms = room->heartbeat_ms,
        .seed = seed,
        .trailing_entries = room->trailing_entries,
        .log_bytes_max = room->log_bytes_max,
    };
    room->engine = lm_raft_engine_new(&options, lm_raft_room_identity(room));
    room->phase = LM_RAFT_RUNNING;
    for (uint32_t i = 0; i < room->n_nodes; i++)
        lm_raft_engine_link(room->engine, room->nodes[i].id, room->nodes[i].link_up);
    lm_raft_engine_start(room->engine, room->loaded, room->now_us);
    lm_info("has a log of %zu entries behind a snapshot of entry %llu and votes in term %llu",
            room->loaded->n_entries, (unsigned long long)room->loaded->image.index,
            (unsigned long long)room->loaded->term);
    lm_raft_done_destroy(&room->loaded);
    lm_outbox_ready(room->out);
}

/* The durable identity has changed: ids are known. */
static void take_ids(lm_raft_room_t *room)
{
    for (uint32_t i = 0; i < room->n_nodes; i++)
        room->nodes[i].id = lm_raft_identity_id(lm_raft_room_identity(room), room->nodes[i].name);
    lm_raft_peers_tell_identity(room);
}

void lm_raft_forming_begin(lm_raft_room_t *room, const lm_raft_identity_t *found)
{
    const char *names[LM_RAFT_SERVERS_MAX];
    lm_raft_identity_t identity = *found;
    for (uint32_t i = 0; i < room->n_nodes; i++) names[i] = room->nodes[i].name;
    memcpy(identity.region, room->region, sizeof identity.region);
    memcpy(identity.node, room->nodes[room->self].name, sizeof identity.node);
    lm_raft_bootstrap_begin(&room->forming, names, room->n_nodes, room->self, &identity,
                            room->random, room->random_arg);
    take_ids(room);
    if (identity.stage == LM_RAFT_STARTED) {
        room->phase = LM_RAFT_LOADING;
        room->disk->load(room->disk, &identity, false);
        return;
    }
    room->phase = LM_RAFT_FORMING;
    lm_info("has no log yet (%s)", lm_raft_stage_name(identity.stage));
    lm_outbox_ready(room->out);
    lm_raft_forming_serve(room);
}

static void say_to(lm_raft_room_t *room, uint32_t node, unsigned what)
{
    static const unsigned order[] = {LM_RAFT_SAY_STATE, LM_RAFT_SAY_OFFER, LM_RAFT_SAY_ACCEPT,
                                     LM_RAFT_SAY_START};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!(what & order[i])) continue;
        lm_peer_frame_t frame = {0};
        lm_raft_bootstrap_frame(&room->forming, node, order[i], &frame, room->scratch);
        lm_raft_peers_send(room, node, &frame);
    }
}

void lm_raft_forming_serve(lm_raft_room_t *room)
{
    lm_raft_bootstrap_wish_t wish = room->forming.wish;
    room->forming.wish = (lm_raft_bootstrap_wish_t){0};
    for (uint32_t i = 0; i < room->n_nodes; i++)
        if (wish.say[i]) say_to(room, i, wish.say[i]);
    if (wish.save) room->disk->save_identity(room->disk, &room->forming.draft);
    if (wish.run) {
        room->phase = LM_RAFT_LOADING;
        room->disk->load(room->disk, lm_raft_room_identity(room), true);
    }
}

void lm_raft_forming_receive(lm_raft_room_t *room, uint32_t node, const lm_peer_frame_t *frame)
{
    lm_raft_bootstrap_t *forming = &room->forming;
    if (room->phase < LM_RAFT_FORMING) {
        room->figures.refused[LM_RAFT_REFUSED_STAGE]++;
        return;
    }
    if (frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_STATE)
        lm_raft_bootstrap_state(forming, node, frame->bootstrap_state);
    else if (frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_OFFER)
        lm_raft_bootstrap_offer(forming, node, frame->bootstrap_offer);
    else if (frame->body_case == LM_PEER_FRAME_BODY_BOOTSTRAP_ACCEPT)
        lm_raft_bootstrap_accept(forming, node, frame->bootstrap_accept);
    else
        lm_raft_bootstrap_start(forming, node, frame->bootstrap_start);
    lm_raft_forming_serve(room);
}

void lm_raft_forming_saved(lm_raft_room_t *room)
{
    lm_raft_bootstrap_saved(&room->forming);
    take_ids(room);
    lm_info("the region is %s here", lm_raft_stage_name(lm_raft_room_identity(room)->stage));
    if (room->loaded && lm_raft_room_identity(room)->stage == LM_RAFT_STARTED) start_engine(room);
    lm_raft_forming_serve(room);
}

void lm_raft_forming_loaded(lm_raft_room_t *room, lm_raft_done_t **done)
{
    room->loaded = *done;
    *done = NULL;
    if (lm_raft_room_identity(room)->stage == LM_RAFT_STARTED) {
        start_engine(room);
        return;
    }
    lm_raft_bootstrap_written(&room->forming);
    lm_raft_forming_serve(room);
}
