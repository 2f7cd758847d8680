// The operations that a transport performs, and their replies. Each is ONE atomic step on the state of a group: one
// script on Redis, a few lines of C++ in memory_transport, which is the reference for every reply.
//
// Common rules:
//  * Times in requests and replies are durations; the server compares deadlines with its own clock only.
//  * `seen` is the highest fencing token the caller knows. Tokens are minted as
//    max(last + 1, server time in µs, seen + 1). A `seen` above the last one means that the server has lost writes: a
//    join or tick mends that (a new epoch), unless it is over one hour above both the last token and server time
//    (refused_by_server); whatever else mints answers not_joined, and grants nothing that would hide the loss.
//  * Batches hold at most max_batch items, no two for the same thing, and take consecutive tokens, in item order.
//    Items are checked in order, each seeing the effect of those before it.
//  * Repeating an operation whose reply was lost has one effect: each checks what it expects, and those that could
//    not tell a repeat from a second request carry a `nonce`.
//  * A request that writes, from an older connection of the same session than the newest one, is refused (conflict);
//    but for a brief tick, which can do no harm: see there.
//  * An incarnation is *live* while it is in the member table, whatever its deadline: only reap takes it out. It *may
//    believe* in what it owns while it is live, or superseded with its last deadline still to come.
//  * Whole-operation failures come as errors: not_joined (the incarnation is not live: reaped, left or superseded),
//    not_leader (no lease under that term; one that ran out but was taken by nobody still counts), conflict,
//    refused_by_server.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "attributes.hpp"
#include "error.hpp"
#include "types.hpp"

namespace rota {

/// What join does when a live process already uses the node_id.
enum class conflict_policy : std::uint8_t {
    take_over,  ///< the newcomer gets the id, the older process is fenced. What that one owned waits for its ttl
    refuse,     ///< the newcomer is refused with errc::conflict until the older one is gone
};

/// Why a schedule changed hands.
enum class change_reason : std::uint8_t {
    claimed,       ///< a node asked for it
    placed,        ///< an orphan was placed by the leader
    rebalanced,    ///< moved to even out the load
    transferred,   ///< moved on somebody's request
    unregistered,  ///< it is registered no more
    given_up,      ///< its new node was gone or full at the end of a hand-off: it has no owner now
    lost,          ///< this node left or lost its membership, and all that it owned with it
    resynced,      ///< found in a snapshot after a gap
    drained,       ///< moved because its node is being drained
    overfull,      ///< moved because its node holds more than it may
    constrained,   ///< moved because its rules forbid where it was
    returned,      ///< given back to the node that had it, which was gone for a short while
    repaired,      ///< its record was damaged, and has been mended
};
inline constexpr change_reason last_change_reason = change_reason::repaired;

/// Whether a move for this reason is one that has to be, however even the load is.
[[nodiscard]] constexpr bool is_required(change_reason why) noexcept {
    return why == change_reason::drained || why == change_reason::overfull || why == change_reason::constrained ||
           why == change_reason::returned;
}

namespace op {

/// Most items in one operation; keeps a script to a few ms.
inline constexpr std::size_t max_batch = 200;

/// Schedules in a page that many wait for: fewer requests, and a script of a few ms.
inline constexpr std::uint32_t large_page = 500;

/// Steps kept in a node's change log, and in the group's event log; who is further behind gets a gap.
inline constexpr std::size_t change_log_length = 1024;
inline constexpr std::size_t event_log_length = 16384;

/// Most steps in one changes_reply.
inline constexpr std::size_t max_change_steps = 8;

/// Most hand-offs under way that mend counts; more would keep the server too long.
inline constexpr std::size_t max_counted_moves = 1000;

/// How long a repeat of unregister_schedules is recognised by its nonce.
inline constexpr microseconds repeat_window = std::chrono::seconds{60};

/// How far above server time and the last token the `seen` of a caller may be.
inline constexpr microseconds max_seen_lead = std::chrono::hours{1};

/// What became of one item of a batch: code == errc{} for success.
struct outcome {
    errc code{};
    fencing_token token = 0;   ///< what was minted or found, see each operation
    microseconds remaining{};  ///< locks: until the lock (also another's) ends

