/* The order matters: names first, then the snapshot, for it says what of the log is needed; then
 * repairs, then what the repaired files say. */
#include "raft_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "raft_fields.h"
#include "raft_image_file.h"
#include "raft_scan_state.h"

bool lm_raft_scan_damaged(lm_raft_scan_state_t *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    s->fault->code = LM_EXIT_DAMAGED;
    int size = snprintf(s->fault->words, sizeof s->fault->words, "%s/", s->folder.path);
    if (size > 0 && (size_t)size < sizeof s->fault->words)
        vsnprintf(s->fault->words + size, sizeof s->fault->words - (size_t)size, format, arguments);
    va_end(arguments);
    return false;
}

bool lm_raft_scan_unreadable(lm_raft_scan_state_t *s, const char *name)
{
    return lm_raft_fault_set(s->fault, LM_EXIT_SYSTEM, "%s/%s: %s", s->folder.path, name,
                             strerror(errno));
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Takes a decimal number from *at. */
static bool take_number(const char **at, uint64_t *value)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    errno = 0;
    *value = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

/* Takes n numbers with dashes between them that follow prefix. Returns what follows them, NULL if
 * the name is not of that kind. */
static const char *take_numbers(const char *name, const char *prefix, uint64_t *values, size_t n)
{
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) != 0) return NULL;
    name += size;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && *name++ != '-') return NULL;
        if (!take_number(&name, &values[i])) return NULL;
    }
    return name;
}

static bool is_numbered(const char *name, const char *prefix, uint64_t *values, size_t n)
{
    const char *rest = take_numbers(name, prefix, values, n);
    return rest && *rest == 0;
}

static void add_number(lm_raft_numbers_t *list, uint64_t value)
{
    list->at = lm_realloc(list->at, (list->n + 1) * sizeof *list->at);
    list->at[list->n++] = value;
}

/* values: term, index and, of snapshots, stamp. */
static lm_raft_place_t *add_place(lm_raft_places_t *list, const uint64_t *values, uint64_t stamp)
{
    for (size_t i = 0; i < list->n; i++) {
        lm_raft_place_t *place = &list->at[i];
        if (place->term == values[0] && place->index == values[1] && place->stamp == stamp)
            return place;
    }
    list->at = lm_realloc(list->at, (list->n + 1) * sizeof *list->at);
    list->at[list->n] = (lm_raft_place_t){.term = values[0], .index = values[1], .stamp = stamp};
    return &list->at[list->n++];
}

static void add_closed(lm_raft_scan_state_t *s, const char *name, const uint64_t *values)
{
    s->closed = lm_realloc(s->closed, (s->n_closed + 1) * sizeof *s->closed);
    lm_raft_closed_t *closed = &s->closed[s->n_closed++];
    *closed = (lm_raft_closed_t){.first = values[0], .end = values[1]};
    snprintf(closed->name, sizeof closed->name, "%s", name);
}

static bool is_known(const char *name)
{
    static const char *const exact[] = {
        ".",
        "..",
        LM_RAFT_IDENTITY_FILE,
        LM_RAFT_IDENTITY_TEMPORARY,
        LM_RAFT_LOCK_FILE,
        LM_RAFT_WATERMARK_FILE,
        "metadata1",
        "metadata2",
        ".probe",
        "lost+found",
    };
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (strcmp(name, exact[i]) == 0) return true;
    /* Left by a crash inside the engine's disk code, which removes them itself. */
    return strncmp(name, "tmp-", 4) == 0;
}

static bool take_snapshot_name(lm_raft_scan_state_t *s, const char *name)
{
    uint64_t values[3];
    const char *rest = take_numbers(name, "snapshot-", values, 3);
    if (!rest || (*rest != 0 && strcmp(rest, ".meta") != 0)) return false;
    lm_raft_place_t *place = add_place(&s->snapshots, values, values[2]);
    if (*rest)
        place->has_meta = true;
    else
        place->has_data = true;
    return true;
}

