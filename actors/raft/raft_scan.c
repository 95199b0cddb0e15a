/* The order matters: names first, then repairs, then what the repaired files say. */
#include "raft_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_log.h"
#include "raft_datadir.h"
#include "raft_segment.h"

typedef struct {
    uint64_t first, end;
    char name[64];
} closed_t;

typedef struct {
    const char *path;
    int fd;
    closed_t *closed;
    size_t n_closed;
    uint64_t *open; /* counters in the names of open segments */
    size_t n_open;
    uint64_t *marks; /* indexes of truncation notes */
    size_t n_marks;
    lm_raft_fault_t *fault;
} scan_t;

typedef unsigned long long ull_t;

__attribute__((format(printf, 2, 3))) static bool damaged(scan_t *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    s->fault->code = LM_EXIT_DAMAGED;
    int size = snprintf(s->fault->words, sizeof s->fault->words, "%s/", s->path);
    if (size > 0 && (size_t)size < sizeof s->fault->words)
        vsnprintf(s->fault->words + size, sizeof s->fault->words - (size_t)size, format, arguments);
    va_end(arguments);
    return false;
}

static bool unreadable(scan_t *s, const char *name)
{
    return lm_raft_fault_set(s->fault, LM_EXIT_SYSTEM, "%s/%s: %s", s->path, name, strerror(errno));
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

static bool is_numbered(const char *name, const char *prefix, uint64_t *value)
{
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) != 0) return false;
    name += size;
    return take_number(&name, value) && *name == 0;
}

static bool is_range(const char *name, uint64_t *first, uint64_t *end)
{
    if (!take_number(&name, first) || *name++ != '-') return false;
    return take_number(&name, end) && *name == 0 && *first >= 1 && *first <= *end;
}

