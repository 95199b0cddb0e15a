/* The driver of the consensus engine: order of its duties, and the amendments to what it says. */
#include "raft_engine.h"

#include <criterion/criterion.h>
#include <raft.h>
#include <stdlib.h>

#include "base_arena.h"
#include "raft_framed.h"
#include "raft_messages.h"

enum { ME = 11, SECOND = 22, THIRD = 33, SENT_MAX = 64 };

typedef struct {
    uint64_t to;
    lm_peer_frame_t frame;
    lm_raft_log_t *unused;
    lm_peer_request_vote_t request_vote;
    lm_peer_request_vote_result_t vote_result;
    lm_peer_append_entries_t append;
    lm_peer_append_entries_result_t append_result;
} sent_t;

static struct {
    lm_raft_disk_t disk;
    lm_raft_engine_t *engine;
    uint64_t now_us;
    sent_t sent[SENT_MAX];
    int n_sent;
    int metadata, appends, truncates;
    uint64_t term, vote, last_append;
} t;

static void set_metadata(lm_raft_disk_t *disk, uint64_t term, uint64_t vote)
{
    (void)disk;
    t.metadata++;
    t.term = term;
    t.vote = vote;
}

static void truncate_disk(lm_raft_disk_t *disk, uint64_t index)
{
    (void)disk, (void)index;
    t.truncates++;
}

static void append(lm_raft_disk_t *disk, uint64_t number, const lm_raft_entry_t *entries, size_t n)
{
    (void)disk, (void)entries, (void)n;
    t.appends++;
    t.last_append = number;
}

static void note_sent(void *arg, uint64_t to, lm_peer_frame_t *frame)
{
    (void)arg;
    cr_assert_lt(t.n_sent, SENT_MAX);
    sent_t *sent = &t.sent[t.n_sent++];
    *sent = (sent_t){.to = to, .frame = *frame};
    if (frame->body_case == LM_PEER_FRAME_BODY_REQUEST_VOTE)
        sent->request_vote = *frame->request_vote;
    if (frame->body_case == LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT)
        sent->vote_result = *frame->request_vote_result;
    if (frame->body_case == LM_PEER_FRAME_BODY_APPEND_ENTRIES)
        sent->append = *frame->append_entries;
    if (frame->body_case == LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT)
        sent->append_result = *frame->append_entries_result;
}

static sent_t *last_sent(int32_t body_case)
{
    for (int i = t.n_sent; i > 0; i--)
        if (t.sent[i - 1].frame.body_case == body_case) return &t.sent[i - 1];
    return NULL;
}

static lm_raft_identity_t identity(void)
{
    lm_raft_identity_t who = {
        .stage = LM_RAFT_STARTED, .region = "r", .node = "n1", .n_servers = 3};
    static const uint64_t ids[] = {ME, SECOND, THIRD};
    for (int i = 0; i < 3; i++) {
        who.servers[i].id = ids[i];
        snprintf(who.servers[i].name, sizeof who.servers[i].name, "n%d", i + 1);
    }
    return who;
}

static lm_bytes_t configuration(void)
{
    struct raft_configuration c;
    struct raft_buffer bytes;
    raft_configuration_init(&c);
    raft_configuration_add(&c, ME, "n1", RAFT_VOTER);
    raft_configuration_add(&c, SECOND, "n2", RAFT_VOTER);
    raft_configuration_add(&c, THIRD, "n3", RAFT_VOTER);
    raft_configuration_encode(&c, &bytes);
    raft_configuration_close(&c);
    return lm_bytes(bytes.base, bytes.len);
}

static lm_raft_image_t image_at(uint64_t index, uint64_t term)
{
    lm_raft_image_t image = {.index = index, .term = term, .length = 1, .configuration_index = 1};
    lm_bytes_t bytes = configuration();
    image.configuration_size = (uint32_t)bytes.size;
    memcpy(image.configuration, bytes.data, bytes.size);
    raft_free((void *)(uintptr_t)bytes.data);
    return image;
}

/* An engine in that term that has read a snapshot of an entry of term 1, unless its index is 0, and
 * entries from first on: the configuration, if that is entry 1, and others of term 1. */
