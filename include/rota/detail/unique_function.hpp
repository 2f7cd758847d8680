// A callable that is called through one type and only moved, never copied: C++23's std::move_only_function, as far as
// callbacks need it. Callables up to six words that move without throwing are held in place, others on the heap.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace rota::detail {

template <typename Signature>
class unique_function;

template <typename... Arguments>
class unique_function<void(Arguments...)> {
public:
    unique_function() = default;
    unique_function(std::nullptr_t) noexcept {}
    template <typename F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, unique_function> &&
                 std::is_invocable_v<std::decay_t<F>&, Arguments...>)
    unique_function(F&& callable) {
        using held = std::decay_t<F>;
        if constexpr (fits<held>) {
            ::new (static_cast<void*>(room_)) held(std::forward<F>(callable));
            table_ = &in_place<held>;
        } else {
            ::new (static_cast<void*>(room_)) held*(new held(std::forward<F>(callable)));
            table_ = &on_heap<held>;
        }
    }
    unique_function(unique_function&& other) noexcept { take(other); }
    unique_function& operator=(unique_function&& other) noexcept {
        if (this != &other) {
            clear();
            take(other);
        }
        return *this;
    }
    ~unique_function() { clear(); }

    explicit operator bool() const noexcept { return table_ != nullptr; }
    /// Precondition: it holds a callable.
    void operator()(Arguments... arguments) { table_->call(room_, std::forward<Arguments>(arguments)...); }

private:
    static constexpr std::size_t room = 6 * sizeof(void*);

    struct table {
        void (*call)(void*, Arguments&&...);
        void (*move)(void* from, void* to) noexcept;
        void (*destroy)(void*) noexcept;
    };

    template <typename F>
    static constexpr bool fits =
        sizeof(F) <= room && alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

    template <typename F>
    static constexpr table in_place{
        [](void* at, Arguments&&... arguments) { (*static_cast<F*>(at))(std::forward<Arguments>(arguments)...); },
        [](void* from, void* to) noexcept {
            ::new (to) F(std::move(*static_cast<F*>(from)));
            static_cast<F*>(from)->~F();
        },
        [](void* at) noexcept { static_cast<F*>(at)->~F(); }};
    template <typename F>
    static constexpr table on_heap{
        [](void* at, Arguments&&... arguments) { (**static_cast<F**>(at))(std::forward<Arguments>(arguments)...); },
        [](void* from, void* to) noexcept { ::new (to) F*(*static_cast<F**>(from)); },
        [](void* at) noexcept { delete *static_cast<F**>(at); }};

    void take(unique_function& other) noexcept {
        if (other.table_ == nullptr) return;
        other.table_->move(other.room_, room_);
        table_ = std::exchange(other.table_, nullptr);
    }
    void clear() noexcept {
        if (auto const* held = std::exchange(table_, nullptr)) held->destroy(room_);
    }

    alignas(std::max_align_t) std::byte room_[room];
    table const* table_ = nullptr;
};

}  // namespace rota::detail
