// Known ways to get a lease library wrong, to be planted on purpose: machines and the reference store take a template
// parameter that says which one they suffer from. Production uses `sound`; the simulator's mutation gate plants each
// and demands that an invariant catches it. Empty in production: every check is `if constexpr`.
#pragma once

#include <cstdint>

namespace rota::detail {

enum class defect : std::uint8_t {
    none,
    lease_from_reply,       ///< belief is anchored at the reply's arrival instead of the request's departure
    margin_ignored,         ///< belief lasts to the very deadline
    release_any_owner,      ///< release does not compare the token
    extend_revives,         ///< an expired lock can be extended
    renew_any_term,         ///< a lease is renewed for its old holder under whatever term
    token_not_minted,       ///< a lock takes the last token again
    renounce_forgets_term,  ///< renouncing does not check the term
    adopt_any_term,         ///< plans apply under an old term
    adopt_live_owner,       ///< schedules of live nodes are treated as orphans
    adopt_any_generation,   ///< a plan is applied to whatever the state is now
    join_inherits,          ///< a new incarnation keeps what the old one owned
    grant_without_ack,      ///< a revocation grants at once
    acquire_any_owner,      ///< the ownership check of try_lock is missing
    events_twice,           ///< a step is told twice
    reap_early,             ///< nodes are reaped one heartbeat before their deadline
    keep_after_reap,        ///< a reaped node keeps what it believed to own
    belief_after_release,   ///< a lock handle stays valid after its release was sent
    ack_during_run,         ///< hand-off is acknowledged with the lock still held
    stale_connection,       ///< commands of dead connections take effect
    extension_shortens,     ///< an extension may shorten a belief
};

/// Production: nothing planted.
struct sound {
    static constexpr bool has(defect) { return false; }
};

/// Suffers from exactly one defect.
template <defect Which>
struct suffering {
    static constexpr bool has(defect d) { return d == Which; }
};

}  // namespace rota::detail
