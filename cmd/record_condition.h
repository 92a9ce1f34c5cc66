// A PostgreSQL condition over one written record, the `match` of a test: the value's members by name, `_key`,
// `_timestamp` and `_headers` as in the pipeline.
//
// Thread: any one.
#pragma once

#include <string>
#include <vector>

#include "connectors/memory_broker.h"
#include "processor/expr/expression.h"

namespace weir::cmd {

class RecordCondition {
public:
    [[nodiscard]] static processor::expr::Compiled<RecordCondition> compile(std::string_view text);

    // Empty when it holds, else why not.
    [[nodiscard]] std::string failure(const connectors::MemoryRecord& record) const;

private:
    struct Column {
        std::vector<std::string> path;         // Of a member …
        processor::expr::Metadata metadata{};  // … or, when it is empty, this.
    };
    class Scope;

    RecordCondition(processor::expr::Expression expression, std::vector<Column> columns)
        : expression_(std::move(expression)), columns_(std::move(columns)) {}

    processor::expr::Expression expression_;
    std::vector<Column> columns_;  // By slot.
};

}  // namespace weir::cmd
