/* The command line of lockmgrd and of lockmgr-node, which it executes with --threads. */
#ifndef LM_SUP_OPTIONS_H
#define LM_SUP_OPTIONS_H

#include <stdbool.h>

#include "base_exit.h"

typedef struct {
    const char *config; /* a view of argv, or the default */
    bool check;
    bool threads;
    bool version;
    bool help;
} lm_sup_options_t;

/** Reads the command line. LM_EXIT_USAGE: it is wrong, and the reason was printed. */
lm_exit_t lm_sup_options_read(lm_sup_options_t *options, int argc, char **argv);

/** The text of --help. */
extern const char lm_sup_options_help[];

#endif
