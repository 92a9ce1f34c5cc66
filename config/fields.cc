#include "config/fields.h"

#include <algorithm>

namespace weir::config {
namespace {

constexpr int64_t kMinute = 60'000;
constexpr int64_t kYear = 366 * 24 * 60 * kMinute;

}  // namespace

// clang-format off
const std::vector<Field>& fields() {
    static const std::vector<Field> table{
        {.path = "name", .type = Type::kPipelineName, .required = true, .example = "revenue-per-minute",
         .doc = "Names the pipeline: its consumer group, the prefix of its transactional ids and of its folder in "
                "`state.dir`. Lower-case letters, digits, dots and dashes. A new name is a new pipeline."},

        {.path = "kafka", .map = true, .example = "{bootstrap.servers: localhost:9092}",
         .doc = "Client properties by librdkafka's names, for both sides. Needed as soon as a topic is used."},
        {.path = "kafka.consumer", .map = true, .example = "{fetch.wait.max.ms: 50}", .doc = "Properties of the consumers only."},
        {.path = "kafka.producer", .map = true, .example = "{compression.type: zstd}", .doc = "Properties of the producers only."},
        {.path = "kafka.*", .type = Type::kProperty, .example = "SASL_SSL",
         .doc = "Any librdkafka property that weir does not decide itself."},
        {.path = "kafka.consumer.*", .type = Type::kProperty, .example = "50", .doc = "A librdkafka consumer property."},
        {.path = "kafka.producer.*", .type = Type::kProperty, .example = "zstd", .doc = "A librdkafka producer property."},

        {.path = "guarantee", .type = Type::kEnum, .values = "exactly_once at_least_once", .default_value = "exactly_once",
         .example = "at_least_once", .doc = "What a crash may do to the results: nothing at all, or repeat some of them."},
        {.path = "commit_interval", .type = Type::kDuration, .min = 1, .max = kMinute,
         .default_value = "100ms with exactly_once, 1s with at_least_once", .example = "250ms",
         .doc = "How long one transaction collects results, 1ms to 1m. Readers see results after it. While a backlog is read, transactions grow to 500ms, since they cost less then."},
        {.path = "workers", .type = Type::kWorkers, .default_value = "auto", .example = "\"2-5,7\"",
         .doc = "`auto` is one worker per CPU that the process may run on; a number; or a list of CPUs, one pinned worker each."},
        {.path = "instance", .type = Type::kInstance, .map = true, .default_value = "0/1", .example = "0/3",
         .doc = "Which of how many equal processes this is: `index/count`. It decides which partitions are ours."},
        {.path = "instance.index", .type = Type::kOrdinal, .required = true, .example = "${env:POD_NAME}",
         .doc = "From 0; or a text that ends in `-<number>`, as the names of a StatefulSet's pods do."},
        {.path = "instance.count", .type = Type::kInteger, .required = true, .min = 1, .max = 10'000, .example = "3", .doc = "How many processes."},
        {.path = "state", .map = true, .example = "{dir: /var/lib/weir}", .doc = "Where state lives."},
        {.path = "state.dir", .type = Type::kPath, .default_value = "/var/lib/weir", .example = "/data/weir",
         .doc = "Holds one locked folder per pipeline: the log, the snapshots. Must survive a restart."},
        {.path = "state.snapshot_after_mib", .type = Type::kInteger, .min = 1, .max = 1024, .default_value = "32", .example = "8",
         .also = "max_wal_size",
         .doc = "A snapshot follows when the log has grown by so many MiB, or by half the last snapshot's size if that is more. "
                "Less restarts faster, more writes less."},
        {.path = "state.max_memory_mib", .type = Type::kInteger, .min = 1, .max = 1 << 20, .default_value = "no limit", .example = "2048",
         .also = "max_memory max_bytes_memory",
         .doc = "The most MiB that aggregates, joins, dedupe, throttle and tables of a process may keep. Above it the process commits, names the largest of them "
                "and stops with exit code 71. [What is counted](operations.md#more-state-than-memory)."},
        {.path = "admin", .map = true, .example = "{listen: 127.0.0.1:8480}", .doc = "The admin listener."},
        {.path = "admin.listen", .type = Type::kAddress, .default_value = "127.0.0.1:8480", .example = "0.0.0.0:8480",
         .doc = "Where health and metrics are served; `none` for nowhere."},
        {.path = "repartition", .type = Type::kEnum, .map = true, .values = "auto never", .default_value = "auto",
         .example = "{partitions: 12}",
         .doc = "What a `by`, `key_by` or join does whose records lie on several partitions: `auto` sends them through an internal topic, "
                "`<name>-<stream>-repartition`; `never` makes it an error."},
        {.path = "repartition.partitions", .type = Type::kInteger, .required = true, .min = 1, .max = 10'000,
         .example = "12", .also = "partition_count",
         .doc = "How many partitions an internal topic gets; else as many as the most that its sources have. One that meets a topic in a join gets as many as that."},
        {.path = "on_error", .type = Type::kEnum, .map = true, .values = "fail skip", .default_value = "fail",
         .example = "{dead_letter: orders-dlq}",
         .doc = "What happens to a record that cannot be processed: stop, skip and count it, or write it to a topic; whole or per stage."},
        {.path = "on_error.dead_letter", .type = Type::kTopic, .example = "orders-dlq",
         .doc = "The topic for every stage that names nothing else. The record is written as it came, with headers that say why."},
        {.path = "on_error.decode", .type = Type::kEnum, .map = true, .values = "fail skip", .default_value = "as on_error", .example = "skip",
         .doc = "For a record whose bytes are not its source's format, or that has no timestamp."},
        {.path = "on_error.decode.dead_letter", .type = Type::kTopic, .required = true, .example = "orders-broken", .doc = "The topic."},
        {.path = "on_error.expression", .type = Type::kEnum, .map = true, .values = "fail skip", .default_value = "as on_error", .example = "skip",
         .doc = "For a record on which an expression fails, such as a division by zero."},
        {.path = "on_error.expression.dead_letter", .type = Type::kTopic, .required = true, .example = "orders-failed", .doc = "The topic."},
        {.path = "on_error.produce", .type = Type::kEnum, .map = true, .values = "fail skip", .default_value = "as on_error", .example = "skip",
         .doc = "For a result that the broker refuses, such as one that is too large."},
        {.path = "on_error.produce.dead_letter", .type = Type::kTopic, .required = true, .example = "orders-refused", .doc = "The topic."},

        {.path = "align", .map = true, .example = "{max_drift: 5m}", .also = "alignment",
         .doc = "Keeps sources that meet in a windowed step near each other while they catch up, so that the windows between them stay few."},
        {.path = "align.max_drift", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "5m", .also = "maxDrift maxAllowedWatermarkDrift",
         .doc = "A partition whose watermark is further ahead of the slowest one that still has records to read is held back; results never depend on it. [Rules](watermarks.md)."},
        {.path = "sources", .map = true, .example = "{orders: {topic: orders}}", .also = "inputs input source", .doc = "Where records come from. Only a pipeline that joins tables can do without."},
        {.path = "sources.*", .map = true, .example = "{topic: orders}", .doc = "One source; its name is what `from` says."},
        {.path = "sources.*.topic", .type = Type::kTopic, .list = ListForm::kAlso, .one_of = true, .example = "orders", .also = "topics", .doc = "A Kafka topic, or a list of topics with the same meaning."},
        {.path = "sources.*.file", .type = Type::kPath, .one_of = true, .example = "orders.jsonl", .also = "path",
         .doc = "Reads lines of a file instead, once, to its end; `-` is standard input. Files and topics cannot be mixed in one pipeline's sources."},
        {.path = "sources.*.format", .type = Type::kEnum, .values = "json string bytes", .default_value = "json", .example = "string", .also = "codec decoding",
         .doc = "How a value is read. The field `value` holds a string or bytes record."},
        {.path = "sources.*.keyed_by", .type = Type::kFieldName, .example = "customer_id", .also = "key",
         .doc = "Says that the record's key is this field's text, so that grouping by it needs no internal topic."},
        {.path = "sources.*.timestamp", .type = Type::kExpression, .default_value = "the record's timestamp", .example = "created_at", .also = "time event_time",
         .doc = "The event time: epoch milliseconds, an RFC 3339 text or a timestamp."},
        {.path = "sources.*.watermark", .type = Type::kDuration, .map = true, .max = kYear, .default_value = "5s", .example = "30s",
         .doc = "How far out of order records may come; a duration is short for `{max_delay: …}`."},
        {.path = "sources.*.watermark.strategy", .type = Type::kEnum, .values = "bounded_out_of_orderness ascending punctuated source_provided", .default_value = "bounded_out_of_orderness", .example = "ascending",
         .doc = "How a partition's event time advances: the largest timestamp less `max_delay`; the largest timestamp; by records that `when` picks; by watermarks that come `from` the records. Rules: [watermarks.md](watermarks.md)."},
        {.path = "sources.*.watermark.max_delay", .type = Type::kDuration, .max = kYear, .default_value = "5s", .example = "30s", .doc = "How long to wait for records that come late; for `bounded_out_of_orderness` only."},
        {.path = "sources.*.watermark.when", .type = Type::kExpression, .example = "type = 'end_of_batch'", .also = "predicate punctuation",
         .doc = "`punctuated`: where it is true the record's own time is the watermark, where it is a timestamp (timestamptz, epoch milliseconds, RFC 3339 text) that is; NULL and false are none."},
        {.path = "sources.*.watermark.from", .type = Type::kExpression, .example = "(_headers->>'watermark')::bigint", .also = "source value",
         .doc = "`source_provided`: the watermark that a record carries, as epoch milliseconds, RFC 3339 text or timestamptz; NULL is none."},
        {.path = "sources.*.watermark.fallback", .type = Type::kDuration, .max = kYear, .default_value = "5s", .example = "30s",
         .doc = "`source_provided`: the `max_delay` by which the records' own times drive the watermark as long as `prefer_source` lets them."},
        {.path = "sources.*.watermark.prefer_source", .type = Type::kEnum, .values = "true false", .default_value = "true", .example = "false",
         .doc = "`source_provided`: once a watermark came with a record, records' own times no longer count; with `false` the larger of both does."},
        {.path = "sources.*.watermark.markers", .type = Type::kExpression, .default_value = "none", .example = "type = 'watermark'",
         .doc = "`punctuated`, `source_provided`: records for which this is true only carry a watermark. They are counted as `marker` and reach no stream."},
        {.path = "sources.*.watermark.emit_every", .type = Type::kDuration, .min = 10, .max = 60 * kMinute, .default_value = "1s", .example = "250ms", .also = "period interval auto_watermark_interval",
         .doc = "Wraps any strategy: a watermark that went on without records (silence) is committed this often, so that a crash sets it back by no more. What records bring counts at once; a period never invents progress."},
        {.path = "sources.*.watermark.idle_timeout", .type = Type::kDuration, .min = 1, .max = kYear, .default_value = "30s", .example = "1m",
         .doc = "A partition that is read to its end and quiet for this long no longer holds the others back."},
        {.path = "sources.*.watermark.when_all_idle", .type = Type::kEnum, .values = "tick hold advance", .default_value = "tick", .example = "hold",
         .doc = "When every partition is idle: event time ticks on at wall speed, stands still, or jumps to the largest one seen."},
        {.path = "sources.*.watermark.max_ahead", .type = Type::kDuration, .min = 1, .max = kYear, .default_value = "10m", .example = "1h",
         .doc = "A record further in the future than this goes to `on_error` and never drives the watermark."},
        {.path = "sources.*.start", .type = Type::kStart, .values = "earliest latest", .default_value = "earliest", .example = "-1h",
         .doc = "Where the first run begins: `earliest`, `latest`, an RFC 3339 instant, or a time ago such as `-1h`. Later runs go on where the last one stopped."},

        {.path = "tables", .map = true, .example = "{users: {topic: users}}", .also = "caches ktables", .doc = "Compacted topics, files and streams' results that `lookup` finds rows in. See [tables.md](tables.md)."},
        {.path = "tables.*", .map = true, .example = "{topic: users}", .doc = "One table: the latest record of every key. A record without a value deletes the key's row."},
        {.path = "tables.*.topic", .type = Type::kTopic, .one_of = true, .example = "users", .doc = "The topic; its `cleanup.policy` should be `compact`."},
        {.path = "tables.*.file", .type = Type::kPath, .one_of = true, .example = "countries.jsonl", .also = "path",
         .doc = "Reads lines of a file instead: once, whole, by every worker, at each start."},
        {.path = "tables.*.from", .type = Type::kInput, .one_of = true, .example = "totals_per_user", .also = "stream",
         .doc = "A stream of this file: its latest result of every key. No other key of the table goes with it."},
        {.path = "tables.*.keyed_by", .type = Type::kFieldName, .example = "code", .also = "key",
         .doc = "With `file`: the field whose text is a row's key. Of a topic the record's key is."},
        {.path = "tables.*.format", .type = Type::kEnum, .values = "json string bytes", .default_value = "json", .example = "string", .also = "codec decoding",
         .doc = "How a value is read. The field `value` holds a string or bytes row."},
        {.path = "tables.*.timestamp", .type = Type::kExpression, .default_value = "the record's timestamp", .example = "valid_from", .also = "time event_time",
         .doc = "With `history`: from when on a row holds. A tombstone has no fields, so its own timestamp counts."},
        {.path = "tables.*.history", .type = Type::kDuration, .min = 1, .max = kYear, .default_value = "none", .example = "1h", .also = "history_retention retention ttl",
         .doc = "Keeps the versions of a row that held at any time up to this far behind the table's newest event time, for lookups `as_of: event_time`. The latest row is then the one with the largest event time."},
        {.path = "tables.*.global", .type = Type::kEnum, .values = "true false", .default_value = "false", .example = "true",
         .doc = "`true`: every worker holds the whole table, so any field can look it up; it is read anew at each start. `false`: a worker holds the partitions that it reads of the streams, as part of its state; lookups are by the streams' key."},
        {.path = "tables.*.state", .map = true, .example = "{backend: rocksdb}", .also = "store storage state_store", .doc = "Where the rows are kept."},
        {.path = "tables.*.state.backend", .type = Type::kEnum, .values = "memory rocksdb", .default_value = "memory", .example = "rocksdb", .also = "type kind",
         .doc = "`rocksdb`: the rows are on disk, in the state folder, for a table that is larger than memory. A `global` table is read anew into it at each start. See [tables.md](tables.md#larger-than-memory)."},

        {.path = "streams", .map = true, .required = true, .example = "{paid: {from: orders, to: paid-orders}}", .also = "pipelines flows", .doc = "What is done with the records."},
        {.path = "streams.*", .map = true, .example = "{from: orders, to: paid-orders}", .doc = "One stream; others can read it by its name."},
        {.path = "streams.*.from", .type = Type::kInput, .list = ListForm::kAlso, .one_of = true, .example = "orders", .also = "input inputs source",
         .doc = "A source, another stream, or `<stream>.late`, the records too late for its windows or its join; a list merges."},
        {.path = "streams.*.join", .map = true, .one_of = true, .example = "{left: orders, right: payments, match: orders.id = payments.order_id, within: 10m}",
         .doc = "Pairs of records of two inputs. A result has two fields, named as the sides: `orders.id` is the field `id` of the left record. See [joins.md](joins.md)."},
        {.path = "streams.*.join.left", .type = Type::kInput, .map = true, .required = true, .example = "orders", .doc = "A source, another stream, or `<stream>.late`."},
        {.path = "streams.*.join.left.from", .type = Type::kInput, .required = true, .example = "orders", .doc = "A source, another stream, or `<stream>.late`."},
        {.path = "streams.*.join.left.as", .type = Type::kFieldName, .default_value = "its own name", .example = "earlier", .also = "alias name", .doc = "What expressions call this side; a join of a stream with itself needs it."},
        {.path = "streams.*.join.right", .type = Type::kInput, .map = true, .required = true, .example = "payments", .doc = "The other input."},
        {.path = "streams.*.join.right.from", .type = Type::kInput, .required = true, .example = "payments", .doc = "A source, another stream, or `<stream>.late`."},
        {.path = "streams.*.join.right.as", .type = Type::kFieldName, .default_value = "its own name", .example = "later", .also = "alias name", .doc = "What expressions call this side."},
        {.path = "streams.*.join.kind", .type = Type::kEnum, .values = "inner left right full", .default_value = "inner", .example = "left", .also = "type how",
         .doc = "`left`, `right` and `full` also give each record of that side, or of both, that found no partner: once, when the watermark says that none can come."},
        {.path = "streams.*.join.match", .type = Type::kExpression, .required = true, .example = "orders.id = payments.order_id AND payments.amount > 0", .also = "on condition where",
         .doc = "Which records belong together. Its equalities between the sides are the join key, of which one is the key of both inputs' topics; what else it says is tested for each pair."},
        {.path = "streams.*.join.within", .type = Type::kDuration, .map = true, .one_of = true, .max = kYear, .example = "{before: 1m, after: 15m}", .also = "interval bounds",
         .doc = "How far apart in event time the two records may be; a duration holds for both directions."},
        {.path = "streams.*.join.within.before", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "1m", .doc = "The right record is at most this long before the left one."},
        {.path = "streams.*.join.within.after", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "15m", .doc = "The right record is at most this long after the left one."},
        {.path = "streams.*.join.window", .map = true, .one_of = true, .example = "{tumbling: 1m}", .doc = "Both records lie in the same window; results have `window_start` and `window_end`, too."},
        {.path = "streams.*.join.window.tumbling", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "1m", .also = "size tumble", .doc = "Windows of this size, side by side, from the epoch on."},
        {.path = "streams.*.join.window.hopping", .map = true, .one_of = true, .example = "{size: 1m, step: 10s}", .also = "hop", .doc = "Windows that overlap: a pair comes once for each that both lie in."},
        {.path = "streams.*.join.window.hopping.size", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1m", .doc = "The size of a window."},
        {.path = "streams.*.join.window.hopping.step", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "10s", .also = "every advance slide hop", .doc = "The distance of their starts, at most the size."},
        {.path = "streams.*.join.window.session", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "30m", .also = "gap", .doc = "A window per burst of records of both sides with one key: it ends when none comes for this long in event time. Its pairs come when it closes."},
        {.path = "streams.*.join.window.max", .type = Type::kDuration, .min = 1, .max = kYear, .default_value = "no limit", .example = "12h", .doc = "The greatest length of a session window; at least its gap."},
        {.path = "streams.*.join.window.offset", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "15m", .doc = "Moves the borders of the windows; less than the size."},
        {.path = "streams.*.join.window.timezone", .type = Type::kTimezone, .default_value = "UTC", .example = "Europe/Berlin", .doc = "The zone whose days windows of whole days follow."},
        {.path = "streams.*.join.as_of", .map = true, .one_of = true, .example = "{direction: backward, tolerance: 1m}", .also = "asof",
         .doc = "Each left record gets one right record, the nearest in event time, when the watermark says that no nearer one can come. `kind` is inner or left."},
        {.path = "streams.*.join.as_of.direction", .type = Type::kEnum, .values = "backward forward nearest", .default_value = "backward", .example = "nearest",
         .doc = "The latest one not after the left record; the earliest one not before it; or the nearer of the two, of equally near ones the earlier."},
        {.path = "streams.*.join.as_of.tolerance", .type = Type::kDuration, .required = true, .max = kYear, .example = "1m", .doc = "How far from the left record it may be at most."},
        {.path = "streams.*.join.grace", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "30s", .also = "allowed_lateness lateness",
         .doc = "How far behind the watermark a record may be and still be joined. Later ones go to `<stream>.late`."},
        {.path = "streams.*.join.state", .map = true, .example = "{backend: rocksdb}", .also = "store storage state_store", .doc = "Where the records that wait for partners are kept."},
        {.path = "streams.*.join.state.backend", .type = Type::kEnum, .values = "memory rocksdb", .default_value = "memory", .example = "rocksdb", .also = "type kind", .doc = "`rocksdb`: on disk, in the state folder, for more than fits in memory. [What it costs](operations.md#state-larger-than-memory)."},
        {.path = "streams.*.join_tables", .map = true, .one_of = true, .example = "{left: users, right: accounts, kind: left}", .also = "table_join ktable_join",
         .doc = "Two tables as one, row by row under their keys: a change of either gives the joined row, or its deletion. See [tables.md](tables.md#joined-tables)."},
        {.path = "streams.*.join_tables.left", .type = Type::kTable, .required = true, .example = "users", .doc = "A table of this file."},
        {.path = "streams.*.join_tables.right", .type = Type::kTable, .required = true, .example = "accounts", .doc = "The other one."},
        {.path = "streams.*.join_tables.kind", .type = Type::kEnum, .values = "inner left right full", .default_value = "inner", .example = "full", .also = "type how",
         .doc = "Which keys have a joined row: those in both tables, in the left one, in the right one, in either."},
        {.path = "streams.*.steps", .map = true, .list = ListForm::kOnly, .single_key = true, .example = "[{filter: amount > 0}]", .also = "processors pipeline transforms via",
         .doc = "Done one after the other; each entry has one key, the kind of step."},
        {.path = "streams.*.steps.filter", .type = Type::kExpression, .example = "status = 'PAID'", .also = "where", .doc = "Keeps the records for which this is true."},
        {.path = "streams.*.steps.map", .map = true, .example = "{id: order_id, eur: amount * rate}", .also = "select mapping project", .doc = "The record becomes exactly these fields."},
        {.path = "streams.*.steps.map.*", .type = Type::kExpression, .example = "amount * rate", .doc = "A field of the new record."},
        {.path = "streams.*.steps.set", .map = true, .example = "{eur: amount * rate}", .also = "add", .doc = "Adds these fields or replaces them."},
        {.path = "streams.*.steps.set.*", .type = Type::kExpression, .example = "amount * rate", .doc = "The field's new value."},
        {.path = "streams.*.steps.remove", .type = Type::kFieldName, .list = ListForm::kAlso, .example = "[internal_note]", .also = "drop delete", .doc = "Removes top-level fields."},
        {.path = "streams.*.steps.explode", .type = Type::kFieldName, .map = true, .example = "items", .also = "unnest flatten flatmap", .doc = "Makes one record of each element of an array; the element takes the field's place."},
        {.path = "streams.*.steps.explode.field", .type = Type::kFieldName, .required = true, .example = "items", .doc = "The array."},
        {.path = "streams.*.steps.explode.as", .type = Type::kFieldName, .default_value = "the field itself", .example = "item", .doc = "Where the element goes."},
        {.path = "streams.*.steps.lookup", .map = true, .example = "{table: users, by: user_id, missing: keep}", .also = "enrich cached join_table", .doc = "Finds a table's row for the record. Its fields are named after the table: `users.country`; `users` is the whole row."},
        {.path = "streams.*.steps.lookup.table", .type = Type::kTable, .required = true, .example = "users", .doc = "The table."},
        {.path = "streams.*.steps.lookup.by", .type = Type::kExpression, .list = ListForm::kAlso, .required = true, .example = "user_id", .also = "on key", .doc = "The row's key: its text is the key of the table's record. Several make a JSON array. Without `global` it is the field that the stream's topic is keyed by."},
        {.path = "streams.*.steps.lookup.as", .type = Type::kFieldName, .default_value = "the table's name", .example = "buyer", .doc = "What the row is called, where one table is looked up twice."},
        {.path = "streams.*.steps.lookup.as_of", .type = Type::kEnum, .values = "latest event_time", .default_value = "latest", .example = "event_time", .also = "for_system_time temporal",
         .doc = "Which version of the row: the latest, or the one that held at the record's event time, which needs the table's `history`."},
        {.path = "streams.*.steps.lookup.missing", .type = Type::kEnum, .values = "keep drop error", .default_value = "keep", .example = "drop",
         .doc = "A record whose key has no row: goes on with NULLs, is left out, or goes to `on_error`."},
        {.path = "streams.*.steps.key_by", .type = Type::kFieldName, .list = ListForm::kAlso, .example = "customer_id", .also = "repartition rekey partition_by",
         .doc = "Brings records with equal values of these fields together, through an internal topic, and makes them the record's key. "
                "An aggregate whose `by` needs it does so by itself."},
        {.path = "streams.*.steps.aggregate", .map = true, .example = "{by: customer_id, window: {tumbling: 1m}, fields: {orders: count(*)}}", .also = "group window",
         .doc = "One result per group and window: the `by` fields, `window_start` and `window_end` in epoch milliseconds, then `fields`."},
        {.path = "streams.*.steps.aggregate.by", .type = Type::kFieldName, .list = ListForm::kAlso, .default_value = "one group per partition", .example = "customer_id", .also = "group_by key", .doc = "The fields that make a group."},
        {.path = "streams.*.steps.aggregate.window", .type = Type::kEnum, .map = true, .required = true, .values = "none", .example = "{tumbling: 1m, grace: 30s}",
         .doc = "Which records of a group belong together; `none` is one result per group over all records ever, and needs an early `emit`."},
        {.path = "streams.*.steps.aggregate.window.tumbling", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "1m", .also = "size tumble", .doc = "Windows of this size, side by side, from the epoch on."},
        {.path = "streams.*.steps.aggregate.window.hopping", .map = true, .one_of = true, .example = "{size: 1m, step: 10s}", .also = "hop", .doc = "Windows of one size that overlap: a new one begins every step."},
        {.path = "streams.*.steps.aggregate.window.hopping.size", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1m", .doc = "The size of a window."},
        {.path = "streams.*.steps.aggregate.window.hopping.step", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "10s", .also = "every advance slide hop", .doc = "The distance of their starts, at most the size."},
        {.path = "streams.*.steps.aggregate.window.cumulate", .map = true, .one_of = true, .example = "{size: 1d, step: 1h}", .doc = "Windows that begin together and end one step after the other, up to the size: totals so far, as of every step."},
        {.path = "streams.*.steps.aggregate.window.cumulate.size", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1d", .doc = "The size of the last of them."},
        {.path = "streams.*.steps.aggregate.window.cumulate.step", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1h", .doc = "The distance of their ends; the size is a multiple of it."},
        {.path = "streams.*.steps.aggregate.window.session", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "30m", .also = "gap", .doc = "A window per burst of a group's records: it ends when none comes for this long in event time. A record between two windows joins them."},
        {.path = "streams.*.steps.aggregate.window.sliding", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "5m", .doc = "A result per record, over the records of its group in this long up to it."},
        {.path = "streams.*.steps.aggregate.window.count", .type = Type::kInteger, .one_of = true, .min = 1, .max = 1'000'000'000, .example = "100", .doc = "A result per so many records of a group, in the order in which they arrive."},
        {.path = "streams.*.steps.aggregate.window.max", .type = Type::kDuration, .min = 1, .max = kYear, .default_value = "no limit", .example = "12h", .doc = "The greatest length of a session window; at least its gap."},
        {.path = "streams.*.steps.aggregate.window.offset", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "15m", .doc = "Moves the borders of tumbling, hopping and cumulate windows; less than the size."},
        {.path = "streams.*.steps.aggregate.window.timezone", .type = Type::kTimezone, .default_value = "UTC", .example = "Europe/Berlin",
         .doc = "The zone whose days tumbling, hopping and cumulate windows of whole days follow: with daylight saving a day has 23 or 25 hours."},
        {.path = "streams.*.steps.aggregate.window.time", .type = Type::kEnum, .values = "event processing", .default_value = "event", .example = "processing",
         .doc = "Which clock tells a record's window: its event time, or the wall clock when it is read. With the latter results depend on when the pipeline runs."},
        {.path = "streams.*.steps.aggregate.window.grace", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "30s", .also = "allowed_lateness lateness",
         .doc = "How long after its end a window still takes records. Later ones go to `<stream>.late`."},
        {.path = "streams.*.steps.aggregate.emit", .type = Type::kEnum, .map = true, .values = "on_close on_watermark on_update changes", .default_value = "on_close", .example = "on_watermark",
         .doc = "When results come: once, when the window closes at its end plus `grace`; at its end, and anew when late records within `grace` change it; at every change, the latest per commit; or as changes, with what they replace. See [windows.md](windows.md)."},
        {.path = "streams.*.steps.aggregate.emit.every", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "5s", .doc = "Results that changed, at most this long after they did, and the final one at the close."},
        {.path = "streams.*.steps.aggregate.fields", .map = true, .required = true, .example = "{orders: count(*), revenue: sum(amount)}", .also = "select aggregates", .doc = "The results' fields."},
        {.path = "streams.*.steps.aggregate.fields.*", .type = Type::kExpression, .example = "sum(amount) FILTER (WHERE amount > 0)", .doc = "An expression over aggregate functions."},
        {.path = "streams.*.steps.aggregate.having", .type = Type::kExpression, .default_value = "true", .example = "count(*) >= 3", .doc = "Which results go on: a condition over aggregate functions and the fields of `by`. The others count as filtered."},
        {.path = "streams.*.steps.aggregate.state", .map = true, .example = "{backend: rocksdb}", .also = "store storage state_store", .doc = "Where the groups are kept."},
        {.path = "streams.*.steps.aggregate.state.backend", .type = Type::kEnum, .values = "memory rocksdb", .default_value = "memory", .example = "rocksdb", .also = "type kind", .doc = "`rocksdb`: on disk, in the state folder, for more than fits in memory. [What it costs](operations.md#state-larger-than-memory)."},
        {.path = "streams.*.steps.dedupe", .map = true, .example = "{by: order_id, within: 1h}", .also = "deduplicate distinct unique",
         .doc = "Lets one record per key through, of those close to each other in event time. See [steps.md](steps.md)."},
        {.path = "streams.*.steps.dedupe.by", .type = Type::kFieldName, .list = ListForm::kAlso, .required = true, .example = "order_id", .also = "key keys on", .doc = "The fields that make records duplicates of each other."},
        {.path = "streams.*.steps.dedupe.within", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1h", .also = "ttl window expire_after", .doc = "Records with one key whose event times lie less than this apart are duplicates."},
        {.path = "streams.*.steps.dedupe.keep", .type = Type::kEnum, .values = "first last", .default_value = "first", .example = "last",
         .doc = "The one that arrives first, at once; or the one with the latest event time, when the watermark has passed all that could replace it."},
        {.path = "streams.*.steps.dedupe.state", .map = true, .example = "{backend: rocksdb}", .also = "store storage state_store", .doc = "Where the keys that passed are kept."},
        {.path = "streams.*.steps.dedupe.state.backend", .type = Type::kEnum, .values = "memory rocksdb", .default_value = "memory", .example = "rocksdb", .also = "type kind", .doc = "`rocksdb`: on disk, in the state folder, for more than fits in memory. [What it costs](operations.md#state-larger-than-memory)."},
        {.path = "streams.*.steps.throttle", .map = true, .example = "{by: customer_id, max: 5, per: 1m}", .also = "rate_limit limit sample",
         .doc = "Lets at most so many records per key and time through. See [steps.md](steps.md)."},
        {.path = "streams.*.steps.throttle.by", .type = Type::kFieldName, .list = ListForm::kAlso, .required = true, .example = "customer_id", .also = "key keys", .doc = "The fields that make a key."},
        {.path = "streams.*.steps.throttle.max", .type = Type::kInteger, .required = true, .min = 1, .max = 10'000, .example = "5", .also = "count limit", .doc = "So many records of a key pass; further ones are dropped and counted."},
        {.path = "streams.*.steps.throttle.per", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1m", .also = "interval every within", .doc = "No span of event time as long as this holds more of them."},
        {.path = "streams.*.steps.throttle.state", .map = true, .example = "{backend: rocksdb}", .also = "store storage state_store", .doc = "Where the keys that passed are kept."},
        {.path = "streams.*.steps.throttle.state.backend", .type = Type::kEnum, .values = "memory rocksdb", .default_value = "memory", .example = "rocksdb", .also = "type kind", .doc = "`rocksdb`: on disk, in the state folder, for more than fits in memory. [What it costs](operations.md#state-larger-than-memory)."},
        {.path = "streams.*.steps.top_n", .map = true, .example = "{n: 3, by: category, largest: price, window: {tumbling: 1h}}", .also = "top topk rank limit",
         .doc = "The first records of each group and window in an order, as they came, when the window closes. See [steps.md](steps.md)."},
        {.path = "streams.*.steps.top_n.n", .type = Type::kInteger, .required = true, .min = 1, .max = 1'000, .example = "3", .also = "k limit", .doc = "So many records of a group and window."},
        {.path = "streams.*.steps.top_n.by", .type = Type::kFieldName, .list = ListForm::kAlso, .required = true, .example = "category", .also = "group_by partition_by key", .doc = "The fields that make a group."},
        {.path = "streams.*.steps.top_n.largest", .type = Type::kExpression, .one_of = true, .example = "price", .also = "order_by", .doc = "Those with the largest values of this come first: numbers, texts or timestamps. NULL comes last."},
        {.path = "streams.*.steps.top_n.smallest", .type = Type::kExpression, .one_of = true, .example = "price", .doc = "Those with the smallest ones come first. NULL comes last here, too."},
        {.path = "streams.*.steps.top_n.as", .type = Type::kFieldName, .default_value = "no field", .example = "rank", .doc = "Adds the rank, from 1, as this field."},
        {.path = "streams.*.steps.top_n.window", .map = true, .required = true, .example = "{tumbling: 1h, grace: 30s}", .doc = "Which records of a group belong together. See [windows.md](windows.md)."},
        {.path = "streams.*.steps.top_n.window.tumbling", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "1h", .also = "size tumble", .doc = "Windows of this size, side by side, from the epoch on."},
        {.path = "streams.*.steps.top_n.window.hopping", .map = true, .one_of = true, .example = "{size: 1h, step: 10m}", .also = "hop", .doc = "Windows of one size that overlap: a new one begins every step."},
        {.path = "streams.*.steps.top_n.window.hopping.size", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "1h", .doc = "The size of a window."},
        {.path = "streams.*.steps.top_n.window.hopping.step", .type = Type::kDuration, .required = true, .min = 1, .max = kYear, .example = "10m", .also = "every advance slide hop", .doc = "The distance of their starts, at most the size."},
        {.path = "streams.*.steps.top_n.window.session", .type = Type::kDuration, .one_of = true, .min = 1, .max = kYear, .example = "30m", .also = "gap", .doc = "A window per burst of a group's records: it ends when none comes for this long in event time."},
        {.path = "streams.*.steps.top_n.window.max", .type = Type::kDuration, .min = 1, .max = kYear, .default_value = "no limit", .example = "12h", .doc = "The greatest length of a session window; at least its gap."},
        {.path = "streams.*.steps.top_n.window.offset", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "15m", .doc = "Moves the borders of tumbling and hopping windows; less than the size."},
        {.path = "streams.*.steps.top_n.window.timezone", .type = Type::kTimezone, .default_value = "UTC", .example = "Europe/Berlin", .doc = "The zone whose days tumbling and hopping windows of whole days follow."},
        {.path = "streams.*.steps.top_n.window.grace", .type = Type::kDuration, .max = kYear, .default_value = "0s", .example = "30s", .also = "allowed_lateness lateness", .doc = "How long after its end a window still takes records. Later ones go to `<stream>.late`."},
        {.path = "streams.*.steps.top_n.state", .map = true, .example = "{backend: rocksdb}", .also = "store storage state_store", .doc = "Where the groups and their records are kept."},
        {.path = "streams.*.steps.top_n.state.backend", .type = Type::kEnum, .values = "memory rocksdb", .default_value = "memory", .example = "rocksdb", .also = "type kind", .doc = "`rocksdb`: on disk, in the state folder, for more than fits in memory. [What it costs](operations.md#state-larger-than-memory)."},
        {.path = "streams.*.to", .type = Type::kTopic, .map = true, .list = ListForm::kAlso, .example = "revenue-per-minute", .also = "output outputs sink sinks",
         .doc = "The topic of the results; or where each goes, as one entry or a list of which the first match wins. Without it the stream feeds other streams only."},
        {.path = "streams.*.to.topic", .type = Type::kTopic, .one_of = true, .example = "orders-eu", .doc = "A Kafka topic."},
        {.path = "streams.*.to.file", .type = Type::kPath, .one_of = true, .example = "\"-\"", .also = "path", .doc = "A file of JSON lines instead; `-` is standard output."},
        {.path = "streams.*.to.when", .type = Type::kExpression, .default_value = "true", .example = "country IN ('DE', 'FR')", .also = "if filter condition", .doc = "Which results this entry takes."},
        {.path = "streams.*.to.key", .type = Type::kExpression, .default_value = "the group, else the record's key", .example = "customer_id", .doc = "The key of the written record."},
        {.path = "streams.*.to.partition", .type = Type::kExpression, .default_value = "by the key", .example = "0", .doc = "The partition of the written record."},
        {.path = "streams.*.to.headers", .map = true, .example = "{region: country}", .doc = "Headers of the written record."},
        {.path = "streams.*.to.headers.*", .type = Type::kExpression, .example = "country", .doc = "The header's value."},

        {.path = "tests", .map = true, .list = ListForm::kOnly, .example = "[{name: doubles, feed: [{to: in, value: {n: 1}}], expect: {out: [{value: {n: 2}}]}}]",
         .doc = "What `weir test` runs, in virtual time and without a broker. `weir run` checks it and does nothing else with it."},
        {.path = "tests.name", .type = Type::kText, .required = true, .example = "a late order goes to the side output", .doc = "Says what the test shows; each once."},
        {.path = "tests.start", .type = Type::kInstant, .default_value = "2026-01-01T00:00:00Z", .example = "2026-06-01T12:00:00Z", .doc = "What the clock shows when the test begins."},
        {.path = "tests.partitions", .type = Type::kInteger, .min = 1, .max = 64, .default_value = "1", .example = "2", .doc = "How many partitions every topic has."},
        {.path = "tests.feed", .map = true, .list = ListForm::kOnly, .required = true, .example = "[{at: 1s, to: orders, key: c1, value: {amount: 5}}, {advance: 2m}]", .also = "input inputs", .doc = "What happens, in order: records, and what the clock and the machine do."},
        {.path = "tests.feed.to", .type = Type::kText, .one_of = true, .example = "orders", .also = "topic", .doc = "A record for this topic (or file, by its path as the source has it)."},
        {.path = "tests.feed.advance", .type = Type::kDuration, .one_of = true, .example = "2m", .doc = "The clock goes on and nothing comes; what becomes due happens at its time."},
        {.path = "tests.feed.watermark", .type = Type::kInstant, .one_of = true, .example = "2026-01-01T00:05:00Z", .doc = "Event time reaches this instant everywhere, whatever the sources say."},
        {.path = "tests.feed.restart", .type = Type::kEnum, .one_of = true, .values = "true", .example = "true", .doc = "The process is killed and recovers."},
        {.path = "tests.feed.rebalance", .type = Type::kInteger, .list = ListForm::kAlso, .one_of = true, .max = 63, .example = "[0]", .doc = "The process is started again with a worker of its own for these partitions and another for the rest; the state moves along."},
        {.path = "tests.feed.at", .type = Type::kDuration, .default_value = "with the entry before", .example = "20s", .doc = "When the record comes, from the test's start on; never goes back."},
        {.path = "tests.feed.key", .type = Type::kData, .default_value = "null", .example = "c1", .doc = "The record's key as text; a list or map becomes JSON."},
        {.path = "tests.feed.value", .type = Type::kData, .default_value = "null", .example = "{customer_id: c1, amount: 10}", .doc = "The record's value, written as JSON; `null` is a tombstone."},
        {.path = "tests.feed.raw", .type = Type::kData, .example = "'{broken'", .doc = "The value's bytes instead, for what is not JSON."},
        {.path = "tests.feed.headers", .map = true, .example = "{trace: abc}", .doc = "The record's headers."},
        {.path = "tests.feed.headers.*", .type = Type::kText, .example = "abc", .doc = "The header's text."},
        {.path = "tests.feed.partition", .type = Type::kInteger, .max = 63, .default_value = "by the key", .example = "1", .doc = "The partition it lies on."},
        {.path = "tests.feed.timestamp", .type = Type::kInstant, .default_value = "the clock's time", .example = "2026-01-01T00:00:30Z", .doc = "The record's timestamp."},
        {.path = "tests.flush", .type = Type::kEnum, .values = "true false", .default_value = "true where the sources are files", .example = "true", .doc = "Whether the input ends after the last entry, so that every window closes."},
        {.path = "tests.expect", .map = true, .required = true, .example = "{totals: [{key: c1, value: {total: 15}}]}", .also = "output outputs", .doc = "By topic (or file): all records that readers of committed data see at the end."},
        {.path = "tests.expect.*", .map = true, .list = ListForm::kOnly, .example = "[{key: c1, value: {total: 15}}]", .doc = "The records of this topic; `[]` is none. `weir test --update` writes them."},
        {.path = "tests.expect.*.key", .type = Type::kData, .default_value = "not compared", .example = "c1", .doc = "The key as text; a list or map becomes JSON."},
        {.path = "tests.expect.*.value", .type = Type::kData, .default_value = "not compared", .example = "{total: 15}", .doc = "The value, compared as JSON: 15 equals 15.00, members in any order."},
        {.path = "tests.expect.*.raw", .type = Type::kData, .default_value = "not compared", .example = "'{broken'", .doc = "The value's bytes."},
        {.path = "tests.expect.*.headers", .map = true, .default_value = "not compared", .example = "{region: DE}", .doc = "Headers that the record has; it may have others."},
        {.path = "tests.expect.*.headers.*", .type = Type::kText, .example = "DE", .doc = "The header's text."},
        {.path = "tests.expect.*.timestamp", .type = Type::kInstant, .default_value = "not compared", .example = "2026-01-01T00:00:59.999Z", .doc = "The record's timestamp."},
        {.path = "tests.expect.*.match", .type = Type::kExpression, .default_value = "true", .example = "total > 10 AND _key = 'c1'", .doc = "A condition over the written record that must hold."},
        {.path = "tests.expect.*.partial", .type = Type::kEnum, .values = "true false", .default_value = "false", .example = "true", .doc = "Whether objects in the value may have members that are not named."},
        {.path = "tests.order", .type = Type::kEnum, .values = "same any", .default_value = "same", .example = "any", .doc = "Whether a topic's records must come in the order given."},
        {.path = "tests.only", .type = Type::kEnum, .values = "true false", .default_value = "false", .example = "true", .doc = "Whether topics that `expect` does not name must stay empty."},
    };
    return table;
}
// clang-format on

const Field& root_field() {
    static const Field root{.path = "", .map = true, .doc = "A pipeline."};
    return root;
}

std::vector<const Field*> children(const Field& parent) {
    std::vector<const Field*> result;
    const size_t prefix = parent.path.empty() ? 0 : parent.path.size() + 1;
    for (const Field& field : fields()) {
        if (field.path.size() <= prefix) continue;
        if (prefix > 0 && (field.path.substr(0, prefix - 1) != parent.path || field.path[prefix - 1] != '.'))
            continue;
        if (field.path.find('.', prefix) == std::string_view::npos) result.push_back(&field);
    }
    return result;
}

const Field* child_field(const Field& parent, std::string_view key) {
    const Field* any = nullptr;
    for (const Field* field : children(parent)) {
        const std::string_view name = last_segment(field->path);
        if (name == "*") {
            any = field;
        } else if (name == key) {
            return field;
        }
    }
    return any;
}

std::string_view last_segment(std::string_view path) {
    const size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::vector<std::string_view> words(std::string_view text) {
    std::vector<std::string_view> result;
    while (!text.empty()) {
        const size_t space = std::min(text.find(' '), text.size());
        result.push_back(text.substr(0, space));
        text.remove_prefix(std::min(space + 1, text.size()));
    }
    return result;
}

std::string_view type_name(Type type) {
    switch (type) {
        case Type::kNone: return "";
        case Type::kPath: return "a path";
        case Type::kPipelineName: return "a name such as revenue-per-minute";
        case Type::kTopic: return "a topic name";
        case Type::kInput: return "the name of a source or stream";
        case Type::kTable: return "the name of a table";
        case Type::kExpression: return "an expression";
        case Type::kFieldName: return "a field name";
        case Type::kDuration: return "a duration such as 250ms, 5s or 1m30s";
        case Type::kStart:
            return "earliest, latest, an instant such as 2026-01-01T00:00:00Z, or a time ago such as -1h";
        case Type::kTimezone: return "a time zone such as Europe/Berlin";
        case Type::kInteger: return "a whole number";
        case Type::kOrdinal: return "a whole number, or a name that ends in -<number>";
        case Type::kEnum: return "one of a few words";
        case Type::kAddress: return "host:port, or none";
        case Type::kWorkers: return "auto, a number, or a CPU list such as \"2-5,7\"";
        case Type::kInstance: return "index/count such as 0/3";
        case Type::kProperty: return "a text or number";
        case Type::kText: return "a text";
        case Type::kInstant: return "an instant such as 2026-01-01T00:00:00Z";
        case Type::kData: return "anything";
    }
    return "";
}

}  // namespace weir::config
