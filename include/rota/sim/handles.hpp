// What a test says to a world, in a few words: handles of a node, of its link, its clock and of Redis.
//
//   w.link(leader).drop_replies();
//   w.clock(leader).rate(0.9998).jump_wall(-5s);
//   w.node(2).crash();
//   w.redis().fail_over({.lose_last = 200ms});
//   w.heal();
//
// Each call is a fault that begins now (faults.hpp) and joins the world's plan, so that a failing run prints it. One that
// lasts does so until heal(), unless a time is given. A handle is two words, and names a place: the node that it is of
// may crash, and come back as another process.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../attributes.hpp"
#include "faults.hpp"
#include "node.hpp"
#include "redis.hpp"

namespace rota::sim {

class world;

/// A node of the group: the machine, and the process that runs on it now.
class node_handle {
public:
    node_handle(world& w, std::uint32_t place) : world_{&w}, place_{place} {}

    /// Its number in the world, 0 .. size()-1.
    [[nodiscard]] std::uint32_t place() const { return place_; }
    /// Its node_id.
    [[nodiscard]] std::string const& id() const;

    // ---------------------------------------------------------------- what it believes; all false while it is down

    [[nodiscard]] bool is_up() const;
    [[nodiscard]] bool is_member() const;
    [[nodiscard]] bool is_suspended() const;
    /// coordinator::is_leader().
    [[nodiscard]] bool believes_it_leads() const;
    /// Whether the schedule is among coordinator::owned().
    [[nodiscard]] bool owns(std::string_view schedule) const;
    [[nodiscard]] std::vector<std::string> owned() const;
    /// Whether it has a handle of that lock, and the handle is valid().
    [[nodiscard]] bool holds(std::string_view name) const;
    /// 0: none.
    [[nodiscard]] fencing_token incarnation() const;
    [[nodiscard]] fencing_token term() const;

    // ---------------------------------------------------------------- what befalls it

    /// The process dies, and one that remembers nothing starts later.
    node_handle const& crash(microseconds down_for = forever) const;
    /// A new process now, whether one was running or not.
    node_handle const& restart() const;
    /// SIGSTOP; its clock goes on.
    node_handle const& pause(microseconds time = forever) const;
    node_handle const& resume() const;
    /// A second process under its node_id, while the old one goes on.
    node_handle const& replace() const;

    // ---------------------------------------------------------------- what its program does

    /// leave(), and the program ends. A new one starts later.
    node_handle const& leave(microseconds away_for = forever) const;
    node_handle const& renounce() const;
    /// By number, see world::schedule_id; at most world::schedules(), the first that is not registered yet.
    node_handle const& claim(std::uint32_t schedule) const;
    /// To the next node.
    node_handle const& transfer(std::uint32_t schedule) const;
    /// Orders itself to be drained, until undrain() or for so long.
    node_handle const& drain(microseconds time = forever) const;
    node_handle const& undrain() const;
    /// Begins maintenance of the group, and ends it.
    node_handle const& begin_maintenance(microseconds time = forever) const;
    node_handle const& end_maintenance() const;
    /// Says so of itself, until its process ends.
    node_handle const& set_attributes(node_attributes a) const;

    // ---------------------------------------------------------------- how it differs from the others
    // From the next start of its process on: said before time passes, it holds from the first. What is said later is
    // checked at once, what is said before as time begins to pass.

    /// node_id is the world's to set.
    node_handle const& use_options(options o) const;
    node_handle const& use_work(work_settings w) const;
    template <typename Sink>
    node_handle const& use_sink(Sink sink) const;
    /// The node must have work (use_work, world_settings::work): else nothing would call it.
    template <typename Handler>
    node_handle const& use_handler(Handler handler) const;

