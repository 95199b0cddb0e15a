/* The PEM files of TLS: whom to trust, who one is, and the key that proves it.
 *
 * Invariants
 *   TF1  What is read is whole: the key belongs to the certificate, both are valid today, and every
 *        file can be parsed. Files that are being replaced one by one are refused meanwhile.
 *   TF2  A private key leaves this process neither in a message nor in a text, and its memory is
 *        wiped before it is given back.
 */
#ifndef LM_TLS_FILES_H
#define LM_TLS_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef enum { LM_TLS_CA, LM_TLS_PEER_CA, LM_TLS_CERT, LM_TLS_KEY, LM_TLS_FILES } lm_tls_file_t;

/** Paths, by lm_tls_file_t. That of PEER_CA may be empty: then CA signs nodes as well. Both of CERT
 *  and KEY may be: a client without a certificate. */
typedef struct {
    const char *path[LM_TLS_FILES];
    bool key_may_be_open; /* to other users of the machine: a client's business */
} lm_tls_paths_t;

/** Contents, each ended by NUL; owned. NULL where there is no path. */
typedef struct {
    char *text[LM_TLS_FILES];
    int64_t expires_s; /* when the certificate does, seconds since 1970 */
} lm_tls_files_t;

/** Told once for each thing that is wrong with a file; text begins with a verb. */
typedef void lm_tls_fault_t(void *arg, lm_tls_file_t file, const char *text);

/** Reads and checks all of them as of now (seconds since 1970). True if nothing is wrong; otherwise
 *  everything that is has been told, and *files is empty. */
bool lm_tls_files_read(lm_tls_files_t *files, const lm_tls_paths_t *paths, int64_t now_s,
                       lm_tls_fault_t *tell, void *arg);
void lm_tls_files_clear(lm_tls_files_t *files);

/** Whether the certificate bears that DNS name among its alternative names, letter by letter. */
bool lm_tls_files_has_name(const lm_tls_files_t *files, const char *name);

/** The authorities that sign nodes and regions: PEER_CA, or CA where that is not given. A view. */
const char *lm_tls_files_peer_ca(const lm_tls_files_t *files);

/** Whether one of these authorities has signed the first certificate of chain, through those behind
 *  it if need be, for a client, and the signature counts now (seconds since 1970). Both are texts
 *  in PEM form. Takes some 100 us. */
bool lm_tls_files_vouch(const char *authorities, const char *chain, int64_t now_s);

/** What tells one version of the files from another without reading them. */
typedef struct {
    struct {
        uint64_t device, inode, size;
        struct timespec changed;
    } file[LM_TLS_FILES];
} lm_tls_stamp_t;

lm_tls_stamp_t lm_tls_files_stamp(const lm_tls_paths_t *paths);
bool lm_tls_stamp_equal(const lm_tls_stamp_t *a, const lm_tls_stamp_t *b);

#endif
