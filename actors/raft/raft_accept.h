/* What no correct server says to this one now: messages that pass every check of their own form and
 * contradict what is committed here, or what this leader knows.
 *
 * Nor does it send entries whose frame no lock actor knows: once committed, such an entry would
 * stop the locks of all nodes. What the frame holds is the lock's affair.
 *
 * Nor does it name a term so far away that nobody can have counted to it: terms are finite, and one
 * who uses them up would end the region.
 *
 * The engine takes such a message for the end of the world and stops, or believes it. Here the one
 * message is refused and this server goes on: a broken peer must not take others with it. */
#ifndef LM_RAFT_ACCEPT_H
#define LM_RAFT_ACCEPT_H

#include <raft.h>

#include "raft_log.h"

/** NULL if the engine may have the message; else what is wrong with it, as the end of a sentence
 *  that begins with the server. log and commit are those of the engine raft. */
const char *lm_raft_accept(const struct raft *raft, const lm_raft_log_t *log, uint64_t commit,
                           const struct raft_message *message);

#endif