static void begin_in_term(uint64_t term, uint64_t snapshot, uint64_t first_index, size_t n)
{
    static const uint8_t data[8] = "entry..";
    lm_raft_identity_t who = identity();
    lm_bytes_t first = configuration();
    lm_raft_buffer_t *buffer = lm_raft_buffer_adopt((void *)(uintptr_t)first.data, free);
    lm_raft_entry_t entries[32] = {{1, LM_RAFT_CHANGE, first, buffer}};
    for (size_t i = first_index == 1; i < n; i++)
        entries[i] = (lm_raft_entry_t){1, LM_RAFT_COMMAND, lm_bytes(data, 8), buffer};
    lm_raft_done_t loaded = {
        .term = term, .first_index = first_index, .entries = entries, .n_entries = n};
    if (snapshot) loaded.image = image_at(snapshot, 1);
    memset(&t, 0, sizeof t);
    t.now_us = 1000000;
    t.disk.set_metadata = set_metadata;
    t.disk.truncate = truncate_disk;
    t.disk.append = append;
    lm_raft_engine_options_t options = {.disk = &t.disk,
                                        .send = note_sent,
                                        .election_timeout_ms = 150,
                                        .heartbeat_ms = 50,
                                        .seed = 7,
                                        .trailing_entries = 4,
                                        .log_bytes_max = LM_RAFT_LOG_BYTES_MAX};
    t.engine = lm_raft_engine_new(&options, &who);
    lm_raft_engine_start(t.engine, &loaded, t.now_us);
    lm_raft_engine_may_campaign(t.engine, true);
    lm_raft_buffer_drop(&buffer);
}

static void begin_behind(uint64_t snapshot, uint64_t first_index, size_t n)
{
    begin_in_term(2, snapshot, first_index, n);
}

/* The configuration and n entries of term 1. */
static void begin(size_t n) { begin_behind(0, 1, n + 1); }

static void metadata_done(void)
{
    lm_raft_done_t done = {.kind = LM_RAFT_DONE_METADATA};
    lm_raft_engine_done(t.engine, &done, t.now_us);
}

static void append_done(uint64_t number)
{
    lm_raft_done_t done = {.kind = LM_RAFT_DONE_APPENDED, .number = number};
    lm_raft_engine_done(t.engine, &done, t.now_us);
}

static bool receive_vote(uint64_t from, uint64_t term, bool pre_vote, uint64_t last_index)
{
    lm_peer_request_vote_t body = {.version = 2,
                                   .term = term,
                                   .candidate_id = from,
                                   .last_log_index = last_index,
                                   .last_log_term = 1,
                                   .pre_vote = pre_vote};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE, .request_vote = &body};
    return lm_raft_engine_receive(t.engine, from, &frame, t.now_us);
}

static bool receive_entries(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
                            uint64_t entry_term, size_t n, uint64_t commit)
{
    lm_peer_entry_t entries[8] = {0};
    for (size_t i = 0; i < n; i++)
        entries[i] = (lm_peer_entry_t){
            .term = entry_term, .type = LM_RAFT_COMMAND, .data = lm_bytes(RAFT_FRAMED, 8)};
    lm_peer_append_entries_t body = {.term = term,
                                     .prev_log_index = prev,
                                     .prev_log_term = prev_term,
                                     .leader_commit = commit,
                                     .n_entries = n,
                                     .entries = entries};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES,
                             .append_entries = &body};
    return lm_raft_engine_receive(t.engine, from, &frame, t.now_us);
}

static uint64_t first_index(void) { return lm_raft_log_first_index(lm_raft_engine_log(t.engine)); }
static uint64_t last_index(void) { return lm_raft_log_last_index(lm_raft_engine_log(t.engine)); }

static void finish(void) { lm_raft_engine_destroy(&t.engine); }