    [[nodiscard]] bool ok() const noexcept { return code == errc{}; }
    friend bool operator==(outcome const&, outcome const&) = default;
};

struct outcomes {
    std::vector<outcome> items{};
    friend bool operator==(outcomes const&, outcomes const&) = default;
};

struct done {
    friend bool operator==(done const&, done const&) = default;
};

// ---------------------------------------------------------------- membership and leadership

struct joined {
    fencing_token incarnation = 0;
    fencing_token epoch = 0;
    std::uint64_t seq = 0;         ///< newest event of the group, the cursor for events_since
    fencing_token superseded = 0;  ///< the older incarnation of this node_id that was still live, or 0
    friend bool operator==(joined const&, joined const&) = default;
};

/// Take part. Mints an incarnation. A live older incarnation of the node_id is superseded (take_over) or, while its
/// deadline is to come, a reason to refuse (conflict). A repeat with the nonce of a live incarnation returns that one.
/// Takes the id, never the schedules: those of the older one can be granted from its deadline or its leave on.
struct join {
    using reply = joined;
    std::string node_id{};
    std::uint64_t nonce = 0;
    microseconds node_ttl{};
    std::uint32_t capacity = unlimited;
    conflict_policy on_conflict = conflict_policy::take_over;
    fencing_token seen = 0;
    std::string traits{};  ///< zone, labels and reported load
};

/// Change what a node says of itself. No effect, and no event, if it is so already. not_joined.
struct describe_node {
    using reply = done;
    fencing_token incarnation = 0;
    std::uint32_t capacity = unlimited;
    std::string traits{};
};

enum class order_kind : std::uint8_t {
    drain,              ///< the node ends empty and is given nothing
    undrain,            ///< it takes part again
    begin_maintenance,  ///< no voluntary moves in the group; orphans are still placed
    end_maintenance,
};

/// A standing order of an operator, kept until it is taken back, also over restarts of nodes. Anyone may. No effect, and
/// no event, if it stands already. unknown_node: a new drain, and no live node has the id.
struct give_order {
    using reply = done;
    order_kind kind{};
    std::string node_id{};  ///< of drain and undrain
};

/// What a leader needs to know in addition, from its own tick.
struct watch {
    microseconds next_expiry = microseconds::max();  ///< until the earliest deadline of another live node; max: none
    std::vector<fencing_token> expired{};          ///< live nodes past their deadline, oldest first, at most max_batch
    std::vector<fencing_token> dead{};             ///< dead nodes whose schedules may be adopted now, at most max_batch
    microseconds next_dead = microseconds::max();  ///< until the next superseded node's schedules may be adopted
    std::vector<fencing_token> candidates{};       ///< the freshest other live nodes, at most 3, freshest first
    friend bool operator==(watch const&, watch const&) = default;
};

enum class tick_status : std::uint8_t {
    ok,
    reaped,     ///< the incarnation is not live any more: join anew
    fenced,     ///< a newer process has the node_id
    data_lost,  ///< the server lost writes (epoch missing, or its last token below `seen`, or another epoch)
    unsettled,  ///< to a brief one: there is more to do than that, ask in full. Nothing else is filled
};
inline constexpr tick_status last_tick_status = tick_status::unsettled;

struct ticked {
    tick_status status = tick_status::ok;
    fencing_token now = 0;  ///< the server's clock, µs since 1970: what tokens are minted from
    fencing_token epoch = 0;
    fencing_token fence = 0;    ///< the highest token that the group has minted
    std::uint64_t version = 0;  ///< of this node's change log; unlike the local one: read changes_since
    std::uint64_t seq = 0;      ///< newest event of the group
    fencing_token leader = 0;   ///< incarnation holding an unexpired lease; 0: vacant
    fencing_token term = 0;
    std::string leader_id{};
    microseconds leader_remaining{};
    watch sweep{};  ///< filled only if the caller is the leader
    // (with a status other than ok, only now, epoch, fence and seq are filled; with unsettled, nothing is)
    friend bool operator==(ticked const&, ticked const&) = default;
};

/// The heartbeat: extends the node's deadline to now + node_ttl; renews the leader lease if the caller holds it under
/// `term`, even past its deadline if nobody took it; takes a vacant one under a new term if `candidate`.
/// `epoch` is what the caller joined under. If the group's epoch is missing or its fence is below `seen`, writes were
/// lost: a new epoch is minted, a data_lost event emitted, and status is data_lost, as it is for whoever still comes
/// with another epoch; nothing is renewed then. Never an error for a node that is gone: see status.
/// A lease or a node's deadline further ahead than it was granted for (the server's clock stepped back) is pulled in: the
/// lease by any tick in full, the nodes' by the leader's, as of the next one.
///
/// A `brief` one is a follower's (term 0) who takes it that all goes on as it was; nearly all are, and they cost the
/// server least. It extends the deadline of a node that is there, and no more (not even that if the group's counters are
/// gone), and is answered `unsettled` by whoever finds that something else is to be done: the node or its epoch is gone,
/// or writes were lost; the caller is the leader; the caller is a candidate and the lease is over; the lease is further
/// ahead than it was granted for. One that arrives late extends a deadline once more: nobody's belief rests on that, and
/// a node that has died meanwhile is found out by at most one ttl later.
struct tick {
    using reply = ticked;
    fencing_token incarnation = 0;
    std::string node_id{};
    fencing_token epoch = 0;
    fencing_token term = 0;  ///< the caller's own term if it believes it leads, else 0
    bool candidate = false;
    microseconds node_ttl{};
    microseconds leader_lease{};
    fencing_token seen = 0;
    bool brief = false;
};

/// Go: no member any more, schedules adoptable at once. If it leads, leadership passes to the first of `successors` that
/// is alive as far as the server knows, for as long as the leader's lease, and it is told whom else it may pass it on to.
/// (Has that one just died, nobody leads until the lease is over, as after the death of a leader. One that goes before it
/// has heard of it leaves the lead vacant, which the others find with their next tick.) If none is, it is vacant, and
/// those that were not taken out yet are told, but for the caller.
/// Also how a superseded incarnation says that it has dropped all belief. Never an error for one that is gone.
struct leave {
    using reply = done;
    fencing_token incarnation = 0;
    std::string node_id{};
    std::vector<fencing_token> successors{};
};

/// Give up leadership (no effect if it is not held under that term): to whom, see leave.
struct renounce {
    using reply = done;
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<fencing_token> successors{};
};

// ---------------------------------------------------------------- locks

enum class lock_kind : std::uint8_t {
    schedule,  ///< only by the owner under its current generation
    name,      ///< a plain lock, any live node; names do not meet schedule ids
};

/// Take locks for `ttl`. Outcome: token and remaining; locked_by_other with the holder's remaining (also if this node
/// holds it by another nonce); unknown_schedule; not_owner (also while it is being handed over). A lock whose holder
/// may no longer believe in anything counts as free. A repeat with the same nonce returns the token held.
struct acquire_locks {
    using reply = outcomes;
    struct item {
        std::string name{};
        fencing_token generation = 0;
    };
    fencing_token incarnation = 0;
    lock_kind kind = lock_kind::schedule;
    std::vector<item> items{};
    microseconds ttl{};
    std::uint64_t nonce = 0;
    fencing_token seen = 0;
};

struct lock_ref {
    std::string name{};
    fencing_token token = 0;
};

/// Extend held locks to now + ttl, never shortening. Outcome: remaining; lock_lost if not held under that token or
/// past its end; not_owner if the schedule's hand-off deadline has passed (the lock then runs out as it is).
struct extend_locks {
    using reply = outcomes;
    fencing_token incarnation = 0;
    lock_kind kind = lock_kind::schedule;
    std::vector<lock_ref> items{};
    microseconds ttl{};
};

/// Release held locks. Outcome: ok, or lock_lost if not held under that token (a repeat, or lost before).
/// Works for an incarnation that is gone as well: the token alone tells.
struct release_locks {
    using reply = outcomes;
    lock_kind kind = lock_kind::schedule;
    std::vector<lock_ref> items{};
};

// ---------------------------------------------------------------- schedules

/// A schedule as the server is told of it.
struct described_schedule {
    std::string id{};
    double weight = 1;
    std::string traits{};  ///< its placement rules
};

/// Make schedules exist; no effect on those that do. Anyone may. Outcome: ok.
struct register_schedules {
    using reply = outcomes;
    std::vector<described_schedule> items{};
};

/// Change weight and rules of schedules, whoever owns them; the owner is told. Anyone may. `owner` is where lookup found
/// it (whose log is to be written must be known before). No effect, and no event, on those that have them already.
/// Outcome: ok, unknown_schedule, conflict (another owner meanwhile: look it up again).
struct update_schedules {
    using reply = outcomes;
    struct item {
        std::string id{};
        double weight = 1;
        std::string traits{};
        fencing_token owner = 0;
    };
    std::vector<item> items{};
};

/// Ask for a run of schedules, wherever they are; or say that one is `done`. Anyone may. Asked for: the schedule's
/// record keeps the token that is minted, from owner to owner, until that run is done or another is asked for; the owner
/// is told. `owner` is where lookup found it. Done: the token goes, if it is still that one; `owner` means nothing.
/// Outcome: ok with the token that was minted, or 0; unknown_schedule; conflict (another owner meanwhile: look it up
/// again). A repeat of asking mints anew: if a run was begun between the two, it is followed by another.
struct trigger {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token owner = 0;
        fencing_token done = 0;  ///< 0: asked for
    };
    std::vector<item> items{};
};

/// Where schedules are now. Anyone may.
struct lookup {
    using reply = struct lookup_reply;
    std::vector<std::string> ids{};
};
struct lookup_reply {
    struct entry {
        bool registered = false;
        schedule_status status{};
        friend bool operator==(entry const&, entry const&) = default;
    };
    std::vector<entry> items{};
    friend bool operator==(lookup_reply const&, lookup_reply const&) = default;
};

/// Make schedules exist no more. Anyone may. `owner` is where lookup found it. Outcome: ok (also for a repeat with the
/// same nonce), unknown_schedule, conflict (another owner meanwhile: look it up again). A live lock stays with its
/// holder; the owner is told; the same id registered anew is granted to nobody before that owner's present deadline.
struct unregister_schedules {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token owner = 0;
    };
    std::vector<item> items{};
    std::uint64_t nonce = 0;
};

