/* Reading and checking certificates and keys. */
#include "tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"

/* A bundle of all authorities of the world has some 250 KiB. */
enum { FILE_BYTES_MAX = 1024 * 1024, TEXT_BYTES_MAX = 160 };

typedef struct {
    lm_tls_fault_t *tell;
    void *arg;
    int64_t now_s;
    bool key_may_be_open;
    unsigned n_faults;
} check_t;

__attribute__((format(printf, 3, 4))) static void fault(check_t *check, lm_tls_file_t file,
                                                        const char *format, ...)
{
    char text[TEXT_BYTES_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check->n_faults++;
    check->tell(check->arg, file, text);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char *read_open(check_t *check, lm_tls_file_t file, int fd, const struct stat *found)
{
    size_t size = (size_t)found->st_size, at = 0;
    char *text = lm_alloc(size + 1);
    while (at < size) {
        ssize_t n = read(fd, text + at, size - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    if (at == size && memchr(text, 0, size) == NULL) return text;
    fault(check, file, "cannot be read as text");
    OPENSSL_cleanse(text, size);
    free(text);
    return NULL;
}

static const char *wrong_kind(const check_t *check, lm_tls_file_t file, const struct stat *found)
{
    if (!S_ISREG(found->st_mode)) return "is not a file";
    if (found->st_size > FILE_BYTES_MAX) return "is larger than 1 MiB";
    bool open = (found->st_mode & (S_IRWXO | S_IWGRP)) != 0;
    if (file == LM_TLS_KEY && open && !check->key_may_be_open)
        return "is a private key that others may read or the group may write: chmod o= g-w";
    return NULL;
}

static char *read_file(check_t *check, lm_tls_file_t file, const char *path)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &found) != 0) {
        fault(check, file, "cannot be read: %s", strerror(errno));
        if (fd >= 0) close(fd);
        return NULL;
    }
    const char *wrong = wrong_kind(check, file, &found);
    if (wrong) fault(check, file, "%s", wrong);
    /* A key that is too open is looked at all the same: its other faults are told in one go. */
    char *text = NULL;
    if (S_ISREG(found.st_mode) && found.st_size <= FILE_BYTES_MAX)
        text = read_open(check, file, fd, &found);
    close(fd);
    return text;
}

/* ---- what is in them ------------------------------------------------------------------------- */

static BIO *source_of(const char *text) { return BIO_new_mem_buf(text, (int)strlen(text)); }

/* The first certificate; NULL if there is none. */
static X509 *first_certificate(const char *text)
{
    BIO *source = source_of(text);
    X509 *certificate = PEM_read_bio_X509(source, NULL, NULL, NULL);
    BIO_free(source);
    ERR_clear_error();
    return certificate;
}

/* Asking for a passphrase would stop a service that nobody sits in front of. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *private_key(const char *text)
{
    BIO *source = source_of(text);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(source, NULL, no_passphrase, NULL);
    BIO_free(source);
    ERR_clear_error();
    return key;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static void print_day(int64_t seconds, char text[32])
{
    time_t at = (time_t)seconds;
    struct tm parts;
    strftime(text, 32, "%Y-%m-%d %H:%M UTC", gmtime_r(&at, &parts));
}

static void check_times(check_t *check, lm_tls_file_t file, const X509 *certificate)
{
    int64_t from = seconds_of(X509_get0_notBefore(certificate));
    int64_t until = seconds_of(X509_get0_notAfter(certificate));
    char day[32];
    if (until <= check->now_s) {
        print_day(until, day);
        fault(check, file, "expired at %s", day);
    } else if (from > check->now_s) {
        print_day(from, day);
        fault(check, file, "is not valid before %s", day);
    }
}

/* The certificates of a text, as far as they can be read. */
static STACK_OF(X509) * all_certificates(const char *text)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *source = source_of(text);
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509(source, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(all, certificate) == 0) X509_free(certificate);
    BIO_free(source);
    ERR_clear_error();
    return all;
}

static bool verify(X509_STORE *store, X509 *certificate, STACK_OF(X509) * others, int64_t now_s)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool good = X509_STORE_CTX_init(context, store, certificate, others) == 1 &&
                X509_STORE_CTX_set_default(context, "ssl_client") == 1;
    if (good) {
        X509_STORE_CTX_set_time(context, 0, (time_t)now_s);
        good = X509_verify_cert(context) == 1;
    }
    X509_STORE_CTX_free(context);
    ERR_clear_error();
    return good;
}

bool lm_tls_files_vouch(const char *authorities, const char *chain, int64_t now_s)
{
    STACK_OF(X509) *trusted = all_certificates(authorities), *shown = all_certificates(chain);
    X509_STORE *store = X509_STORE_new();
    for (int i = 0; i < sk_X509_num(trusted); i++)
        X509_STORE_add_cert(store, sk_X509_value(trusted, i));
    bool good = sk_X509_num(shown) > 0 && verify(store, sk_X509_value(shown, 0), shown, now_s);
    X509_STORE_free(store);
    sk_X509_pop_free(trusted, X509_free);
    sk_X509_pop_free(shown, X509_free);
    return good;
}

