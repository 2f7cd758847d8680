// flow<T>: a call of the coordinator that may take several requests, written once as a coroutine. Over a blocking
// transport nothing that it awaits ever suspends, and get() runs it from start to end on the calling thread; over an
// asynchronous one it is suspended while a request is under way, and resumed on the loop's thread.
// Promises: starts when it is awaited or asked for its value; a finished awaited flow goes on with who awaits it at a
// stack depth that does not grow with the number of requests (no reliance on tail calls, which compilers make only when
// they optimise).
// Rules for its authors: what is awaited is made of named objects (g++ 12 destroys some temporaries inside a co_await
// expression twice: lambdas with captures, aggregates in braces); and what comes of it is a value, never `auto const&`: it
// lives no longer than the expression.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "assert.hpp"

namespace rota::detail {

template <typename T>
class [[nodiscard]] flow;

class flow_promise_base {
public:
    static std::suspend_always initial_suspend() noexcept { return {}; }

    struct back_to_whoever_awaits {
        static bool await_ready() noexcept { return false; }
        template <typename Promise>
        static void await_suspend(std::coroutine_handle<Promise> ended) noexcept {
            // It may destroy this coroutine.
            if (auto const next = ended.promise().awaits_) next.resume();
        }
        static void await_resume() noexcept {}
    };
    static back_to_whoever_awaits final_suspend() noexcept { return {}; }

    void unhandled_exception() noexcept { thrown_ = std::current_exception(); }

protected:
    template <typename T>
    friend class flow;

    std::coroutine_handle<> awaits_;
    std::exception_ptr thrown_;
};

template <typename T>
class flow_promise : public flow_promise_base {
public:
    flow<T> get_return_object() noexcept;
    template <typename U>
    void return_value(U&& value) {
        value_.emplace(std::forward<U>(value));
    }

private:
    friend class flow<T>;
    T&& take() noexcept { return *std::move(value_); }
    std::optional<T> value_;
};

template <>
class flow_promise<void> : public flow_promise_base {
public:
    flow<void> get_return_object() noexcept;
    static void return_void() noexcept {}

private:
    friend class flow<void>;
    static void take() noexcept {}
};

/// See the top of the file. Move-only; destroying one that is suspended destroys what it holds.
template <typename T>
class [[nodiscard]] flow {
public:
    using promise_type = flow_promise<T>;

    flow(flow&& other) noexcept : coroutine_{std::exchange(other.coroutine_, {})} {}
    flow& operator=(flow&&) = delete;
    ~flow() {
        if (coroutine_) coroutine_.destroy();
    }

    /// Runs to the end, which it must reach without being suspended.
    T get() && {
        coroutine_.resume();
        ROTA_ASSERT(coroutine_.done());
        return take();
    }

    [[nodiscard]] static bool await_ready() noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> parent) {
        coroutine_.resume();
        if (coroutine_.done()) return false;
        coroutine_.promise().awaits_ = parent;
        return true;
    }
    std::add_rvalue_reference_t<T> await_resume() { return take(); }

private:
    friend promise_type;
    explicit flow(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_{coroutine} {}

    std::add_rvalue_reference_t<T> take() {
        auto& promise = coroutine_.promise();
        if (promise.thrown_) std::rethrow_exception(promise.thrown_);
        return promise.take();
    }

    std::coroutine_handle<promise_type> coroutine_;
};

template <typename T>
flow<T> flow_promise<T>::get_return_object() noexcept {
    return flow<T>{std::coroutine_handle<flow_promise<T>>::from_promise(*this)};
}
inline flow<void> flow_promise<void>::get_return_object() noexcept {
    return flow<void>{std::coroutine_handle<flow_promise<void>>::from_promise(*this)};
}

/// A coroutine that nobody awaits: it runs by itself from its call on, up to its end. What is thrown in it goes to whoever
/// resumes it.
struct detached_flow {
    struct promise_type {
        static detached_flow get_return_object() noexcept { return {}; }
        static std::suspend_never initial_suspend() noexcept { return {}; }
        static std::suspend_never final_suspend() noexcept { return {}; }
        static void return_void() noexcept {}
        [[noreturn]] static void unhandled_exception() { throw; }
    };
};

/// What is there at once, for whoever awaits it.
template <typename T>
struct ready {
    T value;

    [[nodiscard]] static bool await_ready() noexcept { return true; }
    static void await_suspend(std::coroutine_handle<>) noexcept {}
    T&& await_resume() noexcept { return std::move(value); }
};
template <typename T>
ready(T) -> ready<T>;

}  // namespace rota::detail
