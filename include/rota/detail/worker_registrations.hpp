// The schedules that a worker was given to register: which are still to be, and when to try again. No I/O.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../attributes.hpp"
#include "../operations.hpp"
#include "../result.hpp"
#include "../run_report.hpp"
#include "../types.hpp"

namespace rota::detail {

template <typename T = void>
class worker_registrations {
public:
    /// Those that are there already stay as they were given first.
    void add(std::vector<schedule> list) {
        for (auto& s : list) {
            if (known_.insert(s.id).second) all_.push_back(std::move(s));
        }
        if (next_ < all_.size()) due_ = std::min(due_, retry_at_);
    }
    /// The server has lost its data.
    void repeat() {
        ++round_;
        next_ = 0;
        one_by_one_ = 0;
        if (!all_.empty()) due_ = instant::min();
    }
    [[nodiscard]] instant due() const { return due_; }

    /// Then done().
    [[nodiscard]] std::vector<schedule> next_page() {
        asked_in_ = round_;
        auto const most = one_by_one_ > 0 ? std::size_t{1} : op::max_batch;
        auto const from = all_.begin() + static_cast<std::ptrdiff_t>(next_);
        return {from, from + static_cast<std::ptrdiff_t>(std::min(most, all_.size() - next_))};
    }

    /// What came of it. Reports those that are refused for good: they are dropped.
    std::vector<run_report> done(std::vector<schedule> const& page, results<void> const& answers, instant now,
                                 microseconds pause) {
        std::vector<run_report> refused;
        if (asked_in_ != round_) {  // repeat() came meanwhile
            due_ = next_ < all_.size() ? instant::min() : instant::max();
            return refused;
        }
        auto const failure = answers.all();
        if (!failure && failure.error() == errc::invalid_argument) {
            if (page.size() > 1) {  // one that is wrong refuses all: which?
                one_by_one_ = page.size();
                return refused;
            }
            refused.push_back({.kind = run_report::what::registration_failed,
                               .schedule = page.front().id,
                               .why = failure.error().message()});
            known_.erase(page.front().id);  // it may be given again as it should be
            all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(next_));
        } else if (!failure) {
            retry_at_ = now + pause;
            due_ = retry_at_;
            return refused;
        } else {
            next_ += page.size();
        }
        one_by_one_ -= std::min(one_by_one_, page.size());
        due_ = next_ < all_.size() ? instant::min() : instant::max();
        retry_at_ = instant::min();
        return refused;
    }

private:
    std::vector<schedule> all_;
    std::set<std::string> known_;
    std::size_t next_ = 0;  // the first that is to be registered
    std::size_t one_by_one_ = 0;
    unsigned round_ = 0;     // of registering all
    unsigned asked_in_ = 0;  // ... of the page that is under way
    instant due_ = instant::max();
    instant retry_at_ = instant::min();
};

}  // namespace rota::detail