/// Own schedules that nobody owns, up to this node's capacity. Outcome: ok with the generation (also for one that is
/// owned already), unknown_schedule, owned_by_other (also by a dead node: the leader places those),
/// capacity_exceeded, conflict (registered anew too recently).
struct claim {
    using reply = outcomes;
    fencing_token incarnation = 0;
    std::vector<std::string> ids{};
    fencing_token seen = 0;
};

/// By the leader: take nodes past their deadline out of the member table, and forget dead ones that own nothing more.
/// Names that no longer qualify are skipped. Returns the incarnations taken out, in order (token of each outcome).
struct reap {
    using reply = outcomes;
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<fencing_token> nodes{};
};

/// By the leader: give orphans to nodes. `from`: 0 or a dead incarnation. Outcome: ok with the new generation;
/// unknown_schedule; conflict (generation, owner, or it may still be believed in); unknown_node (target not live or past
/// its deadline); capacity_exceeded.
struct adopt {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token from = 0;
        fencing_token to = 0;
        change_reason reason = change_reason::placed;
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    fencing_token seen = 0;
    std::uint64_t as_of = 0;  ///< if not 0: refused as a whole (conflict) unless the group's newest event is this one
};

/// Begin hand-offs: by the leader under its term, or by the owner itself (term 0, from == incarnation). The owner is
/// told, and refused new locks on it. An `open` one may be completed with another schedule of the owner's in its place,
/// see acknowledge. Outcome: ok (also if it is moving there already); unknown_schedule; conflict
/// (generation, owner not live, moving elsewhere); unknown_node; capacity_exceeded.
struct revoke {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token from = 0;
        fencing_token to = 0;
        change_reason reason = change_reason::rebalanced;
        bool open = false;  ///< any schedule of the owner with the same weight and traits will do
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    microseconds handoff_deadline{};
    std::uint64_t as_of = 0;  ///< as in adopt
};

