#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "state/change_set.h"

using namespace weir;
using namespace weir::state;

namespace {

using Kind = StateOp::Kind;
using Model = std::map<std::pair<uint32_t, std::string>, std::string>;

void apply(Model& model, const StateOp& op) {
    const std::pair key(op.table, std::string(op.key));
    if (op.kind == Kind::kPut) {
        model[key] = op.value;
    } else if (op.kind == Kind::kErase) {
        model.erase(key);
    } else {
        auto at = model.lower_bound(key);
        while (at != model.end() && at->first.first == op.table && at->first.second.starts_with(op.key))
            at = model.erase(at);
    }
}

}  // namespace

TEST_CASE("change set: does to any state what the log did, in one pass in order of keys") {
    const char* const given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " state_test -tc='change set: does to any state*'");
    std::mt19937 random(seed);
    const auto below = [&](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
    for (int round = 0; round < 2000; ++round) {
        const auto any_key = [&] {
            std::string key;
            for (uint32_t length = below(4); length > 0; --length)
                key.push_back(below(2) == 0 ? 'a' : static_cast<char>(0xff));
            return key;
        };
        Model expected;
        for (int i = 0; i < 10; ++i) expected[{below(2), any_key()}] = "before";
        Model model = expected;
        ChangeSet changes;
        for (uint32_t i = below(60); i > 0; --i) {
            const uint32_t dice = below(8);
            const Kind kind = dice == 0 ? Kind::kErasePrefix : dice < 3 ? Kind::kErase : Kind::kPut;
            const std::string key = any_key();
            const std::string value = kind == Kind::kPut ? std::to_string(i) : "";
            const StateOp op{kind, below(2), key, value};
            apply(expected, op);
            changes.apply(op);
            if (below(20) == 0) changes.merge();
        }
        changes.merge();
        for (size_t i = 0; i < changes.size(); ++i) {
            const StateOp change = changes.at(i);
            apply(model, change);
            for (size_t j = 0; j < i; ++j) {
                const StateOp earlier = changes.at(j);
                const std::tuple a(earlier.table, earlier.key);
                const std::tuple b(change.table, change.key);
                REQUIRE((a < b || (a == b && earlier.kind == Kind::kErasePrefix &&
                                   change.kind != Kind::kErasePrefix)));
                if (change.kind == Kind::kErasePrefix && earlier.kind == Kind::kErasePrefix)
                    REQUIRE_FALSE((earlier.table == change.table && change.key.starts_with(earlier.key)));
            }
        }
        REQUIRE(model == expected);
    }
}

TEST_CASE("change set: what came and went under prefixes leaves the prefixes only") {
    ChangeSet changes;
    const std::string value(100, 'v');
    for (int pane = 0; pane < 200; ++pane) {
        const std::string prefix = std::to_string(1000 + pane);
        for (int row = 0; row < 1000; ++row)
            changes.apply({Kind::kPut, 1, prefix + std::to_string(row), value});
        changes.apply({Kind::kErasePrefix, 1, prefix, {}});
    }
    changes.merge();
    CHECK(changes.size() == 200);
    CHECK(changes.at(7).key == "1007");
}
