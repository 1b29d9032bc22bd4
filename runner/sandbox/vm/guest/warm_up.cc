#include "runner/sandbox/vm/guest/warm_up.h"

#include <malloc.h>
#include <sys/random.h>
#include <time.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kForkPatience{60};
// The last of what was run is taken down in the background, by the kernel too.
constexpr milliseconds kQuietSpan{100};
constexpr int kQuietSpans = 3;
constexpr std::chrono::seconds kQuietPatience{15};

// The time of day as it is, and a seed of the kernel's own.
Result<Awakening> Unchanged() {
  Awakening awakening;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  awakening.clock_unix_ns = now.tv_sec * 1'000'000'000L + now.tv_nsec;
  if (::getrandom(awakening.seed.data(), awakening.seed.size(), 0) !=
      static_cast<ssize_t>(awakening.seed.size())) {
    return FailErrno("getrandom");
  }
  return awakening;
}

// What the processor did since the start, in ticks: busy (proc(5), /proc/stat: user, nice, system,
// idle, iowait, irq, softirq).
std::uint64_t BusyTicks() {
  std::ifstream file("/proc/stat");
  std::string word;
  std::uint64_t user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0;
  file >> word >> user >> nice >> system >> idle >> wait >> irq >> softirq;
  return user + nice + system + irq + softirq;
}

void WaitForQuiet() {
  const auto patience = steady_clock::now() + kQuietPatience;
  std::uint64_t before = BusyTicks();
  for (int quiet = 0; quiet < kQuietSpans && steady_clock::now() < patience;) {
    std::this_thread::sleep_for(kQuietSpan);
    const std::uint64_t now = BusyTicks();
    quiet = now - before <= 1 ? quiet + 1 : 0;
    before = now;
  }
}

// One program, as a frame that has come from outside.
Result<void> RunOne(const LanguageStatus& language, const schema::Source& source,
                    JobServer& server) {
  auto awakening = Unchanged();
  if (!awakening) return Fail(awakening.error());
  Job job;
  job.awakening = *awakening;
  job.language = language.id;
  job.limits = language.default_limits;
  job.source = source;
  FrameReader reader(Reads::kJobs);
  if (auto fed = reader.Feed(EncodeJob(job)); !fed) return fed;
  const auto frame = reader.Next();
  if (!frame) return Fail(ErrorCode::kInternal, "a job is no whole frame");
  FrameReader answers(Reads::kAnswers);
  Result<void> result;
  server.Serve(*frame, [&](std::string_view sent) {
    if (auto fed = answers.Feed(sent); !fed) result = fed;
    auto answer = answers.Next();
    if (answer && answer->kind == FrameKind::kFailed) {
      result = Fail(ErrorCode::kUnavailable, DecodeFailed(answer->body).value_or("?"));
    }
  });
  server.Clear();
  return result;
}

}  // namespace

Result<void> WarmUp(CompilingDriver& driver, JobServer& server, const Log& log) {
  for (const LanguageStatus& language : driver.Languages()) {
    if (!language.ready) continue;
    std::vector<schema::Source> programs = WarmUpPrograms(language);
    if (programs.empty()) {  // of no language in particular
      schema::Source smoke;
      smoke.code = driver.process().ManifestOf(language.id)->smoke_code;
      programs.assign(2, smoke);
    }
    const auto start = steady_clock::now();
    for (const schema::Source& program : programs) {
      auto filled = driver.process().FillPools(steady_clock::now() + kForkPatience);
      if (!filled) return filled;
      if (auto run = RunOne(language, program, server); !run) {
        return Fail(run.error().code, language.id + ": " + run.error().message);
      }
    }
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count();
    log.Info("language.warmed", {{"language", language.id}, {"wall_ms", took}});
  }
  auto filled = driver.process().FillPools(steady_clock::now() + kForkPatience);
  if (!filled) return filled;
  ::malloc_trim(0);
  WaitForQuiet();
  return {};
}

}  // namespace forkbox::sandbox::vm
