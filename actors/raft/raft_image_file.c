/* The header holds 8 bytes of magic, then in 64 bits each: layout, schema of the body, index, term,
 * length of the body, state hash, checksum of the body, 1 if complete; and in its last 4 bytes the
 * checksum of the header. A descriptor is the same, with the checksum of the configuration. */
#include "raft_image_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_arena.h"
#include "core_image.h"
#include "crc.h"
#include "raft_fields.h"

#define LAYOUT 1
#define STEP_BYTES ((size_t)1 << 20)
/* Bytes after which what was written is pushed to the disk. */
#define SYNC_BYTES ((uint64_t)1 << 20)

static const char file_magic[8] = "LMIMAGE";
static const char descriptor_magic[8] = "LMSNAPSH";

typedef struct {
    const char *magic;
    uint64_t extra; /* 1: complete; in descriptors the configuration */
    const lm_raft_image_t *image;
} head_t;

static void put_head(uint8_t *bytes, size_t size, const head_t *head)
{
    const lm_raft_image_t *image = head->image;
    const uint64_t values[] = {
        LAYOUT,        LM_IMAGE_SCHEMA,   image->index,  image->term,
        image->length, image->state_hash, image->crc32c, head->extra,
    };
    memset(bytes, 0, size);
    memcpy(bytes, head->magic, 8);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        lm_raft_fields_put(bytes + 8 + 8 * i, values[i], 8);
    lm_raft_fields_put(bytes + size - 4, lm_crc32c(0, lm_bytes(bytes, size - 4)), 4);
}

/* Fills what a head says of an image. */
static bool take_head(const uint8_t *bytes, size_t size, const char *magic, lm_raft_image_t *image,
                      uint64_t *extra)
{
    uint64_t value[8];
    if (memcmp(bytes, magic, 8) != 0) return false;
    if (lm_raft_fields_get(bytes + size - 4, 4) != lm_crc32c(0, lm_bytes(bytes, size - 4)))
        return false;
    for (size_t i = 0; i < 8; i++) value[i] = lm_raft_fields_get(bytes + 8 + 8 * i, 8);
    image->index = value[2];
    image->term = value[3];
    image->length = value[4];
    image->state_hash = value[5];
    image->crc32c = (uint32_t)value[6];
    *extra = value[7];
    return value[0] == LAYOUT && value[1] == LM_IMAGE_SCHEMA;
}

static bool system_fault(lm_raft_folder_t folder, const char *name, lm_raft_fault_t *fault)
{
    return lm_raft_fault_set(fault, LM_EXIT_SYSTEM, "%s/%s: %s", folder.path, name,
                             strerror(errno));
}

static bool damage(lm_raft_folder_t folder, const char *name, const char *what,
                   lm_raft_fault_t *fault)
{
    return lm_raft_fault_set(fault, LM_EXIT_DAMAGED, "%s/%s %s", folder.path, name, what);
}

void lm_raft_image_file_name(uint64_t index, uint64_t term, char name[LM_RAFT_IMAGE_NAME_SIZE])
{
    snprintf(name, LM_RAFT_IMAGE_NAME_SIZE, LM_RAFT_IMAGE_PREFIX "%llu-%llu",
             (unsigned long long)term, (unsigned long long)index);
}

