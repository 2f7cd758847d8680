// The policies of a coordinator, held by value, and the way of an engine to those that every mode has.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "../policies.hpp"
#include "deliver.hpp"
#include "leader_machine.hpp"
#include "policy_set.hpp"

namespace rota::detail {

/// `Ports`: blocking_ports or async_ports, whose other members the coordinator adds.
template <typename Ports, typename Set>
class policy_ports : public Ports {
    using transport_type = typename Set::transport;
    using strategy_type = typename Set::strategy;
    using sink_type = typename Set::sink;

public:
    policy_ports(transport_type t, strategy_type s, sink_type k)
        : transport{std::move(t)},
          rules{std::move(s)},
          sink{std::move(k)} {}

    result<void> open(transport_settings const& settings) final { return unwrap(transport).open(settings); }
    bool take_server_changed() final {
        if constexpr (requires { unwrap(transport).take_server_changed(); }) {
            return unwrap(transport).take_server_changed();
        } else {
            return false;
        }
    }
    std::optional<pushed_news> take_news(subscription const& sub) final {
        if constexpr (requires { unwrap(transport).take_news(sub); }) {
            return unwrap(transport).take_news(sub);
        } else {
            return std::nullopt;
        }
    }
    std::vector<error> take_warnings() final {
        if constexpr (requires { unwrap(transport).take_warnings(); }) {
            return unwrap(transport).take_warnings();
        } else {
            return {};
        }
    }
    void deliver(event const& e) noexcept final { detail::deliver(sink, e); }

    planner strategy() final {
        using plain = unwrapped_t<strategy_type>;
        auto const& policy = unwrap(std::as_const(rules));
        return {&policy, [](void const* self, cluster_view const& view, plan& into) {
                    auto const& s = *static_cast<plain const*>(self);
                    if constexpr (requires { s.make_plan(view, into); }) {
                        s.make_plan(view, into);
                    } else {
                        into = s.make_plan(view);
                    }
                }};
    }

    [[no_unique_address]] transport_type transport;
    [[no_unique_address]] strategy_type rules;
    [[no_unique_address]] sink_type sink;

protected:
    ~policy_ports() = default;
};

}  // namespace rota::detail
