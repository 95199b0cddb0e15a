/* The child table: which five processes make a node, and how each is treated. */
#ifndef LM_SUP_CHILDREN_H
#define LM_SUP_CHILDREN_H

#include "act_register.h"
#include "core_restart.h"

enum {
    LM_SUP_RAFT,
    LM_SUP_LOCK,
    LM_SUP_GATEWAY,
    LM_SUP_FRONTEND,
    LM_SUP_HEALTH,
    LM_SUP_CHILDREN,
};

/** Rows by the numbers above. The rooms are participants of the bus; the frontend hosts two. */
extern const lm_restart_spec_t lm_sup_children[LM_SUP_CHILDREN];

/** Name of the executable, for example "lockmgr-raft". */
const char *lm_sup_children_program(size_t child);

#endif
