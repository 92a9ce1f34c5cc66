// Aggregate expressions over groups of rows, without windows, steps or a plan around them.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "processor/accumulator.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"
#include "scope.h"

namespace weir::processor {

// A row is a JSON object; its member "t" is also its event time.
using TestRows = std::vector<std::string>;

// What is stored of a group, as a state table would hold it.
struct StoredGroup {
    std::string cells;
    std::map<std::pair<size_t, std::string>, std::string> parts;
};

struct TestGroup {
    explicit TestGroup(const Accumulators& accumulators) : cells(accumulators.cell_count()) {}

    std::vector<Accumulator> cells;
    AccumulatorStore store;
};

class Aggregation {
public:
    explicit Aggregation(const std::string& text) {
        expr::test::NamedScope group;
        auto compiled = expr::compile_aggregate(text, input_, group, 0);
        if (const auto* const error = std::get_if<expr::CompileError>(&compiled)) {
            FAIL(text << ": " << error->message);
        }
        expression_ = std::make_unique<expr::AggregateExpression>(
            std::get<expr::AggregateExpression>(std::move(compiled)));
        std::vector<CallPlan> plans;
        for (const auto& call : expression_->calls) plans.push_back(call.spec);
        accumulators = std::make_unique<Accumulators>(plans);
    }

    [[nodiscard]] TestGroup group() const { return TestGroup(*accumulators); }

    // Rows that fail or that a call refuses are left out, as on_error would.
    void take(TestGroup& group, const TestRows& rows) {
        if (rows.empty()) return;
        Arena arena;
        std::vector<Column> columns(input_.names().size());
        std::vector<EventTime> times;
        std::vector<Accumulator*> cells(rows.size(), group.cells.data());
        std::vector<AccumulatorStore*> stores(rows.size(), &group.store);
        for (const std::string& row : rows) {
            for (size_t i = 0; i < columns.size(); ++i) {
                const auto member = expr::json_member(row, input_.names()[i]);
                columns[i].push_back(member ? expr::json_to_value(*member, arena) : Value::null());
            }
            const auto time = expr::json_member(row, "t");
            times.push_back(time ? std::stoll(std::string(*time)) : 0);
        }
        expr::EvalContext context{arena, 0, columns};
        for (size_t i = 0; i < expression_->calls.size(); ++i) {
            const expr::AggregateCall& call = expression_->calls[i];
            std::vector<uint32_t> selected(rows.size());
            for (uint32_t row = 0; row < selected.size(); ++row) selected[row] = row;
            if (call.filter) {
                Column passes;
                call.filter->evaluate(context, selected, rows.size(), passes);
                std::erase_if(selected, [&](uint32_t row) {
                    return passes[row].type != Type::kBool || !passes[row].boolean;
                });
            }
            std::vector<Column> arguments(call.arguments.size());
            std::vector<const Column*> pointers;
            for (size_t k = 0; k < arguments.size(); ++k) {
                call.arguments[k].evaluate(context, selected, rows.size(), arguments[k]);
                std::erase_if(selected, [&](uint32_t row) {
                    const auto type = static_cast<unsigned>(arguments[k][row].type);
                    return (accumulators->accepts(i, k) >> type & 1) == 0;
                });
                pointers.push_back(&arguments[k]);
            }
            accumulators->accumulate(i, {selected, pointers, times, cells, stores});
        }
    }

    [[nodiscard]] std::string result(const TestGroup& group) const {
        Arena arena;
        std::vector<Column> columns(expression_->calls.size());
        for (size_t i = 0; i < columns.size(); ++i) {
            columns[i].push_back(accumulators->result(i, group.cells.data(), group.store, arena));
        }
        expr::EvalContext context{arena, 0, columns};
        Column out;
        const uint32_t row = 0;
        expression_->result.evaluate(context, {&row, 1}, 1, out);
        if (out[0].is_null()) return "NULL";
        if (out[0].is_error()) return "ERROR: " + expr::to_text(out[0]);
        return expr::to_text(out[0]);
    }
    [[nodiscard]] std::string result(const TestRows& rows) {
        TestGroup all = group();
        take(all, rows);
        return result(all);
    }

    void merge(TestGroup& into, const TestGroup& from) const {
        accumulators->merge(into.cells.data(), into.store, from.cells.data(), from.store);
    }

    // One epoch: the cells whole, and the parts that changed.
    void write(TestGroup& group, StoredGroup& out, bool whole = false) const {
        out.cells.clear();
        accumulators->write(group.cells.data(), out.cells);
        accumulators->write_parts(group.cells.data(), group.store, whole,
                                  [&](size_t call, std::string_view key, std::string_view value) {
                                      out.parts[{call, std::string(key)}] = value;
                                  });
    }
    [[nodiscard]] TestGroup read(const StoredGroup& stored, bool parts_first = false) const {
        TestGroup result = group();
        const auto read_parts = [&] {
            for (const auto& [key, value] : stored.parts) {
                REQUIRE(accumulators->read_part(key.first, key.second, value, result.cells.data(),
                                                result.store));
            }
        };
        if (parts_first) read_parts();
        ByteReader in(stored.cells);
        REQUIRE(accumulators->read(in, result.cells.data(), result.store));
        REQUIRE((in.done() && !in.failed()));
        if (!parts_first) read_parts();
        return result;
    }

    std::unique_ptr<Accumulators> accumulators;

private:
    expr::test::NamedScope input_;
    std::unique_ptr<expr::AggregateExpression> expression_;
};

}  // namespace weir::processor
