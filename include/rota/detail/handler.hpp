// Tells handlers from other arguments, so that a call of the wrong kind (with a handler over a blocking transport, without
// one over an asynchronous one) is refused in one line.
#pragma once

#include <type_traits>

namespace rota::detail {

struct fallback_call {
    void operator()();
};
template <typename T>
struct probe_call : T, fallback_call {};

template <typename T>
constexpr bool is_callable() {
    if constexpr (std::is_pointer_v<T>) {
        return std::is_function_v<std::remove_pointer_t<T>>;
    } else if constexpr (!std::is_class_v<T>) {
        return false;
    } else if constexpr (std::is_final_v<T>) {
        return requires { &T::operator(); };
    } else {
        return !requires { &probe_call<T>::operator(); };  // also overloaded and generic ones
    }
}

template <typename... Arguments>
struct last_is_callable : std::false_type {};
template <typename Last>
struct last_is_callable<Last> : std::bool_constant<is_callable<std::decay_t<Last>>()> {};
template <typename First, typename Second, typename... Rest>
struct last_is_callable<First, Second, Rest...> : last_is_callable<Second, Rest...> {};

template <typename...>
inline constexpr bool never = false;

}  // namespace rota::detail

// For the two kinds of coordinator: each refuses what only the other has.
#define ROTA_DETAIL_TAKES_NO_HANDLER(name)                                                                      \
    template <typename... Arguments>                                                                            \
        requires(detail::last_is_callable<Arguments...>::value)                                                 \
    void name(Arguments&&...) {                                                                                 \
        static_assert(detail::never<Arguments...>, "rota: over a blocking transport " #name                     \
                                                   " returns its result and takes no handler (an asynchronous " \
                                                   "one is rota::hiredis_async)");                              \
    }
#define ROTA_DETAIL_TAKES_A_HANDLER(name)                                                                        \
    template <typename... Arguments>                                                                             \
        requires(!detail::last_is_callable<Arguments...>::value)                                                 \
    void name(Arguments&&...) {                                                                                  \
        static_assert(detail::never<Arguments...>,                                                               \
                      "rota: over an asynchronous transport " #name " takes a handler last, and does not wait"); \
    }
