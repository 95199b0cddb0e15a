/* The register as a table indexed by message number.
 *
 * Invariants
 *   G1  Numbers are below LM_MESSAGE_NUMBERS; a gap has a row whose name is NULL.
 *   G2  The reply to CALL n is message n + 1.
 */
#include "act_register.h"

#include <string.h>

#include "wire_api.h"
#include "wire_bus.h"
#include "wire_peer.h"

static const char *const participant_names[LM_PARTICIPANTS] = {
    [LM_NOBODY] = "nobody", [LM_SUPERVISOR] = "supervisor", [LM_RAFT] = "raft",
    [LM_LOCK] = "lock",     [LM_GATEWAY] = "gateway",       [LM_CLIENTS] = "clients",
    [LM_PEERS] = "peers",   [LM_HEALTH] = "health",
};

const char *lm_participant_name(lm_participant_t participant)
{
    return (unsigned)participant < LM_PARTICIPANTS ? participant_names[participant]
                                                   : participant_names[LM_NOBODY];
}

lm_participant_t lm_participant_parse(const char *name)
{
    for (int p = LM_NOBODY + 1; p < LM_PARTICIPANTS; p++)
        if (strcmp(name, participant_names[p]) == 0) return (lm_participant_t)p;
    return LM_NOBODY;
}

/* The words of the columns for senders and receivers. */
enum {
    SUPERVISOR = 1 << LM_SUPERVISOR,
    RAFT = 1 << LM_RAFT,
    LOCK = 1 << LM_LOCK,
    GATEWAY = 1 << LM_GATEWAY,
    CLIENTS = 1 << LM_CLIENTS,
    PEERS = 1 << LM_PEERS,
    HEALTH = 1 << LM_HEALTH,
    ACTORS = RAFT | LOCK | GATEWAY | CLIENTS | PEERS | HEALTH,
};

/* The list names the calls that are not repeated after all rows: their entries here replace what
 * the row said first, which the compiler would otherwise report. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const lm_register_row_t rows[LM_MESSAGE_NUMBERS] = {
#define LM_MESSAGE(number_, name_, from, to, kind_, body_, limit, full, tap, hidden) \
    [number_] = {.number = LM_MSG_##name_,                                           \
                 .name = #name_,                                                     \
                 .senders = (from),                                                  \
                 .receivers = (to),                                                  \
                 .kind = LM_##kind_,                                                 \
                 .body = &lm_##body_##_type,                                         \
                 .limit_bytes = (limit),                                             \
                 .when_full = LM_FULL_##full,                                        \
                 .repeated = LM_##kind_ == LM_CALL},
#define LM_MESSAGE_NOT_REPEATED(name_) [LM_MSG_##name_].repeated = false,
#include "bus_messages.def"
#undef LM_MESSAGE_NOT_REPEATED
#undef LM_MESSAGE
};
#pragma GCC diagnostic pop

const lm_register_row_t *lm_register_find(uint32_t number)
{
    if (number >= LM_MESSAGE_NUMBERS || !rows[number].name) return NULL;
    return &rows[number];
}