/// By the owner, having dropped its belief: complete hand-offs. The grant happens in the same step. Outcome: ok with the
/// new generation; unknown_node or capacity_exceeded, also with a new generation, if the target was gone, past its
/// deadline or full: the schedule is now nobody's; unknown_schedule; conflict if the generation, owner or target is
/// another (as on a repeat); locked_by_other while its lock is live (with remaining).
/// With `instead_of`, `id` is an idle one that goes in the place of the one that was asked for: that one's hand-off is
/// called off (event `moving` to nobody) and `id` is granted to `to` for the same reason. conflict unless `id` is owned
/// under `generation` and not moving, and `instead_of` is owned, moving to `to` by an `open` request, and has the same
/// weight and traits; locked_by_other as above, of `id`. Where `to` is gone or full: unknown_node or capacity_exceeded,
/// token 0, and nothing is changed.
/// An `unasked` one is the owner's own wish (transferred): it need not be moving, and is a conflict only if it moves to
/// another node. Unless it was asked for all the same, nothing is changed where the outcome is not ok.
/// With `lock_ttl`, which is for a single item without `instead_of`, the new owner gets its lock as well, for so long, by
/// nonce 0; the token is the generation. It is told so (change::lease), and needs no request before a run.
struct acknowledge {
    using reply = outcomes;
    struct item {
        std::string id{};
        fencing_token generation = 0;
        fencing_token to = 0;
        std::string instead_of{};  ///< empty: `id` itself was asked for
        bool unasked = false;      ///< ... or was not asked for; then without instead_of
    };
    fencing_token incarnation = 0;
    std::vector<item> items{};
    fencing_token seen = 0;
    microseconds lock_ttl{};  ///< 0: no lock
};

