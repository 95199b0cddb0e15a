/* Credentials out of files.
 *
 * gRPC asks the servers' callback at every handshake, in threads of its own; the files are looked
 * at by the driver's thread, so that a handshake never waits for a disk. */
#include "frontend_tls.h"

#include <grpc/support/log.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base_check.h"
#include "base_limits.h"
#include "base_log.h"
#include "tls_files.h"

/* VOUCHED_MAX: the nodes of a region, before and after a renewal, and some of other regions. */
enum { LOOK_EVERY_US = 1000000, NAMES_MAX = 64, WHY_BYTES = 120, VOUCHED_MAX = 32 };

typedef struct {
    lm_frontend_tls_t *tls;
    uint64_t given; /* version that gRPC has */
} port_t;

/* Whether the authority of nodes has signed a certificate: asked once for each, and not for each
 * call that is passed on. */
typedef struct {
    uint64_t version; /* of the files; another one is asked anew */
    bool good;
    char *chain; /* NULL: free */
} vouched_t;

struct lm_frontend_tls {
    lm_frontend_listen_t how;
    lm_tls_paths_t paths;
    port_t ports[LM_PORTS];
    uint64_t look_at_us;
    lm_tls_stamp_t stamp; /* of the files that were tried last */
    char why[WHY_BYTES];  /* the fault that was told last; empty: they are in use */

    pthread_mutex_t lock; /* guards what follows */
    lm_tls_files_t files;
    uint64_t version;
    vouched_t vouched[VOUCHED_MAX];
    unsigned n_vouched; /* ever */
};

static _Atomic uint64_t failed_handshakes;

/* gRPC tells of a failed handshake in its log and nowhere else; its log belongs to the process.
 * What it complains about otherwise is whatever a client sends: for whoever searches. */
static void on_grpc_log(gpr_log_func_args *args)
{
    static const char server[] = "Handshaking failed", client[] = "Security handshake failed";
    bool failed = strncmp(args->message, server, sizeof server - 1) == 0 ||
                  strncmp(args->message, client, sizeof client - 1) == 0;
    if (failed) atomic_fetch_add(&failed_handshakes, 1);
    lm_debug("grpc: %s", args->message);
}

uint64_t lm_frontend_tls_failed_handshakes(void) { return atomic_load(&failed_handshakes); }

void lm_frontend_tls_begin_process(void)
{
    gpr_set_log_function(on_grpc_log);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_DEBUG);
    /* gRPC lets TLS 1.2 in as well, and its C surface cannot forbid it; but it takes the suites of
     * 1.2 from this variable. The one that is left needs a shared secret, which nobody has. */
    setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef struct {
    lm_frontend_tls_t *tls;
    char first[WHY_BYTES];
} fault_t;

static void on_fault(void *arg, lm_tls_file_t file, const char *text)
{
    fault_t *fault = arg;
    if (!*fault->first)
        snprintf(fault->first, sizeof fault->first, "%s %s", fault->tls->paths.path[file], text);
}

/* False: *why says what is wrong, and nothing has changed. */
static bool load(lm_frontend_tls_t *tls, char why[WHY_BYTES])
{
    fault_t fault = {.tls = tls};
    lm_tls_files_t files;
    if (!lm_tls_files_read(&files, &tls->paths, (int64_t)time(NULL), on_fault, &fault)) {
        memcpy(why, fault.first, WHY_BYTES);
        return false;
    }
    pthread_mutex_lock(&tls->lock);
    lm_tls_files_clear(&tls->files);
    tls->files = files;
    tls->version++;
    pthread_mutex_unlock(&tls->lock);
    return true;
}

void lm_frontend_tls_poll(lm_frontend_tls_t *tls, uint64_t now_us)
{
    if (now_us < tls->look_at_us) return;
    tls->look_at_us = now_us + LOOK_EVERY_US;
    lm_tls_stamp_t stamp = lm_tls_files_stamp(&tls->paths);
    /* What is refused may come right by itself: a certificate whose time is still to come. */
    if (lm_tls_stamp_equal(&stamp, &tls->stamp) && !*tls->why) return;
    char why[WHY_BYTES];
    if (load(tls, why)) {
        tls->why[0] = 0;
        lm_info("%s and its key and authority are read again", tls->paths.path[LM_TLS_CERT]);
    } else if (strcmp(why, tls->why) != 0) {
        memcpy(tls->why, why, sizeof why);
        lm_warn("the renewed files of tls are not used: %s", why);
    }
    tls->stamp = stamp;
}