void lm_raft_image_file_part_name(uint64_t index, uint64_t term, char name[LM_RAFT_IMAGE_NAME_SIZE])
{
    snprintf(name, LM_RAFT_IMAGE_NAME_SIZE, LM_RAFT_PART_PREFIX "%llu-%llu",
             (unsigned long long)term, (unsigned long long)index);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool write_at(int fd, const uint8_t *bytes, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(fd, bytes, size, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        bytes += written;
        offset += (uint64_t)written;
        size -= (size_t)written;
    }
    return true;
}

/* Returns how many bytes there were, -1 if they cannot be read. */
static ssize_t read_at(int fd, uint8_t *bytes, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* Counts the body that is there. */
static bool count_body(int fd, uint64_t *length, uint32_t *crc32c)
{
    uint8_t *bytes = lm_alloc(STEP_BYTES);
    ssize_t got;
    *length = 0;
    *crc32c = 0;
    while ((got = read_at(fd, bytes, STEP_BYTES, LM_RAFT_IMAGE_HEAD_BYTES + *length)) > 0) {
        *crc32c = lm_crc32c(*crc32c, lm_bytes(bytes, (size_t)got));
        *length += (uint64_t)got;
    }
    free(bytes);
    return got == 0;
}

static bool write_head(int fd, const lm_raft_image_t *image, bool complete)
{
    uint8_t bytes[LM_RAFT_IMAGE_HEAD_BYTES];
    put_head(bytes, sizeof bytes,
             &(head_t){.magic = file_magic, .extra = complete, .image = image});
    return write_at(fd, bytes, sizeof bytes, 0);
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool remove_other_parts(lm_raft_folder_t folder, const char *but, lm_raft_fault_t *fault)
{
    DIR *list = opendir(folder.path);
    if (!list) return system_fault(folder, ".", fault);
    bool good = true;
    for (struct dirent *entry; good && (entry = readdir(list));) {
        const char *name = entry->d_name;
        if (strncmp(name, LM_RAFT_PART_PREFIX, strlen(LM_RAFT_PART_PREFIX)) == 0 &&
            strcmp(name, but) != 0)
            good = unlinkat(folder.fd, name, 0) == 0 || system_fault(folder, name, fault);
    }
    closedir(list);
    return good;
}

/* True if the part is one of the image that was begun with this checksum. */
static bool is_same_part(const lm_raft_image_writer_t *w, uint32_t crc32c)
{
    uint8_t bytes[LM_RAFT_IMAGE_HEAD_BYTES];
    lm_raft_image_t found;
    uint64_t complete;
    return read_at(w->fd, bytes, sizeof bytes, 0) == sizeof bytes &&
           take_head(bytes, sizeof bytes, file_magic, &found, &complete) &&
           found.index == w->index && found.term == w->term && found.crc32c == crc32c;
}

bool lm_raft_image_file_begin(lm_raft_image_writer_t *w, lm_raft_folder_t folder, uint64_t index,
                              uint64_t term, uint32_t crc32c, bool resume, lm_raft_fault_t *fault)
{
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    const lm_raft_image_t begun = {.index = index, .term = term, .crc32c = crc32c};
    lm_raft_image_file_part_name(index, term, name);
    lm_raft_image_file_drop(w, true);
    if (!remove_other_parts(folder, name, fault)) return false;
    *w = (lm_raft_image_writer_t){.folder = folder, .index = index, .term = term};
    w->fd = openat(folder.fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (w->fd < 0) return system_fault(folder, name, fault);
    bool good = true;
    if (resume && is_same_part(w, crc32c))
        good = count_body(w->fd, &w->length, &w->crc32c);
    else
        good = ftruncate(w->fd, 0) == 0 && write_head(w->fd, &begun, false);
    /* A crash that keeps the name keeps the header, or the part is begun anew. */
    good = good && fsync(w->fd) == 0 && fsync(folder.fd) == 0;
    return good || system_fault(folder, name, fault);
}

bool lm_raft_image_file_append(lm_raft_image_writer_t *w, lm_bytes_t data, lm_raft_fault_t *fault)
{
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    bool good = write_at(w->fd, data.data, data.size, LM_RAFT_IMAGE_HEAD_BYTES + w->length);
    w->length += data.size;
    w->crc32c = lm_crc32c(w->crc32c, data);
    w->unsynced += data.size;
    if (good && w->unsynced >= SYNC_BYTES) {
        w->unsynced = 0;
        good = fdatasync(w->fd) == 0;
    }
    lm_raft_image_file_part_name(w->index, w->term, name);
    return good || system_fault(w->folder, name, fault);
}

lm_raft_image_state_t lm_raft_image_file_complete(lm_raft_image_writer_t *w,
                                                  const lm_raft_image_t *image,
                                                  lm_raft_fault_t *fault)
{
    char part[LM_RAFT_IMAGE_NAME_SIZE], name[LM_RAFT_IMAGE_NAME_SIZE];
    lm_raft_image_file_part_name(w->index, w->term, part);
    lm_raft_image_file_name(image->index, image->term, name);
    if (w->fd < 0 || w->index != image->index || w->term != image->term ||
        w->length != image->length || w->crc32c != image->crc32c) {
        lm_raft_image_file_drop(w, false);
        damage(w->folder, part, "does not become the image that was stated", fault);
        return LM_RAFT_IMAGE_DAMAGED;
    }
    bool good = fdatasync(w->fd) == 0 && write_head(w->fd, image, true) && fsync(w->fd) == 0 &&
                renameat(w->folder.fd, part, w->folder.fd, name) == 0 && fsync(w->folder.fd) == 0;
    if (!good) system_fault(w->folder, part, fault);
    lm_raft_image_file_drop(w, true);
    return good ? LM_RAFT_IMAGE_GOOD : LM_RAFT_IMAGE_UNKNOWN;
}

void lm_raft_image_file_drop(lm_raft_image_writer_t *w, bool keep)
{
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    if (w->fd < 0) return;
    close(w->fd);
    w->fd = -1;
    lm_raft_image_file_part_name(w->index, w->term, name);
    if (!keep) unlinkat(w->folder.fd, name, 0);
}

/* ---- sweeping -------------------------------------------------------------------------------- */

typedef struct {
    uint64_t index, term;
} place_t;

/* Takes term and index from a name that begins like this and ends like that behind them. */
static bool is_named(const char *name, const char *prefix, place_t *place)
{
    unsigned long long term, index;
    int taken = 0;
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) != 0 ||
        sscanf(name + size, "%20llu-%20llu%n", &term, &index, &taken) != 2 || taken == 0)
        return false;
    *place = (place_t){.index = index, .term = term};
    return name[size + (size_t)taken] == 0 || name[size + (size_t)taken] == '-';
}

static size_t list_places(lm_raft_folder_t folder, const char *prefix, place_t **places)
{
    size_t n = 0;
    place_t place;
    DIR *list = opendir(folder.path);
    *places = NULL;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (!is_named(entry->d_name, prefix, &place)) continue;
        *places = lm_realloc(*places, (n + 1) * sizeof **places);
        (*places)[n++] = place;
    }
    if (list) closedir(list);
    return n;
}

bool lm_raft_image_file_sweep(lm_raft_folder_t folder, lm_raft_fault_t *fault)
{
    place_t *images, *snapshots;
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    size_t n_images = list_places(folder, LM_RAFT_IMAGE_PREFIX, &images);
    size_t n_snapshots = list_places(folder, "snapshot-", &snapshots);
    bool good = n_snapshots > 0 || system_fault(folder, ".", fault);
    for (size_t i = 0; good && i < n_images; i++) {
        bool named = false;
        for (size_t k = 0; k < n_snapshots; k++)
            named |= images[i].index == snapshots[k].index && images[i].term == snapshots[k].term;
        lm_raft_image_file_name(images[i].index, images[i].term, name);
        if (!named) good = unlinkat(folder.fd, name, 0) == 0 || system_fault(folder, name, fault);
    }
    free(images);
    free(snapshots);
    return good;
}

/* ---- reading --------------------------------------------------------------------------------- */

static lm_raft_image_state_t unknown(lm_raft_folder_t folder, const char *name,
                                     lm_raft_fault_t *fault)
{
    system_fault(folder, name, fault);
    return LM_RAFT_IMAGE_UNKNOWN;
}

static lm_raft_image_state_t check_open(int fd, const lm_raft_image_t *image, bool whole,
                                        lm_raft_folder_t folder, lm_raft_fault_t *fault)
{
    uint8_t bytes[LM_RAFT_IMAGE_HEAD_BYTES];
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    lm_raft_image_t found;
    struct stat about;
    uint64_t complete, length = image->length;
    uint32_t crc32c = image->crc32c;
    lm_raft_image_file_name(image->index, image->term, name);
    ssize_t got = read_at(fd, bytes, sizeof bytes, 0);
    if (got < 0 || fstat(fd, &about) != 0) return unknown(folder, name, fault);
    const char *wrong = NULL;
    if (got < (ssize_t)sizeof bytes ||
        !take_head(bytes, sizeof bytes, file_magic, &found, &complete) || complete != 1)
        wrong = "is damaged: its header is not one of an image";
    else if (found.index != image->index || found.term != image->term ||
             found.length != image->length || found.crc32c != image->crc32c ||
             found.state_hash != image->state_hash)
        wrong = "is damaged: it is not the image that its snapshot names";
    else if ((uint64_t)about.st_size != LM_RAFT_IMAGE_HEAD_BYTES + image->length)
        wrong = "is damaged: its length is not the one in its header";
    else if (whole && !count_body(fd, &length, &crc32c))
        return unknown(folder, name, fault);
    else if (length != image->length || crc32c != image->crc32c)
        wrong = "is damaged: its checksum is not the one in its header";
    if (wrong) damage(folder, name, wrong, fault);
    return wrong ? LM_RAFT_IMAGE_DAMAGED : LM_RAFT_IMAGE_GOOD;
}

lm_raft_image_state_t lm_raft_image_file_check(lm_raft_folder_t folder,
                                               const lm_raft_image_t *image, bool whole,
                                               lm_raft_fault_t *fault)
{
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    lm_raft_image_file_name(image->index, image->term, name);
    int fd = openat(folder.fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) return unknown(folder, name, fault);
    if (fd < 0) {
        damage(folder, name, "is missing, but there is a snapshot that names it", fault);
        return LM_RAFT_IMAGE_DAMAGED;
    }
    lm_raft_image_state_t state = check_open(fd, image, whole, folder, fault);
    close(fd);
    return state;
}

int lm_raft_image_file_open(lm_raft_folder_t folder, uint64_t index, uint64_t term,
                            uint64_t *length)
{
    uint8_t bytes[LM_RAFT_IMAGE_HEAD_BYTES];
    char name[LM_RAFT_IMAGE_NAME_SIZE];
    lm_raft_image_t found;
    uint64_t complete;
    lm_raft_image_file_name(index, term, name);
    int fd = openat(folder.fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    if (read_at(fd, bytes, sizeof bytes, 0) == sizeof bytes &&
        take_head(bytes, sizeof bytes, file_magic, &found, &complete) && complete == 1 &&
        found.index == index && found.term == term) {
        *length = found.length;
        return fd;
    }
    close(fd);
    return -1;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static uint64_t configuration_sum(const lm_raft_image_t *image)
{
    uint8_t index[8];
    lm_raft_fields_put(index, image->configuration_index, sizeof index);
    uint32_t sum = lm_crc32c(0, lm_bytes(index, sizeof index));
    return lm_crc32c(sum, lm_bytes(image->configuration, image->configuration_size));
}

void lm_raft_image_file_describe(const lm_raft_image_t *image,
                                 uint8_t bytes[LM_RAFT_DESCRIPTOR_BYTES])
{
    put_head(
        bytes, LM_RAFT_DESCRIPTOR_BYTES,
        &(head_t){.magic = descriptor_magic, .extra = configuration_sum(image), .image = image});
}

bool lm_raft_image_file_read_descriptor(lm_bytes_t bytes, lm_raft_image_t *image)
{
    lm_raft_image_t found = *image;
    uint64_t sum;
    if (bytes.size != LM_RAFT_DESCRIPTOR_BYTES ||
        !take_head(bytes.data, bytes.size, descriptor_magic, &found, &sum))
        return false;
    if (found.index != image->index || found.term != image->term) return false;
    if (sum != configuration_sum(image)) return false;
    *image = found;
    return true;
}
