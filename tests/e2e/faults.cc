// Loaded into weir by LD_PRELOAD: faults of the machine that a test cannot order otherwise.
//   WEIR_FAULT_SYNC=n,FILE   the n-th fdatasync fails with EIO, and so does each one after it; the first
//                            writes its monotonic time in nanoseconds to FILE
//   WEIR_FAULT_CLOCK=FILE    the wall clock is off by what the file says at that moment: int64, milliseconds
//   WEIR_FAULT_UNCOUNTED=1   requests go out uncounted, so that the defence against a delayed EndTxn is off
#include <dlfcn.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

// The function that this library hides.
template <class Function>
Function* hidden(Function*, const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

struct SyncFault {
    long at = 0;
    const char* note = nullptr;
    std::atomic<long> calls{0};

    SyncFault() {
        const char* const order = std::getenv("WEIR_FAULT_SYNC");
        if (order == nullptr) return;
        char* end = nullptr;
        at = std::strtol(order, &end, 10);
        note = end + 1;
    }
};

const volatile int64_t* wall_offset_ms() {
    const char* const name = std::getenv("WEIR_FAULT_CLOCK");
    if (name == nullptr) return nullptr;
    const int file = open(name, O_RDONLY | O_CLOEXEC);
    void* const memory = mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) std::abort();
    return static_cast<const volatile int64_t*>(memory);
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* now) noexcept {
    static auto* const real = hidden(clock_gettime, "clock_gettime");
    static const volatile int64_t* const offset_ms = wall_offset_ms();
    const int result = real(clock, now);
    if (clock == CLOCK_REALTIME && offset_ms != nullptr) {
        const int64_t milliseconds = *offset_ms;
        const int64_t nanoseconds = now->tv_nsec + milliseconds % 1000 * 1'000'000 + 1'000'000'000;
        now->tv_sec += milliseconds / 1000 + nanoseconds / 1'000'000'000 - 1;
        now->tv_nsec = nanoseconds % 1'000'000'000;
    }
    return result;
}

int fdatasync(int file) {
    static auto* const real = hidden(fdatasync, "fdatasync");
    static SyncFault fault;
    const long call = ++fault.calls;
    if (fault.at == 0 || call < fault.at) return real(file);
    if (call == fault.at) {
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        std::FILE* const note = std::fopen(fault.note, "w");
        if (note == nullptr) std::abort();
        std::fprintf(note, "%lld\n", static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
        std::fclose(note);
    }
    errno = EIO;
    return -1;
}

rd_kafka_resp_err_t rd_kafka_interceptor_add_on_request_sent(
    rd_kafka_t* client, const char* name, rd_kafka_interceptor_f_on_request_sent_t* on_request,
    void* opaque) {
    static auto* const real = hidden(rd_kafka_interceptor_add_on_request_sent, __func__);
    if (std::getenv("WEIR_FAULT_UNCOUNTED") != nullptr) return RD_KAFKA_RESP_ERR_NO_ERROR;
    return real(client, name, on_request, opaque);
}

}  // extern "C"
