#include "runner/execd/shells.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "base/uuid.h"
#include "runner/execd/shells_session.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxSessions = 32;
constexpr std::size_t kLeftoverPipes = 48;  // those of idle sessions are among them

}  // namespace

class Shells::Impl {
 public:
  Impl(Environment env, sandbox::Box& box, Files& files, const Clock& clock, Log log,
       DescriptorBudget* budget)
      : env_(std::move(env)),
        log_(std::move(log)),
        surroundings_{
            env_, box, files, clock, log_, leftovers_, budget != nullptr ? *budget : own_budget_} {}

  ~Impl() {
    std::unique_lock lock(mutex_);
    const auto sessions = std::exchange(sessions_, {});
    lock.unlock();
    for (const auto& [id, session] : sessions) session->Stop();  // so that they end side by side
    for (const auto& [id, session] : sessions) session->End();
    lock.lock();
    changed_.wait(lock, [this] { return callers_ == 0; });
  }

  Result<std::string> Create(const std::string& cwd) {
    {
      const std::lock_guard lock(mutex_);
      if (sessions_.size() + starting_ >= kMaxSessions) {
        return Fail(ErrorCode::kQueueFull, "too many sessions in this sandbox");
      }
      ++starting_;
    }
    const std::string id = NewUuidV7();
    auto session = std::make_shared<ShellSession>(id, cwd, surroundings_);
    Result<void> started;
    if (!cwd.empty()) started = surroundings_.files.MakeDirectory(cwd, {});
    if (started) started = session->Start();
    const std::lock_guard lock(mutex_);
    --starting_;
    if (!started) return Fail(started.error());
    sessions_.emplace(id, std::move(session));
    return id;
  }

  Result<void> Run(const std::string& id, const RunRequest& request, EventSink& sink) {
    if (request.command.find('\0') != std::string::npos) {
      return Fail(ErrorCode::kInvalidArgument, "command must not contain NUL bytes");
    }
    if (request.command.size() > kMaxSessionFrameBytes / 8) {
      return Fail(ErrorCode::kInvalidArgument, "command must have at most 2 MiB");
    }
    std::shared_ptr<ShellSession> session;
    {
      const std::lock_guard lock(mutex_);
      const auto found = sessions_.find(id);
      if (found == sessions_.end()) return NotFound(id);
      session = found->second;
      ++callers_;
    }
    auto ran = session->Run(request, sink);
    session.reset();
    const std::lock_guard lock(mutex_);
    --callers_;
    changed_.notify_all();
    return ran;
  }

  Result<void> Delete(const std::string& id) {
    std::shared_ptr<ShellSession> session;
    {
      const std::lock_guard lock(mutex_);
      const auto found = sessions_.find(id);
      if (found == sessions_.end()) return NotFound(id);
      session = std::move(found->second);
      sessions_.erase(found);
    }
    session->End();
    return {};
  }

 private:
  static Result<void> NotFound(const std::string& id) {
    return Fail(ErrorCode::kNotFound, "session " + id + " not found");
  }

  const Environment env_;
  const Log log_;
  DescriptorBudget own_budget_;  // where none is given
  LeftoverPipes leftovers_{kLeftoverPipes};
  const ShellSession::Surroundings surroundings_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::shared_ptr<ShellSession>> sessions_;  // by mutex_; and of their runs
  std::size_t starting_ = 0;                                       // by mutex_
  std::size_t callers_ = 0;                                        // by mutex_: in Run()
};

Shells::Shells(Environment env, sandbox::Box& box, Files& files, const Clock& clock, Log log,
               DescriptorBudget* budget)
    : impl_(std::make_unique<Impl>(std::move(env), box, files, clock, std::move(log), budget)) {}
Shells::~Shells() = default;

Result<std::string> Shells::Create(const std::string& cwd) { return impl_->Create(cwd); }
Result<void> Shells::Run(const std::string& id, const RunRequest& request, EventSink& sink) {
  return impl_->Run(id, request, sink);
}
Result<void> Shells::Delete(const std::string& id) { return impl_->Delete(id); }

}  // namespace forkbox::execd
