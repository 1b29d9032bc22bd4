#include "runner/sandbox/forkserver/seccomp_program.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

#include "base/unique_fd.h"

namespace forkbox::sandbox {

SeccompRules NewSeccompRules(std::uint32_t default_action) {
  SeccompRules rules(seccomp_init(default_action), seccomp_release);
  if (rules == nullptr) return rules;
  // Another architecture's entry (int 0x80, x32) would have other numbers for the same calls.
  seccomp_attr_set(rules.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  seccomp_attr_set(rules.get(), SCMP_FLTATR_CTL_NNP, 0);
  seccomp_attr_set(rules.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree, not a list
  return rules;
}

Result<std::vector<sock_filter>> ExportProgram(const SeccompRules& rules) {
  const UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return FailErrno("memfd_create");
  if (seccomp_export_bpf(rules.get(), file.get()) != 0) {
    return Fail(ErrorCode::kInternal, "seccomp_export_bpf failed");
  }
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size <= 0) return FailErrno("lseek");
  std::vector<sock_filter> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), program.data(), static_cast<std::size_t>(size), 0) != size) {
    return FailErrno("read the seccomp program");
  }
  return program;
}

}  // namespace forkbox::sandbox
