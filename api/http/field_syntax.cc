#include "api/http/field_syntax.h"

#include <algorithm>

namespace forkbox::http {

bool IsTokenChar(char c) {  // RFC 9110, 5.6.2
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

bool IsFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view TrimBlanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string_view SplitFieldLine(std::string_view line, std::string_view* name,
                                std::string_view* value) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return "a header field has no colon";
  *name = line.substr(0, colon);
  // Refuses folded lines and "name :" as well.
  if (!IsToken(*name)) return "a header field name is not a token";
  *value = TrimBlanks(line.substr(colon + 1));
  if (!IsFieldValue(*value)) return "a header field value has a control character";
  return {};
}

bool ListHasToken(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (EqualIgnoringCase(TrimBlanks(list.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

bool FieldsHaveToken(const Fields& fields, std::string_view name, std::string_view token) {
  return std::any_of(fields.begin(), fields.end(), [&](const auto& field) {
    return EqualIgnoringCase(field.first, name) && ListHasToken(field.second, token);
  });
}

namespace {

// A quoted string at the start of *text, which is dropped from it. False when it does not end.
bool TakeQuoted(std::string_view* text, std::string* value) {
  text->remove_prefix(1);
  while (!text->empty()) {
    const char c = text->front();
    text->remove_prefix(1);
    if (c == '"') return true;
    if (c == '\\' && !text->empty() && (text->front() == '"' || text->front() == '\\')) {
      value->push_back(text->front());
      text->remove_prefix(1);
    } else {
      value->push_back(c);
    }
  }
  return false;
}

}  // namespace

std::optional<ValueWithParameters> ParseParameters(std::string_view text) {
  ValueWithParameters parsed;
  std::size_t semicolon = text.find(';');
  parsed.value = TrimBlanks(text.substr(0, semicolon));
  while (semicolon != std::string_view::npos) {
    text = TrimBlanks(text.substr(semicolon + 1));
    if (text.empty()) break;  // a last semicolon harms nobody
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || !IsToken(text.substr(0, equals))) return std::nullopt;
    const std::string_view name = text.substr(0, equals);
    if (FindField(parsed.parameters, name) != nullptr) return std::nullopt;
    text.remove_prefix(equals + 1);
    std::string value;
    if (!text.empty() && text.front() == '"') {
      if (!TakeQuoted(&text, &value)) return std::nullopt;
      semicolon = text.find(';');
      if (!TrimBlanks(text.substr(0, semicolon)).empty()) return std::nullopt;
    } else {
      semicolon = text.find(';');
      value = TrimBlanks(text.substr(0, semicolon));
      if (value.empty() || value.find('"') != std::string::npos) return std::nullopt;
    }
    parsed.parameters.emplace_back(name, std::move(value));
  }
  return parsed;
}

}  // namespace forkbox::http
