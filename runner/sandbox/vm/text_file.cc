#include "runner/sandbox/vm/text_file.h"

#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

namespace forkbox::sandbox::vm {

namespace fs = std::filesystem;

Result<std::string> ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // Inserting nothing at all counts as a failure of `text`, which an empty file is not.
  if (file && file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (!file || !text) return Fail(ErrorCode::kUnavailable, path.string() + ": cannot be read");
  return std::move(text).str();
}

Result<void> WriteText(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  std::error_code error;
  fs::permissions(path, fs::perms(0644), error);
  if (!file || error) return Fail(ErrorCode::kUnavailable, path.string() + ": cannot be written");
  return {};
}

}  // namespace forkbox::sandbox::vm
