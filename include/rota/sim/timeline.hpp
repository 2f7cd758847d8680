// Draws a run as one SVG file that needs nothing else: a lane per node with when it was up, a member and the leader, how
// many schedules it believed to own, its runs and locks, its pauses and faults; one lane for the server with its faults
// and how much it was asked; messages on demand. Small marks tell more where a mouse rests on them.
//
//   sim::world w{{.seed = 7}};
//   sim::timeline drawn{w};
//   w.run_for(60s);
//   std::ofstream{"run.svg"} << drawn.svg();
//
// An invariant that breaks is marked in it. What is drawn is what nodes believed, in true time. Marks closer than a pixel become one, so that the size of a file
// has a bound (a few MB; usually some 50 kB) however long the run was.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "world.hpp"

namespace rota::sim {

struct timeline_settings {
    std::string title{};
    moment from{};                   ///< what is drawn begins here ...
    std::optional<moment> to{};      ///< ... and ends here; none: at the end of the run
    bool messages = false;           ///< also each request that the server performed; for a few seconds of a run
    unsigned width = 1400;           ///< pixels
    std::uint32_t most_lanes = 100;  ///< of nodes; others are counted, not drawn
};

class timeline final : public audience {
public:
    /// Watches the world from now on. The world must not outlive it, but where time does not pass any more.
    explicit timeline(world& w) : world_{&w}, lanes_(w.size()) { w.watch(*this); }
    timeline(timeline const&) = delete;
    timeline& operator=(timeline const&) = delete;

    /// Says in the drawing that something happened. (That an invariant broke, it says by itself.)
    void mark(moment at, std::string words) {
        end_ = std::max(end_, at);
        marks_.push_back({at, std::move(words)});
    }

    [[nodiscard]] std::string svg(timeline_settings const& how = {}) const;

    // ---------------------------------------------------------------- what it is told

    void acted(process const& p) override { look_at(p); }
    void process_began(process const& p) override {
        auto& l = lane_of(p);
        l.up.push_back({now(), moment::max(), fmt::format("process {} of {}", p.number(), p.node_id())});
        l.name = p.node_id();
        now_in_[p.number()].up = l.up.size();
    }
    void process_ended(process const& p, std::string_view how) override {
        auto& l = lane_of(p);
        auto const at = now();
        auto& open = now_in_[p.number()];
        if (open.leads > 0) cut(l.leads[open.leads - 1], at);
        if (open.lives > 0) cut(l.lives[open.lives - 1], at);
        if (open.up > 0) {
            l.up[open.up - 1].to = at;
            l.up[open.up - 1].words += ", " + std::string{how};
        }
        for (auto const& [name, index] : open.runs) l.runs[index].to = at;
        for (auto const& [name, index] : open.locks) l.locks[index].to = at;
        now_in_.erase(p.number());
        note_load(l);
    }
    void lock_taken(process const& p, run const& r) override { begin(p, r, lane_of(p).locks, &open_in::locks); }
    void lock_ended(process const& p, run const& r) override { end(p, r, lane_of(p).locks, &open_in::locks); }
    void run_began(process const& p, run const& r) override { begin(p, r, lane_of(p).runs, &open_in::runs); }
    void run_ended(process const& p, run const& r) override { end(p, r, lane_of(p).runs, &open_in::runs); }
    void fault_began(fault const& f) override {
        auto& l = concerns_node(f.kind) && f.node < lanes_.size() ? lanes_[f.node] : server_;
        l.faults.push_back({now(), moment::max(), to_text(f)});
        open_faults_.push_back({f, &l, l.faults.size() - 1});
    }
    void fault_ended(fault const& f) override {
        auto const it = std::find_if(open_faults_.begin(), open_faults_.end(), [&](auto& o) { return o.what == f; });
        if (it == open_faults_.end()) return;
        it->where->faults[it->index].to = now();
        open_faults_.erase(it);
    }
    void performed(step const& s) override {
        auto const second = static_cast<std::size_t>(now().time_since_epoch() / std::chrono::seconds{1});
        if (second >= asked_.size()) asked_.resize(std::min<std::size_t>(second + 1, most_seconds));
        if (second < asked_.size()) ++asked_[second];
        if (s.process == no_process || messages_.size() >= most_messages) return;
        auto const slot = world_->processes()[s.process]->slot();
        messages_.push_back({now(), slot, static_cast<std::uint8_t>(s.request.index()), s.answer.has_value()});
    }

