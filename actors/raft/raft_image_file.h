/* Images as files: one block of header, then the body.
 *
 * One that is being written has another name than one that is complete. The engine's snapshot of
 * the same entry holds nothing but a descriptor of the file.
 *
 * Invariants
 *   G1  A file with the name of a complete image was whole and on stable storage when it got it.
 *   G2  Whatever bytes a file has: it is the image that the descriptor names, or it is called
 *       damaged. A part is worth no more than its checksum at the end.
 *   G3  Never much of an image waits in memory to be written: a synchronous write of the log, which
 *       may have to wait for it, comes next soon.
 */
#ifndef LM_RAFT_IMAGE_FILE_H
#define LM_RAFT_IMAGE_FILE_H

#include "raft_datadir.h"
#include "raft_disk.h"

#define LM_RAFT_IMAGE_PREFIX "image-"
#define LM_RAFT_PART_PREFIX "image.part-"
#define LM_RAFT_IMAGE_HEAD_BYTES 4096
#define LM_RAFT_IMAGE_NAME_SIZE 64
#define LM_RAFT_DESCRIPTOR_BYTES 128

typedef struct {
    lm_raft_folder_t folder;
    int fd; /* -1: none is being written */
    uint64_t index, term;
    uint64_t length; /* of the body so far, and its checksum */
    uint32_t crc32c;
    uint64_t unsynced;
} lm_raft_image_writer_t;

typedef enum {
    LM_RAFT_IMAGE_GOOD,
    LM_RAFT_IMAGE_DAMAGED, /* or not there; fault says what is wrong */
    LM_RAFT_IMAGE_UNKNOWN, /* cannot be read or written; fault says why */
} lm_raft_image_state_t;

/** Names of a complete image and of one that is being written. */
void lm_raft_image_file_name(uint64_t index, uint64_t term, char name[LM_RAFT_IMAGE_NAME_SIZE]);
void lm_raft_image_file_part_name(uint64_t index, uint64_t term,
                                  char name[LM_RAFT_IMAGE_NAME_SIZE]);

/** Begins an image, and removes other parts. With resume, goes on behind what is there of one that
 *  was begun with the same crc32c; reads that through. False with a fault: SYSTEM. */
bool lm_raft_image_file_begin(lm_raft_image_writer_t *writer, lm_raft_folder_t folder,
                              uint64_t index, uint64_t term, uint32_t crc32c, bool resume,
                              lm_raft_fault_t *fault);
/** Appends to the body. */
bool lm_raft_image_file_append(lm_raft_image_writer_t *writer, lm_bytes_t data,
                               lm_raft_fault_t *fault);
/** Ends the writing. GOOD: the file is complete, durable and has its name. DAMAGED: the body is not
 *  the one stated, and the part is removed; so it is if none had been begun. */
lm_raft_image_state_t lm_raft_image_file_complete(lm_raft_image_writer_t *writer,
                                                  const lm_raft_image_t *image,
                                                  lm_raft_fault_t *fault);
/** Ends the writing without an image; the part stays if keep. */
void lm_raft_image_file_drop(lm_raft_image_writer_t *writer, bool keep);

/** Removes complete images that no snapshot of the engine's names any more. */
bool lm_raft_image_file_sweep(lm_raft_folder_t folder, lm_raft_fault_t *fault);

/** Compares the file with what image says of it: its header and its length; if whole, also the
 *  checksum of its body. */
lm_raft_image_state_t lm_raft_image_file_check(lm_raft_folder_t folder,
                                               const lm_raft_image_t *image, bool whole,
                                               lm_raft_fault_t *fault);
/** Opens a complete image for reading. Returns its descriptor and the length of its body; -1 if it
 *  is not there or not whole. */
int lm_raft_image_file_open(lm_raft_folder_t folder, uint64_t index, uint64_t term,
                            uint64_t *length);

/** What the engine's snapshot file holds: all of image. */
void lm_raft_image_file_describe(const lm_raft_image_t *image,
                                 uint8_t bytes[LM_RAFT_DESCRIPTOR_BYTES]);
/** Reads a descriptor. image has its configuration already, and it must be the one described. False
 *  if the bytes are no descriptor, or one of another image. */
bool lm_raft_image_file_read_descriptor(lm_bytes_t bytes, lm_raft_image_t *image);

#endif