    friend bool operator==(node_handle const& a, node_handle const& b) {
        return a.world_ == b.world_ && a.place_ == b.place_;
    }

private:
    [[nodiscard]] process* running() const;
    node_handle const& suffers(fault_kind kind, microseconds lasting = {}, std::int64_t amount = 0) const;
    world* world_;
    std::uint32_t place_;
};

/// The way between a node and the servers. Connections are FIFO; what is cut is held up, and goes on (or is lost with its
/// connection) when the link heals.
class link_handle {
public:
    link_handle(world& w, std::uint32_t place) : world_{&w}, place_{place} {}

    /// Nothing comes back from the server; requests still land.
    link_handle const& drop_replies(microseconds time = forever) const;
    /// Nothing reaches the server.
    link_handle const& drop_requests(microseconds time = forever) const;
    /// Neither.
    link_handle const& cut(microseconds time = forever) const;
    /// Nothing arrives on either side, and then all of it.
    link_handle const& stall(microseconds time = forever) const;
    /// Each message takes up to so much longer.
    link_handle const& delay(microseconds up_to, microseconds time = forever) const;
    /// The connection breaks, and new ones are refused.
    link_handle const& refuse(microseconds time = forever) const;
    /// The connection breaks.
    link_handle const& reset() const;
    /// The next request has its effect; instead of its reply the connection breaks.
    link_handle const& lose_next_reply() const;
    /// The next request lands so much later, on a connection that broke meanwhile.
    link_handle const& make_next_late(microseconds by) const;
    /// Ends what is wrong with this link.
    link_handle const& heal() const;

private:
    link_handle const& suffers(fault_kind kind, microseconds lasting = {}, std::int64_t amount = 0) const;
    world* world_;
    std::uint32_t place_;
};

/// A node's clock.
class clock_handle {
public:
    clock_handle(world& w, std::uint32_t place) : world_{&w}, place_{place} {}

    /// 0.9998 loses 200 µs per second. Beyond options::clock_drift no promise holds: invariants that rest on it wait until
    /// the rate is set right, by this or by world::heal().
    clock_handle const& rate(double r) const;
    [[nodiscard]] double rate() const;
    /// Wall time alone: rota reads the monotonic clock, so nothing may come of it.
    clock_handle const& jump_wall(microseconds by) const;
    /// The monotonic clock.
    [[nodiscard]] instant shows() const;

private:
    world* world_;
    std::uint32_t place_;
};

struct fail_over_settings {
    /// Acknowledged writes that the replica lacks; at most world_settings::longest_loss.
    microseconds lose_last{};
    /// How long the old primary still answers some of the nodes.
    microseconds old_primary_serves{};
};

/// The server, or what stands behind its address.
class redis_handle {
public:
    explicit redis_handle(world& w) : world_{&w} {}

    /// The replica becomes the primary.
    redis_handle const& fail_over(fail_over_settings s = {}) const;
    /// Down for a while; keeps its data.
    redis_handle const& restart(microseconds down_for = std::chrono::milliseconds{500}) const;
    /// Down for a while, and forgets everything.
    redis_handle const& restart_empty(microseconds down_for = std::chrono::milliseconds{500}) const;
    /// Stands still: what arrives waits.
    redis_handle const& stall(microseconds time = forever) const;
    /// Each request takes so much longer.
    redis_handle const& slow(microseconds by, microseconds time = forever) const;
    /// Its clock steps; back is outside of the promises, and so is forward.
    redis_handle const& jump_clock(microseconds by) const;
    /// Answers with an error of server_errors(), named by its first word: "LOADING", "READONLY", "OOM" ...
    redis_handle const& answer(std::string_view error, microseconds time = forever) const;
    /// Ends what is wrong with the server.
    redis_handle const& heal() const;

    // ---------------------------------------------------------------- the model, for who looks at it

    [[nodiscard]] std::uint32_t primary() const;
    [[nodiscard]] redis_server const& server(std::uint32_t number) const;
    [[nodiscard]] store_model const& store() const;
    [[nodiscard]] std::int64_t clock(std::uint32_t number, moment now) const;

private:
    redis_handle const& suffers(fault_kind kind, microseconds lasting = {}, std::int64_t amount = 0) const;
    world* world_;
};

}  // namespace rota::sim
