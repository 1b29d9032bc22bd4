// The syntax of header fields and of what stands in their values (RFC 9110, 5.5 and 5.6).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/http/fields.h"

namespace forkbox::http {

bool IsTokenChar(char c);
bool IsToken(std::string_view text);
// Visible characters, blanks, tabs and bytes from 0x80.
bool IsFieldValue(std::string_view text);
std::string_view TrimBlanks(std::string_view text);

// A line without its end, cut at its colon. What is wrong with it, or "".
std::string_view SplitFieldLine(std::string_view line, std::string_view* name,
                                std::string_view* value);

// A comma-separated list has this element, in any case.
bool ListHasToken(std::string_view list, std::string_view token);
// One of the fields of that name has it.
bool FieldsHaveToken(const Fields& fields, std::string_view name, std::string_view token);

// "form-data; name=\"a\\\"b\"; size=1" is "form-data" and {"name", "a\"b"}, {"size", "1"}. A
// backslash escapes a quote or itself and stands for itself elsewhere, as browsers mean it. nullopt
// when it is not well-formed or names a parameter twice.
struct ValueWithParameters {
  std::string_view value;
  Fields parameters;
};
std::optional<ValueWithParameters> ParseParameters(std::string_view text);

}  // namespace forkbox::http
