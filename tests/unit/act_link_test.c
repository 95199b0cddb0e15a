/* Links between two threads: whatever is sent is found, though a link that was empty is not asked
 * again without a sign (L4), and a send may take that sign in. */
#include "act_link.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 20000
#define BURST_MAX 7
#define SILENCE_MS 20000

TestSuite(act_link, .timeout = 300);

static lm_link_t *server, *client;
static char dir[64];

/* A wait that ends with nothing is one that has missed its sign. */
static bool wait_for(lm_link_t *link)
{
    lm_wait_t item = {.link = link};
    lm_link_wait(&item, 1, SILENCE_MS);
    return item.ready;
}

/* Answers each message; takes up to three at a time, so that some are left in a link that was
 * written to. Ends with the message "end". */
static void *serve(void *arg)
{
    (void)arg;
    lm_bytes_t address, bytes;
    for (bool ended = false; !ended;) {
        if (!wait_for(server)) return NULL;
        for (int i = 0; i < 3 && lm_link_receive(server, &address, &bytes); i++) {
            uint8_t copy[8];
            char to[LM_ADDRESS_BYTES];
            if (bytes.size == 0) continue; /* the greeting */
            size_t size = bytes.size < sizeof copy ? bytes.size : sizeof copy;
            memcpy(copy, bytes.data, size);
            snprintf(to, sizeof to, "%.*s", LM_BYTES_ARG(address));
            ended = lm_bytes_equal(bytes, lm_bytes_of("end"));
            if (lm_link_send(server, to, lm_bytes(copy, size)) != LM_LINK_SENT) return NULL;
        }
    }
    return server;
}

static void send_number(uint32_t number)
{
    cr_assert_eq(lm_link_send(client, NULL, lm_bytes((uint8_t *)&number, sizeof number)),
                 LM_LINK_SENT);
}

/* Takes the answers that are due, sending what is left of the burst in between. */
static void take_answers(uint32_t first, uint32_t sent, uint32_t n)
{
    lm_bytes_t address, bytes;
    for (uint32_t taken = 0; taken < n;) {
        cr_assert(wait_for(client), "no sign of answer %u", first + taken);
        while (lm_link_receive(client, &address, &bytes)) {
            uint32_t number = first + taken++;
            cr_assert(lm_bytes_equal(bytes, lm_bytes((uint8_t *)&number, sizeof number)));
            if (sent < n) send_number(first + sent++);
        }
    }
}

static void talk(const char *endpoint)
{
    pthread_t thread;
    void *served;
    server = lm_link_bind(endpoint);
    client = lm_link_connect(endpoint, "client.1");
    cr_assert(server && client);
    cr_assert_eq(lm_link_send(client, NULL, lm_bytes(NULL, 0)), LM_LINK_SENT);
    pthread_create(&thread, NULL, serve, NULL);
    uint32_t next = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t n = 1 + round % BURST_MAX, at_once = 1 + round / BURST_MAX % n;
        for (uint32_t i = 0; i < at_once; i++) send_number(next + i);
        take_answers(next, at_once, n);
        next += n;
    }
    cr_assert_eq(lm_link_send(client, NULL, lm_bytes_of("end")), LM_LINK_SENT);
    pthread_join(thread, &served);
    cr_assert(served, "the server waits in vain, or for nobody");
    lm_link_close(&client, 0);
    lm_link_close(&server, 0);
}

Test(act_link, nothing_is_missed_between_threads) { talk("inproc://lm_link_test"); }

Test(act_link, nothing_is_missed_between_processes)
{
    char endpoint[96];
    snprintf(dir, sizeof dir, "/tmp/lm_link_XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/s", dir);
    talk(endpoint);
    rmdir(dir);
}

/* What was found empty is not asked; what is asked for again is. */
Test(act_link, a_sign_is_needed_and_is_enough)
{
    lm_bytes_t address, bytes;
    server = lm_link_bind("inproc://lm_link_sign");
    client = lm_link_connect("inproc://lm_link_sign", "client.1");
    cr_assert_not(lm_link_receive(server, &address, &bytes));
    cr_assert_eq(lm_link_send(client, NULL, lm_bytes_of("one")), LM_LINK_SENT);
    cr_assert_not(lm_link_receive(server, &address, &bytes));
    lm_link_look_again(server);
    cr_assert(lm_link_receive(server, &address, &bytes));
    cr_assert(lm_bytes_equal(bytes, lm_bytes_of("one")));
    cr_assert_not(lm_link_receive(server, &address, &bytes));
    cr_assert_eq(lm_link_send(client, NULL, lm_bytes_of("two")), LM_LINK_SENT);
    cr_assert(wait_for(server));
    cr_assert(lm_link_receive(server, &address, &bytes));
    cr_assert(lm_bytes_equal(bytes, lm_bytes_of("two")));
    lm_link_close(&client, 0);
    lm_link_close(&server, 0);
}
