// How much a group asks of its server: bounded, whatever goes wrong.
#pragma once

#include <map>

#include "../world.hpp"

namespace rota::sim {

/// No node asks the server more than a bounded number of times a second, user calls not counted.
class no_storm final : public invariant {
public:
    std::string_view name() const override { return "no_storm"; }
    void performed(step const& s) override {
        if (s.process == no_process || is_user_call(s.request)) return;
        if (++count_[s.process] > most()) {
            fail(fmt::format("process {} made {} requests within a second", s.process, count_[s.process]));
        }
    }
    void looks() override { count_.clear(); }

private:
    static bool is_user_call(operation const& o) {
        return std::holds_alternative<op::acquire_locks>(o) || std::holds_alternative<op::extend_locks>(o) ||
               std::holds_alternative<op::release_locks>(o) || std::holds_alternative<op::lookup>(o) ||
               std::holds_alternative<op::claim>(o) || std::holds_alternative<op::register_schedules>(o) ||
               std::holds_alternative<op::unregister_schedules>(o) || std::holds_alternative<op::update_schedules>(o) ||
               std::holds_alternative<op::give_order>(o);
    }
    // A few dozen for a change of leader with snapshot and plan, and something per thing that can change.
    [[nodiscard]] std::uint32_t most() const {
        auto const beats = std::chrono::seconds{1} / group().settings().options.heartbeat_interval;
        return 100 + 20 * static_cast<std::uint32_t>(beats) + 4 * group().schedules() + 4 * group().size();
    }
    std::map<std::uint32_t, std::uint32_t> count_;
};

}  // namespace rota::sim
