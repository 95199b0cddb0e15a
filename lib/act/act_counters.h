/* What the runtime counts. A message that reached no handler is in exactly one of these. */
#ifndef LM_ACT_COUNTERS_H
#define LM_ACT_COUNTERS_H

#include "act_room.h"

#define LM_COUNTERS(X)                                                                             \
    X(RECEIVED, "received", "Messages that reached a handler")                                     \
    X(SENT, "sent", "Messages handed to the bus")                                                  \
    X(UNDECODABLE, "undecodable", "Messages dropped because they could not be decoded")            \
    X(UNKNOWN_NUMBER, "unknown_number", "Messages dropped because the register has no such row")   \
    X(WRONG_SENDER, "wrong_sender", "Messages dropped because sender or receiver was not the one") \
    X(STALE, "stale_generation", "Messages dropped because they were from or for another start")   \
    X(OVERSIZED, "oversized", "Messages refused because they were too large")                      \
    X(EXPIRED, "expired", "Messages refused because their deadline had passed")                    \
    X(UNWELCOME, "unwelcome", "Messages refused because the actor was not in a state for them")    \
    X(UNHANDLED, "unhandled", "Messages refused because the actor has no handler for them")        \
    X(UNEXPECTED_REPLY, "unexpected_reply", "Replies dropped because nobody waited for them")      \
    X(REPLY_TO_NOBODY, "reply_to_nobody", "Replies not sent because their caller was gone")        \
    X(MERGED, "merged", "Messages not sent because a later one says it again")                     \
    X(OVERLOADED, "overloaded", "Calls refused because the pipe to their receiver was full")       \
    X(KEPT, "kept", "Messages that had to wait for room in a pipe")                                \
    X(REPEATED, "repeated", "Calls sent again to a new start of their receiver")                   \
    X(FAILED, "calls_failed", "Calls that ended without a reply")                                  \
    X(LATE, "late_ticks", "Wake-ups that came more than 200 ms late")

typedef enum {
#define X(name, metric, help) LM_COUNT_##name,
    LM_COUNTERS(X)
#undef X
        LM_COUNTERS_N
} lm_counter_t;

typedef struct {
    lm_host_counter_t rows[LM_COUNTERS_N];
} lm_counters_t;

/** All zero, with names and help. */
lm_counters_t lm_counters_new(void);

static inline void lm_count(lm_counters_t *counters, lm_counter_t which)
{
    counters->rows[which].value++;
}

#endif
