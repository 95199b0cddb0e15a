#include "raft_chain.h"

#include <stdlib.h>

#include "base_arena.h"
#include "base_check.h"
#include "crc.h"
#include "raft_fields.h"

void lm_raft_chain_reset(lm_raft_chain_t *chain, uint64_t base, uint64_t term, uint32_t sum)
{
    chain->base = base;
    chain->at_base = (lm_raft_link_t){.term = term, .sum = sum};
    chain->n = 0;
}

void lm_raft_chain_free(lm_raft_chain_t *chain)
{
    free(chain->links);
    *chain = (lm_raft_chain_t){0};
}

void lm_raft_chain_add(lm_raft_chain_t *chain, uint64_t term, uint32_t type, lm_bytes_t data)
{
    uint8_t head[20];
    uint32_t before = chain->n ? chain->links[chain->n - 1].sum : chain->at_base.sum;
    lm_raft_fields_put(head, term, 8);
    lm_raft_fields_put(head + 8, type, 4);
    lm_raft_fields_put(head + 12, data.size, 8);
    uint32_t sum = lm_crc32c(lm_crc32c(before, lm_bytes(head, sizeof head)), data);
    if (chain->n == chain->n_max) {
        chain->n_max = chain->n_max ? 2 * chain->n_max : 1024;
        chain->links = lm_realloc(chain->links, chain->n_max * sizeof *chain->links);
    }
    chain->links[chain->n++] = (lm_raft_link_t){.term = term, .sum = sum};
}

void lm_raft_chain_cut(lm_raft_chain_t *chain, uint64_t index)
{
    LM_CHECK(index > chain->base, "%llu is not behind %llu", (unsigned long long)index,
             (unsigned long long)chain->base);
    if (index - chain->base - 1 < chain->n) chain->n = (size_t)(index - chain->base - 1);
}

void lm_raft_chain_trim(lm_raft_chain_t *chain, uint64_t index)
{
    if (index <= chain->base) return;
    LM_CHECK(lm_raft_chain_at(chain, index, &chain->at_base), "%llu is behind %llu",
             (unsigned long long)index, (unsigned long long)lm_raft_chain_last(chain));
    size_t gone = (size_t)(index - chain->base);
    chain->n -= gone;
    if (chain->n) memmove(chain->links, chain->links + gone, chain->n * sizeof *chain->links);
    chain->base = index;
}

uint64_t lm_raft_chain_last(const lm_raft_chain_t *chain) { return chain->base + chain->n; }

bool lm_raft_chain_at(const lm_raft_chain_t *chain, uint64_t index, lm_raft_link_t *link)
{
    if (index < chain->base || index > lm_raft_chain_last(chain)) return false;
    *link = index == chain->base ? chain->at_base : chain->links[index - chain->base - 1];
    return true;
}
