// One of those who share an asynchronous command connection (redis_pipeline.hpp): a group that operations are for, and how
// far its admission to the present connection is. Before a group's first operation on a connection its rights are checked,
// and the connection is numbered in its session's record, as the handshake does where there is one group only; until both
// are answered its operations wait here.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "../result.hpp"
#include "entropy.hpp"
#include "io_clock.hpp"
#include "redis_call.hpp"
#include "redis_connection.hpp"
#include "unique_function.hpp"

namespace rota::detail {

/// See the top of the file. Shared by a transport and the calls that it has under way.
struct redis_user {
    enum class admission : std::uint8_t { none, asked, granted };

    std::string key_prefix{};
    admission admitted = admission::none;
    std::uint32_t round = 0;                            ///< how often it was asked for
    std::deque<std::unique_ptr<redis_call>> waiting{};  ///< for admission
    reconnect_backoff backoff{entropy()};               ///< after it was refused
    error refusal{};                                    ///< ... while that is in force

    unique_function<void()> established{};  ///< called when a connection has become fit for use
    bool server_changed = false;            ///< another server, or another run of it, answers than before

    /// The connection is gone.
    void dismiss() noexcept { admitted = admission::none; }
};

/// Stands where a call was whose user is gone: swallows the answer.
class forgotten_call final : public redis_call {
public:
    explicit forgotten_call(redis_call const& of) noexcept {
        deadline = of.deadline;
        end = of.end;
        script = of.script;
        sent_again = true;
        in_full = true;
    }
    void write(redis_handshake const&, std::string_view, redis_command&) const override {}
    bool answer(redisReply const&, redis_handshake const&) override { return true; }
    void fail(error) override {}
};

}  // namespace rota::detail

#endif
