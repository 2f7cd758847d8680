// Replies out of the bytes that a Redis sends, through hiredis' parser. It builds the usual redisReply; but all of one
// reply lies in a few pieces of memory that are freed together, where hiredis' own functions allocate and free each
// element: of a batch of locks, or of a page of schedules, that was most of the work.
// Only what hiredis 0.14.1 has is used; it is the same in 1.x.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <hiredis/hiredis.h>

#include "../result.hpp"
#include "redis_error.hpp"

namespace rota::detail {

/// Where the parts of the reply lie that is being read. The first block begins with the reply itself, so that whoever has
/// that can free them all. Its address is the parser's privdata: it does not move.
class reply_memory {
public:
    reply_memory() = default;
    reply_memory(reply_memory const&) = delete;
    reply_memory& operator=(reply_memory const&) = delete;

    /// Another connection begins.
    void start() noexcept { refused_a_count_ = false; }
    /// Whether a reply was given up because of how many elements it said to have.
    [[nodiscard]] bool refused_a_count() const noexcept { return refused_a_count_; }

    /// Frees a whole reply, given its root.
    static void free(void* root) noexcept {
        if (root == nullptr) return;
        auto* each = reinterpret_cast<block*>(static_cast<char*>(root) - root_at);
        while (each != nullptr) std::free(std::exchange(each, each->next));
    }

    /// What hiredis' parser calls; none of them throws. (A template: some are there from hiredis 1.0 on only.)
    template <typename Functions = redisReplyObjectFunctions>
    [[nodiscard]] static Functions* functions() noexcept {
        static Functions all = [] {
            Functions made{};
            made.createString = &string;
            made.createArray = &array;
            made.createInteger = &integer;
            made.createNil = &nil;
            made.freeObject = &reply_memory::free;
            if constexpr (requires { made.createDouble; }) made.createDouble = &real;
            if constexpr (requires { made.createBool; }) made.createBool = &boolean;
            return made;
        }();
        return &all;
    }

private:
    struct alignas(redisReply) block {
        block* next;
    };
    static constexpr std::size_t alignment = alignof(redisReply);
    static constexpr std::size_t rounded(std::size_t size) { return (size + alignment - 1) / alignment * alignment; }
    static constexpr std::size_t root_at = sizeof(block);
    static constexpr std::size_t first_block = 1000;  // of which there are many: most replies are short
    static constexpr std::size_t most_ahead = 64 * 1024;
    // More is no answer to anything that rota asks; hiredis would believe in any number.
    static constexpr std::size_t most_elements = std::size_t{1} << 20;

    static void* string(redisReadTask const* task, char* text, std::size_t size) noexcept {
        auto* const made = add(task);
        auto* const copy = made == nullptr ? nullptr : memory_of(task).take(size + 1);
        if (copy == nullptr) return fail(task, made);
        if (size > 0) std::memcpy(copy, text, size);
        copy[size] = '\0';
        made->str = copy;
        made->len = static_cast<decltype(made->len)>(size);  // an int in 0.14
        return made;
    }
    // The count is an int in 0.14, a size_t in 1.x.
    template <typename Count>
    static void* array(redisReadTask const* task, Count count) noexcept {
        auto const elements = static_cast<std::size_t>(count);
        auto& memory = memory_of(task);
        memory.refused_a_count_ = elements > most_elements;
        auto* const made = memory.refused_a_count_ ? nullptr : add(task);
        if (made == nullptr || elements == 0) return made;
        memory.foresee(elements * (sizeof(redisReply*) + rounded(sizeof(redisReply))));
        auto* const list = memory.take(elements * sizeof(redisReply*));
        if (list == nullptr) return fail(task, made);
        made->elements = elements;
        made->element = reinterpret_cast<redisReply**>(list);
        std::fill_n(made->element, elements, nullptr);
        return made;
    }
    static void* integer(redisReadTask const* task, long long value) noexcept {
        auto* const made = add(task);
        if (made != nullptr) made->integer = value;
        return made;
    }
    static void* nil(redisReadTask const* task) noexcept {
        auto* const made = add(task);
        if (made != nullptr) made->type = REDIS_REPLY_NIL;  // the task's type is what could have been there
        return made;
    }
    // rota never asks for the protocol that has these; a peer could send them all the same. Nobody looks at the value.
    static void* real(redisReadTask const* task, double, char* text, std::size_t size) noexcept {
        return string(task, text, size);
    }
    static void* boolean(redisReadTask const* task, int value) noexcept { return integer(task, value); }

