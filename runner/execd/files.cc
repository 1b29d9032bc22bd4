#include "runner/execd/files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "runner/execd/agent/agent_wire.h"
#include "runner/execd/agent/file_time.h"
#include "runner/execd/agent_caller.h"
#include "runner/execd/file_upload.h"
#include "schema/utf8.h"

namespace forkbox::execd {
namespace {

using Repeat = AgentCaller::Repeat;

tl::unexpected<Error> Lie() {
  return Fail(ErrorCode::kInternal, "the process inside the sandbox breaks the rules");
}

Result<void> CheckPaths(std::initializer_list<std::string_view> paths) {
  for (const std::string_view path : paths) {
    if (path.empty()) return Fail(ErrorCode::kInvalidArgument, "path must not be empty");
    if (path.size() > kMaxPathBytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  "path must have at most " + std::to_string(kMaxPathBytes) + " bytes");
    }
    if (path.find('\0') != std::string_view::npos) {
      return Fail(ErrorCode::kInvalidArgument, "path must not contain a NUL");
    }
  }
  return {};
}

AgentRequest RequestFor(Operation operation, std::string_view path) {
  AgentRequest request;
  request.operation = operation;
  request.path = path;
  return request;
}

AgentRequest RequestFor(Operation operation, std::string_view path, const Permission& permission) {
  AgentRequest request = RequestFor(operation, path);
  request.owner = permission.owner;
  request.group = permission.group;
  request.mode = permission.mode;
  return request;
}

// Of the kernel, which makes up what is read for whoever reads it: for us, of the host.
bool IsOfProc(int descriptor) {
  struct statfs system {};
  return ::fstatfs(descriptor, &system) != 0 || system.f_type == PROC_SUPER_MAGIC ||
         system.f_type == SYSFS_MAGIC;
}

// That it is a file to read from, whoever opened it: no pipe that keeps us waiting, no device.
bool IsReadableFile(int descriptor, struct stat* status) {
  if (::fstat(descriptor, status) != 0 || !S_ISREG(status->st_mode) || status->st_size < 0) {
    return false;
  }
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && (flags & O_PATH) == 0;
}

int SocketOption(int socket, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// That it is a TCP connection to this port of the loopback interface.
bool IsConnectionTo(int socket, std::uint16_t port) {
  const int domain = SocketOption(socket, SO_DOMAIN);
  if ((domain != AF_INET && domain != AF_INET6) || SocketOption(socket, SO_TYPE) != SOCK_STREAM ||
      SocketOption(socket, SO_PROTOCOL) != IPPROTO_TCP) {
    return false;
  }
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
  if (peer.ss_family == AF_INET) {
    sockaddr_in address{};
    std::memcpy(&address, &peer, sizeof address);
    return address.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && ntohs(address.sin_port) == port;
  }
  sockaddr_in6 address{};
  std::memcpy(&address, &peer, sizeof address);
  return peer.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address.sin6_addr) &&
         ntohs(address.sin6_port) == port;
}

}  // namespace

class Files::Impl {
 public:
  Impl(sandbox::Box& box, Patience patience) : patience_(patience), caller_(box, patience) {}

  Result<AgentReply> Ask(const AgentRequest& request, Repeat repeat,
                         std::chrono::milliseconds patience) {
    if (auto checked = CheckPaths({request.path}); !checked) return Fail(checked.error());
    return caller_.Call(request, repeat, patience);
  }
  // Of what has no other answer than that it is done.
  Result<void> Do(const AgentRequest& request, Repeat repeat, std::chrono::milliseconds patience) {
    auto reply = Ask(request, repeat, patience);
    return reply ? Result<void>() : Fail(reply.error());
  }

  [[nodiscard]] const Patience& patience() const { return patience_; }
  AgentCaller& caller() { return caller_; }

 private:
  const Patience patience_;
  AgentCaller caller_;
};

Files::Files(sandbox::Box& box, Patience patience) : impl_(std::make_unique<Impl>(box, patience)) {}
Files::~Files() = default;

Result<FileInfo> Files::Info(const std::string& path) {
  auto reply =
      impl_->Ask(RequestFor(Operation::kInfo, path), Repeat::kHarmless, impl_->patience().quick);
  if (!reply) return Fail(reply.error());
  if (reply->entries.size() != 1) return Lie();
  return std::move(reply->entries.front());
}

Result<void> Files::Remove(const std::string& path) {
  return impl_->Do(RequestFor(Operation::kRemove, path), Repeat::kHarmless,
                   impl_->patience().quick);
}

Result<void> Files::SetPermission(const std::string& path, const Permission& permission) {
  return impl_->Do(RequestFor(Operation::kSetPermission, path, permission), Repeat::kHarmless,
                   impl_->patience().quick);
}

Result<void> Files::Move(const std::string& from, const std::string& to) {
  if (auto checked = CheckPaths({to}); !checked) return checked;
  AgentRequest request = RequestFor(Operation::kMove, from);
  request.other = to;
  return impl_->Do(request, Repeat::kNever, impl_->patience().quick);
}

