#include "runner/sandbox/transpiler.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/unique_fd.h"
#include "runner/sandbox/artefact_cache.h"
#include "runner/sandbox/artefacts.h"
#include "runner/sandbox/wire.h"
#include "schema/utf8.h"

namespace forkbox::sandbox {
namespace {

using schema::Reason;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kHost = "javascript";
constexpr const char* kScript = "require('/opt/forkbox/typescript/transpile.js')";

// What a cell of a session is called, as transpile.js knows it. No file of a program is.
constexpr const char* kCell = "<cell>.ts";

// Below what a job may bring into a sandbox (job_wire.h): a source map and its copy of the source
// make a program several times as large.
constexpr std::size_t kMaxReplyBytes = 88U << 20;
constexpr std::size_t kMaxDiagnosticsBytes = 64U << 10;

// One that died may have been about to die anyway: the source gets another. Two are enough to
// think that it was the source.
constexpr int kAttempts = 2;

// How long a source waits for a process: all can be late and be replaced in it. The first ones take
// what a machine takes that starts everything else, too.
constexpr seconds kMaxWait{10};
constexpr seconds kMaxFirstWait{90};

// Of digests and short texts.
constexpr std::size_t kMaxOffences = 4096;

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.substr(text.size() - end.size()) == end;
}

// What a file is called once it is JavaScript; nothing for one that is not TypeScript, or only
// declares types. As in transpile.js.
std::optional<std::string> EmittedName(std::string_view path) {
  struct Kind {
    std::string_view from;
    std::string_view to;
  };
  constexpr Kind kKinds[] = {{".ts", ".js"}, {".tsx", ".js"}, {".mts", ".mjs"}, {".cts", ".cjs"}};
  constexpr std::string_view kDeclarations[] = {".d.ts", ".d.mts", ".d.cts"};
  for (const std::string_view end : kDeclarations) {
    if (EndsWith(path, end)) return std::nullopt;
  }
  for (const Kind& kind : kKinds) {
    if (!EndsWith(path, kind.from)) continue;
    return std::string(path.substr(0, path.size() - kind.from.size())).append(kind.to);
  }
  return std::nullopt;
}

// A program on its way: which of its files are TypeScript, and what they will be called.
struct Plan {
  std::string program_name;                                // of the code, as it will be called
  std::vector<std::pair<std::size_t, std::string>> files;  // index among the files, new name
  std::string request;
  std::size_t bytes = 0;
  std::string refusal;  // why it cannot be
};

Plan PlanOf(const schema::Source& source, const std::string& file_name, std::uint64_t max_bytes) {
  Plan plan;
  plan.program_name = EmittedName(file_name).value_or(file_name);
  std::map<std::string_view, std::string_view> taken;  // by whom
  taken.emplace(plan.program_name, file_name);
  const auto claim = [&](std::string_view name, std::string_view path) {
    const auto [at, free] = taken.emplace(name, path);
    if (free || !plan.refusal.empty()) return;
    plan.refusal = std::string(path) + ": error: " + std::string(at->second) +
                   " is among the files too, and both become " + std::string(name) + "\n";
  };
  std::string_view tsconfig;
  std::string_view package;
  std::vector<std::string_view> others;
  plan.bytes = source.code.size();
  plan.files.reserve(source.files.size());
  for (std::size_t i = 0; i < source.files.size(); ++i) {
    const schema::SourceFile& file = source.files[i];
    if (auto name = EmittedName(file.path)) {
      plan.bytes += file.content.size();
      plan.files.emplace_back(i, std::move(*name));
      claim(plan.files.back().second, file.path);
      continue;
    }
    claim(file.path, file.path);
    others.push_back(file.path);
    if (file.path == "tsconfig.json") tsconfig = file.content;
    if (file.path == "package.json") package = file.content;
  }
  plan.bytes += tsconfig.size() + package.size();
  if (plan.refusal.empty() && plan.bytes > max_bytes) {
    plan.refusal = file_name + ": error: the program is larger than " +
                   std::to_string(max_bytes >> 20) + " MiB\n";
  }
  if (!plan.refusal.empty()) return plan;

  WireWriter body;
  body.U32(static_cast<std::uint32_t>(plan.files.size() + 1));
  body.Text(file_name);
  body.Text(source.code);
  for (const auto& [index, name] : plan.files) {
    body.Text(source.files[index].path);
    body.Text(source.files[index].content);
  }
  body.U32(static_cast<std::uint32_t>(others.size()));
  for (const std::string_view path : others) body.Text(path);
  body.Text(tsconfig);
  body.Text(package);
  WireWriter frame;
  frame.U32(static_cast<std::uint32_t>(body.bytes().size()));
  plan.request = frame.bytes() + body.bytes();
  return plan;
}

// Cuts between characters.
std::string Bounded(std::string_view text) {
  std::string kept(text.substr(0, kMaxDiagnosticsBytes));
  kept.resize(kept.size() - schema::IncompleteUtf8Suffix(kept));
  return schema::ToValidUtf8(std::move(kept));
}

// False for a reply that our own script does not write.
bool Apply(std::string_view reply, const schema::Source& source, const Plan& plan,
           Compiled* compiled) {
  WireReader in(reply);
  const bool refused = in.U32() != 0;
  const std::string_view diagnostics = in.Text();
  const std::uint32_t count = in.Count(sizeof(std::uint32_t));
  if (!in.ok() || count != (refused ? 0 : plan.files.size() + 1)) return false;
  compiled->output = Bounded(diagnostics);
  compiled->reason = refused ? Reason::kCompileFailed : Reason::kExited;
  if (refused) return in.AtEnd();
  compiled->program = source;
  compiled->program.code = in.Text();
  for (const auto& [index, name] : plan.files) {
    compiled->program.files[index].path = name;
    compiled->program.files[index].content = in.Text();
  }
  if (!FitsIntoSandbox(compiled->program)) {
    compiled->program = {};
    compiled->reason = Reason::kCompileFailed;
    compiled->output += "error: the transpiled program and the files beside it are too large\n";
  }
  return in.AtEnd();
}

}  // namespace

