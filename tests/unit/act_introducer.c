#include "act_introducer.h"

#include <stdio.h>

#include "wire_bus.h"

static void introduce(introducer_t *s, lm_participant_t to, lm_participant_t who, lm_outbox_t *out)
{
    lm_bus_generation_t generation = {.boot_id = s->known[who].generation.boot_id,
                                      .counter = s->known[who].generation.counter};
    lm_bus_peer_up_t up = {.participant = who,
                           .generation = &generation,
                           .endpoint = lm_bytes_of(s->known[who].endpoint)};
    lm_outbox_send(out, to, LM_MSG_PEER_UP, &up);
}

void introducer_hello(introducer_t *s, const lm_message_t *message, const char *log_level,
                      lm_outbox_t *out)
{
    lm_participant_t from = message->from.participant;
    lm_bus_node_config_t config = {.node = lm_bytes_of("n1"), .log_level = lm_bytes_of(log_level)};
    s->known[from].here = true;
    lm_outbox_send(out, from, LM_MSG_START, &config);
    for (int who = LM_RAFT; who < LM_PARTICIPANTS; who++)
        if (s->known[who].ready) introduce(s, from, (lm_participant_t)who, out);
}

void introducer_ready(introducer_t *s, const lm_message_t *message, lm_outbox_t *out)
{
    const lm_bus_actor_ready_t *ready = message->body;
    lm_participant_t who = message->from.participant;
    s->known[who].generation = message->from.generation;
    snprintf(s->known[who].endpoint, sizeof s->known[who].endpoint, "%.*s",
             LM_BYTES_ARG(ready->endpoint));
    s->known[who].ready = true;
    for (int to = LM_RAFT; to < LM_PARTICIPANTS; to++)
        if (to != (int)who && s->known[to].here) introduce(s, (lm_participant_t)to, who, out);
}