lm_frontend_tls_t *lm_frontend_tls_new(const lm_frontend_listen_t *how, char *text, size_t size)
{
    lm_frontend_tls_t *tls = lm_alloc(sizeof *tls);
    tls->how = *how;
    tls->paths = (lm_tls_paths_t){
        .path = {tls->how.tls_ca, tls->how.tls_peer_ca, tls->how.tls_cert, tls->how.tls_key}};
    for (int i = 0; i < LM_PORTS; i++) tls->ports[i].tls = tls;
    pthread_mutex_init(&tls->lock, NULL);
    tls->stamp = lm_tls_files_stamp(&tls->paths);
    char why[WHY_BYTES];
    if (load(tls, why)) return tls;
    snprintf(text, size, "%s", why);
    lm_frontend_tls_destroy(&tls);
    return NULL;
}

void lm_frontend_tls_destroy(lm_frontend_tls_t **tls)
{
    if (!*tls) return;
    lm_tls_files_clear(&(*tls)->files);
    for (int i = 0; i < VOUCHED_MAX; i++) free((*tls)->vouched[i].chain);
    pthread_mutex_destroy(&(*tls)->lock);
    free(*tls);
    *tls = NULL;
}

uint64_t lm_frontend_tls_version(lm_frontend_tls_t *tls)
{
    pthread_mutex_lock(&tls->lock);
    uint64_t version = tls->version;
    pthread_mutex_unlock(&tls->lock);
    return version;
}

int64_t lm_frontend_tls_expires_s(lm_frontend_tls_t *tls)
{
    pthread_mutex_lock(&tls->lock);
    int64_t expires_s = tls->files.expires_s;
    pthread_mutex_unlock(&tls->lock);
    return expires_s;
}

/* ---- credentials ----------------------------------------------------------------------------- */

/* Who may come in: nodes and clients on the gRPC port, but no clients on the others. With the lock
 * held; to be freed. */
static char *trusted_by(const lm_frontend_tls_t *tls, lm_frontend_port_t port)
{
    const char *clients = tls->files.text[LM_TLS_CA];
    const char *nodes = lm_tls_files_peer_ca(&tls->files);
    bool both = port == LM_PORT_GRPC && clients != nodes;
    size_t size = strlen(nodes) + strlen(clients) + 2;
    char *text = lm_alloc(size);
    snprintf(text, size, "%s%s%s", nodes, both ? "\n" : "", both ? clients : "");
    return text;
}

static grpc_ssl_certificate_config_reload_status give(void *arg,
                                                      grpc_ssl_server_certificate_config **config)
{
    port_t *port = arg;
    lm_frontend_tls_t *tls = port->tls;
    pthread_mutex_lock(&tls->lock);
    bool news = port->given != tls->version;
    if (news) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->files.text[LM_TLS_KEY],
                                           .cert_chain = tls->files.text[LM_TLS_CERT]};
        char *trusted = trusted_by(tls, (lm_frontend_port_t)(port - tls->ports));
        *config = grpc_ssl_server_certificate_config_create(trusted, &pair, 1);
        free(trusted);
        port->given = tls->version;
    }
    pthread_mutex_unlock(&tls->lock);
    return news ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
                : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
}

grpc_server_credentials *lm_frontend_tls_server(lm_frontend_tls_t *tls, lm_frontend_port_t port)
{
    /* Nodes may share the port of the clients and must show theirs, so everybody is asked. */
    bool all = port != LM_PORT_GRPC || tls->how.clients_certified;
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            all ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY,
            give, &tls->ports[port]));
}

grpc_channel_credentials *lm_frontend_tls_channel(lm_frontend_tls_t *tls, uint64_t *version)
{
    pthread_mutex_lock(&tls->lock);
    grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->files.text[LM_TLS_KEY],
                                       .cert_chain = tls->files.text[LM_TLS_CERT]};
    grpc_channel_credentials *credentials =
        grpc_ssl_credentials_create_ex(lm_tls_files_peer_ca(&tls->files), &pair, NULL, NULL);
    *version = tls->version;
    pthread_mutex_unlock(&tls->lock);
    return credentials;
}

/* ---- who is there ---------------------------------------------------------------------------- */

typedef struct {
    lm_bytes_t names[NAMES_MAX];
    size_t n, bytes;
} names_t;

