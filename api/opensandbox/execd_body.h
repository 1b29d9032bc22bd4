// JSON bodies as execd's decoder takes them (reference 1.4): one value and whatever behind it,
// unknown members ignored, names in any case, null as absent, ill-formed UTF-8 mended.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/execd/files.h"
#include "runner/execd/path_expansion.h"

namespace forkbox::api {

// The first value of the body, within bounds of depth and count. kInvalidArgument; an empty body is
// "EOF".
Result<nlohmann::json> DecodeExecdBody(std::string body);

// Reads the members of an object. What is of a wrong type is remembered, the first of them.
class ExecdFields {
 public:
  // `value` must outlive it. No object is a problem of its own.
  explicit ExecdFields(const nlohmann::json& value);

  void Text(std::string_view name, std::string* value);
  void Flag(std::string_view name, bool* value);
  void Integer(std::string_view name, std::int64_t* value);
  void Number32(std::string_view name, std::optional<std::uint32_t>* value);
  void Texts(std::string_view name, std::vector<std::string>* value);
  void TextMap(std::string_view name, execd::Environment* value);
  // The member itself; null when it is absent.
  const nlohmann::json* Find(std::string_view name) const;

  // kInvalidArgument: `field "timeout" must be an integer`.
  [[nodiscard]] Result<void> Finish() const;

 private:
  void Wrong(std::string_view name, std::string_view expected);

  const nlohmann::json& object_;
  std::string problem_;
};

// {"owner":"root","group":"root","mode":644}: the digits of `mode` are octal; 0 and absent leave
// it.
Result<execd::Permission> ReadPermission(const nlohmann::json& value);

}  // namespace forkbox::api
