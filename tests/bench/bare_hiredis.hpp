// Bare hiredis, as what rota is measured against: a blocking connection, an asynchronous one (redisAsyncContext on a
// small epoll loop), and calls of rota's own scripts with the same bytes, taken from detail::encode once.
//
// The loop is as cheap as one can be made for it: what was asked for in a turn is written at the end of the turn, all at
// once and without asking epoll first; epoll is told to watch for room only if something is left over.
#pragma once

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <rota/detail/redis_codec.hpp>

#include "../support/command_words.hpp"
#include "../support/redis_server.hpp"

namespace rota::test {

/// An argument vector of redisCommandArgv.
class bare_command {
public:
    bare_command() = default;
    explicit bare_command(std::vector<std::string> words) : words_{std::move(words)} {
        for (auto const& word : words_) {
            texts_.push_back(word.data());
            sizes_.push_back(word.size());
        }
    }
    bare_command(bare_command&&) = default;
    bare_command& operator=(bare_command&&) = default;

    /// Writes a number over a word that is a number of as many digits: a token has 16 for some centuries.
    void set_token(std::size_t which, long long token) {
        auto& word = words_[which];
        std::to_chars(word.data(), word.data() + word.size(), token);
    }
    /// Puts a word in the place of another.
    void set_word(std::size_t which, std::string word) {
        words_[which] = std::move(word);
        texts_[which] = words_[which].data();
        sizes_[which] = words_[which].size();
    }

    [[nodiscard]] int size() const { return static_cast<int>(words_.size()); }
    [[nodiscard]] std::size_t last() const { return words_.size() - 1; }
    [[nodiscard]] char const** texts() { return texts_.data(); }
    [[nodiscard]] std::size_t const* sizes() const { return sizes_.data(); }

private:
    std::vector<std::string> words_;
    std::vector<char const*> texts_;
    std::vector<std::size_t> sizes_;
};

/// The call of a script that rota makes of this operation. The server knows the script once a node has connected to it.
[[nodiscard]] inline bare_command call_of(rota::operation const& request, std::string const& prefix) {
    rota::detail::redis_command command;
    rota::detail::encode(request, prefix, 1234567890123456789u, 1, command);
    std::vector<std::string> words{"EVALSHA", rota::detail::script_table::standard().digest(command.script),
                                   std::to_string(command.keys.count)};
    for (auto const* part : {&command.keys, &command.args}) {
        for (auto& word : texts_of(*part)) words.push_back(std::move(word));
    }
    return bare_command{std::move(words)};
}

/// A reply of `elements` numbers, of which those that are the codes of the request and of its first item are 0.
[[nodiscard]] inline bool is_granted(redisReply const* r, std::size_t elements) {
    return r != nullptr && r->type == REDIS_REPLY_ARRAY && r->elements == elements && r->element[0]->integer == 0 &&
           r->element[1]->integer == 0;
}

/// What acquires these locks, and what gives them back; tokens of the latter are to be set from the former's reply.
struct bare_locks {
    bare_command acquire;
    bare_command release;
    std::size_t count;
    std::size_t first_token;  // word of `release`

    bare_locks(rota::op::acquire_locks const& request, std::string const& prefix)
        : acquire{call_of(request, prefix)},
          count{request.items.size()} {
        constexpr rota::fencing_token of_16_digits = 1'000'000'000'000'000;
        rota::op::release_locks give_back{.kind = request.kind};
        for (auto const& item : request.items) give_back.items.push_back({item.name, of_16_digits});
        release = call_of(give_back, prefix);
        first_token = release.last() + 1 - count;
    }

