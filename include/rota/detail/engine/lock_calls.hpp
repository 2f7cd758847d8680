// Locks: taken, extended and given back in pages, each page one request. Handles are the Mode's: here locks go by what
// they are (lock_host::target).
#pragma once

#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "driver.hpp"

namespace rota::detail {

template <typename Mode, typename Defects>
class lock_calls {
    using driver_type = driver<Mode, Defects>;
    using core_type = typename driver_type::core_type;
    using operation = late<rota::operation, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    using target = lock_host::target;

    /// What was granted, and until when it may be believed in.
    struct grant {
        target held;
        instant until{};
    };

    explicit lock_calls(driver_type& d) : driver_{d} {}

    // ---------------------------------------------------------------- taking them

    flow<std::vector<late<rota::result<grant>, Defects>>> acquire(op::lock_kind kind, std::vector<std::string> names,
                                                                  microseconds ttl) {
        auto const wanted = names.size();
        std::vector<result<grant>> grants;
        grants.reserve(wanted);
        if (auto r = check(kind, names, ttl); !r) {
            while (grants.size() < wanted) grants.push_back(r.error());
            co_return grants;
        }
        while (grants.size() < wanted) {
            auto const count = std::min<std::size_t>(op::max_batch, wanted - grants.size());
            std::vector<std::string> page;
            if (count == wanted) {
                page = std::move(names);
            } else {
                auto const begin = std::make_move_iterator(names.begin() + std::ssize(grants));
                page.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
            }
            auto const r = co_await acquire_page(kind, std::move(page), ttl, grants);
            while (!r && grants.size() < wanted) grants.push_back(r.error());
        }
        driver_.deliver();
        co_return grants;
    }

    /// One that came with its schedule: there is nothing to ask, and so nothing to wait for. Nothing: whoever acquire()s it
    /// gets it, or learns why not. (Where this node hands no locks on, none will come as a rule: no turn is taken for that.)
    std::optional<grant> acquire_handed(std::string& name, microseconds ttl) {
        if (driver_.core.settings().handoff_lock_ttl == microseconds{}) return std::nullopt;
        if (driver_.in_sink() || !check_ttl(ttl)) return std::nullopt;
        std::optional<grant> lock;
        {
            auto const turn = driver_.mode.user_turn();
            auto const now = driver_.now();
            if (!driver_.core.has_handed_locks() || !driver_.core.can_act(now)) return std::nullopt;
            lock = take_handed(name, ttl, now);
            driver_.collect();
        }
        driver_.deliver();
        return lock;
    }

    // ---------------------------------------------------------------- and keeping or giving back a page of them

    /// All of one kind, at most op::max_batch. Until when each may be believed in from now on.
    flow<std::vector<late<rota::result<instant>, Defects>>> extend(std::vector<target> held, microseconds ttl) {
        std::vector<result<instant>> answers;
        answers.reserve(held.size());
        auto may = driver_.enter();
        if (may) may = check_ttl(ttl);
        auto const turn = driver_.mode.user_turn();
        auto const kind = held.front().kind;
        auto const self = driver_.belief->incarnation();
        op::extend_locks asked{.incarnation = self, .kind = kind, .ttl = ttl};
        asked.items.reserve(held.size());
        for (auto const& l : held) {
            if (l.incarnation == self) asked.items.push_back({l.name, l.token});
        }
        if (may && !asked.items.empty()) may = driver_.core.can_act(driver_.now());
        if (!may || asked.items.empty()) {
            for (auto const& l : held) answers.push_back(may ? error{errc::lock_lost, in_words(l.name)} : may.error());
            co_return answers;
        }
        operation const request{std::move(asked)};
        auto const sent = driver_.now();
        auto const answer = co_await driver_.attempt(request);
        driver_.collect();
        auto const at = driver_.now();
        std::size_t next = 0;
        for (auto const& l : held) {
            if (l.incarnation != self) {  // of a membership that has ended
                answers.push_back(error{errc::lock_lost, in_words(l.name)});
                continue;
            }
            if (!answer) {
                answers.push_back(answer.error());
                continue;
            }
            auto const& out = std::get<op::outcomes>(*answer).items[next++];
            if (out.ok()) {
                answers.push_back(driver_.core.on_extended(kind, l.name, out, sent, at));
            } else {
                answers.push_back(error{out.code, in_words(l.name)});
                if (out.code == errc::lock_lost) driver_.core.on_released(kind, l.name, l.token);
            }
        }
        co_return answers;
    }

