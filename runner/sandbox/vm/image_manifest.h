// ImageManifest: image.json, what a folder with an image says of itself.
//
// Plain values. Parse() takes what Encode() writes and nothing else: the file is written by us
// alone, so anything unexpected is damage or another version.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox::vm {

inline constexpr std::size_t kMaxManifestBytes = 1U << 20;

struct ImageManifest {
  struct File {
    std::string name;
    std::uint64_t bytes = 0;
    std::string sha256;
  };

  std::uint32_t agent_version = 0;
  std::string base;     // hex SHA-256 of the recipe of base.erofs and the kernel
  std::string kernel;   // release
  std::string runtime;  // RuntimeHash()
  std::vector<File> files;
  std::map<std::string, std::string> packages;  // of base.erofs, and the kernel's: versions

  [[nodiscard]] std::string Encode() const;
  // kInvalidArgument, naming the member.
  static Result<ImageManifest> Parse(std::string_view json);
};

}  // namespace forkbox::sandbox::vm
