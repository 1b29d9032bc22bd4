#include "runner/execd/contexts.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>

#include "base/uuid.h"
#include "runner/execd/contexts_session.h"

namespace forkbox::execd {
namespace {

constexpr const char* kTypeScript = "typescript";

struct Context {
  Context(ContextInfo in_info, std::unique_ptr<ContextSession> in_session)
      : info(std::move(in_info)), session(std::move(in_session)) {}
  const ContextInfo info;
  const std::unique_ptr<ContextSession> session;
  bool busy = false;  // by the mutex of the table: a cell or a fork has the session for itself
};

Event TextEvent(Event::Type type, std::string text) {
  Event event;
  event.type = type;
  event.text = std::move(text);
  return event;
}

void PutError(EventSink& sink, std::string name, std::string value) {
  if (!sink.Put(TextEvent(Event::Type::kStatus, "error"))) return;
  Event event;
  event.type = Event::Type::kError;
  event.ename = std::move(name);
  event.evalue = std::move(value);
  std::istringstream lines(event.evalue);
  for (std::string line; std::getline(lines, line);) event.traceback.push_back(line);
  sink.Put(event);
}

}  // namespace

class Contexts::Impl {
 public:
  Impl(Options options, sandbox::Box& box, Files& files, const Clock& clock, Log log)
      : options_(std::move(options)),
        box_(box),
        files_(files),
        clock_(clock),
        log_(std::move(log)),
        frame_room_(options_.frame_bytes) {
    for (const std::string& language : options_.languages) default_mutexes_[language];
  }

  ~Impl() {
    std::unique_lock lock(mutex_);
    // Nothing is asked of the box, which may let us wait: a session that is idle ends with its
    // channel, and what a cell does with the box.
    for (const auto& [id, context] : contexts_) context->session->HangUp();
    contexts_.clear();
    idle_.wait(lock, [&] { return users_ == 0; });
  }

  [[nodiscard]] bool Knows(const std::string& language) const {
    if (language == kTypeScript && !options_.transpile) return false;
    return std::find(options_.languages.begin(), options_.languages.end(), language) !=
           options_.languages.end();
  }

  Result<ContextInfo> Create(const std::string& language, const std::string& cwd) {
    if (!Knows(language)) {
      return Fail(ErrorCode::kInvalidArgument, "unsupported language: " + language);
    }
    const Place place(*this);
    if (!place) return TooMany();
    if (!cwd.empty()) {
      if (auto made = files_.MakeDirectory(cwd, {}); !made) return Fail(made.error());
    }
    const SteadyTime started = clock_.Now();
    sandbox::BoxProgram program;
    program.kind = sandbox::BoxProgram::Kind::kSession;
    program.language = language;  // its manifest knows whose session typescript has
    program.cwd = cwd;
    program.env.assign(options_.env.begin(), options_.env.end());
    auto process = box_.Start(program);
    if (!process) return Fail(process.error());
    process->stdin_pipe.Reset();
    auto session =
        std::make_unique<ContextSession>(std::move(*process), box_, files_, clock_, frame_room_);
    if (auto ready = session->AwaitReady(DeadlineOfStart()); !ready) {
      session->End();
      log_.Warn("context.not_started", {{"language", language}, {"reason", ready.error().message}});
      return Fail(ErrorCode::kUnavailable, language + " did not start: " + ready.error().message);
    }
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(clock_.Now() - started);
    log_.Debug("context.started", {{"language", language}, {"took_us", took.count()}});
    return Add(language, cwd, std::move(session));
  }

  std::vector<ContextInfo> List(const std::string& language) {
    BuryTheDead();
    std::lock_guard lock(mutex_);
    std::vector<ContextInfo> infos;
    for (const auto& [id, context] : contexts_) {
      if (language.empty() || context->info.language == language) infos.push_back(context->info);
    }
    return infos;
  }

  std::optional<ContextInfo> Get(const std::string& id) {
    BuryTheDead();
    std::lock_guard lock(mutex_);
    const auto found = contexts_.find(id);
    if (found == contexts_.end()) return std::nullopt;
    return found->second->info;
  }

  Result<void> Delete(const std::string& id) {
    std::shared_ptr<Context> context;
    {
      std::lock_guard lock(mutex_);
      const auto found = contexts_.find(id);
      if (found == contexts_.end()) return NoSuch(id);
      context = std::move(found->second);
      contexts_.erase(found);
    }
    context->session->End();
    return {};
  }