    static reply_memory& memory_of(redisReadTask const* task) noexcept {
        return *static_cast<reply_memory*>(task->privdata);
    }

    // A reply of the task's type where it belongs. Null: no memory.
    static redisReply* add(redisReadTask const* task) noexcept {
        auto& memory = memory_of(task);
        if (task->parent == nullptr) memory.begin();
        auto* const place = memory.take(sizeof(redisReply));
        if (place == nullptr) return nullptr;
        auto* const made = new (place) redisReply{};
        made->type = task->type;
        if (task->parent != nullptr) static_cast<redisReply*>(task->parent->obj)->element[task->idx] = made;
        return made;
    }
    // hiredis frees the root that it knows of; of a root that fails it does not.
    static void* fail(redisReadTask const* task, redisReply* made) noexcept {
        if (task->parent == nullptr) free(made);
        return nullptr;
    }

    // What was there belongs to whoever has the reply.
    void begin() noexcept {
        last_ = nullptr;
        at_ = end_ = nullptr;
        ahead_ = first_block;
    }
    void foresee(std::size_t size) noexcept {
        if (size > static_cast<std::size_t>(end_ - at_)) ahead_ = std::max(ahead_, std::min(size, most_ahead));
    }
    char* take(std::size_t size) noexcept {
        size = rounded(size);
        if (size > static_cast<std::size_t>(end_ - at_) && !grow(size)) return nullptr;
        return std::exchange(at_, at_ + size);
    }
    bool grow(std::size_t size) noexcept {
        auto const whole = std::max(root_at + size, ahead_);
        auto* const memory = static_cast<char*>(std::malloc(whole));
        if (memory == nullptr) return false;
        auto* const added = new (memory) block{nullptr};
        if (last_ != nullptr) last_->next = added;
        last_ = added;
        at_ = memory + root_at;
        end_ = memory + whole;
        ahead_ = std::min(2 * ahead_, most_ahead);
        return true;
    }

    block* last_ = nullptr;
    char* at_ = nullptr;
    char* end_ = nullptr;
    std::size_t ahead_ = first_block;  // the size of the next block, at least
    bool refused_a_count_ = false;
};

struct reply_deleter {
    void operator()(redisReply* reply) const noexcept { reply_memory::free(reply); }
};
using reply_ptr = std::unique_ptr<redisReply, reply_deleter>;

[[nodiscard]] inline std::string_view text_of(redisReply const& reply) noexcept {
    return reply.str == nullptr ? std::string_view{} : std::string_view{reply.str, reply.len};
}

[[nodiscard]] inline bool is_error(redisReply const& reply) noexcept { return reply.type == REDIS_REPLY_ERROR; }

/// See the top of the file. Of one connection; the next begins with start().
class redis_parser {
public:
    redis_parser() = default;
    redis_parser(redis_parser const&) = delete;
    redis_parser& operator=(redis_parser const&) = delete;

    void start() {
        reader_.reset(::redisReaderCreateWithFunctions(reply_memory::functions()));
        if (!reader_) throw std::bad_alloc{};
        memory_.start();
        reader_->privdata = &memory_;
        reader_->maxbuf = 4096;  // once empty, a larger buffer is given back
    }
    void stop() noexcept { reader_.reset(); }

    void feed(char const* bytes, std::size_t count) {
        if (::redisReaderFeed(reader_.get(), bytes, count) != REDIS_OK) throw std::bad_alloc{};
    }
    /// The next reply, null if none is complete. protocol: the bytes are not Redis', and no other reply comes of them.
    result<reply_ptr> next() {
        void* raw = nullptr;
        if (::redisReaderGetReply(reader_.get(), &raw) != REDIS_OK) {
            if (memory_.refused_a_count())
                return {errc::protocol, "the peer announces more elements than rota asks for"};
            std::string why = static_cast<char const*>(reader_->errstr);
            return {errc::protocol, "the peer does not speak Redis: " + readable_error(why)};
        }
        return reply_ptr{static_cast<redisReply*>(raw)};
    }

private:
    struct reader_deleter {
        void operator()(redisReader* reader) const noexcept { ::redisReaderFree(reader); }
    };

    reply_memory memory_;
    std::unique_ptr<redisReader, reader_deleter> reader_;  // gone before what it refers to
};

}  // namespace rota::detail

#endif
