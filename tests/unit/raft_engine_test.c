/* The driver of the consensus engine: order of its duties, and the amendments to what it says. */
#include "raft_engine.h"

#include <criterion/criterion.h>
#include <raft.h>
#include <stdlib.h>

#include "base_arena.h"
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

/* An engine in term 2 whose log has the configuration and n entries of term 1. */
static void begin(size_t n)
{
    static const uint8_t data[8] = "entry..";
    lm_raft_identity_t who = identity();
    lm_bytes_t first = configuration();
    lm_raft_buffer_t *buffer = lm_raft_buffer_adopt((void *)(uintptr_t)first.data, free);
    lm_raft_entry_t entries[32] = {{1, LM_RAFT_CHANGE, first, buffer}};
    for (size_t i = 1; i <= n; i++)
        entries[i] = (lm_raft_entry_t){1, LM_RAFT_COMMAND, lm_bytes(data, 8), buffer};
    lm_raft_done_t loaded = {.term = 2, .entries = entries, .n_entries = n + 1};
    memset(&t, 0, sizeof t);
    t.now_us = 1000000;
    t.disk.set_metadata = set_metadata;
    t.disk.truncate = truncate_disk;
    t.disk.append = append;
    lm_raft_engine_options_t options = {.disk = &t.disk,
                                        .send = note_sent,
                                        .election_timeout_ms = 150,
                                        .heartbeat_ms = 50,
                                        .seed = 7};
    t.engine = lm_raft_engine_new(&options, &who);
    lm_raft_engine_start(t.engine, &loaded, t.now_us);
    lm_raft_engine_may_campaign(t.engine, true);
    lm_raft_buffer_drop(&buffer);
}

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
            .term = entry_term, .type = LM_RAFT_COMMAND, .data = lm_bytes("ENTRY...", 8)};
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
