// Which schedules there are, and who has them: register, update, unregister, claim, transfer. In pages, each page one
// request (or two, where it has to be looked up first who owns what). What is given by span must live until the end.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "driver.hpp"
#include "group_calls.hpp"

namespace rota::detail {

/// Runs that are done, as the server is told of them.
template <typename = void>
std::vector<op::trigger::item> as_items(std::vector<schedule_triggered> const& runs) {
    std::vector<op::trigger::item> items;
    items.reserve(runs.size());
    for (auto const& r : runs) items.push_back({r.schedule, 0, r.token});
    return items;
}

template <typename Mode, typename Defects>
class schedule_calls {
    using driver_type = driver<Mode, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    schedule_calls(driver_type& d, group_calls<Mode, Defects>& group) : driver_{d}, group_{group} {}

    flow<results<void>> register_schedules(std::span<schedule const> all) {
        auto may = driver_.enter();
        if (may) may = check_schedules(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            op::register_schedules request;
            for (auto const& s : page) request.items.push_back({s.id, s.weight, to_traits(s.rules)});
            auto const r = co_await driver_.perform(std::move(request));
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (!r) {
                    answers.push_back(r.error());
                } else if (r->items[i].ok()) {
                    answers.push_back({});
                } else {
                    answers.push_back(error{r->items[i].code, in_words(page[i].id)});
                }
            }
        }
        co_await driver_.after_change();
        co_return answers;
    }

    flow<results<void>> update_schedules(std::span<schedule const> all) {
        auto may = driver_.enter();
        if (may) may = check_schedules(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            std::vector<std::string> ids;
            for (auto const& s : page) ids.push_back(s.id);
            auto const ask = [page](std::vector<located> const& found) {
                op::update_schedules request;
                for (auto const& [i, owner] : found) {
                    request.items.push_back({page[i].id, page[i].weight, to_traits(page[i].rules), owner});
                }
                return request;
            };
            co_await at_their_owners(ids, answers, ask);
        }
        co_await driver_.after_change();
        co_return answers;
    }

    flow<results<void>> trigger(std::span<std::string const> all) {
        auto may = driver_.enter();
        if (may) may = check_ids(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            auto const ask = [page](std::vector<located> const& found) {
                op::trigger request;
                for (auto const& [i, owner] : found) request.items.push_back({page[i], owner, 0});
                return request;
            };
            co_await at_their_owners(page, answers, ask);
        }
        co_await driver_.after_change();
        co_return answers;
    }

    /// `all`: without owners.
    flow<results<void>> trigger_done(std::span<op::trigger::item const> all) {
        if (auto may = driver_.enter(); !may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            op::trigger request;
            request.items.assign(page.begin(), page.end());
            auto const r = co_await driver_.perform(std::move(request));
            auto const turn = driver_.mode.user_turn();
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (!r) {
                    answers.push_back(r.error());
                } else if (!r->items[i].ok()) {
                    answers.push_back(error{r->items[i].code, in_words(page[i].id)});
                } else {
                    driver_.core.on_trigger_done(page[i].id, page[i].done);
                    answers.push_back({});
                }
            }
        }
        driver_.deliver();
        co_return answers;
    }

    flow<results<void>> unregister_schedules(std::span<std::string const> all) {
        auto may = driver_.enter();
        if (may) may = check_ids(all);
        if (!may) co_return all_failed<void>(all.size(), may.error());
        results<void> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            auto const nonce = new_nonce();
            auto const ask = [page, nonce](std::vector<located> const& found) {
                op::unregister_schedules request{.nonce = nonce};
                for (auto const& [i, owner] : found) request.items.push_back({page[i], owner});
                return request;
            };
            co_await at_their_owners(page, answers, ask);
        }
        co_await driver_.after_change();
        co_return answers;
    }

    flow<results<owned_schedule>> claim(std::span<std::string const> all) {
        auto may = driver_.enter();
        if (may) may = check_ids(all);
        if (!may) co_return all_failed<owned_schedule>(all.size(), may.error());
        results<owned_schedule> answers;
        for (std::size_t n = 0; !page_of(all, n).empty(); ++n) {
            auto const page = page_of(all, n);
            op::claim request{.ids = {page.begin(), page.end()}};
            if (auto r = as_member(request); !r) {
                for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(r.error());
                continue;
            }
            auto const r = co_await driver_.perform(std::move(request));
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (!r) {
                    answers.push_back(r.error());
                } else if (!r->items[i].ok()) {
                    bool const guarded = r->items[i].code == errc::conflict;
                    auto const why = guarded ? ": registered anew, and an earlier owner may not have heard of it" : "";
                    answers.push_back(error{r->items[i].code, in_words(page[i]) + why});
                } else {
                    answers.push_back(owned_schedule{page[i], r->items[i].token});
                }
            }
            if (r) driver_.note_own_change(*r);
        }
        co_await driver_.after_change();
        auto const turn = driver_.mode.user_turn();
        for (auto& claimed : answers) {
            if (!claimed) continue;
            auto const s = driver_.belief->table().find(claimed->id);  // the weight is known by now
            if (s == driver_.belief->table().end()) continue;
            claimed->weight = s->second.weight;
            claimed->triggered = s->second.triggered;
        }
        co_return answers;
    }

    flow<result<void>> transfer(std::string id, std::string node_id) {
        auto may = driver_.enter();
        if (may) may = check_id("the schedule id", id);
        if (!may) co_return may;
        auto to = known_incarnation_of(node_id);
        bool const remembered = to != 0;
        for (;;) {
            if (to == 0) {
                auto const found = co_await group_.incarnation_of(node_id);
                if (!found) co_return found.error();
                to = *found;
            }
            auto r = co_await transfer_to(id, to);
            bool const stale = !r && r.error() == errc::unknown_node;
            remember(node_id, stale ? 0 : to);
            if (stale && remembered) {  // it has joined anew, perhaps
                auto const found = co_await group_.incarnation_of(node_id);
                if (!found) co_return found.error();
                if (*found != std::exchange(to, *found)) continue;
            }
            if (r || !r.error().detail.empty()) co_return r;
            co_return error{r.error().code, in_words(id) + " to " + in_words(node_id)};
        }
    }