Transpiler::Transpiler(Driver& driver, TranspilerOptions options)
    : driver_(driver), options_(std::move(options)), slots_(options_.processes) {}

Transpiler::~Transpiler() {
  for (std::jthread& keeper : keepers_) keeper.request_stop();
}

void Transpiler::Prepare() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(prepared_, true)) return;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    keepers_.emplace_back([this, i](const std::stop_token& stop) { KeepRunning(i, stop); });
  }
}

TranspilerStats Transpiler::Stats() const {
  const std::lock_guard lock(mutex_);
  TranspilerStats stats = stats_;
  for (const Slot& slot : slots_) stats.ready += slot.service != nullptr ? 1 : 0;
  return stats;
}

milliseconds Transpiler::TimeFor(std::size_t bytes, std::size_t files) const {
  const auto by_size = options_.time_per_mib * static_cast<std::int64_t>(bytes >> 10) / 1024;
  const auto by_files = options_.time_per_file * static_cast<std::int64_t>(files);
  return std::min(options_.time + by_size + by_files, options_.most_time);
}

Compiled Transpiler::Compile(const schema::Source& source, const std::stop_token& cancelled) {
  return CompileAs(options_.file_name, source, cancelled);
}

Result<std::string> Transpiler::TranspileCell(const std::string& code) {
  schema::Source source;
  source.code = code;
  Compiled compiled = CompileAs(kCell, source, {});
  if (compiled.reason == Reason::kExited) return std::move(compiled.program.code);
  if (compiled.reason != Reason::kCompileFailed) {
    return Fail(ErrorCode::kUnavailable, compiled.message);
  }
  if (compiled.output.starts_with(kCell)) {
    compiled.output.replace(0, std::string_view(kCell).size(), "cell");
  }
  return Fail(ErrorCode::kInvalidArgument, compiled.output);
}

