#include "config/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>

#include "config/fields.h"
#include "config/kafka_properties.h"
#include "config/redact.h"
#include "config/scalar.h"
#include "config/substitute.h"

namespace weir::config {
namespace {

using Path = std::vector<std::string>;

std::string joined(const Path& path) { return fmt::format("{}", fmt::join(path, ".")); }
std::string list_of(const std::vector<std::string_view>& names) {
    return fmt::format("{}", fmt::join(names, ", "));
}

bool contains(const std::vector<std::string_view>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string_view> key_names(const Field& field) {
    std::vector<std::string_view> names;
    for (const Field* child : children(field)) names.push_back(last_segment(child->path));
    return names;
}

// Where a row's parent is, in terms of the file: names the user chose are taken over from `here` as far as
// the paths agree.
struct Place {
    std::string parent;
    size_t common = 0;
};
Place place_of(std::string_view path, const Path& here) {
    Place place;
    Path segments;
    bool agrees = true;
    for (size_t i = 0; !path.empty(); ++i) {
        const size_t dot = std::min(path.find('.'), path.size());
        const std::string_view segment = path.substr(0, dot);
        agrees = agrees && i < here.size() && (segment == "*" || segment == here[i]);
        place.common += agrees ? 1 : 0;
        segments.emplace_back(segment == "*" ? agrees ? std::string_view(here[i]) : "<name>" : segment);
        path.remove_prefix(std::min(dot + 1, path.size()));
    }
    segments.pop_back();
    place.parent = segments.empty() ? "the top level" : fmt::format("`{}`", joined(segments));
    return place;
}

// The rows elsewhere for which `matches` holds; the one nearest to `here` wins.
template <class Matches>
const Field* elsewhere(const Path& here, Matches matches) {
    const Field* best = nullptr;
    size_t common = 0;
    for (const Field& field : fields()) {
        if (!matches(field)) continue;
        const Place place = place_of(field.path, here);
        if (best == nullptr || place.common > common) {
            best = &field;
            common = place.common;
        }
    }
    return best;
}

std::string help_for_key(std::string_view key, const Field& parent, const Path& here) {
    for (const Field* child : children(parent)) {
        if (contains(words(child->also), key))
            return fmt::format("did you mean `{}`?", last_segment(child->path));
    }
    const auto same_name = [&](const Field& field) { return last_segment(field.path) == key; };
    if (const Field* field = elsewhere(here, same_name)) {
        return fmt::format("`{}` belongs to {}", key, place_of(field->path, here).parent);
    }
    if (const std::string_view near = nearest(key, key_names(parent)); !near.empty()) {
        return fmt::format("did you mean `{}`?", near);
    }
    const auto other_name = [&](const Field& field) { return contains(words(field.also), key); };
    if (const Field* field = elsewhere(here, other_name)) {
        return fmt::format("did you mean `{}`? It belongs to {}", last_segment(field->path),
                           place_of(field->path, here).parent);
    }
    return {};
}

std::string_view kind_name(const Node& node) {
    switch (node.kind) {
        case NodeKind::kNull: return "nothing";
        case NodeKind::kScalar: return "a text or number";
        case NodeKind::kSequence: return "a list";
        case NodeKind::kMap: return "a map";
    }
    return "";
}

std::string taken_by(const Field& field) {
    std::vector<std::string> forms;
    if (field.list != ListForm::kOnly) {
        if (field.type == Type::kEnum)
            forms.push_back(fmt::format("one of {}", list_of(words(field.values))));
        if (field.type != Type::kNone && field.type != Type::kEnum) forms.emplace_back(type_name(field.type));
        if (field.map) forms.emplace_back("a map");
    }
    if (field.list != ListForm::kNever) forms.emplace_back("a list");
    return fmt::format("takes {}", fmt::join(forms, ", or "));
}

class Checker {
public:
    Checker(std::string_view source, const LoadOptions& options, Diagnostics& diagnostics)
        : source_(source), options_(options), diagnostics_(diagnostics) {}

    SecretOffsets secrets;

    void check_root(Node& root) {
        if (root.is_map()) {
            check_map(root, root_field());
        } else {
            diagnostics_.error("W0013", root.mark,
                               fmt::format("a pipeline is a map of keys, not {}", kind_name(root)));
        }
    }

    void check_tests_root(Node& root) {
        for (size_t i = 0; i < root.items.size(); ++i) {
            if (root.keys[i].value == "tests") continue;
            diagnostics_.error("W0012", root.keys[i].mark,
                               fmt::format("unknown key `{}`", root.keys[i].value),
                               "a file of tests takes: tests", "the pipeline stands in its own file");
        }
        const Field* const field = child_field(root_field(), "tests");
        Node* const tests = const_cast<Node*>(root.find("tests"));
        if (tests == nullptr) {
            diagnostics_.error("W0014", Mark{1, 1, 1}, "the file has no `tests`");
            return;
        }
        path_ = {"tests"};
        check(*tests, tests->mark, *field);
    }

private:
    [[nodiscard]] std::string here() const { return joined(path_); }

    void wrong_type(const Node& node, const Mark& key, const Field& field) {
        const bool empty = node.kind == NodeKind::kNull && node.value.empty();
        const Mark mark = node.is_scalar() || !node.value.empty() ? node.mark : key;
        diagnostics_.error("W0013", mark,
                           empty ? fmt::format("`{}` has no value", here())
                                 : fmt::format("`{}` cannot be {}", here(), kind_name(node)),
                           taken_by(field));
    }

    void check(Node& node, const Mark& key, const Field& field) {
        if (field.type == Type::kData) return;
        if (node.kind != NodeKind::kSequence) {
            if (field.list == ListForm::kOnly) {
                wrong_type(node, key, field);
            } else {
                check_one(node, key, field);
            }
            return;
        }
        if (field.list == ListForm::kNever) {
            wrong_type(node, key, field);
            return;
        }
        if (node.items.empty() && field.list == ListForm::kAlso) {
            diagnostics_.error("W0013", key, fmt::format("`{}` is an empty list", here()), taken_by(field));
        }
        for (Node& item : node.items) check_one(item, item.mark, field);
    }

    void check_one(Node& node, const Mark& key, const Field& field) {
        if (node.kind == NodeKind::kNull && field.type == Type::kExpression && node.value.size() == 4) {
            node.kind = NodeKind::kScalar;  // `x: null` is the expression NULL.
        }
        if (node.is_scalar() && field.type != Type::kNone) {
            check_scalar(node, key, field);
        } else if (node.is_map() && field.map) {
            check_map(node, field);
        } else {
            wrong_type(node, key, field);
        }
    }

    void check_map(Node& node, const Field& field) {
        const Mark mark = path_.empty() ? Mark{1, 1, 1} : node.mark;
        for (size_t i = 0; i < node.items.size(); ++i) {
            const Node& key = node.keys[i];
            if (key.value.find("${") != std::string::npos) {
                diagnostics_.error("W0032", key.mark, "references cannot stand in keys", "",
                                   "a reference gives a value, never the shape of the file");
                continue;
            }
            const Field* child = child_field(field, key.value);
            if (child == nullptr) {
                unknown_key(key, field);
                continue;
            }
            path_.push_back(key.value);
            // Sources and streams; `expect` has topics.
            if (last_segment(child->path) == "*" && child->map && child->list == ListForm::kNever)
                check_part_name(key);
            check(node.items[i], key.mark, *child);
            path_.pop_back();
        }
        if (field.single_key && node.items.size() != 1) {
            diagnostics_.error("W0021", mark,
                               fmt::format("an entry of `{}` has {} keys", here(), node.items.size()),
                               fmt::format("exactly one of: {}", list_of(key_names(field))),
                               "give each its own `- ` in the list");
        }
        check_required(node, mark, field);
    }

    void check_required(const Node& node, const Mark& mark, const Field& field) {
        std::vector<std::string_view> choices;
        std::vector<const Node*> chosen;
        for (const Field* child : children(field)) {
            const std::string_view name = last_segment(child->path);
            if (child->required && node.find(name) == nullptr) {
                diagnostics_.error("W0014", mark,
                                   path_.empty() ? fmt::format("the pipeline has no `{}`", name)
                                                 : fmt::format("`{}` has no `{}`", here(), name),
                                   "", fmt::format("for example: `{}: {}`", name, child->example));
            }
            if (!child->one_of) continue;
            choices.push_back(name);
            for (const Node& key : node.keys) {
                if (key.value == name) chosen.push_back(&key);
            }
        }
        const std::string both = fmt::format("{}", fmt::join(choices, "` or `"));
        if (!choices.empty() && chosen.empty()) {
            diagnostics_.error("W0014", mark, fmt::format("`{}` has no `{}`", here(), both));
        } else if (chosen.size() > 1) {
            diagnostics_.error("W0022", chosen.back()->mark,
                               fmt::format("`{}` has more than one of `{}`", here(), both),
                               "remove one of them");
        }
    }

    void check_part_name(const Node& key) {
        if (is_part_name(key.value)) return;
        diagnostics_.error("W0019", key.mark,
                           fmt::format("`{}` is no name for a source, table or stream", key.value),
                           "letters, digits, underscores and dashes, a letter first, at most 100");
    }

    void unknown_key(const Node& key, const Field& field) {
        const std::string where = path_.empty() ? "" : fmt::format(" in `{}`", here());
        const std::string taker = path_.empty() ? "a pipeline" : fmt::format("`{}`", path_.back());
        diagnostics_.error("W0012", key.mark, fmt::format("unknown key `{}`{}", key.value, where),
                           fmt::format("{} takes: {}", taker, list_of(key_names(field))),
                           help_for_key(key.value, field, path_));
    }

    void check_scalar(Node& node, const Mark& key, const Field& field) {
        if (field.type == Type::kExpression || field.type == Type::kFieldName) {
            check_expression(node, key, field);
            return;
        }
        const Text written = to_text(source_, node);
        const size_t before = diagnostics_.all().size();
        const Substituted put_in = substitute(written, options_, diagnostics_);
        const bool named_secret =
            field.type == Type::kProperty &&
            (is_secret_property(path_.back()) || !userinfo(put_in.value).empty());
        if (named_secret && !put_in.resolved) {
            for (const size_t offset : scalar_offsets(source_, node)) secrets.push_back(offset);
        }
        node.value = put_in.value;
        node.secret = put_in.secret || named_secret;
        node.referenced = put_in.resolved;
        if (diagnostics_.all().size() > before) return;  // The value is not known.
        if (put_in.resolved && node.value.empty() && options_.allow_missing_references) return;
        if (node.value.empty() && field.type != Type::kProperty) {
            diagnostics_.error("W0013", node.mark, fmt::format("`{}` is empty", here()), taken_by(field));
            return;
        }
        if (field.type == Type::kProperty) {
            check_property(node, key);
        } else {
            check_value(node, field);
        }
    }

    void check_expression(const Node& node, const Mark& key, const Field& field) {
        const size_t reference = node.value.find("${");
        if (reference != std::string::npos) {
            diagnostics_.error("W0032", to_text(source_, node).position(reference),
                               "references cannot stand in an expression or field name", "",
                               "results may depend on the file and the records only");
        } else if (node.value.find_first_not_of(" \t\n") == std::string::npos) {
            diagnostics_.error("W0013", key, fmt::format("`{}` is empty", here()), taken_by(field));
        }
    }

    [[nodiscard]] std::string shown(const Node& node) const {
        return node.secret || node.referenced ? "this value" : fmt::format("`{}`", node.value);
    }

    void bad_value(const char* code, const Node& node, const Field& field, std::string help = {}) {
        diagnostics_.error(code, node.mark, fmt::format("{} is not {}", shown(node), type_name(field.type)),
                           "", std::move(help));
    }

    void check_value(const Node& node, const Field& field) {
        const std::string& value = node.value;
        switch (field.type) {
            case Type::kPipelineName:
                if (is_pipeline_name(value)) return;
                diagnostics_.error("W0019", node.mark, fmt::format("{} is no pipeline name", shown(node)),
                                   "lower-case letters, digits, dots and dashes, at most 100",
                                   "it names the consumer group and prefixes the transactional ids");
                return;
            case Type::kTopic:
                if (is_topic_name(value)) return;
                diagnostics_.error("W0019", node.mark, fmt::format("{} is no topic name", shown(node)),
                                   "letters, digits, dots, underscores and dashes, at most 249");
                return;
            case Type::kDuration: check_duration(node, field); return;
            case Type::kStart: check_start(node, field); return;
            case Type::kInteger: check_integer(node, field); return;
            case Type::kEnum: check_enum(node, field); return;
            case Type::kOrdinal:
                if (!parse_ordinal(value)) bad_value("W0018", node, field);
                return;
            case Type::kInstance:
                if (!parse_instance(value)) bad_value("W0018", node, field);
                return;
            case Type::kWorkers:
                if (!parse_workers(value))
                    bad_value("W0018", node, field, "CPUs are numbered from 0; each may be named once");
                return;
            case Type::kAddress:
                if (!is_listen_address(value)) bad_value("W0020", node, field, "for example 127.0.0.1:8480");
                return;
            case Type::kInstant:
                if (!parse_instant(value)) bad_value("W0017", node, field);
                return;
            case Type::kNone:
            case Type::kText:
            case Type::kData:
            case Type::kPath:
            case Type::kTimezone:
            case Type::kInput:
            case Type::kTable:
            case Type::kExpression:
            case Type::kFieldName:
            case Type::kProperty: return;
        }
    }

    void check_duration(const Node& node, const Field& field) {
        const auto duration = parse_duration(node.value);
        if (!duration) {
            const bool bare = node.value.find_first_not_of("0123456789") == std::string::npos;
            bad_value("W0016", node, field,
                      bare && !node.secret && !node.referenced
                          ? fmt::format("a number needs a unit: {0}ms, {0}s or {0}m", node.value)
                          : "units are ms, s, m, h and d, whole numbers, large units first");
        } else if (*duration < field.min || *duration > field.max) {
            const std::string limit = *duration < field.min ? "at least " + format_duration(field.min)
                                                            : "at most " + format_duration(field.max);
            diagnostics_.error("W0023", node.mark, fmt::format("{} is out of range", shown(node)), limit);
        }
    }

    void check_start(const Node& node, const Field& field) {
        if (parse_start(node.value)) return;
        const std::string_view near = nearest(node.value, words(field.values));
        std::string help = near.empty()
                               ? "an instant needs a date, a time and a zone; a time ago needs a unit"
                               : fmt::format("did you mean `{}`?", near);
        bad_value("W0017", node, field, std::move(help));
    }

    void check_integer(const Node& node, const Field& field) {
        const auto number = parse_integer(node.value);
        if (!number) {
            bad_value("W0018", node, field);
        } else if (*number < field.min || *number > field.max) {
            diagnostics_.error("W0023", node.mark, fmt::format("{} is out of range", shown(node)),
                               fmt::format("from {} to {}", field.min, field.max));
        }
    }

    void check_enum(const Node& node, const Field& field) {
        const std::vector<std::string_view> valid = words(field.values);
        if (contains(valid, node.value)) return;
        std::string help;
        if (node.value == "exactly_once_v2") {
            help = "`exactly_once` is what Kafka Streams calls exactly_once_v2";
        } else if (node.value == "periodic" && last_segment(field.path) == "strategy") {
            help = "periodic wraps another strategy: keep that one and set `emit_every`";
        } else if (const std::string_view near = nearest(node.value, valid); !near.empty()) {
            help = fmt::format("did you mean `{}`?", near);
        }
        diagnostics_.error("W0015", node.mark, fmt::format("`{}` cannot be {}", here(), shown(node)),
                           fmt::format("one of: {}{}", list_of(valid), field.map ? ", or a map" : ""),
                           std::move(help));
    }

    void check_property(const Node& node, const Mark& key) {
        const std::string& name = path_.back();
        const PropertyAdvice advice = advise(name);
        if (advice.owned) {
            diagnostics_.error("W0040", key, fmt::format("`{}` is set by weir", name), "", advice.help);
        } else if (advice.java) {
            diagnostics_.error("W0041", key, fmt::format("`{}` is a property of the Java clients", name),
                               "librdkafka's names are valid here", advice.help);
        } else if (options_.check_kafka_property) {
            if (const auto wrong = options_.check_kafka_property(name, node.value)) {
                diagnostics_.error("W0042", key, fmt::format("librdkafka refuses `{}`", name), "",
                                   node.secret       ? "it is secret, so the reason is not shown"
                                   : node.referenced ? "it comes from a reference, so the reason is not shown"
                                                     : *wrong);
            }
        }
    }

    std::string_view source_;
    const LoadOptions& options_;
    Diagnostics& diagnostics_;
    Path path_;
};

}  // namespace

SecretOffsets check_fields(Node& root, std::string_view source, const LoadOptions& options,
                           Diagnostics& diagnostics) {
    Checker checker(source, options, diagnostics);
    checker.check_root(root);
    return std::move(checker.secrets);
}

void check_tests_file(Node& root, std::string_view source, const LoadOptions& options,
                      Diagnostics& diagnostics) {
    Checker(source, options, diagnostics).check_tests_root(root);
}

}  // namespace weir::config
