/* A driver without gRPC: it notes what rooms want of it, and tests play the other side. */
#ifndef LM_FRONTEND_FAKE_DRIVER_H
#define LM_FRONTEND_FAKE_DRIVER_H

#include "act_test_host.h"
#include "frontend_driver.h"
#include "wire_bus.h"

enum { FAKE_HANDLES_MAX = 16384, FAKE_SENT_MAX = 64 };

typedef struct {
    lm_frontend_handle_t handle; /* first */
    bool finished, cancelled, dropped, stalled, vouched;
    int status;
    char text[256];
    lm_bytes_t message, details;
    uint32_t pushback_ms;
    lm_frontend_target_t target; /* of an outgoing one */
    lm_bytes_t payload;
    uint64_t deadline_us;
    size_t n_sent;
    lm_bytes_t sent[FAKE_SENT_MAX];
} fake_handle_t;

typedef struct {
    lm_frontend_driver_t face; /* first */
    lm_arena_t *arena;
    fake_handle_t *handles[FAKE_HANDLES_MAX];
    size_t n_handles;
    const lm_frontend_party_t *party;   /* of whatever comes in from now on */
    const lm_frontend_bearer_t *bearer; /* likewise */
    bool connected;                     /* whether forwards find an open connection */
    bool unconnected;                   /* whether what is sent waits for a connection */
    bool queue_full;                    /* whether send refuses */
    bool shut;
    uint32_t shed; /* the share that is to be refused */
    lm_frontend_listen_t how;
    unsigned listening;
    lm_frontend_figures_t figures;
} fake_driver_t;

fake_driver_t *fake_driver_new(void);
void fake_driver_destroy(fake_driver_t **driver);

/** The configuration of node n1 of region r, whose voters are n1, n2 and n3. What it points to is
 *  static. */
lm_bus_node_config_t fake_config(void);

/** Makes a handle as for something that comes in. */
fake_handle_t *fake_incoming(fake_driver_t *driver, lm_frontend_method_id_t method);
/** The newest outgoing handle of a method that is not dropped; NULL: none. */
fake_handle_t *fake_outgoing(fake_driver_t *driver, lm_frontend_method_id_t method);
/** How many outgoing handles of a method are not dropped. */
size_t fake_count(fake_driver_t *driver, lm_frontend_method_id_t method);

/** A unary call comes in with a message of that type; NULL: an empty one. */
fake_handle_t *fake_call(fake_driver_t *driver, lm_test_host_t *host,
                         lm_frontend_method_id_t method, const void *request, uint64_t deadline_us);
/** A stream is opened. */
fake_handle_t *fake_open(fake_driver_t *driver, lm_test_host_t *host,
                         lm_frontend_method_id_t method);
/** A message arrives on a stream. */
void fake_receive(fake_driver_t *driver, lm_test_host_t *host, fake_handle_t *handle,
                  const lm_wire_type_t *type, const void *message);
void fake_receive_bytes(lm_test_host_t *host, fake_handle_t *handle, lm_bytes_t bytes);
void fake_event(lm_test_host_t *host, lm_frontend_event_kind_t kind, fake_handle_t *handle);
/** The last event of an incoming handle. */
void fake_over(lm_test_host_t *host, fake_handle_t *handle, bool delivered);
/** Any event, with bytes as they are. */
void fake_event_bytes(lm_test_host_t *host, lm_frontend_event_kind_t kind, fake_handle_t *handle,
                      lm_bytes_t payload, int status);
/** Gives every handle that is not over its last event, as the driver promises it; checks that the
 *  room drops it then, unless the room has ended. */
void fake_end_all(fake_driver_t *driver, lm_test_host_t *host);
/** The last event of an outgoing handle; message NULL: none. */
void fake_answer(fake_driver_t *driver, lm_test_host_t *host, fake_handle_t *handle, int status,
                 const lm_wire_type_t *type, const void *message);

/** Decodes into the driver's arena; stops the test if it cannot be. */
void *fake_decode(fake_driver_t *driver, const lm_wire_type_t *type, lm_bytes_t bytes);
/** ErrorInfo reason of a finished handle; "" if there are no details. */
const char *fake_reason(fake_driver_t *driver, const fake_handle_t *handle);
/** Field that BadRequest names; "" if none. */
const char *fake_field(fake_driver_t *driver, const fake_handle_t *handle);
bool fake_has_retry_info(fake_driver_t *driver, const fake_handle_t *handle);

#endif
