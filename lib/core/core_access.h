/* Who may do what: the tokens that prove a name, and the grants of roles to names.
 *
 *   # a comment
 *   token ci 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
 *   grant ci locker ci/
 *   grant "Ann Other" reader ""
 *   grant monitor operator
 *   grant * reader public/
 *
 * One statement a line. A word with blanks in it, or an empty one, stands in double quotes, where
 * \" and \\ mean a quote and a backslash.
 *
 * Invariants
 *   AC1  What no grant allows is denied; a text without any grant is refused as a whole.
 *   AC2  Whether a token is known takes as long whatever was shown, and only digests are kept.
 *   AC3  Prefixes are compared byte by byte with the beginning of a name; the empty one covers all.
 */
#ifndef LM_CORE_ACCESS_H
#define LM_CORE_ACCESS_H

#include "base_bytes.h"

enum {
    LM_ACCESS_DIGEST_BYTES = 32, /* SHA-256 */
    /* Each is compared with every token that is shown. */
    LM_ACCESS_TOKENS_MAX = 256,
    LM_ACCESS_GRANTS_MAX = 4096,
    /* The longest statement has some 800 bytes: an identity and a prefix. */
    LM_ACCESS_TEXT_BYTES_MAX = 1024 * 1024,
};

/** What a call needs. */
typedef enum {
    LM_RIGHT_UNSAID, /* nobody has said what it needs: nobody may */
    LM_RIGHT_OPEN,   /* nothing: whoever has a connection may */
    LM_RIGHT_NODE,   /* to be a node or region; proven in another way than by a role */
    LM_RIGHT_ANY,    /* any role */
    LM_RIGHT_STATUS, /* to see how nodes stand */
    LM_RIGHT_LOOK,   /* to see locks */
    LM_RIGHT_LOCK,   /* to take, keep and give back locks */
} lm_right_t;

typedef enum {
    LM_ACCESS_ALLOWED,
    LM_ACCESS_NO_ROLE,  /* has no role at all */
    LM_ACCESS_NO_RIGHT, /* has none that may do this */
    LM_ACCESS_OUTSIDE,  /* may do it, but not to this name */
} lm_access_verdict_t;

typedef struct lm_access lm_access_t;

/** Told of each mistake in a text: its line, from 1, and a sentence without a subject. */
typedef void lm_access_fault_t(void *arg, unsigned line, const char *text);

/** Reads a text. NULL: it has mistakes, and all of them have been told. */
lm_access_t *lm_access_parse(lm_bytes_t text, lm_access_fault_t *tell, void *arg);
void lm_access_destroy(lm_access_t **access);

size_t lm_access_tokens(const lm_access_t *access);
size_t lm_access_grants(const lm_access_t *access);

/** The name that goes with the SHA-256 of a token; empty: there is no such token. Lives as long as
 *  access. */
lm_bytes_t lm_access_name_of(const lm_access_t *access,
                             const uint8_t digest[LM_ACCESS_DIGEST_BYTES]);

/** Decides.
 *
 *  identity  who asks, proven; not empty
 *  name      of the lock, or the prefix of all names that are asked for; NULL: the call is about
 *            no name, and prefixes do not count
 */
lm_access_verdict_t lm_access_judge(const lm_access_t *access, lm_bytes_t identity,
                                    lm_right_t right, const lm_bytes_t *name);

/** Names of the roles, NULL at the end, and whether a role has a right. For tests and tables. */
extern const char *const lm_access_roles[];
bool lm_access_role_has(const char *role, lm_right_t right);

#endif