static void add(uint64_t **list, size_t *count, uint64_t value)
{
    *list = lm_realloc(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = value;
}

static bool is_known(const char *name)
{
    static const char *const exact[] = {
        ".",
        "..",
        LM_RAFT_IDENTITY_FILE,
        LM_RAFT_IDENTITY_TEMPORARY,
        LM_RAFT_LOCK_FILE,
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

static bool take_name(scan_t *s, const char *name)
{
    uint64_t a, b;
    if (is_known(name)) return true;
    if (is_range(name, &a, &b) && strlen(name) < sizeof s->closed->name) {
        s->closed = lm_realloc(s->closed, (s->n_closed + 1) * sizeof *s->closed);
        closed_t *closed = &s->closed[s->n_closed++];
        *closed = (closed_t){.first = a, .end = b};
        snprintf(closed->name, sizeof closed->name, "%s", name);
    } else if (is_numbered(name, "open-", &a)) {
        add(&s->open, &s->n_open, a);
    } else if (is_numbered(name, LM_RAFT_TRUNCATION_PREFIX, &a)) {
        add(&s->marks, &s->n_marks, a);
    } else {
        return damaged(s, "%s does not belong here", name);
    }
    return true;
}

static int by_first(const void *left, const void *right)
{
    const closed_t *a = left, *b = right;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static int by_value(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

static bool take_names(scan_t *s)
{
    DIR *list = opendir(s->path);
    if (!list) return unreadable(s, ".");
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(list));) good = take_name(s, entry->d_name);
    closedir(list);
    if (s->n_closed) qsort(s->closed, s->n_closed, sizeof *s->closed, by_first);
    if (s->n_open) qsort(s->open, s->n_open, sizeof *s->open, by_value);
    return good;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Reads a whole file. *bytes is NULL if there is no such file; free it. */
static bool read_file(scan_t *s, const char *name, uint8_t **bytes, size_t *size)
{
    struct stat about;
    *bytes = NULL;
    *size = 0;
    int fd = openat(s->fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || unreadable(s, name);
    bool good = fstat(fd, &about) == 0;
    *bytes = lm_alloc(good ? (size_t)about.st_size + 1 : 1);
    while (good && *size < (size_t)about.st_size) {
        ssize_t got = read(fd, *bytes + *size, (size_t)about.st_size - *size);
        if (got == 0) break;
        good = got > 0;
        if (good) *size += (size_t)got;
    }
    if (!good) unreadable(s, name);
    close(fd);
    return good;
}

static bool remove_closed(scan_t *s, size_t at, const char *why)
{
    lm_warn("%s/%s is removed: %s", s->path, s->closed[at].name, why);
    if (unlinkat(s->fd, s->closed[at].name, 0) != 0) return unreadable(s, s->closed[at].name);
    memmove(&s->closed[at], &s->closed[at + 1], (s->n_closed - at - 1) * sizeof *s->closed);
    s->n_closed--;
    return fsync(s->fd) == 0 || unreadable(s, ".");
}

/* ---- repairs --------------------------------------------------------------------------------- */

/* True if the entries of the shorter file are the first ones of the longer. */
static bool begins_like(lm_bytes_t longer, lm_bytes_t shorter, uint64_t count)
{
    lm_raft_segment_cursor_t a = {0}, b = {0};
    lm_raft_segment_entry_t x, y;
    for (uint64_t i = 0; i < count; i++) {
        if (!lm_raft_segment_next(longer, &a, &x) || !lm_raft_segment_next(shorter, &b, &y))
            return false;
        if (x.term != y.term || x.type != y.type || !lm_bytes_equal(x.data, y.data)) return false;
    }
    return true;
}

static bool open_are_unused(scan_t *s)
{
    for (size_t i = 0; i < s->n_open; i++) {
        char name[64];
        uint8_t *bytes;
        size_t size;
        snprintf(name, sizeof name, "open-%llu", (ull_t)s->open[i]);
        if (!read_file(s, name, &bytes, &size)) return false;
        bool unused = lm_raft_segment_is_zero(lm_bytes(bytes, size), 0);
        free(bytes);
        if (!unused) return false;
    }
    return true;
}

/* A truncation makes the shortened segment durable before it removes the whole one. A crash between
 * leaves both; the whole one is the truth as long as nothing was written behind the shortened. */
static bool repair_twins(scan_t *s)
{
    for (size_t i = 0; i + 1 < s->n_closed;) {
        if (s->closed[i].first != s->closed[i + 1].first) {
            i++;
            continue;
        }
        uint8_t *a, *b;
        size_t a_size, b_size;
        bool good = read_file(s, s->closed[i].name, &a, &a_size);
        if (good && !read_file(s, s->closed[i + 1].name, &b, &b_size)) good = false, b = NULL;
        if (!good) {
            free(a);
            return false;
        }
        uint64_t count = s->closed[i].end - s->closed[i].first + 1;
        bool alike = begins_like(lm_bytes(b, b_size), lm_bytes(a, a_size), count);
        free(a);
        free(b);
        if (!alike)
            return damaged(s, "%s and %s begin at the same entry and differ", s->closed[i].name,
                           s->closed[i + 1].name);
        if (!open_are_unused(s))
            return s->fault->code == LM_EXIT_SYSTEM
                       ? false
                       : damaged(s, "%s and %s begin at the same entry, and more was written",
                                 s->closed[i].name, s->closed[i + 1].name);
        if (!remove_closed(s, i, "a truncation that was not completed")) return false;
    }
    return true;
}

/* A truncation over several segments removes them from the front: a crash between leaves the later
 * ones behind a gap. The note says that they were to go. */
static bool repair_gap(scan_t *s)
{
    for (size_t i = 0; i + 1 < s->n_closed; i++) {
        uint64_t expected = s->closed[i].end + 1;
        if (s->closed[i + 1].first == expected) continue;
        bool marked = false;
        for (size_t m = 0; m < s->n_marks; m++) marked |= s->marks[m] == expected;
        if (!marked || s->closed[i + 1].first < expected || !open_are_unused(s))
            return s->fault->code == LM_EXIT_SYSTEM
                       ? false
                       : damaged(s, "%s does not follow %s: a segment is missing",
                                 s->closed[i + 1].name, s->closed[i].name);
        while (s->n_closed > i + 1)
            if (!remove_closed(s, s->n_closed - 1, "a truncation that was not completed"))
                return false;
    }
    return true;
}

static bool drop_marks(scan_t *s)
{
    for (size_t i = 0; i < s->n_marks; i++) {
        char name[64];
        snprintf(name, sizeof name, LM_RAFT_TRUNCATION_PREFIX "%llu", (ull_t)s->marks[i]);
        if (unlinkat(s->fd, name, 0) != 0) return unreadable(s, name);
    }
    return s->n_marks == 0 || fsync(s->fd) == 0 || unreadable(s, ".");
}

/* ---- term and vote --------------------------------------------------------------------------- */

typedef struct {
    uint64_t version, term, voted_for;
} vote_file_t;

static uint64_t word(const uint8_t *bytes, int which)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | bytes[which * 8 + i];
    return value;
}

static bool read_vote_file(scan_t *s, int which, vote_file_t *file)
{
    char name[16];
    uint8_t *bytes;
    size_t size;
    *file = (vote_file_t){0};
    snprintf(name, sizeof name, "metadata%d", which);
    if (!read_file(s, name, &bytes, &size)) return false;
    if (!bytes) return true;
    bool good = true;
    if (size >= 32)
        *file = (vote_file_t){
            .version = word(bytes, 1), .term = word(bytes, 2), .voted_for = word(bytes, 3)};
    /* A shorter one is from a crash while it was first made; the disk code removes it. */
    if (size > 32 || (size == 32 && (word(bytes, 0) != 1 || file->version % 2 != which % 2u ||
                                     file->version == 0 || file->term > LM_RAFT_TERM_MAX)))
        good = damaged(s, "%s is damaged", name);
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

static bool check_votes(scan_t *s, const lm_raft_identity_t *identity, lm_raft_scan_t *result)
{
    vote_file_t file[2];
    if (!read_vote_file(s, 1, &file[0]) || !read_vote_file(s, 2, &file[1])) return false;
    int newer = file[1].version > file[0].version;
    const vote_file_t *now = &file[newer], *before = &file[!newer];
    if (before->version && (before->version + 1 != now->version || before->term > now->term))
        return damaged(s, "metadata1 and metadata2 contradict each other");
    if (!known_vote(identity, now->voted_for))
        return damaged(s, "metadata%d names a vote for a server that does not exist", newer + 1);
    result->term = now->term;
    result->voted_for = now->voted_for;
    return true;
}

/* ---- open segments --------------------------------------------------------------------------- */

static bool check_open_bytes(scan_t *s, const char *name, lm_bytes_t file, lm_raft_scan_t *result)
{
    if (file.size == 0 || lm_raft_segment_is_zero(file, 0)) return true;
    if (!lm_raft_segment_has_format(file)) return damaged(s, "%s is not a segment", name);
    lm_raft_batch_t batch = lm_raft_segment_batch(file, LM_RAFT_SEGMENT_HEAD);
    while (batch.state == LM_RAFT_BATCH_GOOD) {
        result->has_log = true;
        batch = lm_raft_segment_batch(file, batch.next);
    }
    if (batch.state == LM_RAFT_BATCH_CUT)
        return damaged(s, "%s ends inside the batch that begins at byte %zu", name, batch.offset);
    if (batch.state == LM_RAFT_BATCH_END) return true;
    size_t good = lm_raft_segment_good_after(file, batch.offset);
    if (good)
        return damaged(s, "%s has a damaged batch at byte %zu before a good one at byte %zu", name,
                       batch.offset, good);
    lm_warn("%s/%s: the write at byte %zu was never completed and is left out", s->path, name,
            batch.offset);
    return true;
}

static bool check_open(scan_t *s, lm_raft_scan_t *result)
{
    for (size_t i = 0; i < s->n_open; i++) {
        char name[64];
        uint8_t *bytes;
        size_t size;
        snprintf(name, sizeof name, "open-%llu", (ull_t)s->open[i]);
        if (!read_file(s, name, &bytes, &size)) return false;
        bool good = check_open_bytes(s, name, lm_bytes(bytes, size), result);
        free(bytes);
        if (!good) return false;
    }
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool check_whole(scan_t *s, const lm_raft_identity_t *identity, lm_raft_scan_t *result)
{
    if (s->n_closed) result->has_log = true;
    if (s->n_closed && s->closed[0].first != 1)
        return damaged(s, "%s is not the beginning of the log: a segment is missing",
                       s->closed[0].name);
    bool any = result->has_log || result->term;
    if (identity->stage == LM_RAFT_EMPTY && any)
        return damaged(s, LM_RAFT_IDENTITY_FILE " is missing, but there is a log");
    if (identity->stage == LM_RAFT_STARTED && (!result->has_log || !result->term))
        return damaged(s, "%s missing, but " LM_RAFT_IDENTITY_FILE " says that this node has it",
                       result->has_log ? "metadata1 and metadata2 are" : "the log is");
    return true;
}

bool lm_raft_scan(const char *path, const lm_raft_identity_t *identity, lm_raft_scan_t *result,
                  lm_raft_fault_t *fault)
{
    scan_t s = {.path = path, .fault = fault};
    *result = (lm_raft_scan_t){0};
    s.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = s.fd >= 0 || unreadable(&s, ".");
    good = good && take_names(&s);
    /* Without a vote its log is that of a start that was not completed, and is made anew. */
    bool repaired = identity->stage == LM_RAFT_STARTED || identity->stage == LM_RAFT_EMPTY;
    if (repaired)
        good = good && repair_twins(&s) && repair_gap(&s) && drop_marks(&s) &&
               check_votes(&s, identity, result) && check_open(&s, result) &&
               check_whole(&s, identity, result);
    if (s.fd >= 0) close(s.fd);
    free(s.closed);
    free(s.open);
    free(s.marks);
    return good;
}
