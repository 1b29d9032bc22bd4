#include "runner/execd/agent/request_loop.h"

#include <fcntl.h>
#include <signal.h>

#include <array>
#include <optional>
#include <utility>

#include "runner/execd/agent/account_names.h"
#include "runner/execd/agent/agent_channel.h"
#include "runner/execd/agent/file_operations.h"
#include "runner/execd/agent/file_walk.h"
#include "runner/execd/agent/glob_pattern.h"
#include "runner/execd/agent/local_connection.h"
#include "runner/execd/agent/staged_file.h"
#include "runner/execd/agent/system_error.h"
#include "runner/execd/agent/text_replacement.h"
#include "runner/execd/agent/tree_removal.h"
#include "runner/execd/path_expansion.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kEntriesFrameBytes = 128U << 10;

class RequestLoop {
 public:
  explicit RequestLoop(const RequestLoopOptions& options)
      : channel_(options.channel),
        work_path_(options.work_path),
        names_(options.passwd_path, options.group_path) {}

  void Run() {
    FrameKind kind{};
    AgentRequest request;
    while (channel_.Receive(&kind, &body_)) {
      if (kind != FrameKind::kRequest || !DecodeRequest(body_, &request)) return;
      if (!Serve(request)) return;
      if (body_.capacity() > 2 * kDataFrameBytes) std::string().swap(body_);
    }
  }

 private:
  // False when that was the last one.
  bool Serve(const AgentRequest& request) {
    // The two that stage a file say where before they do.
    std::optional<Result<StagedFile>> staged;
    if (request.operation == Operation::kReplace)
      staged.emplace(StagedFile::At(Clean(request.path)));
    if (request.operation == Operation::kUpload)
      staged.emplace(StagedFile::At(Absolute(request.path)));
    const std::string temporary = staged && *staged ? (*staged)->temporary() : "";
    if (!channel_.Send(FrameKind::kBegun, EncodeText(temporary))) return false;
    if (staged && !*staged) return Answer(Fail((*staged).error()));
    switch (request.operation) {
      case Operation::kReplace:
        return Replace(request, **staged);
      case Operation::kUpload:
        return Upload(Absolute(request.path), **staged);
      case Operation::kOpen: {
        const std::string path = Absolute(request.path);
        return Answer(OpenRegularFile(path), path);
      }
      case Operation::kConnect:
        return Answer(ConnectLocally(static_cast<std::uint16_t>(request.number)), "");
      case Operation::kInfo:
      case Operation::kList:
      case Operation::kSearch:
        return Answer(Describe(request));
      default:
        return Answer(Change(request));
    }
  }

  Result<void> Change(const AgentRequest& request) {
    const std::string path = Clean(request.path);
    const Permission permission{std::string(request.owner), std::string(request.group),
                                request.mode};
    switch (request.operation) {
      case Operation::kRemove:
        return RemoveFile(path);
      case Operation::kSetPermission:
        return ChangePermission(path, permission, names_);
      case Operation::kMove:
        return MoveFile(path, Clean(request.other));
      case Operation::kMakeDirectory:
        return MakeDirectories(path, permission, names_);
      case Operation::kRemoveTree:
        return RemoveTree(Absolute(request.path), Cancelled());
      case Operation::kCheckDirectory:
        return execd::CheckDirectory(path);
      case Operation::kSignal:
        return Signal(request);
      default:
        return Fail(ErrorCode::kInternal, "no such operation");
    }
  }

