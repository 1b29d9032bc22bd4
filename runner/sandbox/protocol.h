// Who says what to whom around the forkserver. All structs are fixed-size and both ends are built
// together; sizes are checked on receipt.
//
//   driver ──control──▶ forkserver ──fork request──▶ template ──fork()──▶ child
//      ▲ ▲                  │                            │                  │
//      │ └── ForkReply ─────┘                            │                  │
//      └────────────────────── status socket ◀───────────┴── ready, exit ───┘
//
// The status socket is one per sandbox. Its far end is held by the template (which writes the
// child's end), the child until it is isolated (ready, or what failed), and the forkserver (which
// reads "kill", and takes a hang-up of the driver's end as the order to tear the cell down).
//
// A box is a cell that is asked for by itself: its status socket, held by the forkserver alone, is
// its lease. Forks into it are asked for one by one. The status socket of such a fork says how that
// one process ended and no more: nobody but the template holds its far end, so it also ends when
// the template does, and letting go of it ends nothing.
#pragma once

#include <array>
#include <cstdint>

namespace forkbox::sandbox {

// The forkserver's end of the control socket, inherited from the driver.
inline constexpr int kControlFd = 3;

// ---- driver → forkserver, on the control socket. The first packet is the configuration
// (ForkserverConfig, serialised); every later one is a ForkRequest.
enum class RequestKind : std::uint32_t {
  kRun = 0,     // a cell, and a fork of the template in it
  kBox = 1,     // a cell
  kJoin = 2,    // a fork of the template into a box
  kFreeze = 3,  // of a box; answered with EINPROGRESS until it stands still: to be asked again
  kThaw = 4,
  // Of a template, both without regard to how often it failed. What is forked from one that runs
  // is told of its end, and so are we, before the answer.
  kRestart = 5,  // ends it, if it runs, and starts it
  kStop = 6,     // ends it, and it stays ended until kRestart
};

struct ForkRequest {
  std::uint64_t request_id = 0;
  RequestKind kind = RequestKind::kRun;
  std::uint32_t template_index = 0;  // kRun, kJoin, kRestart, kStop
  std::uint64_t box = 0;             // kJoin, kFreeze, kThaw: as the answer to kBox named it
  std::uint64_t memory_bytes = 0;    // these of kRun and kBox
  std::uint64_t disk_bytes = 0;
  std::uint32_t pids = 0;
  std::uint32_t cpu_millis = 0;  // of a core, a thousand to each; 0: a fair share
  // kRestart: hex digits that stand for kVariant (config.h) in the template's command from now on.
  // What is not filled is zeros.
  std::array<char, 16> variant{};
};

// ---- forkserver → driver, on the control socket. kForked answers every ForkRequest.
enum class ControlKind : std::uint32_t { kReady = 1, kTemplate = 2, kForked = 3 };

struct ControlMessage {
  ControlKind kind = ControlKind::kReady;
  std::uint32_t template_index = 0;  // kTemplate
  std::uint64_t request_id = 0;      // kForked
  std::uint64_t box = 0;             // kForked: of kBox, the name of the new one
  // errno, 0 for success. Of kForked, EINPROGRESS: the template is being started, and the request
  // is to be made again once a kTemplate has said how that went.
  std::int32_t error = 0;
  std::uint32_t flags = 0;       // kReady: Protection bits that are in force
  std::array<char, 480> text{};  // what failed
};

// Descriptors that come with a successful answer to kRun, in this order; with that to kJoin, the
// first kJoinedFdCount of them.
enum ForkedFd : std::size_t {
  kFdStatus,
  kFdChannel,
  kFdStdin,
  kFdStdout,
  kFdStderr,
  kFdCpuUsage,      // cpuacct.usage or cpu.stat; /dev/null without a cgroup
  kFdMemoryPeak,    // memory.max_usage_in_bytes or memory.peak; /dev/null without
  kFdMemoryEvents,  // memory.oom_control or memory.events; /dev/null without
  kForkedFdCount,
};
inline constexpr std::size_t kJoinedFdCount = kFdStderr + 1;

// With the answer to kBox; as above.
enum BoxFd : std::size_t {
  kBoxFdLease,
  kBoxFdCpuUsage,
  kBoxFdMemoryPeak,
  kBoxFdMemoryEvents,
  kBoxFdMemoryNow,  // memory.usage_in_bytes or memory.current; /dev/null without
  kBoxFdCount,
};

// Bits of ControlMessage::flags with kReady: what this host and our privileges really give.
enum Protection : std::uint32_t {
  kOwnUid = 1U << 0,
  kMemoryCgroup = 1U << 1,
  kPidsCgroup = 1U << 2,
  kCpuCgroup = 1U << 3,
  kCpuAccounting = 1U << 4,
  kCgroupV2 = 1U << 5,
  kSwapLimit = 1U << 6,
  kFreezer = 1U << 7,
};

// ---- forkserver → template.
struct TemplateFork {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pids = 0;
  std::uint32_t cgroup_count = 0;  // descriptors after the fixed ones
  std::uint64_t disk_bytes = 0;
};
enum TemplateForkFd : std::size_t {
  kTplInitPidfd,  // pid 1 of the cell: its namespaces are the child's
  kTplStatus,
  kTplChannel,
  kTplStdin,
  kTplStdout,
  kTplStderr,
  kTplFixedCount,  // then cgroup.procs of each hierarchy, open for writing
};
inline constexpr std::size_t kMaxCgroups = 6;

// ---- template → forkserver: this one struct, once, when it is ready to be forked.
struct TemplateReady {
  std::uint32_t magic = 0x464b5831;  // "FKX1"
  std::int32_t pid = 0;
};

// ---- template or child → driver, on the status socket.
enum class StatusKind : std::uint32_t {
  kReady = 1,       // isolated and waiting for its job
  kForkFailed = 2,  // never became a job: stage and error say why
  kExited = 3,      // reaped; on a lease: the box is gone
  kTemplateLost = 4,
};

// Where a fork can fail; one word each for logs.
enum class Stage : std::uint32_t {
  kNone,
  kEnterPidNamespace,
  kFork,
  kEnterNamespaces,
  kJoinCgroup,
  kDescriptors,
  kWorkDirectory,
  kRlimits,
  kCredentials,
  kSeccomp,
};

struct StatusMessage {
  StatusKind kind = StatusKind::kReady;
  Stage stage = Stage::kNone;
  std::int32_t error = 0;
  std::int32_t wait_status = 0;  // as of wait4(2)
  std::int64_t cpu_us = 0;       // user + system of the child and what it waited for
  std::int32_t pid = 0;          // kReady: as the child itself sees it
};

// ---- driver → forkserver, on the status socket.
struct StatusCommand {
  std::uint32_t kill = 1;
};

constexpr const char* StageName(Stage stage) {
  switch (stage) {
    case Stage::kNone:
      return "none";
    case Stage::kEnterPidNamespace:
      return "enter pid namespace";
    case Stage::kFork:
      return "fork";
    case Stage::kEnterNamespaces:
      return "enter namespaces";
    case Stage::kJoinCgroup:
      return "join cgroup";
    case Stage::kDescriptors:
      return "descriptors";
    case Stage::kWorkDirectory:
      return "work directory";
    case Stage::kRlimits:
      return "rlimits";
    case Stage::kCredentials:
      return "credentials";
    case Stage::kSeccomp:
      return "seccomp";
  }
  return "?";
}

}  // namespace forkbox::sandbox
