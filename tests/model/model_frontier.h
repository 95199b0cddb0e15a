// The states of one depth, waiting to be visited, in the order in which they were found.
//
// Most bytes of a state are zero. A state is kept as one bit per byte and the bytes that are not
// zero, about a third; otherwise the widest depths would need more memory than all the rest.
#pragma once

#include "model_state.h"

#include <deque>
#include <vector>

namespace wm {

class Frontier {
public:
    void push(const State &s)
    {
        if (chunks_.empty() || chunks_.back().size() + room_max > chunk_size)
            add_chunk();
        std::vector<u8> &out = chunks_.back();
        const u8 *bytes = reinterpret_cast<const u8 *>(&s);
        const std::size_t map_at = out.size();
        out.resize(map_at + map_size, 0);
        for (std::size_t i = 0; i < sizeof s; i++) {
            if (!bytes[i])
                continue;
            out[map_at + i / 8] |= static_cast<u8>(1u << i % 8);
            out.push_back(bytes[i]);
        }
        count_++;
    }

    State pop()
    {
        State s = {};
        u8 *bytes = reinterpret_cast<u8 *>(&s);
        const std::vector<u8> &in = chunks_.front();
        const std::size_t map_at = read_at_;
        read_at_ += map_size;
        for (std::size_t i = 0; i < sizeof s; i++)
            if (in[map_at + i / 8] >> i % 8 & 1)
                bytes[i] = in[read_at_++];
        if (read_at_ == in.size())
            drop_chunk();
        count_--;
        return s;
    }

    bool empty() const { return count_ == 0; }

private:
    static constexpr std::size_t chunk_size = 1u << 20;
    static constexpr std::size_t map_size = (sizeof(State) + 7) / 8;
    static constexpr std::size_t room_max = map_size + sizeof(State);

    void add_chunk()
    {
        chunks_.emplace_back();
        chunks_.back().reserve(chunk_size);
    }

    // Gives memory back while the next depth grows.
    void drop_chunk()
    {
        chunks_.pop_front();
        read_at_ = 0;
    }

    std::deque<std::vector<u8>> chunks_;
    std::size_t read_at_ = 0;
    std::size_t count_ = 0;
};

} // namespace wm
