#include "runner/sandbox/vm/sha256.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox::vm {
namespace {

constexpr std::size_t kPiece = 1U << 20;

Error Unreadable(const std::string& path) {
  return {errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
          path + ": " + std::strerror(errno)};
}

}  // namespace

// libcrypto fails here only when it is broken or there is no memory.
Sha256::Sha256() : context_(::EVP_MD_CTX_new()) {
  FORKBOX_CHECK(context_ != nullptr);
  FORKBOX_CHECK(::EVP_DigestInit_ex(context_.get(), ::EVP_sha256(), nullptr) == 1);
}

void Sha256::Add(std::string_view bytes) {
  FORKBOX_CHECK(::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

std::string Sha256::Hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  FORKBOX_CHECK(::EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1);
  std::string hex;
  for (unsigned i = 0; i < length; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

std::string Sha256Hex(std::string_view text) {
  Sha256 sha;
  sha.Add(text);
  return sha.Hex();
}

Result<FileHash> HashFile(const std::string& path, std::uint64_t most) {
  // Not to wait for the other end of a pipe.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return Fail(Unreadable(path));
  if (!S_ISREG(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, path + ": not a regular file");
  }
  FileHash hash;
  Sha256 sha;
  std::vector<char> piece(kPiece);
  for (;;) {
    const ssize_t n = ::read(file.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(Unreadable(path));
    if (n == 0) break;
    hash.bytes += static_cast<std::uint64_t>(n);
    if (hash.bytes > most) {
      return Fail(ErrorCode::kInvalidArgument,
                  path + ": more than " + std::to_string(most) + " bytes");
    }
    sha.Add({piece.data(), static_cast<std::size_t>(n)});
  }
  hash.sha256 = sha.Hex();
  return hash;
}

}  // namespace forkbox::sandbox::vm