Test(raft_engine, a_vote_is_sent_only_when_it_is_durable)
{
    begin(3);
    cr_assert(receive_vote(SECOND, 5, false, 9));
    cr_assert_eq(t.metadata, 1);
    cr_assert_eq(t.term, 5);
    cr_assert_eq(t.vote, SECOND);
    cr_assert_eq(t.n_sent, 0, "nothing leaves before");
    cr_assert_eq(lm_raft_engine_term(t.engine), 2, "and nobody hears of it");
    cr_assert(receive_vote(THIRD, 5, false, 9));
    cr_assert_eq(t.n_sent, 0, "what comes meanwhile waits");
    metadata_done();
    cr_assert_eq(t.n_sent, 2);
    cr_assert(t.sent[0].to == SECOND && t.sent[0].vote_result.vote_granted);
    cr_assert(t.sent[1].to == THIRD && !t.sent[1].vote_result.vote_granted);
    finish();
}

Test(raft_engine, a_vote_that_is_asked_for_again_is_not_written_again)
{
    begin(3);
    receive_vote(SECOND, 5, false, 9);
    metadata_done();
    receive_vote(SECOND, 5, false, 9);
    cr_assert_eq(t.metadata, 1, "writing the term anew would take the vote away for a moment");
    cr_assert_eq(t.n_sent, 2);
    cr_assert(t.sent[1].vote_result.vote_granted);
    finish();
}

Test(raft_engine, a_refused_pre_vote_carries_the_refusers_term)
{
    begin(9);
    receive_vote(SECOND, 5, false, 20);
    metadata_done();
    receive_vote(THIRD, 3, true, 1);
    sent_t *sent = last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT);
    cr_assert(sent->to == THIRD && !sent->vote_result.vote_granted && sent->vote_result.pre_vote);
    cr_assert_eq(sent->vote_result.term, 5);
    finish();
}

Test(raft_engine, a_refused_append_carries_a_hint_that_skips_what_is_known)
{
    begin(9);
    receive_entries(SECOND, 3, 4, 1, 3, 0, 4);
    metadata_done();
    cr_assert_eq(lm_raft_engine_commit(t.engine), 4);
    receive_entries(SECOND, 3, 8, 2, 3, 1, 4);
    sent_t *sent = last_sent(LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT);
    cr_assert_eq(sent->append_result.rejected, 8);
    cr_assert_eq(sent->append_result.last_log_index, 4, "not 7");
    receive_entries(SECOND, 3, 20, 3, 3, 1, 4);
    sent = last_sent(LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT);
    cr_assert_eq(sent->append_result.last_log_index, 10, "the end of the log");
    finish();
}

Test(raft_engine, the_commit_index_never_goes_back)
{
    begin(9);
    receive_entries(SECOND, 3, 9, 1, 3, 0, 8);
    metadata_done();
    cr_assert_eq(lm_raft_engine_commit(t.engine), 8);
    receive_entries(SECOND, 3, 2, 1, 3, 0, 9);
    cr_assert_eq(lm_raft_engine_commit(t.engine), 8);
    receive_entries(SECOND, 3, 10, 1, 3, 0, 9);
    cr_assert_eq(lm_raft_engine_commit(t.engine), 9);
    finish();
}

Test(raft_engine, a_leaders_commit_index_is_not_taken_for_entries_that_it_did_not_check)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};
    message.append_entries.prev_log_index = 2;
    message.append_entries.leader_commit = 9;
    lm_raft_messages_clamp(&message, 8);
    cr_assert_eq(message.append_entries.leader_commit, 8);
    message.append_entries.leader_commit = 9;
    lm_raft_messages_clamp(&message, 2);
    cr_assert_eq(message.append_entries.leader_commit, 9);
}

/* An entry is written, replaced, and written again with the index and term it had: the report of
 * the first write must not pass for one of the third. */
Test(raft_engine, an_old_write_of_the_same_index_and_term_acknowledges_nothing)
{
    begin(3);
    receive_entries(SECOND, 3, 4, 1, 3, 1, 0);
    metadata_done();
    uint64_t first = t.last_append;
    receive_entries(THIRD, 4, 4, 1, 4, 1, 0);
    metadata_done();
    uint64_t second = t.last_append;
    receive_entries(SECOND, 5, 4, 1, 3, 1, 0);
    metadata_done();
    cr_assert_eq(t.truncates, 2);
    int before = t.n_sent;
    append_done(first);
    append_done(second);
    for (int i = before; i < t.n_sent; i++)
        cr_assert_neq(t.sent[i].append_result.last_log_index, 5);
    append_done(t.last_append);
    cr_assert_eq(last_sent(LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT)->append_result.last_log_index,
                 5);
    finish();
}

