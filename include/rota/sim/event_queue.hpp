// What is to happen, ordered by true time, and among equals by when it was put in: so a run is the same wherever it is
// repeated. An entry is a few plain words, and costs the same however long the run has gone on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "../types.hpp"

namespace rota::sim {

/// A point of true time: what an omniscient watch shows. Every run starts at 0.
using moment = std::chrono::time_point<struct true_clock, microseconds>;

enum class happening : std::uint8_t {
    lane_wakes,       ///< of a node; detail: which sleep it ends
    request_arrives,  ///< at the server; detail: message
    server_goes_on,   ///< with requests that wait for it; detail: server
    reply_arrives,    ///< at a node; detail: message
    times_out,        ///< a node's request; detail: exchange
    connection_ends,  ///< a node reads end of file; detail: connection
    push_arrives,     ///< at a node; detail: connection
    work_is_due,      ///< of a node; detail: run
    round_begins,     ///< of a node: look for work
    process_starts,   ///< of a slot
    fault_begins,     ///< detail: entry of the plan
    fault_ends,
    node_goes_on,  ///< after a pause
    watch_looks,   ///< invariants that look at the whole
};

class event_queue {
public:
    struct entry {
        moment at{};
        std::uint64_t sequence = 0;
        std::uint64_t detail = 0;
        std::uint32_t who = 0;
        happening what{};
    };

    void add(moment at, happening what, std::uint32_t who = 0, std::uint64_t detail = 0) {
        heap_.push_back({at, ++sequence_, detail, who, what});
        rise(heap_.size() - 1);
    }

    [[nodiscard]] bool empty() const { return heap_.empty(); }
    [[nodiscard]] std::size_t size() const { return heap_.size(); }
    [[nodiscard]] moment next_at() const { return heap_.empty() ? moment::max() : heap_.front().at; }

    entry take() {
        auto const first = heap_.front();
        auto const last = heap_.back();
        heap_.pop_back();
        if (!heap_.empty()) sink(last);
        return first;
    }

private:
    static bool before(entry const& a, entry const& b) { return a.at != b.at ? a.at < b.at : a.sequence < b.sequence; }
    void rise(std::size_t i) {
        auto const moving = heap_[i];
        while (i > 0) {
            auto const parent = (i - 1) / 4;
            if (!before(moving, heap_[parent])) break;
            heap_[i] = heap_[parent];
            i = parent;
        }
        heap_[i] = moving;
    }
    // Four children per node: half the depth of a binary heap, and they share a cache line or two.
    void sink(entry const& moving) {
        std::size_t i = 0;
        for (;;) {
            auto const first = 4 * i + 1;
            if (first >= heap_.size()) break;
            auto least = first;
            for (auto c = first + 1; c < first + 4 && c < heap_.size(); ++c) {
                if (before(heap_[c], heap_[least])) least = c;
            }
            if (!before(heap_[least], moving)) break;
            heap_[i] = heap_[least];
            i = least;
        }
        heap_[i] = moving;
    }

    std::vector<entry> heap_;
    std::uint64_t sequence_ = 0;
};

}  // namespace rota::sim