    void broke(moment at, std::string_view invariant, std::string_view words) override {
        mark(at, fmt::format("{}: {}", invariant, words));
    }

private:
    static constexpr std::size_t most_messages = 200'000;
    static constexpr std::size_t most_seconds = 1'000'000;
    static constexpr std::size_t most_spans = 200'000;  // of a kind, in a lane

    struct span {
        moment from{};
        moment to{};
        std::string words{};
    };
    struct load_at {
        moment at{};
        std::size_t load = 0;
    };
    struct lane {
        std::string name{};
        std::vector<span> up{}, lives{}, leads{}, runs{}, locks{}, faults{};
        std::vector<load_at> loads{};
    };
    // Where in its lane the open spans of a process are; 0: there is none, n: the one before n.
    struct open_in {
        std::size_t up = 0, lives = 0, leads = 0;
        std::map<std::string, std::size_t> runs{}, locks{};
        std::size_t load = 0;
        moment lives_until{};
    };
    struct open_fault {
        fault what;
        lane* where;
        std::size_t index;
    };
    struct message_mark {
        moment at{};
        std::uint32_t slot = 0;
        std::uint8_t operation = 0;
        bool good = true;
    };
    struct drawn_mark {
        moment at{};
        std::string words{};
    };

    lane& lane_of(process const& p) { return lanes_[p.slot()]; }
    moment now() {
        end_ = std::max(end_, world_->now());
        return world_->now();
    }
    static void cut(span& s, moment at) { s.to = std::min(s.to, at); }
    static std::string key_of(run const& r) { return (r.kind == op::lock_kind::name ? "n" : "s") + r.name; }

    void begin(process const& p, run const& r, std::vector<span>& spans,
               std::map<std::string, std::size_t> open_in::* open) {
        auto& in = now_in_[p.number()].*open;
        if (in.contains(key_of(r)) || spans.size() >= most_spans) return;
        in[key_of(r)] = spans.size();
        spans.push_back({now(), moment::max(), fmt::format("{} under {}", r.name, r.token)});
    }
    void end(process const& p, run const& r, std::vector<span>& spans,
             std::map<std::string, std::size_t> open_in::* open) {
        auto& in = now_in_[p.number()].*open;
        auto const it = in.find(key_of(r));
        if (it == in.end()) return;
        spans[it->second].to = now();
        in.erase(it);
    }

    // A belief is drawn until the moment at which it would end by itself, which each renewal moves.
    void look_at(process const& p) {
        auto& l = lane_of(p);
        auto& open = now_in_[p.number()];
        auto const at = now();
        auto const& b = p.belief();
        auto const lives_until = p.believes_it_lives() ? p.clock().when(b.alive_until()) : at;
        auto const leads_until = p.believes_it_leads() ? std::min(p.clock().when(b.leads_until()), lives_until) : at;
        follow(l.lives, open.lives, at, lives_until, [&] { return fmt::format("{} is a member", p.node_id()); });
        follow(l.leads, open.leads, at, leads_until,
               [&] { return fmt::format("{} leads under term {}", p.node_id(), b.term()); });
        if (at >= open.lives_until && open.load > 0) {  // nothing was owned since then
            open.load = 0;
            note_load(l, open.lives_until);
        }
        open.lives_until = lives_until;
        auto const load = lives_until > at ? b.table().size() : 0;
        if (load == open.load) return;
        open.load = load;
        note_load(l);
    }
    template <typename Words>
    static void follow(std::vector<span>& spans, std::size_t& open, moment at, moment until, Words&& words) {
        if (open > 0 && spans[open - 1].to < at) open = 0;  // it ended by itself
        if (until > at) {
            if (open == 0) {
                if (spans.size() >= most_spans) return;
                spans.push_back({at, until, words()});
                open = spans.size();
            }
            spans[open - 1].to = until;
        } else if (open > 0) {
            cut(spans[open - 1], at);
            open = 0;
        }
    }
    void note_load(lane& l, moment at) {
        std::size_t sum = 0;
        for (auto const& [number, open] : now_in_) {
            if (world_->processes()[number]->slot() == static_cast<std::uint32_t>(&l - lanes_.data())) sum += open.load;
        }
        if (l.loads.size() < most_spans) l.loads.push_back({at, sum});
    }
    void note_load(lane& l) { note_load(l, now()); }

