// Keeps every event, for tests and for looking back. A handle: copies share one record, so a test keeps one and gives
// another to the coordinator. Any thread may call it. The record grows without bound: take() empties it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../detail/late.hpp"
#include "../events.hpp"
#include "describe.hpp"

namespace rota {

// (A template for the reason that late.hpp gives.)
template <typename T = void>
class basic_recording_sink {
    using event = detail::late<rota::event, T>;

public:
    void operator()(event const& e) const {
        std::lock_guard const lock{record_->mutex};
        record_->events.push_back(e);
    }

    /// All events so far, oldest first, but for the first `from`.
    [[nodiscard]] std::vector<event> events(std::size_t from = 0) const {
        std::lock_guard const lock{record_->mutex};
        auto const& all = record_->events;
        if (from >= all.size()) return {};
        return {all.begin() + static_cast<std::ptrdiff_t>(from), all.end()};
    }

    /// As events(), and forgets them.
    [[nodiscard]] std::vector<event> take() const {
        std::lock_guard const lock{record_->mutex};
        return std::exchange(record_->events, {});
    }

    /// How many events of type `Event` there are.
    template <typename Event>
    [[nodiscard]] std::size_t count() const {
        std::lock_guard const lock{record_->mutex};
        std::size_t found = 0;
        for (auto const& e : record_->events) found += std::holds_alternative<Event>(e) ? 1 : 0;
        return found;
    }

    /// The events in words, a line each: equal runs of a scenario have equal text, byte for byte.
    [[nodiscard]] std::string text() const {
        std::string lines;
        for (auto const& e : events()) lines += describe(e) + '\n';
        return lines;
    }

private:
    struct record {
        std::mutex mutex{};
        std::vector<event> events{};
    };
    std::shared_ptr<record> record_ = std::make_shared<record>();
};

using recording_sink = basic_recording_sink<>;

}  // namespace rota
