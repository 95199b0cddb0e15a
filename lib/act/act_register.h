/* The register of bus messages (proto/bus_messages.def) as data, and who takes part in the bus. */
#ifndef LM_ACT_REGISTER_H
#define LM_ACT_REGISTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

/** Who speaks on the bus: the supervisor and the rooms. clients and peers are the two rooms of the
 *  frontend process. The numbers travel and never change. */
typedef enum {
    LM_NOBODY = 0,
    LM_SUPERVISOR = 1,
    LM_RAFT = 2,
    LM_LOCK = 3,
    LM_GATEWAY = 4,
    LM_CLIENTS = 5,
    LM_PEERS = 6,
    LM_HEALTH = 7,
    LM_PARTICIPANTS = 8,
} lm_participant_t;

/** "raft", "clients", ...; "nobody" for a number that is none. */
const char *lm_participant_name(lm_participant_t participant);
/** The participant of that name; LM_NOBODY if there is none. */
lm_participant_t lm_participant_parse(const char *name);

/** Message numbers: LM_MSG_ATTACH and so on. */
typedef enum {
    LM_MSG_NONE = 0,
#define LM_MESSAGE(number, name, from, to, kind, body, limit, full, tap, hidden) \
    LM_MSG_##name = (number),
#include "bus_messages.def"
#undef LM_MESSAGE
} lm_message_number_t;

typedef enum { LM_CALL, LM_REPLY, LM_CAST, LM_EVENT } lm_message_kind_t;
typedef enum { LM_FULL_REFUSE, LM_FULL_MERGE, LM_FULL_KEEP, LM_FULL_STOP } lm_when_full_t;

typedef struct {
    lm_message_number_t number;
    const char *name;
    uint32_t senders;   /* bit 1 << participant */
    uint32_t receivers; /* bit 1 << participant */
    lm_message_kind_t kind;
    const lm_wire_type_t *body;
    size_t limit_bytes;
    lm_when_full_t when_full;
    bool repeated; /* a CALL that is sent again to a new generation of its receiver */
} lm_register_row_t;

/** Every message number is below this. */
enum { LM_MESSAGE_NUMBERS = 128 };

/** Row of a message; NULL for a number that is none. The reply to CALL n is message n + 1. */
const lm_register_row_t *lm_register_find(uint32_t number);

#endif