  void DeleteAll(const std::string& language) {
    std::vector<std::shared_ptr<Context>> deleted;
    {
      std::lock_guard lock(mutex_);
      for (auto at = contexts_.begin(); at != contexts_.end();) {
        const auto entry = at++;
        if (!language.empty() && entry->second->info.language != language) continue;
        deleted.push_back(std::move(entry->second));
        contexts_.erase(entry);
      }
    }
    EndAll(deleted);
  }

  Result<ContextInfo> Default(const std::string& language) {
    const auto making = default_mutexes_.find(language);
    if (making == default_mutexes_.end() || !Knows(language)) {
      return Fail(ErrorCode::kInvalidArgument, "unsupported language: " + language);
    }
    std::lock_guard one(making->second);
    BuryTheDead();
    {
      std::lock_guard lock(mutex_);
      const auto found = contexts_.find(defaults_[language]);
      if (found != contexts_.end()) return found->second->info;
    }
    auto created = Create(language, "");
    if (!created) return created;
    std::lock_guard lock(mutex_);
    defaults_[language] = created->id;
    return created;
  }

  Result<void> Run(const std::string& id, const std::string& code, EventSink& sink) {
    const SteadyTime started = clock_.Now();
    const Hold hold(*this, id);
    if (!hold.context()) return NoSuch(id);
    const bool listens = sink.Put(TextEvent(Event::Type::kInit, id));
    if (hold.taken()) {
      RunHeld(*hold.context(), code, sink);
    } else if (listens) {
      PutError(sink, "ContextBusy", "session is busy");
    }
    Event complete;
    complete.type = Event::Type::kExecutionComplete;
    complete.execution_time =
        std::chrono::duration_cast<std::chrono::milliseconds>(clock_.Now() - started);
    sink.Put(complete);
    return {};
  }

  Result<void> Interrupt(const std::string& id) {
    std::shared_ptr<Context> context;
    {
      std::lock_guard lock(mutex_);
      const auto found = contexts_.find(id);
      if (found == contexts_.end()) return NoSuch(id);
      if (!found->second->busy) return {};
      context = found->second;
    }
    return context->session->Interrupt();
  }

  Result<ContextInfo> Fork(const std::string& id) {
    const Place place(*this);
    const Hold hold(*this, id);
    const auto& context = hold.context();
    if (!context) return NoSuch(id);
    if (!context->info.forks) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a " + context->info.language + " context cannot be forked");
    }
    if (!hold.taken()) return Fail(ErrorCode::kConflict, "session is busy");
    if (!place) return TooMany();
    auto copy = context->session->Fork(DeadlineOfStart());
    if (!copy) {
      if (context->session->HasEnded()) Forget(*context, copy.error().message);
      return Fail(copy.error());
    }
    return Add(context->info.language, context->info.cwd, std::move(*copy));
  }

 private:
  // Room for one more context, until it is in the table or was not made. False: there is none.
  class Place {
   public:
    explicit Place(Impl& impl) : impl_(impl) {
      impl_.BuryTheDead();
      std::lock_guard lock(impl_.mutex_);
      taken_ = impl_.contexts_.size() + impl_.coming_ < impl_.options_.max_contexts;
      if (taken_) ++impl_.coming_;
    }
    ~Place() {
      std::lock_guard lock(impl_.mutex_);
      if (taken_) --impl_.coming_;
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    explicit operator bool() const { return taken_; }

   private:
    Impl& impl_;
    bool taken_ = false;
  };

  // A context, for itself if nobody else has it.
  class Hold {
   public:
    Hold(Impl& impl, const std::string& id) : impl_(impl) {
      std::lock_guard lock(impl_.mutex_);
      ++impl_.users_;
      const auto found = impl_.contexts_.find(id);
      if (found == impl_.contexts_.end()) return;
      context_ = found->second;
      taken_ = !std::exchange(context_->busy, true);
    }
    ~Hold() {
      std::lock_guard lock(impl_.mutex_);
      if (taken_) {
        context_->busy = false;
        context_->session->ForgetInterrupt();
      }
      context_.reset();
      if (--impl_.users_ == 0) impl_.idle_.notify_all();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    [[nodiscard]] const std::shared_ptr<Context>& context() const { return context_; }
    [[nodiscard]] bool taken() const { return taken_; }

   private:
    Impl& impl_;
    std::shared_ptr<Context> context_;
    bool taken_ = false;
  };

