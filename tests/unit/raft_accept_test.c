/* What a server refuses from a peer that contradicts what is committed. */
#include "raft_accept.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "raft_framed.h"
#include "raft_limits.h"

static struct raft raft;
static lm_raft_log_t *log_;

/* Term 3; entries 1^1 (the configuration of 1, 2 and 3), 2^2, 3^3; committed up to 2. */
static void set_up(void)
{
    cr_assert_eq(raft_init(&raft, NULL, NULL, 1, "a"), 0);
    raft.current_term = 3;
    for (raft_id id = 1; id <= 3; id++)
        raft_configuration_add(&raft.configuration, id, "abc" + id - 1, RAFT_VOTER);
    log_ = lm_raft_log_new();
    void *data = calloc(1, 8);
    lm_raft_buffer_t *buffer = lm_raft_buffer_adopt(data, free);
    for (uint64_t term = 1; term <= 3; term++)
        lm_raft_log_append(log_, term, LM_RAFT_COMMAND, lm_bytes(data, 8), buffer);
    lm_raft_buffer_drop(&buffer);
}

static void tear_down(void)
{
    lm_raft_log_destroy(&log_);
    raft_configuration_close(&raft.configuration);
    raft_configuration_init(&raft.configuration);
    raft_close(&raft, NULL);
}

TestSuite(raft_accept, .init = set_up, .fini = tear_down);

static const char *judge(const struct raft_message *message)
{
    return lm_raft_accept(&raft, log_, 2, message);
}

static struct raft_entry of_bytes(int type, const char *bytes, size_t size)
{
    return (struct raft_entry){
        .term = 3, .type = type, .buf = {.base = (void *)(uintptr_t)bytes, .len = size}};
}

static struct raft_entry command(raft_term term)
{
    struct raft_entry entry = of_bytes(RAFT_COMMAND, RAFT_FRAMED, RAFT_FRAMED_HEAD);
    entry.term = term;
    return entry;
}

static struct raft_message append(raft_index prev_index, raft_term prev_term,
                                  struct raft_entry *entries, unsigned n)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES, .server_id = 2};
    message.append_entries = (struct raft_append_entries){.term = 3,
                                                          .prev_log_index = prev_index,
                                                          .prev_log_term = prev_term,
                                                          .entries = entries,
                                                          .n_entries = n};
    return message;
}

Test(raft_accept, entries_that_agree_with_what_is_committed_or_go_beyond_it)
{
    struct raft_entry entries[] = {command(2), command(3)};
    struct raft_message same = append(1, 1, entries, 2), beyond = append(3, 2, entries, 1);
    struct raft_message unknown = append(9, 3, NULL, 0);
    cr_assert_null(judge(&same));
    cr_assert_null(judge(&beyond), "entry 3 is not committed and may be replaced");
    cr_assert_null(judge(&unknown), "the engine answers it");
}

Test(raft_accept, nothing_that_is_committed_is_replaced)
{
    struct raft_entry entry = command(3);
    struct raft_message behind = append(2, 3, NULL, 0), over = append(1, 1, &entry, 1);
    cr_assert_not_null(judge(&behind));
    cr_assert_not_null(judge(&over));
    over.append_entries.term = 2;
    cr_assert_null(judge(&over), "that of an old term the engine itself refuses");
}

static bool is_taken(struct raft_entry entry)
{
    struct raft_entry entries[] = {command(3), entry};
    struct raft_message message = append(3, 3, entries, 2);
    return !judge(&message);
}

/* Once committed, such an entry would stop the lock of every node. */
Test(raft_accept, only_what_a_lock_actor_can_read_comes_into_the_log)
{
    static uint8_t long_one[1024 * 1024 + 8];
    cr_assert(is_taken(of_bytes(RAFT_COMMAND, RAFT_FRAMED, 8)));
    cr_assert(is_taken(of_bytes(RAFT_COMMAND,
                                "LML\1\5\0\0\0"
                                "batch\0\0\0",
                                16)));
    cr_assert_not(is_taken(of_bytes(RAFT_COMMAND, "ENTRY...", 8)), "another mark");
    cr_assert_not(is_taken(of_bytes(RAFT_COMMAND, "LML\2\0\0\0\0", 8)), "another format");
    cr_assert_not(is_taken(of_bytes(RAFT_COMMAND, "LML\1\1\0\0\0", 8)), "torn");
    cr_assert_not(is_taken(of_bytes(RAFT_COMMAND,
                                    "LML\1\5\0\0\0"
                                    "batch\0\0x",
                                    16)),
                  "a tail");
    raft_framed(long_one, sizeof long_one - 8);
    cr_assert(is_taken(of_bytes(RAFT_COMMAND, (char *)long_one, sizeof long_one - 8)));
    raft_framed(long_one, sizeof long_one);
    cr_assert_not(is_taken(of_bytes(RAFT_COMMAND, (char *)long_one, sizeof long_one)), "too long");
    cr_assert(is_taken(of_bytes(RAFT_BARRIER, "\0\0\0\0\0\0\0\0", 8)));
    cr_assert_not(is_taken(of_bytes(RAFT_BARRIER, RAFT_FRAMED RAFT_FRAMED, 16)));
}

