#include "client_tls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base_arena.h"
#include "tls_files.h"

enum { TOKEN_BYTES_MAX = 64 * 1024, PROBLEM_BYTES = 256 };

struct lm_client_secrets {
    lm_client_tls_t tls; /* owns its texts, all there */
    lm_tls_paths_t paths, token_path;
    lm_tls_stamp_t stamp, token_stamp; /* of the files that were tried last */
    bool refused;                      /* they could not be used */
};

static char *copy_of(const char *text) { return strdup(text ? text : ""); }

lm_client_secrets_t *lm_client_secrets_new(const lm_client_tls_t *tls)
{
    static const lm_client_tls_t none;
    if (!tls) tls = &none;
    lm_client_secrets_t *s = lm_alloc(sizeof *s);
    s->tls =
        (lm_client_tls_t){copy_of(tls->ca),          copy_of(tls->cert),       copy_of(tls->key),
                          copy_of(tls->server_name), copy_of(tls->token_file), copy_of(tls->token)};
    s->paths =
        (lm_tls_paths_t){.path = {s->tls.ca, "", s->tls.cert, s->tls.key}, .key_may_be_open = true};
    s->token_path = (lm_tls_paths_t){.path = {s->tls.token_file, "", "", ""}};
    return s;
}

static void forget(const char *text)
{
    char *own = (char *)(uintptr_t)text;
    if (own) explicit_bzero(own, strlen(own));
    free(own);
}

void lm_client_secrets_destroy(lm_client_secrets_t **self)
{
    lm_client_secrets_t *s = *self;
    if (!s) return;
    const char *const texts[] = {s->tls.ca,          s->tls.cert,       s->tls.key,
                                 s->tls.server_name, s->tls.token_file, s->tls.token};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) forget(texts[i]);
    free(s);
    *self = NULL;
}

const lm_client_tls_t *lm_client_secrets_tls(const lm_client_secrets_t *secrets)
{
    return &secrets->tls;
}

/* ---- reading --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(char *problem, const char *format, ...)
{
    if (!problem) return;
    va_list args;
    va_start(args, format);
    vsnprintf(problem, PROBLEM_BYTES, format, args);
    va_end(args);
}

static char *read_token_file(const char *path, char *problem)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        say(problem, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = lm_alloc(TOKEN_BYTES_MAX + 1);
    size_t size = fread(text, 1, TOKEN_BYTES_MAX, file);
    bool good = !ferror(file) && size > 0 && size < TOKEN_BYTES_MAX;
    fclose(file);
    if (good) return text;
    say(problem, "%s is empty, too large or cannot be read", path);
    forget(text);
    return NULL;
}

/* The token, without the end of its line; NULL: it cannot be read, or be one. */
static char *read_token(const lm_client_tls_t *tls, char *problem)
{
    char *token = *tls->token ? strdup(tls->token) : read_token_file(tls->token_file, problem);
    if (!token) return NULL;
    token[strcspn(token, "\r\n")] = 0;
    bool plain = *token != 0;
    for (const char *c = token; *c; c++) plain = plain && *c > ' ' && *c < 0x7f;
    if (plain) return token;
    say(problem, "the token is empty, or has blanks or other than plain characters in it");
    forget(token);
    return NULL;
}

/* Takes the credentials of the channel over. */
static grpc_channel_credentials *with_token(grpc_channel_credentials *channel, const char *token)
{
    grpc_call_credentials *call = grpc_access_token_credentials_create(token, NULL);
    grpc_channel_credentials *both = grpc_composite_channel_credentials_create(channel, call, NULL);
    grpc_call_credentials_release(call);
    grpc_channel_credentials_release(channel);
    return both;
}

typedef struct {
    const lm_tls_paths_t *paths;
    char *problem;
    bool told;
} faults_t;

/* The first one is told: the others often follow from it. */
static void on_fault(void *arg, lm_tls_file_t file, const char *text)
{
    faults_t *faults = arg;
    if (!faults->told) say(faults->problem, "%s %s", faults->paths->path[file], text);
    faults->told = true;
}

static grpc_channel_credentials *read_files(const lm_client_secrets_t *s, char *problem)
{
    lm_tls_files_t files;
    faults_t faults = {.paths = &s->paths, .problem = problem};
    if (!lm_tls_files_read(&files, &s->paths, (int64_t)time(NULL), on_fault, &faults)) return NULL;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = files.text[LM_TLS_KEY],
                                       .cert_chain = files.text[LM_TLS_CERT]};
    grpc_channel_credentials *credentials = grpc_ssl_credentials_create_ex(
        files.text[LM_TLS_CA], pair.private_key ? &pair : NULL, NULL, NULL);
    lm_tls_files_clear(&files);
    return credentials;
}

static grpc_channel_credentials *read_all(const lm_client_secrets_t *s, char *problem)
{
    bool wanted = *s->tls.token || *s->tls.token_file;
    char *token = wanted ? read_token(&s->tls, problem) : NULL;
    grpc_channel_credentials *credentials = NULL;
    if (token || !wanted) credentials = read_files(s, problem);
    if (credentials && token) credentials = with_token(credentials, token);
    forget(token);
    return credentials;
}

grpc_channel_credentials *lm_client_secrets_read(lm_client_secrets_t *s, char problem[256])
{
    const lm_client_tls_t *tls = &s->tls;
    s->stamp = lm_tls_files_stamp(&s->paths);
    s->token_stamp = lm_tls_files_stamp(&s->token_path);
    if ((*tls->cert != 0) != (*tls->key != 0)) {
        say(problem, "a certificate and its key are given together");
        return NULL;
    }
    if (*tls->ca) return read_all(s, problem);
    if (*tls->token || *tls->token_file) {
        say(problem, "a token is sent over TLS only: it needs the authority that signs the nodes");
        return NULL;
    }
    if (!*tls->cert && !*tls->server_name) return grpc_insecure_credentials_create();
    say(problem, "a certificate or server name needs the authority that signs the nodes");
    return NULL;
}

grpc_channel_credentials *lm_client_secrets_renewed(lm_client_secrets_t *s)
{
    lm_tls_stamp_t stamp = lm_tls_files_stamp(&s->paths);
    lm_tls_stamp_t token_stamp = lm_tls_files_stamp(&s->token_path);
    bool same =
        lm_tls_stamp_equal(&stamp, &s->stamp) && lm_tls_stamp_equal(&token_stamp, &s->token_stamp);
    /* What was refused may come right by itself: a certificate whose time is still to come. */
    if (same && !s->refused) return NULL;
    grpc_channel_credentials *credentials = lm_client_secrets_read(s, NULL);
    s->refused = !credentials;
    return credentials;
}