  void RunHeld(Context& context, const std::string& code, EventSink& sink) {
    std::string compiled;
    const bool is_typescript = context.info.language == kTypeScript;
    if (is_typescript) {
      auto transpiled = options_.transpile(code);
      if (!transpiled) return PutError(sink, "SyntaxError", transpiled.error().message);
      compiled = std::move(*transpiled);
    }
    const auto died = context.session->RunCell(is_typescript ? compiled : code, sink);
    if (died) Forget(context, *died);
  }

  Result<ContextInfo> Add(const std::string& language, const std::string& cwd,
                          std::unique_ptr<ContextSession> session) {
    ContextInfo info{NewUuidV7(), language, cwd, session->forks()};
    std::lock_guard lock(mutex_);
    contexts_.emplace(info.id, std::make_shared<Context>(info, std::move(session)));
    return info;
  }

  // A context that has died, with what may be left of it.
  void Forget(Context& context, const std::string& why) {
    {
      std::lock_guard lock(mutex_);
      if (contexts_.erase(context.info.id) == 0) return;  // deleted
    }
    log_.Info("context.died", {{"language", context.info.language}, {"reason", why}});
    context.session->End();
  }

  // Those that ended while nobody looked, and what they have left running.
  void BuryTheDead() {
    std::vector<std::shared_ptr<Context>> dead;
    {
      std::lock_guard lock(mutex_);
      for (auto at = contexts_.begin(); at != contexts_.end();) {
        const auto entry = at++;
        if (entry->second->busy || !entry->second->session->HasEnded()) continue;
        dead.push_back(std::move(entry->second));
        contexts_.erase(entry);
      }
    }
    for (const auto& context : dead) {
      log_.Info("context.died", {{"language", context->info.language}});
    }
    EndAll(dead);
  }

  // All at once as far as we can do it alone; a box that keeps us waiting does so once.
  static void EndAll(const std::vector<std::shared_ptr<Context>>& contexts) {
    for (const auto& context : contexts) context->session->HangUp();
    for (const auto& context : contexts) {
      if (!context->session->Kill()) return;
    }
  }

  [[nodiscard]] tl::unexpected<Error> NoSuch(const std::string& id) const {
    return Fail(ErrorCode::kNotFound, "context " + id + " not found");
  }
  [[nodiscard]] tl::unexpected<Error> TooMany() const {
    return Fail(ErrorCode::kQueueFull, "this sandbox has " + std::to_string(options_.max_contexts) +
                                           " contexts already, which is the most");
  }
  [[nodiscard]] Deadline DeadlineOfStart() const {
    return std::chrono::steady_clock::now() + options_.start_patience;
  }

  const Options options_;
  sandbox::Box& box_;
  Files& files_;
  const Clock& clock_;
  const Log log_;
  ByteBudget frame_room_;
  std::map<std::string, std::mutex> default_mutexes_;  // the map itself stays as it is
  std::mutex mutex_;
  std::condition_variable idle_;
  std::map<std::string, std::shared_ptr<Context>> contexts_;  // by mutex_
  std::map<std::string, std::string> defaults_;               // by mutex_: of a language
  std::size_t coming_ = 0;                                    // by mutex_
  std::size_t users_ = 0;                                     // by mutex_
};

Contexts::Contexts(Options options, sandbox::Box& box, Files& files, const Clock& clock, Log log)
    : impl_(std::make_unique<Impl>(std::move(options), box, files, clock, std::move(log))) {}
Contexts::~Contexts() = default;

bool Contexts::Knows(const std::string& language) const { return impl_->Knows(language); }
Result<ContextInfo> Contexts::Create(const std::string& language, const std::string& cwd) {
  return impl_->Create(language, cwd);
}
std::vector<ContextInfo> Contexts::List(const std::string& language) const {
  return impl_->List(language);
}
std::optional<ContextInfo> Contexts::Get(const std::string& id) const { return impl_->Get(id); }
Result<void> Contexts::Delete(const std::string& id) { return impl_->Delete(id); }
void Contexts::DeleteAll(const std::string& language) { impl_->DeleteAll(language); }
Result<ContextInfo> Contexts::Default(const std::string& language) {
  return impl_->Default(language);
}
Result<void> Contexts::Run(const std::string& id, const std::string& code, EventSink& sink) {
  return impl_->Run(id, code, sink);
}
Result<void> Contexts::Interrupt(const std::string& id) { return impl_->Interrupt(id); }
Result<ContextInfo> Contexts::Fork(const std::string& id) { return impl_->Fork(id); }

}  // namespace forkbox::execd