// ---------------------------------------------------------------- following what happens

enum class change_kind : std::uint8_t {
    granted,   ///< generation, weight, reason, other (who had it), lease
    revoking,  ///< generation, other (who is to have it), handoff, reason
    removed,   ///< unregistered
    vacancy,   ///< the leader left or renounced, and no heir was found: stand for election
    updated,   ///< generation, weight, traits, triggered
    led,       ///< leadership was passed to this node: generation = term, other (who had it), lease, successors
};
inline constexpr change_kind last_change_kind = change_kind::led;

/// One entry of a node's change log.
struct change {
    change_kind kind{};
    std::string id{};
    fencing_token generation = 0;
    double weight = 1;
    fencing_token other = 0;
    change_reason reason{};
    microseconds handoff{};       ///< time allowed from the moment of the request
    bool open = false;            ///< revoking: another schedule of the same weight and traits may go instead
    std::string traits{};         ///< granted, revoking, updated
    fencing_token triggered = 0;  ///< granted, updated: see trigger
    microseconds lease{};         ///< led: for how long, from that moment; granted: likewise of its lock, 0: not locked
    std::vector<fencing_token> successors{};  ///< led: who comes next
    friend bool operator==(change const&, change const&) = default;
};

/// The entries after `version`, oldest first. `gap`: some are not kept any more; read schedules_page instead, from
/// `to` on. `to` is the version after the last entry returned; the log's newest may be higher.
struct changes_reply {
    bool gap = false;
    std::uint64_t to = 0;
    std::vector<change> items{};
    friend bool operator==(changes_reply const&, changes_reply const&) = default;
};
struct changes_since {
    using reply = changes_reply;
    fencing_token incarnation = 0;
    std::uint64_t version = 0;
};