Test(raft_engine, frames_no_server_would_send_are_refused)
{
    begin(3);
    cr_assert_not(receive_vote(99, 5, false, 9), "nobody");
    cr_assert_not(receive_vote(SECOND, 0, false, 9));
    cr_assert_not(receive_vote(SECOND, UINT64_MAX, false, 9));
    cr_assert_not(receive_entries(SECOND, 3, 0, 1, 3, 1, 0), "a term before the beginning");
    cr_assert_not(receive_entries(SECOND, 3, 4, 0, 3, 1, 0), "no term where there must be one");
    cr_assert_not(receive_entries(SECOND, 3, 4, 1, 4, 1, 0), "an entry of a later term");
    lm_peer_entry_t entry = {.term = 3, .type = LM_RAFT_CHANGE, .data = lm_bytes("\1xxxxxx\0", 8)};
    lm_peer_append_entries_t body = {
        .term = 3, .prev_log_index = 4, .prev_log_term = 1, .n_entries = 1, .entries = &entry};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES,
                             .append_entries = &body};
    cr_assert_not(lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us), "no configuration");
    entry.data = lm_bytes("\1\xff\xff\xff\xff\xff\xff\xff\xff.......", 16);
    cr_assert_not(lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us), "a wild count");
    entry = (lm_peer_entry_t){.term = 3, .type = LM_RAFT_COMMAND, .data = lm_bytes("1234567", 7)};
    cr_assert_not(lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us), "odd size");
    cr_assert_eq(t.metadata + t.appends + t.n_sent, 0);
    finish();
}

static void tick_until_candidate(void)
{
    for (int i = 0; i < 40 && !last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE); i++) {
        t.now_us += 10000;
        lm_raft_engine_tick(t.engine, t.now_us, false);
    }
}

Test(raft_engine, s21_without_leave_nobody_is_asked_for_a_vote_but_others_get_theirs)
{
    begin(3);
    lm_raft_engine_may_campaign(t.engine, false);
    tick_until_candidate();
    cr_assert_eq(t.n_sent, 0);
    cr_assert_eq(t.metadata, 0);
    receive_vote(SECOND, 3, true, 9);
    cr_assert(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT)->vote_result.vote_granted);
    lm_raft_engine_may_campaign(t.engine, true);
    tick_until_candidate();
    cr_assert(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE)->request_vote.pre_vote);
    finish();
}

Test(raft_engine, s21_a_candidate_that_loses_leave_begins_no_further_election)
{
    begin(3);
    t.now_us += 400000;
    lm_raft_engine_tick(t.engine, t.now_us, false);
    lm_peer_request_vote_result_t body = {
        .version = 2, .term = 3, .vote_granted = true, .pre_vote = true};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT,
                             .request_vote_result = &body};
    cr_assert(lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us));
    metadata_done();
    cr_assert_eq(lm_raft_engine_term(t.engine), 3);
    cr_assert_not(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE)->request_vote.pre_vote);
    lm_raft_engine_may_campaign(t.engine, false);
    t.n_sent = 0;
    for (int i = 0; i < 5; i++) {
        t.now_us += 400000;
        lm_raft_engine_tick(t.engine, t.now_us, false);
    }
    cr_assert_eq(t.metadata, 1, "neither a new term");
    cr_assert_eq(t.n_sent, 0, "nor a request");
    lm_raft_engine_may_campaign(t.engine, true);
    t.now_us += 400000;
    lm_raft_engine_tick(t.engine, t.now_us, false);
    cr_assert(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE)->request_vote.pre_vote);
    finish();
}

/* An allocator of the engine whose addresses all have 0 as their second byte. */
static void *round_malloc(void *data, size_t size)
{
    void *memory = NULL;
    (void)data;
    return posix_memalign(&memory, 65536, size ? size : 1) == 0 ? memory : NULL;
}

static void *round_calloc(void *data, size_t n, size_t size)
{
    void *memory = round_malloc(data, n * size);
    return memory ? memset(memory, 0, n * size) : NULL;
}

