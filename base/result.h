// Errors that the world causes (disk, broker, a record's bytes) travel as Result<T>; a mistake of ours
// stops the process through WEIR_CHECK; a user's mistake in a file is a config::Diagnostic.
//
// Thread:  values, free to move between threads.
// Failure: value() on an error is a bug of the caller and aborts with the error's text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace weir {

// What kind of trouble it is; cmd/exit_code.h maps these to the process's exit code.
enum class Code : uint8_t {
    kInvalid,       // Input that can never work: a bad argument, an unreadable record.
    kNotFound,      // A file, topic or key that is not there.
    kUnavailable,   // The broker does not answer; trying later may help.
    kTimedOut,      // A deadline passed; the outcome may be unknown.
    kFenced,        // Another instance took over the same identity.
    kUnauthorized,  // The broker refused the credentials or the ACL.
    kIo,            // The disk failed; nothing that depends on it may be trusted.
    kNoSpace,       // The disk is full; trying later may help.
    kCorrupt,       // Bytes that were once whole are damaged.
    kMismatch,      // State on disk or in Kafka belongs to another world (cluster, pipeline, offsets).
    kRecordFailed,  // A record failed and the policy is to stop.
    kStateLimit,    // Operators keep more in memory than the pipeline's file allows.
    kUnknown,       // The operation's outcome cannot be told; recover and read it back.
};

[[nodiscard]] const char* code_name(Code code);

struct Error {
    Code code;
    std::string message;  // One line: what, where, what to do.
};

// Aborts with the expression, both places and `detail`; stays on in release builds.
[[noreturn]] void check_failed(const char* expression, const char* file, int line, const std::string& detail);

#define WEIR_CHECK(condition, ...)                                                          \
    do {                                                                                    \
        if (!(condition)) [[unlikely]]                                                      \
            ::weir::check_failed(#condition, __FILE__, __LINE__, std::string{__VA_ARGS__}); \
    } while (false)

template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    [[nodiscard]] bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    [[nodiscard]] T& value() & {
        WEIR_CHECK(ok(), std::get<1>(state_).message);
        return std::get<0>(state_);
    }
    [[nodiscard]] const T& value() const& {
        WEIR_CHECK(ok(), std::get<1>(state_).message);
        return std::get<0>(state_);
    }
    [[nodiscard]] T&& value() && {
        WEIR_CHECK(ok(), std::get<1>(state_).message);
        return std::move(std::get<0>(state_));
    }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    [[nodiscard]] const Error& error() const {
        WEIR_CHECK(!ok());
        return std::get<1>(state_);
    }

private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    [[nodiscard]] bool ok() const { return !error_.has_value(); }
    explicit operator bool() const { return ok(); }
    void value() const { WEIR_CHECK(ok(), error_->message); }
    [[nodiscard]] const Error& error() const {
        WEIR_CHECK(error_.has_value());
        return *error_;
    }

private:
    std::optional<Error> error_;
};

// Returns the error of a Result<void> expression from the enclosing function.
#define WEIR_TRY(expression)                                                                            \
    do {                                                                                                \
        if (auto weir_try_result = (expression); !weir_try_result.ok()) return weir_try_result.error(); \
    } while (false)

#define WEIR_CONCAT_(a, b) a##b
#define WEIR_CONCAT(a, b) WEIR_CONCAT_(a, b)

// `WEIR_ASSIGN(auto x, expression)`: x gets the value, or the enclosing function returns the error.
#define WEIR_ASSIGN(declaration, expression) \
    WEIR_ASSIGN_(declaration, expression, WEIR_CONCAT(weir_result_, __LINE__))
#define WEIR_ASSIGN_(declaration, expression, temporary) \
    auto temporary = (expression);                       \
    if (!temporary.ok()) return temporary.error();       \
    declaration = std::move(temporary).value()

}  // namespace weir