    /// All of one kind, at most op::max_batch; their handles are invalid already.
    flow<std::vector<late<rota::result<void>, Defects>>> release(std::vector<target> held) {
        std::vector<result<void>> answers(held.size());
        op::release_locks request{.kind = held.front().kind};
        request.items.reserve(held.size());
        for (auto const& l : held) request.items.push_back({l.name, l.token});
        auto const turn = driver_.mode.user_turn();
        auto const r = co_await driver_.release_locked(std::move(request));
        for (std::size_t i = 0; i < held.size(); ++i) {
            if (!r) {
                answers[i] = r.error();
            } else if (!r->items[i].ok()) {
                answers[i] = error{r->items[i].code, in_words(held[i].name)};
            }
        }
        co_return answers;
    }

    result<void> check_ttl(microseconds ttl) const {
        auto const& o = driver_.core.settings();
        if (auto r = check_duration("ttl", ttl, microseconds{1000}, std::chrono::hours{24 * 30}); !r) return r;
        if (anchored(o, instant{}, instant{}, ttl) > instant{}) return {};
        return {errc::invalid_argument,
                fmt::format("ttl is {}: nothing is left of it after safety_margin ({}) and clock_drift", in_words(ttl),
                            in_words(o.safety_margin))};
    }

private:
    class acquiring {
    public:
        acquiring(core_type& core, op::acquire_locks const& asked) : core_{core}, entries_{core.on_acquiring(asked)} {}
        acquiring(acquiring const&) = delete;
        acquiring& operator=(acquiring const&) = delete;
        ~acquiring() { core_.no_longer_acquiring(entries_); }

        /// Null: to be looked up.
        [[nodiscard]] auto* entry(std::size_t i) const { return entries_.empty() ? nullptr : entries_[i]; }

    private:
        core_type& core_;
        std::vector<typename core_type::lock_entry*> entries_;
    };

    result<void> check(op::lock_kind kind, std::vector<std::string> const& names, microseconds ttl) const {
        if (auto r = driver_.enter(); !r) return r;
        if (auto r = check_ttl(ttl); !r) return r;
        char const* const what = kind == op::lock_kind::schedule ? "a schedule id" : "the name of a lock";
        for (auto const& name : names) {
            if (auto r = check_id(what, name); !r) return at_item(&name - names.data(), r.error());
        }
        if (names.size() == 1) return {};
        return check_distinct({names.begin(), names.end()});
    }