static void round_free(void *data, void *memory)
{
    (void)data;
    free(memory);
}

/* The engine keeps what a candidate and what a follower knows in the same place, and looks at the
 * one for the other: whether a late vote raised its term depended on where the leader's name lay.
 */
static void hear_a_late_vote(bool pre_vote)
{
    begin(3);
    t.now_us += 400000;
    lm_raft_engine_tick(t.engine, t.now_us, false);
    cr_assert(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE)->request_vote.pre_vote);
    cr_assert(receive_entries(SECOND, 2, 4, 1, 2, 1, 4));
    cr_assert_eq(lm_raft_engine_leader(t.engine), SECOND);
    lm_peer_request_vote_result_t body = {
        .version = 2, .term = 3, .vote_granted = pre_vote, .pre_vote = pre_vote};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT,
                             .request_vote_result = &body};
    cr_assert(lm_raft_engine_receive(t.engine, THIRD, &frame, t.now_us));
    cr_assert_eq(t.metadata, 0, "no other term");
    cr_assert_eq(lm_raft_engine_leader(t.engine), SECOND, "and the same leader");
    finish();
}

Test(raft_engine, a_vote_that_comes_too_late_changes_nothing)
{
    struct raft_heap heap = *raft_heap_get();
    hear_a_late_vote(true);
    hear_a_late_vote(false);
    heap.malloc = round_malloc;
    heap.calloc = round_calloc;
    heap.free = round_free;
    raft_heap_set(&heap);
    hear_a_late_vote(true);
    hear_a_late_vote(false);
    raft_heap_set_default();
}

Test(raft_engine, s9_a_late_tick_does_not_count_silence_but_not_for_ever)
{
    begin(3);
    for (int i = 0; i < 3; i++) {
        t.now_us += 1000000;
        lm_raft_engine_tick(t.engine, t.now_us, true);
        cr_assert_eq(t.n_sent, 0, "late tick %d", i);
    }
    t.now_us += 1000000;
    lm_raft_engine_tick(t.engine, t.now_us, true);
    cr_assert_not_null(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE));
    finish();
}

static void grant(uint64_t from, bool pre_vote)
{
    lm_peer_request_vote_result_t body = {
        .version = 2, .term = 3, .vote_granted = true, .pre_vote = pre_vote};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_REQUEST_VOTE_RESULT,
                             .request_vote_result = &body};
    lm_raft_engine_receive(t.engine, from, &frame, t.now_us);
}

static void become_leader(void)
{
    tick_until_candidate();
    grant(SECOND, true);
    cr_assert_eq(t.vote, ME);
    metadata_done();
    grant(SECOND, false);
    cr_assert_eq(lm_raft_engine_role(t.engine), LM_RAFT_LEADER_ROLE);
}

static void acknowledge(uint64_t from, uint64_t rejected, uint64_t last)
{
    lm_peer_append_entries_result_t body = {
        .version = 2, .term = 3, .rejected = rejected, .last_log_index = last};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT,
                             .append_entries_result = &body};
    cr_assert(lm_raft_engine_receive(t.engine, from, &frame, t.now_us));
}

/* Ticks when the engine wants it, and everybody answers; returns to how many something was sent,
 * and keeps the longest time that either of them has heard nothing. */
static int next_heartbeats(uint64_t heard_us[2], uint64_t *longest_us)
{
    bool sent[2] = {false, false};
    t.n_sent = 0;
    t.now_us = lm_raft_engine_wake_us(t.engine);
    lm_raft_engine_tick(t.engine, t.now_us, false);
    for (int i = 0; i < t.n_sent; i++) sent[t.sent[i].to == THIRD] = true;
    for (int i = 0; i < 2; i++) {
        if (!sent[i]) continue;
        if (t.now_us - heard_us[i] > *longest_us) *longest_us = t.now_us - heard_us[i];
        heard_us[i] = t.now_us;
        acknowledge(i ? THIRD : SECOND, 0, last_index());
    }
    return sent[0] + sent[1];
}

