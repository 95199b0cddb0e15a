/* Who calls, and whether that one may: decided once for each call, before anything is done for it.
 *
 * Invariants
 *   FP2  An identity comes from a certificate, from a token that came over TLS, or from a proven
 *        node that passes a call on, never from what a client writes.
 *   FP3  Where a file of access is configured nobody is anonymous, and what no grant allows is
 *        denied; also while the room has not read the file.
 *   FP4  A token that is shown must be a known one: nobody is taken for somebody else instead.
 *   FP5  Every refusal is counted by its reason and has its audit line.
 */
#ifndef LM_FRONTEND_ACCESS_H
#define LM_FRONTEND_ACCESS_H

#include "frontend_clients.h"
#include "frontend_errors.h"
#include "frontend_figures.h"

/** Why calls are refused: name of the reason in metrics and audit lines, result code, sentence. */
#define LM_REFUSALS(X)                                                                    \
    X(NO_NAME, "no_name", UNAUTHENTICATED,                                                \
      "the caller has proven no name by a certificate or token")                          \
    X(TOKEN_UNREADABLE, "token_unreadable", UNAUTHENTICATED,                              \
      "authorization must be one: Bearer TOKEN")                                          \
    X(TOKEN_UNKNOWN, "token_unknown", UNAUTHENTICATED, "there is no such token")          \
    X(TOKEN_IN_PLAINTEXT, "token_in_plaintext", UNAUTHENTICATED,                          \
      "tokens are taken over TLS only; this one has crossed the network for all to read") \
    X(NOT_A_NODE, "not_a_node", UNAUTHENTICATED,                                          \
      "the caller has not proven that it is the node it speaks for")                      \
    X(NO_ROLE, "no_role", PERMISSION_DENIED, "the caller has no role")                    \
    X(NO_RIGHT, "no_right", PERMISSION_DENIED, "no role of the caller may do this")       \
    X(OUTSIDE_PREFIX, "outside_prefix", PERMISSION_DENIED,                                \
      "the roles of the caller do not cover this name or prefix")

typedef enum {
#define LM_REFUSAL(name, reason, code, text) LM_REFUSED_##name,
    LM_REFUSALS(LM_REFUSAL)
#undef LM_REFUSAL
        LM_REFUSALS_N
} lm_frontend_refusal_t;

/** Who has made an incoming call; only after lm_frontend_access_admit. Empty: nobody in particular.
 *  Lives as long as the handle and until the file of access is read again. */
lm_bytes_t lm_frontend_access_identity(const lm_frontend_clients_t *room,
                                       const lm_frontend_handle_t *handle);

/** Whether the caller has proven as much of itself as the method needs. False: counted and audited;
 *  the call is to be finished with *error. Asked for every unary call and every stream. */
bool lm_frontend_access_admit(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                              lm_frontend_error_t *error);
/** Whether the caller may do what the request asks for (frontend_methods.h); as above. request: the
 *  decoded struct; NULL if the method's row names nothing in it, or for a stream that has just
 *  been opened. */
bool lm_frontend_access_permit(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                               const void *request, lm_frontend_error_t *error);
/** Counts and audits a call of RaftService whose caller is not that node. */
void lm_frontend_access_not_a_node(lm_frontend_clients_t *room, lm_frontend_handle_t *handle,
                                   lm_bytes_t node);

/** The event ACCESS: what the file says now. False: the first text cannot be used, nothing may be
 *  served. */
bool lm_frontend_access_read(lm_frontend_clients_t *room, const lm_frontend_event_t *event);

/** Adds its metrics. */
void lm_frontend_access_report(const lm_frontend_clients_t *room, lm_frontend_report_t *report);

#endif
