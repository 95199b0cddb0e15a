#include "client_holds.h"

#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"

enum { OPEN_MAX = 64 };

struct lm_holds {
    lm_hold_t *by_name;
    size_t n_held, n_given_up;
    uint64_t window, next_number;
    uint64_t open[OPEN_MAX]; /* numbers whose outcome is not known, in order */
    size_t n_open;
    uint64_t asked;         /* sequence number of the last keep-alive */
    uint64_t known_version; /* of the last list that was compared as a whole */
    char *read_to;          /* hold_id up to which a list has been read; NULL: none is being */
    uint64_t read_version;  /* its version; 0: it cannot become known */
};

/* ---- numbers --------------------------------------------------------------------------------- */

uint64_t lm_holds_done_below(const lm_holds_t *h)
{
    if (h->window == 0) return 0;
    return h->n_open ? h->open[0] : h->next_number;
}

static void take_number(lm_holds_t *h, lm_hold_t *hold, const char *id)
{
    bool room = h->next_number - lm_holds_done_below(h) < h->window;
    hold->number = 0;
    hold->request_id[0] = '\0';
    if (h->window == 0 || !room) {
        snprintf(hold->request_id, sizeof hold->request_id, "%s", id);
        return;
    }
    LM_CHECK(h->n_open < OPEN_MAX, "%zu open numbers", h->n_open);
    hold->number = h->next_number++;
    h->open[h->n_open++] = hold->number;
}