static bool take_name(lm_raft_scan_state_t *s, const char *name)
{
    uint64_t values[2];
    if (is_known(name) || take_snapshot_name(s, name)) return true;
    if (is_numbered(name, "", values, 2) && values[0] >= 1 && values[0] <= values[1] &&
        strlen(name) < LM_RAFT_SCAN_NAME)
        add_closed(s, name, values);
    else if (is_numbered(name, "open-", values, 1))
        add_number(&s->open, values[0]);
    else if (is_numbered(name, LM_RAFT_TRUNCATION_PREFIX, values, 1))
        add_number(&s->truncations, values[0]);
    else if (is_numbered(name, LM_RAFT_INSTALLATION_PREFIX, values, 2))
        add_place(&s->installations, values, 0);
    else if (is_numbered(name, LM_RAFT_IMAGE_PREFIX, values, 2))
        add_place(&s->images, values, 0);
    else if (is_numbered(name, LM_RAFT_PART_PREFIX, values, 2))
        add_place(&s->parts, values, 0);
    else
        return lm_raft_scan_damaged(s, "%s does not belong here", name);
    return true;
}

static int by_first(const void *left, const void *right)
{
    const lm_raft_closed_t *a = left, *b = right;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static int by_value(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

static bool take_names(lm_raft_scan_state_t *s)
{
    DIR *list = opendir(s->folder.path);
    if (!list) return lm_raft_scan_unreadable(s, ".");
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(list));) good = take_name(s, entry->d_name);
    closedir(list);
    if (s->n_closed) qsort(s->closed, s->n_closed, sizeof *s->closed, by_first);
    if (s->open.n) qsort(s->open.at, s->open.n, sizeof *s->open.at, by_value);
    return good;
}

/* ---- files ----------------------------------------------------------------------------------- */

