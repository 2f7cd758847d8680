// What a node says of itself (capacity, zone, labels, load), and what the group has been told of that.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "../attributes.hpp"
#include "../options.hpp"
#include "../types.hpp"
#include "late.hpp"

namespace rota::detail {

template <typename T = void>
class node_description {
public:
    explicit node_description(options const& o)
        : attributes_{o.max_schedules_per_node, o.zone, o.labels},
          traits_{to_traits(attributes_)},
          smoothing_{o.load_smoothing},
          floor_{o.load_floor} {}

    [[nodiscard]] node_attributes const& attributes() const { return attributes_; }
    void set(node_attributes attributes) {
        attributes_ = std::move(attributes);
        traits_ = to_traits(attributes_, load_);
    }

    /// A load as the user measures it, at any rate: smoothed (a first-order low-pass), and to be told only when it has
    /// changed by a tenth, or by a tenth of the floor.
    void measured(double load, instant now) {
        if (!smooth_) {
            smooth_ = load;
        } else {
            auto const since = static_cast<double>((now - measured_at_).count());
            auto const constant = static_cast<double>(smoothing_.count());
            auto const weight = since + constant > 0 ? since / (since + constant) : 1;
            *smooth_ += (load - *smooth_) * weight;
        }
        measured_at_ = now;
        auto const before = load_.value_or(0);
        auto const differs = *smooth_ > before ? *smooth_ - before : before - *smooth_;
        if (load_ && differs <= 0.1 * std::max(before, floor_)) return;
        load_ = smooth_;
        traits_ = to_traits(attributes_, load_);
    }

    [[nodiscard]] std::uint32_t capacity() const { return attributes_.capacity.value_or(unlimited); }
    [[nodiscard]] std::string const& traits() const { return traits_; }

    // ---------------------------------------------------------------- as the group knows it

    [[nodiscard]] std::uint32_t told_capacity() const { return told_capacity_; }
    [[nodiscard]] std::string const& told_traits() const { return told_traits_; }
    void told(std::uint32_t capacity, std::string traits) {
        surely_ = true;
        told_capacity_ = capacity;
        told_traits_ = std::move(traits);
    }
    /// A request that tells it is under way: until told(), the group may know it as before or not. (Without a reply it may
    /// take effect later.)
    void telling() { surely_ = false; }
    /// The server refused it.
    void tell_again_from(instant when) { not_before_ = when; }

    /// Whether the group knows this node as it is.
    [[nodiscard]] bool is_told() const { return surely_ && capacity() == told_capacity_ && traits_ == told_traits_; }
    [[nodiscard]] bool to_be_told(instant now) const { return !is_told() && now >= not_before_; }

private:
    node_attributes attributes_;
    std::optional<double> load_;
    late<std::string, T> traits_;  // attributes and load

    microseconds smoothing_;
    double floor_;
    std::optional<double> smooth_;
    instant measured_at_{};

    std::uint32_t told_capacity_ = unlimited;
    std::string told_traits_;
    bool surely_ = true;
    instant not_before_{};
};

}  // namespace rota::detail
