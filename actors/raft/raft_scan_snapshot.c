/* A snapshot of the engine's is two files: the meta file with the configuration, and the data file,
 * which here describes the image. The names carry term and index.
 *
 * What a crash leaves: one of the two files without the other; an image before its snapshot was
 * made or after it went; parts. Half of a snapshot of this node's own is behind a log that reaches
 * back to the one before it. Half of one that was being installed may be behind a log that is empty
 * since the last installation: the note of the installation tells that nothing was given up yet. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_log.h"
#include "crc.h"
#include "raft_fields.h"
#include "raft_image_file.h"
#include "raft_messages.h"
#include "raft_scan_state.h"

#define META_HEAD 32
#define NAME_SIZE 96

typedef unsigned long long ull_t;

static void data_name(const lm_raft_place_t *place, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "snapshot-%llu-%llu-%llu", (ull_t)place->term, (ull_t)place->index,
             (ull_t)place->stamp);
}

static void meta_name(const lm_raft_place_t *place, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "snapshot-%llu-%llu-%llu.meta", (ull_t)place->term,
             (ull_t)place->index, (ull_t)place->stamp);
}

static int compare(const lm_raft_place_t *a, const lm_raft_place_t *b)
{
    if (a->term != b->term) return a->term < b->term ? -1 : 1;
    if (a->index != b->index) return a->index < b->index ? -1 : 1;
    return a->stamp < b->stamp ? -1 : a->stamp > b->stamp;
}

static int newest_first(const void *left, const void *right) { return compare(right, left); }

static void sort(lm_raft_places_t *places)
{
    if (places->n) qsort(places->at, places->n, sizeof *places->at, newest_first);
}

/* ---- one snapshot ---------------------------------------------------------------------------- */

/* Takes the configuration from a meta file. */
static bool take_meta(lm_bytes_t file, lm_raft_image_t *image)
{
    if (file.size <= META_HEAD || file.size - META_HEAD > sizeof image->configuration) return false;
    lm_bytes_t configuration = lm_bytes(file.data + META_HEAD, file.size - META_HEAD);
    uint32_t sum = lm_crc32_msb(0, lm_bytes(file.data + 16, 16));
    if (lm_raft_fields_get(file.data, 8) != 1 ||
        lm_raft_fields_get(file.data + 8, 8) != lm_crc32_msb(sum, configuration) ||
        lm_raft_fields_get(file.data + 24, 8) != configuration.size ||
        !lm_raft_messages_is_configuration(configuration))
        return false;
    image->configuration_index = lm_raft_fields_get(file.data + 16, 8);
    image->configuration_size = (uint32_t)configuration.size;
    memcpy(image->configuration, configuration.data, configuration.size);
    return true;
}

static bool read_snapshot(lm_raft_scan_state_t *s, const lm_raft_place_t *place,
                          lm_raft_image_t *image, bool *good)
{
    char name[NAME_SIZE];
    uint8_t *bytes;
    size_t size;
    meta_name(place, name);
    if (!lm_raft_scan_read(s, name, &bytes, &size)) return false;
    *good = take_meta(lm_bytes(bytes, size), image);
    free(bytes);
    if (!*good) {
        lm_raft_scan_damaged(s, "%s is damaged", name);
        return true;
    }
    data_name(place, name);
    if (!lm_raft_scan_read(s, name, &bytes, &size)) return false;
    *good = lm_raft_image_file_read_descriptor(lm_bytes(bytes, size), image);
    if (!*good) lm_raft_scan_damaged(s, "%s does not describe the image", name);
    free(bytes);
    return true;
}

/* GOOD, DAMAGED with a fault that may be forgotten, or UNKNOWN. */
static lm_raft_image_state_t check(lm_raft_scan_state_t *s, const lm_raft_place_t *place,
                                   bool whole, lm_raft_image_t *image)
{
    char name[NAME_SIZE], other[NAME_SIZE];
    bool good = false;
    *image = (lm_raft_image_t){.index = place->index, .term = place->term};
    data_name(place, place->has_data ? other : name);
    meta_name(place, place->has_data ? name : other);
    if (!place->has_data || !place->has_meta) {
        lm_raft_scan_damaged(s, "%s is missing, but there is %s", name, other);
        return LM_RAFT_IMAGE_DAMAGED;
    }
    if (!read_snapshot(s, place, image, &good)) return LM_RAFT_IMAGE_UNKNOWN;
    if (!good) return LM_RAFT_IMAGE_DAMAGED;
    return lm_raft_image_file_check(s->folder, image, whole, s->fault);
}

