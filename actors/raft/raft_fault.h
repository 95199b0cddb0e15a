/* Why the disk side cannot go on: an exit class, and a sentence that names the file. */
#ifndef LM_RAFT_FAULT_H
#define LM_RAFT_FAULT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base_exit.h"

typedef struct {
    lm_exit_t code; /* LM_EXIT_OK: nothing is wrong */
    char words[512];
} lm_raft_fault_t;

/** Fills fault and returns false, so that a function can end with it. */
__attribute__((format(printf, 3, 4))) static inline bool lm_raft_fault_set(lm_raft_fault_t *fault,
                                                                           lm_exit_t code,
                                                                           const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fault->code = code;
    vsnprintf(fault->words, sizeof fault->words, format, arguments);
    va_end(arguments);
    return false;
}

#endif