static void get_into_step_from(uint64_t gap_ms)
{
    uint64_t heard_us[2], longest_us = 0;
    begin(3);
    become_leader();
    append_done(t.last_append);
    acknowledge(SECOND, 0, last_index());
    heard_us[0] = t.now_us;
    t.now_us += gap_ms * 1000;
    t.n_sent = 0;
    acknowledge(THIRD, 4, 1); /* what it lacks is sent again, to it alone */
    cr_assert_gt(t.n_sent, 0);
    acknowledge(THIRD, 0, last_index());
    heard_us[1] = t.now_us;
    for (int i = 0; i < 16; i++) next_heartbeats(heard_us, &longest_us);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(next_heartbeats(heard_us, &longest_us), 2, "%llu ms apart",
                     (unsigned long long)gap_ms);
    cr_expect_leq(longest_us, 50000 + 50000 / 8);
    finish();
}

Test(raft_engine, heartbeats_get_into_step)
{
    static const uint64_t gaps_ms[] = {0, 1, 6, 24, 25, 26, 44, 49};
    for (size_t i = 0; i < sizeof gaps_ms / sizeof *gaps_ms; i++) get_into_step_from(gaps_ms[i]);
}

Test(raft_engine, large_appends_leave_as_several_frames_in_order)
{
    begin(3);
    become_leader();
    append_done(t.last_append);
    acknowledge(SECOND, 0, 5);
    cr_assert_geq(lm_raft_engine_commit(t.engine), 5);
    /* SECOND takes everything at once, THIRD has been silent and gets it all later. */
    uint8_t *big = lm_alloc(400 * 1024);
    for (int i = 0; i < 6; i++) {
        uint64_t index;
        cr_assert_eq(lm_raft_engine_submit(t.engine, lm_bytes(big, 400 * 1024), t.now_us, &index),
                     LM_RC_OK);
        cr_assert_eq(index, 6 + (uint64_t)i);
    }
    free(big);
    t.n_sent = 0;
    acknowledge(THIRD, 4, 1);
    int frames = 0;
    uint64_t prev = 1, entries = 0;
    for (int i = 0; i < t.n_sent; i++) {
        cr_assert_eq(t.sent[i].to, THIRD);
        cr_assert_eq(t.sent[i].append.prev_log_index, prev);
        prev += t.sent[i].append.n_entries;
        entries += t.sent[i].append.n_entries;
        frames++;
    }
    cr_assert_eq(entries, 10, "%llu", (unsigned long long)entries);
    cr_assert_geq(frames, 6, "%d", frames);
    finish();
}

/* ---- snapshots ------------------------------------------------------------------------------- */

Test(raft_engine, a_start_behind_a_snapshot_keeps_some_entries_before_it)
{
    begin_behind(20, 8, 18); /* 8..25 */
    cr_assert_eq(lm_raft_engine_commit(t.engine), 20);
    cr_assert_eq(lm_raft_engine_stored(t.engine), 25);
    cr_assert_eq(first_index(), 17, "four before, and the twentieth itself is one of them");
    cr_assert_eq(last_index(), 25);
    cr_assert_eq(lm_raft_engine_image(t.engine)->index, 20);
    finish();
    begin_behind(20, 21, 0);
    cr_assert_eq(lm_raft_engine_stored(t.engine), 20);
    cr_assert_eq(last_index(), 20);
    receive_entries(SECOND, 3, 20, 1, 3, 2, 20);
    metadata_done();
    append_done(t.last_append);
    cr_assert_eq(last_sent(LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT)->append_result.last_log_index,
                 22);
    finish();
}

Test(raft_engine, s16_a_mark_is_only_where_the_log_is_committed_and_stored)
{
    lm_raft_image_t image;
    begin(9);
    cr_assert_not(lm_raft_engine_mark(t.engine, 5, &image), "not committed");
    receive_entries(SECOND, 3, 10, 1, 3, 2, 12);
    metadata_done();
    cr_assert_eq(lm_raft_engine_commit(t.engine), 12);
    cr_assert_not(lm_raft_engine_mark(t.engine, 12, &image), "not stored");
    cr_assert(lm_raft_engine_mark(t.engine, 10, &image));
    cr_assert(image.index == 10 && image.term == 1 && image.configuration_index == 1);
    append_done(t.last_append);
    cr_assert(lm_raft_engine_mark(t.engine, 12, &image));
    cr_assert_eq(image.term, 3);
    lm_raft_engine_snapshot(t.engine, &image, 4, t.now_us);
    cr_assert_eq(first_index(), 9);
    cr_assert_not(lm_raft_engine_mark(t.engine, 12, &image), "there is one");
    finish();
}

