/* What a session wants, has and gives back, as its client knows it; and which request numbers it is
 * done with. No I/O, no chance: ids are arguments.
 *
 *     want --> WANTED --granted--> HELD --return--> RETURNING --over--> GONE
 *                |  \--over--> GONE                    | unsure
 *                | unsure                              v
 *                v                                  GIVEN UP (releasing) --over--> GONE
 *             GIVEN UP (cancelling) --granted--^  \--over--> GONE
 *
 * A session is one owner: it holds a name at most once and waits for it at most once, so an entry
 * is found by its name.
 *
 * Invariants
 *   H1  Numbers go up by one, from 1. done_below is the lowest number whose outcome is not known
 *       (S12b); the next one if there is none.
 *   H2  No request has a number that lies a window or more above done_below: the region would
 *       refuse it. While a long wait keeps done_below down, requests have ids instead.
 *   H3  A hold that the region tells of, under a name of which nothing is known here, is given up:
 *       it becomes GIVEN UP (releasing) (S12c). A list that is older than the end of an entry says
 *       nothing about its name.
 */
#ifndef LM_CLIENT_HOLDS_H
#define LM_CLIENT_HOLDS_H

#include <uthash.h>

#include "wire_api.h"

typedef enum {
    LM_HOLD_WANTED,
    LM_HOLD_HELD,
    LM_HOLD_RETURNING,
    LM_HOLD_CANCELLING,
    LM_HOLD_RELEASING,
    LM_HOLD_GONE,
} lm_hold_state_t;

/** One name; belongs to its table. */
typedef struct {
    char *name;
    lm_hold_state_t state;
    bool busy;           /* somebody makes a call about it */
    uint64_t number;     /* of the request under way; 0: request_id counts */
    char request_id[33]; /* of the request under way; empty if it has a number */
    char *hold_id;       /* of what is held; NULL: nothing is */
    int64_t token;
    uint64_t gone_at; /* GONE: lists that were asked for at or before this one are older */
    UT_hash_handle hh;
} lm_hold_t;

typedef struct lm_holds lm_holds_t;

/** window: how many numbers the region keeps open. 0: no request gets a number, and no hold that
 *  is told of is given up, because others use the session too. */
lm_holds_t *lm_holds_new(uint64_t window);
void lm_holds_destroy(lm_holds_t **holds);

/** A new request for a name, or NULL if one is known already. id, at most 32 bytes, is used if it
 *  gets no number. */
lm_hold_t *lm_holds_want(lm_holds_t *holds, lm_bytes_t name, const char *id);
/** It gets an id in place of its number, which counts as settled: the region has refused it. */
void lm_holds_renumber(lm_holds_t *holds, lm_hold_t *hold, const char *id);
/** WANTED or CANCELLING: it was granted after all. */
void lm_holds_granted(lm_holds_t *holds, lm_hold_t *hold, lm_bytes_t hold_id, int64_t token);
/** A new request to give back what is HELD. */
void lm_holds_return(lm_holds_t *holds, lm_hold_t *hold, const char *id);
/** WANTED or RETURNING: the caller stops, and the outcome is not known. */
void lm_holds_give_up(lm_holds_t *holds, lm_hold_t *hold);
/** Nothing is held under this name, and nothing that was sent will change that. */
void lm_holds_over(lm_holds_t *holds, lm_hold_t *hold);

/** NULL: nothing is known of that name. */
lm_hold_t *lm_holds_find(const lm_holds_t *holds, lm_bytes_t name);
/** True if nobody waits for it any more, and what becomes of it is not known yet. */
bool lm_holds_is_given_up(const lm_hold_t *hold);
/** What is HELD. */
size_t lm_holds_count(const lm_holds_t *holds);
/** One that is given up and that nobody makes a call about; NULL if there is none. */
lm_hold_t *lm_holds_given_up(const lm_holds_t *holds);

uint64_t lm_holds_done_below(const lm_holds_t *holds);

/** A keep-alive is about to be sent: its sequence number. Writes into it what it says of requests
 *  and asks of holds; a view there lives until the next call. */
uint64_t lm_holds_ask(lm_holds_t *holds, lm_api_keep_alive_request_t *request);
/** Its answer (H3). A list too long for one goes on in the next. orphans: how many holds it gives
 *  up. */
void lm_holds_told(lm_holds_t *holds, uint64_t sequence, const lm_api_keep_alive_response_t *answer,
                   size_t *orphans);

#endif
