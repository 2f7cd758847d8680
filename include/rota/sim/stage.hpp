// What every part of a simulation shares: true time, what is to happen, the source of choices, and who watches. Watchers
// (invariants, the record of a run) are told of what happens; they change nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "choices.hpp"
#include "event_queue.hpp"
#include "faults.hpp"
#include "sometimes.hpp"
#include "subject.hpp"

namespace rota::sim {

class process;
struct run;

/// A request that the server has just performed.
struct step {
    operation const& request;
    result<reply> const& answer;
    std::uint32_t server = 0;
    std::uint32_t process = 0;  ///< whose; no_process: the simulation's own
    std::int64_t server_time = 0;
    detail::connection_stamp from{};  ///< which connection it came by; session 0: none
};
inline constexpr std::uint32_t no_process = ~std::uint32_t{0};

/// What is told of a run of the simulation.
class audience {
public:
    virtual ~audience() = default;
    virtual void performed(step const&) {}
    virtual void acted(process const&) {}                   ///< a node did something: its beliefs may be others
    virtual void told(process const&, event const&) {}      ///< its sink was
    virtual void lock_taken(process const&, run const&) {}  ///< try_lock gave a handle
    virtual void run_began(process const&, run const&) {}   ///< the user's handler
    virtual void run_worked(process const&, run const&) {}  ///< ... had an effect on the resource
    virtual void run_ended(process const&, run const&) {}   ///< ... is done, or has stopped
    virtual void lock_ended(process const&, run const&) {}  ///< the handle is gone: released, lost or forgotten
    virtual void fault_began(fault const&) {}
    virtual void fault_ended(fault const&) {}
    virtual void process_began(process const&) {}
    virtual void process_ended(process const&, std::string_view /*how*/) {}
    /// An invariant broke; the last that is told. It must not throw.
    virtual void broke(moment, std::string_view /*invariant*/, std::string_view /*words*/) {}
};

struct stage {
    moment now{};
    event_queue queue;
    choices pick;
    audience* watch = nullptr;
    sometimes seen;

    explicit stage(choices c) : pick{std::move(c)} {}
};

}  // namespace rota::sim