Test(raft_engine, what_is_committed_is_not_compared_with_what_a_leader_sends)
{
    begin_behind(20, 21, 2);
    receive_entries(SECOND, 3, 3, 1, 3, 0, 3);
    metadata_done();
    sent_t *sent = last_sent(LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT);
    cr_assert_eq(sent->append_result.rejected, 0, "a leader that knows little must not go back");
    cr_assert_eq(sent->append_result.last_log_index, 20);
    finish();
}

Test(raft_engine, an_installation_takes_the_place_of_the_log)
{
    begin(9);
    lm_raft_image_t image = image_at(50, 3);
    cr_assert_not(lm_raft_engine_install(t.engine, &image, t.now_us), "no leader is known");
    receive_entries(SECOND, 3, 10, 1, 3, 1, 5);
    metadata_done();
    uint64_t old_write = t.last_append;
    cr_assert(lm_raft_engine_install(t.engine, &image, t.now_us));
    cr_assert(lm_raft_engine_is_installing(t.engine));
    cr_assert_eq(first_index(), 51);
    cr_assert_eq(last_index(), 50);
    /* Meanwhile: writes of before end, heartbeats come, so does a term. */
    int before = t.n_sent;
    append_done(old_write);
    cr_assert_eq(t.n_sent, before);
    receive_entries(SECOND, 3, 50, 3, 3, 0, 60);
    cr_assert_eq(lm_raft_engine_commit(t.engine), 5, "nothing of it can be applied yet");
    receive_entries(SECOND, 3, 50, 3, 3, 3, 60);
    cr_assert_eq(last_index(), 50, "no entries are taken");
    receive_entries(THIRD, 4, 50, 3, 4, 0, 60);
    metadata_done();
    for (int i = 0; i < 10; i++) {
        t.now_us += 400000;
        lm_raft_engine_tick(t.engine, t.now_us, false);
    }
    cr_assert_null(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE), "nor does it campaign");
    lm_raft_engine_installed(t.engine, t.now_us);
    cr_assert_not(lm_raft_engine_is_installing(t.engine));
    cr_assert_eq(lm_raft_engine_commit(t.engine), 50);
    cr_assert_eq(lm_raft_engine_stored(t.engine), 50);
    sent_t *sent = last_sent(LM_PEER_FRAME_BODY_APPEND_ENTRIES_RESULT);
    cr_assert(sent->to == THIRD && sent->append_result.last_log_index == 50);
    receive_entries(THIRD, 4, 50, 3, 4, 2, 52);
    append_done(t.last_append);
    cr_assert_eq(lm_raft_engine_stored(t.engine), 52);
    cr_assert_eq(lm_raft_engine_commit(t.engine), 52);
    finish();
}

Test(raft_engine, s20_entries_that_the_disk_does_not_take_are_not_taken_either)
{
    static uint8_t big[1024 * 1024];
    raft_framed(big, sizeof big);
    begin(3);
    receive_entries(SECOND, 3, 4, 1, 3, 0, 0);
    metadata_done();
    uint64_t index = 4;
    for (int i = 0; i < 40; i++, index++) {
        lm_peer_entry_t entry = {
            .term = 3, .type = LM_RAFT_COMMAND, .data = lm_bytes(big, sizeof big)};
        lm_peer_append_entries_t body = {.term = 3,
                                         .prev_log_index = index,
                                         .prev_log_term = index == 4 ? 1 : 3,
                                         .n_entries = 1,
                                         .entries = &entry};
        lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_APPEND_ENTRIES,
                                 .append_entries = &body};
        lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us);
    }
    cr_assert_eq(last_index(), 4 + LM_RAFT_UNSTORED_BYTES / sizeof big + 1);
    cr_assert_gt(lm_raft_engine_stripped(t.engine), 0);
    finish();
}