enum class group_event_kind : std::uint8_t {
    registered,    ///< id, weight, traits
    unregistered,  ///< id, from (its owner, or 0)
    owned,         ///< id, generation, from, to (0: nobody), reason, weight, traits
    moving,        ///< id, generation, from, to, reason, weight, traits: a hand-off began; to == 0: it was called off
    joined,        ///< to, node_id, capacity, traits
    superseded,    ///< from (old), to (new), node_id
    left,          ///< from, node_id
    died,          ///< from, node_id
    forgotten,     ///< from: a dead node owns nothing more
    led,           ///< to, node_id, generation = term, from = previous leader's incarnation or 0
    vacated,       ///< from, generation = term
    data_lost,     ///< generation = the new epoch
    updated,       ///< id, generation, from (its owner, or 0), weight, traits
    described,     ///< to, node_id, capacity, traits
    ordered,       ///< id = node_id (empty for maintenance), generation = the order_kind
};
inline constexpr group_event_kind last_group_event_kind = group_event_kind::ordered;

struct group_event {
    std::uint64_t seq = 0;  ///< several events of one atomic step share one
    group_event_kind kind{};
    std::string id{};  ///< schedule or node_id, as the kind says
    fencing_token from = 0;
    fencing_token to = 0;
    fencing_token generation = 0;
    double weight = 1;
    std::uint32_t capacity = unlimited;
    change_reason reason{};
    std::string traits{};
    friend bool operator==(group_event const&, group_event const&) = default;
};

/// Whether the leader may have something to do at once because of it. Not where a schedule changes hands, or is to, because
/// somebody called transfer() or claim(): that leaves nothing undone, there may be many, and what it does to the load can
/// wait for the next tick. And not where a lead or an epoch begins or ends: ticks tell.
[[nodiscard]] inline bool calls_leader(group_event const& e) {
    using kind = group_event_kind;
    switch (e.kind) {
        case kind::owned:
            return e.to == 0 || (e.reason != change_reason::claimed && e.reason != change_reason::transferred);
        case kind::moving: return e.reason != change_reason::transferred;
        case kind::led:
        case kind::vacated:
        case kind::data_lost: return false;
        default: return true;
    }
}

/// The group's events after `seq`, oldest first, at most `limit` steps. `gap`: some are not kept any more, or the
/// epoch is another. `to`: cursor for the next call. `head`: the newest there is.
struct events_reply {
    bool gap = false;
    std::uint64_t to = 0;
    std::uint64_t head = 0;
    std::vector<group_event> items{};
    friend bool operator==(events_reply const&, events_reply const&) = default;
};
struct events_since {
    using reply = events_reply;
    fencing_token epoch = 0;
    std::uint64_t seq = 0;
    std::uint32_t limit = 64;
};

/// Schedules held by `holder` (0: by nobody) with ids above `after`, in byte order. Fewer than `limit` items and strays:
/// the last page.
struct page_reply {
    std::uint64_t version = 0;  ///< of the holder's change log at this moment; 0 for nobody
    std::vector<schedule_status> items{};
    /// Ids that the holder's index lists, but whose record is missing, unreadable or names another holder: damage.
    std::vector<std::string> strays{};
    friend bool operator==(page_reply const&, page_reply const&) = default;
};
struct schedules_page {
    using reply = page_reply;
    fencing_token holder = 0;
    std::string after{};
    std::uint32_t limit = max_batch;
};