/* One authority of a bundle may have expired while another takes its place; all of them may not. */
static void check_authorities(check_t *check, lm_tls_file_t file, const char *text)
{
    if (!text) return;
    BIO *source = source_of(text);
    X509 *certificate, *first = NULL;
    unsigned n_valid = 0;
    while ((certificate = PEM_read_bio_X509(source, NULL, NULL, NULL)) != NULL) {
        if (seconds_of(X509_get0_notAfter(certificate)) > check->now_s) n_valid++;
        if (first)
            X509_free(certificate);
        else
            first = certificate;
    }
    BIO_free(source);
    ERR_clear_error();
    if (!first)
        fault(check, file, "holds no certificate in PEM form");
    else if (n_valid == 0)
        check_times(check, file, first);
    X509_free(first);
}

static void check_own(check_t *check, lm_tls_files_t *files)
{
    X509 *certificate =
        files->text[LM_TLS_CERT] ? first_certificate(files->text[LM_TLS_CERT]) : NULL;
    EVP_PKEY *key = files->text[LM_TLS_KEY] ? private_key(files->text[LM_TLS_KEY]) : NULL;
    if (files->text[LM_TLS_CERT] && !certificate)
        fault(check, LM_TLS_CERT, "holds no certificate in PEM form");
    if (files->text[LM_TLS_KEY] && !key)
        fault(check, LM_TLS_KEY, "holds no private key in PEM form without a passphrase");
    if (certificate) check_times(check, LM_TLS_CERT, certificate);
    if (certificate) files->expires_s = seconds_of(X509_get0_notAfter(certificate));
    if (certificate && key && X509_check_private_key(certificate, key) != 1)
        fault(check, LM_TLS_KEY, "does not belong to the certificate");
    ERR_clear_error();
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* With an authority of nodes, a certificate of another one would be good for clients alone: no
 * other node would take this one for what it is. */
static void check_signer(check_t *check, const lm_tls_files_t *files)
{
    const char *peer_ca = files->text[LM_TLS_PEER_CA], *own = files->text[LM_TLS_CERT];
    if (check->n_faults || !peer_ca || !own || lm_tls_files_vouch(peer_ca, own, check->now_s))
        return;
    fault(check, LM_TLS_CERT, "is not signed by an authority of peer_ca, or not for a client");
}

bool lm_tls_files_read(lm_tls_files_t *files, const lm_tls_paths_t *paths, int64_t now_s,
                       lm_tls_fault_t *tell, void *arg)
{
    check_t check = {
        .tell = tell, .arg = arg, .now_s = now_s, .key_may_be_open = paths->key_may_be_open};
    *files = (lm_tls_files_t){0};
    for (int i = 0; i < LM_TLS_FILES; i++)
        if (*paths->path[i]) files->text[i] = read_file(&check, (lm_tls_file_t)i, paths->path[i]);
    check_authorities(&check, LM_TLS_CA, files->text[LM_TLS_CA]);
    check_authorities(&check, LM_TLS_PEER_CA, files->text[LM_TLS_PEER_CA]);
    check_own(&check, files);
    check_signer(&check, files);
    if (check.n_faults) lm_tls_files_clear(files);
    return check.n_faults == 0;
}

void lm_tls_files_clear(lm_tls_files_t *files)
{
    if (files->text[LM_TLS_KEY])
        OPENSSL_cleanse(files->text[LM_TLS_KEY], strlen(files->text[LM_TLS_KEY]));
    for (int i = 0; i < LM_TLS_FILES; i++) free(files->text[i]);
    *files = (lm_tls_files_t){0};
}

const char *lm_tls_files_peer_ca(const lm_tls_files_t *files)
{
    return files->text[LM_TLS_PEER_CA] ? files->text[LM_TLS_PEER_CA] : files->text[LM_TLS_CA];
}

static bool is_name(const GENERAL_NAME *entry, const char *name)
{
    if (entry->type != GEN_DNS) return false;
    size_t size = (size_t)ASN1_STRING_length(entry->d.dNSName);
    return size == strlen(name) && memcmp(ASN1_STRING_get0_data(entry->d.dNSName), name, size) == 0;
}

bool lm_tls_files_has_name(const lm_tls_files_t *files, const char *name)
{
    X509 *certificate = first_certificate(files->text[LM_TLS_CERT]);
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++)
        found = is_name(sk_GENERAL_NAME_value(names, i), name);
    GENERAL_NAMES_free(names);
    X509_free(certificate);
    return found;
}

/* ---- stamps ---------------------------------------------------------------------------------- */

lm_tls_stamp_t lm_tls_files_stamp(const lm_tls_paths_t *paths)
{
    lm_tls_stamp_t stamp;
    memset(&stamp, 0, sizeof stamp);
    for (int i = 0; i < LM_TLS_FILES; i++) {
        struct stat found;
        if (stat(paths->path[i], &found) != 0) continue;
        stamp.file[i].device = found.st_dev;
        stamp.file[i].inode = found.st_ino;
        stamp.file[i].size = (uint64_t)found.st_size;
        stamp.file[i].changed = found.st_ctim;
    }
    return stamp;
}

bool lm_tls_stamp_equal(const lm_tls_stamp_t *a, const lm_tls_stamp_t *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
