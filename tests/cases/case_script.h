/* Words of case files: a line becomes a command, an effect becomes a line.
 *
 *   takeover [term=N] [boot=N] [counter=N] [waiters=N] [locks=N] [holds=N] [ring=N]
 *   acquire NAME owner=O id=I [shared] [nowait] [ttl=MS] [COPY]
 *   release NAME owner=O id=I hold=N [claim=N] [COPY]
 *   renew NAME owner=O hold=N [claim=N] [ttl=MS]
 *   cancel owner=O id=I
 *   expire NAME hold=N basis=N [PAIR]        abandon NAME hold=N [PAIR]
 *   leave NAME wait=N [PAIR]                 timeout NAME wait=N [PAIR]
 *   dump            shows all locks and the counts
 *   find owner=O id=I                        shows what is known of a request
 *   each            shows all holds and waits in order of creation
 *   list [prefix=P] walks the locks by name
 *
 * COPY is any of identity=X body=N stamp=N seen; PAIR is term=N boot=N counter=N. Without them the
 * stamp is the present op_seq and the pair is the current one. times=N runs a line N times, with a
 * % in its texts replaced by 1..N; quiet shows no effects. A takeover without a term takes the
 * next.
 */
#ifndef LM_TESTS_CASE_SCRIPT_H
#define LM_TESTS_CASE_SCRIPT_H

#include <stdio.h>

#include "core_table.h"

typedef struct {
    lm_table_t *table;
    lm_arena_t *arena;      /* of the commands */
    lm_command_t *commands; /* all that were applied, in order */
    size_t n_commands;
    FILE *out;
} lm_case_script_t;

/** Runs one line and prints what follows from it. Returns NULL, or what is wrong with the line. */
const char *lm_case_script_run(lm_case_script_t *script, const char *line);

#endif