Test(raft_engine, s19_a_peer_that_lacks_what_it_acknowledged_is_noticed)
{
    begin(9);
    become_leader();
    append_done(t.last_append);
    acknowledge(SECOND, 0, 10);
    for (int i = 0; i < 30; i++) {
        t.now_us += 50000;
        acknowledge(THIRD, 0, 10);
        acknowledge(SECOND, 10, 4);
        cr_assert_eq(lm_raft_engine_forgetful(t.engine, t.now_us), i < 20 ? 0 : SECOND, "%d", i);
    }
    acknowledge(SECOND, 0, 10);
    cr_assert_eq(lm_raft_engine_forgetful(t.engine, t.now_us), 0);
    finish();
}

/* ---- leadership that is handed over ---------------------------------------------------------- */

/* Leader of term 3, and this node's log, of nine entries of term 1, goes on behind its own. */
static void hear_hint(uint64_t last_log_index, uint64_t last_log_term)
{
    begin(9);
    receive_entries(SECOND, 3, 4, 1, 3, 0, 0);
    metadata_done();
    t.n_sent = 0;
    lm_peer_timeout_now_t body = {
        .version = 1, .term = 3, .last_log_index = last_log_index, .last_log_term = last_log_term};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_TIMEOUT_NOW, .timeout_now = &body};
    cr_assert(lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us));
}

/* A leader that has written nothing yet does not know how far its successor's log goes. */
Test(raft_engine, who_has_more_than_the_leader_takes_over_too)
{
    hear_hint(4, 1);
    metadata_done();
    cr_assert_not_null(last_sent(LM_PEER_FRAME_BODY_REQUEST_VOTE));
    finish();
}

Test(raft_engine, who_has_less_than_the_leader_does_not_take_over)
{
    hear_hint(10, 1);
    cr_assert_eq(t.n_sent, 0);
    finish();
    hear_hint(4, 3);
    cr_assert_eq(t.n_sent, 0);
    finish();
}

/* ---- the last term --------------------------------------------------------------------------- */

static void expect_the_end(void)
{
    const lm_raft_fault_t *fault = lm_raft_engine_fault(t.engine);
    cr_assert_eq(fault->code, LM_EXIT_DAMAGED);
    cr_assert_not_null(strstr(fault->words, "is the last one that there can be"), "%s",
                       fault->words);
    cr_assert_eq(t.metadata, 0, "a term beyond it would be called damaged at the next start");
    cr_assert_eq(t.n_sent, 0);
    finish();
}

Test(raft_engine, in_the_last_term_a_follower_follows_and_an_election_is_the_end)
{
    begin_in_term(LM_RAFT_TERM_MAX, 0, 1, 4);
    receive_entries(SECOND, LM_RAFT_TERM_MAX, 4, 1, 1, 0, 4);
    cr_assert_eq(lm_raft_engine_commit(t.engine), 4);
    t.n_sent = 0;
    lm_raft_engine_may_campaign(t.engine, false);
    t.now_us += 1000000;
    lm_raft_engine_tick(t.engine, t.now_us, false);
    cr_assert_eq(lm_raft_engine_fault(t.engine)->code, LM_EXIT_OK, "it asks for no election");
    lm_raft_engine_may_campaign(t.engine, true);
    t.now_us += 1000000;
    lm_raft_engine_tick(t.engine, t.now_us, false);
    expect_the_end();
}

Test(raft_engine, in_the_last_term_nobody_takes_leadership_over)
{
    begin_in_term(LM_RAFT_TERM_MAX, 0, 1, 4);
    receive_entries(SECOND, LM_RAFT_TERM_MAX, 4, 1, 1, 0, 4);
    t.n_sent = 0;
    lm_peer_timeout_now_t body = {
        .version = 1, .term = LM_RAFT_TERM_MAX, .last_log_index = 4, .last_log_term = 1};
    lm_peer_frame_t frame = {.body_case = LM_PEER_FRAME_BODY_TIMEOUT_NOW, .timeout_now = &body};
    cr_assert(lm_raft_engine_receive(t.engine, SECOND, &frame, t.now_us));
    expect_the_end();
}