  Result<void> Describe(const AgentRequest& request) {
    const std::string path = Clean(request.path);
    std::string frame;
    std::size_t entries = 0;
    std::size_t bytes = 0;
    const auto flush = [&]() -> Result<void> {
      bytes += frame.size();
      if (!channel_.Send(FrameKind::kEntries, frame)) {
        return FailSystem("send", "", EPIPE);
      }
      frame.clear();
      return {};
    };
    const auto sink = [&](const FileInfo& info) -> Result<void> {
      AppendEntry(info, &frame);
      if (++entries > kMaxListedEntries || bytes + frame.size() > kMaxListedBytes) {
        return Fail(ErrorCode::kInvalidArgument,
                    "there are too many entries: at most " + std::to_string(kMaxListedEntries));
      }
      return frame.size() < kEntriesFrameBytes ? Result<void>() : flush();
    };
    Result<void> done;
    if (request.operation == Operation::kInfo) {
      const auto info = DescribeFile(AT_FDCWD, path, path, names_);
      done = info ? sink(*info) : Fail(info.error());
    } else if (request.operation == Operation::kList) {
      done = ListDirectory(path, request.number, names_, Cancelled(), sink);
    } else {
      const auto pattern = GlobPattern::Parse(request.other);
      if (!pattern) return Fail(pattern.error());
      done = SearchFiles(path, *pattern, names_, Cancelled(), sink);
    }
    if (done && !frame.empty()) return flush();
    return done;
  }

  // Whoever has the answer may end us at once: nothing is left to be cleaned up after it.
  bool Replace(const AgentRequest& request, StagedFile& staged) {
    const auto count = ReplaceText(staged, request.other, request.new_text, names_);
    { const StagedFile dropped = std::move(staged); }
    if (!count) return Answer(Fail(count.error()));
    return channel_.Send(FrameKind::kDone, EncodeAnswer({.number = *count, .text = ""}));
  }

  bool Upload(const std::string& path, StagedFile& staged) {
    if (auto made = MakeWithParents(ParentOf(path)); !made) return Answer(Fail(made.error()));
    if (auto opened = staged.Open(); !opened) return Answer(std::move(opened));
    if (!Answer({})) return false;
    FrameKind kind{};
    while (channel_.Receive(&kind, &body_)) {
      if (kind == FrameKind::kData) {
        if (auto written = staged.Write(body_); !written) {
          // Said at once; what is still on its way is not wanted any more.
          { const StagedFile dropped = std::move(staged); }
          if (Answer(std::move(written))) channel_.Drain();
          return false;
        }
      } else if (kind == FrameKind::kCommit) {
        AgentRequest request;
        if (!DecodeRequest(body_, &request)) return false;
        auto committed = staged.Commit(
            {std::string(request.owner), std::string(request.group), request.mode}, names_);
        { const StagedFile dropped = std::move(staged); }
        return Answer(std::move(committed));
      } else if (kind == FrameKind::kAbort) {
        { const StagedFile dropped = std::move(staged); }
        return Answer({});
      } else {
        return false;
      }
    }
    return false;
  }

  static Result<void> Signal(const AgentRequest& request) {
    // 0 and -1 are everybody.
    if (request.pid <= 1) return Fail(ErrorCode::kInvalidArgument, "no such process");
    const pid_t target = request.whole_group ? -request.pid : request.pid;
    if (::kill(target, static_cast<int>(request.number)) == 0) return {};
    return FailSystem("kill", std::to_string(request.pid));
  }

  bool Answer(Result<void> result) {
    if (result) return channel_.Send(FrameKind::kDone, EncodeAnswer({}));
    return channel_.Send(FrameKind::kFailed, EncodeFailure(result.error()));
  }

  bool Answer(Result<UniqueFd> opened, const std::string& path) {
    if (!opened) return Answer(Fail(opened.error()));
    const std::array<int, 1> descriptors{opened->get()};
    return channel_.Send(FrameKind::kDone, EncodeAnswer({.number = 0, .text = path}), descriptors);
  }

  // Asked in the middle of long work.
  std::function<bool()> Cancelled() {
    return [this] { return channel_.PeerGone(); };
  }

  [[nodiscard]] std::string Clean(std::string_view path) const {
    return CleanPath(path, work_path_);
  }
  // Not cleaned: "link/.." is where the link leads, and above.
  [[nodiscard]] std::string Absolute(std::string_view path) const {
    return path.starts_with('/') ? std::string(path) : work_path_ + "/" + std::string(path);
  }

  AgentChannel channel_;
  const std::string work_path_;
  const AccountNames names_;
  std::string body_;  // of the frame that is being served
};

}  // namespace

void ServeRequests(const RequestLoopOptions& options) { RequestLoop(options).Run(); }

}  // namespace forkbox::execd
