// The key of a join in the plan: cut out of `match`, and which sides have to be brought to it.
#include <algorithm>
#include <set>

#include "processor/planner.h"

namespace weir::processor {
namespace {

// The names of one side, as they are in the rows that feed it.
class SideScope final : public expr::Scope {
public:
    SideScope(FrameTable& frames, const Shape& shape, const std::vector<std::string>& sides, Side side)
        : inner_(frames, shape), sides_(sides), side_(sides[static_cast<size_t>(side)]) {}

    expr::Compiled<Binding> bind(std::span<const std::string> path) override {
        if (path.front() != side_) return no_such_side(path.front(), sides_);
        if (path.size() == 1)
            return expr::CompileError{"a side as a whole is no key", 0, side_.size(), "compare its fields"};
        auto bound = expr::bind_name(path.subspan(1), inner_);
        if (auto* const binding = std::get_if<Binding>(&bound)) ++binding->segments_used;
        return bound;
    }
    expr::Compiled<Binding> bind_metadata(expr::Metadata which) override {
        static_cast<void>(which);
        return no_such_side("_", sides_);
    }

    [[nodiscard]] const ShapeScope& inner() const { return inner_; }

private:
    ShapeScope inner_;
    const std::vector<std::string>& sides_;
    const std::string& side_;
};

// The operand of an equality between the sides that is the left one's; none: it is a condition like others.
std::optional<size_t> left_operand(const expr::Match& match, size_t part, const config::Join& join) {
    if (!match.is_equality(part)) return std::nullopt;
    const std::set<std::string> left = {join.left.name};
    const std::set<std::string> right = {join.right.name};
    for (size_t operand = 0; operand < 2; ++operand) {
        if (match.first_words(part, operand) == left && match.first_words(part, 1 - operand) == right)
            return operand;
    }
    return std::nullopt;
}

// Types whose values are never equal as keys, though PostgreSQL may compare them.
bool comparable(const std::optional<Type>& a, const std::optional<Type>& b) {
    const auto kind = [](Type type) {
        return type == Type::kInt4 || type == Type::kInt8 ? Type::kNumeric : type;
    };
    return !a || !b || *a == Type::kNull || *b == Type::kNull || kind(*a) == kind(*b);
}

const std::string& name_of(const config::Join& join, size_t side) {
    return side == 0 ? join.left.name : join.right.name;
}

}  // namespace

std::optional<std::vector<size_t>> Planner::MatchPlan::partitioned_by(
    const Sides& flows, std::initializer_list<Side> sides) const {
    size_t parts = 1;  // Each of them has to be compared.
    for (const Side side : sides)
        for (const Flow& flow : flows[static_cast<size_t>(side)])
            parts = std::max(parts, 1 + flow.shape.key_rest.size());
    std::vector<size_t> order;
    for (size_t part = 0; part < parts; ++part) {
        const auto compares = [&](const auto& equality) {
            return std::all_of(sides.begin(), sides.end(), [&](Side side) {
                const auto& keys = equality[static_cast<size_t>(side)];
                return std::all_of(keys.begin(), keys.end(),
                                   [&](const Key& key) { return key.part == part; });
            });
        };
        const auto found = std::find_if(equalities.begin(), equalities.end(), compares);
        if (found == equalities.end()) return std::nullopt;
        order.push_back(static_cast<size_t>(found - equalities.begin()));
    }
    return order;
}

std::optional<Planner::MatchPlan> Planner::plan_match(const config::Join& join, const Sides& flows) {
    const std::vector<std::string> sides = {join.left.name, join.right.name};
    auto parsed = expr::Match::parse(join.match.value);
    if (const auto* error = std::get_if<expr::CompileError>(&parsed)) {
        report(join.match, *error);
        return std::nullopt;
    }
    MatchPlan plan{std::get<expr::Match>(std::move(parsed)), {}, {}};
    for (size_t part = 0; part < plan.match.parts(); ++part) {
        const auto left = left_operand(plan.match, part, join);
        if (!left) {
            plan.conditions.push_back(part);
            continue;
        }
        auto& equality = plan.equalities.emplace_back();
        for (size_t side = 0; side < 2; ++side) {
            for (const Flow& flow : flows[side]) {
                SideScope scope(*frames_, flow.shape, sides, static_cast<Side>(side));
                auto compiled = plan.match.operand(part, side == 0 ? *left : 1 - *left, scope);
                if (const auto* error = std::get_if<expr::CompileError>(&compiled)) {
                    report(join.match, *error);
                    return std::nullopt;
                }
                MatchPlan::Key key{std::get<expr::Expression>(std::move(compiled)), {}, {}, {}};
                const bool plain = key.value.plain_slot().has_value();
                const bool record_key = plain && scope.inner().is_record_key();
                if (plain && scope.inner().only_path() != nullptr) key.path = *scope.inner().only_path();
                if (key.path) key.part = flow.shape.key_part(*key.path);
                if (record_key && !flow.rekeyed) key.part = 0;
                key.name = key.path     ? join_path(*key.path)
                           : record_key ? "_key"
                                        : "a value computed in `match`";
                equality[side].push_back(std::move(key));
            }
        }
        const auto left_type = equality[0].back().value.static_type();
        const auto right_type = equality[1].back().value.static_type();
        if (!comparable(left_type, right_type)) {
            diagnostics_.error("W0201", join.match.position(0),
                               std::string("the sides of an equality have different types, ") +
                                   type_name(*left_type) + " and " + type_name(*right_type),
                               "", "cast one to the other's type");
            return std::nullopt;
        }
    }
    return plan;
}

void Planner::refuse_apart(const config::Join& join, const MatchPlan& match, const Sides& flows) {
    std::string why;
    for (size_t side = 0; side < 2; ++side) {
        for (const Flow& flow : flows[side]) {
            why += (why.empty() ? "" : "; ") +
                   (flow.shape.key && !has_source_key(flow) ? "'" + name_of(join, side) + "': " : "") +
                   why_apart(flow);
        }
    }
    const auto& left = match.equalities.front()[0].front().path;
    const auto& right = match.equalities.front()[1].front().path;
    std::string declare = "compare what both topics are keyed by";
    if (left && right) {
        declare += ", or, if producers key the topics so, declare `keyed_by: " + join_path(*left) +
                   "` and `keyed_by: " + join_path(*right) + "` on the sources";
    }
    diagnostics_.error("W0222", join.match.position(0),
                       "records of one key may lie on several partitions: " + why, "",
                       declare + "; or let weir bring them together: `repartition: auto`");
}

bool Planner::bring_sides_together(size_t stream, MatchPlan& match, Sides& flows) {
    const config::Join& join = *pipeline_.streams[stream].join;
    if (match.equalities.empty()) {
        diagnostics_.error("W0223", join.match.position(0), "a join needs an equality between its sides", "",
                           "compare what both topics are keyed by: `" + join.left.name +
                               ".id = " + join.right.name + ".id`; other conditions can follow with AND");
        return true;  // They may have mistakes, too.
    }
    // A file is one partition, read by one worker.
    if (match.partitioned_by(flows, {Side::kLeft, Side::kRight}) || !source_of(flows[0].front()).file.empty())
        return true;
    if (pipeline_.repartition.never) {
        refuse_apart(join, match, flows);
        return false;
    }
    // A side that lies by a part of the join key stays, and the other one comes to it.
    std::array<bool, 2> travels = {false, false};
    std::vector<size_t> by;
    if (auto left = match.partitioned_by(flows, {Side::kLeft})) {
        travels[1] = true;
        by = std::move(*left);
    } else if (auto right = match.partitioned_by(flows, {Side::kRight})) {
        travels[0] = true;
        by = std::move(*right);
    } else {
        travels = {true, true};
        for (size_t i = 0; i < match.equalities.size(); ++i) by.push_back(i);
    }
    // Both topics of a join must be as wide as each other.
    std::vector<Origin> sizes;
    for (size_t side = 0; side < 2; ++side) {
        if (travels[side] && !travels[1 - side]) continue;
        for (const Flow& flow : flows[side]) sizes.push_back(flow.origin);
    }
    for (size_t side = 0; side < 2; ++side) {
        if (!travels[side]) continue;
        std::string names;
        for (const size_t equality : by)
            names += (names.empty() ? "" : ", ") + match.equalities[equality][side].front().name;
        std::string reason;
        for (const Flow& flow : flows[side]) {
            const std::string why = why_apart(flow);
            if (reason.find(why) == std::string::npos) reason += (reason.empty() ? "" : "; ") + why;
        }
        if (!may_repartition(names, reason, join.match.position(0))) return false;
        Node node;
        node.stream = stream;
        node.step = "streams." + pipeline_.streams[stream].name + ".join";
        for (size_t i = 0; i < flows[side].size(); ++i) {
            Flow& flow = flows[side][i];
            add_meaning(flow, join.match.value);
            const uint32_t id = repartition_at({stream, static_cast<Side>(side), 0}, reason, flow, node,
                                               join.match.position(0));
            RepartitionPlan& repartition = graph_->repartitions[id];
            node.frame = flow.shape.frame;
            ComputeNode compute{{}, {}, flow.shape.layout()};
            std::vector<expr::Slot> slots;
            std::vector<FieldPath> paths;
            for (const size_t equality : by) {
                MatchPlan::Key& key = match.equalities[equality][side][i];
                if (i == 0) repartition.by.push_back(key.name);
                if (key.path) paths.push_back(*key.path);
                const auto plain = key.value.plain_slot();
                slots.push_back(plain ? *plain : frames_->new_slot(flow.shape.frame));
                if (!plain) compute.outputs.emplace_back(slots.back(), std::move(key.value));
            }
            if (!compute.outputs.empty()) {
                Node computing = node;
                computing.operation = std::move(compute);
                append(flow, std::move(computing));
            }
            send_through(id, std::move(slots), flow, node);
            flow.shape.key_lost = "they are brought together by a value that is not one of their fields";
            if (paths.size() == by.size()) {
                flow.shape.key = paths.front();
                flow.shape.key_rest.assign(paths.begin() + 1, paths.end());
            }
            InternalTopic& topic = plan_->internal_topics.back();
            repartition_sizes_[id] = sizes;
            topic.meets_topics = !travels[1 - side];
            if (topic.meets_topics) topic.partitions = 0;
        }
    }
    auto behind = plan_match(join, flows);
    if (!behind) return false;
    match = std::move(*behind);
    return true;
}

}  // namespace weir::processor
