// Runs a fuzz target without libFuzzer, as an ordinary test: every kept input, then seeded mutations of them.
//
//   TARGET [--seconds N] [--executions N] [--seed N] [--dictionary FILE] FOLDER|FILE…
//
// An execution's input depends on its seed and the kept inputs only; one that fails is replayed by its seed
// with --executions 1, or from libFuzzer's crash file given as FILE with --executions 0.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
#if defined(__SANITIZE_ADDRESS__)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

namespace {

constexpr size_t kInputBytesMax = 4096;

std::array<char, 4096> replay{};  // What to say when the process dies.

void say_replay() {
    const ssize_t ignored = write(STDERR_FILENO, replay.data(), std::strlen(replay.data()));
    static_cast<void>(ignored);
}

void on_abort(int) {
    say_replay();
    std::signal(SIGABRT, SIG_DFL);
    std::raise(SIGABRT);
}

std::string read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>{}};
}

// libFuzzer's format: one "token" per line, with \" \\ and \xNN.
std::vector<std::string> read_dictionary(const std::string& file) {
    std::vector<std::string> tokens;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        if (line.size() < 2 || line.front() != '"' || line.back() != '"') continue;
        std::string token;
        for (size_t i = 1; i + 1 < line.size(); ++i) {
            if (line[i] == '\\' && line[i + 1] == 'x') {
                token.push_back(static_cast<char>(std::stoi(line.substr(i + 2, 2), nullptr, 16)));
                i += 3;
            } else {
                token.push_back(line[line[i] == '\\' ? ++i : i]);
            }
        }
        tokens.push_back(std::move(token));
    }
    return tokens;
}

std::string mutated(const std::vector<std::string>& inputs, const std::vector<std::string>& tokens,
                    uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](size_t count) { return static_cast<size_t>(random() % count); };
    std::string text = inputs[pick(inputs.size())];
    for (size_t edits = 1 + pick(6); edits > 0; --edits) {
        const size_t at = pick(text.size() + 1);
        switch (pick(5)) {
            case 0: text.erase(at, 1 + pick(8)); break;
            case 1: {
                const std::string& other = inputs[pick(inputs.size())];
                text.insert(at, other, pick(other.size() + 1), pick(64));
                break;
            }
            case 2:
                if (!tokens.empty()) {
                    text.insert(at, tokens[pick(tokens.size())]);
                    break;
                }
                [[fallthrough]];
            case 3:
                if (at < text.size()) text[at] = static_cast<char>(random());
                break;
            default:
                if (at < text.size()) text[at] = static_cast<char>(text[at] ^ 1 << pick(8));
        }
    }
    if (text.size() > kInputBytesMax) text.resize(kInputBytesMax);
    return text;
}

// In a block of exactly its size, so that a sanitizer sees every read past its end.
void execute(std::string_view input) {
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[input.size()]);
    std::copy(input.begin(), input.end(), bytes.get());
    LLVMFuzzerTestOneInput(bytes.get(), input.size());
}

}  // namespace

int main(int argc, char** argv) {
    uint64_t seed = std::random_device{}();
    uint64_t executions = UINT64_MAX;
    double seconds = 1;
    std::string dictionary;
    std::vector<std::filesystem::path> files;
    std::string kept;  // The arguments that name inputs, for the replay command.
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        const auto value = [&]() -> const char* { return i + 1 < argc ? argv[++i] : ""; };
        if (argument == "--seed") {
            seed = std::strtoull(value(), nullptr, 10);
        } else if (argument == "--executions") {
            executions = std::strtoull(value(), nullptr, 10);
        } else if (argument == "--seconds") {
            seconds = std::strtod(value(), nullptr);
        } else if (argument == "--dictionary") {
            dictionary = value();
        } else {
            kept += " " + std::string(argument);
            if (!std::filesystem::is_directory(argument)) {
                files.emplace_back(argument);
            } else {
                for (const auto& entry : std::filesystem::directory_iterator(argument))
                    if (entry.is_regular_file()) files.push_back(entry.path());
            }
        }
    }
    std::sort(files.begin(), files.end());
    const std::vector<std::string> tokens = read_dictionary(dictionary);
    const std::string options = (dictionary.empty() ? "" : " --dictionary " + dictionary) + kept;

    std::signal(SIGABRT, on_abort);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(say_replay);
#endif
    std::vector<std::string> inputs;
    for (const auto& file : files) {
        std::snprintf(replay.data(), replay.size(), "replay: %s --executions 0 %s\n", argv[0], file.c_str());
        inputs.push_back(read(file));
        execute(inputs.back());
    }
    if (inputs.empty()) inputs.emplace_back();

    const uint64_t first = seed;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    uint64_t done = 0;
    for (; done < executions && std::chrono::steady_clock::now() < end; ++done, ++seed) {
        std::snprintf(replay.data(), replay.size(), "replay: %s --executions 1 --seed %llu%s\n", argv[0],
                      static_cast<unsigned long long>(seed), options.c_str());
        execute(mutated(inputs, tokens, seed));
    }
    std::printf("%zu kept inputs, %llu mutations from seed %llu\n", files.size(),
                static_cast<unsigned long long>(done), static_cast<unsigned long long>(first));
    return 0;
}
