// Where every decision of a simulation comes from: how long a message takes, which fault comes when, what a nonce is.
// One call, choose(n), over one of four sources:
//   a seed         splitmix64 (Steele, Lea, Flood 2014): the same numbers on every compiler and standard library
//   a list         what was chosen before, for replay; past its end: 0
//   bytes          of a fuzzer; past their end: 0
//   every_history  all sequences of choices there are, one after the other (for small scopes)
// A source of zeros is a dull run: whoever asks makes 0 the ordinary case.
//
// Whoever asks for 2^32 or more wants bits that differ (a nonce, what a clock shows), which is no decision: all sources
// but the seed then give what only depends on how often they were asked.
//
// Beware of `f(c.choose(2), c.choose(3))`: compilers order arguments as they like. Ask in separate statements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "../types.hpp"

namespace rota::sim {

/// One step of splitmix64; also a good way to make unrelated seeds out of related ones.
[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/// Enumerates all histories of choices, depth first: run once per history, with choices{*this}, while next() says there
/// is another. The number of alternatives of a choice may depend on the choices before it.
class every_history {
public:
    /// Moves on to the next history; false when all have been seen.
    bool next() {
        ++seen_;
        while (!path_.empty() && path_.back().first + 1 == path_.back().second) path_.pop_back();
        at_ = 0;
        if (path_.empty()) return false;
        ++path_.back().first;
        return true;
    }
    /// Histories that were run to their end.
    [[nodiscard]] std::uint64_t seen() const { return seen_; }

    std::uint64_t choose(std::uint64_t n) {
        if (at_ == path_.size()) path_.emplace_back(0, n);
        return path_[at_++].first;
    }

private:
    std::vector<std::pair<std::uint64_t, std::uint64_t>> path_;  // chosen, of how many
    std::size_t at_ = 0;
    std::uint64_t seen_ = 0;
};

class choices {
public:
    explicit choices(std::uint64_t seed) : source_{source::seed}, state_{seed} {}
    [[nodiscard]] static choices replayed(std::vector<std::uint64_t> list) {
        choices c{0};
        c.source_ = source::list;
        c.list_ = std::move(list);
        return c;
    }
    [[nodiscard]] static choices from_bytes(std::span<std::uint8_t const> bytes) {
        choices c{0};
        c.source_ = source::bytes;
        c.bytes_ = bytes;
        return c;
    }
    /// `histories` must outlive it.
    explicit choices(every_history& histories) : source_{source::histories}, histories_{&histories} {}

    /// 0 .. n-1; 0 for n < 2, without asking the source.
    std::uint64_t choose(std::uint64_t n) {
        if (n < 2) return 0;
        ++asked_;
        if (n >= std::uint64_t{1} << 32 && source_ != source::seed) return mixed(asked_) % n;
        switch (source_) {
            case source::seed: return mixed(state_++) % n;
            case source::list: return position_ < list_.size() ? list_[position_++] % n : 0;
            case source::bytes: return from_next_bytes(n);
            case source::histories: return histories_->choose(n);
        }
        return 0;
    }

    /// True once in n times; never with a source of zeros.
    bool one_in(std::uint64_t n) { return n <= 1 || choose(n) == n - 1; }

    /// least .. most, inclusive, in steps of a microsecond.
    microseconds between(microseconds least, microseconds most) {
        if (most <= least) return least;
        auto const width = static_cast<std::uint64_t>((most - least).count()) + 1;
        return least + microseconds{static_cast<microseconds::rep>(choose(width))};
    }

    /// How many choices there have been.
    [[nodiscard]] std::uint64_t asked() const { return asked_; }

private:
    enum class source : std::uint8_t { seed, list, bytes, histories };

    std::uint64_t from_next_bytes(std::uint64_t n) {
        std::uint64_t value = 0;
        for (std::uint64_t range = 1; range < n && position_ < bytes_.size(); range <<= 8) {
            value = value << 8 | bytes_[position_++];
            if (range > (~std::uint64_t{0} >> 8)) break;
        }
        return value % n;
    }

    source source_;
    std::uint64_t state_ = 0;
    std::uint64_t asked_ = 0;
    std::size_t position_ = 0;
    std::vector<std::uint64_t> list_;
    std::span<std::uint8_t const> bytes_;
    every_history* histories_ = nullptr;
};

}  // namespace rota::sim