    class picture;

    world* world_;
    std::vector<lane> lanes_;
    lane server_{.name = "server"};
    std::map<std::uint32_t, open_in> now_in_;
    std::vector<open_fault> open_faults_;
    std::vector<std::uint32_t> asked_;  // per second
    std::vector<message_mark> messages_;
    std::vector<drawn_mark> marks_;
    moment end_{};
};

/// The drawing itself: true time to pixels, and what is closer than one of them put together.
class timeline::picture {
public:
    picture(timeline const& t, timeline_settings const& how) : t_{t}, how_{how} {
        from_ = how.from;
        to_ = std::max(how.to.value_or(t.end_), from_ + microseconds{1});
        width_ = std::clamp(how.width, 400u, 10'000u);
        lanes_ = std::min<std::size_t>(t.lanes_.size(), std::max<std::uint32_t>(how.most_lanes, 1));
        lane_height_ = lanes_ <= 8 ? 64 : lanes_ <= 20 ? 46 : 34;
        full_load_ = usual_load();
    }

    std::string draw() {
        auto const bottom = lane_top(lanes_) + 4;
        auto const height = bottom + 62;
        text_ = fmt::format(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
            "font-family=\"system-ui, sans-serif\" font-size=\"11\">\n",
            width_, height);
        text_ += R"svg(<style>
.down{fill:#fff;stroke:#adb5bd}.up{fill:#dee2e6}.lives{fill:#e7f5ff}.leads{fill:#f59f00}.load{fill:#74c0fc}.run{fill:#2b8a3e}.lock{fill:#b2f2bb}
.fault{fill:#e03131}.pause{fill:url(#hatch)}.grid{stroke:#ced4da;stroke-width:1}.frame{fill:none;stroke:#adb5bd}
.asked{fill:#868e96}.message{stroke:#5f3dc4;stroke-opacity:.35}.refused{stroke:#e03131;stroke-opacity:.7}
.broke{stroke:#c92a2a;stroke-width:1.5;stroke-dasharray:5 3}.small{font-size:9.5px}.red{fill:#c92a2a}.grey{fill:#868e96}
.dot{fill:#5f3dc4}
</style>
<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="6" fill="#7048e8" fill-opacity=".55"/></pattern></defs>
<rect width="100%" height="100%" fill="#fff"/>
)svg";
        text(8, 18, how_.title.empty() ? "rota simulation" : how_.title, "font-size=\"14\" font-weight=\"600\"");
        axis(bottom);
        server_lane();
        for (std::size_t i = 0; i < lanes_; ++i) node_lane(t_.lanes_[i], i);
        if (how_.messages) messages();
        std::size_t n = 0;
        for (auto const& m : t_.marks_) {
            if (m.at < from_ || m.at > to_ || n++ == 20) continue;
            auto const x = x_of(m.at);
            text_ +=
                fmt::format("<line class=\"broke\" x1=\"{0:.1f}\" y1=\"26\" x2=\"{0:.1f}\" y2=\"{1}\"/>\n", x, bottom);
            bool const left = x > width_ * 0.6;
            text(left ? x - 4 : x + 4, 34, shortened(m.words, 90),
                 left ? "class=\"red\" text-anchor=\"end\"" : "class=\"red\"");
        }
        legend(bottom + 34);
        return text_ += "</svg>\n";
    }

private:
    static constexpr double left_ = 92, right_ = 14, top_ = 44, server_height_ = 44;

    [[nodiscard]] double lane_top(std::size_t i) const {
        return top_ + server_height_ + 8 + static_cast<double>(i) * lane_height_;
    }
    [[nodiscard]] double x_of(moment at) const {
        auto const all = static_cast<double>((to_ - from_).count());
        auto const part = static_cast<double>((std::clamp(at, from_, to_) - from_).count());
        return left_ + part / all * (width_ - left_ - right_);
    }

    // What fills a lane: two and a half times the mean of who owns anything, over time. A node that owned everything for a
    // moment, as the first one does, would else make the others flat.
    [[nodiscard]] double usual_load() const {
        double load_time = 0, time = 0;
        std::size_t most = 0;
        for (auto const& l : t_.lanes_) {
            for (std::size_t i = 0; i < l.loads.size(); ++i) {
                auto const until = i + 1 < l.loads.size() ? l.loads[i + 1].at : t_.end_;
                auto const lasted = static_cast<double>((until - l.loads[i].at).count());
                if (l.loads[i].load > 0) time += lasted;
                load_time += lasted * static_cast<double>(l.loads[i].load);
                most = std::max(most, l.loads[i].load);
            }
        }
        auto const usual = time > 0 ? 2.5 * load_time / time : 0;
        return std::min(static_cast<double>(most), usual);
    }

    // ---------------------------------------------------------------- small parts

    static std::string escaped(std::string_view words) {
        std::string text;
        for (char c : words) {
            switch (c) {
                case '&': text += "&amp;"; break;
                case '<': text += "&lt;"; break;
                case '>': text += "&gt;"; break;
                case '"': text += "&quot;"; break;
                default: text += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e ? '?' : c;
            }
        }
        return text;
    }
    static std::string shortened(std::string const& words, std::size_t most) {
        return words.size() <= most ? words : words.substr(0, most) + "...";
    }
    void text(double x, double y, std::string_view words, std::string_view attributes = {}) {
        text_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, escaped(words));
    }

    struct bar {
        double from = 0;
        double to = 0;
        std::string const* words = nullptr;  // null: more than one
    };
    // Of spans in order of their beginning: those in view, at least a pixel wide, what touches put together.
    [[nodiscard]] std::vector<bar> bars_of(std::vector<span> const& spans) const {
        std::vector<bar> bars;
        for (auto const& s : spans) {
            if (s.from > to_ || s.to < from_) continue;
            auto const from = x_of(s.from);
            auto const to = std::max(x_of(s.to), from + 1);
            if (!bars.empty() && from < bars.back().to + 0.5) {
                bars.back().to = std::max(bars.back().to, to);
                bars.back().words = nullptr;
            } else {
                bars.push_back({from, to, &s.words});
            }
        }
        return bars;
    }
    void draw_bars(std::vector<span> const& spans, std::string_view look, double y, double height) {
        auto const bars = bars_of(spans);
        std::size_t told = 0;
        std::string path;
        for (auto const& b : bars) {
            if (b.words && told++ < 300) {
                text_ += fmt::format(
                    "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
                    "height=\"{:.1f}\"><title>{}</title></rect>\n",
                    look, b.from, y, b.to - b.from, height, escaped(shortened(*b.words, 200)));
            } else {
                path += fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", b.from, y, b.to - b.from, height,
                                    b.from - b.to);
            }
        }
        if (!path.empty()) text_ += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", look, path);
    }
    // Bars with as many words beside them as there is room for.
    void draw_faults(std::vector<span> const& spans, double y) {
        draw_bars(spans, "fault", y + 10, 4);
        double free_from = left_;
        std::size_t labels = 0;
        for (auto const& s : spans) {
            if (s.from > to_ || s.to < from_ || labels == 150) continue;
            // "at 12.5s crash node 1 for 2s": its third word
            plan_text::words words{s.words};
            (void)words.next(), (void)words.next();
            auto const kind = words.next();
            auto const x = x_of(s.from);
            auto const wide = 5.2 * static_cast<double>(kind.size()) + 4;
            if (x < free_from || x + wide > width_ - right_ + 10) continue;
            text(x, y + 8, kind, "class=\"small red\"");
            free_from = x + wide;
            ++labels;
        }
    }

    // ---------------------------------------------------------------- large parts

    void axis(double bottom) {
        auto const seconds = static_cast<double>((to_ - from_).count()) / 1e6;
        double unit = 1e-6;
        for (int i = 0; seconds / unit > 14; ++i) unit *= i % 3 == 1 ? 2.5 : 2;  // 1, 2, 5, 10 ... of a microsecond
        if (unit > 30) {
            for (double nice : {60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 18000.0, 36000.0, 86400.0}) {
                unit = nice;
                if (seconds / unit <= 14) break;
            }
        }
        auto const step = std::max<std::int64_t>(static_cast<std::int64_t>(std::llround(unit * 1e6)), 1);
        auto const first = (from_.time_since_epoch().count() + step - 1) / step * step;
        for (auto at = first, n = std::int64_t{0}; moment{microseconds{at}} <= to_ && n < 100; at += step, ++n) {
            auto const x = x_of(moment{microseconds{at}});
            text_ += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>\n", x,
                                 top_ - 4, bottom);
            auto const words = unit < 60 || at % 60'000'000 != 0 ? seconds_in_words(microseconds{at})
                                                                 : fmt::format("{} min", at / 60'000'000);
            text(x, bottom + 12, words, "text-anchor=\"middle\" class=\"grey\"");
        }
    }

    void server_lane() {
        text(8, top_ + 16, "server");
        text_ += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left_, top_,
                             width_ - left_ - right_, server_height_);
        // Requests per second, per pixel the busiest second.
        std::map<int, std::uint32_t> columns;
        std::uint32_t most = 1;
        for (std::size_t s = 0; s < t_.asked_.size(); ++s) {
            moment const at{std::chrono::seconds{s}};
            if (at + std::chrono::seconds{1} < from_ || at > to_) continue;
            auto& c = columns[static_cast<int>(x_of(at))];
            c = std::max(c, t_.asked_[s]);
            most = std::max(most, c);
        }
        auto const wide = std::max(x_of(from_ + std::chrono::seconds{1}) - left_, 1.0);
        std::string path;
        for (auto const& [x, count] : columns) {
            auto const high = (server_height_ - 20) * count / most;
            path += fmt::format("M{} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", x, top_ + server_height_ - high,
                                std::min(wide, width_ - right_ - x), high, -std::min(wide, width_ - right_ - x));
        }
        text_ += fmt::format("<path class=\"asked\" d=\"{}\"><title>requests per second, at most {}</title></path>\n",
                             path, most);
        text(8, top_ + 30, fmt::format("{} requests/s", most), "class=\"small grey\"");
        draw_faults(t_.server_.faults, top_ + 1);
    }

    void node_lane(lane const& l, std::size_t i) {
        auto const y = lane_top(i);
        auto const high = lane_height_ - 4.0;
        auto const most = [&] {
            std::size_t m = 0;
            for (auto const& each : l.loads) m = std::max(m, each.load);
            return m;
        }();
        text(8, y + 16, l.name.empty() ? fmt::format("node {}", i) : shortened(l.name, 14));
        if (lane_height_ > 40) text(8, y + 30, fmt::format("owns up to {}", most), "class=\"small grey\"");
        draw_bars(l.up, "up", y, high);
        draw_bars(l.lives, "lives", y, high);
        load_of(l, y + 9, high - 33);
        draw_bars(l.leads, "leads", y + 1, 6);
        draw_bars(l.locks, "lock", y + high - 22, 6);
        draw_bars(l.runs, "run", y + high - 21, 4);
        draw_faults(l.faults, y + high - 15);
        std::vector<span> pauses;
        for (auto const& f : l.faults) {
            if (f.words.find(" pause ") != std::string::npos) pauses.push_back(f);
        }
        draw_bars(pauses, "pause", y, high);
        text_ += fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", left_, y,
                             width_ - left_ - right_, high);
    }