Result<std::vector<FileInfo>> Files::Search(const std::string& path, const std::string& pattern) {
  if (pattern.size() > kMaxPathBytes) {
    return Fail(ErrorCode::kInvalidArgument, "invalid pattern: it is too long");
  }
  AgentRequest request = RequestFor(Operation::kSearch, path);
  request.other = pattern;
  auto reply = impl_->Ask(request, Repeat::kHarmless, impl_->patience().whole);
  if (!reply) return Fail(reply.error());
  return std::move(reply->entries);
}

Result<std::uint64_t> Files::Replace(const Replacement& replacement) {
  if (replacement.old_text.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "old content must not be empty");
  }
  if (std::max(replacement.old_text.size(), replacement.new_text.size()) > kMaxReplaceBytes) {
    return Fail(ErrorCode::kInvalidArgument, "old and new content must have at most " +
                                                 std::to_string(kMaxReplaceBytes) + " bytes");
  }
  AgentRequest request = RequestFor(Operation::kReplace, replacement.path);
  request.other = replacement.old_text;
  request.new_text = replacement.new_text;
  auto reply = impl_->Ask(request, Repeat::kNever, impl_->patience().whole);
  if (!reply) return Fail(reply.error());
  return reply->answer.number;
}

Result<std::vector<FileInfo>> Files::List(const std::string& path, std::uint32_t depth) {
  AgentRequest request = RequestFor(Operation::kList, path);
  request.number = depth;
  auto reply = impl_->Ask(request, Repeat::kHarmless, impl_->patience().whole);
  if (!reply) return Fail(reply.error());
  return std::move(reply->entries);
}

Result<void> Files::MakeDirectory(const std::string& path, const Permission& permission) {
  return impl_->Do(RequestFor(Operation::kMakeDirectory, path, permission), Repeat::kNever,
                   impl_->patience().quick);
}

Result<void> Files::RemoveTree(const std::string& path) {
  return impl_->Do(RequestFor(Operation::kRemoveTree, path), Repeat::kHarmless,
                   impl_->patience().whole);
}

Result<void> Files::CheckDirectory(const std::string& path) {
  return impl_->Do(RequestFor(Operation::kCheckDirectory, path), Repeat::kHarmless,
                   impl_->patience().quick);
}

Result<Files::OpenFile> Files::Open(const std::string& path) {
  auto reply =
      impl_->Ask(RequestFor(Operation::kOpen, path), Repeat::kHarmless, impl_->patience().quick);
  if (!reply) return Fail(reply.error());
  struct stat status {};
  const std::string& absolute = reply->answer.text;
  if (!IsReadableFile(reply->descriptor.get(), &status) || !absolute.starts_with('/') ||
      absolute.size() > 2 * kMaxPathBytes) {
    return Lie();
  }
  if (IsOfProc(reply->descriptor.get())) {
    return Fail(ErrorCode::kInternal,
                "open " + schema::ToValidUtf8(absolute) + ": not a regular file of the sandbox");
  }
  OpenFile open;
  open.file = std::move(reply->descriptor);
  open.size = static_cast<std::uint64_t>(status.st_size);
  open.modified_unix_ns = UnixNanoseconds(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  open.path = absolute;
  return open;
}

Result<std::unique_ptr<Files::Upload>> Files::Create(const std::string& path,
                                                     const Permission& permission) {
  if (auto checked = CheckPaths({path}); !checked) return Fail(checked.error());
  std::optional<AgentPool::Lease> lease;
  auto reply = impl_->caller().Begin(RequestFor(Operation::kUpload, path), &lease);
  if (!reply) return Fail(reply.error());
  return std::make_unique<FileUpload>(impl_->caller(), std::move(*lease),
                                      std::move(reply->temporary), permission);
}

Result<void> Files::Signal(pid_t pid, int number, bool whole_group,
                           std::optional<std::chrono::milliseconds> patience) {
  // 0, -1 and 1 are everybody, or nobody's to signal.
  if (pid <= 1) return Fail(ErrorCode::kInvalidArgument, "there is no such process");
  if (number < 0 || number > SIGRTMAX) {
    return Fail(ErrorCode::kInvalidArgument, "there is no such signal");
  }
  AgentRequest request;
  request.operation = Operation::kSignal;
  request.pid = pid;
  request.number = static_cast<std::uint32_t>(number);
  request.whole_group = whole_group;
  auto reply = impl_->caller().Call(request, Repeat::kNever,
                                    patience.value_or(impl_->patience().quick));
  return reply ? Result<void>() : Fail(reply.error());
}

Result<UniqueFd> Files::Connect(std::uint16_t port) {
  AgentRequest request;
  request.operation = Operation::kConnect;
  request.number = port;
  auto reply = impl_->caller().Call(request, Repeat::kHarmless, impl_->patience().quick);
  if (!reply) return Fail(reply.error());
  const int socket = reply->descriptor.get();
  if (!reply->descriptor || !IsConnectionTo(socket, port)) return Lie();
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0) return Lie();
  return std::move(reply->descriptor);
}

}  // namespace forkbox::execd
