/* The supervisor's room: it hears the children, asks the policy machine, and does what that wishes.
 *
 * What touches the world - processes, files - it does by hands that are handed to it, so that tests
 * can give it others. What happens outside of the bus comes in as news through its inlet.
 *
 * Invariants
 *   V1  Only words of children of this very supervisor count: their generation carries its boot id.
 *   V2  Whoever becomes ready is told of everybody who is, and everybody is told of it.
 */
#ifndef LM_SUP_ROOM_H
#define LM_SUP_ROOM_H

#include "act_room.h"
#include "sup_config.h"
#include "sup_obituary.h"

typedef struct lm_sup_room lm_sup_room_t;

typedef struct {
    void *arg;
    bool one_death_ends; /* children live and die together: nothing is restarted */
    /** False: there is no such process now. */
    bool (*spawn)(void *arg, size_t child, uint32_t counter);
    void (*kill)(void *arg, size_t child, const char *why);
    bool (*is_blocking)(void *arg, size_t child);
    /** Process number of a child; 0 if there is none. */
    uint32_t (*pid)(void *arg, size_t child);
    /** The loop turns; every LM_RESTART_TICK_US. NULL: nobody wants to know. */
    void (*beat)(void *arg, uint64_t now_us);
    /** Something that people want to see has changed. */
    void (*show)(void *arg, const lm_sup_room_t *room, uint64_t now_us);
} lm_sup_hands_t;

extern const lm_room_t lm_sup_room_definition;

/** config and hands must outlive the room; counters are those of the last starts, self is our
 *  generation. */
lm_sup_room_t *lm_sup_room_new(const lm_sup_config_t *config, const lm_sup_hands_t *hands,
                               lm_generation_t self, const uint32_t *counters);
void lm_sup_room_destroy(lm_sup_room_t **room);

typedef enum {
    LM_SUP_BEGIN, /* spawn the children; first, once */
    LM_SUP_DEATH, /* a child was reaped */
    LM_SUP_STOP,  /* somebody asks the node to stop */
} lm_sup_news_kind_t;

/** What goes into the room's inlet. */
typedef struct {
    lm_sup_news_kind_t kind;
    lm_sup_death_t death; /* of LM_SUP_DEATH */
} lm_sup_news_t;

/** News for the inlet, which takes them over. death is copied; NULL unless kind is LM_SUP_DEATH. */
lm_sup_news_t *lm_sup_news_new(lm_sup_news_kind_t kind, const lm_sup_death_t *death);

/** The policy machine, for reading. */
const lm_restart_t *lm_sup_room_machine(const lm_sup_room_t *room);
/** Process number of a child; 0 if there is none. */
uint32_t lm_sup_room_pid(const lm_sup_room_t *room, size_t child);

#endif
