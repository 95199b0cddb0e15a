/* What the room wants from a disk, and how it hears of it.
 *
 * Commands are carried out in the order given. Each but truncate, forget_loss and image_drop ends
 * with one report, an lm_raft_done_t that is put into the room's inlet; after a FAILED there is
 * none any more. Reports of images may come later than those of entries and metadata given after
 * them, but in their own order; image_read is answered in its own time.
 *
 * An image is the lock's state behind one entry, as a file: a header and the body, which is opaque
 * here. One is written at a time. It becomes the node's snapshot with image_finish, and only then
 * does the log lose its beginning. The two newest are kept.
 *
 * Invariants
 *   K1  A report means that everything its command asked for is on stable storage.
 *   K2  Nothing that failed is tried again: the first failure is the last report.
 *   K4  Before a report of APPENDED the watermark names the last entry (S19); before a truncation
 *       or an installation touches the log it has been lowered durably.
 *   K5  An image whose length or checksum is not the stated one never becomes a snapshot.
 *   K3  Memory of entries that are being appended belongs to the room and stays until the report.
 */
#ifndef LM_RAFT_DISK_H
#define LM_RAFT_DISK_H

#include "raft_fault.h"
#include "raft_identity.h"
#include "raft_log.h"

typedef enum {
    LM_RAFT_DONE_OPENED,        /* open: identity is what was found */
    LM_RAFT_DONE_IDENTITY,      /* save_identity */
    LM_RAFT_DONE_LOADED,        /* load: term, voted_for, image, first_index, entries, lost_index */
    LM_RAFT_DONE_METADATA,      /* set_metadata */
    LM_RAFT_DONE_APPENDED,      /* append: number */
    LM_RAFT_DONE_IMAGE_BEGUN,   /* image_begin: number is how many bytes of the body are there, and
                                   image.crc32c their checksum */
    LM_RAFT_DONE_IMAGE_WRITTEN, /* image_write: number is the offset behind the bytes */
    LM_RAFT_DONE_IMAGE_FINISHED, /* image_finish: image; it is the snapshot now */
    LM_RAFT_DONE_IMAGE_BAD,      /* image_finish: the body is not the one stated; it is removed */
    LM_RAFT_DONE_IMAGE_DATA,     /* image_read: number, offset, data, last; no data: it is gone */
    LM_RAFT_DONE_FAILED,         /* fault */
} lm_raft_done_kind_t;

typedef struct {
    uint64_t term;
    uint32_t type;
    lm_bytes_t data;
    lm_raft_buffer_t *buffer; /* of loaded entries: the reference is the receiver's */
} lm_raft_entry_t;

/** A snapshot: an image, and the configuration that was in force behind its entry. */
typedef struct {
    uint64_t index, term; /* 0: there is none */
    uint64_t length;      /* of the body */
    uint32_t crc32c;      /* of the body */
    uint64_t state_hash;
    uint64_t configuration_index;
    /* Encoded as in the log. Configurations are small: 15 servers of long names fit. */
    uint32_t configuration_size;
    uint8_t configuration[LM_RAFT_CONFIGURATION_BYTES];
} lm_raft_image_t;

typedef struct {
    lm_raft_done_kind_t kind;
    uint64_t number;
    lm_raft_identity_t identity;
    uint64_t term, voted_for;
    lm_raft_entry_t *entries; /* freed with free */
    size_t n_entries;
    lm_raft_image_t image;
    /* Of entries; at most image.index + 1, and just that if there are none or if those that were
     * there do not follow from the image's entry: an installation was cut short. */
    uint64_t first_index;
    /* Not 0: the log ends before this entry, which this node once acknowledged (S19). */
    uint64_t lost_index;
    uint64_t offset;
    uint8_t *data; /* freed with free */
    size_t data_size;
    bool last;
    lm_raft_fault_t fault;
} lm_raft_done_t;

/** Frees a report with the entries and references in it. */
void lm_raft_done_destroy(lm_raft_done_t **done);

typedef struct lm_raft_disk lm_raft_disk_t;
struct lm_raft_disk {
    /** Locks the directory, reads the identity, scans. region and node are copied. */
    void (*open)(lm_raft_disk_t *disk, const char *path, const char *region, const char *node);
    void (*save_identity)(lm_raft_disk_t *disk, const lm_raft_identity_t *identity);
    /** Reads the log. If bootstrap, its first entry, the configuration of the identity's servers as
     *  voters, is written before, over whatever an uncompleted start has left. */
    void (*load)(lm_raft_disk_t *disk, const lm_raft_identity_t *identity, bool bootstrap);
    /** Makes term and vote durable, the term first. */
    void (*set_metadata)(lm_raft_disk_t *disk, uint64_t term, uint64_t voted_for);
    /** Removes entries from index on; durable before the next append is reported. */
    void (*truncate)(lm_raft_disk_t *disk, uint64_t index);
    /** Appends n entries behind the last; the array is copied, their memory is not. */
    void (*append)(lm_raft_disk_t *disk, uint64_t number, const lm_raft_entry_t *entries, size_t n);
    /** The loss that LOADED told of is made good: what was acknowledged is here again. Until then
     *  each load tells of it anew, whatever is truncated, appended or installed. */
    void (*forget_loss)(lm_raft_disk_t *disk);

    /** Begins to write the image of that entry, in the place of any that was begun. If resume, what
     *  is already there of an image of the same entry that was begun with the same crc32c is kept,
     *  else it begins empty. crc32c is that of the whole body, 0 while nobody knows it. */
    void (*image_begin)(lm_raft_disk_t *disk, uint64_t index, uint64_t term, uint32_t crc32c,
                        bool resume);
    /** Appends to the body begun; the bytes are copied. offset is how many are there already. It is
     *  image_finish that makes them durable. */
    void (*image_write)(lm_raft_disk_t *disk, uint64_t offset, lm_bytes_t data);
    /** Checks the body begun against image, completes and syncs the file, makes it the snapshot,
     *  and removes what of the log lies more than trailing entries before it; trailing 0: this
     *  is an installation, all entries are removed and the next one appended is the one behind
     *  it. Older images go when no kept snapshot names them. image's entry is committed: from
     *  here on, and also after a crash amid this, nothing up to it is truncated or replaced by
     *  another entry. */
    void (*image_finish)(lm_raft_disk_t *disk, const lm_raft_image_t *image, uint32_t trailing);
    /** Gives up the image begun. keep: what was written may be resumed, also after a restart. */
    void (*image_drop)(lm_raft_disk_t *disk, bool keep);
    /** Reads up to bytes_max of the body of a snapshot's image, from offset on. number comes
     *  back in the report. */
    void (*image_read)(lm_raft_disk_t *disk, uint64_t number, uint64_t index, uint64_t term,
                       uint64_t offset, size_t bytes_max);
};

#endif
