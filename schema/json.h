// JSON at the edges: parsing what strangers send, and the JSON form of the vocabulary, which is
// what rows, messages and `--json` output carry.
//
// Nothing here throws. Thread-safe: functions of their arguments.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::schema {

struct JsonLimits {
  std::size_t max_depth = 64;         // of arrays and objects in each other
  std::size_t max_values = 100'000;   // of any kind, at every level: bounds the memory per byte
  std::size_t max_bytes = 64U << 20;  // of the text
};

// What we wrote ourselves and kept: no stranger chooses its size, the limits only catch damage.
inline constexpr JsonLimits kRowJsonLimits{64, 10'000'000, 1U << 30};

// RFC 8259 and nothing more: no NaN, no comments, no lone surrogates, no ill-formed UTF-8, no
// text behind the value. Of equal keys the last wins. Limits are kept while parsing, so hostile
// input costs neither stack nor memory. An integer beyond 64 bits becomes a double.
// kInvalidArgument, in words that quote nothing of the input: "expected value at line 1 column 2".
// Columns count bytes from 1.
Result<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// One line. Strings that are not UTF-8 are mended, see ToValidUtf8.
std::string DumpJson(const nlohmann::json& value);

// Names are stable and end in their unit. What is empty or absent is left out.
// Code, file contents and stdin may be any bytes; what is not UTF-8 is {"base64": "…"}.
nlohmann::json ToJson(const Source& source);
nlohmann::json ToJson(const Limits& limits);
nlohmann::json ToJson(const Execution& execution);
nlohmann::json ToJson(const Usage& usage);
nlohmann::json ToJson(const Timings& timings);
nlohmann::json ToJson(const Outcome& outcome);

// The way back. What is absent keeps its default and unknown members are ignored, because an
// older or a newer version may have written it; a wrong type or a value out of bounds is
// kInvalidArgument and names the member: "limits.wall_time_ms: must be …".
Result<Source> SourceFromJson(const nlohmann::json& json);
Result<Limits> LimitsFromJson(const nlohmann::json& json);
Result<Execution> ExecutionFromJson(const nlohmann::json& json);
Result<Usage> UsageFromJson(const nlohmann::json& json);
Result<Timings> TimingsFromJson(const nlohmann::json& json);
Result<Outcome> OutcomeFromJson(const nlohmann::json& json);

}  // namespace forkbox::schema
