// Whole units flow through a network and come back: a circulation, which is made best for one goal after another. What
// a goal needs is then closed to change, so that later goals choose only among flows that are as good for all earlier
// ones. Two sorts of goals:
//
//   minimise   as few units as can be over the edges that count for the goal. Successive cheapest paths, many units on
//              each (Ahuja, Magnanti, Orlin: Network Flows, 1993, ch. 9.8), blocking flows by E. Dinic (1970).
//   even_out   the loads of some vertices as even as can be: the sum of their squares is least. The water level is a
//              guess that one maximum flow proves, or splits into a part that must stand higher, one that must stand
//              lower, and one that is right (decomposition: H. Groenevelt 1991). Loads may be of any size.
//
// What a goal needs is found by its prices (dual values): an edge whose reduced cost is not 0 has the same flow in all
// best flows. So this is exact, with no number that has to be large enough to stand for "more important".
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "../strategy/balance.hpp"
#include "assert.hpp"

namespace rota::detail {

/// First all vertices and edges, then build(), then goals, then each_edge(). Vertices are numbered as they are added. The
/// flow that the edges are given must be one: at each vertex as much comes in as goes out, but for a constant of the
/// caller's (what is supplied there, or used up), which is kept.
template <typename = void>
class assignment_flow {
public:
    using number = std::uint32_t;
    static constexpr number none = ~number{0};

    /// A vertex whose flow to the sink is part of its load, and the rest of that load, which is no part of the flow.
    struct place {
        number vertex;
        number fixed = 0;
    };
    /// What the load of a place may be in the most even flows.
    struct band {
        number low = 0;
        number high = 0;
        friend bool operator==(band const&, band const&) = default;
    };

    number add_vertex() { return vertices_++; }

    /// `goals`: bit g is set if units on it count for minimise(g).
    void add_edge(number from, number to, number capacity, number flow, unsigned goals = 0) {
        if (capacity > 0) edges_.push_back({from, to, capacity, flow, goals});
    }

    [[nodiscard]] std::size_t edges() const noexcept { return edges_.size(); }

    void build() {
        first_.assign(vertices_ + 1, 0);
        for (auto const& e : edges_) ++first_[e.from], ++first_[e.to];
        number sum = 0;
        for (auto& at : first_) sum += std::exchange(at, sum);
        next_ = first_;
        arcs_.resize(edges_.size() * 2);
        for (auto const& e : edges_) {
            auto const there = next_[e.from]++;
            auto const back = next_[e.to]++;
            arcs_[there] = {e.to, e.capacity - e.flow, back, static_cast<std::uint16_t>(e.goals), true, false};
            arcs_[back] = {e.from, e.flow, there, static_cast<std::uint16_t>(e.goals), false, false};
        }
        std::vector<edge>{}.swap(edges_);
        excess_.assign(vertices_, 0);
        deficit_.assign(vertices_, 0);
        depth_.assign(vertices_, none);
        price_.assign(vertices_, 0);
        part_.assign(vertices_, 0);
        everywhere_.resize(vertices_);
        for (number v = 0; v < vertices_; ++v) everywhere_[v] = v;
    }

    /// Calls visit(to, flow, rest of the capacity, goals) for each edge that leaves the vertex, in the order in which
    /// they were added.
    template <typename Visit>
    void each_edge(number vertex, Visit const& visit) const {
        for (auto a = first_[vertex]; a < first_[vertex + 1]; ++a) {
            auto const& arc = arcs_[a];
            if (arc.forward) visit(arc.to, arcs_[arc.twin].rest, arc.rest, unsigned{arc.goals});
        }
    }

    /// Brings the flow over the edges that count for goal g to its least.
    void minimise(unsigned g) {
        goal_ = std::uint16_t(1U << g);
        for (auto& price : price_) price = 0;
        lift();
        while (push_all()) raise_prices();
        for (number v = 0; v < vertices_; ++v) {
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                if (cost(v, arcs_[a]) > 0) arcs_[a].closed = true;
            }
        }
        goal_ = 0;
        for (auto& price : price_) price = 0;
    }

