#include "raft_accept.h"

#include "raft_limits.h"
#include "wire_command.h"

/* Whether this server, in what is committed, has another term at that entry. */
static bool contradicts(const lm_raft_log_t *log, uint64_t commit, uint64_t index, uint64_t term)
{
    if (index == 0 || index > commit) return false;
    uint64_t own = lm_raft_log_term(log, index);
    return own != 0 && own != term;
}

static const struct raft_server *server_of(const struct raft_configuration *c, raft_id id)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == id) return &c->servers[i];
    return NULL;
}

/* The members of a region do not change: a configuration is the one in force. */
static bool is_in_force(const struct raft *raft, const struct raft_configuration *c)
{
    if (c->n != raft->configuration.n) return false;
    for (unsigned i = 0; i < c->n; i++) {
        const struct raft_server *own = server_of(&raft->configuration, c->servers[i].id);
        if (!own || own->role != c->servers[i].role) return false;
    }
    return true;
}

static bool changes_members(const struct raft *raft, const struct raft_entry *entry)
{
    struct raft_configuration configuration;
    if (entry->type != RAFT_CHANGE) return false;
    if (raft_configuration_decode(&entry->buf, &configuration) != 0) return true;
    bool same = is_in_force(raft, &configuration);
    raft_configuration_close(&configuration);
    return !same;
}

/* The engine takes over any later term that it is told. */
static uint64_t term_of(const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES: return message->append_entries.term;
    case RAFT_APPEND_ENTRIES_RESULT: return message->append_entries_result.term;
    case RAFT_INSTALL_SNAPSHOT: return message->install_snapshot.term;
    case RAFT_REQUEST_VOTE: return message->request_vote.term;
    case RAFT_REQUEST_VOTE_RESULT: return message->request_vote_result.term;
    case RAFT_TIMEOUT_NOW: return message->timeout_now.term;
    default: return 0;
    }
}

static bool is_term_possible(const struct raft *raft, uint64_t term)
{
    if (term > LM_RAFT_TERM_MAX) return false;
    return term <= raft->current_term || term - raft->current_term <= LM_RAFT_TERM_STEP_MAX;
}

/* What is committed must be readable on every node, so that what is not stays out of the log. A
 * barrier is eight bytes of nothing. */
static bool is_readable(const struct raft_entry *entry)
{
    lm_bytes_t data = lm_bytes(entry->buf.base, entry->buf.len);
    if (entry->type == RAFT_COMMAND) return lm_wire_command_is_framed(data);
    return entry->type != RAFT_BARRIER || data.size == 8;
}

static const char *append(const struct raft *raft, const lm_raft_log_t *log, uint64_t commit,
                          const struct raft_append_entries *append)
{
    if (append->term < raft->current_term) return NULL; /* the engine answers it */
    if (append->term == raft->current_term && raft->state == RAFT_LEADER)
        return "sends entries as leader of this node's own term";
    if (contradicts(log, commit, append->prev_log_index, append->prev_log_term))
        return "sends entries behind one that differs from what is committed";
    for (unsigned i = 0; i < append->n_entries; i++) {
        const struct raft_entry *entry = &append->entries[i];
        if (contradicts(log, commit, append->prev_log_index + 1 + i, entry->term))
            return "sends entries that differ from what is committed";
        if (!is_readable(entry))
            return "sends an entry that no lock actor of this version can read";
        if (changes_members(raft, entry)) return "sends a configuration of other members";
    }
    return NULL;
}

static const char *install(const struct raft *raft, const lm_raft_log_t *log, uint64_t commit,
                           const struct raft_install_snapshot *install)
{
    if (install->term < raft->current_term) return NULL;
    if (install->term == raft->current_term && raft->state == RAFT_LEADER)
        return "sends a snapshot as leader of this node's own term";
    if (install->last_term > install->term) return "sends a snapshot of a term still to come";
    if (contradicts(log, commit, install->last_index, install->last_term))
        return "sends a snapshot that differs from what is committed";
    if (!is_in_force(raft, &install->conf)) return "sends a snapshot of other members";
    return NULL;
}

static const char *result(const struct raft *raft, const lm_raft_log_t *log,
                          const struct raft_append_entries_result *result)
{
    if (raft->state != RAFT_LEADER || result->term != raft->current_term) return NULL;
    uint64_t last = lm_raft_log_last_index(log);
    bool beyond = result->rejected ? result->rejected > last : result->last_log_index > last;
    return beyond ? "answers for entries that it was not sent" : NULL;
}

/* A server that grants a sounding tells the term it was asked about: the next one at most. */
static const char *vote(const struct raft *raft, const struct raft_request_vote_result *vote)
{
    bool beyond = vote->vote_granted && vote->term > raft->current_term + 1;
    return beyond ? "grants a vote that nobody asked for" : NULL;
}

const char *lm_raft_accept(const struct raft *raft, const lm_raft_log_t *log, uint64_t commit,
                           const struct raft_message *message)
{
    if (!is_term_possible(raft, term_of(message)))
        return "names a term that nobody can have reached";
    switch (message->type) {
    case RAFT_APPEND_ENTRIES: return append(raft, log, commit, &message->append_entries);
    case RAFT_INSTALL_SNAPSHOT: return install(raft, log, commit, &message->install_snapshot);
    case RAFT_APPEND_ENTRIES_RESULT: return result(raft, log, &message->append_entries_result);
    case RAFT_REQUEST_VOTE_RESULT: return vote(raft, &message->request_vote_result);
    default: return NULL;
    }
}