Compiled Transpiler::CompileAs(const std::string& file_name, const schema::Source& source,
                               const std::stop_token& cancelled) {
  const auto start = steady_clock::now();
  Compiled compiled;
  const auto end = [&](Reason reason, std::string output) {
    compiled.reason = reason;
    compiled.output = std::move(output);
    compiled.time = std::chrono::duration_cast<microseconds>(steady_clock::now() - start);
    return compiled;
  };
  const Plan plan = PlanOf(source, file_name, options_.max_source_bytes);
  if (!plan.refusal.empty()) return end(Reason::kCompileFailed, Bounded(plan.refusal));
  if (std::string refusal = RefusalOf(plan.request); !refusal.empty()) {
    compiled.repeatable = false;  // remembered here, and not for as long as a cache would
    return end(Reason::kCompileFailed, std::move(refusal));
  }
  const auto refuse = [&](const std::string& what) {
    const std::string refusal = file_name + ": error: " + what + "\n";
    Remember(plan.request, refusal);
    return end(Reason::kCompileFailed, refusal);
  };
  Prepare();
  const milliseconds time = TimeFor(plan.bytes, plan.files.size());
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Slot* const slot = Take(cancelled, &compiled.message);
    if (slot == nullptr && cancelled.stop_requested()) return end(Reason::kCancelled, "");
    if (slot == nullptr) return end(Reason::kSandboxFailed, "");
    const Exchange exchange =
        Talk(*slot->service, plan.request, steady_clock::now() + time, cancelled);
    const bool good =
        exchange.ending == Ending::kAnswered && Apply(exchange.reply, source, plan, &compiled);
    GiveBack(slot, good);
    compiled.repeatable = good;
    if (good) return end(compiled.reason, std::move(compiled.output));
    if (exchange.ending == Ending::kCancelled) return end(Reason::kCancelled, "");
    if (exchange.ending == Ending::kLate) {
      return refuse("transpiling took longer than " + std::to_string(time.count()) + " ms");
    }
    if (exchange.ending == Ending::kTooLarge) return refuse("the transpiled program is too large");
  }
  return refuse("the transpiler ran out of memory or ended on this");
}

// What was said of the same request when it cost a process; "" for any other.
std::string Transpiler::RefusalOf(std::string_view request) {
  {
    const std::lock_guard lock(mutex_);
    const auto now = steady_clock::now();
    while (!offence_order_.empty() && offences_[offence_order_.front()].until <= now) {
      offences_.erase(offence_order_.front());
      offence_order_.pop_front();
    }
    if (offences_.empty()) return {};  // as nearly always: no digest is needed
  }
  const std::string key = ArtefactKey(request, {});
  const std::lock_guard lock(mutex_);
  const auto found = offences_.find(key);
  return found == offences_.end() ? std::string() : found->second.refusal;
}

void Transpiler::Remember(std::string_view request, const std::string& refusal) {
  const std::string key = ArtefactKey(request, {});
  if (key.empty()) return;
  const std::lock_guard lock(mutex_);
  const Offence offence{steady_clock::now() + options_.refuse_time, refusal};
  if (!offences_.emplace(key, offence).second) return;
  offence_order_.push_back(key);
  if (offence_order_.size() > kMaxOffences) {
    offences_.erase(offence_order_.front());
    offence_order_.pop_front();
  }
}

// A process that is ready and idle, now the caller's; nullptr when there was none in time.
Transpiler::Slot* Transpiler::Take(const std::stop_token& cancelled, std::string* why_not) {
  std::unique_lock lock(mutex_);
  if (waiting_ >= options_.max_waiting) {
    *why_not = "the transpiler is busy: too many sources wait for it";
    return nullptr;
  }
  const Deadline deadline = steady_clock::now() + (stats_.started == 0 ? kMaxFirstWait : kMaxWait);
  ++waiting_;
  Slot* taken = nullptr;
  const auto take = [&] {
    for (Slot& slot : slots_) {
      if (slot.service == nullptr || slot.busy) continue;
      // One that died while it was idle: nobody's fault.
      pollfd polled{slot.service->output(), POLLIN, 0};
      if (::poll(&polled, 1, 0) != 0) {
        slot.service.reset();
        ++stats_.lost;
        changed_.notify_all();
        continue;
      }
      taken = &slot;
      return true;
    }
    return false;
  };
  changed_.wait_until(lock, cancelled, deadline, take);
  --waiting_;
  if (taken != nullptr) taken->busy = true;
  if (taken == nullptr) {
    *why_not = last_failure_.empty()
                   ? "the transpiler is busy: none of its processes was free in time"
                   : "no transpiler: " + last_failure_;
  }
  return taken;
}