    flow<result<void>> acquire_page(op::lock_kind kind, std::vector<std::string> names, microseconds ttl,
                                    std::vector<late<rota::result<grant>, Defects>>& grants) {
        auto const turn = driver_.mode.user_turn();
        auto& core = driver_.core;
        if (auto r = core.can_act(driver_.now()); !r) co_return r;
        auto const first = grants.size();
        std::vector<taken> handed;
        if (kind == op::lock_kind::schedule && core.has_handed_locks()) {
            handed = take_handed(names, ttl);
            result<void> may;
            if (auto in_the_way = handed_in_the_way_of(names); !in_the_way.items.empty()) {
                auto const r = co_await driver_.release_locked(std::move(in_the_way));
                may = r ? core.can_act(driver_.now()) : r.error();
            }
            if (names.empty() || !may) {
                if (!may) grants.insert(grants.end(), names.size(), may.error());
                insert(handed, first, grants);
                driver_.collect();
                co_return may;
            }
        }
        operation request = core.acquisition(kind, std::move(names), ttl);
        auto& asked = std::get<op::acquire_locks>(request);
        std::optional<acquiring> under_way;
        if constexpr (Mode::interleaves) under_way.emplace(core, asked);
        auto const sent = driver_.now();
        auto const answer = co_await driver_.attempt(request);
        if (!answer) {
            under_way.reset();
            driver_.collect();
            bool const perhaps = answer.error() == errc::outcome_unknown || answer.error() == errc::cancelled;
            if (perhaps) driver_.note_unanswered(request, driver_.now() + ttl);
            if (!handed.empty()) {
                grants.insert(grants.end(), asked.items.size(), answer.error());
                insert(handed, first, grants);
            }
            co_return answer.error();
        }
        auto const& granted = std::get<op::outcomes>(*answer).items;
        auto const at = driver_.now();
        bool const alive = driver_.belief->alive(asked.incarnation, at);
        for (std::size_t i = 0; i < granted.size(); ++i) {
            auto& name = asked.items[i].name;
            if (!granted[i].ok()) {
                grants.push_back(error{granted[i].code, why_not(granted[i], name)});
                if (granted[i].code == errc::locked_by_other && kind == op::lock_kind::schedule) {
                    core.on_locked_by_other(name);
                }
                continue;
            }
            if (kind == op::lock_kind::schedule) core.on_lock_granted(name);
            auto* const known = under_way ? under_way->entry(i) : nullptr;
            auto const until =
                core.on_acquired(known != nullptr ? *known : core.entry_of(kind, name), granted[i], sent, at);
            grants.emplace_back(grant{{kind, std::move(name), granted[i].token, asked.incarnation}, until});
            if (at >= until || !alive) give_up(grants.back());
        }
        under_way.reset();
        insert(handed, first, grants);
        driver_.collect();
        co_return result<void>{};
    }

    // A lock that came with its schedule, and which of the page it is.
    struct taken {
        std::size_t index = 0;
        grant what;
    };
    // Out of `names`, what need not be asked for.
    std::vector<taken> take_handed(std::vector<std::string>& names, microseconds ttl) {
        std::vector<taken> all;
        auto const now = driver_.now();
        std::vector<std::string> others;
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (auto lock = take_handed(names[i], ttl, now)) {
                all.push_back({i, *std::move(lock)});
            } else {
                others.push_back(std::move(names[i]));
            }
        }
        names = std::move(others);
        return all;
    }
    std::optional<grant> take_handed(std::string& name, microseconds ttl, instant now) {
        auto const lock = driver_.core.take_handed(name, ttl, now);
        if (!lock) return std::nullopt;
        target held{op::lock_kind::schedule, std::move(name), lock->token, driver_.belief->incarnation()};
        return grant{std::move(held), lock->until};
    }
    op::release_locks handed_in_the_way_of(std::vector<std::string> const& names) {
        op::release_locks request{.kind = op::lock_kind::schedule};
        for (auto const& name : names) {
            if (auto const token = driver_.core.handed_in_the_way_of(name, driver_.now())) {
                request.items.push_back({name, *token});
            }
        }
        return request;
    }
    // Each where it belongs among those of its page, which begins at `first`.
    void insert(std::vector<taken>& locks, std::size_t first, std::vector<late<rota::result<grant>, Defects>>& grants) {
        auto const at = driver_.now();
        for (auto& l : locks) {
            bool const of_use = at < l.what.until && driver_.belief->alive(l.what.held.incarnation, at);
            auto const put =
                grants.insert(grants.begin() + static_cast<std::ptrdiff_t>(first + l.index), std::move(l.what));
            if (!of_use) give_up(*put);
        }
    }
    // One that comes too late to be of use goes back.
    void give_up(late<rota::result<grant>, Defects>& lock) {
        error why{errc::lock_lost, in_words(lock->held.name) + " was granted too late to be of use"};
        driver_.abandon(std::move(lock->held));
        lock = std::move(why);
    }

    static std::string why_not(op::outcome const& out, std::string const& name) {
        if (out.code != errc::locked_by_other) return in_words(name);
        return fmt::format("{}, for {} ms at most", in_words(name), out.remaining.count() / 1000 + 1);
    }

    driver_type& driver_;
};

}  // namespace rota::detail