    // Steps; where several fall on a pixel, the last.
    void load_of(lane const& l, double y, double high) {
        if (!(full_load_ > 0) || l.loads.empty()) return;
        auto const y_of = [&](std::size_t load) {
            return y + high - high * std::min(static_cast<double>(load) / full_load_, 1.0);
        };
        std::vector<std::pair<double, std::size_t>> steps{{left_, 0}};
        for (auto const& each : l.loads) {
            if (each.at > to_) break;
            auto const x = x_of(each.at);
            if (x < steps.back().first + 1) {
                steps.back().second = each.load;
            } else if (each.load != steps.back().second) {
                steps.emplace_back(x, each.load);
            }
        }
        steps.emplace_back(width_ - right_, steps.back().second);
        auto path = fmt::format("M{:.1f} {:.1f}", left_, y + high);
        for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
            path += fmt::format("V{:.1f}H{:.1f}", y_of(steps[i].second), steps[i + 1].first);
        }
        text_ += fmt::format("<path class=\"load\" d=\"{}V{:.1f}z\"/>\n", path, y + high);
        std::size_t labels = 0;
        for (std::size_t i = 0; i + 1 < steps.size() && labels < 60; ++i) {
            if (steps[i + 1].first - steps[i].first < 24) continue;
            text(steps[i].first + 3, y + high - 2, fmt::format("{}", steps[i].second), "class=\"small\"");
            ++labels;
        }
    }