bool lm_raft_scan_read(lm_raft_scan_state_t *s, const char *name, uint8_t **bytes, size_t *size)
{
    struct stat about;
    *bytes = NULL;
    *size = 0;
    int fd = openat(s->folder.fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || lm_raft_scan_unreadable(s, name);
    bool good = fstat(fd, &about) == 0;
    *bytes = lm_alloc(good ? (size_t)about.st_size + 1 : 1);
    while (good && *size < (size_t)about.st_size) {
        ssize_t got = read(fd, *bytes + *size, (size_t)about.st_size - *size);
        if (got == 0) break;
        good = got > 0;
        if (good) *size += (size_t)got;
    }
    if (!good) lm_raft_scan_unreadable(s, name);
    close(fd);
    return good;
}

bool lm_raft_scan_remove(lm_raft_scan_state_t *s, const char *name, const char *why)
{
    if (unlinkat(s->folder.fd, name, 0) == 0)
        lm_warn("%s/%s is removed: %s", s->folder.path, name, why);
    else if (errno != ENOENT)
        return lm_raft_scan_unreadable(s, name);
    return true;
}

bool lm_raft_scan_sync(lm_raft_scan_state_t *s)
{
    return fsync(s->folder.fd) == 0 || lm_raft_scan_unreadable(s, ".");
}

/* ---- term and vote --------------------------------------------------------------------------- */

typedef struct {
    uint64_t version, term, voted_for;
} vote_file_t;

static uint64_t word(const uint8_t *bytes, int which)
{
    return lm_raft_fields_get(bytes + 8 * which, 8);
}

static bool read_vote_file(lm_raft_scan_state_t *s, int which, vote_file_t *file)
{
    char name[16];
    uint8_t *bytes;
    size_t size;
    *file = (vote_file_t){0};
    snprintf(name, sizeof name, "metadata%d", which);
    if (!lm_raft_scan_read(s, name, &bytes, &size)) {
        free(bytes);
        return false;
    }
    if (!bytes) return true;
    bool good = true;
    if (size >= 32)
        *file = (vote_file_t){
            .version = word(bytes, 1), .term = word(bytes, 2), .voted_for = word(bytes, 3)};
    /* A shorter one is from a crash while it was first made; the disk code removes it. */
    if (size > 32 || (size == 32 && (word(bytes, 0) != 1 || file->version % 2 != which % 2u ||
                                     file->version == 0 || file->term > LM_RAFT_TERM_MAX)))
        good = lm_raft_scan_damaged(s, "%s is damaged", name);
    free(bytes);
    return good;
}

static bool known_vote(const lm_raft_identity_t *identity, uint64_t id)
{
    if (id == 0) return true;
    for (uint32_t i = 0; i < identity->n_servers; i++)
        if (identity->servers[i].id == id) return true;
    return false;
}

static bool check_votes(lm_raft_scan_state_t *s, const lm_raft_identity_t *identity)
{
    vote_file_t file[2];
    if (!read_vote_file(s, 1, &file[0]) || !read_vote_file(s, 2, &file[1])) return false;
    int newer = file[1].version > file[0].version;
    const vote_file_t *now = &file[newer], *before = &file[!newer];
    if (before->version && (before->version + 1 != now->version || before->term > now->term))
        return lm_raft_scan_damaged(s, "metadata1 and metadata2 contradict each other");
    /* Each write goes to the file of its turn, so both are there from the second on. */
    if (!before->version && now->version > 1)
        return lm_raft_scan_damaged(s, "metadata%d is missing or cut off", !newer + 1);
    if (!known_vote(identity, now->voted_for))
        return lm_raft_scan_damaged(s, "metadata%d names a vote for a server that does not exist",
                                    newer + 1);
    s->result->term = now->term;
    s->result->voted_for = now->voted_for;
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool check_whole(lm_raft_scan_state_t *s, const lm_raft_identity_t *identity)
{
    const lm_raft_scan_t *result = s->result;
    bool any = result->has_log || result->term || s->has_watermark;
    if (identity->stage == LM_RAFT_EMPTY && any)
        return lm_raft_scan_damaged(s, LM_RAFT_IDENTITY_FILE " is missing, but there is a log");
    if (identity->stage == LM_RAFT_STARTED && (!result->has_log || !result->term))
        return lm_raft_scan_damaged(
            s, "%s missing, but " LM_RAFT_IDENTITY_FILE " says that this node has it",
            result->has_log ? "metadata1 and metadata2 are" : "the log is");
    return true;
}

bool lm_raft_scan(const char *path, const lm_raft_identity_t *identity, lm_raft_scan_t *result,
                  lm_raft_fault_t *fault)
{
    *result = (lm_raft_scan_t){0};
    lm_raft_scan_state_t s = {
        .folder = {.path = path, .fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)},
        .result = result,
        .fault = fault,
    };
    bool good = s.folder.fd >= 0 || lm_raft_scan_unreadable(&s, ".");
    good = good && take_names(&s);
    s.has_watermark = good && faccessat(s.folder.fd, LM_RAFT_WATERMARK_FILE, F_OK, 0) == 0;
    /* Without a vote its log is that of a start that was not completed, and is made anew. */
    if (good && identity->stage == LM_RAFT_EMPTY) {
        result->has_log = s.n_closed || s.open.n || s.snapshots.n || s.images.n;
        good = check_whole(&s, identity) && check_votes(&s, identity) && check_whole(&s, identity);
    } else if (good && identity->stage == LM_RAFT_STARTED) {
        good = lm_raft_scan_snapshots(&s) && lm_raft_scan_repair_log(&s) &&
               check_votes(&s, identity) && lm_raft_scan_log(&s) && check_whole(&s, identity);
    }
    if (s.folder.fd >= 0) close(s.folder.fd);
    free(s.closed);
    free(s.open.at);
    free(s.truncations.at);
    free(s.installations.at);
    free(s.snapshots.at);
    free(s.images.at);
    free(s.parts.at);
    return good;
}
