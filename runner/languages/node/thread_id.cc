#include "runner/languages/node/thread_id.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace forkbox::javascript {
namespace {

using GetId = pid_t (*)();

// v8::base::OS::GetCurrentThreadId() and absl::base_internal::GetCachedTID().
constexpr const char* kRemembering[] = {"_ZN2v84base2OS18GetCurrentThreadIdEv",
                                        "_ZN4absl13base_internal12GetCachedTIDEv"};

// Bytes of the executable's thread-local variables. They end where the thread pointer points
// (ELF Handling For Thread-Local Storage, variant II).
std::size_t ThreadLocalSize() {
  std::size_t size = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type != PT_TLS) continue;
          const std::size_t align = header.p_align != 0 ? header.p_align : 1;
          *static_cast<std::size_t*>(out) = (header.p_memsz + align - 1) / align * align;
        }
        return 1;  // the first object is the executable
      },
      &size);
  return size;
}

std::vector<pid_t*> Remembered(GetId get_id) {
  const pid_t id = get_id();  // remembered from here on, if it was not
  const pid_t other = id ^ 0x2000'0000;
  std::vector<pid_t*> found;
  auto* const end = static_cast<pid_t*>(__builtin_thread_pointer());
  for (pid_t* at = end - ThreadLocalSize() / sizeof *end; at < end; ++at) {
    if (*at != id) continue;
    *const_cast<volatile pid_t*>(at) = other;
    const bool is_it = get_id() == other;
    *const_cast<volatile pid_t*>(at) = id;
    if (is_it) found.push_back(at);
  }
  return found;
}

}  // namespace

Result<ThreadId> ThreadId::Find() {
  std::vector<pid_t*> remembered;
  for (const char* name : kRemembering) {
    const auto get_id = reinterpret_cast<GetId>(::dlsym(RTLD_DEFAULT, name));
    const std::vector<pid_t*> found =
        get_id != nullptr ? Remembered(get_id) : std::vector<pid_t*>();
    if (found.size() != 1) {
      return Fail(ErrorCode::kUnavailable, std::string("this node has no usable ") + name);
    }
    remembered.push_back(found.front());
  }
  return ThreadId(std::move(remembered));
}

void ThreadId::Renew() const {
  const auto id = static_cast<pid_t>(::syscall(SYS_gettid));
  for (pid_t* const at : remembered_) *at = id;
}

}  // namespace forkbox::javascript
