/* Messages of the bus with any bytes as their body, from a sender that is known. */
#ifndef LM_FUZZ_RAW_H
#define LM_FUZZ_RAW_H

#include "act_test_host.h"

/** Delivers body as one turn, as a message of that number from a participant whose generation is
 *  {1, counter}, to a room whose generation is {1, 1}. correlation: of the call that a REPLY
 *  answers, or that a CALL is to have; 0 otherwise. */
void fuzz_raw(lm_test_host_t *host, const lm_room_t *room, lm_participant_t from, uint32_t counter,
              lm_message_number_t number, uint64_t correlation, lm_bytes_t body);

#endif
