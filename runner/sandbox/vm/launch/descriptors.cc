#include "runner/sandbox/vm/launch/descriptors.h"

#include <cstdint>

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {

std::string EncodeLaunch(const std::vector<std::string>& words) {
  WireWriter body;
  body.U32(static_cast<std::uint32_t>(words.size()));
  for (const std::string& word : words) body.Text(word);
  WireWriter out;
  out.Text(body.bytes());
  return out.Take();
}

std::optional<std::vector<std::string>> DecodeLaunch(std::string_view body) {
  WireReader in(body);
  const std::uint32_t count = in.Count(sizeof(std::uint32_t));
  if (count == 0 || count > kMaxLaunchWords) return std::nullopt;
  std::vector<std::string> words;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string_view word = in.Text();
    if (word.find('\0') != std::string_view::npos) return std::nullopt;
    words.emplace_back(word);
  }
  if (!in.AtEnd()) return std::nullopt;
  return words;
}

}  // namespace forkbox::sandbox::vm