private:
    struct located {
        std::size_t item = 0;
        fencing_token owner = 0;
    };

    struct outcome_or_error {
        bool settled = false;
        errc code{};
        std::string words;

        void set(result<op::outcomes> const& r, std::size_t item) {
            code = r ? r->items[item].code : r.error().code;
            words = r ? std::string{} : r.error().detail;
            settled = code != errc::conflict;
        }
        result<void> as_result(std::string const& what) const {
            if (code == errc{}) return {};
            return {code, words.empty() ? what : words};
        }
    };

    // ---------------------------------------------------------------- transfer

    flow<result<void>> transfer_to(std::string const& id, fencing_token to) {
        bool given = false;
        {
            auto const turn = driver_.mode.user_turn();
            if (auto can = driver_.core.can_act(driver_.now()); !can) co_return can;
            given = driver_.core.give(id, to, driver_.now());
        }
        if (given) {
            auto r = co_await outcome_of_gift(id);
            co_await driver_.after_change();
            // A conflict: a repeat after it had gone, or somebody else wants it moved.
            if (r || (r.error() != errc::locked_by_other && r.error() != errc::conflict)) co_return r;
        }
        auto r = co_await ask_for_handoff(id, to);
        co_return r;
    }

    // An idle schedule of ours goes in one step, with the lane.
    flow<result<void>> outcome_of_gift(std::string const& id) {
        auto const limit = driver_.time_allowed();
        for (unsigned n = 1;; ++n) {
            co_await driver_.drive();
            auto const turn = driver_.mode.user_turn();
            if (auto const out = driver_.core.take_given(id)) {
                if (out->ok()) co_return result<void>{};
                co_return out->code;
            }
            auto const failure = driver_.core.last_failure();
            if (!failure || n >= 3 || driver_.now() >= limit) {
                driver_.core.forget_given(id);
                co_return error{errc::outcome_unknown, in_words(id) + " goes as soon as the server answers" +
                                                           (failure ? ": " + failure->detail : std::string{})};
            }
            driver_.core.want_tick(driver_.now());
        }
    }

    // Somebody else's, or one with a run in hand.
    flow<result<void>> ask_for_handoff(std::string const& id, fencing_token to) {
        auto const found = co_await look_up(id);
        if (!found) co_return found.error();
        if (!found->registered) co_return error{errc::unknown_schedule, in_words(id)};
        auto const& status = found->status;
        if (status.owner == to && status.moving_to == 0) co_return result<void>{};
        fencing_token self = 0, term = 0, seen = 0;
        {
            auto const turn = driver_.mode.user_turn();
            if (auto can = driver_.core.can_act(driver_.now()); !can) co_return can;
            self = driver_.core.self().incarnation;
            if (driver_.belief->leads(driver_.now())) term = driver_.belief->term();
            seen = driver_.core.seen();
        }
        if (term == 0 && status.owner != self) {
            co_return error{errc::not_leader, "only the owner or the leader transfers a schedule"};
        }
        if (status.owner == to) co_return error{errc::conflict, in_words(id) + " is on its way to another node"};
        result<op::outcomes> r = errc::not_leader;
        if (status.owner == 0) {
            op::adopt request{.incarnation = self, .term = term, .items = {}, .seen = seen};
            request.items.push_back({id, status.generation, 0, to, change_reason::transferred});
            r = co_await driver_.perform(std::move(request));
        } else {
            op::revoke request{.incarnation = self,
                               .term = status.owner == self ? 0 : term,
                               .items = {},
                               .handoff_deadline = driver_.core.settings().handoff_deadline};
            request.items.push_back({id, status.generation, status.owner, to, change_reason::transferred});
            r = co_await driver_.perform(std::move(request));
        }
        if (!r) co_return r.error();
        driver_.note_own_change(*r);
        co_await driver_.after_change();
        auto const& out = r->items.front();
        if (out.ok()) co_return result<void>{};
        if (out.code == errc::conflict) {  // also what a repeat is answered, once the first has taken effect
            auto const now_at = co_await look_up(id);
            if (now_at && now_at->status.owner == to) co_return result<void>{};
        }
        co_return out.code;
    }

    // Whom a schedule was transferred to before: one look at the group less. One that has joined anew since is found by
    // being refused.
    [[nodiscard]] fencing_token known_incarnation_of(std::string const& node_id) {
        auto const turn = driver_.mode.user_turn();
        auto const found = incarnations_.find(node_id);
        return found == incarnations_.end() ? 0 : found->second;
    }
    void remember(std::string const& node_id, fencing_token incarnation) {
        auto const turn = driver_.mode.user_turn();
        if (incarnation == 0 || incarnations_.size() >= 1000) incarnations_.clear();
        if (incarnation != 0) incarnations_[node_id] = incarnation;
    }

    // ---------------------------------------------------------------- what the others have in common

    // Requests that need to know where each schedule is: that is looked up first; who moved in between is looked up again.
    template <typename Ask>
    flow<void> at_their_owners(std::span<std::string const> page, results<void>& answers, Ask const& ask) {
        std::vector<outcome_or_error> state(page.size());
        for (int round = 0; round < 4; ++round) {
            op::lookup look;
            std::vector<located> open;
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (state[i].settled) continue;
                look.ids.push_back(page[i]);
                open.push_back({i, 0});
            }
            if (open.empty()) break;
            auto const found = co_await driver_.perform(std::move(look));
            for (std::size_t k = 0; found && k < open.size(); ++k) open[k].owner = found->items[k].status.owner;
            result<op::outcomes> r = errc::unavailable;
            if (found) {
                auto request = ask(open);
                r = co_await driver_.perform(std::move(request));
            } else {
                r = found.error();
            }
            for (std::size_t k = 0; k < open.size(); ++k) state[open[k].item].set(r, k);
            if (r) driver_.note_own_change(*r);
        }
        for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(state[i].as_result(in_words(page[i])));
    }

    flow<result<op::lookup_reply::entry>> look_up(std::string const& id) {
        op::lookup request;
        request.ids.push_back(id);
        auto found = co_await driver_.perform(std::move(request));
        if (!found) co_return found.error();
        co_return std::move(found->items.front());
    }

    static result<void> check_schedules(std::span<schedule const> list) {
        std::vector<std::string_view> ids;
        for (auto const& s : list) {
            if (auto r = check_schedule(s); !r) return at_item(&s - list.data(), r.error());
            ids.push_back(s.id);
        }
        return check_distinct(std::move(ids));
    }

    static result<void> check_schedule(schedule const& s) {
        if (auto r = check_id("a schedule id", s.id); !r) return r;
        if (!is_finite(s.weight) || s.weight <= 0) {
            return {errc::invalid_argument,
                    fmt::format("the weight of {} is {}, must be finite and more than 0", in_words(s.id), s.weight)};
        }
        if (!s.rules.pin.empty()) {
            if (auto r = check_id("a pin", s.rules.pin); !r) return r;
        }
        if (auto r = check_label("a group", s.rules.group, 0); !r) return r;
        if (auto r = check_labels({}, s.rules.required, "a required label"); !r) return r;
        return check_labels({}, s.rules.forbidden, "a forbidden label");
    }

    std::uint64_t new_nonce() {
        auto const turn = driver_.mode.user_turn();
        return driver_.core.new_nonce();
    }

    result<void> as_member(op::claim& request) {
        auto const turn = driver_.mode.user_turn();
        if (auto r = driver_.core.can_act(driver_.now()); !r) return r;
        request.incarnation = driver_.core.self().incarnation;
        request.seen = driver_.core.seen();
        return {};
    }

    driver_type& driver_;
    group_calls<Mode, Defects>& group_;
    std::map<std::string, fencing_token> incarnations_;
};

}  // namespace rota::detail