static void settle_number(lm_holds_t *h, lm_hold_t *hold)
{
    size_t at = 0;
    if (hold->number == 0) return;
    while (at < h->n_open && h->open[at] != hold->number) at++;
    LM_CHECK(at < h->n_open, "number %llu is not open", (unsigned long long)hold->number);
    h->n_open--;
    memmove(h->open + at, h->open + at + 1, (h->n_open - at) * sizeof h->open[0]);
    hold->number = 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

lm_holds_t *lm_holds_new(uint64_t window)
{
    lm_holds_t *h = lm_alloc(sizeof *h);
    LM_CHECK(window <= OPEN_MAX, "a window of %llu", (unsigned long long)window);
    *h = (lm_holds_t){.window = window, .next_number = 1};
    return h;
}

static void free_hold(lm_hold_t *hold)
{
    free(hold->name);
    free(hold->hold_id);
    free(hold);
}

void lm_holds_destroy(lm_holds_t **holds)
{
    if (!*holds) return;
    lm_hold_t *hold = (*holds)->by_name;
    HASH_CLEAR(hh, (*holds)->by_name); /* the entries stay, and their order */
    while (hold) {
        lm_hold_t *next = hold->hh.next;
        free_hold(hold);
        hold = next;
    }
    free((*holds)->read_to);
    free(*holds);
    *holds = NULL;
}

lm_hold_t *lm_holds_find(const lm_holds_t *h, lm_bytes_t name)
{
    lm_hold_t *hold = NULL;
    HASH_FIND(hh, h->by_name, name.data, name.size, hold);
    return hold && hold->state != LM_HOLD_GONE ? hold : NULL;
}

/** The entry of a name of which nothing is known, also a GONE one. */
static lm_hold_t *entry_of(lm_holds_t *h, lm_bytes_t name)
{
    lm_hold_t *hold = NULL;
    HASH_FIND(hh, h->by_name, name.data, name.size, hold);
    if (hold) return hold;
    hold = lm_alloc(sizeof *hold);
    *hold = (lm_hold_t){.name = strndup((const char *)name.data, name.size), .state = LM_HOLD_GONE};
    HASH_ADD_KEYPTR(hh, h->by_name, hold->name, name.size, hold);
    return hold;
}

static bool is_given_up(lm_hold_state_t state)
{
    return state == LM_HOLD_CANCELLING || state == LM_HOLD_RELEASING;
}

static void move(lm_holds_t *h, lm_hold_t *hold, lm_hold_state_t state)
{
    h->n_held += (size_t)(state == LM_HOLD_HELD) - (size_t)(hold->state == LM_HOLD_HELD);
    h->n_given_up += (size_t)is_given_up(state) - (size_t)is_given_up(hold->state);
    hold->state = state;
}

static void set_hold_id(lm_hold_t *hold, lm_bytes_t hold_id)
{
    free(hold->hold_id);
    hold->hold_id = strndup((const char *)hold_id.data, hold_id.size);
}

lm_hold_t *lm_holds_want(lm_holds_t *h, lm_bytes_t name, const char *id)
{
    if (lm_holds_find(h, name)) return NULL;
    lm_hold_t *hold = entry_of(h, name);
    take_number(h, hold, id);
    move(h, hold, LM_HOLD_WANTED);
    return hold;
}

void lm_holds_renumber(lm_holds_t *h, lm_hold_t *hold, const char *id)
{
    settle_number(h, hold);
    snprintf(hold->request_id, sizeof hold->request_id, "%s", id);
}

void lm_holds_granted(lm_holds_t *h, lm_hold_t *hold, lm_bytes_t hold_id, int64_t token)
{
    bool wanted = hold->state == LM_HOLD_WANTED;
    LM_CHECK(wanted || hold->state == LM_HOLD_CANCELLING, "granted in state %d", hold->state);
    settle_number(h, hold);
    set_hold_id(hold, hold_id);
    hold->token = token;
    move(h, hold, wanted ? LM_HOLD_HELD : LM_HOLD_RELEASING);
    /* The release of what was given up needs none: it names the hold, which ends only once. */
    if (!wanted) hold->request_id[0] = '\0';
}

void lm_holds_return(lm_holds_t *h, lm_hold_t *hold, const char *id)
{
    LM_CHECK(hold->state == LM_HOLD_HELD, "returned in state %d", hold->state);
    take_number(h, hold, id);
    move(h, hold, LM_HOLD_RETURNING);
}

void lm_holds_give_up(lm_holds_t *h, lm_hold_t *hold)
{
    bool wanted = hold->state == LM_HOLD_WANTED;
    LM_CHECK(wanted || hold->state == LM_HOLD_RETURNING, "given up in state %d", hold->state);
    move(h, hold, wanted ? LM_HOLD_CANCELLING : LM_HOLD_RELEASING);
}

void lm_holds_over(lm_holds_t *h, lm_hold_t *hold)
{
    settle_number(h, hold);
    free(hold->hold_id);
    hold->hold_id = NULL;
    hold->gone_at = h->asked;
    move(h, hold, LM_HOLD_GONE);
}

bool lm_holds_is_given_up(const lm_hold_t *hold) { return is_given_up(hold->state); }

size_t lm_holds_count(const lm_holds_t *h) { return h->n_held; }

lm_hold_t *lm_holds_given_up(const lm_holds_t *h)
{
    if (h->n_given_up == 0) return NULL;
    for (lm_hold_t *hold = h->by_name; hold; hold = hold->hh.next)
        if (is_given_up(hold->state) && !hold->busy) return hold;
    return NULL;
}

/* ---- what the region tells ------------------------------------------------------------------- */

uint64_t lm_holds_ask(lm_holds_t *h, lm_api_keep_alive_request_t *request)
{
    request->done_below = lm_holds_done_below(h);
    request->known_holds_version = h->known_version;
    request->holds_after = lm_bytes_of(h->read_to ? h->read_to : "");
    return ++h->asked;
}

/** Entries that ended before the list was asked for say nothing any more. */
static void forget_gone(lm_holds_t *h, uint64_t sequence)
{
    lm_hold_t *hold, *next;
    HASH_ITER(hh, h->by_name, hold, next)
    {
        if (hold->state != LM_HOLD_GONE || hold->gone_at >= sequence) continue;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a list's head has no predecessor */
        HASH_DEL(h->by_name, hold);
        free_hold(hold);
    }
}

/** Gives up what nobody here knows of. Returns whether that could be judged: a list that is older
 *  than an end of ours may tell of what has ended. */
static bool compare(lm_holds_t *h, uint64_t sequence, const lm_api_session_hold_t *told,
                    size_t *orphans)
{
    lm_hold_t *hold = entry_of(h, told->name);
    if (hold->state != LM_HOLD_GONE) return true;
    if (hold->gone_at >= sequence) return false;
    hold->number = 0;
    hold->request_id[0] = '\0';
    hold->token = told->token;
    set_hold_id(hold, told->hold_id);
    move(h, hold, LM_HOLD_RELEASING);
    ++*orphans;
    return true;
}

/** The list goes on behind its last hold with the next keep-alive; at its end its version is known
 *  if all of it had that. */
static void turn_page(lm_holds_t *h, const lm_api_keep_alive_response_t *answer)
{
    free(h->read_to);
    h->read_to = NULL;
    if (answer->more_holds && answer->n_holds > 0) {
        lm_bytes_t last = answer->holds[answer->n_holds - 1].hold_id;
        h->read_to = strndup((const char *)last.data, last.size);
        h->known_version = 0;
    } else {
        h->known_version = h->read_version;
    }
}

void lm_holds_told(lm_holds_t *h, uint64_t sequence, const lm_api_keep_alive_response_t *answer,
                   size_t *orphans)
{
    *orphans = 0;
    forget_gone(h, sequence);
    if (h->window == 0 || answer->holds_version == h->known_version) return;
    if (!h->read_to) h->read_version = answer->holds_version;
    if (answer->holds_version != h->read_version) h->read_version = 0;
    for (size_t i = 0; i < answer->n_holds; i++)
        if (!compare(h, sequence, &answer->holds[i], orphans)) h->read_version = 0;
    turn_page(h, answer);
}
