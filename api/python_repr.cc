#include "api/python_repr.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace forkbox::api {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 1'000;

struct Range {
  char32_t first;
  char32_t last;
};
// What str.isprintable() denies and programs meet: controls, blanks other than U+0020, formats,
// private use. Of characters that are assigned to nothing only the blocks' ends are known here.
constexpr Range kUnprintable[] = {
    {0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
    {0x6DD, 0x6DD},   {0x70F, 0x70F},   {0x1680, 0x1680},   {0x180E, 0x180E},   {0x2000, 0x200F},
    {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},   {0xE000, 0xF8FF},   {0xFEFF, 0xFEFF},
    {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF}};

bool IsPrintable(char32_t c) {
  for (const Range& range : kUnprintable) {
    if (c >= range.first && c <= range.last) return false;
  }
  return true;
}

// The character at `text[at]`, which is valid UTF-8, and how many bytes it takes.
char32_t Decode(std::string_view text, std::size_t at, std::size_t* size) {
  const auto lead = static_cast<unsigned char>(text[at]);
  *size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t c = *size == 1 ? lead : lead & (0xFFU >> (*size + 1));
  for (std::size_t i = 1; i < *size; ++i) {
    c = (c << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
  }
  return c;
}

std::string Escape(char32_t c) {
  std::array<char, 16> text;
  const char* const form = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(text.data(), text.size(), form, static_cast<unsigned>(c));
  return text.data();
}

class Writer {
 public:
  std::string text;

  void Write(const json& value) {
    if (Full()) return;
    switch (value.type()) {
      case json::value_t::boolean:
        text += value.get<bool>() ? "True" : "False";
        return;
      case json::value_t::number_integer:
      case json::value_t::number_unsigned:
        text += value.dump();
        return;
      case json::value_t::number_float:
        Float(value.get<double>());
        return;
      case json::value_t::string:
        String(value.get_ref<const std::string&>());
        return;
      case json::value_t::array:
        Array(value);
        return;
      case json::value_t::object:
        Object(value);
        return;
      default:
        text += "None";
    }
  }

  [[nodiscard]] bool Full() const { return text.size() > kMaxBytes; }

 private:
  void String(std::string_view string) {
    const bool has_single = string.find('\'') != string.npos;
    const char quote = has_single && string.find('"') == string.npos ? '"' : '\'';
    text += quote;
    for (std::size_t at = 0, size = 0; at < string.size() && !Full(); at += size) {
      const char32_t c = Decode(string, at, &size);
      if (c == '\n') {
        text += "\\n";
      } else if (c == '\r') {
        text += "\\r";
      } else if (c == '\t') {
        text += "\\t";
      } else if (c == '\\' || c == static_cast<char32_t>(quote)) {
        text += '\\';
        text += string[at];
      } else if (IsPrintable(c)) {
        text += string.substr(at, size);
      } else {
        text += Escape(c);
      }
    }
    text += quote;
  }

  // The shortest digits that read back the same; as a plain number for exponents from -4 to 15
  // (float_repr_style 'short').
  void Float(double value) {
    std::array<char, 40> buffer{};  // ends in zeros
    const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                       std::chars_format::scientific);
    std::string_view digits(buffer.data(), static_cast<std::size_t>(written.ptr - buffer.data()));
    const std::size_t e = digits.find('e');
    const int exponent = std::atoi(buffer.data() + e + 1);
    if (exponent < -4 || exponent >= 16) {
      text += digits;  // "1e+16", "1.5e-07": two digits at least, as Python has it
      return;
    }
    digits = digits.substr(0, e);
    if (digits.front() == '-') {
      text += '-';
      digits.remove_prefix(1);
    }
    std::string all(digits.substr(0, 1));
    if (digits.size() > 2) all += digits.substr(2);
    if (exponent < 0) {
      text += "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + all;
      return;
    }
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    if (all.size() < whole + 1) all.resize(whole + 1, '0');
    text += all.substr(0, whole) + "." + all.substr(whole);
  }

  void Array(const json& array) {
    text += '[';
    for (std::size_t i = 0; i < array.size() && !Full(); ++i) {
      if (i > 0) text += ", ";
      Write(array[i]);
    }
    text += ']';
  }

  void Object(const json& object) {
    text += '{';
    bool first = true;
    for (const auto& [name, value] : object.items()) {
      if (Full()) break;
      if (!first) text += ", ";
      first = false;
      String(name);
      text += ": ";
      Write(value);
    }
    text += '}';
  }
};

}  // namespace

std::string PythonRepr(const json& value) {
  Writer writer;
  writer.Write(value);
  if (!writer.Full()) return std::move(writer.text);
  std::size_t end = kMaxBytes;
  while ((static_cast<unsigned char>(writer.text[end]) & 0xC0) == 0x80) --end;
  return writer.text.substr(0, end) + "…";
}

}  // namespace forkbox::api
