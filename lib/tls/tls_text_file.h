/* A file of text that somebody else replaces now and then.
 *
 * Invariants
 *   TT1  What is read is a regular file that nobody but its owner and its group may write, within a
 *        limit, and without NUL.
 */
#ifndef LM_TLS_TEXT_FILE_H
#define LM_TLS_TEXT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/** Reads the file. Returns its text, ended by NUL, which the caller frees; *size is without that.
 *  NULL: why[120] says why not, beginning with a verb. */
char *lm_tls_text_file_read(const char *path, size_t size_max, size_t *size, char why[120]);

/** What tells one version of a file from another; all zero: it is not there. */
typedef struct {
    uint64_t device, inode, size;
    struct timespec changed;
} lm_tls_text_stamp_t;

lm_tls_text_stamp_t lm_tls_text_file_stamp(const char *path);
bool lm_tls_text_stamp_equal(const lm_tls_text_stamp_t *a, const lm_tls_text_stamp_t *b);

#endif