    /// False: it is not what a server replies that grants all.
    [[nodiscard]] bool take_granted(redisReply const* r) {
        if (!is_granted(r, 1 + 3 * count)) return false;
        for (std::size_t i = 0; i < count; ++i) release.set_token(first_token + i, r->element[2 + 3 * i]->integer);
        return true;
    }
    [[nodiscard]] bool is_released(redisReply const* r) const { return is_granted(r, 1 + count); }
};

/// A request for locks as a member makes it.
[[nodiscard]] inline rota::op::acquire_locks locks_of(rota::fencing_token incarnation, rota::microseconds ttl,
                                                      rota::op::lock_kind kind = rota::op::lock_kind::schedule) {
    return {.incarnation = incarnation,
            .kind = kind,
            .items = {},
            .ttl = ttl,
            .nonce = 9876543210987654321u,
            .seen = 1'000'000'000'000'000};
}

// ---------------------------------------------------------------- blocking

class bare_connection {
    struct reply_deleter {
        void operator()(redisReply* r) const { ::freeReplyObject(r); }
    };

public:
    using reply = std::unique_ptr<redisReply, reply_deleter>;

    explicit bare_connection(std::uint16_t port) : context_{::redisConnect("127.0.0.1", port)} { check(); }
    explicit bare_connection(std::string const& socket) : context_{::redisConnectUnix(socket.c_str())} { check(); }

    reply call(bare_command& command) {
        return checked(::redisCommandArgv(context_.get(), command.size(), command.texts(), command.sizes()));
    }
    reply call(std::vector<std::string> words) {
        bare_command command{std::move(words)};
        return call(command);
    }

    /// The two halves of that, for a command that blocks.
    void send(bare_command& command) {
        int done = 0;
        ::redisAppendCommandArgv(context_.get(), command.size(), command.texts(), command.sizes());
        while (done == 0) {
            if (::redisBufferWrite(context_.get(), &done) != REDIS_OK) fail();
        }
    }
    reply receive() {
        void* r = nullptr;
        if (::redisGetReply(context_.get(), &r) != REDIS_OK) fail();
        return checked(r);
    }
    [[nodiscard]] int descriptor() const { return context_->fd; }

    /// Its digest.
    std::string load(std::string text) {
        auto const r = call({"SCRIPT", "LOAD", std::move(text)});
        return {r->str, r->len};
    }

    /// Takes and gives back locks, once.
    void pair(bare_locks& locks) {
        if (!locks.take_granted(call(locks.acquire).get()) || !locks.is_released(call(locks.release).get())) {
            throw std::runtime_error("bare hiredis: no lock");
        }
    }

private:
    struct context_deleter {
        void operator()(redisContext* c) const { ::redisFree(c); }
    };

    [[noreturn]] void fail() const {
        throw std::runtime_error("bare hiredis: " + std::string{context_ ? context_->errstr : "no memory"});
    }
    void check() const {
        if (!context_ || context_->err) fail();
    }
    reply checked(void* raw) const {
        reply r{static_cast<redisReply*>(raw)};
        if (!r) fail();
        if (r->type == REDIS_REPLY_ERROR) throw std::runtime_error("bare hiredis: " + std::string{r->str, r->len});
        return r;
    }

    std::unique_ptr<redisContext, context_deleter> context_;
};

// ---------------------------------------------------------------- asynchronous

/// Any number of redisAsyncContexts, and the loop that they are on. All calls by one thread.
class bare_loop {
public:
    bare_loop() : epoll_{::epoll_create1(EPOLL_CLOEXEC)} {
        if (!epoll_) throw_errno("epoll_create1");
    }
    bare_loop(bare_loop const&) = delete;
    bare_loop& operator=(bare_loop const&) = delete;
    ~bare_loop() {
        for (auto const& each : links_) ::redisAsyncFree(each->context);
    }

    /// A connection that is fit for use.
    [[nodiscard]] redisAsyncContext* connect(std::uint16_t port) {
        auto* const made = ::redisAsyncConnect("127.0.0.1", port);
        if (made == nullptr || made->err) throw std::runtime_error("bare hiredis: cannot connect");
        auto& added = *links_.emplace_back(std::make_unique<link>(link{*this, made}));
        pollfd connecting{made->c.fd, POLLOUT, 0};
        if (::poll(&connecting, 1, 5000) != 1) throw std::runtime_error("bare hiredis: cannot connect in time");
        made->data = &added;
        made->ev.data = &added;
        made->ev.addWrite = [](void* l) { static_cast<link*>(l)->want_write(); };
        made->ev.cleanup = [](void* l) { static_cast<link*>(l)->gone = true; };
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        wanted.data.ptr = &added;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, made->c.fd, &wanted) != 0) throw_errno("epoll_ctl");
        return made;
    }

    static void send(redisAsyncContext* to, bare_command& command, redisCallbackFn* called, void* with) {
        ::redisAsyncCommandArgv(to, called, with, command.size(), command.texts(), command.sizes());
    }
    /// By a callback, through which nothing can be thrown: the turn that it is called in does.
    void fail(std::string why) { failure_ = std::move(why); }
    /// The loop of a context, for its callbacks.
    [[nodiscard]] static bare_loop& of(redisAsyncContext* c) { return static_cast<link*>(c->data)->loop; }

    /// Sends what there is to send, waits for at most so long, and calls back.
    void turn(int timeout_ms) {
        flush();
        std::array<epoll_event, 256> ready;
        int const count = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), timeout_ms);
        for (int i = 0; i < count; ++i) {
            auto const& event = ready[static_cast<std::size_t>(i)];
            auto& at = *static_cast<link*>(event.data.ptr);
            if ((event.events & EPOLLOUT) != 0) {
                at.watch(EPOLLIN);
                at.want_write();
            }
            if ((event.events & ~EPOLLOUT) != 0) ::redisAsyncHandleRead(at.context);
            if (at.gone) fail("the connection was lost");
        }
        flush();
        if (!failure_.empty()) throw std::runtime_error("bare hiredis: " + failure_);
    }

private:
    struct link {
        bare_loop& loop;
        redisAsyncContext* context;
        bool wants_write = false;
        bool flushing = false;
        bool gone = false;

        void want_write() {
            if (flushing) return watch(EPOLLIN | EPOLLOUT);  // there was no room for all
            if (std::exchange(wants_write, true)) return;
            loop.to_write_.push_back(this);
        }
        void watch(unsigned events) {
            epoll_event wanted{};
            wanted.events = events;
            wanted.data.ptr = this;
            ::epoll_ctl(loop.epoll_.get(), EPOLL_CTL_MOD, context->c.fd, &wanted);
        }
    };

    void flush() {
        for (auto* each : to_write_) {
            each->wants_write = false;
            each->flushing = true;
            ::redisAsyncHandleWrite(each->context);
            each->flushing = false;
        }
        to_write_.clear();
    }

    unique_fd epoll_;
    std::vector<std::unique_ptr<link>> links_;
    std::vector<link*> to_write_;
    std::string failure_;
};

}  // namespace rota::test