    /// Makes the loads of the places as even as can be, and closes what would make them less so. bands[i] is where the
    /// load of places[i] then is, and may be; the edges from places to the sink keep no other record of it. What flows to
    /// the sink from other vertices stays as it is.
    void even_out(number sink, std::vector<place> const& places, std::vector<band>& bands) {
        levelled_.clear();
        for (number i = 0; i < places.size(); ++i) levelled_.push_back(range_of(sink, places[i], i));
        vertex_list_ = everywhere_;
        part_[sink] = none;
        number parts = 0;
        std::vector<stretch> left{{0, vertex_list_.size(), 0, levelled_.size(), parts++}};
        while (!left.empty()) {
            auto const now = left.back();
            left.pop_back();
            settle(now, parts, left);
        }

        for (number v = 0; v < vertices_; ++v) {
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                if (part_[v] != part_[arcs_[a].to]) arcs_[a].closed = true;
            }
        }
        bands.resize(places.size());
        for (auto const& p : levelled_) {
            bands[p.index] = {static_cast<number>(p.lower), static_cast<number>(p.upper)};
            keep_band(sink, p);
        }
        for (auto& part : part_) part = 0;
    }

private:
    struct edge {
        number from, to, capacity, flow;
        unsigned goals;
    };

    // One direction of an edge: what more can flow this way, be it by taking back what flows the other way.
    struct residual {
        number to;
        number rest;
        number twin;
        std::uint16_t goals;
        bool forward;
        bool closed;
    };

    [[nodiscard]] std::int32_t cost(number from, residual const& a) const {
        auto const own = (a.goals & goal_) == 0 ? 0 : a.forward ? 1 : -1;
        return own + price_[from] - price_[a.to];
    }
    static bool open(residual const& a) { return a.rest > 0 && !a.closed; }

    // Takes all units that can be taken from the edges that count; they have to find their way anew.
    void lift() {
        for (number v = 0; v < vertices_; ++v) {
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                auto& there = arcs_[a];
                if (!there.forward || (there.goals & goal_) == 0) continue;
                auto& back = arcs_[there.twin];
                if (!open(back)) continue;
                excess_[v] += back.rest;
                deficit_[there.to] += back.rest;
                there.rest += back.rest;
                back.rest = 0;
            }
        }
        for (number v = 0; v < vertices_; ++v) cancel(v);
    }
    void cancel(number v) {
        auto const both = excess_[v] < deficit_[v] ? excess_[v] : deficit_[v];
        excess_[v] -= both;
        deficit_[v] -= both;
    }

    // Sends what it can from excess to deficit at the present prices. true: there is more, at a higher price.
    bool push_all() {
        while (push_shortest(everywhere_)) {}
        for (auto const excess : excess_) {
            if (excess > 0) return true;
        }
        return false;
    }

    // A blocking flow over the shortest paths from excess to deficit. false: there is none.
    bool push_shortest(std::vector<number> const& within) { return push_shortest(within.data(), within.size()); }
    bool push_shortest(number const* within, std::size_t count) {
        queue_.clear();
        for (std::size_t i = 0; i < count; ++i) {
            auto const v = within[i];
            depth_[v] = none;
            next_[v] = first_[v];
            if (excess_[v] > 0) {
                depth_[v] = 0;
                queue_.push_back(v);
            }
        }
        auto const sources = queue_.size();
        auto goal_depth = none;
        for (std::size_t i = 0; i < queue_.size(); ++i) {
            auto const v = queue_[i];
            if (depth_[v] >= goal_depth) break;
            for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                auto const& arc = arcs_[a];
                if (!open(arc) || depth_[arc.to] != none || part_[arc.to] != part_[v] || cost(v, arc) != 0) continue;
                depth_[arc.to] = depth_[v] + 1;
                if (deficit_[arc.to] > 0) goal_depth = depth_[arc.to];
                queue_.push_back(arc.to);
            }
        }
        if (goal_depth == none) return false;
        for (std::size_t i = 0; i < sources; ++i) {
            while (excess_[queue_[i]] > 0 && push_one(queue_[i])) {}
        }
        return true;
    }

    // As much as one path takes.
    bool push_one(number source) {
        path_.clear();
        for (auto v = source; deficit_[v] == 0;) {
            auto& a = next_[v];
            for (; a < first_[v + 1]; ++a) {
                auto const& arc = arcs_[a];
                if (open(arc) && depth_[arc.to] == depth_[v] + 1 && part_[arc.to] == part_[v] && cost(v, arc) == 0)
                    break;
            }
            if (a < first_[v + 1]) {
                path_.push_back(a);
                v = arcs_[a].to;
                continue;
            }
            depth_[v] = none;
            if (path_.empty()) return false;
            v = arcs_[arcs_[path_.back()].twin].to;
            path_.pop_back();
            ++next_[v];
        }
        auto& wanted = deficit_[arcs_[path_.back()].to];
        auto amount = excess_[source] < wanted ? excess_[source] : wanted;
        for (auto const a : path_) {
            if (arcs_[a].rest < amount) amount = arcs_[a].rest;
        }
        for (auto const a : path_) {
            arcs_[a].rest -= amount;
            arcs_[arcs_[a].twin].rest += amount;
        }
        excess_[source] -= amount;
        wanted -= amount;
        return true;
    }

    // Prices rise by the distance from the excess, up to that of the nearest deficit. Distances are small: a bucket each.
    void raise_prices() {
        depth_.assign(vertices_, none);
        for (auto& bucket : buckets_) bucket.clear();
        if (buckets_.empty()) buckets_.emplace_back();
        for (number v = 0; v < vertices_; ++v) {
            if (excess_[v] == 0) continue;
            depth_[v] = 0;
            buckets_[0].push_back(v);
        }
        auto nearest = none;
        for (number d = 0; d < buckets_.size() && nearest == none; ++d) {
            for (std::size_t i = 0; i < buckets_[d].size(); ++i) {
                auto const v = buckets_[d][i];
                if (depth_[v] != d) continue;
                if (deficit_[v] > 0) {
                    nearest = d;
                    break;
                }
                for (auto a = first_[v]; a < first_[v + 1]; ++a) {
                    auto const& arc = arcs_[a];
                    if (!open(arc)) continue;
                    auto const step = cost(v, arc);
                    ROTA_ASSERT(step >= 0);
                    auto const there = d + static_cast<number>(step);
                    if (there >= depth_[arc.to]) continue;
                    depth_[arc.to] = there;
                    while (buckets_.size() <= there) buckets_.emplace_back();
                    buckets_[there].push_back(arc.to);
                }
            }
        }
        ROTA_ASSERT(nearest != none && nearest > 0);  // what was lifted could at least flow where it did
        for (number v = 0; v < vertices_; ++v) {
            price_[v] += static_cast<std::int32_t>(depth_[v] < nearest ? depth_[v] : nearest);
        }
    }

    // ---- even_out

    // A place: its load, how far that can go without harm to earlier goals, and the band it is to end in.
    struct levelled {
        number vertex;
        number index;
        std::uint64_t load, lowest, highest;
        std::uint64_t lower = 0, upper = 0;
    };

    // A part of the network that is looked at by itself: places in vertex_list_ and levelled_.
    struct stretch {
        std::size_t vertex, vertex_end, place, place_end;
        number part;
    };

    levelled range_of(number sink, place const& p, number index) const {
        levelled made{p.vertex, index, p.fixed, p.fixed, p.fixed};
        for (auto a = first_[p.vertex]; a < first_[p.vertex + 1]; ++a) {
            auto const& there = arcs_[a];
            if (there.to != sink || !there.forward) continue;
            auto const& back = arcs_[there.twin];
            made.load += back.rest;
            made.lowest += open(back) ? 0 : back.rest;
            made.highest += back.rest + (open(there) ? there.rest : 0);
        }
        return made;
    }

    void keep_band(number sink, levelled const& p) {
        bool kept = false;
        for (auto a = first_[p.vertex]; a < first_[p.vertex + 1]; ++a) {
            auto& there = arcs_[a];
            if (there.to != sink || !there.forward) continue;
            auto& back = arcs_[there.twin];
            there.rest = kept ? 0 : static_cast<number>(p.upper - p.load);
            back.rest = kept ? 0 : static_cast<number>(p.load - p.lower);
            there.closed = back.closed = false;
            kept = true;
        }
    }

    static std::uint64_t clamp(std::uint64_t level, levelled const& p) {
        return level < p.lowest ? p.lowest : level > p.highest ? p.highest : level;
    }

    void settle(stretch const& now, number& parts, std::vector<stretch>& left) {
        std::uint64_t total = 0;
        std::uint64_t top = 0;
        for (auto i = now.place; i < now.place_end; ++i) {
            total += levelled_[i].load;
            if (levelled_[i].highest > top) top = levelled_[i].highest;
        }
        auto const volume = [&](std::uint64_t level) {
            std::uint64_t held = 0;
            for (auto i = now.place; i < now.place_end; ++i) held += clamp(level, levelled_[i]);
            return held;
        };
        auto const level = volume(top) <= total ? top : highest_level(0, top, total, volume);
        bool const exact = volume(level) == total;
        for (auto i = now.place; i < now.place_end; ++i) {
            auto& p = levelled_[i];
            p.lower = clamp(level, p);
            p.upper = exact ? p.lower : clamp(level + 1, p);
        }

        using is = levelled const&;
        exchange_load(
            now, [](is p) { return surplus(p.load, p.upper); }, [](is p) { return surplus(p.upper, p.load); });
        exchange_load(
            now, [](is p) { return surplus(p.load, p.lower); }, [](is p) { return surplus(p.lower, p.load); });
        split(now, parts, left);
    }

    static number surplus(std::uint64_t a, std::uint64_t b) { return a > b ? static_cast<number>(a - b) : 0; }

    // As much as can be goes from places that have to spare to places that lack.
    template <typename Spare, typename Lack>
    void exchange_load(stretch const& now, Spare const& spare, Lack const& lack) {
        bool any_spare = false;
        bool any_lack = false;
        for (auto i = now.place; i < now.place_end; ++i) {
            auto const v = levelled_[i].vertex;
            excess_[v] = spare(levelled_[i]);
            deficit_[v] = lack(levelled_[i]);
            any_spare = any_spare || excess_[v] > 0;
            any_lack = any_lack || deficit_[v] > 0;
        }
        if (any_spare && any_lack) {
            while (push_shortest(vertex_list_.data() + now.vertex, now.vertex_end - now.vertex)) {}
        }
        for (auto i = now.place; i < now.place_end; ++i) {
            auto& p = levelled_[i];
            auto const given = spare(p) - excess_[p.vertex];
            auto const taken = lack(p) - deficit_[p.vertex];
            p.load += taken;
            p.load -= given;
            excess_[p.vertex] = deficit_[p.vertex] = 0;
        }
    }

    // What the places above their band can reach must stand higher, what can reach those below must stand lower.
    void split(stretch const& now, number& parts, std::vector<stretch>& left) {
        queue_.clear();
        auto const mark = [&](number v, number part) {
            part_[v] = part;
            queue_.push_back(v);
        };
        auto const high = parts;
        for (auto i = now.place; i < now.place_end; ++i) {
            if (levelled_[i].load > levelled_[i].upper) mark(levelled_[i].vertex, high);
        }
        for (std::size_t i = 0; i < queue_.size(); ++i) {
            for (auto a = first_[queue_[i]]; a < first_[queue_[i] + 1]; ++a) {
                if (open(arcs_[a]) && part_[arcs_[a].to] == now.part) mark(arcs_[a].to, high);
            }
        }
        auto const risen = queue_.size();
        auto const low = parts + 1;
        for (auto i = now.place; i < now.place_end; ++i) {
            if (levelled_[i].load >= levelled_[i].lower) continue;
            ROTA_ASSERT(part_[levelled_[i].vertex] == now.part);
            mark(levelled_[i].vertex, low);
        }
        for (auto i = risen; i < queue_.size(); ++i) {
            for (auto a = first_[queue_[i]]; a < first_[queue_[i] + 1]; ++a) {
                auto const& arc = arcs_[a];
                if (part_[arc.to] == now.part && open(arcs_[arc.twin])) mark(arc.to, low);
            }
        }
        if (queue_.empty()) return;
        parts += 2;

        for (auto const part : {high, low}) {
            stretch made{now.vertex, now.vertex, now.place, now.place, part};
            // The earlier ones move to the front, the others behind them are never looked at again but by the next part.
            if (part == low) made.vertex = made.vertex_end = vertex_mark_, made.place = made.place_end = place_mark_;
            for (auto i = made.vertex; i < now.vertex_end; ++i) {
                if (part_[vertex_list_[i]] == part) std::swap(vertex_list_[made.vertex_end++], vertex_list_[i]);
            }
            for (auto i = made.place; i < now.place_end; ++i) {
                if (part_[levelled_[i].vertex] == part) std::swap(levelled_[made.place_end++], levelled_[i]);
            }
            vertex_mark_ = made.vertex_end;
            place_mark_ = made.place_end;
            if (made.place < made.place_end) left.push_back(made);
        }
    }

    number vertices_ = 0;
    std::vector<edge> edges_;    // until build()
    std::vector<number> first_;  // of each vertex in arcs_
    std::vector<residual> arcs_;
    std::uint16_t goal_ = 0;  // the bit that costs
    std::vector<std::int32_t> price_;
    std::vector<number> excess_, deficit_;
    std::vector<number> depth_;  // in the search
    std::vector<number> next_;   // the arc of each vertex that the search tries next
    std::vector<number> part_;   // searches keep within
    std::vector<number> everywhere_, queue_, path_;
    std::vector<std::vector<number>> buckets_;

    std::vector<number> vertex_list_;  // by stretches
    std::vector<levelled> levelled_;
    std::size_t vertex_mark_ = 0, place_mark_ = 0;
};

}  // namespace rota::detail
