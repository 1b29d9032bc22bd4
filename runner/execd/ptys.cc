#include "runner/execd/ptys.h"

#include <map>
#include <mutex>
#include <utility>

#include "base/uuid.h"
#include "runner/execd/commands_program.h"
#include "runner/execd/ptys_session.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxSessions = 32;
constexpr std::size_t kLeftoverPipes = 16;

}  // namespace

class Ptys::Impl {
 public:
  Impl(Environment env, sandbox::Box& box, Files& files, const Clock& clock,
       DescriptorBudget* budget)
      : env_(std::move(env)),
        surroundings_{env_,  box,        files,
                      clock, leftovers_, budget != nullptr ? *budget : own_budget_} {}

  ~Impl() {
    std::unique_lock lock(mutex_);
    const auto sessions = std::exchange(sessions_, {});
    lock.unlock();
    for (const auto& [id, session] : sessions) session->Stop();  // so that they end side by side
    for (const auto& [id, session] : sessions) session->Finish();
  }

  Result<std::string> Create(const std::string& cwd, const std::string& command) {
    if (command.find('\0') != std::string::npos) {
      return Fail(ErrorCode::kInvalidArgument, "command must not contain NUL bytes");
    }
    if (command.size() > kMaxCommandBytes) {
      return Fail(ErrorCode::kInvalidArgument,
                  "command must have at most " + std::to_string(kMaxCommandBytes) + " bytes");
    }
    if (!cwd.empty()) {
      if (auto made = surroundings_.files.MakeDirectory(cwd, {}); !made) return Fail(made.error());
    }
    const std::lock_guard lock(mutex_);
    if (sessions_.size() >= kMaxSessions) {
      return Fail(ErrorCode::kQueueFull, "too many terminals in this sandbox");
    }
    std::string id = NewUuidV7();
    sessions_.emplace(id, std::make_shared<PtySession>(cwd, command, surroundings_));
    return id;
  }

  std::shared_ptr<PtySession> Find(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(id);
    return found == sessions_.end() ? nullptr : found->second;
  }

  Result<void> Delete(const std::string& id) {
    std::shared_ptr<PtySession> session;
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

  static tl::unexpected<Error> NotFound(const std::string& id) {
    return Fail(ErrorCode::kNotFound, "pty session " + id + " not found");
  }

 private:
  const Environment env_;
  DescriptorBudget own_budget_;  // where none is given
  LeftoverPipes leftovers_{kLeftoverPipes};
  const PtySession::Surroundings surroundings_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<PtySession>> sessions_;  // by mutex_; and connections'
};

Ptys::Ptys(Environment env, sandbox::Box& box, Files& files, const Clock& clock, Log,
           DescriptorBudget* budget)
    : impl_(std::make_unique<Impl>(std::move(env), box, files, clock, budget)) {}
Ptys::~Ptys() = default;

Result<std::string> Ptys::Create(const std::string& cwd, const std::string& command) {
  return impl_->Create(cwd, command);
}

std::optional<Ptys::Status> Ptys::Get(const std::string& id) const {
  const auto session = impl_->Find(id);
  if (!session) return std::nullopt;
  return session->status();
}

Result<void> Ptys::Delete(const std::string& id) { return impl_->Delete(id); }

Result<std::unique_ptr<Ptys::Connection>> Ptys::Connect(const std::string& id, const Attach& attach,
                                                        Client& client) {
  const auto session = impl_->Find(id);
  if (!session) return Impl::NotFound(id);
  return session->Connect(attach, client);
}

}  // namespace forkbox::execd