void Transpiler::GiveBack(Slot* slot, bool keep) {
  std::unique_ptr<Service> gone;  // ends outside the lock
  {
    const std::lock_guard lock(mutex_);
    slot->busy = false;
    if (!keep) ++stats_.lost;
    if (!keep || ++slot->sources >= options_.sources_per_process) gone = std::move(slot->service);
  }
  changed_.notify_all();
}

// Each slot has a thread: one that is slow to start does not keep the others waiting.
void Transpiler::KeepRunning(std::size_t index, const std::stop_token& stop) {
  constexpr milliseconds kFirstPause{200};
  constexpr milliseconds kLongestPause{10'000};
  milliseconds pause = kFirstPause;
  std::unique_lock lock(mutex_);
  Slot& slot = slots_[index];
  while (changed_.wait(lock, stop, [&] { return slot.service == nullptr; })) {
    lock.unlock();
    auto service = StartProcess(stop);
    lock.lock();
    if (service) {
      slot = {std::move(*service), false, 0};
      ++stats_.started;
      last_failure_.clear();
      pause = kFirstPause;
      changed_.notify_all();
      continue;
    }
    last_failure_ = service.error().message;
    if (stop.stop_requested()) return;
    options_.log.Warn("transpiler.failed", {{"reason", last_failure_}});
    (void)changed_.wait_for(lock, stop, pause, [] { return false; });
    pause = std::min(pause * 2, kLongestPause);
  }
}

Result<std::unique_ptr<Service>> Transpiler::StartProcess(const std::stop_token& stop) {
  schema::Limits limits;
  limits.memory_bytes = options_.memory_bytes;
  schema::Source source;
  source.code = kScript;
  auto service = driver_.Serve(kHost, limits, source);
  if (!service) return service;
  // It says so when it is ready.
  const Exchange ready = Talk(**service, {}, steady_clock::now() + options_.start_time, stop);
  if (ready.ending != Ending::kAnswered) {
    return Fail(ErrorCode::kUnavailable, ready.ending == Ending::kLate
                                             ? "the transpiler was slow to start"
                                             : "the transpiler did not start");
  }
  return service;
}

// Sends the request and waits for a reply, both frames of a size and so many bytes.
Transpiler::Exchange Transpiler::Talk(Service& service, std::string_view request, Deadline deadline,
                                      const std::stop_token& cancelled) {
  const UniqueFd stopped(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::stop_callback wake(cancelled, [&] {
    const std::uint64_t one = 1;
    (void)!::write(stopped.get(), &one, sizeof one);
  });
  std::uint32_t size = 0;
  std::string header;
  std::string reply;
  std::array<char, 64 * 1024> buffer;
  for (;;) {
    if (cancelled.stop_requested()) return {Ending::kCancelled, {}};
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0) return {Ending::kLate, {}};
    std::array<pollfd, 3> polled{{{service.output(), POLLIN, 0},
                                  {request.empty() ? -1 : service.input(), POLLOUT, 0},
                                  {stopped.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
      return {};
    }
    if (polled[1].revents != 0) {
      const ssize_t n = ::write(service.input(), request.data(), request.size());
      if (n > 0) request.remove_prefix(static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) return {};
    }
    if (polled[0].revents == 0) continue;
    const ssize_t n = ::read(service.output(), buffer.data(), buffer.size());
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return {};
    if (n < 0) continue;
    std::string_view got(buffer.data(), static_cast<std::size_t>(n));
    if (header.size() < sizeof size) {
      const std::size_t missing = std::min(sizeof size - header.size(), got.size());
      header.append(got.substr(0, missing));
      got.remove_prefix(missing);
      if (header.size() < sizeof size) continue;
      std::memcpy(&size, header.data(), sizeof size);
      if (size > kMaxReplyBytes) return {Ending::kTooLarge, {}};
    }
    reply.append(got);
    if (reply.size() > size) return {};  // it talks out of turn
    if (reply.size() < size) continue;
    // An answer to what it has not read is none, and the rest would be the next source's.
    if (!request.empty()) return {};
    return {Ending::kAnswered, std::move(reply)};
  }
}

}  // namespace forkbox::sandbox
