/* The text has a line per fact and a checksum at its end, so that people can read it and nobody can
 * use half of it. */
#include "raft_identity.h"

#include <stdio.h>
#include <stdlib.h>

#include "base_check.h"

#define HEADLINE "lockmgr-identity 1"

static const char *const stage_names[] = {"empty", "accepted", "formed", "started"};

const char *lm_raft_stage_name(lm_raft_stage_t stage) { return stage_names[stage]; }

uint32_t lm_raft_identity_crc(lm_bytes_t bytes)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.size; i++) {
        crc ^= bytes.data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

uint64_t lm_raft_identity_id(const lm_raft_identity_t *identity, const char *name)
{
    for (uint32_t i = 0; i < identity->n_servers; i++)
        if (strcmp(identity->servers[i].name, name) == 0) return identity->servers[i].id;
    return 0;
}

size_t lm_raft_identity_write(const lm_raft_identity_t *identity,
                              char text[LM_RAFT_IDENTITY_TEXT_MAX])
{
    int size =
        snprintf(text, LM_RAFT_IDENTITY_TEXT_MAX,
                 HEADLINE "\nregion %s\nnode %s\ncluster %s\nhistory %s\nepoch %u\nstage %s\n",
                 identity->region, identity->node, identity->cluster_id, identity->history_id,
                 identity->epoch, lm_raft_stage_name(identity->stage));
    for (uint32_t i = 0; i < identity->n_servers; i++)
        size +=
            snprintf(text + size, (size_t)(LM_RAFT_IDENTITY_TEXT_MAX - size), "server %llu %s\n",
                     (unsigned long long)identity->servers[i].id, identity->servers[i].name);
    uint32_t crc = lm_raft_identity_crc(lm_bytes(text, (size_t)size));
    size += snprintf(text + size, (size_t)(LM_RAFT_IDENTITY_TEXT_MAX - size), "crc %08x\n", crc);
    LM_CHECK(size < LM_RAFT_IDENTITY_TEXT_MAX, "identity of %d bytes", size);
    return (size_t)size;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Takes the value behind "key " from the next line. Returns false if the line is another. */
static bool take_line(const char **at, const char *key, char *value, size_t size)
{
    size_t key_size = strlen(key);
    const char *end = strchr(*at, '\n');
    if (!end || strncmp(*at, key, key_size) != 0 || (*at)[key_size] != ' ') return false;
    const char *begin = *at + key_size + 1;
    size_t length = (size_t)(end - begin);
    if (end < begin || length == 0 || length >= size) return false;
    memcpy(value, begin, length);
    value[length] = 0;
    *at = end + 1;
    return true;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9') return false;
    *number = strtoull(text, &end, 10);
    return *end == 0 && *number <= max;
}

static bool parse_stage(const char *text, lm_raft_stage_t *stage)
{
    for (int i = LM_RAFT_ACCEPTED; i <= LM_RAFT_STARTED; i++) {
        if (strcmp(text, stage_names[i]) != 0) continue;
        *stage = (lm_raft_stage_t)i;
        return true;
    }
    return false;
}

/* A line that is not quite one stays where it is, and is refused as what follows the servers. */
static bool take_server(const char **at, lm_raft_identity_t *identity)
{
    char value[LM_RAFT_NAME_SIZE + 32];
    const char *next = *at;
    lm_raft_server_t server = {0};
    if (!take_line(&next, "server", value, sizeof value)) return false;
    char *space = strchr(value, ' ');
    if (!space || identity->n_servers == LM_RAFT_SERVERS_MAX) return false;
    *space = 0;
    if (!parse_number(value, UINT64_MAX, &server.id) || server.id == 0) return false;
    if (strlen(space + 1) == 0 || strlen(space + 1) >= sizeof server.name) return false;
    memcpy(server.name, space + 1, strlen(space + 1));
    identity->servers[identity->n_servers++] = server;
    *at = next;
    return true;
}

static bool take_head(const char **at, lm_raft_identity_t *identity)
{
    char number[32], stage[16];
    uint64_t epoch;
    if (strncmp(*at, HEADLINE "\n", sizeof HEADLINE) != 0) return false;
    *at += sizeof HEADLINE;
    if (!take_line(at, "region", identity->region, sizeof identity->region) ||
        !take_line(at, "node", identity->node, sizeof identity->node) ||
        !take_line(at, "cluster", identity->cluster_id, sizeof identity->cluster_id) ||
        !take_line(at, "history", identity->history_id, sizeof identity->history_id) ||
        !take_line(at, "epoch", number, sizeof number) || !parse_number(number, 32767, &epoch) ||
        !take_line(at, "stage", stage, sizeof stage) || !parse_stage(stage, &identity->stage))
        return false;
    identity->epoch = (uint32_t)epoch;
    return true;
}

const char *lm_raft_identity_read(lm_bytes_t text, lm_raft_identity_t *identity)
{
    char copy[LM_RAFT_IDENTITY_TEXT_MAX + 1], crc[16], expected[16];
    *identity = (lm_raft_identity_t){0};
    if (text.size == 0) return "it is empty";
    if (text.size > LM_RAFT_IDENTITY_TEXT_MAX || memchr(text.data, 0, text.size))
        return "it is not an identity";
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    const char *at = copy;
    if (!take_head(&at, identity)) return "its head is damaged or of another version";
    while (take_server(&at, identity)) continue;
    size_t covered = (size_t)(at - copy);
    snprintf(expected, sizeof expected, "%08x", lm_raft_identity_crc(lm_bytes(copy, covered)));
    if (!take_line(&at, "crc", crc, sizeof crc) || strcmp(crc, expected) != 0 || *at)
        return "its checksum does not match";
    if (lm_raft_identity_id(identity, identity->node) == 0)
        return "the node is not among its servers";
    return NULL;
}