/* Names that could not stand in a log or in a request key are as good as none. */
static bool is_usable(const grpc_auth_property *property)
{
    lm_bytes_t name = lm_bytes(property->value, property->value_length);
    if (name.size == 0 || name.size > LM_IDENTITY_BYTES_MAX || !lm_bytes_are_utf8(name))
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < 0x20 || name.data[i] == 0x7f) return false;
    return true;
}

static void collect(const grpc_auth_context *context, const char *kind, names_t *names)
{
    grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(context, kind);
    const grpc_auth_property *property;
    while (names->n < NAMES_MAX && (property = grpc_auth_property_iterator_next(&it)) != NULL) {
        if (!is_usable(property)) continue;
        names->names[names->n++] = lm_bytes(property->value, property->value_length);
        names->bytes += property->value_length;
    }
}

static lm_bytes_t keep(uint8_t **at, lm_bytes_t text)
{
    lm_bytes_t copy = lm_bytes(*at, text.size);
    if (text.size) memcpy(*at, text.data, text.size);
    *at += text.size;
    return copy;
}

static lm_frontend_party_t *make_party(const names_t *dns, lm_bytes_t identity)
{
    size_t fixed = sizeof(lm_frontend_party_t) + dns->n * sizeof(lm_bytes_t);
    lm_frontend_party_t *party = lm_alloc(fixed + dns->bytes + identity.size);
    uint8_t *at = (uint8_t *)party + fixed;
    party->identity = keep(&at, identity);
    for (; party->n_names < dns->n; party->n_names++)
        party->names[party->n_names] = keep(&at, dns->names[party->n_names]);
    return party;
}

/* The certificate that was shown, and those that came with it; to be freed. */
static char *shown_in(const grpc_auth_context *context)
{
    static const char *const kinds[] = {GRPC_X509_PEM_CERT_PROPERTY_NAME,
                                        GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME};
    const grpc_auth_property *found[2];
    size_t size = 1, at = 0;
    for (size_t i = 0; i < 2; i++) {
        grpc_auth_property_iterator it =
            grpc_auth_context_find_properties_by_name(context, kinds[i]);
        found[i] = grpc_auth_property_iterator_next(&it);
        if (found[i]) size += found[i]->value_length;
    }
    char *text = lm_alloc(size);
    for (size_t i = 0; i < 2; i++) {
        if (!found[i]) continue;
        memcpy(text + at, found[i]->value, found[i]->value_length);
        at += found[i]->value_length;
    }
    return text;
}

/* With the lock held; takes chain over. */
static bool is_vouched(lm_frontend_tls_t *tls, char *chain)
{
    for (int i = 0; i < VOUCHED_MAX; i++) {
        const vouched_t *known = &tls->vouched[i];
        if (!known->chain || known->version != tls->version || strcmp(known->chain, chain) != 0)
            continue;
        free(chain);
        return known->good;
    }
    vouched_t *next = &tls->vouched[tls->n_vouched++ % VOUCHED_MAX];
    free(next->chain);
    const char *nodes = lm_tls_files_peer_ca(&tls->files);
    *next = (vouched_t){.version = tls->version,
                        .good = lm_tls_files_vouch(nodes, chain, (int64_t)time(NULL)),
                        .chain = chain};
    return next->good;
}

static bool is_of_node(lm_frontend_tls_t *tls, const grpc_auth_context *context)
{
    pthread_mutex_lock(&tls->lock);
    /* Where there is one authority, the handshake has asked already. */
    bool good = !tls->files.text[LM_TLS_PEER_CA] || is_vouched(tls, shown_in(context));
    pthread_mutex_unlock(&tls->lock);
    return good;
}

lm_frontend_party_t *lm_frontend_tls_party(lm_frontend_tls_t *tls, grpc_call *call, bool as_node)
{
    static const char *const others[] = {GRPC_PEER_URI_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME};
    grpc_auth_context *context = grpc_call_auth_context(call);
    if (!context) return NULL;
    lm_frontend_party_t *party = NULL;
    if (grpc_auth_context_peer_is_authenticated(context)) {
        names_t dns = {0}, other = {0};
        collect(context, GRPC_PEER_DNS_PROPERTY_NAME, &dns);
        for (size_t i = 0; i < 2 && dns.n + other.n == 0; i++) collect(context, others[i], &other);
        lm_bytes_t none = lm_bytes(NULL, 0);
        party = make_party(&dns, dns.n ? dns.names[0] : other.n ? other.names[0] : none);
        party->is_client = as_node && !is_of_node(tls, context);
    }
    grpc_auth_context_release(context);
    return party;
}
