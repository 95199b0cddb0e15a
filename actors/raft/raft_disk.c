/* What all disks share. */
#include "raft_disk.h"

#include <stdlib.h>

void lm_raft_done_destroy(lm_raft_done_t **done)
{
    lm_raft_done_t *self = *done;
    if (!self) return;
    for (size_t i = 0; i < self->n_entries; i++) lm_raft_buffer_drop(&self->entries[i].buffer);
    free(self->entries);
    free(self->data);
    free(self);
    *done = NULL;
}