/// Nodes, live and dead, with incarnations above `after`, in order; fewer than `limit`: the last page. (`draining` of
/// the items is not filled: it is a matter of node_ids.)
struct nodes_reply {
    fencing_token epoch = 0;
    std::uint64_t seq = 0;
    std::vector<node_status> items{};
    fencing_token now = 0;               ///< the server's time in µs, as in the tokens that it mints
    bool maintenance = false;            ///< the order stands
    std::vector<std::string> drained{};  ///< node_ids that are to be drained, in byte order; filled if after == 0
    friend bool operator==(nodes_reply const&, nodes_reply const&) = default;
};
struct nodes_page {
    using reply = nodes_reply;
    fencing_token after = 0;
    std::uint32_t limit = max_batch;
};

/// All schedules, in the order in which the server stores them: from `cursor` (0: the beginning) about `limit`, and the
/// cursor to go on with (0: that was all). Those that exist all the time come at least once; no promise for the others.
/// `broken`: ids whose record cannot be read.
struct scan_reply {
    std::uint64_t next = 0;
    std::vector<schedule_status> items{};
    std::vector<std::string> broken{};
    friend bool operator==(scan_reply const&, scan_reply const&) = default;
};
struct scan_page {
    using reply = scan_reply;
    std::uint64_t cursor = 0;
    std::uint32_t limit = max_batch;
};

/// By the leader: look again at records that seemed to disagree, and mend what does. The record (id -> generation, owner)
/// is the truth, the holders' indexes and counters follow it:
///   * A record that is missing although a holder's index lists the id, or that cannot be read, is made anew with weight
///     1 and no owner (none is lost).
///   * A record whose owner is not known at all (no live or dead node) has no owner.
///   * An index that lists what is not its own, or misses what is, is put right; one that is not the owner, but was listed,
///     is told `removed`; an owner that was not listed is told `granted`, with reason `repaired`. What ends with nobody is
///     granted to nobody before the last deadline of those that were listed (a tombstone).
///   * A hand-off of what is not registered, or whose owner is nobody, its target or was not listed, or that cannot be
///     read, is dropped.
///   * loads and pendings of all nodes named are counted anew (pendings only while max_counted_moves or fewer hand-offs
///     are under way).
/// A record that is changed, or whose owner was not listed (others may know it as somebody else's), gets a newly minted
/// generation and an event `owned` with reason `repaired`. Outcome: token 0 if there was nothing to mend, else the
/// record's generation after it (0 as well if it was never owned, or is not registered and not listed); conflict if its
/// owner is a node that is not among `holders` (nothing is mended then).
///
/// Until it is mended, a record that cannot be read is registered, owned by nobody whom a request could name (claim:
/// owned_by_other; what expects an owner: conflict), and looks to `lookup` as if it had never been owned.
struct mend {
    using reply = outcomes;
    struct item {
        std::string id{};
        std::vector<fencing_token> holders{};  ///< whose indexes may list it, its owner included
    };
    fencing_token incarnation = 0;
    fencing_token term = 0;
    std::vector<item> items{};
    std::vector<fencing_token> recount{};  ///< further nodes whose load and pending are to be counted anew
    fencing_token seen = 0;
};

}  // namespace op

/// Any request, and any reply. The reply to a T holds a T::reply.
using operation =
    std::variant<op::join, op::tick, op::leave, op::renounce, op::acquire_locks, op::extend_locks, op::release_locks,
                 op::register_schedules, op::lookup, op::unregister_schedules, op::claim, op::reap, op::adopt,
                 op::revoke, op::acknowledge, op::changes_since, op::events_since, op::schedules_page, op::nodes_page,
                 op::describe_node, op::give_order, op::update_schedules, op::scan_page, op::mend, op::trigger>;
using reply = std::variant<op::done, op::joined, op::ticked, op::outcomes, op::lookup_reply, op::changes_reply,
                           op::events_reply, op::page_reply, op::nodes_reply, op::scan_reply>;

}  // namespace rota
