// One operation on its way to Redis and its handler, as the pipelined connection sees it: something that can be written
// as the call of a script, and is answered once. So that redis_pipeline.hpp is no template, and one allocation holds all.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "../operations.hpp"
#include "../result.hpp"
#include "late.hpp"
#include "redis_codec.hpp"
#include "redis_handshake.hpp"

namespace rota::detail {

struct redis_user;

/// See the top of the file. One of answer() and fail() is called, once.
class redis_call {
public:
    redis_call() = default;
    redis_call(redis_call const&) = delete;
    redis_call& operator=(redis_call const&) = delete;
    virtual ~redis_call() = default;

    virtual void write(redis_handshake const& from, std::string_view key_prefix, redis_command& into) const = 0;
    /// Hands the handler what the reply, which is no error, says. False: it is no reply to this.
    virtual bool answer(redisReply const& reply, redis_handshake const& from) = 0;
    virtual void fail(error why) = 0;

    std::shared_ptr<redis_user> user{};  ///< whose it is
    microseconds deadline{};
    std::uint64_t end = 0;    ///< of its bytes, in all that was ever written to the connection
    script_id script{};       ///< once written
    bool sent_again = false;  ///< after the scripts were loaded
    bool in_full = false;     ///< it is to be written so; see encode()
};

/// Handler: void(result<reply>), called once.
template <typename Handler, typename T = void>
class redis_call_of final : public redis_call {
public:
    template <typename H>
    redis_call_of(late<operation, T> request, H&& handler)
        : request_{std::move(request)},
          handler_{std::forward<H>(handler)} {}

    void write(redis_handshake const& from, std::string_view key_prefix, redis_command& into) const override {
        encode(request_, key_prefix, from.session(), from.connection_number(), into, in_full);
    }
    bool answer(redisReply const& reply, redis_handshake const& from) override {
        auto decoded = decode(request_, &reply);
        if (!decoded && decoded.error() == errc::protocol) return fail(from.at_server(decoded.error())), false;
        handler_(std::move(decoded));
        return true;
    }
    void fail(error why) override { handler_(result<late<reply, T>>{std::move(why)}); }

private:
    late<operation, T> request_;
    Handler handler_;
};

}  // namespace rota::detail

#endif
