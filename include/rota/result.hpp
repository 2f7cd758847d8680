// result<T>: a value, or the error that says why there is none. C++20 has no std::expected; this is the small part of
// it that rota needs, with the same names. Functions that return one are [[nodiscard]], so that no failure is dropped by
// accident, but for tick, leave and release, which report through events too.
#pragma once

#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "error.hpp"

namespace rota {

/// Either a T or an error. Reading the one that is not there throws std::logic_error: a bug of the caller.
template <typename T>
class result {
public:
    using value_type = T;

    result(T value) : value_{std::move(value)} {}
    result(rota::error e) : error_{std::move(e)} {}
    result(errc code, std::string detail = {}) : result(rota::error{code, std::move(detail)}) {}

    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }

    [[nodiscard]] T& value() & { return checked(), *value_; }
    [[nodiscard]] T const& value() const& { return checked(), *value_; }
    /// Of a temporary: moved out, so that `for (auto& n : *node.nodes())` loops over what still exists.
    [[nodiscard]] T value() && { return checked(), *std::move(value_); }

    [[nodiscard]] T& operator*() & { return value(); }
    [[nodiscard]] T const& operator*() const& { return value(); }
    [[nodiscard]] T operator*() && { return std::move(*this).value(); }
    [[nodiscard]] T* operator->() { return &value(); }
    [[nodiscard]] T const* operator->() const { return &value(); }

    template <typename U>
    [[nodiscard]] T value_or(U&& otherwise) const& {
        return has_value() ? value() : static_cast<T>(std::forward<U>(otherwise));
    }
    template <typename U>
    [[nodiscard]] T value_or(U&& otherwise) && {
        return has_value() ? *std::move(value_) : static_cast<T>(std::forward<U>(otherwise));
    }

    [[nodiscard]] rota::error const& error() const {
        if (value_) throw std::logic_error("rota::result: error() of a result that holds a value");
        return error_;
    }

private:
    void checked() const {
        if (!value_) throw std::logic_error("rota::result: no value: " + error_.message());
    }

    // No std::variant: g++ 12 warns of uninitialised members where none are, and it takes longer to compile.
    std::optional<T> value_;
    rota::error error_;
};

/// Success without a value, or an error.
template <>
class result<void> {
public:
    using value_type = void;

    result() = default;
    result(rota::error e) : error_{std::move(e)}, failed_{true} {}
    result(errc code, std::string detail = {}) : result(rota::error{code, std::move(detail)}) {}

    [[nodiscard]] bool has_value() const noexcept { return !failed_; }
    explicit operator bool() const noexcept { return has_value(); }

    void value() const {
        if (failed_) throw std::logic_error("rota::result: no value: " + error_.message());
    }

    [[nodiscard]] rota::error const& error() const {
        if (!failed_) throw std::logic_error("rota::result: error() of a result that holds a value");
        return error_;
    }

private:
    rota::error error_{};
    bool failed_ = false;
};

/// One result per item of a request, in order.
template <typename T>
class results : public std::vector<result<T>> {
public:
    using std::vector<result<T>>::vector;

    /// Success if every item succeeded, or the first error.
    [[nodiscard]] result<void> all() const {
        for (auto const& item : *this) {
            if (!item) return item.error();
        }
        return {};
    }
};

}  // namespace rota