/* True if it is half of a snapshot that was being installed when the node ended. */
static bool was_being_installed(const lm_raft_scan_state_t *s, const lm_raft_place_t *place)
{
    if (place->has_data && place->has_meta) return false;
    for (size_t i = 0; i < s->installations.n; i++) {
        const lm_raft_place_t *note = &s->installations.at[i];
        if (note->term == place->term && note->index == place->index) return true;
    }
    return false;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool remove_snapshot(lm_raft_scan_state_t *s, lm_raft_place_t *place, const char *why)
{
    char name[NAME_SIZE];
    bool good = true;
    data_name(place, name);
    if (place->has_data) good = lm_raft_scan_remove(s, name, why);
    meta_name(place, name);
    if (place->has_meta) good = good && lm_raft_scan_remove(s, name, why);
    lm_raft_image_file_name(place->index, place->term, name);
    place->stamp = UINT64_MAX; /* it does not name its image any more */
    return good;
}

/* True if there are entries from the one behind index on, in segments that say so. */
static bool log_reaches_back_to(const lm_raft_scan_state_t *s, uint64_t index)
{
    return s->n_closed > 0 && s->closed[0].first <= index + 1;
}

/* Removes what is damaged. It was needed if it is newer than what is whole, and the log does not
 * reach back to that. */
static bool remove_damaged(lm_raft_scan_state_t *s, const bool *damaged,
                           const lm_raft_fault_t *first)
{
    if (first->code && !log_reaches_back_to(s, s->result->image.index)) {
        *s->fault = *first;
        return false;
    }
    bool any = false;
    for (size_t i = 0; i < s->snapshots.n; i++) {
        if (!damaged[i]) continue;
        any = true;
        if (!remove_snapshot(s, &s->snapshots.at[i], "it is no whole snapshot, and not needed"))
            return false;
    }
    return !any || lm_raft_scan_sync(s);
}

static bool choose(lm_raft_scan_state_t *s)
{
    size_t n = s->snapshots.n, chosen = n;
    bool damaged[64] = {0};
    lm_raft_fault_t first = {0};
    lm_raft_image_t image;
    if (n > 64) return lm_raft_scan_damaged(s, "snapshot-* are more than anybody makes");
    for (size_t i = 0; i < n; i++) {
        *s->fault = (lm_raft_fault_t){0};
        lm_raft_image_state_t state = check(s, &s->snapshots.at[i], chosen == n, &image);
        if (state == LM_RAFT_IMAGE_UNKNOWN) return false;
        damaged[i] = state == LM_RAFT_IMAGE_DAMAGED;
        if (damaged[i]) lm_warn("%s", s->fault->words);
        if (damaged[i] && !first.code && chosen == n &&
            !was_being_installed(s, &s->snapshots.at[i]))
            first = *s->fault;
        if (!damaged[i] && chosen == n) {
            chosen = i;
            s->result->image = image;
        }
    }
    *s->fault = (lm_raft_fault_t){0};
    return remove_damaged(s, damaged, &first);
}

/* ---- images ---------------------------------------------------------------------------------- */

static bool is_named(const lm_raft_scan_state_t *s, const lm_raft_place_t *image)
{
    for (size_t i = 0; i < s->snapshots.n; i++) {
        const lm_raft_place_t *snapshot = &s->snapshots.at[i];
        if (snapshot->stamp != UINT64_MAX && snapshot->term == image->term &&
            snapshot->index == image->index)
            return true;
    }
    return false;
}

static bool is_newer(const lm_raft_scan_state_t *s, const lm_raft_place_t *place)
{
    const lm_raft_image_t *image = &s->result->image;
    return place->term > image->term || (place->term == image->term && place->index > image->index);
}

/* An image that is not yet a snapshot is a part that is complete. */
static bool make_part(lm_raft_scan_state_t *s, const lm_raft_place_t *place)
{
    char name[NAME_SIZE], part[NAME_SIZE];
    lm_raft_image_file_name(place->index, place->term, name);
    lm_raft_image_file_part_name(place->index, place->term, part);
    if (renameat(s->folder.fd, name, s->folder.fd, part) != 0)
        return lm_raft_scan_unreadable(s, name);
    return true;
}

/* One part, the newest, stays to be gone on with. */
static bool tidy_images(lm_raft_scan_state_t *s)
{
    char name[NAME_SIZE];
    bool kept = false, good = true;
    for (size_t i = 0; good && i < s->images.n; i++) {
        const lm_raft_place_t *place = &s->images.at[i];
        if (is_named(s, place)) continue;
        lm_raft_image_file_name(place->index, place->term, name);
        bool keep =
            !kept && is_newer(s, place) && (s->parts.n == 0 || compare(place, &s->parts.at[0]) > 0);
        kept |= keep;
        good = keep ? make_part(s, place) : lm_raft_scan_remove(s, name, "no snapshot names it");
    }
    for (size_t i = 0; good && i < s->parts.n; i++) {
        const lm_raft_place_t *place = &s->parts.at[i];
        if (!kept && is_newer(s, place)) {
            kept = true;
            continue;
        }
        lm_raft_image_file_part_name(place->index, place->term, name);
        good = lm_raft_scan_remove(s, name, "there is something newer");
    }
    return good && (s->images.n + s->parts.n == 0 || lm_raft_scan_sync(s));
}

bool lm_raft_scan_snapshots(lm_raft_scan_state_t *s)
{
    sort(&s->snapshots);
    sort(&s->images);
    sort(&s->parts);
    return choose(s) && tidy_images(s);
}
