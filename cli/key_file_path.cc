#include "cli/key_file_path.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "api/auth/key_file.h"

namespace forkbox::cli {

std::optional<std::string> FindKeyFilePath(const std::string& chosen, const std::string& data_dir) {
  const char* zeroboot = std::getenv("ZEROBOOT_API_KEYS_FILE");
  if (auto path = api::FindKeyFile(chosen, zeroboot == nullptr ? "" : zeroboot)) return path;
  const std::filesystem::path beside = std::filesystem::path(data_dir) / "api_keys.json";
  std::error_code error;
  if (std::filesystem::exists(beside, error)) return beside.string();
  return std::nullopt;
}

}  // namespace forkbox::cli
