/* The runtime's checks, with the real register: a room that welcomes whatever its participant may
 * receive, and answers and asks back, hears any envelopes and bodies.
 *
 * The first byte chooses the participant; then messages follow, each a block for the envelope and
 * one for the body. An empty block for the envelope: eight bytes that make up one. */
#include "act_test_host.h"
#include "fuzz_target.h"
#include "wire_bus.h"

enum { MESSAGES_MAX = 64 };

typedef struct {
    lm_room_row_t rows[LM_MESSAGE_NUMBERS];
    lm_room_t definition;
    uint64_t handled, failed, calls;
} ear_t;

static void on_message(void *self, const lm_message_t *message, lm_outbox_t *out)
{
    ear_t *ear = self;
    const lm_register_row_t *row = lm_register_find(message->number);
    lm_wire_encode(row->body, message->body, message->scratch);
    ear->handled++;
    const lm_register_row_t *reply = lm_register_find(message->number + 1u);
    if (row->kind != LM_CALL || !reply) return;
    void *empty = NULL;
    lm_rc_t rc = lm_wire_decode(reply->body, lm_bytes(NULL, 0), message->scratch, &empty, NULL);
    LM_CHECK(rc == LM_RC_OK, "an empty %s does not decode", reply->name);
    lm_outbox_reply(out, &message->from, reply->number, empty);
}

/* Every call that the participant may make is made once a while, so that replies meet one. */
static void on_turn_end(void *self, uint64_t now_us, lm_outbox_t *out)
{
    ear_t *ear = self;
    (void)now_us;
    lm_arena_t *arena = lm_arena_new();
    for (uint32_t i = 1; i < LM_MESSAGE_NUMBERS && ear->calls < 32; i++) {
        const lm_register_row_t *row = lm_register_find(i);
        if (!row || row->kind != LM_CALL || !(row->senders & 1u << ear->definition.self)) continue;
        void *empty = NULL;
        lm_wire_decode(row->body, lm_bytes(NULL, 0), arena, &empty, NULL);
        for (int to = LM_SUPERVISOR; to < LM_PARTICIPANTS; to++)
            if (row->receivers & 1u << to)
                lm_outbox_call(out, (lm_participant_t)to, row->number, empty, 0, 0);
        ear->calls++;
    }
    lm_arena_destroy(&arena);
}

static void on_call_failed(void *self, lm_message_number_t number, uint64_t correlation,
                           lm_rc_t why, uint64_t now_us, lm_outbox_t *out)
{
    (void)number;
    (void)correlation;
    (void)now_us;
    (void)out;
    LM_CHECK(why != LM_RC_OK, "a call failed with OK");
    ((ear_t *)self)->failed++;
}

static void make_ear(ear_t *ear, lm_participant_t self)
{
    ear->definition = (lm_room_t){.self = self,
                                  .binds = true,
                                  .connects = (1u << LM_PARTICIPANTS) - 2,
                                  .rows = ear->rows,
                                  .on_turn_end = on_turn_end,
                                  .on_call_failed = on_call_failed};
    for (uint32_t i = 1; i < LM_MESSAGE_NUMBERS; i++) {
        const lm_register_row_t *row = lm_register_find(i);
        bool own = i == LM_MSG_PING || i == LM_MSG_STOP || i == LM_MSG_PEER_UP;
        if (!row || own || !(row->receivers & 1u << self)) continue;
        ear->rows[ear->definition.n_rows++] =
            (lm_room_row_t){row->number, on_message, LM_ANY_STATE};
    }
}

static lm_bytes_t made_up(fuzz_input_t *in, lm_participant_t self, lm_arena_t *arena)
{
    lm_bus_generation_t from = {.boot_id = 1, .counter = 1}, to = from;
    lm_bus_envelope_t envelope = {.version = 1, .to_generation = &to, .from_generation = &from};
    uint8_t odd = fuzz_u8(in);
    envelope.number = fuzz_u8(in);
    envelope.from = fuzz_u8(in);
    envelope.to = odd & 1 ? fuzz_u8(in) : (uint32_t)self;
    envelope.correlation = fuzz_u8(in);
    from.counter += odd & 2 ? 1 : 0;
    to.counter += odd & 4 ? 1 : 0;
    from.boot_id = odd & 8 ? fuzz_u8(in) : 1;
    envelope.deadline_us = odd & 16 ? fuzz_number(in, 4) : 0;
    envelope.refused = odd & 32 ? fuzz_u8(in) : 0;
    if (odd & 64) envelope.to_generation = NULL;
    if (odd & 128) envelope.version = fuzz_u8(in);
    return lm_wire_encode(&lm_bus_envelope_type, &envelope, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t in = {lm_bytes(data, size)};
    lm_participant_t self = (lm_participant_t)(LM_SUPERVISOR + fuzz_u8(&in) % LM_HEALTH);
    ear_t ear = {0};
    make_ear(&ear, self);
    lm_arena_t *arena = lm_arena_new();
    lm_test_host_t *host = lm_test_host_new(&ear.definition, &ear);
    lm_test_turn(host);
    for (int i = 0; i < MESSAGES_MAX && in.left.size; i++) {
        lm_bytes_t envelope = fuzz_block(&in);
        if (envelope.size == 0) envelope = made_up(&in, self, arena);
        lm_bytes_t body = fuzz_block(&in);
        uint64_t handled = ear.handled;
        lm_test_raw(host, envelope, body);
        LM_CHECK(handled == ear.handled || lm_test_refused(host) == LM_RC_OK,
                 "a message was handled and refused");
        if (i % 8 == 7) lm_test_advance(host, 1000000);
    }
    lm_test_host_destroy(&host);
    lm_arena_destroy(&arena);
    return 0;
}
