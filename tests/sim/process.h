// A whole process inside a test: what product code asks of the process itself (randomness, its own end) is
// answered by the simulation that runs on this thread. Linking process.cc replaces base/entropy.cc,
// base/crash_point.cc and base/check.cc; without a simulation it behaves as they do.
#pragma once

#include <cstdint>
#include <string>

namespace weir::sim {

// Thrown through product code: the simulated process ended here.
struct ProcessDied {
    bool aborted = false;  // By a failed check, whose text is `why`; else killed.
    std::string why;
};

class Process {
public:
    virtual ~Process() = default;
    virtual uint64_t random() = 0;
    virtual void reached(const char* crash_point) = 0;  // May throw ProcessDied.
};

// Of this thread; null: none.
void run_as(Process* process);

}  // namespace weir::sim