static struct raft_message change(struct raft_entry *entry, unsigned n, int role)
{
    struct raft_configuration c;
    raft_configuration_init(&c);
    for (raft_id id = 1; id <= n; id++) raft_configuration_add(&c, id, "abcd" + id - 1, role);
    *entry = (struct raft_entry){.term = 3, .type = RAFT_CHANGE};
    cr_assert_eq(raft_configuration_encode(&c, &entry->buf), 0);
    raft_configuration_close(&c);
    return append(3, 3, entry, 1);
}

Test(raft_accept, members_do_not_change)
{
    struct raft_entry entry;
    struct raft_message message = change(&entry, 3, RAFT_VOTER);
    cr_assert_null(judge(&message));
    raft_free(entry.buf.base);
    for (unsigned n = 2; n <= 4; n += 2) {
        message = change(&entry, n, RAFT_VOTER);
        cr_assert_not_null(judge(&message));
        raft_free(entry.buf.base);
    }
    message = change(&entry, 3, RAFT_SPARE);
    cr_assert_not_null(judge(&message));
    raft_free(entry.buf.base);
}

/* Terms are finite: whoever says the last one would end all elections. */
Test(raft_accept, nobody_names_a_term_that_cannot_have_been_reached)
{
    static const int kinds[] = {RAFT_APPEND_ENTRIES,   RAFT_APPEND_ENTRIES_RESULT,
                                RAFT_REQUEST_VOTE,     RAFT_REQUEST_VOTE_RESULT,
                                RAFT_INSTALL_SNAPSHOT, RAFT_TIMEOUT_NOW};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct raft_message message = {.type = (enum raft_message_type)kinds[i], .server_id = 2};
        raft_term *term = kinds[i] == RAFT_APPEND_ENTRIES ? &message.append_entries.term
                          : kinds[i] == RAFT_APPEND_ENTRIES_RESULT
                              ? &message.append_entries_result.term
                          : kinds[i] == RAFT_REQUEST_VOTE        ? &message.request_vote.term
                          : kinds[i] == RAFT_REQUEST_VOTE_RESULT ? &message.request_vote_result.term
                          : kinds[i] == RAFT_INSTALL_SNAPSHOT    ? &message.install_snapshot.term
                                                                 : &message.timeout_now.term;
        message.install_snapshot.conf =
            kinds[i] == RAFT_INSTALL_SNAPSHOT ? raft.configuration : message.install_snapshot.conf;
        raft.current_term = 3;
        *term = 3 + LM_RAFT_TERM_STEP_MAX;
        cr_assert_null(judge(&message), "message %d", kinds[i]);
        ++*term;
        cr_assert_not_null(judge(&message), "message %d", kinds[i]);
        raft.current_term = LM_RAFT_TERM_MAX - 1;
        *term = LM_RAFT_TERM_MAX;
        cr_assert_null(judge(&message), "message %d", kinds[i]);
        ++*term;
        cr_assert_not_null(judge(&message), "message %d", kinds[i]);
    }
}

Test(raft_accept, a_snapshot_is_not_of_a_term_still_to_come)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = 2};
    message.install_snapshot =
        (struct raft_install_snapshot){.term = 4, .last_index = 9, .last_term = 4};
    message.install_snapshot.conf = raft.configuration;
    cr_assert_null(judge(&message));
    message.install_snapshot.last_term = 5;
    cr_assert_not_null(judge(&message), "the next start would find terms that go back behind it");
}

Test(raft_accept, a_snapshot_agrees_with_what_is_committed)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = 2};
    message.install_snapshot =
        (struct raft_install_snapshot){.term = 3, .last_index = 2, .last_term = 2};
    message.install_snapshot.conf = raft.configuration;
    cr_assert_null(judge(&message));
    message.install_snapshot.last_term = 3;
    cr_assert_not_null(judge(&message));
    message.install_snapshot.last_index = 3;
    cr_assert_null(judge(&message));
    message.install_snapshot.conf.n = 2;
    cr_assert_not_null(judge(&message));
}

Test(raft_accept, a_leader_believes_no_other_leader_of_its_term_and_no_answer_beyond_its_log)
{
    struct raft_message entries = append(2, 2, NULL, 0);
    struct raft_message answer = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = 2};
    answer.append_entries_result =
        (struct raft_append_entries_result){.term = 3, .last_log_index = 4};
    cr_assert_null(judge(&entries));
    cr_assert_null(judge(&answer));
    raft.state = RAFT_LEADER;
    cr_assert_not_null(judge(&entries));
    cr_assert_not_null(judge(&answer));
    answer.append_entries_result.last_log_index = 3;
    cr_assert_null(judge(&answer));
    answer.append_entries_result.rejected = 4;
    cr_assert_not_null(judge(&answer));
    raft.state = RAFT_FOLLOWER;
}
