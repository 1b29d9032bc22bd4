// SHA-256 of what comes in pieces, and of files.
//
// A Sha256 belongs to one thread; HashFile() is a function of its arguments.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::sandbox::vm {

class Sha256 {
 public:
  Sha256();
  void Add(std::string_view bytes);
  // 64 lower-case hexadecimal digits, once.
  std::string Hex();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { ::EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

std::string Sha256Hex(std::string_view text);

struct FileHash {
  std::uint64_t bytes = 0;
  std::string sha256;
};

// kNotFound when it is not there, kInvalidArgument for what is not a regular file (links are not
// followed) or has more than `most` bytes, kUnavailable when it cannot be read; the message begins
// with the path.
Result<FileHash> HashFile(const std::string& path, std::uint64_t most = UINT64_MAX);

}  // namespace forkbox::sandbox::vm
