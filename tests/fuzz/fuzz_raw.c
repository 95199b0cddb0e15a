#include "fuzz_raw.h"

#include "wire_bus.h"

void fuzz_raw(lm_test_host_t *host, const lm_room_t *room, lm_participant_t from, uint32_t counter,
              lm_message_number_t number, uint64_t correlation, lm_bytes_t body)
{
    lm_bus_generation_t theirs = {.boot_id = 1, .counter = counter};
    lm_bus_generation_t ours = {.boot_id = 1, .counter = 1};
    lm_bus_envelope_t envelope = {.version = 1,
                                  .number = number,
                                  .from = from,
                                  .to = room->self,
                                  .from_generation = &theirs,
                                  .to_generation = &ours,
                                  .correlation = correlation};
    lm_arena_t *arena = lm_arena_new();
    lm_test_raw(host, lm_wire_encode(&lm_bus_envelope_type, &envelope, arena), body);
    lm_arena_destroy(&arena);
}
