#include "sup_obituary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base_log.h"

static const char *class_name(int code)
{
    static const struct {
        int code;
        const char *name;
    } names[] = {{LM_EXIT_OK, "done"},
                 {LM_EXIT_USAGE, "wrong usage"},
                 {LM_EXIT_ASSERTION, "broken invariant"},
                 {LM_EXIT_SYSTEM, "refused by the system"},
                 {LM_EXIT_TRY_LATER, "try later"},
                 {LM_EXIT_CONFIG, "wrong configuration"},
                 {LM_EXIT_DAMAGED, "durable state is damaged or foreign"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].code == code) return names[i].name;
    }
    return "unknown exit class";
}

static void print_end(const lm_sup_death_t *death, char *text, size_t size)
{
    if (death->signal)
        snprintf(text, size, "killed by signal %d (%s)", death->signal, strsignal(death->signal));
    else
        snprintf(text, size, "exit status %d (%s)", death->code, class_name(death->code));
}

static void print_next(const lm_restart_view_t *view, char *text, size_t size)
{
    if (view->state == LM_CHILD_WAITING)
        snprintf(text, size, "restart %u in %" PRIu64 " ms%s", view->restarts,
                 view->backoff_us / 1000,
                 view->troubled ? "; it fails too often, the node is not ready" : "");
    else
        snprintf(text, size, "not restarted");
}

void lm_sup_obituary_log(const lm_sup_death_t *death, const lm_restart_view_t *view)
{
    char end[128], next[128];
    print_end(death, end, sizeof end);
    print_next(view, next, sizeof next);
    bool expected = view->state == LM_CHILD_GONE && death->signal == 0 && death->code == LM_EXIT_OK;
    lm_log(expected ? LM_LOG_INFO : LM_LOG_ERROR,
           "%s ended: pid %d, start %u, after %" PRIu64 ".%03" PRIu64 " s, %s%s%s%s%s; %s",
           lm_sup_children[death->child].name, (int)death->pid, death->counter,
           death->lived_us / 1000000, death->lived_us / 1000 % 1000, end,
           death->killed_why ? ", because " : "", death->killed_why ? death->killed_why : "",
           *death->last_words ? "; last words: " : "", death->last_words, next);
}
