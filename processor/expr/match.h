// The condition of a join, cut at its top-level ANDs, so that equalities between the sides can become the
// join key and each part can be compiled for the rows that it is computed on.
//
// Thread:  one at a time; the result of compiling is immutable.
// Failure: CompileError with the place in the condition's text.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "processor/expr/expression.h"
#include "processor/expr/syntax.h"

namespace weir::processor::expr {

class Match {
public:
    static Compiled<Match> parse(std::string_view text);

    [[nodiscard]] size_t parts() const { return parts_.size(); }
    // `a = b`; only then it has operands 0 and 1.
    [[nodiscard]] bool is_equality(size_t part) const { return !parts_[part].operands.empty(); }
    // The first words of the names in an operand.
    [[nodiscard]] std::set<std::string> first_words(size_t part, size_t operand) const;
    [[nodiscard]] Compiled<Expression> operand(size_t part, size_t operand, Scope& scope) const;
    [[nodiscard]] Compiled<Expression> condition(size_t part, Scope& scope) const;

private:
    struct Part {
        const rapidjson::Value* whole;
        std::vector<const rapidjson::Value*> operands;
    };

    void add(const rapidjson::Value& json);

    std::shared_ptr<const std::string> text_;  // What the syntax's views point into.
    std::shared_ptr<const Syntax> syntax_;
    std::vector<Part> parts_;
};

}  // namespace weir::processor::expr
