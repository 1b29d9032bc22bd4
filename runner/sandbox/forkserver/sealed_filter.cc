#include "runner/sandbox/forkserver/sealed_filter.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

namespace forkbox::sandbox {

UniqueFd SealedFilter(const std::vector<sock_filter>& filter) {
  UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::size_t bytes = filter.size() * sizeof(sock_filter);
  FORKBOX_CHECK(::write(file.get(), filter.data(), bytes) == static_cast<ssize_t>(bytes));
  ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return file;
}

}  // namespace forkbox::sandbox
