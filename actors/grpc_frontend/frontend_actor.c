/* Whichever room ends first takes the other one along: it is told by an event, or by the driver
 * that everything is closed. */
#include "frontend_actor.h"

#include <errno.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "act_inlet.h"
#include "base_check.h"
#include "base_log.h"
#include "base_voice.h"
#include "frontend_clients.h"
#include "frontend_driver.h"
#include "frontend_keys.h"
#include "frontend_peers.h"
#include "frontend_tls.h"

typedef struct {
    lm_voice_t *voice;
    lm_host_t *clients, *peers;
    lm_exit_t clients_exit;
} hosts_t;

static void put(void *inlet, void *event) { lm_inlet_put(inlet, event); }

static void draw(void *bytes, size_t size)
{
    ssize_t drawn = getrandom(bytes, size, 0);
    LM_CHECK(drawn == (ssize_t)size, "no random numbers: %s", strerror(errno));
}

static void tell_ended(lm_host_t *host, lm_exit_t code)
{
    lm_frontend_event_t *event = lm_frontend_event_new(LM_FRONTEND_OTHER_ENDED, NULL, 0);
    event->status = (int)code;
    lm_inlet_put(lm_host_inlet(host), event);
}

static void *run_clients(void *arg)
{
    hosts_t *hosts = arg;
    lm_voice_take(hosts->voice);
    hosts->clients_exit = lm_host_run(hosts->clients);
    tell_ended(hosts->peers, hosts->clients_exit);
    return NULL;
}

static lm_exit_t run_both(hosts_t *hosts)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run_clients, hosts);
    LM_CHECK(error == 0, "no thread for the clients room: %s", strerror(error));
    pthread_setname_np(thread, "clients");
    lm_exit_t peers_exit = lm_host_run(hosts->peers);
    tell_ended(hosts->clients, peers_exit);
    pthread_join(thread, NULL);
    return peers_exit != LM_EXIT_OK ? peers_exit : hosts->clients_exit;
}

/* What a room that has ended did not take any more. */
static void free_left(lm_host_t *host)
{
    void **events;
    size_t n = lm_inlet_take(lm_host_inlet(host), &events);
    for (size_t i = 0; i < n; i++) lm_frontend_event_free(events[i]);
}

/* Threads of one process are reached inside of it. */
static bool is_alone(const lm_process_t *process)
{
    return strncmp(process->supervisor, "inproc:", 7) != 0;
}

lm_exit_t lm_frontend_actor_run(const lm_process_t *process)
{
    uint64_t seeds[3];
    uint8_t secret[32];
    draw(seeds, sizeof seeds);
    draw(secret, sizeof secret);
    lm_frontend_keys_t *keys = lm_frontend_keys_new(secret);
    explicit_bzero(secret, sizeof secret);
    lm_frontend_clients_t *clients = lm_frontend_clients_new(seeds);
    lm_frontend_peers_t *peers = lm_frontend_peers_new(process->generation.counter, seeds[2]);
    hosts_t hosts = {.voice = lm_voice_mine(),
                     .clients = lm_host_new(process, &lm_frontend_clients_room, clients),
                     .peers = lm_host_new(process, &lm_frontend_peers_room, peers)};
    lm_frontend_driver_t *driver = lm_frontend_driver_new(
        (lm_frontend_inlet_t){put, lm_host_inlet(hosts.clients)},
        (lm_frontend_inlet_t){put, lm_host_inlet(hosts.peers)}, is_alone(process));
    lm_frontend_clients_set_driver(clients, driver);
    lm_frontend_peers_set_driver(peers, driver);
    lm_frontend_clients_set_keys(clients, keys);
    lm_frontend_peers_set_keys(peers, keys);
    lm_exit_t code = run_both(&hosts);
    lm_frontend_driver_destroy(&driver);
    free_left(hosts.clients);
    free_left(hosts.peers);
    lm_host_destroy(&hosts.clients);
    lm_host_destroy(&hosts.peers);
    lm_frontend_clients_destroy(&clients);
    lm_frontend_peers_destroy(&peers);
    lm_frontend_keys_destroy(&keys);
    return code;
}

/* ---- the process ---- */

void lm_frontend_actor_begin_process(void)
{
    lm_frontend_tls_begin_process();
    grpc_init();
}

void lm_frontend_actor_end_process(void) { grpc_shutdown_blocking(); }