    void messages() {
        static constexpr char const* names[] = {"join",          "tick",         "leave",     "renounce", "acquire",
                                                "extend",        "release",      "register",  "lookup",   "unregister",
                                                "claim",         "reap",         "adopt",     "revoke",   "acknowledge",
                                                "changes since", "events since", "schedules", "nodes",    "describe",
                                                "order",         "update",       "scan",      "mend",     "trigger"};
        static_assert(std::size(names) == std::variant_size_v<operation>);
        double last = -1;
        std::uint32_t last_slot = no_process;
        std::size_t drawn = 0;
        for (auto const& m : t_.messages_) {
            if (m.at < from_ || m.at > to_ || m.slot >= lanes_ || drawn == 10'000) continue;
            auto const x = x_of(m.at);
            if (m.slot == last_slot && x < last + 0.5) continue;
            last = x, last_slot = m.slot;
            ++drawn;
            auto const y = lane_top(m.slot) + 4;
            text_ += fmt::format(
                "<line class=\"{0}\" x1=\"{1:.1f}\" y1=\"{2:.1f}\" x2=\"{1:.1f}\" y2=\"{3:.1f}\"/>"
                "<circle class=\"dot\" cx=\"{1:.1f}\" cy=\"{3:.1f}\" r=\"1.8\"><title>{4} at {5}</title></circle>\n",
                m.good ? "message" : "refused", x, top_ + server_height_, y, names[m.operation], in_words(m.at));
        }
    }

    void legend(double y) {
        struct entry {
            std::string_view look, words;
        };
        double x = left_;
        for (auto const& [look, words] :
             {entry{"leads", "believes that it leads"}, entry{"load", "schedules that it owns"},
              entry{"lives", "member"}, entry{"up", "up, no member"}, entry{"down", "down"}, entry{"run", "runs"},
              entry{"lock", "lock held"}, entry{"pause", "paused"}, entry{"fault", "fault"},
              entry{"asked", "requests"}}) {
            text_ +=
                fmt::format("<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"14\" height=\"10\"/>\n", look, x, y);
            text(x + 18, y + 9, words);
            x += 34 + 6.0 * static_cast<double>(words.size());
        }
        if (lanes_ < t_.lanes_.size()) {
            text(x, y + 9, fmt::format("and {} more nodes", t_.lanes_.size() - lanes_), "class=\"grey\"");
        }
    }

    timeline const& t_;
    timeline_settings const& how_;
    moment from_{}, to_{};
    unsigned width_ = 0;
    std::size_t lanes_ = 0;
    double lane_height_ = 0;
    double full_load_ = 0;
    std::string text_;
};

inline std::string timeline::svg(timeline_settings const& how) const { return picture{*this, how}.draw(); }

}  // namespace rota::sim
