// What the driver tells the forkserver once, before anything else: it comes from the operator's
// installation, not from users.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forkbox::sandbox {

// In words of a template's command: what it is restarted with (RequestKind::kRestart), "" before.
inline constexpr std::string_view kVariant = "@variant@";

// Runtimes to keep warm. The command runs inside the sandbox root.
struct TemplateSpec {
  std::string name;  // for messages
  std::vector<std::string> command;
  std::vector<std::string> env;  // "NAME=value", the whole environment
  bool lazy = false;             // not started before the first fork of it is asked for
  // What its forks may still ask of the kernel.
  enum class Filter : std::uint32_t {
    kPrograms = 0,  // programs of strangers (seccomp_filter.h)
    kMachine = 1,   // a virtual machine that has all it needs open (machine_filter.h)
  };
  Filter filter = Filter::kPrograms;
};

// What the root is made of.
enum class RootKind : std::uint32_t {
  kPrograms = 0,  // /usr, the language runtimes, a synthetic /etc: what programs want to see
  kMachines = 1,  // what QEMU takes to run, and nothing of the rest of /usr
};

// A read-only bind into the sandbox root.
struct BindSpec {
  std::string source;  // on the host
  std::string target;  // inside, absolute
};

struct ForkserverConfig {
  std::vector<TemplateSpec> templates;
  std::vector<BindSpec> binds;
  std::uint32_t uid_base = 0;   // first of the uids that cells get, one each
  std::uint32_t uid_count = 0;  // and so the most cells at a time
  RootKind root = RootKind::kPrograms;
  bool kvm = false;             // of kMachines: /dev/kvm is there, for everybody inside
  bool privileged = true;       // false: inside a user namespace with one id

  [[nodiscard]] std::string Encode() const;
  static std::optional<ForkserverConfig> Decode(std::string_view bytes);
};

inline constexpr std::size_t kMaxConfigBytes = 64 * 1024;

}  // namespace forkbox::sandbox
