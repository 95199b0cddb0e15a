/* The register: every row is sound, so that nothing about a message need be checked twice. */
#include "act_register.h"

#include <criterion/criterion.h>

#include "wire_bus.h"
#include "wire_peer.h"

#define BIT(participant) (1u << (participant))

Test(act_register, every_row_is_sound)
{
    uint32_t everybody = BIT(LM_PARTICIPANTS) - 2;
    size_t n = 0;
    for (uint32_t number = 0; number < LM_MESSAGE_NUMBERS; number++) {
        const lm_register_row_t *row = lm_register_find(number);
        if (!row) continue;
        n++;
        cr_assert_eq((uint32_t)row->number, number);
        cr_assert(row->senders && !(row->senders & ~everybody), "%s", row->name);
        cr_assert(row->receivers && !(row->receivers & ~everybody), "%s", row->name);
        cr_assert_not_null(lm_wire_name(row->body), "%s", row->name);
        cr_assert(row->limit_bytes > 0 && row->limit_bytes <= 4u * 1024 * 1024, "%s", row->name);
    }
    cr_assert_gt(n, 20);
}

Test(act_register, the_reply_to_a_call_is_the_next_number)
{
    for (uint32_t number = 1; number < LM_MESSAGE_NUMBERS; number++) {
        const lm_register_row_t *row = lm_register_find(number);
        if (!row || row->kind != LM_CALL) continue;
        const lm_register_row_t *reply = lm_register_find(number + 1);
        cr_assert(reply && reply->kind == LM_REPLY, "%s", row->name);
        cr_assert_eq(reply->senders, row->receivers, "%s", row->name);
        cr_assert_eq(reply->receivers, row->senders, "%s", row->name);
        cr_assert_eq(row->when_full, LM_FULL_REFUSE, "%s", row->name);
    }
}

Test(act_register, columns_with_several_participants)
{
    const lm_register_row_t *role = lm_register_find(LM_MSG_RAFT_ROLE);
    cr_assert_eq(role->receivers, BIT(LM_LOCK) | BIT(LM_HEALTH));
    const lm_register_row_t *hello = lm_register_find(LM_MSG_ACTOR_HELLO);
    cr_assert_eq(hello->senders, BIT(LM_RAFT) | BIT(LM_LOCK) | BIT(LM_GATEWAY) | BIT(LM_CLIENTS) |
                                     BIT(LM_PEERS) | BIT(LM_HEALTH));
    cr_assert_eq(hello->body, &lm_bus_actor_hello_type);
    cr_assert_eq(lm_register_find(LM_MSG_LOCK_CALL)->body, &lm_peer_lock_call_type);
}

Test(act_register, calls_are_repeated_unless_exempt)
{
    cr_assert(lm_register_find(LM_MSG_LOCK_CALL)->repeated);
    cr_assert(lm_register_find(LM_MSG_REGION_HELLO_IN)->repeated);
    cr_assert_not(lm_register_find(LM_MSG_PROPOSE)->repeated);
    cr_assert_not(lm_register_find(LM_MSG_READ_INDEX)->repeated);
    cr_assert_not(lm_register_find(LM_MSG_ATTACH)->repeated);
    cr_assert_not(lm_register_find(LM_MSG_DRAIN)->repeated);
    cr_assert_not(lm_register_find(LM_MSG_COMMITTED)->repeated);
    cr_assert_eq(lm_register_find(LM_MSG_PROPOSE)->limit_bytes, 2097152);
}

Test(act_register, numbers_that_are_none)
{
    cr_assert_null(lm_register_find(LM_MSG_NONE));
    cr_assert_null(lm_register_find(12));
    cr_assert_null(lm_register_find(LM_MESSAGE_NUMBERS - 1));
    cr_assert_null(lm_register_find(LM_MESSAGE_NUMBERS));
    cr_assert_null(lm_register_find(UINT32_MAX));
}

Test(act_register, participants_have_names)
{
    for (int p = LM_NOBODY + 1; p < LM_PARTICIPANTS; p++)
        cr_assert_eq((int)lm_participant_parse(lm_participant_name((lm_participant_t)p)), p);
    cr_assert_str_eq(lm_participant_name(LM_PEERS), "peers");
    cr_assert_eq(lm_participant_parse("nobody"), LM_NOBODY);
    cr_assert_eq(lm_participant_parse(""), LM_NOBODY);
    cr_assert_str_eq(lm_participant_name((lm_participant_t)99), "nobody");
}
